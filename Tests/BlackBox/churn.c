/*
 * Answers while everything changes. Asks on 16 connections at a steady rate, for a while in quiet; then again while
 * policies are activated, signals recorded and users updated, each by the tool as an operator's script would. Every
 * answer is held against what was acknowledged before its question was sent.
 *
 *   churn SOCKET STILE STORE TENANT FRAMES ACTIVATIONS SIGNALS UPDATES RATE QUIET LIMIT FOLDER
 *
 * FRAMES: a hello, then 16 questions, each permitted exactly while the user "w0" to "w15" is active and of low risk.
 * FOLDER: holds `one` and `two`, folders of policies that decide these questions alike and are activated in turn; files
 * of lines are written there. RATE: questions a second. QUIET: seconds. LIMIT: the most that the 99.9th percentile may be
 * under change, as a multiple of that in quiet; 0 only tells.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "frames.h"

enum { WITNESSES = 16, USERS = 10000, CHUNK = 10000 };
extern char **environ;

static const char *socket_path, *tool, *store, *tenant, *folder;
static long activations, signals, updates;
static atomic_int writers;
static atomic_ullong acknowledged_version;
static atomic_long done_activations, done_signals, done_updates;

/*
 * What may be answered about a witness: bit 0, low risk; bit 1, active; bit 2 and 3, that these are on their way to
 * change; above, a count of changes. One thread changes risks, another activity.
 */
static atomic_ullong witnesses[WITNESSES];

static void begin_change(unsigned witness, unsigned bit) { atomic_fetch_add(&witnesses[witness], 16 + (4u << bit)); }
static void end_change(unsigned witness, unsigned bit, int value) {
    unsigned long long old = atomic_load(&witnesses[witness]), new;
    do new = ((old & ~(1ull << bit)) | (unsigned long long)value << bit) + 16 - (4u << bit);
    while (!atomic_compare_exchange_weak(&witnesses[witness], &old, new));
}

static pthread_barrier_t start_line;
static void await_start(void) { pthread_barrier_wait(&start_line); }

static void die(const char *what) {
    fprintf(stderr, "FAILED: %s\n", what);
    exit(1);
}

/* ---- Writers ---- */

/* The user's line. */
static void user_line(FILE *file, const char *id, int is_active, const char *department) {
    fprintf(
        file,
        "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\",\"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User\"],"
        "\"id\":\"%s\",\"userName\":\"%s\",\"active\":%s,\"userType\":\"employee\","
        "\"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User\":{\"department\":\"%s\"}}\n",
        id, id, is_active ? "true" : "false", department);
}

/* Runs the tool to its end. */
static void run_tool(char *const arguments[]) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int status;
    if (posix_spawn(&child, tool, &actions, NULL, arguments, environ) != 0) die("the tool does not start");
    if (waitpid(child, &status, 0) != child || status != 0) die("the tool ended with an error");
    posix_spawn_file_actions_destroy(&actions);
}

static void *activate(void *unused) {
    (void)unused;
    await_start();
    for (long number = 0; number < activations; number++) {
        char place[4096];
        snprintf(place, sizeof place, "%s/%s", folder, number % 2 ? "one" : "two");
        char *arguments[] = {(char *)tool, "policy", "push", place, "--store", (char *)store, "--tenant", (char *)tenant,
                             "--socket", (char *)socket_path, NULL};
        run_tool(arguments);
        /* Version 1 was there before. */
        atomic_store(&acknowledged_version, (unsigned long long)number + 2);
        atomic_fetch_add(&done_activations, 1);
    }
    atomic_fetch_sub(&writers, 1);
    return NULL;
}

static void *signal_on(void *unused) {
    (void)unused;
    await_start();
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) die("a pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    char *arguments[] = {(char *)tool, "load", "--each", "--store", (char *)store, "--tenant", (char *)tenant, "-", NULL};
    pid_t child;
    if (posix_spawn(&child, tool, &actions, NULL, arguments, environ) != 0) die("the tool does not start");
    close(to[0]), close(from[1]);
    FILE *lines = fdopen(to[1], "w"), *answers = fdopen(from[0], "r");
    int is_low[WITNESSES];
    for (int index = 0; index < WITNESSES; index++) is_low[index] = 1;
    for (long number = 0; number < signals; number++) {
        unsigned witness = (unsigned)(number % WITNESSES);
        char answer[256];
        begin_change(witness, 0);
        is_low[witness] = !is_low[witness];
        fprintf(lines, "{\"signal\":{\"name\":\"user.risk\",\"subject\":{\"type\":\"user\",\"id\":\"w%u\"},\"value\":\"%s\"}}\n",
                witness, is_low[witness] ? "low" : "high");
        fflush(lines);
        if (!fgets(answer, sizeof answer, answers) || strncmp(answer, "{\"ok\":true", 10)) die("a signal was not recorded");
        end_change(witness, 0, is_low[witness]);
        atomic_fetch_add(&done_signals, 1);
    }
    fclose(lines);
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) die("the tool that records signals");
    atomic_fetch_sub(&writers, 1);
    return NULL;
}

