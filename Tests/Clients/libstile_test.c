/*
 * Holds libstile to its promises, against a running stiled and against a server that misbehaves (strange.c).
 *
 *   libstile_test STILED_SOCKET TENANT STRANGE_SOCKET STILE STORE
 *   libstile_test hold STILED_SOCKET TENANT MILLISECONDS    asks from eight threads; 0 when no question failed;
 *                                                           0 ms: until standard input ends
 *   libstile_test watch STILED_SOCKET TENANT                holds a question about "bob" open and writes its answers
 *   libstile_test cost STILED_SOCKET TENANT DEPTH SECONDS   what a question costs, so many in one go
 *
 * The tenant has the policies and data of policies/ledger; STILE, the tool, changes it in the STORE.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stile.h"

static const char *stiled, *tenant, *strange, *tool, *store;
static unsigned passed;

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "FAILED: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static void ok(const char *behaviour) {
    passed++;
    printf("ok: %s\n", behaviour);
}

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static stile_client *open_client(const char *socket, const char *name, unsigned connections, unsigned timeout_ms) {
    stile_options options = STILE_OPTIONS_INIT;
    options.socket_path = socket;
    options.tenant = name;
    options.connections = connections;
    options.timeout_ms = timeout_ms;
    stile_client *client = stile_client_open(&options);
    MUST(client);
    return client;
}

/* Fills in the approval of a payrun. */
static void approve(stile_question *question, const char *user, const char *session) {
    stile_question_reset(question);
    stile_question_subject(question, "user", user);
    stile_question_action(question, "approve");
    stile_question_resource(question, "payrun", "p1");
    stile_question_text(question, STILE_RESOURCE, "status", "draft");
    stile_question_integer(question, STILE_RESOURCE, "total", 90000);
    stile_question_text(question, STILE_RESOURCE, "created_by", "bob");
    if (session) stile_question_session(question, session);
    else stile_question_device(question, "laptop-1");
}

static bool is(const char *left, const char *right) { return left && right && strcmp(left, right) == 0; }

/* ---- With stiled ---- */

static void answers(stile_client *client) {
    stile_question *question = stile_question_new();
    stile_answer *answer;
    approve(question, "ada", "s-ada");
    MUST(stile_ask(client, question, &answer) && stile_answer_permits(answer));
    MUST(is(stile_answer_kind(answer), "permitted") && stile_answer_failure(answer) == STILE_FAILURE_NONE);
    MUST(stile_answer_rule_count(answer) == 1 && is(stile_answer_rule(answer, 0)->name, "Payroll/approve"));
    MUST(is(stile_answer_rule(answer, 0)->file, "payroll.stile") && stile_answer_rule(answer, 0)->line == 9);
    MUST(!stile_answer_rule(answer, 1) && !stile_answer_demand(answer) && stile_answer_policy_version(answer) == 1);
    MUST(stile_answer_valid_until(answer) > stile_answer_evaluated_at(answer));
    uint8_t zeros[16] = {0};
    size_t size;
    MUST(memcmp(stile_answer_decision_id(answer), zeros, 16) != 0 && stile_answer_frame(answer, &size) && size > 40);
    stile_answer_free(answer);
    ok("a permit comes with its rule, file, line, version and end");

    approve(question, "ada", "s-ada-old");
    MUST(!stile_ask(client, question, &answer) && !stile_answer_permits(answer));
    const stile_demand *demand = stile_answer_demand(answer);
    MUST(demand && is(demand->level, "mfa") && demand->within_ms == 900000 && demand->method_count == 0);
    MUST(demand->acr_count > 0 && is(demand->acr_values[0], "urn:example:loa:2"));
    MUST(stile_answer_obligation_count(answer) == 1 && is(stile_answer_obligation(answer, 0)->type, "step-up"));
    stile_answer_free(answer);
    ok("a step-up is no permit and says what it demands");

    approve(question, "cho", NULL);
    MUST(!stile_ask(client, question, &answer) && is(stile_answer_kind(answer), "forbidden"));
    MUST(is(stile_answer_rule(answer, 0)->because, "Only employees approve payroll."));
    stile_answer_free(answer);
    ok("a denial says because");

    stile_question_decimal(question, STILE_RESOURCE, "total", 25000001, -2);
    stile_question_subject(question, "user", "nobody");
    MUST(!stile_ask(client, question, &answer) && is(stile_answer_code(answer), "unknown_subject"));
    stile_answer_free(answer);
    stile_question_subject(question, "user", "ada");
    stile_question_session(question, "s-ada");
    MUST(!stile_ask(client, question, &answer) && is(stile_answer_kind(answer), "not_permitted"));
    stile_answer_free(answer);
    stile_question_decimal(question, STILE_RESOURCE, "total", 2500000, -1);
    MUST(stile_ask(client, question, NULL));
    ok("decimals count exactly, and a later value takes the place of an earlier");

    approve(question, "ada", "s-ada");
    stile_question_text(question, STILE_RESOURCE, "total", "much");
    MUST(!stile_ask(client, question, &answer) && is(stile_answer_kind(answer), "error"));
    MUST(is(stile_answer_attribute(answer), "resource.total"));
    stile_answer_free(answer);
    ok("an answer of kind error names the attribute");

    stile_status status;
    MUST(stile_client_status(client, 0, &status) == STILE_FAILURE_NONE && is(status.state, "ready"));
    MUST(status.active_version == 1 && status.answers >= 6);
    ok("the status says what decides");
    stile_question_free(question);
}

