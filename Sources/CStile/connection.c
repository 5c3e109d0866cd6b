/* One connection: hello, frames out, frames in. Used by one thread at a time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

const char *stile_version(void) { return STILE_VERSION; }

int64_t sti_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

uint64_t sti_wall_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec < 0 ? 0 : (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

int sti_until(int64_t deadline) {
    int64_t left = deadline - sti_now();
    if (left <= 0) return 0;
    int64_t milliseconds = (left + 999999) / 1000000;
    return milliseconds > 3600000 ? 3600000 : (int)milliseconds;
}

/* ---- Bytes ---- */

int sti_next_frame(stile_connection *connection, const uint8_t **frame, size_t *size) {
    if (connection->end - connection->start < STI_PREFIX) return 0;
    const uint8_t *at = connection->input + connection->start;
    size_t length = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    if (length > STI_MAX_ANSWER) return -1;
    if (connection->end - connection->start - STI_PREFIX < length) return 0;
    *frame = at + STI_PREFIX;
    *size = length;
    connection->start += STI_PREFIX + length;
    return 1;
}

/* Room behind what is there: what was handed out is let go, and the buffer grows when one frame fills it. */
static bool make_room(stile_connection *connection) {
    size_t held = connection->end - connection->start;
    if (held == 0) {
        connection->start = connection->end = 0;
    } else if (connection->end == connection->room && connection->start > 0) {
        memmove(connection->input, connection->input + connection->start, held);
        connection->start = 0;
        connection->end = held;
    }
    if (connection->end < connection->room) return true;
    size_t room = connection->room ? connection->room * 2 : 32 << 10;
    uint8_t *input = realloc(connection->input, room);
    if (!input) return false;
    connection->input = input;
    connection->room = room;
    return true;
}

int sti_fill(stile_connection *connection, int flags) {
    if (!make_room(connection)) return -1;
    ssize_t got = recv(
        connection->descriptor, connection->input + connection->end, connection->room - connection->end, flags);
    if (got > 0) {
        connection->end += (size_t)got;
        return 1;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

int stile_connection_flush(stile_connection *connection) {
    if (!connection || connection->output.failed) return -1;
    while (sti_unsent(connection) > 0) {
        ssize_t put = send(
            connection->descriptor, connection->output.at + connection->sent, sti_unsent(connection),
            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0) connection->sent += (size_t)put;
        else if (errno == EAGAIN) return 0;
        else if (errno != EINTR) return -1;
    }
    connection->output.count = connection->sent = 0;
    return 1;
}

void sti_keep_error(stile_connection *connection, const struct sti_frame *frame) {
    sti_copy_text(connection->code, sizeof connection->code, frame->code);
    sti_copy_text(connection->message, sizeof connection->message, frame->message);
}

/* Waits for the descriptor until a deadline: 1 ready, 0 not in time, -1 an error. */
static int wait_for(int descriptor, short events, int64_t deadline) {
    for (;;) {
        struct pollfd ready = {.fd = descriptor, .events = events};
        int count = poll(&ready, 1, sti_until(deadline));
        if (count > 0) return 1;
        if (count == 0 && sti_now() >= deadline) return 0;
        if (count < 0 && errno != EINTR) return -1;
    }
}

/* ---- Opening ---- */

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, length + 1);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -1;
    /*
     * Non-blocking while it connects: a full backlog is EAGAIN, not a wait without end. Blocking from then on, so that
     * whoever waits for one answer needs one call; all others say MSG_DONTWAIT.
     */
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0
        || fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}

/* Says hello and reads the welcome. */
static stile_failure greet(stile_connection *connection, const char *tenant, int64_t deadline) {
    size_t start = sti_frame_begin(&connection->output);
    sti_append(&connection->output, "\xa4\x00\x00\x0b\x01\x0c", 6);
    sti_text(&connection->output, tenant, strlen(tenant));
    sti_append(&connection->output, "\x18\x1d\xf5", 3); /* 29: a goodbye is understood */
    sti_frame_end(&connection->output, start);
    if (connection->output.failed) return STILE_FAILURE_MEMORY;
    /* A server that refuses closes; what it said first is still to be read. */
    (void)stile_connection_flush(connection);
    for (;;) {
        const uint8_t *bytes;
        size_t size;
        int next = sti_next_frame(connection, &bytes, &size);
        if (next < 0) return STILE_FAILURE_PROTOCOL;
        if (next > 0) {
            struct sti_frame frame;
            if (!sti_frame_read(bytes, size, &frame)) return STILE_FAILURE_PROTOCOL;
            if (frame.kind == STI_HELLO) return STILE_FAILURE_NONE;
            /* A server that ends before it has answered: another is tried. */
            if (frame.kind == STI_GOODBYE) return STILE_FAILURE_UNREACHABLE;
            if (frame.kind != STI_ERROR) return STILE_FAILURE_PROTOCOL;
            sti_keep_error(connection, &frame);
            return STILE_FAILURE_REFUSED;
        }
        int ready = wait_for(connection->descriptor, POLLIN, deadline);
        if (ready == 0) return STILE_FAILURE_DEADLINE;
        if (ready < 0 || sti_fill(connection, MSG_DONTWAIT) < 0) return STILE_FAILURE_UNREACHABLE;
    }
}

