/*
 * The floor: a Unix stream socket server that does nothing but answer. It reads length-prefixed frames (u32,
 * big-endian) and answers each with a frame of a fixed size; all that is complete after one read is answered in one
 * write, as Stile does.
 *
 *   echo SOCKET ANSWER_BYTES [PROCESSOR]
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { INPUT = 1 << 20, OUTPUT = 4 << 20 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

static size_t answer_all(unsigned char *input, size_t *have, unsigned char *output, uint32_t size) {
    size_t at = 0, written = 0;
    while (*have - at >= 4) {
        uint32_t length = (uint32_t)input[at] << 24 | input[at + 1] << 16 | input[at + 2] << 8 | input[at + 3];
        if (*have - at - 4 < length || written + size + 4 > OUTPUT) break;
        output[written] = size >> 24, output[written + 1] = size >> 16, output[written + 2] = size >> 8,
        output[written + 3] = size;
        memset(output + written + 4, 0x5a, size);
        written += size + 4;
        at += length + 4;
    }
    memmove(input, input + at, *have - at);
    *have -= at;
    return written;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: echo SOCKET ANSWER_BYTES [PROCESSOR]\n");
        return 64;
    }
    uint32_t size = (uint32_t)atoi(arguments[2]);
    if (count > 3) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(atoi(arguments[3]), &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(arguments[1]) >= sizeof address.sun_path) return 64;
    strcpy(address.sun_path, arguments[1]);
    unlink(arguments[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 16) < 0)
        die(arguments[1]);
    static unsigned char input[INPUT], output[OUTPUT];
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) die("accept");
        /* One client at a time; epoll is waited on as a server of many would. */
        int epoll = epoll_create1(0);
        struct epoll_event event = {.events = EPOLLIN};
        epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
        size_t have = 0;
        for (;;) {
            if (epoll_wait(epoll, &event, 1, -1) <= 0) continue;
            ssize_t got = read(client, input + have, INPUT - have);
            if (got <= 0) break;
            have += (size_t)got;
            size_t bytes = answer_all(input, &have, output, size), sent = 0;
            while (sent < bytes) {
                ssize_t put = write(client, output + sent, bytes - sent);
                if (put <= 0) break;
                sent += (size_t)put;
            }
        }
        close(epoll);
        close(client);
    }
}
