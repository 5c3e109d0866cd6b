/*
 * Questions held open: one thread a client, started by the first watch, which owns one connection. It subscribes what is
 * watched, hands out what is pushed, asks for a sign of life now and then, and subscribes all again when the connection
 * was lost.
 *
 * INVARIANTS. The connection is touched only by the thread. Everything else changes only under `lock`, except for a
 * watch's two atomics, which are read without it. A watch is freed by whoever lets go of it last: its owner, the line of
 * requests on the wire, or the thread while it calls its watcher.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

static const int64_t FIRST_RETRY_NS = 1000000, LAST_RETRY_NS = 50000000, HELLO_NS = 1000000000;

enum watch_state { WATCH_NEW, WATCH_ASKED, WATCH_OPEN, WATCH_REFUSED };

struct stile_watch {
    struct sti_watches *watches;
    stile_watch *next, *previous; /* all watches of the client */
    stile_watch *chain;           /* in a slot of the numbers' table */
    unsigned holders;
    bool is_ended;
    stile_question *question;
    stile_watcher *watcher;
    void *context;
    enum watch_state state;
    uint64_t number;      /* the server's, while it is open */
    stile_answer *newest; /* the server's, or why there is none; NULL before either */
    bool is_told;         /* that there is no answer any more */
    int64_t lost;         /* when its connection was lost; 0 while it is there */
    atomic_bool is_trusted;
    atomic_ullong permitted_until; /* ms since 1970; 0: not permitted */
};

/* One request on the wire; its watch may have been ended meanwhile. NULL: a sign of life is asked for. */
struct wired {
    uint64_t id;
    unsigned kind;
    stile_watch *watch;
};

struct sti_watches {
    const char *path, *tenant;
    int64_t grace, heartbeat;
    pthread_mutex_t lock;
    pthread_cond_t called; /* a call of a watcher is over */
    pthread_t thread;
    bool has_thread, is_joined, is_stopping;
    int bell;
    unsigned forks;
    stile_watch *first, *calling;
    size_t count, new_count; /* watches; those that are to be subscribed */
    /* numbers of ended watches, to be unsubscribed */
    uint64_t *ended;
    size_t ended_count, ended_room;
    /* the thread's own */
    stile_connection *connection;
    struct wired *line;
    size_t line_start, line_count, line_room;
    stile_watch **numbers; /* a table of chains */
    size_t numbers_size;
    int64_t next_attempt, backoff, next_beat, beat_deadline, next_deny;
    /* why there is no connection */
    stile_failure failure;
    char code[64], message[160];
};

/* ---- Opening ---- */

struct sti_watches *sti_watches_open(const char *path, const char *tenant, unsigned grace_ms, unsigned heartbeat_ms) {
    struct sti_watches *watches = calloc(1, sizeof *watches);
    if (!watches) return NULL;
    watches->path = path;
    watches->tenant = tenant;
    watches->grace = (int64_t)grace_ms * 1000000;
    watches->heartbeat = (int64_t)heartbeat_ms * 1000000;
    watches->bell = -1;
    watches->forks = sti_forks();
    pthread_mutex_init(&watches->lock, NULL);
    pthread_cond_init(&watches->called, NULL);
    return watches;
}

static void ring(struct sti_watches *watches) {
    uint64_t one = 1;
    ssize_t put = write(watches->bell, &one, sizeof one);
    (void)put; /* a bell that is full rings already */
}

/* ---- Watches; all under the lock ---- */

static void let_go(stile_watch *watch) {
    if (--watch->holders > 0) return;
    stile_answer_free(watch->newest);
    stile_question_free(watch->question);
    free(watch);
}

static stile_watch **slot_of(struct sti_watches *watches, uint64_t number) {
    return &watches->numbers[number * 0x9e3779b97f4a7c15u >> 32 & (watches->numbers_size - 1)];
}

static stile_watch *with_number(struct sti_watches *watches, uint64_t number) {
    stile_watch *watch = watches->numbers ? *slot_of(watches, number) : NULL;
    while (watch && watch->number != number) watch = watch->chain;
    return watch;
}

static void forget_number(struct sti_watches *watches, stile_watch *watch) {
    stile_watch **link = slot_of(watches, watch->number);
    while (*link && *link != watch) link = &(*link)->chain;
    if (*link) *link = watch->chain;
    watch->chain = NULL;
}

