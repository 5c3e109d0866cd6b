/*
 * libstile: asks a running stiled "may this person do this, now?" over its decision socket (grammar/decision.cddl).
 *
 * It fails closed. The functions that ask return true for a permit of the server and for nothing else: a step-up, a
 * server that cannot be reached, a deadline, a question that is no question, memory that is short are all false, and
 * the answer says which. No other function returns a value that could be taken for a permit.
 *
 *   stile_options options = STILE_OPTIONS_INIT;
 *   options.tenant = "acme";
 *   stile_client *client = stile_client_open(&options);
 *   stile_question *question = stile_question_new();
 *   stile_question_subject(question, "user", "ada");
 *   stile_question_action(question, "approve");
 *   stile_question_resource(question, "payrun", "2026-11");
 *   stile_question_integer(question, STILE_RESOURCE, "total", 90000);
 *   stile_answer *answer;
 *   if (stile_ask(client, question, &answer)) pay();
 *   else fprintf(stderr, "%s\n", stile_answer_message(answer));
 *   stile_answer_free(answer);
 *
 * A client may be used by any number of threads at once; a question and an answer by one at a time. A client does not
 * survive fork(): in the child every question is denied, and the child opens its own.
 */
#ifndef STILE_H
#define STILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define STILE_VERSION "0.1.0"
/* Milliseconds since 1970 that stand for "time alone changes nothing". */
#define STILE_FOREVER UINT64_MAX

/* The version of the library that is linked, as STILE_VERSION. */
const char *stile_version(void);

/* ---- Why there is no answer of the server -------------------------------------------------------------------- */

typedef enum stile_failure {
    STILE_FAILURE_NONE = 0,        /* the server has answered */
    STILE_FAILURE_INVALID,         /* the question or an argument is wrong; nothing was asked */
    STILE_FAILURE_UNREACHABLE,     /* no connection to the server */
    STILE_FAILURE_DEADLINE,        /* no answer in time */
    STILE_FAILURE_REFUSED,         /* the server refused tenant, caller or frame: the code says why */
    STILE_FAILURE_PROTOCOL,        /* what came is no answer that this library understands */
    STILE_FAILURE_CLOSED,          /* the client is closed, or belongs to the parent of this process */
    STILE_FAILURE_MEMORY           /* no memory */
} stile_failure;

/* ---- Questions (AuthZEN Authorization API 1.0, section 5) ---------------------------------------------------- */

typedef struct stile_question stile_question;

/* The part of a question that a property belongs to. */
typedef enum stile_part { STILE_SUBJECT, STILE_ACTION, STILE_RESOURCE, STILE_CONTEXT } stile_part;

/*
 * A question copies what it is given. The first mistake (a name that is empty, longer than 256 bytes or not UTF-8; a
 * value that is no deterministic CBOR; no memory) stays with the question and every asking of it is denied with
 * STILE_FAILURE_INVALID, so that the calls need not be checked one by one; stile_question_mistake tells it.
 */
stile_question *stile_question_new(void); /* NULL when there is no memory: every function takes that as a mistake */
void stile_question_free(stile_question *question);
/* Empties a question for the next use; its memory is kept. */
void stile_question_reset(stile_question *question);
/* What is wrong with it; NULL when nothing is. */
const char *stile_question_mistake(const stile_question *question);

void stile_question_subject(stile_question *question, const char *type, const char *id);
void stile_question_action(stile_question *question, const char *name);
void stile_question_resource(stile_question *question, const char *type, const char *id);
/* The session whose authentication counts, and the device; by default the session's. */
void stile_question_session(stile_question *question, const char *id);
void stile_question_device(stile_question *question, const char *id);
/* Asks for the conditions that failed too (stile_answer_frame, key 13). */
void stile_question_explain(stile_question *question, bool explain);

/* Properties. A name that is given twice has the later value. */
void stile_question_text(stile_question *question, stile_part part, const char *name, const char *value);
void stile_question_integer(stile_question *question, stile_part part, const char *name, int64_t value);
void stile_question_boolean(stile_question *question, stile_part part, const char *name, bool value);
/* mantissa x 10^exponent: 12.50 is (1250, -2). Binary fractions are not taken: they cannot say what was meant. */
void stile_question_decimal(stile_question *question, stile_part part, const char *name, int64_t mantissa, int32_t exponent);
void stile_question_texts(
    stile_question *question, stile_part part, const char *name, const char *const *values, size_t count);
/* Any value, as one item of deterministic CBOR (RFC 8949 4.2.1). */
void stile_question_cbor(stile_question *question, stile_part part, const char *name, const void *bytes, size_t count);

/* ---- Answers ------------------------------------------------------------------------------------------------- */

typedef struct stile_answer stile_answer;

/* A rule that took part. */
typedef struct stile_rule {
    const char *name;
    const char *file;
    uint64_t line;
    const char *because; /* NULL when the author gave none */
} stile_rule;

