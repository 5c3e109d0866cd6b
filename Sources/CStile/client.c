/*
 * The client: a pool of connections ("lanes") shared by any number of threads, without a thread of its own.
 *
 * A thread that asks puts its frames on a lane and waits in the lane's line. One of the threads in line reads the
 * lane (it "leads") and hands out what comes until it has its own answer; then the next in line leads. So a lone
 * thread does what a plain program would, one send and one read, and many threads share one connection pipelined.
 *
 * INVARIANTS. A lane's connection and line change only under the lane's lock. Its input is touched only
 * by the thread that leads, its output only under the lock. A call is on the stack of its thread; it stands in a line
 * only while that thread is in `drive`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { DEFAULT_LANES = 4, MAX_LANES = 1024, DEFAULT_TIMEOUT_MS = 1000, MAX_RESENDS = 8 };
/* A server that was not there for so long is "down": then questions fail at once, and one in PROBE_NS tries it. */
static const int64_t GRACE_NS = 1000000000, PROBE_NS = 50000000;

/* ---- What is asked ---- */

struct call;

/* One frame, to be sent or on its way. */
struct request {
    struct request *next; /* in the lane's line */
    struct call *call;
    uint64_t id;
    unsigned kind; /* the frame expected: STI_QUESTION, STI_BATCH or STI_STATUS */
    stile_question *question;
    enum { TO_SEND, SENT, DONE } state;
    unsigned sendings;
    bool permits;
    stile_failure failure;
    stile_answer *answer; /* when wanted */
};

/* What one thread waits for. */
struct call {
    pthread_cond_t ready;
    size_t waiting; /* requests in line */
    struct request *requests;
    size_t count;
    bool wants_answers;
    /* a batch */
    stile_question *defaults;
    stile_question *const *items;
    size_t item_count;
    stile_semantic semantic;
    stile_answer **item_answers;
    size_t items_permitted, items_answered;
    /* a status */
    stile_status *status;
};

/* A lane that is lost is empty when its last user has left. */
enum lane_state { LANE_EMPTY, LANE_OPENING, LANE_OPEN, LANE_LOST };

struct lane {
    /* under the client's lock */
    enum lane_state state;
    unsigned users;
    /* under the lane's lock */
    pthread_mutex_t lock;
    stile_connection *connection;
    struct request *first, **last;
    bool is_led, is_broken;
    size_t abandoned; /* answers that nobody waits for any more */
    int64_t heard;    /* when something came last */
    atomic_bool is_suspect;
};

struct stile_client {
    char *path, *tenant;
    unsigned timeout_ms, lane_count;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a lane has become free or open, or the last thread has left */
    bool is_closing;
    unsigned inside;
    int64_t down_since, next_probe, backoff; /* 0: the server is there */
    stile_failure down_failure;
    char down_code[64], down_message[160];
    unsigned fork_count;
    struct sti_watches *watches;
    struct sti_kept *kept; /* NULL when no decisions are kept */
    struct lane lanes[];
};

/* ---- Forks: a child has its parent's connections, but not its threads ---- */

static atomic_uint fork_count;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static void count_fork(void) { atomic_fetch_add(&fork_count, 1); }
static void watch_forks(void) { pthread_atfork(NULL, NULL, count_fork); }
unsigned sti_forks(void) { return atomic_load(&fork_count); }
static bool is_forked(const stile_client *client) { return client->fork_count != sti_forks(); }

/* ---- Time ---- */