static void many(stile_client *client) {
    enum { COUNT = 5000 };
    stile_question **questions = calloc(COUNT, sizeof *questions);
    stile_answer **list = calloc(COUNT, sizeof *list);
    MUST(questions && list);
    for (int index = 0; index < COUNT; index++) {
        questions[index] = stile_question_new();
        approve(questions[index], index % 3 == 0 ? "ada" : "cho", index % 3 == 0 ? "s-ada" : NULL);
    }
    MUST(!stile_ask_many(client, questions, COUNT, 10000, list));
    for (int index = 0; index < COUNT; index++) {
        MUST(stile_answer_permits(list[index]) == (index % 3 == 0));
        stile_answer_free(list[index]);
    }
    MUST(stile_ask_many(client, questions, 1, 0, NULL) && !stile_ask_many(client, questions, 0, 0, NULL));
    ok("many questions asked at once have each its own answer");

    stile_question *defaults = stile_question_new(), *items[4];
    approve(defaults, "ada", "s-ada");
    for (int index = 0; index < 4; index++) {
        items[index] = stile_question_new();
        if (index == 2) stile_question_session(items[index], "s-ada-old");
    }
    MUST(!stile_ask_batch(client, defaults, items, 4, STILE_EXECUTE_ALL, 0, list));
    uint64_t snapshot = stile_answer_snapshot(list[0]);
    for (int index = 0; index < 4; index++) {
        MUST(stile_answer_permits(list[index]) == (index != 2));
        MUST(stile_answer_snapshot(list[index]) == snapshot);
        stile_answer_free(list[index]);
    }
    MUST(!stile_ask_batch(client, defaults, items, 4, STILE_DENY_ON_FIRST_DENY, 0, list));
    MUST(stile_answer_demand(list[2]) && is(stile_answer_code(list[3]), "not_evaluated"));
    for (int index = 0; index < 4; index++) stile_answer_free(list[index]);
    MUST(stile_ask_batch(client, defaults, items, 2, STILE_EXECUTE_ALL, 0, NULL));
    MUST(!stile_ask_batch(client, defaults, items, 0, STILE_EXECUTE_ALL, 0, NULL));
    MUST(!stile_ask_batch(client, NULL, items, 2, STILE_EXECUTE_ALL, 0, list));
    MUST(stile_answer_failure(list[0]) == STILE_FAILURE_NONE && !stile_answer_permits(list[0]));
    for (int index = 0; index < 2; index++) stile_answer_free(list[index]);
    MUST(!stile_ask_batch(client, defaults, questions, 1001, STILE_EXECUTE_ALL, 0, list));
    MUST(stile_answer_failure(list[1000]) == STILE_FAILURE_INVALID);
    for (int index = 0; index < 1001; index++) stile_answer_free(list[index]);
    ok("a batch has one snapshot, defaults, and stops as told");

    for (int index = 0; index < 4; index++) stile_question_free(items[index]);
    for (int index = 0; index < COUNT; index++) stile_question_free(questions[index]);
    stile_question_free(defaults);
    free(questions);
    free(list);
}

struct asker {
    stile_client *client;
    unsigned seed, rounds;
};