/* Makes the table of numbers as large as there are watches; false without memory. */
static bool fit_numbers(struct sti_watches *watches) {
    if (watches->numbers_size >= watches->count && watches->numbers) return true;
    size_t size = 64;
    while (size < 2 * watches->count) size *= 2;
    stile_watch **numbers = calloc(size, sizeof *numbers);
    if (!numbers) return watches->numbers != NULL;
    free(watches->numbers);
    watches->numbers = numbers;
    watches->numbers_size = size;
    for (stile_watch *watch = watches->first; watch; watch = watch->next) {
        watch->chain = NULL;
        if (watch->state != WATCH_OPEN) continue;
        watch->chain = *slot_of(watches, watch->number);
        *slot_of(watches, watch->number) = watch;
    }
    return true;
}

/* Takes a new answer, and tells it with the lock let go. */
static void tell(struct sti_watches *watches, stile_watch *watch, stile_answer *answer) {
    bool is_answer = stile_answer_failure(answer) == STILE_FAILURE_NONE;
    atomic_store(&watch->permitted_until, stile_answer_permits(answer) ? stile_answer_valid_until(answer) : 0);
    atomic_store(&watch->is_trusted, is_answer);
    stile_answer *old = watch->newest;
    watch->newest = answer;
    watch->is_told = !is_answer;
    if (is_answer) watch->lost = 0;
    if (watch->watcher && !watch->is_ended) {
        /* The one before is freed after the call: only this thread replaces answers, so this one stays meanwhile. */
        watch->holders++;
        watches->calling = watch;
        pthread_mutex_unlock(&watches->lock);
        watch->watcher(watch->context, answer);
        pthread_mutex_lock(&watches->lock);
        watches->calling = NULL;
        pthread_cond_broadcast(&watches->called);
        let_go(watch);
    }
    stile_answer_free(old);
}

static void *work(void *argument);

/* Starts the thread, to which no signal of the program's goes. */
static bool start(struct sti_watches *watches) {
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
    int code = pthread_create(&watches->thread, NULL, work, watches);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0;
}

stile_watch *sti_watch_begin(struct sti_watches *watches, stile_question *question, stile_watcher *watcher, void *context) {
    stile_watch *watch = calloc(1, sizeof *watch);
    stile_question *copy = watch ? sti_question_copy(question) : NULL;
    if (!copy) {
        free(watch);
        return NULL;
    }
    *watch = (stile_watch){
        .watches = watches, .holders = 1, .question = copy, .watcher = watcher, .context = context, .lost = sti_now()};
    pthread_mutex_lock(&watches->lock);
    bool is_able = !watches->is_stopping;
    if (is_able && !watches->has_thread) {
        if (watches->bell < 0) watches->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        watches->has_thread = is_able = watches->bell >= 0 && start(watches);
    }
    if (is_able) {
        watch->next = watches->first;
        if (watches->first) watches->first->previous = watch;
        watches->first = watch;
        watches->count++;
        watches->new_count++;
        if (watch->lost + watches->grace < watches->next_deny) watches->next_deny = watch->lost + watches->grace;
        ring(watches);
    }
    pthread_mutex_unlock(&watches->lock);
    if (is_able) return watch;
    stile_question_free(copy);
    free(watch);
    return NULL;
}

static void unlink_watch(struct sti_watches *watches, stile_watch *watch) {
    if (watch->next) watch->next->previous = watch->previous;
    if (watch->previous) watch->previous->next = watch->next;
    else watches->first = watch->next;
    watches->count--;
    if (watch->state == WATCH_NEW) watches->new_count--;
}

/* Notes a number that is to be unsubscribed. Without memory the server keeps it until the connection ends. */
static void note_ended(struct sti_watches *watches, uint64_t number) {
    if (watches->ended_count == watches->ended_room) {
        size_t room = watches->ended_room ? watches->ended_room * 2 : 16;
        uint64_t *ended = realloc(watches->ended, room * sizeof *ended);
        if (!ended) return;
        watches->ended = ended;
        watches->ended_room = room;
    }
    watches->ended[watches->ended_count++] = number;
}

void stile_watch_end(stile_watch *watch) {
    if (!watch || watch->watches->forks != sti_forks()) return;
    struct sti_watches *watches = watch->watches;
    pthread_mutex_lock(&watches->lock);
    watch->is_ended = true;
    unlink_watch(watches, watch);
    if (watch->state == WATCH_OPEN) {
        forget_number(watches, watch);
        note_ended(watches, watch->number);
    }
    if (watches->has_thread && !watches->is_joined) ring(watches);
    bool is_inside = watches->has_thread && pthread_equal(pthread_self(), watches->thread);
    while (watches->calling == watch && !is_inside) pthread_cond_wait(&watches->called, &watches->lock);
    let_go(watch);
    pthread_mutex_unlock(&watches->lock);
}