static struct timespec at_time(int64_t deadline) {
    if (deadline < 0) deadline = 0;
    return (struct timespec){.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
}

static int64_t deadline_after(const stile_client *client, unsigned timeout_ms) {
    return sti_now() + (int64_t)(timeout_ms ? timeout_ms : client->timeout_ms) * 1000000;
}

static void make_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* ---- Opening and closing ---- */

stile_client *stile_client_open(const stile_options *options) {
    if (!options || options->size < sizeof(stile_options) || !options->tenant || !*options->tenant) return NULL;
    if (strlen(options->tenant) > STI_MAX_TENANT) return NULL;
    unsigned lanes = options->connections ? options->connections : DEFAULT_LANES;
    if (lanes > MAX_LANES) return NULL;
    pthread_once(&fork_once, watch_forks);
    stile_client *client = calloc(1, sizeof *client + lanes * sizeof(struct lane));
    if (!client) return NULL;
    client->path = strdup(options->socket_path ? options->socket_path : "/run/stile/decision.sock");
    client->tenant = strdup(options->tenant);
    client->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    client->lane_count = lanes;
    client->fork_count = atomic_load(&fork_count);
    pthread_mutex_init(&client->lock, NULL);
    make_condition(&client->changed);
    for (unsigned index = 0; index < lanes; index++) {
        pthread_mutex_init(&client->lanes[index].lock, NULL);
        client->lanes[index].last = &client->lanes[index].first;
    }
    if (client->path && client->tenant)
        client->watches = sti_watches_open(
            client->path, client->tenant, options->grace_ms ? options->grace_ms : 1000,
            options->heartbeat_ms ? options->heartbeat_ms : 1000);
    if (client->watches && options->kept_decisions > 0)
        client->kept = sti_kept_open(client->watches, options->kept_decisions);
    if (client->watches && (client->kept || options->kept_decisions == 0)) return client;
    stile_client_close(client);
    return NULL;
}

/* Sees to it that the thread that reads a lane learns of its end. */
static void break_lane(struct lane *lane) {
    lane->is_broken = true;
    if (lane->connection) shutdown(lane->connection->descriptor, SHUT_RDWR);
}

void stile_client_stop(stile_client *client) {
    if (!client || is_forked(client)) return;
    pthread_mutex_lock(&client->lock);
    client->is_closing = true;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    for (unsigned index = 0; index < client->lane_count; index++) {
        struct lane *lane = &client->lanes[index];
        pthread_mutex_lock(&lane->lock);
        break_lane(lane);
        pthread_mutex_unlock(&lane->lock);
    }
    pthread_mutex_lock(&client->lock);
    while (client->inside > 0) pthread_cond_wait(&client->changed, &client->lock);
    pthread_mutex_unlock(&client->lock);
    if (client->watches) sti_watches_stop(client->watches);
}

void stile_client_close(stile_client *client) {
    if (!client) return;
    stile_client_stop(client);
    /* In a child the locks may be held by threads that are not there. */
    bool has_locks = !is_forked(client);
    for (unsigned index = 0; index < client->lane_count; index++) {
        stile_connection_close(client->lanes[index].connection);
        if (has_locks) pthread_mutex_destroy(&client->lanes[index].lock);
    }
    if (has_locks) {
        if (client->kept) sti_kept_close(client->kept);
        if (client->watches) sti_watches_free(client->watches);
        pthread_mutex_destroy(&client->lock);
        pthread_cond_destroy(&client->changed);
    }
    free(client->path);
    free(client->tenant);
    free(client);
}

/* ---- Finding a lane ---- */

/* Notes that the server is (not) there; under the client's lock. */
static void note_connecting(stile_client *client, stile_failure failure, const char *code, const char *message) {
    int64_t now = sti_now();
    if (failure == STILE_FAILURE_NONE) {
        client->down_since = client->backoff = client->next_probe = 0;
        return;
    }
    if (client->down_since == 0) client->down_since = now;
    client->down_failure = failure;
    memcpy(client->down_code, code, sizeof client->down_code);
    memcpy(client->down_message, message, sizeof client->down_message);
    client->backoff = client->backoff == 0 ? 1000000 : client->backoff * 2;
    if (client->backoff > PROBE_NS) client->backoff = PROBE_NS;
    client->next_probe = now + client->backoff;
}

/* Why a question cannot be asked. */
struct reason {
    stile_failure failure;
    char code[64], message[160];
};

static void take_reason(struct reason *reason, stile_failure failure, const stile_client *client) {
    *reason = (struct reason){.failure = failure};
    if (!client) return;
    memcpy(reason->code, client->down_code, sizeof reason->code);
    memcpy(reason->message, client->down_message, sizeof reason->message);
}

/* Connects a lane and settles its state; called and left with the client's lock held. */
static stile_failure open_lane(stile_client *client, struct lane *lane, int64_t deadline) {
    lane->state = LANE_OPENING;
    /* Those who come while the server is away wait for this attempt instead of making their own. */
    if (client->down_since) client->next_probe = sti_now() + PROBE_NS;
    pthread_mutex_unlock(&client->lock);
    struct reason reason;
    stile_connection *connection =
        sti_connect(client->path, client->tenant, deadline, &reason.failure, reason.code, reason.message);
    pthread_mutex_lock(&lane->lock);
    lane->connection = connection;
    lane->is_broken = false;
    lane->abandoned = 0;
    lane->heard = sti_now();
    atomic_store(&lane->is_suspect, false);
    pthread_mutex_unlock(&lane->lock);
    pthread_mutex_lock(&client->lock);
    lane->state = connection ? LANE_OPEN : LANE_EMPTY;
    note_connecting(client, reason.failure, reason.code, reason.message);
    pthread_cond_broadcast(&client->changed);
    return reason.failure;
}

/* Ends an open lane that nobody uses; under the client's lock. */
static void clear_lane(struct lane *lane) {
    pthread_mutex_lock(&lane->lock);
    stile_connection_close(lane->connection);
    lane->connection = NULL;
    pthread_mutex_unlock(&lane->lock);
    lane->state = LANE_EMPTY;
}

/* The lane to take: an idle one, else the one with the fewest users; and an empty one that could be opened. */
static struct lane *choose(stile_client *client, struct lane **empty) {
    struct lane *best = NULL;
    bool is_best_suspect = true;
    *empty = NULL;
    for (unsigned index = 0; index < client->lane_count; index++) {
        struct lane *lane = &client->lanes[index];
        bool is_suspect = atomic_load(&lane->is_suspect);
        if (lane->state == LANE_OPEN && is_suspect && lane->users == 0) clear_lane(lane);
        if (lane->state == LANE_EMPTY && !*empty) *empty = lane;
        if (lane->state != LANE_OPEN) continue;
        if (lane->users == 0) return lane;
        if (!best || is_suspect < is_best_suspect || (is_suspect == is_best_suspect && lane->users < best->users)) {
            best = lane;
            is_best_suspect = is_suspect;
        }
    }
    return best;
}

/* One step towards a lane, under the client's lock: a lane, or NULL with a reason, or NULL and "look again". */
static struct lane *look_for_lane(stile_client *client, int64_t deadline, struct reason *reason) {
    int64_t now = sti_now();
    take_reason(reason, STILE_FAILURE_NONE, NULL);
    if (client->is_closing) {
        take_reason(reason, STILE_FAILURE_CLOSED, NULL);
        return NULL;
    }
    if (now >= deadline) {
        if (client->down_since) take_reason(reason, client->down_failure, client);
        else take_reason(reason, STILE_FAILURE_DEADLINE, NULL);
        return NULL;
    }
    struct lane *empty, *lane = choose(client, &empty);
    bool may_open = empty && now >= client->next_probe;
    if (lane && (lane->users == 0 || !may_open)) return lane;
    if (may_open) {
        stile_failure failure = open_lane(client, empty, deadline);
        /* A refusal is final, unless there is a connection to share; a server that is not there is tried again. */
        bool is_final = failure == STILE_FAILURE_REFUSED || failure == STILE_FAILURE_PROTOCOL || failure == STILE_FAILURE_MEMORY;
        if (is_final && !choose(client, &empty)) take_reason(reason, failure, client);
        return NULL;
    }
    if (client->down_since && now - client->down_since > GRACE_NS) {
        take_reason(reason, client->down_failure, client);
        return NULL;
    }
    struct timespec time = at_time(client->next_probe > now && client->next_probe < deadline ? client->next_probe : deadline);
    pthread_cond_timedwait(&client->changed, &client->lock, &time);
    return NULL;
}

/* A lane with this thread among its users; NULL with the reason. */
static struct lane *enter(stile_client *client, bool is_first, int64_t deadline, struct reason *reason) {
    struct lane *lane;
    pthread_mutex_lock(&client->lock);
    if (is_first) client->inside++;
    do lane = look_for_lane(client, deadline, reason);
    while (!lane && reason->failure == STILE_FAILURE_NONE);
    if (lane) lane->users++;
    else if (--client->inside == 0) pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    return lane;
}

static void leave(stile_client *client, bool is_last, struct lane *lane, bool is_lost) {
    pthread_mutex_lock(&client->lock);
    lane->users--;
    if (is_lost && lane->state == LANE_OPEN) lane->state = LANE_LOST;
    if (lane->state == LANE_LOST && lane->users == 0) lane->state = LANE_EMPTY;
    if (is_last) client->inside--;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
}

/* ---- A lane's line; all under its lock ---- */

static void finish(struct request *request, stile_failure failure, const char *code, const char *message) {
    request->state = DONE;
    request->permits = false;
    request->failure = failure;
    if (request->call->wants_answers) request->answer = sti_answer_failed(failure, code, message);
}

/* Takes a request out of the line and counts it off its call. */
static void step_out(struct request *request) {
    struct call *call = request->call;
    if (--call->waiting == 0) pthread_cond_signal(&call->ready);
}

static struct request *shift(struct lane *lane) {
    struct request *request = lane->first;
    lane->first = request->next;
    if (!lane->first) lane->last = &lane->first;
    return request;
}

/*
 * Ends a connection. What the server refused is refused; what spoke nonsense is not asked again; when it just closed,
 * the others in line are asked again elsewhere.
 */
static void lose(struct lane *lane, bool is_nonsense) {
    stile_connection *connection = lane->connection;
    bool is_goodbye = connection->said_goodbye;
    bool is_refused = connection->code[0] != 0;
    while (lane->first) {
        struct request *request = shift(lane);
        if (is_goodbye) request->sendings--; /* not asked */
        if (is_refused) finish(request, STILE_FAILURE_REFUSED, connection->code, connection->message);
        else if (is_nonsense) finish(request, STILE_FAILURE_PROTOCOL, NULL, NULL);
        else request->state = TO_SEND;
        is_refused = false;
        step_out(request);
    }
    stile_connection_close(connection);
    lane->connection = NULL;
}

static void take_batch(struct request *request, const struct sti_frame *frame) {
    struct call *call = request->call;
    struct sti_reader reader = sti_reader(frame->items.at, frame->items.count);
    size_t count = sti_array(&reader);
    bool fits = count <= call->item_count && (count == call->item_count || call->semantic != STILE_EXECUTE_ALL);
    if (!fits) {
        request->failure = STILE_FAILURE_PROTOCOL;
        return;
    }
    for (size_t index = 0; index < count; index++) {
        struct sti_slice item = sti_skip(&reader);
        stile_answer *answer = sti_answer_make(item.at, item.count);
        if (stile_answer_permits(answer)) call->items_permitted++;
        if (call->item_answers) call->item_answers[index] = answer;
        else stile_answer_free(answer);
    }
    call->items_answered = count;
    request->permits = call->items_permitted == call->item_count;
}

/* Hands a frame to the request it answers; false when it answers none. */
static bool hand_out(struct lane *lane, const struct sti_frame *frame, const uint8_t *bytes, size_t size) {
    struct request *request = lane->first;
    if (!request || frame->id != request->id) {
        /* Answers come in the order of the questions: one that is not the next was given up by its thread. */
        if (lane->abandoned == 0 || (request && frame->id > request->id)) return false;
        if (--lane->abandoned == 0) atomic_store(&lane->is_suspect, false);
        return true;
    }
    if (frame->kind != request->kind && frame->kind != STI_ERROR) return false;
    shift(lane);
    if (frame->kind == STI_ERROR) {
        char code[64], message[160];
        sti_copy_text(code, sizeof code, frame->code);
        sti_copy_text(message, sizeof message, frame->message);
        finish(request, STILE_FAILURE_REFUSED, code, message);
        step_out(request);
        return true;
    }
    request->state = DONE;
    request->failure = STILE_FAILURE_NONE;
    switch (frame->kind) {
        case STI_QUESTION:
            request->permits = frame->permits;
            if (request->call->wants_answers) {
                request->answer = sti_answer_make(bytes, size);
                request->permits = stile_answer_permits(request->answer);
            }
            break;
        case STI_BATCH: take_batch(request, frame); break;
        default:
            if (!sti_status_read(bytes, size, request->call->status)) request->failure = STILE_FAILURE_PROTOCOL;
    }
    step_out(request);
    return true;
}

/* Hands out all whole frames of the input: 1, 0 when the server has refused or ends, -1 when it speaks nonsense. */
static int hand_out_all(struct lane *lane) {
    const uint8_t *bytes;
    size_t size;
    for (;;) {
        int next = sti_next_frame(lane->connection, &bytes, &size);
        if (next <= 0) return next < 0 ? -1 : 1;
        struct sti_frame frame;
        if (!sti_frame_read(bytes, size, &frame)) return -1;
        if (frame.kind == STI_ERROR && !frame.has_id) {
            sti_keep_error(lane->connection, &frame);
            return 0;
        }
        if (frame.kind == STI_GOODBYE) {
            lane->connection->said_goodbye = true;
            return 0;
        }
        if (!hand_out(lane, &frame, bytes, size)) return -1;
    }
}

/* Gives up what a call still has in line. */
static void abandon(struct lane *lane, struct call *call) {
    for (struct request **link = &lane->first; *link;) {
        struct request *request = *link;
        if (request->call != call) {
            link = &request->next;
            continue;
        }
        *link = request->next;
        finish(request, STILE_FAILURE_DEADLINE, NULL, NULL);
        call->waiting--;
        lane->abandoned++;
    }
    lane->last = &lane->first;
    while (*lane->last) lane->last = &(*lane->last)->next;
    /* No new question goes where answers are overdue, until they come; long silence ends the connection. */
    atomic_store(&lane->is_suspect, true);
    if (sti_now() - lane->heard > GRACE_NS) break_lane(lane);
}

/* ---- Sending, reading, waiting; with the lane's lock held ---- */

static void append(struct lane *lane, struct request *request) {
    struct call *call = request->call;
    struct sti_bytes *output = &lane->connection->output;
    request->id = lane->connection->next_id++;
    switch (request->kind) {
        case STI_QUESTION: sti_question_frame(output, request->question, request->id); break;
        case STI_BATCH:
            sti_batch_frame(output, request->id, call->defaults, call->items, call->item_count, call->semantic);
            break;
        default: sti_status_frame(output, request->id);
    }
    request->next = NULL;
    request->state = SENT;
    request->sendings++;
    *lane->last = request;
    lane->last = &request->next;
    call->waiting++;
}

static void send_all(struct lane *lane, struct call *call) {
    /* A lane that is silent by nature is not one that has stopped answering. */
    if (!lane->first) lane->heard = sti_now();
    for (size_t index = 0; index < call->count; index++)
        if (call->requests[index].state == TO_SEND) append(lane, &call->requests[index]);
    /* On failure the reader sees the end, after what the server said before it. */
    if (stile_connection_flush(lane->connection) < 0) break_lane(lane);
}

/* Reads once as the leader, with the lock let go: 1 something came, 0 the deadline has passed, -1 the lane is gone. */
static int read_once(struct lane *lane, int64_t deadline, unsigned quick_ms) {
    stile_connection *connection = lane->connection;
    bool has_output = sti_unsent(connection) > 0 && !lane->is_broken;
    pthread_mutex_unlock(&lane->lock);
    int result;
    if (quick_ms > 0 && !has_output) {
        result = sti_fill_within(connection, quick_ms);
    } else {
        struct pollfd ready = {.fd = connection->descriptor, .events = (short)(has_output ? POLLIN | POLLOUT : POLLIN)};
        int count = poll(&ready, 1, sti_until(deadline));
        result = count > 0 && ready.revents & ~POLLOUT ? sti_fill(connection, MSG_DONTWAIT) : count < 0 && errno != EINTR ? -1 : 0;
    }
    pthread_mutex_lock(&lane->lock);
    if (sti_unsent(connection) > 0 && !lane->is_broken && stile_connection_flush(connection) < 0) break_lane(lane);
    if (result > 0) lane->heard = sti_now();
    return result < 0 ? -1 : result > 0 || sti_now() < deadline ? 1 : 0;
}

/* Leads: reads and hands out until the call has all its answers, the deadline passes or the lane is gone. */
static void lead(struct lane *lane, struct call *call, int64_t deadline, unsigned quick_ms) {
    lane->is_led = true;
    while (call->waiting > 0) {
        int result = read_once(lane, deadline, quick_ms);
        quick_ms = 0;
        int sense = result < 0 ? 0 : hand_out_all(lane);
        if (sense <= 0) {
            lose(lane, sense < 0);
            break;
        }
        if (result == 0) {
            abandon(lane, call);
            break;
        }
    }
    lane->is_led = false;
    if (lane->first) pthread_cond_signal(&lane->first->call->ready);
}

/* Sends what is to be sent and waits until nothing of the call is in line. True when the lane is lost. */
static bool drive(struct lane *lane, struct call *call, int64_t deadline, unsigned quick_ms) {
    pthread_mutex_lock(&lane->lock);
    if (lane->connection) send_all(lane, call);
    while (call->waiting > 0) {
        if (!lane->is_led) {
            lead(lane, call, deadline, quick_ms);
            continue;
        }
        quick_ms = 0; /* time has gone by: the kernel's is not the deadline any more */
        struct timespec time = at_time(deadline);
        int result = pthread_cond_timedwait(&call->ready, &lane->lock, &time);
        if (result == ETIMEDOUT && call->waiting > 0) {
            abandon(lane, call);
            /* It may have been this thread's turn to lead. */
            if (!lane->is_led && lane->first) pthread_cond_signal(&lane->first->call->ready);
        }
    }
    bool is_lost = !lane->connection;
    pthread_mutex_unlock(&lane->lock);
    return is_lost;
}

/* ---- Asking ---- */

static void fail_rest(struct call *call, stile_failure failure, const char *code, const char *message) {
    for (size_t index = 0; index < call->count; index++)
        if (call->requests[index].state != DONE) finish(&call->requests[index], failure, code, message);
}

static bool is_finished(struct call *call) {
    bool is_finished = true;
    for (size_t index = 0; index < call->count; index++) {
        struct request *request = &call->requests[index];
        if (request->state == DONE) continue;
        /* A question on which connections keep ending is not asked for ever. */
        if (request->sendings >= MAX_RESENDS) finish(request, STILE_FAILURE_UNREACHABLE, NULL, NULL);
        else is_finished = false;
    }
    return is_finished;
}

static void run(stile_client *client, struct call *call, unsigned timeout_ms) {
    if (!client || is_forked(client)) {
        fail_rest(call, STILE_FAILURE_CLOSED, NULL, NULL);
        return;
    }
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    unsigned quick_ms = timeout_ms ? timeout_ms : client->timeout_ms;
    int64_t deadline = deadline_after(client, timeout_ms);
    make_condition(&call->ready);
    for (bool is_first = true, is_last = false; !is_last; is_first = false) {
        struct reason reason;
        struct lane *lane = enter(client, is_first, deadline, &reason);
        if (!lane) {
            fail_rest(call, reason.failure, reason.code, reason.message);
            break;
        }
        bool is_lost = drive(lane, call, deadline, quick_ms);
        is_last = is_finished(call);
        leave(client, is_last, lane, is_lost);
        quick_ms = 0;
    }
    pthread_cond_destroy(&call->ready);
    pthread_setcancelstate(state, NULL);
}

/* Readies a request; one whose question is wrong is done. */
static void prepare(struct request *request, struct call *call, stile_question *question) {
    *request = (struct request){.call = call, .kind = STI_QUESTION, .question = question, .state = TO_SEND};
    if (!sti_question_encode(question))
        finish(request, STILE_FAILURE_INVALID, NULL, stile_question_mistake(question));
}

bool stile_ask_within(stile_client *client, stile_question *question, unsigned timeout_ms, stile_answer **answer) {
    struct request request;
    struct call call = {.requests = &request, .count = 1, .wants_answers = answer != NULL};
    prepare(&request, &call, question);
    bool is_kept = request.state != DONE && client && client->kept && !is_forked(client)
        && sti_kept_find(client->kept, question, &request.permits, answer ? &request.answer : NULL);
    if (request.state != DONE && !is_kept) run(client, &call, timeout_ms);
    if (answer) *answer = request.answer;
    return request.permits;
}

bool stile_ask(stile_client *client, stile_question *question, stile_answer **answer) {
    return stile_ask_within(client, question, 0, answer);
}

bool stile_ask_many(
    stile_client *client, stile_question *const *questions, size_t count, unsigned timeout_ms, stile_answer **answers) {
    struct request few[64], *requests = few;
    if (count > sizeof few / sizeof *few) {
        requests = count <= SIZE_MAX / sizeof *requests ? malloc(count * sizeof *requests) : NULL;
        if (!requests) {
            for (size_t index = 0; answers && index < count; index++)
                answers[index] = sti_answer_failed(STILE_FAILURE_MEMORY, NULL, NULL);
            return false;
        }
    }
    struct call call = {.requests = requests, .count = count, .wants_answers = answers != NULL};
    for (size_t index = 0; index < count; index++) prepare(&requests[index], &call, questions[index]);
    if (count > 0) run(client, &call, timeout_ms);
    bool permits = count > 0;
    for (size_t index = 0; index < count; index++) {
        if (answers) answers[index] = requests[index].answer;
        if (!requests[index].permits) permits = false;
    }
    if (requests != few) free(requests);
    return permits;
}

/* What is wrong with a batch; NULL when nothing is. */
static const char *batch_mistake(stile_question *defaults, stile_question *const *items, size_t count, stile_semantic semantic) {
    if (count > STI_MAX_BATCH) return "a batch has 1,000 questions at most";
    if ((unsigned)semantic > STILE_PERMIT_ON_FIRST_PERMIT) return "a batch's semantic is none";
    if (defaults && !sti_question_encode(defaults)) return stile_question_mistake(defaults);
    size_t bytes = 32 + (defaults ? defaults->encoded.count : 0);
    for (size_t index = 0; index < count; index++) {
        if (!sti_question_encode(items[index])) return stile_question_mistake(items[index]);
        bytes += items[index]->encoded.count + 1;
    }
    return bytes > STI_MAX_FRAME ? "the batch is longer than a frame may be, 1 MiB" : NULL;
}

bool stile_ask_batch(
    stile_client *client, stile_question *defaults, stile_question *const *items, size_t count, stile_semantic semantic,
    unsigned timeout_ms, stile_answer **answers) {
    if (count == 0) return false;
    struct request request = {.kind = STI_BATCH};
    struct call call = {
        .requests = &request, .count = 1, .wants_answers = answers != NULL, .defaults = defaults, .items = items,
        .item_count = count, .semantic = semantic, .item_answers = answers};
    request.call = &call;
    const char *mistake = batch_mistake(defaults, items, count, semantic);
    if (mistake) finish(&request, STILE_FAILURE_INVALID, NULL, mistake);
    else run(client, &call, timeout_ms);
    if (answers) {
        stile_answer *failed = request.answer;
        for (size_t index = call.items_answered; index < count; index++)
            answers[index] = request.failure == STILE_FAILURE_NONE
                ? sti_answer_failed(STILE_FAILURE_INVALID, "not_evaluated", "the batch stopped before this question")
                : sti_answer_failed(
                    request.failure, failed ? stile_answer_code(failed) : NULL,
                    failed ? stile_answer_message(failed) : NULL);
        stile_answer_free(failed);
    }
    return request.permits && request.failure == STILE_FAILURE_NONE;
}

stile_failure stile_client_status(stile_client *client, unsigned timeout_ms, stile_status *status) {
    struct request request = {.kind = STI_STATUS};
    struct call call = {.requests = &request, .count = 1, .status = status};
    request.call = &call;
    if (status) run(client, &call, timeout_ms);
    else finish(&request, STILE_FAILURE_INVALID, NULL, NULL);
    return request.failure;
}

stile_watch *stile_watch_begin(stile_client *client, stile_question *question, stile_watcher *watcher, void *context) {
    if (!client || is_forked(client) || !sti_question_encode(question)) return NULL;
    return sti_watch_begin(client->watches, question, watcher, context);
}
