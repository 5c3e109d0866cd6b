/*
 * What the black-box programs that speak to a decision socket share: connecting, whole frames, and just enough CBOR
 * to look into an answer.
 */
#ifndef STILE_FRAMES_H
#define STILE_FRAMES_H
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline uint32_t length_of(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* A connection; -1 with errno when there is none to be had. */
static inline int try_join(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor >= 0 && connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0) return descriptor;
    int saved = errno;
    close(descriptor);
    errno = saved;
    return -1;
}

static inline int join(const char *path) {
    int descriptor = try_join(path);
    if (descriptor < 0) perror(path), exit(1);
    return descriptor;
}

static inline int send_all(int descriptor, const unsigned char *bytes, size_t count) {
    while (count > 0) {
        ssize_t put = send(descriptor, bytes, count, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return 0;
        bytes += put, count -= (size_t)put;
    }
    return 1;
}

/* A stream of frames that arrive. */
struct stream {
    int descriptor;
    size_t have, at, room;
    unsigned char *bytes;
};

/* The next whole frame that has arrived (with its length before it), or NULL; it stands until the next fill. */
static inline unsigned char *next_frame(struct stream *stream) {
    if (stream->have - stream->at < 4) return NULL;
    unsigned char *frame = stream->bytes + stream->at;
    if (stream->have - stream->at - 4 < length_of(frame)) return NULL;
    stream->at += 4 + length_of(frame);
    return frame;
}

/* Reads once; 0 at the end of the stream, -1 when nothing was there. */
static inline ssize_t fill(struct stream *stream, int flags) {
    if (stream->at > 0) {
        memmove(stream->bytes, stream->bytes + stream->at, stream->have - stream->at);
        stream->have -= stream->at, stream->at = 0;
    }
    if (stream->room - stream->have < 65536) {
        stream->room = stream->room * 2 + 131072;
        stream->bytes = realloc(stream->bytes, stream->room);
        if (!stream->bytes) abort();
    }
    ssize_t got;
    do got = recv(stream->descriptor, stream->bytes + stream->have, stream->room - stream->have, flags);
    while (got < 0 && errno == EINTR);
    if (got > 0) stream->have += (size_t)got;
    return got;
}

/* The next frame, waited for; NULL when the stream has ended. */
static inline unsigned char *await_frame(struct stream *stream) {
    for (;;) {
        unsigned char *frame = next_frame(stream);
        if (frame) return frame;
        if (fill(stream, 0) <= 0) return NULL;
    }
}

/* The argument of a head; moves past it. */
static inline uint64_t argument(const unsigned char **at) {
    unsigned small = *(*at)++ & 31;
    if (small < 24) return small;
    uint64_t value = 0;
    for (unsigned count = 1u << (small - 24); count > 0; count--) value = value << 8 | *(*at)++;
    return value;
}

/* Moves past one item. */
static inline void skip_item(const unsigned char **at) {
    unsigned major = **at >> 5;
    uint64_t value = argument(at);
    switch (major) {
        case 2: case 3: *at += value; break;
        case 4: while (value--) skip_item(at); break;
        case 5: while (value--) skip_item(at), skip_item(at); break;
        case 6: skip_item(at); break;
        default: break;
    }
}

/* The value of a small key of a frame's map, or NULL. */
static inline const unsigned char *field(const unsigned char *frame, unsigned key) {
    const unsigned char *at = frame + 4;
    for (uint64_t count = argument(&at); count > 0; count--) {
        if (*at >> 5 == 0) {
            if (argument(&at) == key) return at;
        } else skip_item(&at);
        skip_item(&at);
    }
    return NULL;
}

/* The unsigned value of a key; `missing` when it is not there. */
static inline uint64_t number_of(const unsigned char *frame, unsigned key, uint64_t missing) {
    const unsigned char *at = field(frame, key);
    return at && *at >> 5 == 0 ? argument(&at) : missing;
}

/* A hash of all that answers are compared by: every field but kind, ids, version, snapshot and instant. */
static inline uint64_t digest_of(const unsigned char *frame) {
    uint64_t hash = 1469598103934665603u;
    const unsigned char *at = frame + 4;
    for (uint64_t count = argument(&at); count > 0; count--) {
        uint64_t key = argument(&at);
        const unsigned char *start = at;
        skip_item(&at);
        if (key < 2 || (key >= 4 && key <= 7) || key == 22) continue;
        hash = (hash ^ key) * 1099511628211u;
        for (; start < at; start++) hash = (hash ^ *start) * 1099511628211u;
    }
    return hash;
}

/* A file of length-prefixed frames. */
struct frames {
    unsigned char *bytes;
    size_t count, *offsets;
};

static inline struct frames read_frames(const char *path) {
    struct frames frames = {0};
    FILE *file = fopen(path, "rb");
    if (!file) perror(path), exit(66);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    frames.bytes = malloc(size + 1);
    frames.offsets = malloc((size / 4 + 2) * sizeof *frames.offsets);
    if (!frames.bytes || !frames.offsets || fread(frames.bytes, 1, size, file) != size) exit(66);
    fclose(file);
    for (size_t at = 0; at + 4 <= size; at += 4 + length_of(frames.bytes + at)) frames.offsets[frames.count++] = at;
    return frames;
}

static inline const unsigned char *frame_at(const struct frames *frames, size_t index) {
    return frames->bytes + frames->offsets[index];
}

static inline int send_frame(int descriptor, const unsigned char *frame) {
    return send_all(descriptor, frame, 4 + length_of(frame));
}

static inline int compare_u64(const void *left, const void *right) {
    uint64_t one = *(const uint64_t *)left, two = *(const uint64_t *)right;
    return one < two ? -1 : one > two;
}
#endif