bool stile_watch_permits(const stile_watch *watch) {
    if (!watch || watch->watches->forks != sti_forks()) return false;
    unsigned long long until = atomic_load(&((stile_watch *)(uintptr_t)watch)->permitted_until);
    return until == STILE_FOREVER || (until > 0 && sti_wall_ms() < until);
}

static stile_answer *copy_answer(const stile_answer *answer) {
    size_t size;
    const uint8_t *frame = stile_answer_frame(answer, &size);
    if (frame) return sti_answer_make(frame, size);
    return sti_answer_failed(stile_answer_failure(answer), stile_answer_code(answer), stile_answer_message(answer));
}

stile_answer *stile_watch_answer(stile_watch *watch) {
    if (!watch || watch->watches->forks != sti_forks()) return sti_answer_failed(STILE_FAILURE_CLOSED, NULL, NULL);
    pthread_mutex_lock(&watch->watches->lock);
    stile_answer *answer = watch->newest ? copy_answer(watch->newest)
                                         : sti_answer_failed(STILE_FAILURE_UNREACHABLE, NULL, "there is no answer yet");
    pthread_mutex_unlock(&watch->watches->lock);
    if (sti_wall_ms() < stile_answer_valid_until(answer) || stile_answer_failure(answer) != STILE_FAILURE_NONE)
        return answer;
    stile_answer_free(answer);
    return sti_answer_failed(STILE_FAILURE_DEADLINE, NULL, "the answer's time has come and its successor has not");
}

bool sti_watch_knows(stile_watch *watch, bool wants_answer, bool *permits, stile_answer **answer) {
    if (!atomic_load(&watch->is_trusted)) return false;
    if (!wants_answer && stile_watch_permits(watch)) {
        *permits = true;
        return true;
    }
    bool is_known = false;
    pthread_mutex_lock(&watch->watches->lock);
    if (atomic_load(&watch->is_trusted) && watch->newest && sti_wall_ms() < stile_answer_valid_until(watch->newest)) {
        is_known = true;
        *permits = stile_answer_permits(watch->newest);
        if (wants_answer) *answer = copy_answer(watch->newest);
    }
    pthread_mutex_unlock(&watch->watches->lock);
    return is_known;
}

/* ---- The thread: its connection ---- */

static bool wire(struct sti_watches *watches, unsigned kind, stile_watch *watch) {
    if (watches->line_start > 0 && watches->line_count == 0) watches->line_start = 0;
    if (watches->line_start + watches->line_count == watches->line_room) {
        if (watches->line_start > watches->line_room / 2) {
            memmove(watches->line, watches->line + watches->line_start, watches->line_count * sizeof *watches->line);
            watches->line_start = 0;
        } else {
            size_t room = watches->line_room ? watches->line_room * 2 : 64;
            struct wired *line = realloc(watches->line, room * sizeof *line);
            if (!line) return false;
            watches->line = line;
            watches->line_room = room;
        }
    }
    if (watch) watch->holders++;
    watches->line[watches->line_start + watches->line_count++] =
        (struct wired){watches->connection->next_id++, kind, watch};
    return true;
}

static uint64_t last_id(const struct sti_watches *watches) { return watches->connection->next_id - 1; }

/* Connects if it is time to. */
static void reach(struct sti_watches *watches) {
    int64_t now = sti_now();
    if (watches->connection || watches->count == 0 || now < watches->next_attempt) return;
    pthread_mutex_unlock(&watches->lock);
    stile_connection *connection = sti_connect(
        watches->path, watches->tenant, now + HELLO_NS, &watches->failure, watches->code, watches->message);
    pthread_mutex_lock(&watches->lock);
    now = sti_now();
    watches->connection = connection;
    if (connection) {
        watches->backoff = 0;
        watches->next_beat = now;
        watches->beat_deadline = INT64_MAX;
        watches->new_count = 0;
        for (stile_watch *watch = watches->first; watch; watch = watch->next) {
            watch->state = WATCH_NEW;
            watches->new_count++;
        }
        return;
    }
    watches->backoff = watches->backoff ? watches->backoff * 2 : FIRST_RETRY_NS;
    if (watches->backoff > LAST_RETRY_NS) watches->backoff = LAST_RETRY_NS;
    watches->next_attempt = now + watches->backoff;
}

