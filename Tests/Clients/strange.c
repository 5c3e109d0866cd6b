/*
 * A decision server that misbehaves, for clients to be held against: the tenant named in the hello says how. It
 * decides nothing; every answer it does give is a permit, so that a client that fails open is found out.
 *
 *   strange SOCKET
 *
 * Tenants: honest, silent (never answers), late (answers after 300 ms), bytes (one byte at a time), garbage, float (an
 * answer with a value that is not in the protocol), wrong-id, wrong-kind, liar (permit and error at once), short (an
 * answer without decision id), obliges (a permit with an obligation), closes (after three answers, for ever), leaves
 * (says goodbye and closes after one answer, for ever), refuses
 * (an error frame instead of an answer), mute (holds a question open and says nothing more, whatever it is asked), declines (the same for every other question, and goes on), unwelcome (an error frame instead of a welcome), speechless (no welcome),
 * huge (announces 100 MB).
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static size_t head(uint8_t *at, unsigned major, uint64_t value) {
    size_t width = value < 24 ? 0 : value < 256 ? 1 : value < 65536 ? 2 : value <= UINT32_MAX ? 4 : 8;
    at[0] = (uint8_t)(major << 5 | (width == 0 ? value : width == 1 ? 24 : width == 2 ? 25 : width == 4 ? 26 : 27));
    for (size_t index = width; index > 0; index--, value >>= 8) at[index] = (uint8_t)value;
    return 1 + width;
}

static size_t text(uint8_t *at, const char *text) {
    size_t size = head(at, 3, strlen(text));
    memcpy(at + size, text, strlen(text));
    return size + strlen(text);
}

static void put(int client, const uint8_t *frame, size_t size, int one_by_one) {
    uint8_t bytes[1024] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    memcpy(bytes + 4, frame, size);
    for (size_t at = 0; at < size + 4;) {
        size_t step = one_by_one ? 1 : size + 4 - at;
        ssize_t sent = send(client, bytes + at, step, MSG_NOSIGNAL);
        if (sent <= 0) return;
        at += (size_t)sent;
        if (one_by_one) usleep(200);
    }
}

static int take(int client, uint8_t *frame, size_t *size) {
    uint8_t prefix[4];
    if (recv(client, prefix, 4, MSG_WAITALL) != 4) return 0;
    *size = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
    return *size <= 1 << 20 && recv(client, frame, *size, MSG_WAITALL) == (ssize_t)*size;
}

/* The id of a frame: key 1, behind the map's head and the kind. */
static uint64_t id_of(const uint8_t *frame) {
    unsigned additional = frame[4] & 31;
    uint64_t id = 0;
    if (additional < 24) return additional;
    for (int index = 1; index <= 1 << (additional - 24); index++) id = id << 8 | frame[4 + index];
    return id;
}

/* An error frame; with an id it is about one request. */
static void refuse(int client, const char *code, uint64_t id) {
    uint8_t frame[128];
    size_t size = head(frame, 5, id ? 4 : 3);
    size += head(frame + size, 0, 0), size += head(frame + size, 0, 15);
    if (id) size += head(frame + size, 0, 1), size += head(frame + size, 0, id);
    size += head(frame + size, 0, 20), size += text(frame + size, code);
    size += head(frame + size, 0, 21), size += text(frame + size, "told so by the test");
    put(client, frame, size, 0);
}

