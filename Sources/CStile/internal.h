/* What the parts of libstile share. Names that are not the library's face start with sti_ and are hidden. */
#ifndef STI_INTERNAL_H
#define STI_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "stile.h"

/* Limits of the protocol (grammar/decision.cddl); the server's are the same. */
enum {
    STI_PREFIX = 4,
    STI_MAX_FRAME = 1 << 20,
    STI_MAX_ANSWER = 8 << 20,
    STI_MAX_BATCH = 1000,
    STI_MAX_NAME = 256,
    STI_MAX_DEPTH = 32,
    STI_MAX_TENANT = 256
};

/* Kinds of frames, key 0. */
enum {
    STI_HELLO = 0, STI_QUESTION = 1, STI_BATCH = 2, STI_STATUS = 3, STI_SUBSCRIBE = 4, STI_UNSUBSCRIBE = 5, STI_PUSH = 6,
    STI_GOODBYE = 8, STI_ERROR = 15
};

/* ---- Bytes to be sent ---- */

struct sti_bytes {
    uint8_t *at;
    size_t count, room;
    bool failed; /* no memory; whoever takes the bytes looks here once */
};

bool sti_reserve(struct sti_bytes *bytes, size_t more);
void sti_append(struct sti_bytes *bytes, const void *from, size_t count);
/* The head of an item: major type and argument in the fewest bytes. */
void sti_head(struct sti_bytes *bytes, unsigned major, uint64_t argument);
void sti_text(struct sti_bytes *bytes, const char *text, size_t count);
/* Room for a frame's length, and its filling in. */
size_t sti_frame_begin(struct sti_bytes *bytes);
void sti_frame_end(struct sti_bytes *bytes, size_t start);

/* ---- Bytes that came: a cursor that refuses all but deterministic CBOR and never reads beyond its end ---- */

struct sti_reader {
    const uint8_t *at, *end;
    bool bad; /* once it is set every read gives zeros */
};

struct sti_slice {
    const uint8_t *at;
    size_t count;
};

struct sti_reader sti_reader(const void *bytes, size_t count);
unsigned sti_major(struct sti_reader *reader); /* of the next item; 8 at the end */
uint64_t sti_unsigned(struct sti_reader *reader);
struct sti_slice sti_read_text(struct sti_reader *reader);
struct sti_slice sti_read_bytes(struct sti_reader *reader);
size_t sti_array(struct sti_reader *reader);
size_t sti_map(struct sti_reader *reader);
/* Walks over one item of any kind, checking it whole. */
struct sti_slice sti_skip(struct sti_reader *reader);
bool sti_is_utf8(const uint8_t *bytes, size_t count);
/* Copies as many whole characters as there is room for, and terminates them. */
void sti_copy_text(char *to, size_t room, struct sti_slice text);

/* The keys of a map, each of which must be after the one before. */
struct sti_keys {
    struct sti_slice last;
};
/* The next key when it is an unsigned integer. Another key is passed over with its value: UINT64_MAX. */
uint64_t sti_key(struct sti_reader *reader, struct sti_keys *keys);

/* ---- Questions ---- */

struct sti_property {
    size_t key, key_size, value, value_size; /* places in the arena */
};

struct sti_part {
    bool given;
    size_t type, type_size, id, id_size;
    struct sti_property *properties; /* in the order of their encoded keys */
    size_t count, room;
};

struct stile_question {
    struct sti_bytes arena;
    struct sti_part parts[4];
    size_t session, session_size, device, device_size;
    bool has_session, has_device, explain;
    const char *mistake;
    /* The fields as they are sent, made when they are first needed. */
    bool is_encoded;
    unsigned fields;
    struct sti_bytes encoded;
};

/* Makes `encoded`; false when the question is wrong. */
bool sti_question_encode(stile_question *question);
/* A copy of what is sent, of a question that is encoded; it cannot be changed. NULL without memory. */
stile_question *sti_question_copy(const stile_question *question);
/* Appends the frame of a question. */
void sti_question_frame(struct sti_bytes *bytes, const stile_question *question, uint64_t id);
/* Appends the frame of a batch whose questions are encoded; `defaults` may be NULL. */
void sti_batch_frame(
    struct sti_bytes *bytes, uint64_t id, const stile_question *defaults, stile_question *const *items, size_t count,
    stile_semantic semantic);

/* ---- Answers ---- */

