/*
 * The few Linux calls that Swift's Glibc module hides or cannot express. Nothing here decides anything: each function
 * is the call itself, with the flags this project always wants. All return -1 and set errno as the call does.
 */
#ifndef STILE_CLINUX_H
#define STILE_CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One ready descriptor. */
struct stile_event {
    uint32_t events;
    uint64_t data;
};

extern const uint32_t stile_readable;   /* EPOLLIN */
extern const uint32_t stile_writable;   /* EPOLLOUT */
extern const uint32_t stile_hung_up;    /* EPOLLHUP | EPOLLERR */
extern const uint32_t stile_peer_closed; /* EPOLLRDHUP */
extern const uint32_t stile_urgent;     /* EPOLLPRI: an urgent byte waits (MSG_OOB) */
extern const uint32_t stile_edge;       /* EPOLLET: told once, not as long as it is so */
extern const uint32_t stile_exclusive;  /* EPOLLEXCLUSIVE: one waiter is woken, not all */

int stile_epoll_create(void);
int stile_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t data);
int stile_epoll_change(int epoll, int descriptor, uint32_t events, uint64_t data);
int stile_epoll_remove(int epoll, int descriptor);
/*
 * The three calls of the decision path are made without glibc's wrappers: in a process of several threads those mark
 * each call as a point where a thread may be cancelled, by two operations on memory that all processors agree on. No
 * thread of this project is ever cancelled.
 */
/* At most 256 events a call. */
int stile_epoll_wait(int epoll, struct stile_event *events, int capacity, int timeout_ms);

ssize_t stile_read(int descriptor, void *bytes, size_t capacity);
/* send with MSG_NOSIGNAL */
ssize_t stile_send(int socket, const void *bytes, size_t count);

/* accept4 with SOCK_NONBLOCK | SOCK_CLOEXEC */
int stile_accept(int listener);
/* A listening Unix stream socket at a path, non-blocking. */
int stile_listen_unix(const char *path, int backlog);
/* A connected Unix stream socket, blocking. */
int stile_connect_unix(const char *path);
/* The same, non-blocking from the start: a listener whose backlog is full is EAGAIN, not a wait without end. */
int stile_connect_unix_now(const char *path);
/* What SO_PEERCRED gives: struct ucred. */
struct stile_peer {
    int32_t process;
    uint32_t user;
    uint32_t group;
};
extern const int stile_peer_option; /* SO_PEERCRED */
int stile_peer_user(int socket, uint32_t *user, int32_t *process);
/* Sends bytes with a descriptor (SCM_RIGHTS); what send(2) returns. */
ssize_t stile_send_descriptor(int socket, const void *bytes, size_t count, int descriptor);
/* Receives bytes, and a descriptor when one comes with them: else -1 is put there. It closes with exec. */
ssize_t stile_receive_descriptor(int socket, void *bytes, size_t capacity, int *descriptor);
/* From now on who sends a descriptor to a new connection of the listener is told EPERM. Fails before Linux 6.16. */
int stile_refuse_descriptors(int listener);
int stile_eventfd(void);
/* A timer on the clock of the day; it becomes readable when the instant has come or the clock was set. */
int stile_timer(void);
/* Ends it at an instant, ms since the epoch; 0 never. Forgets what was to be read. */
int stile_timer_set(int timer, int64_t at_ms);
/* Blocks SIGTERM, SIGINT and SIGHUP for this thread and its children and gives a descriptor to read them from. */
int stile_signalfd(void);
/* The next signal of that descriptor, 0 for none. */
int stile_next_signal(int descriptor);
/* Words that processes share: count up, and read what was counted, each with all that happened before it. */
void stile_count(uint32_t *word);
uint32_t stile_counted(const uint32_t *word);
/* FUTEX_WAIT and FUTEX_WAKE of all, across processes. The wait ends when the word is not `seen`, after a wake, a signal
 * or the time. */
int stile_futex_wait(const uint32_t *word, uint32_t seen, int timeout_ms);
int stile_futex_wake(uint32_t *word);
int stile_set_nonblocking(int descriptor);
/* Seconds after which a blocking read or write of a socket fails with EAGAIN. */
int stile_set_timeout(int socket, int seconds);
/* Where some bytes occur first in others; -1 where they do not. */
int64_t stile_find(const void *bytes, size_t count, const void *sought, size_t sought_count);
/* Milliseconds since the epoch, and microseconds of the monotonic clock. */
int64_t stile_now_ms(void);
uint64_t stile_monotonic_us(void);
/* Runs the calling thread on one processor. */
int stile_pin(int processor);
/* Makes the calling thread at least as urgent as this nice value; nonzero when the system refuses. */
int stile_set_nice(int nice);
/* Lets the calling thread run only where nothing else wants to; nonzero when the system refuses. */
int stile_set_idle(void);
/* Makes the calling thread stand back behind others, by a nice value above its own; nonzero when the system refuses. */
int stile_stand_back(int nice);
/* What the calling thread has used: microseconds of processor time, and how often the processor was taken from it. */
struct stile_usage {
    uint64_t busy_us;
    uint64_t preemptions;
};
struct stile_usage stile_thread_usage(void);
/* Processors that the calling thread may run on. */
int stile_processors(void);
/* True when the file is on a file system in memory (tmpfs), so that a store into its mapping never waits for a disk. */
int stile_is_in_memory(const char *path);
/* Has the file system keep room for the first bytes of a file (fallocate(2)); its length stays. */
int stile_reserve(int file, int64_t count);
/* sync_file_range(2) with SYNC_FILE_RANGE_WRITE: the kernel begins to write out, and nothing is waited for. */
int stile_begin_writing(int file, int64_t offset, int64_t count);
/* CRC-32C (RFC 3720, appendix B.4) of more bytes after those that gave `crc`; 0 begins. By instruction where there is one. */
uint32_t stile_crc32c(uint32_t crc, const void *bytes, size_t count);
/* Gives the calling thread the name that top -H and /proc show: the first 15 bytes. */
void stile_name_thread(const char *name);
/* Starts a detached thread. */
int stile_thread(void *(*body)(void *), void *argument);
/* The same, to which no signal of the program's goes. */
int stile_quiet_thread(void *(*body)(void *), void *argument);

/* A word that another process may write meanwhile, with all that it wrote before. */
static inline uint64_t stile_load_word(const void *word) { return __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE); }

/* Asks for the line of memory at an address, which may be any. */
static inline void stile_prefetch(const void *address) { __builtin_prefetch(address); }
/* The same for a line that is to be written: it is taken from other processors at once. Processors that do not know the
 * instruction do nothing. */
static inline void stile_prefetch_to_write(void *address) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw (%0)" : : "r"(address));
#else
    __builtin_prefetch(address, 1);
#endif
}

#endif
