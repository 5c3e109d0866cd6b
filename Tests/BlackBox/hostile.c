/*
 * Sends random and mutated frames to a decision socket and holds another connection's answers against it: they must
 * keep coming, and no hostile frame may be answered by a permit.
 *
 *   hostile SOCKET FRAMES_FILE COUNT SEED
 *
 * FRAMES_FILE: length-prefixed frames, the first a hello, the second a question that is permitted, the rest questions
 * that are denied whole; mutations are made of the latter.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static uint64_t state;
static uint64_t draw(uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % bound;
}

static int join(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    for (int attempt = 0; attempt < 1000; attempt++) {
        if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0) return descriptor;
        if (errno != EAGAIN) break;
        usleep(1000);
    }
    perror(path);
    exit(1);
}

static uint32_t length_of(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* The next frame of a blocking connection; 0 when it was closed. */
static size_t next(int descriptor, unsigned char *frame, size_t room) {
    size_t have = 0, want = 4;
    while (have < want) {
        ssize_t got = read(descriptor, frame + have, want - have);
        if (got <= 0) return 0;
        have += (size_t)got;
        if (have == 4) want = 4 + length_of(frame);
        if (want > room) return 0;
    }
    return have;
}

/* True for an answer with outcome permit: a map whose key 0 is 1 and key 2 is 0. */
static int is_permit(const unsigned char *frame, size_t count) {
    if (count < 12 || (frame[4] & 0xe0) != 0xa0 || frame[5] != 0 || frame[6] != 1 || frame[7] != 1) return 0;
    size_t at = 8;
    unsigned char head = frame[at] & 31;
    at += head < 24 ? 1 : head == 24 ? 2 : head == 25 ? 3 : head == 26 ? 5 : 9;
    return at + 1 < count && frame[at] == 2 && frame[at + 1] == 0;
}

int main(int count, char **arguments) {
    if (count != 5) return 64;
    static unsigned char file[1 << 20], frame[1 << 21], answer[1 << 20];
    FILE *input = fopen(arguments[2], "rb");
    size_t size = input ? fread(file, 1, sizeof file, input) : 0, offsets[256], frames = 0;
    for (size_t at = 0; at + 4 <= size && frames < 255; at += 4 + length_of(file + at)) offsets[frames++] = at;
    if (frames < 3) return 65;
    state = strtoull(arguments[4], NULL, 10);
    long total = atol(arguments[3]), permits = 0, closed = 0, good = 0;

    int honest = join(arguments[1]);
    size_t hello = 4 + length_of(file);
    if (write(honest, file, hello) < 0 || !next(honest, answer, sizeof answer)) return 1;
    int hostile = -1;
    for (long number = 0; number < total; number++) {
        if (hostile < 0) {
            hostile = join(arguments[1]);
            if (draw(8) && (write(hostile, file, hello) < 0 || !next(hostile, answer, sizeof answer))) return 1;
        }
        const unsigned char *model = file + offsets[2 + draw(frames - 2)];
        size_t bytes = 4 + length_of(model);
        memcpy(frame, model, bytes);
        switch (draw(5)) {
            case 0:
                bytes = 4 + draw(200);
                for (size_t at = 4; at < bytes; at++) frame[at] = (unsigned char)draw(256);
                break;
            case 1:
                for (int flips = 0; flips <= (int)draw(4); flips++) frame[4 + draw(bytes - 4)] = (unsigned char)draw(256);
                break;
            case 2: bytes = 4 + draw(bytes - 4); break;
            case 3:
                for (int copies = 0; copies <= (int)draw(3); copies++)
                    memmove(frame + 4 + draw(bytes - 4), frame + 4 + draw(bytes - 4), draw(8) + 1);
                break;
            default: break;
        }
        uint32_t length = draw(200) == 0 ? (uint32_t)draw(UINT32_MAX) : (uint32_t)(bytes - 4);
        frame[0] = length >> 24, frame[1] = length >> 16, frame[2] = length >> 8, frame[3] = length;
        int isGone = send(hostile, frame, bytes, MSG_NOSIGNAL) < 0;
        struct pollfd ready = {.fd = hostile, .events = POLLIN};
        while (!isGone && poll(&ready, 1, 0) > 0) {
            size_t got = next(hostile, answer, sizeof answer);
            if (!got) isGone = 1;
            else if (is_permit(answer, got)) permits++;
        }
        /* A frame that waits for more bytes would swallow those after it: start anew now and then. */
        if (isGone || draw(50) == 0) {
            shutdown(hostile, SHUT_WR);
            size_t got;
            while ((got = next(hostile, answer, sizeof answer)) > 0)
                if (is_permit(answer, got)) permits++;
            close(hostile);
            hostile = -1;
            closed++;
        }
        if (number % 64 == 0) {
            const unsigned char *question = file + offsets[1];
            if (write(honest, question, 4 + length_of(question)) < 0) return 1;
            size_t got = next(honest, answer, sizeof answer);
            if (!is_permit(answer, got)) {
                fprintf(stderr, "the honest connection lost its answer at frame %ld\n", number);
                return 1;
            }
            good++;
        }
    }
    printf("%ld hostile frames, %ld connections, %ld permits, %ld honest answers\n", total, closed, permits, good);
    return permits == 0 ? 0 : 1;
}