/* The connection is gone: answers are not to be trusted, and after the grace they do not stand. */
static void part(struct sti_watches *watches) {
    stile_connection_close(watches->connection);
    watches->connection = NULL;
    for (; watches->line_count > 0; watches->line_start++, watches->line_count--) {
        stile_watch *watch = watches->line[watches->line_start].watch;
        if (watch) let_go(watch);
    }
    watches->ended_count = 0;
    if (watches->numbers) memset(watches->numbers, 0, watches->numbers_size * sizeof *watches->numbers);
    int64_t now = sti_now();
    watches->new_count = watches->count;
    for (stile_watch *watch = watches->first; watch; watch = watch->next) {
        watch->state = WATCH_NEW;
        watch->chain = NULL;
        atomic_store(&watch->is_trusted, false);
        if (watch->lost == 0) watch->lost = now;
    }
    watches->next_attempt = now;
    watches->next_deny = now;
}

/* Whether the last answer of a watch does not stand any more; else when to look again. */
static bool is_over(struct sti_watches *watches, const stile_watch *watch, int64_t now) {
    if (watch->is_told || (watch->lost == 0 && !watches->is_stopping)) return false;
    int64_t end = watches->is_stopping ? now : watch->lost + watches->grace;
    if (end > now && end < watches->next_deny) watches->next_deny = end;
    return end <= now;
}

/* Tells those whose connection has been lost for longer than the grace. */
static void deny(struct sti_watches *watches) {
    int64_t now = sti_now();
    size_t count = 0;
    watches->next_deny = INT64_MAX;
    for (stile_watch *watch = watches->first; watch; watch = watch->next) count += is_over(watches, watch, now);
    /* The lock is let go while one is told, so all are held first. Without memory it is tried again. */
    stile_watch **over = count > 0 ? malloc(count * sizeof *over) : NULL;
    if (!over) {
        if (count > 0) watches->next_deny = now + LAST_RETRY_NS;
        return;
    }
    count = 0;
    for (stile_watch *watch = watches->first; watch; watch = watch->next) {
        if (!is_over(watches, watch, now)) continue;
        watch->holders++;
        over[count++] = watch;
    }
    bool is_closed = watches->is_stopping;
    stile_failure failure = is_closed ? STILE_FAILURE_CLOSED
        : watches->failure == STILE_FAILURE_NONE || watches->failure == STILE_FAILURE_DEADLINE ? STILE_FAILURE_UNREACHABLE
        : watches->failure;
    for (size_t index = 0; index < count; index++) {
        if (!over[index]->is_ended)
            tell(watches, over[index],
                 sti_answer_failed(failure, is_closed ? NULL : watches->code, is_closed ? NULL : watches->message));
        let_go(over[index]);
    }
    free(over);
}

/* Puts on the wire what is to be asked. */
static bool ask(struct sti_watches *watches) {
    struct sti_bytes *output = &watches->connection->output;
    int64_t now = sti_now();
    if (!fit_numbers(watches)) return false;
    for (stile_watch *watch = watches->new_count ? watches->first : NULL; watch; watch = watch->next) {
        if (watch->state != WATCH_NEW) continue;
        if (!wire(watches, STI_SUBSCRIBE, watch)) return false;
        sti_subscribe_frame(output, watch->question, last_id(watches));
        watch->state = WATCH_ASKED;
        watches->new_count--;
    }
    while (watches->ended_count > 0) {
        if (!wire(watches, STI_UNSUBSCRIBE, NULL)) return false;
        sti_unsubscribe_frame(output, last_id(watches), watches->ended[--watches->ended_count]);
    }
    if (now >= watches->next_beat && watches->beat_deadline == INT64_MAX) {
        if (!wire(watches, STI_STATUS, NULL)) return false;
        sti_status_frame(output, last_id(watches));
        watches->beat_deadline = now + watches->heartbeat;
    }
    return !output->failed;
}

/* A reply to the request that is next in line; false when it is none. */
static bool take_reply(struct sti_watches *watches, const struct sti_frame *frame, const uint8_t *bytes, size_t size) {
    if (watches->line_count == 0) return false;
    struct wired next = watches->line[watches->line_start];
    if (frame->id != next.id || (frame->kind != next.kind && frame->kind != STI_ERROR)) return false;
    watches->line_start++;
    watches->line_count--;
    stile_watch *watch = next.watch;
    if (next.kind == STI_STATUS) {
        watches->next_beat = sti_now() + watches->heartbeat;
        watches->beat_deadline = INT64_MAX;
    } else if (next.kind == STI_SUBSCRIBE && frame->kind == STI_ERROR) {
        char code[64], message[160];
        sti_copy_text(code, sizeof code, frame->code);
        sti_copy_text(message, sizeof message, frame->message);
        watch->state = WATCH_REFUSED;
        if (!watch->is_ended) tell(watches, watch, sti_answer_failed(STILE_FAILURE_REFUSED, code, message));
    } else if (next.kind == STI_SUBSCRIBE && watch->is_ended) {
        note_ended(watches, frame->subscription);
    } else if (next.kind == STI_SUBSCRIBE) {
        watch->state = WATCH_OPEN;
        watch->number = frame->subscription;
        watch->chain = *slot_of(watches, watch->number);
        *slot_of(watches, watch->number) = watch;
        tell(watches, watch, sti_answer_make(bytes, size));
    }
    if (watch) let_go(watch);
    return true;
}