static void *ask_often(void *argument) {
    struct asker *asker = argument;
    stile_question *question = stile_question_new();
    for (unsigned round = 0; round < asker->rounds; round++) {
        bool expected = (round + asker->seed) % 2 == 0;
        approve(question, expected ? "ada" : "cho", expected ? "s-ada" : NULL);
        stile_answer *answer = NULL;
        bool permits = stile_ask_within(asker->client, question, 20000, round % 3 ? NULL : &answer);
        if (permits != expected) fprintf(stderr, "%s\n", stile_answer_message(answer));
        MUST(permits == expected);
        stile_answer_free(answer);
    }
    stile_question_free(question);
    return NULL;
}

static void threads(unsigned connections, unsigned count, unsigned rounds) {
    stile_client *client = open_client(stiled, tenant, connections, 0);
    pthread_t list[64];
    struct asker askers[64];
    for (unsigned index = 0; index < count; index++) {
        askers[index] = (struct asker){client, index, rounds};
        MUST(pthread_create(&list[index], NULL, ask_often, &askers[index]) == 0);
    }
    for (unsigned index = 0; index < count; index++) pthread_join(list[index], NULL);
    stile_client_close(client);
}

static void mistakes(stile_client *client) {
    stile_question *question = stile_question_new();
    stile_answer *answer;
    char name[300];
    memset(name, 'a', sizeof name);
    name[257] = 0;
    const char *wrong[] = {"", "\xff", "\xed\xa0\x80", "\xc0\xaf", name, NULL};
    for (int index = 0; index < 6; index++) {
        approve(question, wrong[index], "s-ada");
        MUST(stile_question_mistake(question) && !stile_ask(client, question, &answer));
        MUST(stile_answer_failure(answer) == STILE_FAILURE_INVALID && is(stile_answer_code(answer), "invalid_question"));
        stile_answer_free(answer);
    }
    const char *not_cbor[] = {"\x18\x01", "\x01\x01", "\x9f\xff", "\xa2\x61" "b\x01\x61" "a\x01", "\x62" "a", ""};
    size_t sizes[] = {2, 2, 2, 7, 2, 0};
    for (int index = 0; index < 6; index++) {
        approve(question, "ada", "s-ada");
        stile_question_cbor(question, STILE_CONTEXT, "x", not_cbor[index], sizes[index]);
        MUST(stile_question_mistake(question) && !stile_ask(client, question, NULL));
    }
    approve(question, "ada", "s-ada");
    const char *tags[] = {"a", "b"};
    stile_question_texts(question, STILE_CONTEXT, "tags", tags, 2);
    stile_question_cbor(question, STILE_CONTEXT, "more", "\xa1\x61" "a\x01", 4);
    stile_question_boolean(question, STILE_CONTEXT, "flag", true);
    MUST(stile_ask(client, question, &answer));
    stile_answer_free(answer);
    MUST(!stile_ask(client, NULL, &answer) && stile_answer_failure(answer) == STILE_FAILURE_INVALID);
    stile_answer_free(answer);
    MUST(!stile_ask(NULL, question, &answer) && stile_answer_failure(answer) == STILE_FAILURE_CLOSED);
    stile_answer_free(answer);
    MUST(!stile_answer_permits(NULL) && !stile_answer_demand(NULL) && *stile_answer_code(NULL));
    stile_options none = STILE_OPTIONS_INIT;
    MUST(!stile_client_open(&none) && !stile_client_open(NULL));
    stile_client *other = open_client(stiled, "no-such-tenant", 1, 500);
    MUST(!stile_ask(other, question, &answer) && stile_answer_failure(answer) == STILE_FAILURE_REFUSED);
    MUST(is(stile_answer_code(answer), "tenant_unknown"));
    stile_answer_free(answer);
    stile_client_close(other);
    stile_question_free(question);
    ok("a wrong question, tenant or argument is denied with the reason");
}

static void forks(stile_client *client) {
    stile_question *question = stile_question_new();
    approve(question, "ada", "s-ada");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        stile_answer *answer;
        bool permits = stile_ask(client, question, &answer);
        int code = permits || stile_answer_failure(answer) != STILE_FAILURE_CLOSED;
        stile_answer_free(answer);
        stile_client_close(client);
        stile_client *own = open_client(stiled, tenant, 1, 0);
        if (!stile_ask(own, question, NULL)) code = 2;
        stile_client_close(own);
        stile_question_free(question);
        _exit(code);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    MUST(stile_ask(client, question, NULL));
    stile_question_free(question);
    ok("a child is denied on its parent's client and asks on its own; the parent goes on");
}

