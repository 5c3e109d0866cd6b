/*
 * Whether one client can hold up others: many connections ask one question after the other, in rounds without and with
 * a hostile process beside them, and the times of their answers are compared.
 *
 *   fair SOCKET FRAMES HOSTILE HOSTILE_FRAMES CONNECTIONS ROUNDS SECONDS LIMIT
 *
 * HOSTILE: `silent` writes questions for ever and never reads; `slow` reads a little of what it is answered, so that
 *          something is always left; `flood` keeps 256 questions on the way; `batch` one batch of 1,000 after the other.
 * FRAMES, HOSTILE_FRAMES: a hello, then frames that are asked, in turn.
 * LIMIT: the most that the 99th percentile may be with the hostile one, as a multiple of that without; 0 only tells.
 * Every connection must get answers in each round, one as often as another, and none may be an error.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "frames.h"

enum { MOST = 1024, FLOOD = 256 };

static struct lane {
    struct stream stream;
    uint64_t asked_at, answers;
    size_t next;
} lanes[MOST];
static size_t lane_count;
static struct frames frames;
static uint64_t *samples, sample_count, sample_room, errors;

static void ask(struct lane *lane) {
    const unsigned char *frame = frame_at(&frames, 1 + lane->next++ % (frames.count - 1));
    lane->asked_at = now_ns();
    if (!send_frame(lane->stream.descriptor, frame)) exit(1);
}

static void note(uint64_t time) {
    if (sample_count == sample_room) {
        sample_room = sample_room ? sample_room * 2 : 1 << 16;
        samples = realloc(samples, sample_room * sizeof *samples);
        if (!samples) abort();
    }
    samples[sample_count++] = time;
}

/* Asks on all connections for a while; the 99th percentile in microseconds. */
static double round_of(int epoll, double seconds, double *median, double *worst) {
    sample_count = 0;
    for (size_t index = 0; index < lane_count; index++) lanes[index].answers = 0;
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    size_t waiting = lane_count;
    for (size_t index = 0; index < lane_count; index++) ask(&lanes[index]);
    while (waiting > 0) {
        struct epoll_event ready[256];
        int count = epoll_wait(epoll, ready, 256, 10000);
        if (count == 0) fprintf(stderr, "no answer for ten seconds\n"), exit(1);
        uint64_t now = now_ns();
        for (int index = 0; index < count; index++) {
            struct lane *lane = ready[index].data.ptr;
            if (fill(&lane->stream, MSG_DONTWAIT) == 0) fprintf(stderr, "an honest connection was closed\n"), exit(1);
            unsigned char *answer = next_frame(&lane->stream);
            if (!answer) continue;
            note(now - lane->asked_at);
            lane->answers++;
            /* Kind 4 is an error of the question. */
            if (number_of(answer, 0, 99) != 1 || number_of(answer, 3, 99) > 3) errors++;
            if (now < end) ask(lane);
            else waiting--;
        }
    }
    qsort(samples, sample_count, sizeof *samples, compare_u64);
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t index = 0; index < lane_count; index++) {
        if (lanes[index].answers < least) least = lanes[index].answers;
        if (lanes[index].answers > most) most = lanes[index].answers;
    }
    if (least < 2 || least < most / 4) {
        fprintf(stderr, "one connection got %llu answers, another %llu\n", (unsigned long long)least, (unsigned long long)most);
        exit(1);
    }
    *median = (double)samples[sample_count / 2] / 1e3;
    *worst = (double)samples[sample_count - 1] / 1e3;
    return (double)samples[sample_count * 99 / 100] / 1e3;
}

