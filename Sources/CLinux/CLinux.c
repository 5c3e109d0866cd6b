#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

const uint32_t stile_readable = EPOLLIN;
const uint32_t stile_writable = EPOLLOUT;
const uint32_t stile_hung_up = EPOLLHUP | EPOLLERR;
const uint32_t stile_peer_closed = EPOLLRDHUP;
const uint32_t stile_urgent = EPOLLPRI;
const uint32_t stile_edge = (uint32_t)EPOLLET;
const uint32_t stile_exclusive = EPOLLEXCLUSIVE;

int stile_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int stile_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t data) {
    return control(epoll, EPOLL_CTL_ADD, descriptor, events, data);
}

int stile_epoll_change(int epoll, int descriptor, uint32_t events, uint64_t data) {
    return control(epoll, EPOLL_CTL_MOD, descriptor, events, data);
}

int stile_epoll_remove(int epoll, int descriptor) { return control(epoll, EPOLL_CTL_DEL, descriptor, 0, 0); }

int stile_epoll_wait(int epoll, struct stile_event *events, int capacity, int timeout_ms) {
    struct epoll_event ready[256];
    int count = (int)syscall(SYS_epoll_pwait, epoll, ready, capacity < 256 ? capacity : 256, timeout_ms, NULL, 8);
    for (int index = 0; index < count; index++) {
        events[index].events = ready[index].events;
        events[index].data = ready[index].data.u64;
    }
    return count;
}

ssize_t stile_read(int descriptor, void *bytes, size_t capacity) {
    return syscall(SYS_read, descriptor, bytes, capacity);
}

ssize_t stile_send(int socket, const void *bytes, size_t count) {
    return syscall(SYS_sendto, socket, bytes, count, MSG_NOSIGNAL, NULL, 0);
}

int stile_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC); }

static int address_of(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address->sun_path, path);
    return 0;
}

static int close_with_errno(int descriptor) {
    int saved = errno;
    close(descriptor);
    errno = saved;
    return -1;
}

int stile_listen_unix(const char *path, int backlog) {
    struct sockaddr_un address;
    if (address_of(path, &address) < 0) return -1;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0) return close_with_errno(descriptor);
    if (listen(descriptor, backlog) < 0) return close_with_errno(descriptor);
    return descriptor;
}

static int connect_unix(const char *path, int flags) {
    struct sockaddr_un address;
    if (address_of(path, &address) < 0) return -1;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (descriptor < 0) return -1;
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) return close_with_errno(descriptor);
    return descriptor;
}

int stile_connect_unix(const char *path) { return connect_unix(path, 0); }

int stile_connect_unix_now(const char *path) { return connect_unix(path, SOCK_NONBLOCK); }

int stile_peer_user(int socket, uint32_t *user, int32_t *process) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -1;
    *user = peer.uid;
    *process = peer.pid;
    return 0;
}

ssize_t stile_send_descriptor(int socket, const void *bytes, size_t count, int descriptor) {
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &descriptor, sizeof descriptor);
    struct iovec data = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

ssize_t stile_receive_descriptor(int socket, void *bytes, size_t capacity, int *descriptor) {
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {.iov_base = bytes, .iov_len = capacity};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    *descriptor = -1;
    ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (count < 0) return count;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(descriptor, CMSG_DATA(head), sizeof *descriptor);
    return count;
}

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

int stile_refuse_descriptors(int listener) {
    int passes = 0;
    return setsockopt(listener, SOL_SOCKET, SO_PASSRIGHTS, &passes, sizeof passes);
}

int stile_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

int stile_timer(void) { return timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC); }

int stile_timer_set(int timer, int64_t at_ms) {
    struct itimerspec time = {.it_value = {at_ms / 1000, at_ms % 1000 * 1000000}};
    return timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &time, NULL);
}

int stile_signalfd(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int stile_next_signal(int descriptor) {
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

void stile_count(uint32_t *word) { __atomic_add_fetch(word, 1, __ATOMIC_ACQ_REL); }

uint32_t stile_counted(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

int stile_futex_wait(const uint32_t *word, uint32_t seen, int timeout_ms) {
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    return (int)syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

int stile_futex_wake(uint32_t *word) { return (int)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0); }

int stile_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? -1 : fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

int stile_set_timeout(int socket, int seconds) {
    struct timeval time = {.tv_sec = seconds};
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) < 0) return -1;
    return setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

const int stile_peer_option = SO_PEERCRED;
_Static_assert(sizeof(struct stile_peer) == sizeof(struct ucred), "SO_PEERCRED gives a struct ucred");

int64_t stile_now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

uint64_t stile_monotonic_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

int stile_pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

int stile_set_idle(void) {
    struct sched_param parameters = {0};
    return sched_setscheduler(0, SCHED_IDLE, &parameters);
}

int64_t stile_find(const void *bytes, size_t count, const void *sought, size_t sought_count) {
    const char *place = memmem(bytes, count, sought, sought_count);
    return place ? place - (const char *)bytes : -1;
}

int stile_set_nice(int nice) {
    if (getpriority(PRIO_PROCESS, 0) <= nice) return 0;
    return setpriority(PRIO_PROCESS, (id_t)gettid(), nice);
}

int stile_stand_back(int nice) { return setpriority(PRIO_PROCESS, (id_t)gettid(), nice); }

void stile_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

struct stile_usage stile_thread_usage(void) {
    struct rusage usage = {0};
    struct timespec time = {0};
    getrusage(RUSAGE_THREAD, &usage);
    /* The clock is exact; the times in `usage` may be those of the timer's ticks. */
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (struct stile_usage){
        .busy_us = (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000,
        .preemptions = (uint64_t)usage.ru_nivcsw};
}

int stile_processors(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int stile_reserve(int file, int64_t count) { return fallocate(file, FALLOC_FL_KEEP_SIZE, 0, count); }

int stile_begin_writing(int file, int64_t offset, int64_t count) {
    return sync_file_range(file, offset, count, SYNC_FILE_RANGE_WRITE);
}

int stile_is_in_memory(const char *path) {
    struct statfs info;
    return statfs(path, &info) == 0 && info.f_type == 0x01021994; /* TMPFS_MAGIC */
}

int stile_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    int code = pthread_create(&thread, NULL, body, argument);
    if (code == 0) pthread_detach(thread);
    return code;
}

int stile_quiet_thread(void *(*body)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    int code = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (code != 0) return code;
    code = stile_thread(body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}