/* Answers a question, or the opening of one that is held open. */
static void answer(int client, const char *how, unsigned kind, uint64_t id) {
    uint8_t frame[256];
    int obliges = !strcmp(how, "obliges"), is_short = !strcmp(how, "short"), is_float = !strcmp(how, "float");
    int is_open = kind == 4;
    size_t size = head(frame, 5, 8u + obliges + is_float + is_open - is_short);
    size += head(frame + size, 0, 0), size += head(frame + size, 0, !strcmp(how, "wrong-kind") ? 3 : kind);
    size += head(frame + size, 0, 1), size += head(frame + size, 0, !strcmp(how, "wrong-id") ? id + 7 : id);
    size += head(frame + size, 0, 2), size += head(frame + size, 0, 0);
    size += head(frame + size, 0, 3), size += head(frame + size, 0, !strcmp(how, "liar") ? 4 : 0);
    if (!is_short) {
        size += head(frame + size, 0, 4), size += head(frame + size, 2, 16);
        memset(frame + size, 7, 16);
        size += 16;
    }
    for (unsigned key = 5; key <= 7; key++) size += head(frame + size, 0, key), size += head(frame + size, 0, 1);
    if (obliges) {
        size += head(frame + size, 0, 12), size += head(frame + size, 4, 1), size += head(frame + size, 5, 3);
        size += head(frame + size, 0, 0), size += text(frame + size, "notify");
        size += head(frame + size, 0, 1), size += text(frame + size, "tell-owner");
        size += head(frame + size, 0, 2), size += head(frame + size, 5, 0);
    }
    if (is_float) {
        size += head(frame + size, 0, 19);
        frame[size] = 0xff; /* a break without a beginning */
        size++;
    }
    if (is_open) size += head(frame + size, 0, 22), size += head(frame + size, 0, id);
    put(client, frame, size, !strcmp(how, "bytes"));
}

static void *serve(void *argument) {
    int client = (int)(intptr_t)argument;
    static __thread uint8_t frame[1 << 20];
    char how[64] = "";
    size_t size;
    /* hello: 0: 0, 11: 1, 12: the tenant, and what may stand behind it */
    if (take(client, frame, &size) && size > 7) {
        size_t length = frame[6] & 31, at = 7;
        if (length == 24) length = frame[7], at = 8;
        if (length < sizeof how && at + length <= size) memcpy(how, frame + at, length);
    }
    if (!strcmp(how, "unwelcome")) refuse(client, "not_allowed", 0);
    else if (strcmp(how, "speechless")) {
        uint8_t welcome[128];
        size_t bytes = head(welcome, 5, 5);
        bytes += head(welcome + bytes, 0, 0), bytes += head(welcome + bytes, 0, 0);
        bytes += head(welcome + bytes, 0, 5), bytes += head(welcome + bytes, 0, 1);
        bytes += head(welcome + bytes, 0, 11), bytes += head(welcome + bytes, 0, 1);
        bytes += head(welcome + bytes, 0, 12), bytes += text(welcome + bytes, how);
        bytes += head(welcome + bytes, 0, 14), bytes += text(welcome + bytes, "strange");
        put(client, welcome, bytes, !strcmp(how, "bytes"));
    }
    for (int count = 0; strcmp(how, "unwelcome") && take(client, frame, &size);) {
        if (!strcmp(how, "silent") || !strcmp(how, "speechless")) continue;
        if (!strcmp(how, "closes") && count == 3) break;
        if (!strcmp(how, "leaves") && count == 1) {
            put(client, (const uint8_t *)"\xa1\x00\x08", 3, 0);
            break;
        }
        if (!strcmp(how, "refuses")) {
            refuse(client, "malformed_frame", 0);
            break;
        }
        if (!strcmp(how, "garbage")) {
            put(client, (const uint8_t *)"\xa1\x00\x01\x01", 4, 0);
        } else if (!strcmp(how, "declines") && count % 2 == 0) {
            refuse(client, "budget_exceeded", id_of(frame));
        } else if (!strcmp(how, "huge")) {
            if (send(client, "\x06\x00\x00\x00huge", 8, MSG_NOSIGNAL) < 0) break;
        } else {
            if (!strcmp(how, "late")) usleep(300000);
            unsigned kind = frame[2] & 31;
            if (strcmp(how, "mute") || kind == 4) answer(client, how, kind == 4 ? 4 : 1, id_of(frame));
        }
        count++;
    }
    close(client);
    return NULL;
}

int main(int count, char **arguments) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (count != 2 || strlen(arguments[1]) >= sizeof address.sun_path) return 64;
    strcpy(address.sun_path, arguments[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 64) < 0) {
        perror(arguments[1]);
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        pthread_t thread;
        if (client >= 0 && pthread_create(&thread, NULL, serve, (void *)(intptr_t)client) == 0) pthread_detach(thread);
    }
}
