/*
 * The load: asks random questions about the tenant of tenant.sh through libstile and times the answers. The same
 * program measures the floor and Stile, so that what differs is the server.
 *
 *   load --socket PATH --tenant ID --users N [--connections C] [--depth D] [--seconds S] [--warmup S] [--rate R]
 *        [--processor P] [--server PID] [--seed S] [--samples FILE] [--record FILE] [--histogram] [--name TEXT]
 *        [--types N] [--actions N]
 *
 * Closed loop: each connection has a round of D questions on the way, sent in one write; the round ends when D answers
 * have come, and the next is made before the clock runs again. A sample is the time of one round.
 * Open loop (--rate, questions a second): questions are due at fixed times whatever the server does, and a sample is
 * the time from when a question was due to its answer: a server that falls behind is charged for those it kept waiting
 * (no coordinated omission). The client never sleeps then, so give it a processor of its own.
 *
 * --samples appends each sample's nanoseconds as a u32, little-endian. --record writes a thousand answers for the floor.
 * --server adds up the processor time of the server's threads. One JSON object is printed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <getopt.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <stile.h>

enum { MAX_CONNECTIONS = 1024, MAX_DEPTH = 4096 };

static struct {
    const char *socket, *tenant, *samples, *record, *name;
    unsigned connections, depth, users, types, actions;
    double seconds, warmup, rate;
    int processor, server, histogram;
} options = {.tenant = "bench", .name = "load", .connections = 1, .depth = 1, .users = 1000, .types = 12, .actions = 8,
             .seconds = 1, .warmup = 0.1, .processor = -1};

/* One connection and its round. */
static struct lane {
    stile_connection *connection;
    unsigned waiting;
    uint64_t start;
    /* When each question on the way was due, by id: the open loop's. */
    uint64_t *due;
} lanes[MAX_CONNECTIONS];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t state = 1;
static uint64_t draw(uint64_t bound) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t value = state;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return (value ^ (value >> 31)) % bound;
}

/* ---- Samples ---- */

static uint32_t *samples;
static size_t sample_count, sample_room;
static uint64_t timed, answered, permitted;

static void note(uint64_t nanoseconds) {
    if (sample_count == sample_room) {
        sample_room = sample_room ? sample_room * 2 : 1 << 16;
        samples = realloc(samples, sample_room * sizeof *samples);
        if (!samples) die("samples");
    }
    samples[sample_count++] = nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
    timed += nanoseconds;
}

/* ---- Questions: as tenant.sh makes the tenant ---- */

static stile_question *question;

static const char *numbered(char *text, const char *word, uint64_t number) {
    char digits[24];
    int count = 0;
    size_t size = strlen(word);
    memcpy(text, word, size);
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count > 0) text[size++] = digits[--count];
    text[size] = 0;
    return text;
}

static void make_question(void) {
    static const char *const regions[] = {"eu", "us", "apac"};
    char type[64], id[64];
    stile_question_reset(question);
    stile_question_subject(question, "user", numbered(id, "user-", draw(options.users)));
    stile_question_action(question, numbered(id, "act", draw(options.actions)));
    stile_question_resource(question, numbered(type, "type", draw(options.types)), numbered(id, "r", draw(3000)));
    stile_question_text(question, STILE_RESOURCE, "region", regions[draw(3)]);
    stile_question_integer(question, STILE_RESOURCE, "level", (int64_t)draw(6));
    if (draw(4) == 0) stile_question_text(question, STILE_RESOURCE, "owner", numbered(id, "user-", draw(options.users)));
    stile_question_text(question, STILE_CONTEXT, "channel", "api");
}

/* Puts a question on its way; gives its id. */
static uint64_t queue(struct lane *lane) {
    make_question();
    uint64_t id = stile_connection_send(lane->connection, question);
    if (id == 0) {
        fprintf(stderr, "a question is wrong: %s\n", stile_question_mistake(question));
        exit(65);
    }
    return id;
}

static void flush(struct lane *lane) {
    if (stile_connection_flush(lane->connection) < 0) {
        fprintf(stderr, "the server closed the connection\n");
        exit(69);
    }
}

static FILE *record;