/* Hands out all whole frames; false when the connection is to be ended. */
static bool take_frames(struct sti_watches *watches) {
    const uint8_t *bytes;
    size_t size;
    for (;;) {
        int next = sti_next_frame(watches->connection, &bytes, &size);
        if (next <= 0) return next == 0;
        struct sti_frame frame;
        if (!sti_frame_read(bytes, size, &frame)) return false;
        if (frame.kind == STI_PUSH) {
            /* One that was ended meanwhile is nobody's. */
            stile_watch *watch = with_number(watches, frame.subscription);
            if (watch) tell(watches, watch, sti_answer_make(bytes, size));
        } else if (!frame.has_id || !take_reply(watches, &frame, bytes, size)) {
            return false;
        }
    }
}

/* ---- The thread: its loop ---- */

static int64_t next_time(const struct sti_watches *watches) {
    int64_t next = watches->next_deny;
    if (!watches->connection) return watches->count > 0 && watches->next_attempt < next ? watches->next_attempt : next;
    int64_t beat = watches->beat_deadline == INT64_MAX ? watches->next_beat : watches->beat_deadline;
    return beat < next ? beat : next;
}

/* Waits for bytes, the bell or the time; called and left with the lock held. */
static void wait_for_work(struct sti_watches *watches) {
    stile_connection *connection = watches->connection;
    int64_t until = next_time(watches);
    bool has_output = connection && sti_unsent(connection) > 0;
    struct pollfd ready[2] = {
        {.fd = watches->bell, .events = POLLIN},
        {.fd = connection ? connection->descriptor : -1, .events = (short)(has_output ? POLLIN | POLLOUT : POLLIN)}};
    pthread_mutex_unlock(&watches->lock);
    int count = poll(ready, 2, until == INT64_MAX ? -1 : sti_until(until));
    uint64_t value;
    if (count > 0 && ready[0].revents) while (read(watches->bell, &value, sizeof value) > 0) {}
    int filled = count > 0 && ready[1].revents & ~POLLOUT ? sti_fill(connection, MSG_DONTWAIT) : 0;
    pthread_mutex_lock(&watches->lock);
    /* Whatever comes is a sign of life: the one that was asked for may stand behind many answers. */
    if (filled > 0 && watches->beat_deadline != INT64_MAX) watches->beat_deadline = sti_now() + watches->heartbeat;
    /* What the server said before it closed is taken too; then there is no more. */
    if (connection && (!take_frames(watches) || filled < 0)) part(watches);
}

static void *work(void *argument) {
    struct sti_watches *watches = argument;
    pthread_mutex_lock(&watches->lock);
    while (!watches->is_stopping) {
        reach(watches);
        if (watches->connection) {
            bool is_alive = sti_now() < watches->beat_deadline && ask(watches)
                && stile_connection_flush(watches->connection) >= 0;
            /* A connection that nobody needs is ended. */
            if (!is_alive || watches->count == 0) part(watches);
        }
        if (sti_now() >= watches->next_deny) deny(watches);
        if (!watches->is_stopping) wait_for_work(watches);
    }
    if (watches->connection) part(watches);
    deny(watches);
    pthread_mutex_unlock(&watches->lock);
    return NULL;
}

/* ---- Ending ---- */

void sti_watches_stop(struct sti_watches *watches) {
    pthread_mutex_lock(&watches->lock);
    watches->is_stopping = true;
    bool joins = watches->has_thread && !watches->is_joined;
    if (joins) ring(watches);
    watches->is_joined = true;
    pthread_mutex_unlock(&watches->lock);
    if (joins) pthread_join(watches->thread, NULL);
}

void sti_watches_free(struct sti_watches *watches) {
    sti_watches_stop(watches);
    /* Watches that were not ended: a mistake of the program's, not a leak of ours. */
    while (watches->first) stile_watch_end(watches->first);
    if (watches->bell >= 0) close(watches->bell);
    pthread_mutex_destroy(&watches->lock);
    pthread_cond_destroy(&watches->called);
    free(watches->ended);
    free(watches->line);
    free(watches->numbers);
    free(watches);
}
