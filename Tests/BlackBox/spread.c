/*
 * Whether connections are spread over a daemon's reactors: at accept, and when the busy ones happen to be with one.
 *
 *   spread SOCKET FRAMES PID CONNECTIONS REACTORS SECONDS [CHANGE]
 *
 * FRAMES: a hello, then questions whose ids count from 1. Opens the connections and finds out by the processor time of
 * the daemon's threads which reactor each is with. Then those of one reactor ask, 16 questions on the way each, until
 * they are with all reactors in equal parts, give or take one, for at most so many seconds of the reactors' processor time:
 * on a machine that has other things to do it may take longer by the clock, six times at most. No answer may be lost, out
 * of order or an error meanwhile. Each of them holds a question open from before; the shell command CHANGE changes its
 * answer, and each must be told, once moved.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <poll.h>

#include "frames.h"

enum { MOST = 256, DEPTH = 16, MOST_REACTORS = 16 };

static struct lane {
    struct stream stream;
    int reactor, is_busy, is_told;
    uint64_t asked, answered;
} lanes[MOST];
static struct frames frames;
static size_t lane_count, question_count;
static int reactors;

/* Nanoseconds of processor time of a reactor's thread. */
static uint64_t time_of(const char *process, int reactor) {
    static char paths[MOST_REACTORS][512];
    char text[64];
    if (!paths[reactor][0]) {
        snprintf(text, sizeof text, "/proc/%s/task", process);
        DIR *folder = opendir(text);
        if (!folder) perror(text), exit(1);
        for (struct dirent *entry; (entry = readdir(folder));) {
            char path[400], name[32] = "", wanted[32];
            snprintf(path, sizeof path, "/proc/%s/task/%s/comm", process, entry->d_name);
            FILE *file = fopen(path, "r");
            if (!file) continue;
            if (!fgets(name, sizeof name, file)) name[0] = 0;
            fclose(file);
            snprintf(wanted, sizeof wanted, "reactor %d\n", reactor);
            if (!strcmp(name, wanted))
                snprintf(paths[reactor], sizeof paths[reactor], "/proc/%s/task/%s/schedstat", process, entry->d_name);
        }
        closedir(folder);
        if (!paths[reactor][0]) fprintf(stderr, "no thread reactor %d\n", reactor), exit(1);
    }
    FILE *file = fopen(paths[reactor], "r");
    unsigned long long time = 0;
    if (!file || fscanf(file, "%llu", &time) != 1) fprintf(stderr, "no times of threads\n"), exit(1);
    fclose(file);
    return time;
}

static void take(struct lane *lane, const unsigned char *frame) {
    uint64_t kind = number_of(frame, 0, 99);
    if (kind == 6) {
        lane->is_told = 1;
        return;
    }
    uint64_t expected = 1 + lane->answered % question_count;
    if (kind != 1 || number_of(frame, 1, 0) != expected || number_of(frame, 3, 9) > 3) {
        fprintf(stderr, "a frame of kind %llu for question %llu, where %llu was next\n", (unsigned long long)kind,
                (unsigned long long)number_of(frame, 1, 0), (unsigned long long)expected);
        exit(1);
    }
    lane->answered++;
}

static void ask(struct lane *lane) {
    if (!send_frame(lane->stream.descriptor, frame_at(&frames, 1 + lane->asked++ % question_count))) exit(1);
}

static void wait_for_all(struct lane *lane) {
    while (lane->answered < lane->asked) {
        unsigned char *frame = await_frame(&lane->stream);
        if (!frame) fprintf(stderr, "a connection was closed\n"), exit(1);
        take(lane, frame);
    }
}

/* Finds out who is where, with nobody else asking. */
static void locate(const char *process, struct lane *lane) {
    uint64_t before[MOST_REACTORS], most = 0;
    for (int index = 0; index < reactors; index++) before[index] = time_of(process, index);
    for (int round = 0; round < 40; round++) {
        for (int count = 0; count < DEPTH; count++) ask(lane);
        wait_for_all(lane);
    }
    for (int index = 0; index < reactors; index++) {
        uint64_t used = time_of(process, index) - before[index];
        if (used >= most) most = used, lane->reactor = index;
    }
}

static void census(const char *title, int (*is_meant)(const struct lane *), size_t counts[]) {
    memset(counts, 0, MOST_REACTORS * sizeof *counts);
    for (size_t index = 0; index < lane_count; index++)
        if (is_meant(&lanes[index])) counts[lanes[index].reactor]++;
    printf("%s:", title);
    for (int index = 0; index < reactors; index++) printf(" %zu", counts[index]);
    printf("\n");
}

static int any(const struct lane *lane) { return lane != NULL; }
static int busy(const struct lane *lane) { return lane->is_busy; }

static int is_even(const size_t counts[], size_t total) {
    for (int index = 0; index < reactors; index++) {
        size_t fair = total / (size_t)reactors;
        if (counts[index] + 1 < fair || counts[index] > fair + 1) return 0;
    }
    return 1;
}

