/*
 * Holds questions open and compares what is pushed with what is true.
 *
 *   subscribe SOCKET STILE STORE TENANT OPEN ASK signal TRIALS SEED
 *   subscribe SOCKET STILE STORE TENANT OPEN ASK converge ROUNDS SEED
 *   subscribe SOCKET STILE STORE TENANT OPEN ASK await OUTCOME SECONDS
 *   subscribe SOCKET STILE STORE TENANT OPEN ASK edges LIMIT 0
 *
 * OPEN and ASK are the same questions as frames, the former to hold open; the first frame of each is a hello.
 *
 * signal: the subject of question N is user "u<N>". Raises and lowers one user's risk at a time and waits for the push:
 * it must belong to that user's question, say what it should, and be the only one. Tells the time from the
 * acknowledgement of the durable change, and from the change's being handed to the writer, to the pushed frame.
 * converge: lets random changes loose, waits until nothing is pushed any more, and asks every question: the answer must
 * be the one that was pushed last.
 * await: says "open" when all first answers have come, then waits until every question's answer has the outcome. With
 * GATE in the environment it reads nothing before a file of that name is there.
 * edges: ends subscriptions, ends what is none, sends a question that is too long, and meets the server's limit of LIMIT
 * open questions.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include "frames.h"

#define CONNECTIONS 8

static struct frames open_frames, ask_frames;
static struct stream streams[CONNECTIONS];
static size_t questions;
/* By connection and number of the subscription: the question. */
static uint32_t *question_of[CONNECTIONS];
static uint64_t *digests, *outcomes;
static uint64_t pushes;
static FILE *lines;
static int acknowledgements = -1;
static uint64_t state;

static uint64_t draw(uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % bound;
}

static void fail(const char *what) {
    fprintf(stderr, "subscribe: %s\n", what);
    exit(1);
}

static unsigned char *want(struct stream *stream) {
    unsigned char *frame = await_frame(stream);
    if (!frame) fail("the server closed a connection");
    if (number_of(frame, 0, 99) == 15) {
        fwrite(frame + 4, 1, length_of(frame), stderr);
        fail("the server refused");
    }
    return frame;
}

/* Takes a pushed frame in; the question that it belongs to. */
static size_t take_push(unsigned connection, const unsigned char *frame) {
    if (number_of(frame, 0, 99) != 6) fail("a frame that is no push");
    uint64_t number = number_of(frame, 22, UINT64_MAX);
    if (number >= questions) fail("a push for no subscription");
    size_t question = question_of[connection][number];
    digests[question] = digest_of(frame);
    outcomes[question] = number_of(frame, 2, 99);
    pushes++;
    return question;
}

static void subscribe_all(const char *path) {
    digests = calloc(questions, sizeof *digests), outcomes = calloc(questions, sizeof *outcomes);
    uint64_t start = now_ns();
    for (unsigned connection = 0; connection < CONNECTIONS; connection++) {
        struct stream *stream = &streams[connection];
        stream->descriptor = join(path);
        question_of[connection] = calloc(questions, sizeof **question_of);
        if (!send_frame(stream->descriptor, frame_at(&open_frames, 0)) || number_of(want(stream), 0, 99) != 0)
            fail("no welcome");
        for (size_t first = connection; first < questions;) {
            size_t last = first;
            for (unsigned count = 0; count < 100 && last < questions; count++, last += CONNECTIONS)
                if (!send_frame(stream->descriptor, frame_at(&open_frames, last + 1))) fail("writing");
            for (; first < last; first += CONNECTIONS) {
                unsigned char *frame = want(stream);
                while (number_of(frame, 0, 99) == 6) take_push(connection, frame), frame = want(stream);
                uint64_t number = number_of(frame, 22, UINT64_MAX);
                if (number_of(frame, 0, 99) != 4 || number_of(frame, 1, 0) != first + 1 || number >= questions)
                    fail("no first answer");
                question_of[connection][number] = (uint32_t)first;
                digests[first] = digest_of(frame), outcomes[first] = number_of(frame, 2, 99);
            }
        }
        for (unsigned char *frame; (frame = next_frame(stream));) take_push(connection, frame);
    }
    printf("%zu questions open after %.0f ms\n", questions, (double)(now_ns() - start) / 1e6);
    fflush(stdout);
}

