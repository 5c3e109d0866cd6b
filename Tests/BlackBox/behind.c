/*
 * What comes behind an urgent byte, or behind a descriptor, is answered without the client having to send more: a read of
 * the server stops there, and an edge tells of all of it only once.
 *
 *   behind SOCKET FRAMES PID
 *
 * FRAMES: a hello, then questions whose ids count from 1. The daemon is stopped while it is sent to, so that it finds all
 * at once. Exit code 3: the system lets a descriptor through (before Linux 6.16), so only urgent bytes were tested.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>

#include "frames.h"

static struct frames frames;
static struct stream stream;
static uint64_t answered;
static pid_t server;

static void await_answers(size_t wanted, const char *what) {
    for (size_t got = 0; got < wanted;) {
        for (unsigned char *frame; got < wanted && (frame = next_frame(&stream)); got++) {
            uint64_t expected = ++answered;
            if (number_of(frame, 0, 99) != 1 || number_of(frame, 1, 0) != expected)
                fprintf(stderr, "%s: another answer than %llu\n", what, (unsigned long long)expected), exit(1);
        }
        if (got == wanted) return;
        struct pollfd ready = {.fd = stream.descriptor, .events = POLLIN};
        if (poll(&ready, 1, 5000) == 0)
            fprintf(stderr, "%s: %zu answers of %zu within five seconds\n", what, got, wanted), exit(1);
        if (fill(&stream, MSG_DONTWAIT) == 0) fprintf(stderr, "%s: the connection was closed\n", what), exit(1);
    }
}

static size_t asked;
static void ask(void) {
    if (!send_frame(stream.descriptor, frame_at(&frames, ++asked))) exit(1);
}

/* Bytes with this program's standard input; false when the system refuses it. */
static int send_descriptor(const unsigned char *bytes, size_t count) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head;
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (sendmsg(stream.descriptor, &message, MSG_NOSIGNAL) == (ssize_t)count) return 1;
    if (errno != EPERM) perror("sendmsg"), exit(1);
    return 0;
}

static void stop(void) { kill(server, SIGSTOP), usleep(20000); }
static void go_on(void) { kill(server, SIGCONT); }

int main(int count, char **arguments) {
    if (count != 4) return 64;
    frames = read_frames(arguments[2]);
    server = (pid_t)atol(arguments[3]);
    if (frames.count < 60 || server <= 1) return 65;
    stream.descriptor = join(arguments[1]);
    if (!send_frame(stream.descriptor, frame_at(&frames, 0)) || !await_frame(&stream)) return 1;
    for (int round = 0; round < 10; round++) {
        size_t before = asked;
        stop();
        ask();
        if (send(stream.descriptor, "!", 1, MSG_OOB | MSG_NOSIGNAL) != 1) perror("an urgent byte"), exit(1);
        ask(), ask();
        go_on();
        await_answers(asked - before, "behind an urgent byte");
        ask();
        await_answers(1, "a question of its own");
    }
    stop();
    ask();
    const unsigned char *question = frame_at(&frames, asked + 1);
    int passes = send_descriptor(question, 4 + length_of(question));
    if (passes) asked++;
    ask();
    go_on();
    if (!passes) {
        await_answers(2, "around a descriptor that was refused");
        printf("%llu questions answered, a descriptor refused\n", (unsigned long long)answered);
        return 0;
    }
    printf("%llu questions answered, a descriptor let through\n", (unsigned long long)answered);
    return 3;
}