/* Busy connections ask for a while. */
static void ask_for(double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        struct pollfd ready[MOST];
        for (size_t index = 0; index < lane_count; index++) {
            struct lane *lane = &lanes[index];
            while (lane->is_busy && lane->asked - lane->answered < DEPTH) ask(lane);
            ready[index] = (struct pollfd){.fd = lane->is_busy ? lane->stream.descriptor : -1, .events = POLLIN};
        }
        if (poll(ready, lane_count, 20000) == 0) fprintf(stderr, "no answer for 20 seconds\n"), exit(1);
        for (size_t index = 0; index < lane_count; index++) {
            if (!ready[index].revents) continue;
            if (fill(&lanes[index].stream, MSG_DONTWAIT) == 0) fprintf(stderr, "a connection was closed\n"), exit(1);
            for (unsigned char *frame; (frame = next_frame(&lanes[index].stream));) take(&lanes[index], frame);
        }
    }
    for (size_t index = 0; index < lane_count; index++) wait_for_all(&lanes[index]);
}

/* Opens all connections, each when the one before is welcome. */
static void open_all(const char *path) {
    for (size_t index = 0; index < lane_count; index++) {
        free(lanes[index].stream.bytes);
        lanes[index] = (struct lane){.stream = {.descriptor = join(path)}};
        if (!send_frame(lanes[index].stream.descriptor, frame_at(&frames, 0)) || !await_frame(&lanes[index].stream)) exit(1);
    }
}

/* What all reactors have used. */
static uint64_t time_of_all(const char *process) {
    uint64_t sum = 0;
    for (int index = 0; index < reactors; index++) sum += time_of(process, index);
    return sum;
}

/* Holds the last question open on a connection. */
static void hold_open(struct lane *lane) {
    const unsigned char *question = frame_at(&frames, question_count + 1);
    unsigned char frame[8192];
    memcpy(frame, question, 4 + length_of(question));
    frame[6] = 4; /* the kind: subscribe */
    if (!send_frame(lane->stream.descriptor, frame)) exit(1);
    unsigned char *answer = await_frame(&lane->stream);
    if (!answer || number_of(answer, 0, 99) != 4) fprintf(stderr, "a question is not held open\n"), exit(1);
}

int main(int count, char **arguments) {
    if (count != 7 && count != 8) return 64;
    frames = read_frames(arguments[2]);
    lane_count = strtoul(arguments[4], NULL, 10);
    reactors = atoi(arguments[5]);
    double patience = atof(arguments[6]);
    if (frames.count < 3 || lane_count < 2 || lane_count > MOST || reactors < 2 || reactors > MOST_REACTORS) return 65;
    question_count = frames.count - 2;
    /* New connections go where there is least to do: the first ones, which open the tenant, and other programs can make one
       reactor busy for a moment. So a few trials, each after a rest longer than reactors remember. */
    size_t counts[MOST_REACTORS];
    int is_even_at_accept = 0;
    for (int trial = 0; trial < 5 && !is_even_at_accept; trial++) {
        for (size_t index = 0; trial > 0 && index < lane_count; index++) close(lanes[index].stream.descriptor);
        usleep(300000);
        open_all(arguments[1]);
        for (size_t index = 0; index < lane_count; index++) locate(arguments[3], &lanes[index]);
        census("connections of each reactor after they were accepted", any, counts);
        is_even_at_accept = is_even(counts, lane_count);
    }
    if (!is_even_at_accept) fprintf(stderr, "not spread at accept\n"), exit(1);

    size_t busy_count = 0;
    for (size_t index = 0; index < lane_count; index++)
        if (lanes[index].reactor == lanes[0].reactor) lanes[index].is_busy = 1, busy_count++, hold_open(&lanes[index]);
    census("busy ones before", busy, counts);
    uint64_t begin = now_ns(), used = time_of_all(arguments[3]), most = (uint64_t)(patience * 1e9);
    int is_spread = 0;
    while (!is_spread && time_of_all(arguments[3]) - used < most && now_ns() - begin < 6 * most) {
        ask_for(0.5);
        for (size_t index = 0; index < lane_count; index++)
            if (lanes[index].is_busy) locate(arguments[3], &lanes[index]);
        census("busy ones now", busy, counts);
        is_spread = is_even(counts, busy_count);
    }
    if (!is_spread) fprintf(stderr, "the busy connections stay together\n"), exit(1);
    if (count == 8) {
        if (system(arguments[7]) != 0) fprintf(stderr, "the change\n"), exit(1);
        uint64_t deadline = now_ns() + 20000000000u;
        for (size_t index = 0; index < lane_count; index++)
            while (lanes[index].is_busy && !lanes[index].is_told) {
                struct pollfd ready = {.fd = lanes[index].stream.descriptor, .events = POLLIN};
                if (now_ns() > deadline || poll(&ready, 1, 20000) == 0) fprintf(stderr, "an open question is lost\n"), exit(1);
                if (fill(&lanes[index].stream, MSG_DONTWAIT) == 0) exit(1);
                for (unsigned char *frame; (frame = next_frame(&lanes[index].stream));) take(&lanes[index], frame);
            }
    }
    uint64_t asked = 0;
    for (size_t index = 0; index < lane_count; index++) asked += lanes[index].asked;
    printf("%llu questions, all answered in their order\n", (unsigned long long)asked);
    return 0;
}