stile_connection *sti_connect(
    const char *path, const char *tenant, int64_t deadline, stile_failure *failure, char *code, char *message) {
    code[0] = message[0] = 0;
    stile_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        *failure = STILE_FAILURE_MEMORY;
        return NULL;
    }
    connection->next_id = 1;
    connection->descriptor = connect_to(path);
    *failure = connection->descriptor < 0 ? STILE_FAILURE_UNREACHABLE : greet(connection, tenant, deadline);
    if (*failure == STILE_FAILURE_NONE) return connection;
    memcpy(code, connection->code, sizeof connection->code);
    memcpy(message, connection->message, sizeof connection->message);
    stile_connection_close(connection);
    return NULL;
}

static bool is_tenant(const char *tenant) {
    size_t length = tenant ? strnlen(tenant, STI_MAX_TENANT + 1) : 0;
    return length > 0 && length <= STI_MAX_TENANT && sti_is_utf8((const uint8_t *)tenant, length);
}

stile_connection *stile_connection_open(
    const char *socket_path, const char *tenant, unsigned timeout_ms, stile_failure *failure) {
    stile_failure reason = STILE_FAILURE_INVALID;
    stile_connection *connection = NULL;
    char code[64], message[160];
    if (is_tenant(tenant)) {
        int64_t deadline = sti_now() + (int64_t)timeout_ms * 1000000;
        connection = sti_connect(
            socket_path ? socket_path : "/run/stile/decision.sock", tenant, deadline, &reason, code, message);
    }
    if (failure) *failure = reason;
    return connection;
}

void stile_connection_close(stile_connection *connection) {
    if (!connection) return;
    if (connection->descriptor >= 0) close(connection->descriptor);
    free(connection->output.at);
    free(connection->input);
    free(connection);
}

int stile_connection_descriptor(const stile_connection *connection) {
    return connection ? connection->descriptor : -1;
}

/* ---- Asking ---- */

uint64_t stile_connection_send(stile_connection *connection, stile_question *question) {
    if (!connection || !sti_question_encode(question)) return 0;
    sti_question_frame(&connection->output, question, connection->next_id);
    return connection->output.failed ? 0 : connection->next_id++;
}

/* Looks at what is in the input: 1 an answer, 0 none, -1 what is no answer. */
static int take(stile_connection *connection, stile_reply *reply) {
    const uint8_t *bytes;
    size_t size;
    int next = sti_next_frame(connection, &bytes, &size);
    if (next <= 0) return next;
    struct sti_frame frame;
    if (!sti_frame_read(bytes, size, &frame)) return -1;
    if (frame.kind != STI_QUESTION && frame.kind != STI_ERROR) return -1;
    *reply = (stile_reply){
        .id = frame.id, .permits = frame.permits,
        .failure = frame.kind == STI_ERROR ? STILE_FAILURE_REFUSED : STILE_FAILURE_NONE,
        .valid_until = frame.valid_until, .frame = bytes, .frame_size = size};
    return 1;
}

int sti_fill_within(stile_connection *connection, unsigned timeout_ms) {
    if (connection->receive_timeout_ms != timeout_ms) {
        struct timeval time = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
        if (setsockopt(connection->descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) < 0) return -1;
        connection->receive_timeout_ms = timeout_ms;
    }
    return sti_fill(connection, 0);
}

int stile_connection_receive(stile_connection *connection, stile_reply *reply, int timeout_ms) {
    *reply = (stile_reply){.failure = STILE_FAILURE_PROTOCOL};
    if (!connection) return -1;
    int64_t deadline = 0;
    for (;;) {
        int taken = take(connection, reply);
        if (taken != 0) return taken;
        int filled;
        if (timeout_ms == 0) {
            filled = sti_fill(connection, MSG_DONTWAIT);
            if (filled == 0) return 0;
        } else if (timeout_ms < 0) {
            filled = sti_fill_within(connection, 0);
        } else if (deadline == 0) {
            /* Most often one read brings it: one call, with the kernel keeping the time. */
            deadline = sti_now() + (int64_t)timeout_ms * 1000000;
            filled = sti_fill_within(connection, (unsigned)timeout_ms);
        } else {
            int ready = wait_for(connection->descriptor, POLLIN, deadline);
            if (ready <= 0) return ready;
            filled = sti_fill(connection, MSG_DONTWAIT);
        }
        if (filled < 0) return -1;
    }
}