static void *update(void *unused) {
    (void)unused;
    await_start();
    static const char *const departments[] = {"Finance", "Sales", "Legal"};
    long number = 0;
    for (long chunk = 0; number < updates; chunk++) {
        char place[4096];
        snprintf(place, sizeof place, "%s/lines.jsonl", folder);
        FILE *file = fopen(place, "w");
        if (!file) die("a file of lines");
        unsigned witness = (unsigned)(chunk % WITNESSES);
        long last = number + CHUNK < updates ? number + CHUNK : updates;
        for (; number < last - 1; number++) {
            char id[32];
            snprintf(id, sizeof id, "u%ld", number % USERS);
            user_line(file, id, 1, departments[(number / USERS + number) % 3]);
        }
        /* Half of the witnesses are switched off and on again. */
        char id[32];
        snprintf(id, sizeof id, "w%u", witness);
        int is_active = chunk / WITNESSES % 2 == 1;
        user_line(file, id, is_active, "Finance");
        number = last;
        fclose(file);
        begin_change(witness, 1);
        char *arguments[] = {(char *)tool, "load", "--store", (char *)store, "--tenant", (char *)tenant, place, NULL};
        run_tool(arguments);
        end_change(witness, 1, is_active);
        atomic_store(&done_updates, number);
    }
    atomic_fetch_sub(&writers, 1);
    return NULL;
}

/* ---- The asker ---- */

static struct lane {
    struct stream stream;
    uint64_t due;
    int is_waiting;
    unsigned witness;
    unsigned long long before, version;
} lanes[WITNESSES];
static struct frames frames;
static uint64_t *samples;
static size_t sample_count, sample_room, errors, stale, permits;

static void note(uint64_t time) {
    if (sample_count == sample_room) {
        sample_room = sample_room ? sample_room * 2 : 1 << 16;
        samples = realloc(samples, sample_room * sizeof *samples);
        if (!samples) abort();
    }
    samples[sample_count++] = time;
}

static void judge(struct lane *lane, const unsigned char *answer) {
    if (number_of(answer, 0, 99) != 1 || number_of(answer, 3, 4) > 3) {
        errors++;
        return;
    }
    int is_permit = number_of(answer, 2, 9) == 0;
    permits += (size_t)is_permit;
    if (number_of(answer, 5, 0) < lane->version) stale++;
    unsigned long long before = lane->before, after = atomic_load(&witnesses[lane->witness]);
    if (before != after || before & 12) return; /* it changed meanwhile: both answers are right */
    if (is_permit != ((before & 3) == 3)) stale++;
}

static double percentile(double share) {
    qsort(samples, sample_count, sizeof *samples, compare_u64);
    return sample_count ? (double)samples[(size_t)((double)(sample_count - 1) * share)] / 1e3 : 0;
}