/* Takes one answer: 1, or 0 when there is none yet. */
static int take(struct lane *lane, stile_reply *reply, int timeout) {
    int got = stile_connection_receive(lane->connection, reply, timeout);
    if (got < 0 || (got > 0 && reply->failure != STILE_FAILURE_NONE)) {
        fprintf(stderr, "the server refused, or closed the connection\n");
        exit(69);
    }
    if (got == 0) return 0;
    permitted += reply->permits;
    if (record) {
        uint32_t size = (uint32_t)reply->frame_size;
        uint8_t prefix[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
        if (fwrite(prefix, 1, 4, record) != 4 || fwrite(reply->frame, 1, size, record) != size) die("record");
    }
    return 1;
}

/* ---- Closed loop ---- */

static void begin_round(struct lane *lane) {
    for (unsigned item = 0; item < options.depth; item++) queue(lane);
    lane->waiting = options.depth;
    lane->start = now();
    flush(lane);
}

/* Takes what has come; true when the round is over. */
static int end_round(struct lane *lane, int timeout) {
    stile_reply reply;
    while (lane->waiting > 0 && take(lane, &reply, timeout)) lane->waiting--;
    if (lane->waiting > 0) return 0;
    note(now() - lane->start);
    answered += options.depth;
    return 1;
}

static void run_closed(double seconds) {
    uint64_t begun = now(), end = begun + (uint64_t)(seconds * 1e9);
    if (options.connections == 1) {
        while (now() < end) {
            begin_round(&lanes[0]);
            end_round(&lanes[0], -1);
        }
        return;
    }
    int epoll = epoll_create1(0);
    for (unsigned index = 0; index < options.connections; index++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
        epoll_ctl(epoll, EPOLL_CTL_ADD, stile_connection_descriptor(lanes[index].connection), &event);
        begin_round(&lanes[index]);
    }
    for (unsigned running = options.connections; running > 0;) {
        struct epoll_event ready[256];
        int count = epoll_wait(epoll, ready, 256, -1);
        for (int index = 0; index < count; index++) {
            struct lane *lane = &lanes[ready[index].data.u32];
            if (!end_round(lane, 0)) continue;
            if (now() < end) begin_round(lane);
            else running--;
        }
    }
    /* Rounds overlap, so the cost is of the whole, making the questions included. */
    timed = now() - begun;
    close(epoll);
}

/* ---- Open loop ---- */

enum { WINDOW = 1 << 16 };

static void take_due(struct lane *lane, uint64_t *waiting) {
    stile_reply reply;
    uint64_t time = 0;
    while (take(lane, &reply, 0)) {
        /* Answers that came with one read came at one time. */
        if (time == 0) time = now();
        note(time - lane->due[reply.id % WINDOW]);
        answered++;
        (*waiting)--;
    }
}

static void run_open(double seconds) {
    double gap = 1e9 / options.rate;
    uint64_t begun = now(), total = (uint64_t)(seconds * options.rate), sent = 0, waiting = 0;
    unsigned turn = 0;
    while (sent < total || waiting > 0) {
        uint64_t time = now();
        /* All that is due goes out, spread over the connections; one write for each that has some, be it left over from a
         * write that the kernel did not take whole. */
        while (sent < total && waiting < WINDOW / 2 && begun + (uint64_t)((double)sent * gap) <= time) {
            struct lane *lane = &lanes[turn];
            lane->due[queue(lane) % WINDOW] = begun + (uint64_t)((double)sent * gap);
            turn = turn + 1 == options.connections ? 0 : turn + 1;
            sent++;
            waiting++;
        }
        for (unsigned index = 0; index < options.connections; index++) flush(&lanes[index]);
        for (unsigned index = 0; index < options.connections && waiting > 0; index++) take_due(&lanes[index], &waiting);
    }
    timed = now() - begun;
}

/* ---- The server's processor time, nanoseconds of all its threads ---- */

static uint64_t server_time(void) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", options.server);
    DIR *directory = options.server ? opendir(path) : NULL;
    uint64_t total = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", options.server, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        unsigned long long time = 0;
        if (file && fscanf(file, "%llu", &time) == 1) total += time;
        if (file) fclose(file);
    }
    if (directory) closedir(directory);
    return total;
}

static uint64_t own_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- Telling ---- */

static int compare(const void *left, const void *right) {
    uint32_t one = *(const uint32_t *)left, two = *(const uint32_t *)right;
    return one < two ? -1 : one > two;
}

static void draw_histogram(void) {
    /* Bars between powers of the fourth root of two, from the least to the 99.9th percentile. */
    size_t last = sample_count - sample_count / 1000 - 1, peak = 0, at = 0;
    for (int pass = 0; pass < 2; pass++) {
        double low = samples[0] > 0 ? samples[0] : 1;
        at = 0;
        while (at <= last) {
            double high = low * 1.1892;
            size_t start = at;
            while (at < sample_count && samples[at] < high) at++;
            size_t bar = at - start;
            if (pass == 0 && bar > peak) peak = bar;
            if (pass == 1) {
                printf("  %8.1f us |", low / 1000);
                for (size_t dot = 0; dot < bar * 50 / (peak ? peak : 1); dot++) putchar('#');
                printf("%s %zu\n", bar ? "" : ".", bar);
            }
            low = high;
        }
    }
    printf("  beyond: %zu, slowest %.1f us\n", sample_count - at, samples[sample_count - 1] / 1000.0);
}

static uint32_t at_share(double share) {
    size_t index = (size_t)((double)sample_count * share);
    return samples[index < sample_count ? index : sample_count - 1];
}