static void connection(void) {
    stile_failure failure;
    stile_connection *connection = stile_connection_open(stiled, tenant, 1000, &failure);
    MUST(connection && failure == STILE_FAILURE_NONE);
    stile_question *question = stile_question_new();
    stile_reply reply;
    for (uint64_t id = 1; id <= 100; id++) {
        approve(question, id % 2 ? "ada" : "cho", id % 2 ? "s-ada" : NULL);
        MUST(stile_connection_send(connection, question) == id);
    }
    MUST(stile_connection_flush(connection) == 1);
    for (uint64_t id = 1; id <= 100; id++) {
        MUST(stile_connection_receive(connection, &reply, id % 3 ? 1000 : -1) == 1);
        MUST(reply.id == id && reply.permits == (id % 2 == 1));
        stile_answer *answer = stile_reply_answer(&reply);
        MUST(stile_answer_permits(answer) == reply.permits);
        stile_answer_free(answer);
    }
    MUST(stile_connection_receive(connection, &reply, 0) == 0 && stile_connection_receive(connection, &reply, 20) == 0);
    stile_question_subject(question, "", "");
    MUST(stile_connection_send(connection, question) == 0);
    stile_connection_close(connection);
    MUST(!stile_connection_open("/nowhere/at/all", tenant, 100, &failure) && failure == STILE_FAILURE_UNREACHABLE);
    MUST(!stile_connection_open(strange, "unwelcome", 1000, &failure) && failure == STILE_FAILURE_REFUSED);
    MUST(!stile_connection_open(strange, "speechless", 100, &failure) && failure == STILE_FAILURE_DEADLINE);
    stile_question_free(question);
    ok("one connection is driven by the program's own loop");
}

/* ---- With a server that misbehaves ---- */

struct expectation {
    const char *how;
    stile_failure failure;
    const char *code;
};

static void misbehaviour(void) {
    static const struct expectation list[] = {
        {"silent", STILE_FAILURE_DEADLINE, "deadline"},       {"garbage", STILE_FAILURE_PROTOCOL, "protocol"},
        {"float", STILE_FAILURE_PROTOCOL, "protocol"},        {"wrong-id", STILE_FAILURE_PROTOCOL, "protocol"},
        {"wrong-kind", STILE_FAILURE_PROTOCOL, "protocol"},   {"liar", STILE_FAILURE_PROTOCOL, "protocol"},
        {"short", STILE_FAILURE_PROTOCOL, "protocol"},        {"refuses", STILE_FAILURE_REFUSED, "malformed_frame"},
        {"unwelcome", STILE_FAILURE_REFUSED, "not_allowed"},  {"speechless", STILE_FAILURE_DEADLINE, "deadline"},
        {"huge", STILE_FAILURE_PROTOCOL, "protocol"},         {"obliges", STILE_FAILURE_NONE, ""},
    };
    stile_question *question = stile_question_new();
    approve(question, "ada", "s-ada");
    for (size_t index = 0; index < sizeof list / sizeof *list; index++) {
        stile_client *client = open_client(strange, list[index].how, 2, 200);
        for (int round = 0; round < 3; round++) {
            stile_answer *answer;
            double start = seconds();
            MUST(!stile_ask(client, question, &answer) && !stile_answer_permits(answer));
            MUST(seconds() - start < 10);
            if (stile_answer_failure(answer) != list[index].failure || !is(stile_answer_code(answer), list[index].code)) {
                fprintf(stderr, "%s: %d %s\n", list[index].how, stile_answer_failure(answer), stile_answer_code(answer));
                MUST(!"the failure is the expected one");
            }
            MUST(stile_answer_permits_with_obligations(answer) == is(list[index].how, "obliges"));
            stile_answer_free(answer);
            MUST(!stile_ask(client, question, NULL));
        }
        stile_client_close(client);
    }
    ok("every misbehaviour of a server is a denial with its own cause");

    stile_client *client = open_client("/nowhere/at/all.sock", "honest", 2, 200);
    stile_answer *answer;
    double start = seconds();
    MUST(!stile_ask(client, question, &answer) && stile_answer_failure(answer) == STILE_FAILURE_UNREACHABLE);
    MUST(seconds() - start >= 0.19);
    stile_answer_free(answer);
    usleep(1000000);
    MUST(!stile_ask(client, question, NULL));
    start = seconds();
    for (int round = 0; round < 20; round++) MUST(!stile_ask_within(client, question, 60000, NULL));
    MUST(seconds() - start < 20);
    stile_client_close(client);
    ok("a server that is away is waited for until the deadline, one that is away for long is not");

    client = open_client(strange, "bytes", 1, 20000);
    for (int round = 0; round < 20; round++) MUST(stile_ask(client, question, NULL));
    stile_client_close(client);
    ok("an answer in pieces is an answer");

    client = open_client(strange, "declines", 1, 20000);
    stile_question *pair[2] = {question, question};
    stile_answer *two[2];
    for (int round = 0; round < 20; round++) {
        MUST(!stile_ask_many(client, pair, 2, 0, two));
        MUST(stile_answer_failure(two[0]) == STILE_FAILURE_REFUSED && is(stile_answer_code(two[0]), "budget_exceeded"));
        MUST(is(stile_answer_message(two[0]), "told so by the test") && stile_answer_permits(two[1]));
        stile_answer_free(two[0]), stile_answer_free(two[1]);
    }
    stile_client_close(client);
    ok("a server that declines one question goes on with the next");

    client = open_client(strange, "closes", 2, 20000);
    for (int round = 0; round < 20; round++) MUST(stile_ask(client, question, NULL));
    stile_question *list5[5] = {question, question, question, question, question};
    for (int round = 0; round < 20; round++) MUST(stile_ask_many(client, list5, 5, 0, NULL));
    stile_client_close(client);
    ok("questions on the way are asked again when a connection closes");

    /* More of them than connections may end on a question that was asked. */
    client = open_client(strange, "leaves", 2, 20000);
    stile_question *list30[30];
    for (int index = 0; index < 30; index++) list30[index] = question;
    for (int round = 0; round < 3; round++) MUST(stile_ask_many(client, list30, 30, 0, NULL));
    stile_client_close(client);
    ok("questions that a server's goodbye leaves without an answer are asked again, however often");

    client = open_client(strange, "late", 1, 100);
    for (int round = 0; round < 3; round++) {
        MUST(!stile_ask(client, question, &answer) && stile_answer_failure(answer) == STILE_FAILURE_DEADLINE);
        stile_answer_free(answer);
    }
    MUST(stile_ask_within(client, question, 20000, NULL));
    stile_client_close(client);
    ok("an answer that comes late is nobody's");
    stile_question_free(question);
}