static void start_writer(char **arguments) {
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) fail("pipe");
    if (fork() == 0) {
        dup2(to[0], 0), dup2(from[1], 1);
        execl(arguments[2], arguments[2], "load", "--each", "--store", arguments[3], "--tenant", arguments[4], "-", NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    lines = fdopen(to[1], "w"), acknowledgements = from[0];
}

/* Takes in what arrives within a time; counts acknowledged lines. True when something came. */
static int pump(int timeout_ms, unsigned *acknowledged) {
    struct pollfd ready[CONNECTIONS + 1];
    for (unsigned index = 0; index < CONNECTIONS; index++)
        ready[index] = (struct pollfd){.fd = streams[index].descriptor, .events = POLLIN};
    ready[CONNECTIONS] = (struct pollfd){.fd = acknowledgements, .events = POLLIN};
    if (poll(ready, CONNECTIONS + 1, timeout_ms) <= 0) return 0;
    for (unsigned index = 0; index < CONNECTIONS; index++) {
        if (!ready[index].revents) continue;
        if (fill(&streams[index], MSG_DONTWAIT) == 0) fail("the server closed a connection");
        for (unsigned char *frame; (frame = next_frame(&streams[index]));) take_push(index, frame);
    }
    if (ready[CONNECTIONS].revents) {
        char text[65536];
        ssize_t got = read(acknowledgements, text, sizeof text);
        if (got <= 0) fail("the writer ended");
        for (ssize_t at = 0; at < got; at++) *acknowledged += text[at] == '\n';
    }
    return 1;
}

static void signals(size_t trials) {
    uint64_t *after_ack = calloc(trials, sizeof *after_ack), *after_line = calloc(trials, sizeof *after_line);
    unsigned char *is_high = calloc(questions, 1);
    for (size_t trial = 0; trial < trials; trial++) {
        size_t user = draw(questions);
        is_high[user] = !is_high[user];
        uint64_t before = pushes, acknowledged_at = 0, pushed_at = 0, start = now_ns();
        fprintf(lines, "{\"signal\":{\"name\":\"user.risk\",\"subject\":{\"type\":\"user\",\"id\":\"u%zu\"},\"value\":\"%s\"}}\n",
                user, is_high[user] ? "high" : "low");
        fflush(lines);
        while (!acknowledged_at || !pushed_at) {
            unsigned acknowledged = 0;
            if (!pump(10000, &acknowledged)) fail("no push within ten seconds");
            if (acknowledged) acknowledged_at = now_ns();
            if (pushes > before && !pushed_at) pushed_at = now_ns();
        }
        if (pushes != before + 1) fail("a signal about one subject was pushed to another's question");
        if (outcomes[user] != (is_high[user] ? 1 : 0)) fail("the push is not the user's, or says what is not so");
        after_ack[trial] = pushed_at > acknowledged_at ? pushed_at - acknowledged_at : 0;
        after_line[trial] = pushed_at - start;
    }
    unsigned acknowledged = 0;
    if (pump(200, &acknowledged)) fail("a push that nothing asked for");
    qsort(after_ack, trials, sizeof *after_ack, compare_u64);
    qsort(after_line, trials, sizeof *after_line, compare_u64);
    printf("%zu signals; push after the acknowledged commit: median %.3f ms, p99 %.3f ms, most %.3f ms; "
           "after the change was handed over: median %.3f ms, p99 %.3f ms\n",
           trials, (double)after_ack[trials / 2] / 1e6, (double)after_ack[trials * 99 / 100] / 1e6,
           (double)after_ack[trials - 1] / 1e6, (double)after_line[trials / 2] / 1e6,
           (double)after_line[trials * 99 / 100] / 1e6);
}

/* One random change of what the questions of subscriptions.sh are about. */
static void change(void) {
    static const char *const levels[] = {"low", "medium", "high"}, *const truths[] = {"false", "true"};
    unsigned user = (unsigned)draw(40), group = (unsigned)draw(4), session = (unsigned)draw(40), device = (unsigned)draw(10);
    switch (draw(12)) {
        case 0:
            fprintf(lines, "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"id\":\"u%u\",\"userName\":\"u\","
                           "\"active\":%s,\"level\":%u}\n", user, truths[draw(8) > 0], (unsigned)draw(10));
            break;
        case 1:
            if (draw(4)) fprintf(lines, "{\"members\":{\"group\":\"g%u\",\"add\":[\"u%u\"],\"remove\":[\"u%u\"]}}\n", group, user, (unsigned)draw(40));
            else fprintf(lines, "{\"delete\":{\"type\":\"user\",\"id\":\"u%u\"}}\n", user);
            break;
        case 2: case 3:
            fprintf(lines, "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:Group\"],\"id\":\"g%u\",\"displayName\":\"%s\","
                           "\"members\":[", group, group % 2 ? "Editors" : "Readers");
            for (unsigned count = 0; count < 8; count++) fprintf(lines, "%s{\"value\":\"u%u\",\"type\":\"User\"}", count ? "," : "", (unsigned)draw(40));
            if (group < 2 && draw(2)) fprintf(lines, ",{\"value\":\"g%u\",\"type\":\"Group\"}", group + 2);
            fprintf(lines, "]}\n");
            break;
        case 4: case 5:
            fprintf(lines, "{\"session\":{\"id\":\"s%u\",\"subject\":{\"type\":\"user\",\"id\":\"u%u\"},\"assurance\":\"%s\","
                           "\"amr\":[\"pwd\"],\"auth_time\":\"now-%us\",\"expires\":\"now+%us\",\"device\":\"v%u\"}}\n",
                    session, session, draw(2) ? "mfa" : "password", (unsigned)(draw(2) ? draw(60) : 897 + draw(5)),
                    (unsigned)(draw(2) ? 1 + draw(3) : 1000), device);
            break;
        case 6: fprintf(lines, "{\"delete\":{\"type\":\"session\",\"id\":\"s%u\"}}\n", session); break;
        case 7: case 8:
            fprintf(lines, "{\"signal\":{\"name\":\"device.compliant\",\"subject\":{\"type\":\"device\",\"id\":\"v%u\"},"
                           "\"value\":%s,\"expires\":\"now+%us\"}}\n", device, truths[draw(2)], (unsigned)(draw(2) ? 1 + draw(2) : 500));
            break;
        case 9:
            fprintf(lines, "{\"resource\":{\"type\":\"doc\",\"id\":\"d%u\",\"properties\":{\"status\":\"%s\"}}}\n",
                    (unsigned)draw(20), draw(2) ? "open" : "closed");
            break;
        default:
            fprintf(lines, "{\"signal\":{\"name\":\"user.risk\",\"subject\":{\"type\":\"user\",\"id\":\"u%u\"},\"value\":\"%s\","
                           "\"expires\":\"now+%us\"}}\n", user, levels[draw(3)], (unsigned)(draw(2) ? 1 + draw(3) : 1000));
            break;
    }
}

/* Asks all; how many answers are not those pushed last. */
static size_t differing(struct stream *asker, int tells) {
    size_t count = 0;
    for (size_t first = 0; first < questions;) {
        size_t last = first;
        for (; last < questions && last < first + 100; last++)
            if (!send_frame(asker->descriptor, frame_at(&ask_frames, last + 1))) fail("writing");
        for (; first < last; first++) {
            unsigned char *frame = want(asker);
            if (digest_of(frame) == digests[first]) continue;
            count++;
            if (tells)
                fprintf(stderr, "question %zu: pushed outcome %lu, true %lu\n", first, (unsigned long)outcomes[first],
                        (unsigned long)number_of(frame, 2, 99));
        }
    }
    return count;
}

static void converge(const char *path, size_t rounds) {
    struct stream asker = {.descriptor = join(path)};
    if (!send_frame(asker.descriptor, frame_at(&ask_frames, 0)) || number_of(want(&asker), 0, 99) != 0) fail("no welcome");
    uint64_t changes = 0;
    for (size_t round = 0; round < rounds; round++) {
        unsigned sent = 1 + (unsigned)draw(40), acknowledged = 0;
        for (unsigned count = 0; count < sent; count++) change();
        fflush(lines);
        while (acknowledged < sent)
            if (!pump(20000, &acknowledged)) fail("the writer gives no acknowledgement");
        changes += sent;
        /* Time goes on changing answers: what differs may be on its way, but not for long. */
        size_t left = 1;
        for (int patience = 0; left && patience < 20; patience++) {
            while (pump(30, &acknowledged)) {}
            left = differing(&asker, patience == 19);
        }
        if (left) {
            fprintf(stderr, "round %zu: %zu answers are not those pushed last\n", round, left);
            exit(1);
        }
    }
    printf("%zu rounds, %lu random changes, %lu pushes: every answer is the one pushed last\n", rounds,
           (unsigned long)changes, (unsigned long)pushes);
}

static void await_all(uint64_t outcome, unsigned seconds) {
    uint64_t first = 0;
    unsigned acknowledged = 0;
    const char *gate = getenv("GATE");
    while (gate && access(gate, F_OK)) usleep(10000);
    uint64_t start = now_ns();
    for (;;) {
        size_t left = 0;
        for (size_t index = 0; index < questions; index++) left += outcomes[index] != outcome;
        if (!left) break;
        if (now_ns() - start > (uint64_t)seconds * 1000000000u) {
            fprintf(stderr, "%zu questions have not been answered anew\n", left);
            exit(1);
        }
        if (pump(1000, &acknowledged) && !first) first = now_ns();
    }
    printf("%zu questions answered anew within %.0f ms of the first push\n", questions, first ? (double)(now_ns() - first) / 1e6 : 0);
}

/* A frame {0: 5, 1: 7, 22: number}. */
static void unsubscribe(int descriptor, unsigned number) {
    unsigned char frame[] = {0, 0, 0, 9, 0xa3, 0, 5, 1, 7, 22, 26, 0, 0};
    frame[10] = 25, frame[11] = (unsigned char)(number >> 8), frame[12] = (unsigned char)number;
    /* The shortest encoding is the only one. */
    if (number < 24) frame[3] = 7, frame[10] = (unsigned char)number;
    else if (number < 256) frame[3] = 8, frame[10] = 24, frame[11] = (unsigned char)number;
    if (!send_all(descriptor, frame, 4u + frame[3])) fail("writing");
}

static int is_refused(const unsigned char *frame, const char *code) {
    const unsigned char *at = field(frame, 20);
    if (number_of(frame, 0, 99) != 15 || !field(frame, 1) || !at) return 0;
    uint64_t size = argument(&at);
    return size == strlen(code) && !memcmp(at, code, size);
}

/* The next frame that answers something; pushes go on in between. */
static unsigned char *reply(struct stream *stream) {
    unsigned char *frame;
    do frame = await_frame(stream);
    while (frame && number_of(frame, 0, 99) == 6);
    if (!frame) fail("the server closed a connection");
    return frame;
}

static void edges(const char *path, unsigned limit) {
    struct stream stream = {.descriptor = join(path)};
    if (!send_frame(stream.descriptor, frame_at(&open_frames, 0)) || number_of(reply(&stream), 0, 99) != 0) fail("no welcome");
    unsubscribe(stream.descriptor, 300);
    unsigned char *frame = reply(&stream);
    if (number_of(frame, 0, 99) != 5 || number_of(frame, 22, 0) != 300) fail("the end of a subscription that is none");
    /* A question whose resource has a property of 20,000 bytes, a valid frame but too long to be kept. */
    static unsigned char large[32768];
    /* The fourth has neither session nor device, which would come after. */
    const unsigned char *model = frame_at(&open_frames, 4);
    size_t size = 4 + length_of(model);
    memcpy(large, model, size);
    static const unsigned char key[] = {5, 0xa1, 0x61, 'x', 0x79, 20000 >> 8, 20000 & 255};
    large[4]++;
    memcpy(large + size, key, sizeof key);
    memset(large + size + sizeof key, 'x', 20000);
    size += sizeof key + 20000;
    large[2] = (unsigned char)((size - 4) >> 8), large[3] = (unsigned char)(size - 4);
    if (!send_all(stream.descriptor, large, size)) fail("writing");
    if (!is_refused(reply(&stream), "subscription_too_large")) fail("a question too long was not refused");
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned count = 0; count <= limit; count++) {
            if (!send_frame(stream.descriptor, frame_at(&open_frames, 1 + count % questions))) fail("writing");
            frame = reply(&stream);
            if (!frame) fail("the server closed the connection");
            if (count < limit && (number_of(frame, 0, 99) != 4 || number_of(frame, 22, 99) >= limit))
                fail("not opened below the limit");
            if (count == limit && !is_refused(frame, "too_many_subscriptions")) fail("opened above the limit");
        }
        for (unsigned count = 0; count < limit; count++) {
            unsubscribe(stream.descriptor, count);
            frame = reply(&stream);
            if (number_of(frame, 0, 99) != 5 || number_of(frame, 22, 99) != count) fail("not ended");
        }
    }
    /* What a connection held is free again when it is gone. */
    for (unsigned count = 0; count < limit; count++) {
        if (!send_frame(stream.descriptor, frame_at(&open_frames, 1))) fail("writing");
        reply(&stream);
    }
    close(stream.descriptor);
    for (unsigned attempt = 0;; attempt++) {
        struct stream other = {.descriptor = join(path)};
        if (!send_frame(other.descriptor, frame_at(&open_frames, 0))) fail("writing");
        reply(&other);
        if (!send_frame(other.descriptor, frame_at(&open_frames, 1))) fail("writing");
        frame = reply(&other);
        int opened = frame && number_of(frame, 0, 99) == 4;
        close(other.descriptor);
        if (opened) break;
        if (attempt == 100) fail("the questions of a connection that is gone stay open");
        usleep(10000);
    }
    printf("limits hold\n");
}

int main(int count, char **arguments) {
    if (count != 10) return 64;
    open_frames = read_frames(arguments[5]), ask_frames = read_frames(arguments[6]);
    if (open_frames.count < 2 || ask_frames.count != open_frames.count) return 65;
    questions = open_frames.count - 1;
    const char *mode = arguments[7];
    if (!strcmp(mode, "edges")) {
        edges(arguments[1], (unsigned)atoi(arguments[8]));
        return 0;
    }
    subscribe_all(arguments[1]);
    if (!strcmp(mode, "await")) {
        await_all((uint64_t)atoll(arguments[8]), (unsigned)atoi(arguments[9]));
        return 0;
    }
    state = strtoull(arguments[9], NULL, 10);
    start_writer(arguments);
    if (!strcmp(mode, "signal")) signals((size_t)atoll(arguments[8]));
    else if (!strcmp(mode, "converge")) converge(arguments[1], (size_t)atoll(arguments[8]));
    else return 64;
    fclose(lines);
    int status;
    wait(&status);
    return status == 0 ? 0 : 1;
}