/* Asks until the time is over, or, without one, the writers have ended. */
static void ask_on(double rate, double seconds) {
    sample_count = 0;
    uint64_t start = now_ns(), step = (uint64_t)(1e9 / rate), sent = 0;
    for (;;) {
        uint64_t now = now_ns(), due = start + sent * step;
        int is_over = seconds > 0 ? now > start + (uint64_t)(seconds * 1e9) : atomic_load(&writers) == 0;
        size_t waiting = 0;
        for (size_t index = 0; index < WITNESSES; index++) waiting += (size_t)lanes[index].is_waiting;
        if (is_over && waiting == 0) return;
        /* A question whose connection is busy is asked late and charged for it. */
        struct lane *next = &lanes[sent % WITNESSES];
        if (!is_over && now >= due && !next->is_waiting) {
            next->witness = (unsigned)(sent % WITNESSES);
            next->version = atomic_load(&acknowledged_version);
            next->before = atomic_load(&witnesses[next->witness]);
            next->due = due;
            next->is_waiting = 1;
            if (!send_frame(next->stream.descriptor, frame_at(&frames, 1 + next->witness))) die("a connection was closed");
            sent++;
            continue;
        }
        struct pollfd ready[WITNESSES];
        for (size_t index = 0; index < WITNESSES; index++)
            ready[index] = (struct pollfd){.fd = lanes[index].is_waiting ? lanes[index].stream.descriptor : -1, .events = POLLIN};
        int64_t rest = is_over ? 5000000000 : now < due ? (int64_t)(due - now) : 5000000000;
        struct timespec time = {.tv_sec = rest / 1000000000, .tv_nsec = rest % 1000000000};
        int count = ppoll(ready, WITNESSES, &time, NULL);
        if (count == 0 && rest == 5000000000 && waiting > 0) die("no answer for five seconds");
        now = now_ns();
        for (size_t index = 0; index < WITNESSES && count > 0; index++) {
            if (!ready[index].revents) continue;
            if (fill(&lanes[index].stream, MSG_DONTWAIT) == 0) die("a connection was closed");
            for (unsigned char *answer; (answer = next_frame(&lanes[index].stream));) {
                note(now - lanes[index].due);
                judge(&lanes[index], answer);
                lanes[index].is_waiting = 0;
            }
        }
    }
}

int main(int count, char **arguments) {
    if (count != 13) return 64;
    socket_path = arguments[1], tool = arguments[2], store = arguments[3], tenant = arguments[4];
    frames = read_frames(arguments[5]);
    activations = atol(arguments[6]), signals = atol(arguments[7]), updates = atol(arguments[8]);
    double rate = atof(arguments[9]), quiet = atof(arguments[10]), limit = atof(arguments[11]);
    folder = arguments[12];
    if (frames.count != WITNESSES + 1 || rate < 1) return 65;
    for (size_t index = 0; index < WITNESSES; index++) {
        atomic_store(&witnesses[index], 3);
        lanes[index].stream.descriptor = join(socket_path);
        if (!send_frame(lanes[index].stream.descriptor, frame_at(&frames, 0)) || !await_frame(&lanes[index].stream)) return 1;
    }
    atomic_store(&acknowledged_version, 1);
    pthread_t threads[3];
    pthread_barrier_init(&start_line, NULL, 4);
    if (pthread_create(&threads[0], NULL, activate, NULL) || pthread_create(&threads[1], NULL, signal_on, NULL)
        || pthread_create(&threads[2], NULL, update, NULL))
        die("a thread");
    /* The writers are as any program; this thread is more urgent, because it is not what is measured. */
    struct sched_param urgent = {.sched_priority = 10};
    int is_urgent = pthread_setschedparam(pthread_self(), SCHED_FIFO, &urgent) == 0;
    ask_on(rate, 0.5);
    ask_on(rate, quiet);
    if (permits == 0) die("nothing is permitted in quiet");
    double quiet_median = percentile(0.5), quiet_tail = percentile(0.999), quiet_worst = percentile(1);
    size_t quiet_count = sample_count;
    atomic_store(&writers, 3);
    uint64_t begin = now_ns();
    permits = 0;
    await_start();
    ask_on(rate, 0);
    double took = (double)(now_ns() - begin) / 1e9;
    for (int index = 0; index < 3; index++) pthread_join(threads[index], NULL);
    if (permits == 0 || permits == sample_count) die("the changes changed nothing");
    double median = percentile(0.5), tail = percentile(0.999), worst = percentile(1);
    printf(
        "{\"activations\":%ld,\"signals\":%ld,\"updates\":%ld,\"seconds\":%.1f,\"questions\":%zu,\"errors\":%zu,\"stale\":%zu,"
        "\"rate\":%.0f,\"quiet_questions\":%zu,\"quiet_median_us\":%.1f,\"median_us\":%.1f,\"quiet_p999_us\":%.1f,"
        "\"p999_us\":%.1f,\"p999_ratio\":%.2f,\"quiet_worst_us\":%.1f,\"worst_us\":%.1f,\"urgent_client\":%s}\n",
        atomic_load(&done_activations), atomic_load(&done_signals), atomic_load(&done_updates), took, sample_count, errors,
        stale, rate, quiet_count, quiet_median, median, quiet_tail, tail, tail / quiet_tail, quiet_worst, worst,
        is_urgent ? "true" : "false");
    return errors == 0 && stale == 0 && (limit == 0 || tail <= limit * quiet_tail) ? 0 : 1;
}