static void *ask_until_closed(void *argument) {
    stile_question *question = stile_question_new();
    approve(question, "ada", "s-ada");
    stile_answer *answer;
    for (;;) {
        bool permits = stile_ask_within(argument, question, 20000, &answer);
        stile_failure failure = stile_answer_failure(answer);
        stile_answer_free(answer);
        if (!permits) {
            MUST(failure == STILE_FAILURE_CLOSED);
            break;
        }
    }
    stile_question_free(question);
    return NULL;
}

/* Answers come late while clients share one connection: those who give up do not take the answers of the others. */
static void *ask_impatiently(void *argument) {
    struct asker *asker = argument;
    stile_question *question = stile_question_new();
    approve(question, "ada", "s-ada");
    for (unsigned round = 0; round < asker->rounds; round++) {
        unsigned timeout = 1 + (round * 7 + asker->seed * 13) % 20;
        stile_answer *answer;
        bool permits = stile_ask_within(asker->client, question, timeout, &answer);
        MUST(permits || stile_answer_failure(answer) == STILE_FAILURE_DEADLINE
            || stile_answer_failure(answer) == STILE_FAILURE_UNREACHABLE);
        stile_answer_free(answer);
    }
    stile_question_free(question);
    return NULL;
}

static void impatience(void) {
    stile_client *client = open_client(strange, "bytes", 2, 0);
    pthread_t list[8];
    struct asker askers[8];
    for (unsigned index = 0; index < 8; index++) {
        askers[index] = (struct asker){client, index, 40};
        MUST(pthread_create(&list[index], NULL, ask_impatiently, &askers[index]) == 0);
    }
    for (int index = 0; index < 8; index++) pthread_join(list[index], NULL);
    stile_question *question = stile_question_new();
    approve(question, "ada", "s-ada");
    MUST(stile_ask_within(client, question, 20000, NULL));
    stile_question_free(question);
    stile_client_close(client);
    ok("threads that give up harm nobody in the same line");
}