/* The hostile process; it never returns. */
static void hostile(const char *path, const char *name, const struct frames *own, int told) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct stream stream = {.descriptor = join(path)};
    if (!send_frame(stream.descriptor, frame_at(own, 0)) || !await_frame(&stream)) _exit(1);
    unsigned char *burst = malloc(FLOOD * 4096);
    size_t used = 0, in_burst = 0;
    int is_batch = !strcmp(name, "batch"), is_flood = !strcmp(name, "flood") || is_batch;
    if (is_batch) {
        /* The question as a batch's defaults, and a thousand items that change nothing. */
        const unsigned char *frame = frame_at(own, 1);
        used = 4 + length_of(frame);
        memcpy(burst, frame, used);
        burst[4]++, burst[6] = 2;
        memcpy(burst + used, "\x09\x99\x03\xe8", 4);
        memset(burst + used + 4, 0xa0, 1000);
        used += 1004, in_burst = 1;
        burst[2] = (unsigned char)((used - 4) >> 8), burst[3] = (unsigned char)(used - 4);
    }
    for (size_t number = 0; !is_batch && in_burst < FLOOD; number++) {
        const unsigned char *frame = frame_at(own, 1 + number % (own->count - 1));
        if (used + 4 + length_of(frame) > FLOOD * 4096) break;
        memcpy(burst + used, frame, 4 + length_of(frame));
        used += 4 + length_of(frame);
        in_burst++;
    }
    if (write(told, "!", 1) != 1) _exit(1);
    uint64_t written = 0, answered = 0;
    size_t at = 0;
    for (;;) {
        int may_write = !is_flood || written / used * in_burst <= answered;
        struct pollfd ready = {
            .fd = stream.descriptor,
            .events = (short)((may_write ? POLLOUT : 0) | (strcmp(name, "silent") ? POLLIN : 0))};
        if (poll(&ready, 1, 1000) < 0) continue;
        if (ready.revents & POLLIN) {
            if (is_flood) {
                if (fill(&stream, MSG_DONTWAIT) == 0) _exit(1);
                while (next_frame(&stream)) answered++;
            } else {
                /* The slow one takes as much as keeps the server busy and never all. */
                char some[8192];
                if (recv(stream.descriptor, some, sizeof some, MSG_DONTWAIT) == 0) _exit(1);
                usleep(100);
            }
        }
        if (ready.revents & POLLOUT && may_write) {
            ssize_t put = send(stream.descriptor, burst + at, used - at, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (put < 0 && errno != EAGAIN) _exit(1);
            if (put > 0) at = (at + (size_t)put) % used, written += (uint64_t)put;
        }
        if (ready.revents & (POLLHUP | POLLERR)) _exit(1);
    }
}

static int compare_doubles(const void *left, const void *right) {
    double one = *(const double *)left, two = *(const double *)right;
    return one < two ? -1 : one > two;
}

int main(int count, char **arguments) {
    if (count != 9) return 64;
    frames = read_frames(arguments[2]);
    struct frames other = read_frames(arguments[4]);
    lane_count = strtoul(arguments[5], NULL, 10);
    int rounds = atoi(arguments[6]);
    double seconds = atof(arguments[7]), limit = atof(arguments[8]);
    if (frames.count < 2 || other.count < 2 || lane_count < 1 || lane_count > MOST || rounds < 1 || rounds > 64) return 65;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t index = 0; index < lane_count; index++) {
        lanes[index].stream.descriptor = join(arguments[1]);
        lanes[index].next = index;
        if (!send_frame(lanes[index].stream.descriptor, frame_at(&frames, 0)) || !await_frame(&lanes[index].stream)) return 1;
        struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = &lanes[index]}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, lanes[index].stream.descriptor, &event);
    }
    double quiet[64], loud[64], median, worst, quiet_median[64], loud_median[64], quiet_worst = 0, loud_worst = 0;
    round_of(epoll, seconds / 2, &median, &worst);
    for (int round = 0; round < rounds; round++) {
        quiet[round] = round_of(epoll, seconds, &quiet_median[round], &worst);
        if (worst > quiet_worst) quiet_worst = worst;
        int told[2];
        if (pipe2(told, O_CLOEXEC)) return 1;
        pid_t child = fork();
        if (child == 0) hostile(arguments[1], arguments[3], &other, told[1]);
        char mark;
        close(told[1]);
        if (read(told[0], &mark, 1) != 1) fprintf(stderr, "the hostile one was not let in\n"), exit(1);
        close(told[0]);
        loud[round] = round_of(epoll, seconds, &loud_median[round], &worst);
        if (worst > loud_worst) loud_worst = worst;
        int status;
        if (waitpid(child, &status, WNOHANG) != 0) fprintf(stderr, "the hostile one was closed out\n"), exit(1);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    /* Each round with the one before it: what else the machine does changes meanwhile. */
    double ratios[64];
    for (int round = 0; round < rounds; round++) ratios[round] = loud[round] / quiet[round];
    qsort(ratios, (size_t)rounds, sizeof *ratios, compare_doubles);
    qsort(quiet, (size_t)rounds, sizeof *quiet, compare_doubles);
    qsort(loud, (size_t)rounds, sizeof *loud, compare_doubles);
    qsort(quiet_median, (size_t)rounds, sizeof *quiet, compare_doubles);
    qsort(loud_median, (size_t)rounds, sizeof *loud, compare_doubles);
    double ratio = ratios[rounds / 2];
    printf(
        "{\"hostile\":\"%s\",\"connections\":%zu,\"rounds\":%d,\"quiet_median_us\":%.1f,\"median_us\":%.1f,"
        "\"quiet_p99_us\":%.1f,\"p99_us\":%.1f,\"p99_ratio\":%.3f,\"quiet_worst_us\":%.1f,\"worst_us\":%.1f,\"errors\":%llu}\n",
        arguments[3], lane_count, rounds, quiet_median[rounds / 2], loud_median[rounds / 2], quiet[rounds / 2],
        loud[rounds / 2], ratio, quiet_worst, loud_worst, (unsigned long long)errors);
    return errors == 0 && (limit == 0 || ratio <= limit) ? 0 : 1;
}
