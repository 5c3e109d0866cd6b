/*
 * Asks on several connections, many questions on the way on each, while the server is restarted, and never asks a
 * question again: whatever the kernel took of it before the connection ended must have been answered.
 *
 *   leave SOCKET FRAMES CONNECTIONS DEPTH GOODBYE
 *
 * FRAMES: a hello, then questions. GOODBYE: 1 says in the hello that a goodbye is understood; then every connection must
 * end with one. Runs until it gets SIGTERM; prints what it asked and got. A connection that is refused is a failure.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>

#include "frames.h"

enum { MOST = 64 };

static volatile sig_atomic_t is_over;
static void end(int signal) {
    (void)signal;
    is_over = 1;
}

static struct lane {
    struct stream stream;
    int is_open, is_broken, has_welcome, has_goodbye;
    size_t next, sent; /* the frame that is being sent, and its bytes that are */
    uint64_t taken, answered;
} lanes[MOST];
static struct frames frames;
static unsigned char hello[1024];
static uint64_t asked, answers, connections, goodbyes, lost;

static void make_hello(int takes_goodbye) {
    const unsigned char *frame = frame_at(&frames, 0);
    size_t size = 4 + length_of(frame);
    memcpy(hello, frame, size);
    if (!takes_goodbye) return;
    hello[4]++; /* one more pair, 29: true */
    memcpy(hello + size, "\x18\x1d\xf5", 3);
    hello[3] = (unsigned char)(hello[3] + 3);
}

static void open_lane(const char *path, struct lane *lane) {
    struct stream stream = lane->stream;
    stream.descriptor = join(path);
    stream.have = stream.at = 0;
    *lane = (struct lane){.stream = stream, .is_open = 1};
    connections++;
    if (!send_all(stream.descriptor, hello, 4 + length_of(hello))) lane->is_broken = 1;
}

static void close_lane(struct lane *lane, int takes_goodbye) {
    close(lane->stream.descriptor);
    lane->is_open = 0;
    if (lane->taken != lane->answered) lost += lane->taken - lane->answered;
    /* One that was ended before its hello was taken has not been greeted either. */
    if (takes_goodbye && lane->has_welcome && !lane->has_goodbye) fprintf(stderr, "an end without goodbye\n"), exit(1);
    goodbyes += (uint64_t)lane->has_goodbye;
}

static void write_some(struct lane *lane, uint64_t depth) {
    while (lane->has_welcome && !lane->is_broken && lane->taken - lane->answered < depth) {
        const unsigned char *frame = frame_at(&frames, 1 + lane->next % (frames.count - 1));
        size_t size = 4 + length_of(frame);
        ssize_t put = send(lane->stream.descriptor, frame + lane->sent, size - lane->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno == EAGAIN) return;
        if (put < 0) {
            lane->is_broken = 1;
            return;
        }
        lane->sent += (size_t)put;
        if (lane->sent < size) continue;
        lane->sent = 0, lane->next++, lane->taken++, asked++;
    }
}

/* Reads what is there; 0 when the connection has ended. */
static int read_some(struct lane *lane) {
    ssize_t got = fill(&lane->stream, MSG_DONTWAIT);
    for (unsigned char *frame; (frame = next_frame(&lane->stream));) {
        uint64_t kind = number_of(frame, 0, 99);
        if (lane->has_goodbye) fprintf(stderr, "a frame after goodbye\n"), exit(1);
        if (kind == 0) lane->has_welcome = 1;
        else if (kind == 8) lane->has_goodbye = 1;
        else if (kind == 1 && number_of(frame, 3, 99) < 4) lane->answered++, answers++;
        else fprintf(stderr, "an error or a frame of kind %llu\n", (unsigned long long)kind), exit(1);
    }
    return got > 0 || (got < 0 && errno == EAGAIN);
}

int main(int count, char **arguments) {
    if (count != 6) return 64;
    frames = read_frames(arguments[2]);
    size_t lane_count = strtoul(arguments[3], NULL, 10);
    uint64_t depth = strtoul(arguments[4], NULL, 10);
    int takes_goodbye = atoi(arguments[5]);
    if (frames.count < 2 || lane_count < 1 || lane_count > MOST || length_of(frame_at(&frames, 0)) > 250) return 65;
    make_hello(takes_goodbye);
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    while (!is_over) {
        struct pollfd ready[MOST];
        for (size_t index = 0; index < lane_count; index++) {
            if (!lanes[index].is_open) open_lane(arguments[1], &lanes[index]);
            write_some(&lanes[index], depth);
            ready[index] = (struct pollfd){.fd = lanes[index].stream.descriptor, .events = POLLIN};
        }
        if (poll(ready, lane_count, 1000) < 0) continue;
        for (size_t index = 0; index < lane_count; index++)
            if (ready[index].revents && !read_some(&lanes[index])) close_lane(&lanes[index], takes_goodbye);
    }
    printf(
        "%llu questions, %llu answers, %llu connections, %llu goodbyes, %llu lost\n", (unsigned long long)asked,
        (unsigned long long)answers, (unsigned long long)connections, (unsigned long long)goodbyes,
        (unsigned long long)lost);
    return lost == 0 ? 0 : 1;
}