static void closing(void) {
    for (int round = 0; round < 5; round++) {
        stile_client *client = open_client(stiled, tenant, 2, 0);
        pthread_t list[6];
        for (int index = 0; index < 6; index++) MUST(pthread_create(&list[index], NULL, ask_until_closed, client) == 0);
        usleep(20000);
        stile_client_stop(client);
        for (int index = 0; index < 6; index++) pthread_join(list[index], NULL);
        stile_client_close(client);
    }
    ok("threads inside a client that is stopped are denied");
}

/* ---- Questions held open ---- */

/* What a watcher was told last, and how often. */
struct told {
    pthread_mutex_t lock;
    unsigned calls;
    char kind[24], code[64];
};

static void be_told(void *context, const stile_answer *answer) {
    struct told *told = context;
    pthread_mutex_lock(&told->lock);
    told->calls++;
    snprintf(told->kind, sizeof told->kind, "%s", stile_answer_kind(answer));
    snprintf(told->code, sizeof told->code, "%s", stile_answer_code(answer));
    pthread_mutex_unlock(&told->lock);
}

static unsigned calls_of(struct told *told) {
    pthread_mutex_lock(&told->lock);
    unsigned calls = told->calls;
    pthread_mutex_unlock(&told->lock);
    return calls;
}

static void forget(struct told *told) {
    pthread_mutex_lock(&told->lock);
    told->kind[0] = 0;
    pthread_mutex_unlock(&told->lock);
}

/* Waits at most ten seconds until the last answer was of this kind; gives the seconds it took. */
static double await_kind(struct told *told, const char *kind) {
    double start = seconds();
    for (;;) {
        pthread_mutex_lock(&told->lock);
        bool is_there = is(told->kind, kind);
        pthread_mutex_unlock(&told->lock);
        if (is_there) return seconds() - start;
        if (seconds() - start > 10) {
            fprintf(stderr, "told %s %s, not %s\n", told->kind, told->code, kind);
            MUST(!"told in time");
        }
        usleep(500);
    }
}

/* Changes what the store knows: returns when it is acknowledged. */
static void load(const char *line) {
    char command[1024];
    snprintf(command, sizeof command, "printf '%%s\\n' '%s' | '%s' load --store '%s' --tenant '%s' >/dev/null", line, tool, store, tenant);
    MUST(system(command) == 0);
}

static void load_risk(const char *risk) {
    char line[256];
    snprintf(line, sizeof line, "{\"signal\":{\"name\":\"user.risk\",\"subject\":{\"type\":\"user\",\"id\":\"ada\"},\"value\":\"%s\"}}", risk);
    load(line);
}

