/*
 * The floor: a Unix stream socket server that speaks the protocol and decides nothing. Each question gets one of the
 * answers that Stile once gave (`load --record`), in turn, with the question's id put in; all that is complete after
 * one read is answered in one write, as Stile does. What it costs is what any such server costs.
 *
 *   echo SOCKET ANSWERS [PROCESSOR]
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { INPUT = 1 << 16, OUTPUT = 1 << 20, CONNECTIONS = 4096, ANSWERS = 4096 };

/* An answer around its id: the map's head and the kind, then what comes behind the id. */
static struct {
    uint8_t bytes[1024];
    uint32_t size;
} answers[ANSWERS];
static size_t answer_count, turn;
static uint8_t *inputs[CONNECTIONS];
static size_t have[CONNECTIONS];
static uint8_t output[OUTPUT];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint32_t length_of(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Bytes of the unsigned integer that begins here. */
static uint32_t width_of(uint8_t first) { return first < 24 ? 1 : 1 + (1u << (first - 24)); }

static void read_answers(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    uint8_t prefix[4], frame[2048];
    while (answer_count < ANSWERS && fread(prefix, 1, 4, file) == 4) {
        uint32_t size = length_of(prefix);
        if (size > sizeof frame || fread(frame, 1, size, file) != size) break;
        /* map, 0: 1, 1: id */
        if (size < 8 || frame[1] != 0 || frame[2] != 1 || frame[3] != 1) continue;
        uint32_t width = width_of(frame[4]), rest = size - 4 - width;
        if (rest + 4 > sizeof answers->bytes) continue;
        memcpy(answers[answer_count].bytes, frame, 4);
        memcpy(answers[answer_count].bytes + 4, frame + 4 + width, rest);
        answers[answer_count++].size = rest + 4;
    }
    fclose(file);
    if (answer_count == 0) {
        fprintf(stderr, "%s holds no answer\n", path);
        exit(65);
    }
}

static size_t put(uint8_t *to, const uint8_t *start, uint32_t start_size, const uint8_t *id, uint32_t width,
                  const uint8_t *rest, uint32_t rest_size) {
    uint32_t size = start_size + width + rest_size;
    to[0] = (uint8_t)(size >> 24), to[1] = (uint8_t)(size >> 16), to[2] = (uint8_t)(size >> 8), to[3] = (uint8_t)size;
    memcpy(to + 4, start, start_size);
    memcpy(to + 4 + start_size, id, width);
    memcpy(to + 4 + start_size + width, rest, rest_size);
    return 4 + size;
}

static size_t answer_all(uint8_t *input, size_t *count) {
    static const uint8_t welcome[] = {0xa4, 0, 0, 5, 1, 11, 1, 12, 0x65, 'f', 'l', 'o', 'o', 'r'};
    size_t at = 0, written = 0;
    while (*count - at >= 4) {
        uint32_t length = length_of(input + at);
        const uint8_t *frame = input + at + 4;
        if (*count - at - 4 < length || written + 2048 > OUTPUT) break;
        if (length > 2 && frame[2] == 0) {
            written += put(output + written, welcome, sizeof welcome, frame, 0, frame, 0);
        } else {
            written += put(output + written, answers[turn].bytes, 4, frame + 4, width_of(frame[4]),
                           answers[turn].bytes + 4, answers[turn].size - 4);
            turn = turn + 1 == answer_count ? 0 : turn + 1;
        }
        at += length + 4;
    }
    memmove(input, input + at, *count - at);
    *count -= at;
    return written;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: echo SOCKET ANSWERS [PROCESSOR]\n");
        return 64;
    }
    read_answers(arguments[2]);
    if (count > 3) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(atoi(arguments[3]), &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
    }
    /* As stiled's reactors; where the system refuses, it refuses them too. */
    setpriority(PRIO_PROCESS, 0, -5);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(arguments[1]) >= sizeof address.sun_path) return 64;
    strcpy(address.sun_path, arguments[1]);
    unlink(arguments[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), epoll = epoll_create1(0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0)
        die(arguments[1]);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int events = epoll_wait(epoll, ready, 256, -1);
        for (int index = 0; index < events; index++) {
            int client = ready[index].data.fd;
            if (client == listener) {
                client = accept(listener, NULL, NULL);
                if (client < 0 || client >= CONNECTIONS) die("accept");
                if (!inputs[client] && !(inputs[client] = malloc(INPUT))) die("malloc");
                have[client] = 0;
                event = (struct epoll_event){.events = EPOLLIN, .data.fd = client};
                epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
                continue;
            }
            ssize_t got = read(client, inputs[client] + have[client], INPUT - have[client]);
            if (got <= 0) {
                close(client);
                continue;
            }
            have[client] += (size_t)got;
            size_t bytes = answer_all(inputs[client], &have[client]), sent = 0;
            while (sent < bytes) {
                ssize_t put = write(client, output + sent, bytes - sent);
                if (put <= 0) break;
                sent += (size_t)put;
            }
        }
    }
}