/* What a step-up asks for. */
typedef struct stile_demand {
    const char *level;             /* the least assurance level that will do; NULL for any */
    uint64_t within_ms;            /* the authentication's greatest age; STILE_FOREVER for any */
    size_t method_count;           /* authentication methods (RFC 8176) that must have been used */
    const char *const *methods;
    size_t acr_count;              /* the acr values that prove the level, of all issuers */
    const char *const *acr_values;
} stile_demand;

/* An obligation (AuthZEN obligations profile); its properties are one item of CBOR. */
typedef struct stile_obligation {
    const char *id;
    const char *type;
    const uint8_t *properties;
    size_t properties_size;
} stile_obligation;

/* Takes NULL too. */
void stile_answer_free(stile_answer *answer);
/* The server permits, and asks for nothing in return. */
bool stile_answer_permits(const stile_answer *answer);
/*
 * The server permits if the obligations are met. Whoever does not know an obligation must deny (AuthZEN obligations
 * profile), therefore stile_answer_permits and the functions that ask say false when there are any.
 */
bool stile_answer_permits_with_obligations(const stile_answer *answer);
/* What would make it a permit; NULL unless the answer is a step-up. */
const stile_demand *stile_answer_demand(const stile_answer *answer);
/* STILE_FAILURE_NONE when the server answered. */
stile_failure stile_answer_failure(const stile_answer *answer);
/* permitted, forbidden, not_permitted, step_up, error (of the server); failed (no answer). */
const char *stile_answer_kind(const stile_answer *answer);
/* A stable code and a sentence for people; never NULL. The code is "" when rules decided. */
const char *stile_answer_code(const stile_answer *answer);
const char *stile_answer_message(const stile_answer *answer);
/* The attribute at fault; NULL when none is. */
const char *stile_answer_attribute(const stile_answer *answer);
/* 16 bytes; zeros when the server did not answer. */
const uint8_t *stile_answer_decision_id(const stile_answer *answer);
uint64_t stile_answer_policy_version(const stile_answer *answer);
/* The snapshot of the store it was decided on. */
uint64_t stile_answer_snapshot(const stile_answer *answer);
/* Milliseconds since 1970: when it was decided, and the first at which time alone could change it, or STILE_FOREVER. */
uint64_t stile_answer_evaluated_at(const stile_answer *answer);
uint64_t stile_answer_valid_until(const stile_answer *answer);
size_t stile_answer_rule_count(const stile_answer *answer);
const stile_rule *stile_answer_rule(const stile_answer *answer, size_t index); /* NULL beyond the last */
size_t stile_answer_obligation_count(const stile_answer *answer);
const stile_obligation *stile_answer_obligation(const stile_answer *answer, size_t index);
/* The answer as it came, a map of grammar/decision.cddl; NULL when none did. */
const uint8_t *stile_answer_frame(const stile_answer *answer, size_t *size);

/* ---- Clients ------------------------------------------------------------------------------------------------- */

typedef struct stile_client stile_client;

typedef struct stile_options {
    size_t size;              /* set by STILE_OPTIONS_INIT */
    const char *socket_path;  /* NULL: /run/stile/decision.sock */
    const char *tenant;
    unsigned connections;     /* at most; 0: 4. They are opened as they are needed. */
    unsigned timeout_ms;      /* of a question when none is given with it; 0: 1000 */
    unsigned kept_decisions;  /* questions whose decisions are kept near, see below; 0: none */
    unsigned heartbeat_ms;    /* how often a server that holds questions open must show a sign of life; 0: 1000 */
    unsigned grace_ms;        /* how long the last answer of an open question stands without a connection; 0: 1000 */
} stile_options;

#define STILE_OPTIONS_INIT {sizeof(stile_options), NULL, NULL, 0, 0, 0, 0, 0}

/*
 * Kept decisions. A question that is asked a second time is held open at the server, which pushes a new answer when it
 * changes; until then, and until time alone could change it, its decision is given without asking. A change that was
 * acknowledged is then seen as soon as its push has come, in milliseconds, instead of by the very next question. When the
 * connection is lost every question is asked again; when the server shows no sign of life, after heartbeat_ms twice at
 * the latest. The question that was not asked for longest makes room for a new one.
 */

/*
 * Needs no server yet: what cannot be asked is denied, and asked again at the next question. NULL when there is no
 * memory or the options are wrong; a NULL client denies everything.
 *
 * When a server closes its connections (a restart), questions on the way are asked again, until their deadline:
 * asking twice is as good as asking once.
 */
stile_client *stile_client_open(const stile_options *options);
/* From now on every question is denied, those on the way too; returns when no thread is left inside. */
void stile_client_stop(stile_client *client);
/* Stops the client and frees it; no thread may use it any more. Takes NULL too. */
void stile_client_close(stile_client *client);

/*
 * Asks and waits. True if and only if the server permits without obligation. When `answer` is given, an answer is
 * put there in any case, to be freed by the caller.
 */