/* What is decided by looking at a frame of the server once. */
struct sti_frame {
    unsigned kind;
    /* of the request; an error without it ends the connection */
    bool has_id;
    uint64_t id;
    uint64_t subscription;
    /* an answer */
    bool permits, permits_with_obligations;
    uint64_t valid_until;
    /* a batch's answers */
    struct sti_slice items;
    size_t item_count;
    /* an error; texts are not terminated */
    struct sti_slice code, message;
};

/* Checks a whole frame; false when it is none that is understood. */
bool sti_frame_read(const uint8_t *bytes, size_t count, struct sti_frame *frame);
bool sti_status_read(const uint8_t *bytes, size_t count, stile_status *status);
/* The answer in a checked map of answer fields: never NULL. */
stile_answer *sti_answer_make(const uint8_t *bytes, size_t count);
/* An answer that no server gave: never NULL. `code` and `message` are copied. */
stile_answer *sti_answer_failed(stile_failure failure, const char *code, const char *message);
/* The code and the message of a failure that has no better. */
const char *sti_failure_code(stile_failure failure);
const char *sti_failure_message(stile_failure failure);

/* ---- Connections ---- */

struct stile_connection {
    int descriptor;
    struct sti_bytes output;
    size_t sent;
    uint8_t *input;
    size_t start, end, room; /* of what came and was not yet handed out */
    uint64_t next_id;
    unsigned receive_timeout_ms; /* as set in the kernel; 0 is none */
    char code[64], message[160]; /* why it is gone, when the server said so */
    bool said_goodbye;           /* the server ends: what has no answer was not asked */
};

/* Monotonic nanoseconds. */
int64_t sti_now(void);
/* Milliseconds until a deadline for poll, rounded up, from 0. */
int sti_until(int64_t deadline);

/* Opens and greets before a deadline. On failure NULL, with code and message (64 and 160 bytes) of the server's if any. */
stile_connection *sti_connect(
    const char *path, const char *tenant, int64_t deadline, stile_failure *failure, char *code, char *message);
/* The next whole frame in the input: 1 there is one, 0 more bytes are needed, -1 it is longer than may be. */
int sti_next_frame(stile_connection *connection, const uint8_t **frame, size_t *size);
/* Reads once into the input: 1 something came, 0 nothing (yet), -1 the connection is gone. `flags` are recv's. */
int sti_fill(stile_connection *connection, int flags);
/* The same, waiting at most so long with one call; 0 milliseconds is without end. */
int sti_fill_within(stile_connection *connection, unsigned timeout_ms);
/* The bytes of `output` that are not sent. */
static inline size_t sti_unsent(const stile_connection *connection) {
    return connection->output.count - connection->sent;
}
/* Requests whose replies come in order, for whoever reads a connection by itself. */
void sti_subscribe_frame(struct sti_bytes *bytes, const stile_question *question, uint64_t id);
void sti_unsubscribe_frame(struct sti_bytes *bytes, uint64_t id, uint64_t subscription);
void sti_status_frame(struct sti_bytes *bytes, uint64_t id);
/* Keeps the server's last word. */
void sti_keep_error(stile_connection *connection, const struct sti_frame *frame);

/* ---- Questions held open: the watching thread of a client ---- */

struct sti_watches;

/* NULL without memory. No thread yet: the first watch starts it. The texts outlive it. */
struct sti_watches *sti_watches_open(const char *path, const char *tenant, unsigned grace_ms, unsigned heartbeat_ms);
/* Tells every watch that the client is closed and ends the thread. */
void sti_watches_stop(struct sti_watches *watches);
void sti_watches_free(struct sti_watches *watches);
stile_watch *sti_watch_begin(struct sti_watches *watches, stile_question *question, stile_watcher *watcher, void *context);
/* The newest answer if it can be trusted now, without any grace; else NULL. `permits` is set in that case. */
bool sti_watch_knows(stile_watch *watch, bool wants_answer, bool *permits, stile_answer **answer);

/* ---- Kept decisions ---- */

struct sti_kept;

struct sti_kept *sti_kept_open(struct sti_watches *watches, unsigned capacity);
/* Before the watches are freed. */
void sti_kept_close(struct sti_kept *kept);
/* True when the decision on an encoded question is known now. */
bool sti_kept_find(struct sti_kept *kept, stile_question *question, bool *permits, stile_answer **answer);

/* ---- Time and threads ---- */

/* Milliseconds since 1970. */
uint64_t sti_wall_ms(void);
/* True in a child of the process in which `count` was taken. */
unsigned sti_forks(void);

#endif