static void tell(uint64_t server, uint64_t own) {
    if (options.samples) {
        FILE *out = fopen(options.samples, "ab");
        if (!out || fwrite(samples, sizeof *samples, sample_count, out) != sample_count) die(options.samples);
        fclose(out);
    }
    qsort(samples, sample_count, sizeof *samples, compare);
    double mean = options.rate > 0 ? 0 : (double)timed / (double)answered;
    /* One connection: the middle round's, so that a neighbour's turn on the processor does not count. Many: the whole. */
    double cost = options.connections > 1 || options.rate > 0 ? mean : (double)at_share(0.5) / options.depth;
    printf("{\"name\":\"%s\",\"connections\":%u,\"depth\":%u,\"rate\":%.0f,\"answers\":%llu,\"permitted\":%.4f,", options.name,
           options.connections, options.depth, options.rate, (unsigned long long)answered, (double)permitted / (double)answered);
    printf("\"cost_ns\":%.1f,\"mean_ns\":%.1f,\"server_ns\":%.1f,\"client_ns\":%.1f,", cost, mean, (double)server / (double)answered,
           (double)own / (double)answered);
    printf("\"median_ns\":%u,\"p90_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,\"max_ns\":%u,\"per_second\":%.0f}\n", at_share(0.5),
           at_share(0.9), at_share(0.99), at_share(0.999), samples[sample_count - 1],
           options.rate > 0 ? (double)answered * 1e9 / (double)timed : 1e9 / mean);
    if (options.histogram) draw_histogram();
}

static void parse(int count, char **arguments) {
    static const struct option list[] = {
        {"socket", 1, 0, 's'},  {"tenant", 1, 0, 't'},    {"users", 1, 0, 'u'},   {"connections", 1, 0, 'c'},
        {"depth", 1, 0, 'd'},   {"seconds", 1, 0, 'n'},   {"warmup", 1, 0, 'w'},  {"rate", 1, 0, 'r'},
        {"server", 1, 0, 'v'},  {"processor", 1, 0, 'p'}, {"seed", 1, 0, 'e'},    {"samples", 1, 0, 'o'},
        {"record", 1, 0, 'f'},  {"histogram", 0, 0, 'g'}, {"name", 1, 0, 'm'},    {"types", 1, 0, 'y'},
        {"actions", 1, 0, 'a'}, {0, 0, 0, 0}};
    for (int option; (option = getopt_long(count, arguments, "", list, NULL)) != -1;) switch (option) {
            case 's': options.socket = optarg; break;
            case 't': options.tenant = optarg; break;
            case 'u': options.users = (unsigned)atoi(optarg); break;
            case 'c': options.connections = (unsigned)atoi(optarg); break;
            case 'd': options.depth = (unsigned)atoi(optarg); break;
            case 'n': options.seconds = atof(optarg); break;
            case 'w': options.warmup = atof(optarg); break;
            case 'r': options.rate = atof(optarg); break;
            case 'v': options.server = atoi(optarg); break;
            case 'p': options.processor = atoi(optarg); break;
            case 'e': state = (uint64_t)atoll(optarg); break;
            case 'o': options.samples = optarg; break;
            case 'f': options.record = optarg; break;
            case 'g': options.histogram = 1; break;
            case 'm': options.name = optarg; break;
            case 'y': options.types = (unsigned)atoi(optarg); break;
            case 'a': options.actions = (unsigned)atoi(optarg); break;
            default: exit(64);
        }
    if (!options.socket || options.users == 0 || options.types == 0 || options.actions == 0 || options.depth == 0 || options.depth > MAX_DEPTH || options.connections == 0
        || options.connections > MAX_CONNECTIONS || options.seconds <= 0) {
        fprintf(stderr, "usage: load --socket PATH --users N [--connections C] [--depth D] [--seconds S] …\n");
        exit(64);
    }
}

static void open_all(void) {
    for (unsigned index = 0; index < options.connections; index++) {
        stile_failure failure;
        lanes[index].connection = stile_connection_open(options.socket, options.tenant, 5000, &failure);
        if (!lanes[index].connection) {
            fprintf(stderr, "%s: no connection, failure %d\n", options.socket, failure);
            exit(69);
        }
        if (options.rate > 0 && !(lanes[index].due = calloc(WINDOW, sizeof *lanes->due))) die("due");
    }
}

int main(int count, char **arguments) {
    parse(count, arguments);
    if (options.processor >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(options.processor, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
    }
    question = stile_question_new();
    open_all();
    if (options.record) {
        record = fopen(options.record, "wb");
        if (!record) die(options.record);
        for (int round = 0; round < 1000; round++) {
            queue(&lanes[0]);
            flush(&lanes[0]);
            stile_reply reply;
            take(&lanes[0], &reply, -1);
        }
        fclose(record);
        return 0;
    }
    if (options.warmup > 0) run_closed(options.warmup);
    sample_count = 0;
    timed = answered = permitted = 0;
    uint64_t server = server_time(), own = own_time();
    if (options.rate > 0) run_open(options.seconds);
    else run_closed(options.seconds);
    own = own_time() - own;
    tell(server_time() - server, own);
    for (unsigned index = 0; index < options.connections; index++) stile_connection_close(lanes[index].connection);
    return 0;
}