bool stile_ask(stile_client *client, stile_question *question, stile_answer **answer);
/* The same with a deadline of its own, in milliseconds. */
bool stile_ask_within(stile_client *client, stile_question *question, unsigned timeout_ms, stile_answer **answer);

/*
 * Asks many questions in one go, each by itself. `answers`, when given, has room for `count` and is filled wholly.
 * True if and only if every one is permitted, and there is one at least.
 */
bool stile_ask_many(
    stile_client *client, stile_question *const *questions, size_t count, unsigned timeout_ms, stile_answer **answers);

/* When a batch stops (AuthZEN 7.1.2.1). */
typedef enum stile_semantic {
    STILE_EXECUTE_ALL = 0,
    STILE_DENY_ON_FIRST_DENY = 1,
    STILE_PERMIT_ON_FIRST_PERMIT = 2
} stile_semantic;

/*
 * Asks a batch: at one instant, over one snapshot, 1,000 questions at most. What an item leaves out is taken from
 * `defaults`, which may be NULL. Items behind the one at which the batch stopped are denied with the code
 * "not_evaluated". True if and only if every item is permitted, and there is one at least.
 */
bool stile_ask_batch(
    stile_client *client, stile_question *defaults, stile_question *const *items, size_t count, stile_semantic semantic,
    unsigned timeout_ms, stile_answer **answers);

/* How the server stands. */
typedef struct stile_status {
    uint64_t active_version;  /* the version of the policies that decides */
    uint64_t stored_version;  /* the version that the store wants to decide */
    uint64_t snapshot;
    uint64_t answers;         /* given since the start by the thread that answers this */
    uint64_t errors;          /* of kind error among them */
    char state[160];          /* "ready", or why the stored version does not decide; cut when longer */
} stile_status;

/* STILE_FAILURE_NONE and a status, or why there is none. */
stile_failure stile_client_status(stile_client *client, unsigned timeout_ms, stile_status *status);

/* ---- Questions held open --------------------------------------------------------------------------------------- */

typedef struct stile_watch stile_watch;

/*
 * Told of the first answer and of each new one; answers that are overtaken before they are told are left out, the newest
 * never is. When the connection has been lost for longer than grace_ms it is told a failed answer, and an answer again when
 * the server is back. Called on a thread of the client's own, one call after the other; the answer is gone after the
 * call. It may begin and end watches; it must not stop or close the client.
 */
typedef void stile_watcher(void *context, const stile_answer *answer);

/*
 * Holds a question open. Returns at once; NULL when the question or the client is wrong or there is no memory. `watcher`
 * may be NULL. The question is copied.
 */
stile_watch *stile_watch_begin(stile_client *client, stile_question *question, stile_watcher *watcher, void *context);
/*
 * Ends and frees it. When it returns the watcher is not running and will not be called any more, unless the watcher itself
 * ends its watch. Watches are ended before their client is closed. Takes NULL too.
 */
void stile_watch_end(stile_watch *watch);
/*
 * True if and only if the newest answer permits, without obligation, and stands at this instant: its time has not come
 * and the connection is there, or was within grace_ms. Asks nobody and waits for nobody: a few nanoseconds.
 */
bool stile_watch_permits(const stile_watch *watch);
/* The newest answer, or why there is none; to be freed by the caller. */
stile_answer *stile_watch_answer(stile_watch *watch);

/* ---- One connection, for programs with an event loop of their own --------------------------------------------- */

/* Used by one thread at a time. Questions are pipelined; answers come in their order. */
typedef struct stile_connection stile_connection;

/* An answer as it came. The frame is valid until the next call with the connection. */
typedef struct stile_reply {
    uint64_t id;               /* as given by stile_connection_send; 0: the server's last word before it closes */
    bool permits;              /* without obligation */
    stile_failure failure;     /* STILE_FAILURE_REFUSED, or none */
    uint64_t valid_until;
    const uint8_t *frame;
    size_t frame_size;
} stile_reply;

/* Connects and says hello. NULL when that fails; `failure`, when given, says how. */
stile_connection *stile_connection_open(
    const char *socket_path, const char *tenant, unsigned timeout_ms, stile_failure *failure);
void stile_connection_close(stile_connection *connection);
/* For poll: readable at any time, writable while stile_connection_flush returns 0. */
int stile_connection_descriptor(const stile_connection *connection);
/* Queues a question. Returns its id, from 1 on; 0 when the question is wrong or there is no memory. */
uint64_t stile_connection_send(stile_connection *connection, stile_question *question);
/* Offers what is queued to the kernel: 1 all is taken, 0 some is left, -1 the connection is gone. */
int stile_connection_flush(stile_connection *connection);
/*
 * The next answer: 1 there is one, 0 there is none within the time (in milliseconds; 0 asks without waiting, -1 waits
 * without end), -1 the connection is gone or spoke what is not understood.
 */
int stile_connection_receive(stile_connection *connection, stile_reply *reply, int timeout_ms);
/* The whole answer, to be freed by the caller. */
stile_answer *stile_reply_answer(const stile_reply *reply);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