static void watches(void) {
    stile_client *client = open_client(stiled, tenant, 0, 0);
    stile_question *question = stile_question_new();
    struct told ada = {.lock = PTHREAD_MUTEX_INITIALIZER}, cho = {.lock = PTHREAD_MUTEX_INITIALIZER};
    approve(question, "ada", "s-ada");
    stile_watch *first = stile_watch_begin(client, question, be_told, &ada);
    stile_watch *silent = stile_watch_begin(client, question, NULL, NULL);
    approve(question, "cho", NULL);
    stile_watch *second = stile_watch_begin(client, question, be_told, &cho);
    MUST(first && second && silent);
    await_kind(&ada, "permitted"), await_kind(&cho, "forbidden");
    while (!stile_watch_permits(silent)) usleep(500);
    MUST(stile_watch_permits(first) && !stile_watch_permits(second) && !stile_watch_permits(NULL));
    stile_answer *answer = stile_watch_answer(first);
    MUST(stile_answer_permits(answer) && is(stile_answer_rule(answer, 0)->name, "Payroll/approve"));
    stile_answer_free(answer);
    unsigned calls = calls_of(&cho);
    load_risk("high");
    await_kind(&ada, "step_up");
    while (stile_watch_permits(silent)) usleep(500);
    MUST(!stile_watch_permits(first) && calls_of(&cho) == calls);
    load_risk("low");
    await_kind(&ada, "permitted");
    while (!stile_watch_permits(silent)) usleep(500);
    stile_watch_end(first);
    calls = calls_of(&ada);
    load_risk("high");
    while (stile_watch_permits(silent)) usleep(500);
    MUST(calls_of(&ada) == calls);
    load_risk("low");
    ok("an open question is told each new answer, and nothing after it was ended");

    enum { MANY = 2000 };
    stile_watch **list = calloc(MANY, sizeof *list);
    for (int index = 0; index < MANY; index++) {
        char id[32];
        snprintf(id, sizeof id, "p%d", index);
        approve(question, "ada", "s-ada");
        stile_question_resource(question, "payrun", id);
        MUST((list[index] = stile_watch_begin(client, question, NULL, NULL)));
    }
    for (int index = 0; index < MANY; index++) while (!stile_watch_permits(list[index])) usleep(500);
    load_risk("high");
    for (int index = 0; index < MANY; index++) while (stile_watch_permits(list[index])) usleep(500);
    load_risk("low");
    for (int index = 0; index < MANY; index += 2) stile_watch_end(list[index]);
    for (int index = 1; index < MANY; index += 2) while (!stile_watch_permits(list[index])) usleep(500);
    for (int index = 1; index < MANY; index += 2) stile_watch_end(list[index]);
    free(list);
    ok("thousands of questions are open at once");

    stile_client_stop(client);
    await_kind(&cho, "failed");
    MUST(is(cho.code, "closed") && !stile_watch_permits(silent));
    MUST(!stile_watch_begin(client, question, NULL, NULL));
    stile_watch_end(second), stile_watch_end(silent);
    stile_client_close(client);
    ok("a stopped client tells its open questions");

    stile_options options = STILE_OPTIONS_INIT;
    options.socket_path = strange, options.tenant = "mute", options.heartbeat_ms = 200, options.grace_ms = 300;
    client = stile_client_open(&options);
    struct told mute = {.lock = PTHREAD_MUTEX_INITIALIZER};
    double start = seconds();
    stile_watch *watch = stile_watch_begin(client, question, be_told, &mute);
    await_kind(&mute, "permitted");
    /* A server that shows no sign of life is given up and asked anew. */
    while (calls_of(&mute) < 3) {
        MUST(seconds() - start < 10);
        usleep(500);
    }
    MUST(seconds() - start > 0.3);
    stile_watch_end(watch);
    stile_client_close(client);
    client = open_client("/nowhere/at/all.sock", "honest", 1, 0);
    struct told none = {.lock = PTHREAD_MUTEX_INITIALIZER};
    watch = stile_watch_begin(client, question, be_told, &none);
    MUST(!stile_watch_permits(watch));
    await_kind(&none, "failed");
    MUST(is(none.code, "unreachable"));
    stile_watch_end(watch);
    stile_client_close(client);
    client = open_client(stiled, "no-such-tenant", 1, 0);
    forget(&none);
    watch = stile_watch_begin(client, question, be_told, &none);
    await_kind(&none, "failed");
    MUST(is(none.code, "tenant_unknown"));
    stile_watch_end(watch);
    stile_client_close(client);
    stile_question_free(question);
    ok("an open question without a server that lives is a denial with the cause");
}

static void kept(void) {
    stile_options options = STILE_OPTIONS_INIT;
    options.socket_path = stiled, options.tenant = tenant, options.kept_decisions = 8;
    stile_client *client = stile_client_open(&options);
    stile_question *question = stile_question_new();
    approve(question, "ada", "s-ada");
    MUST(stile_ask(client, question, NULL) && stile_ask(client, question, NULL));
    /* Held open from the second asking on; kept answers carry the decision id of the one that was pushed. */
    uint8_t id[16];
    bool is_kept = false;
    for (double start = seconds(); !is_kept && seconds() - start < 10;) {
        stile_answer *answer;
        MUST(stile_ask(client, question, &answer));
        is_kept = memcmp(id, stile_answer_decision_id(answer), 16) == 0;
        memcpy(id, stile_answer_decision_id(answer), 16);
        stile_answer_free(answer);
    }
    MUST(is_kept);
    double start = seconds();
    for (int round = 0; round < 1000; round++) MUST(stile_ask(client, question, NULL));
    MUST(seconds() - start < 5);
    load_risk("high");
    start = seconds();
    while (stile_ask(client, question, NULL)) MUST(seconds() - start < 10);
    load_risk("low");
    while (!stile_ask(client, question, NULL)) MUST(seconds() - start < 20);
    ok("a decision is kept until its question's answer changes");

    for (int round = 0; round < 3; round++)
        for (int index = 0; index < 100; index++) {
            char name[32];
            snprintf(name, sizeof name, "p%d", index);
            stile_question_resource(question, "payrun", name);
            MUST(stile_ask(client, question, NULL));
            MUST(stile_ask(client, question, NULL));
        }
    stile_client_stop(client);
    MUST(!stile_ask(client, question, NULL));
    stile_client_close(client);
    stile_question_free(question);
    ok("kept decisions make room for others, and end with their client");
}

/* ---- While the server is restarted ---- */

static double hold_until; /* by `seconds`; moved to the past to end */
static unsigned long held;

static void *hold_on(void *argument) {
    stile_question *question = stile_question_new();
    approve(question, "ada", "s-ada");
    for (double until; __atomic_load(&hold_until, &until, __ATOMIC_RELAXED), seconds() < until;) {
        stile_answer *answer;
        if (!stile_ask_within(argument, question, 20000, &answer)) {
            fprintf(stderr, "%s: %s\n", stile_answer_code(answer), stile_answer_message(answer));
            exit(1);
        }
        stile_answer_free(answer);
        __atomic_add_fetch(&held, 1, __ATOMIC_RELAXED);
    }
    stile_question_free(question);
    return NULL;
}

static int hold(const char *socket, const char *name, double milliseconds) {
    stile_client *client = open_client(socket, name, 3, 0);
    hold_until = milliseconds > 0 ? seconds() + milliseconds / 1000 : 1e18;
    pthread_t list[8];
    for (int index = 0; index < 8; index++) MUST(pthread_create(&list[index], NULL, hold_on, client) == 0);
    if (milliseconds == 0) {
        char byte;
        while (read(0, &byte, 1) > 0) {}
        double past = 0;
        __atomic_store(&hold_until, &past, __ATOMIC_RELAXED);
    }
    for (int index = 0; index < 8; index++) pthread_join(list[index], NULL);
    stile_client_close(client);
    printf("%lu\n", held);
    return 0;
}

static void write_down(void *context, const stile_answer *answer) {
    (void)context;
    printf("%s\n", stile_answer_failure(answer) ? "failed" : stile_answer_permits(answer) ? "permitted" : "denied");
    fflush(stdout);
}

static int watch_on(const char *socket, const char *name) {
    stile_client *client = open_client(socket, name, 1, 0);
    stile_question *question = stile_question_new();
    stile_question_subject(question, "user", "bob");
    stile_question_action(question, "read");
    stile_question_resource(question, "payrun", "p");
    stile_question_session(question, "s-bob");
    MUST(stile_watch_begin(client, question, write_down, NULL));
    for (;;) pause();
}

/* ---- What a question costs ---- */

static double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int cost(const char *socket, const char *name, size_t depth, double length) {
    stile_client *client = open_client(socket, name, 1, 0);
    stile_question *questions[64];
    stile_answer *list[64];
    if (depth < 1 || depth > 64) return 64;
    for (size_t index = 0; index < depth; index++) approve(questions[index] = stile_question_new(), "ada", "s-ada");
    MUST(stile_ask(client, questions[0], NULL));
    double start = seconds(), before = processor_seconds();
    unsigned long asked = 0;
    for (; seconds() - start < length; asked += depth) {
        MUST(stile_ask_many(client, questions, depth, 0, list));
        for (size_t index = 0; index < depth; index++) stile_answer_free(list[index]);
    }
    double taken = seconds() - start, used = processor_seconds() - before;
    printf(
        "depth %zu: %lu questions, %.1f us each, %.1f us of them on the client's processor\n", depth, asked,
        taken / (double)asked * 1e6, used / (double)asked * 1e6);
    for (size_t index = 0; index < depth; index++) stile_question_free(questions[index]);
    stile_client_close(client);
    return 0;
}

int main(int count, char **arguments) {
    if (count == 6 && is(arguments[1], "cost"))
        return cost(arguments[2], arguments[3], (size_t)atoi(arguments[4]), atof(arguments[5]));
    if (count == 5 && is(arguments[1], "hold")) return hold(arguments[2], arguments[3], atof(arguments[4]));
    if (count == 4 && is(arguments[1], "watch")) return watch_on(arguments[2], arguments[3]);
    if (count != 6) return 64;
    stiled = arguments[1], tenant = arguments[2], strange = arguments[3], tool = arguments[4], store = arguments[5];
    MUST(is(stile_version(), STILE_VERSION));
    stile_client *client = open_client(stiled, tenant, 0, 0);
    answers(client);
    many(client);
    mistakes(client);
    forks(client);
    stile_client_close(client);
    stile_client_close(NULL);
    connection();
    threads(1, 8, 500);
    threads(4, 16, 500);
    ok("threads share connections and have each their own answers");
    watches();
    kept();
    misbehaviour();
    impatience();
    closing();
    printf("%u passed, 0 failed\n", passed);
    return 0;
}
