/*
 * The load: sends prepared frames and times the answers. The same program measures the floor and Stile, so that what
 * differs is the server.
 *
 *   load --socket PATH --frames FILE [--depth D] [--count N] [--warmup N] [--processor P] [--seed S]
 *        [--samples FILE] [--histogram] [--name TEXT]
 *
 * FILE holds length-prefixed frames (u32, big-endian). With --hello the first is sent alone and its answer awaited.
 * Questions are drawn from the rest at random. With depth D, D frames go out in one write and the round ends when D
 * answers have come; a round's time counts once for each of its frames when it is divided by D.
 * --samples writes each round's nanoseconds as a u32, little-endian.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static unsigned char *frames;
static size_t frames_size, *offsets, frame_count;
static unsigned char input[8 << 20];
static size_t have;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void read_frames(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    fseek(file, 0, SEEK_END);
    frames_size = (size_t)ftell(file);
    rewind(file);
    frames = malloc(frames_size + 1);
    offsets = malloc((frames_size / 4 + 2) * sizeof *offsets);
    if (!frames || !offsets || fread(frames, 1, frames_size, file) != frames_size) die(path);
    fclose(file);
    for (size_t at = 0; at + 4 <= frames_size;) {
        uint32_t length = (uint32_t)frames[at] << 24 | frames[at + 1] << 16 | frames[at + 2] << 8 | frames[at + 3];
        if (at + 4 + length > frames_size) break;
        offsets[frame_count++] = at;
        at += 4 + length;
    }
    offsets[frame_count] = frames_size;
    if (frame_count < 2) {
        fprintf(stderr, "%s holds %zu frames; two are needed\n", path, frame_count);
        exit(65);
    }
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t state;
static uint64_t draw(void) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t value = state;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static void send_all(int socket, const unsigned char *bytes, size_t count) {
    while (count > 0) {
        ssize_t put = write(socket, bytes, count);
        if (put <= 0) die("write");
        bytes += put;
        count -= (size_t)put;
    }
}

static uint64_t answer_bytes, answers;

/* Reads until this many answers have come. */
static void take(int socket, unsigned wanted) {
    while (wanted > 0) {
        size_t at = 0;
        while (wanted > 0 && have - at >= 4) {
            uint32_t length = (uint32_t)input[at] << 24 | input[at + 1] << 16 | input[at + 2] << 8 | input[at + 3];
            if (have - at - 4 < length) break;
            at += 4 + length;
            answer_bytes += length;
            answers++;
            wanted--;
        }
        if (at > 0) {
            memmove(input, input + at, have - at);
            have -= at;
        }
        if (wanted == 0) return;
        ssize_t got = read(socket, input + have, sizeof input - have);
        if (got <= 0) {
            fprintf(stderr, "the server closed the connection\n");
            exit(69);
        }
        have += (size_t)got;
    }
}

static int compare(const void *left, const void *right) {
    uint32_t one = *(const uint32_t *)left, two = *(const uint32_t *)right;
    return one < two ? -1 : one > two;
}

static void draw_histogram(const uint32_t *sorted, size_t count) {
    /* Bars between powers of the fourth root of two, from the least to the 99.9th percentile. */
    double edge = sorted[0] > 0 ? sorted[0] : 1;
    size_t at = 0, last = count - count / 1000 - 1;
    size_t peak = 0;
    for (int pass = 0; pass < 2; pass++) {
        double low = edge;
        at = 0;
        while (at <= last) {
            double high = low * 1.1892;
            size_t start = at;
            while (at < count && sorted[at] < high) at++;
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
    printf("  beyond: %zu, slowest %.1f us\n", count - at, sorted[count - 1] / 1000.0);
}

int main(int count, char **arguments) {
    const char *path = NULL, *file = NULL, *samples_path = NULL, *name = "load";
    unsigned depth = 1;
    size_t rounds = 100000, warmup = 5000;
    int processor = -1, hello = 0, histogram = 0;
    static struct option options[] = {
        {"socket", 1, 0, 's'}, {"frames", 1, 0, 'f'}, {"depth", 1, 0, 'd'},   {"count", 1, 0, 'n'},
        {"warmup", 1, 0, 'w'}, {"processor", 1, 0, 'p'}, {"seed", 1, 0, 'r'}, {"samples", 1, 0, 'o'},
        {"hello", 0, 0, 'h'},  {"histogram", 0, 0, 'g'}, {"name", 1, 0, 'm'}, {0, 0, 0, 0}};
    state = 1;
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) switch (option) {
            case 's': path = optarg; break;
            case 'f': file = optarg; break;
            case 'd': depth = (unsigned)atoi(optarg); break;
            case 'n': rounds = (size_t)atoll(optarg); break;
            case 'w': warmup = (size_t)atoll(optarg); break;
            case 'p': processor = atoi(optarg); break;
            case 'r': state = (uint64_t)atoll(optarg); break;
            case 'o': samples_path = optarg; break;
            case 'h': hello = 1; break;
            case 'g': histogram = 1; break;
            case 'm': name = optarg; break;
            default: return 64;
        }
    if (!path || !file || depth == 0 || depth > 4096 || rounds == 0) {
        fprintf(stderr, "usage: load --socket PATH --frames FILE [--hello] [--depth D] [--count ROUNDS] …\n");
        return 64;
    }
    if (processor >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(processor, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
    }
    read_frames(file);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return 64;
    strcpy(address.sun_path, path);
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof address) < 0) die(path);
    size_t first = hello ? 1 : 0;
    if (hello) {
        send_all(server, frames, offsets[1]);
        take(server, 1);
    }
    answers = answer_bytes = 0;
    uint32_t *samples = malloc(rounds * sizeof *samples);
    unsigned char *batch = malloc((size_t)depth * (1 << 16));
    if (!samples || !batch) die("malloc");
    uint64_t question_bytes = 0, begun = 0;
    for (size_t round = 0; round < warmup + rounds; round++) {
        size_t bytes = 0;
        for (unsigned item = 0; item < depth; item++) {
            size_t frame = first + draw() % (frame_count - first);
            size_t length = offsets[frame + 1] - offsets[frame];
            if (length > 1 << 16) return 65;
            memcpy(batch + bytes, frames + offsets[frame], length);
            bytes += length;
        }
        if (round == warmup) begun = now();
        uint64_t start = now();
        send_all(server, batch, bytes);
        take(server, depth);
        uint64_t time = now() - start;
        if (round >= warmup) {
            samples[round - warmup] = time > UINT32_MAX ? UINT32_MAX : (uint32_t)time;
            question_bytes += bytes;
        }
    }
    double seconds = (double)(now() - begun) / 1e9;
    if (samples_path) {
        FILE *out = fopen(samples_path, "wb");
        if (!out || fwrite(samples, sizeof *samples, rounds, out) != rounds) die(samples_path);
        fclose(out);
    }
    qsort(samples, rounds, sizeof *samples, compare);
    printf("{\"name\":\"%s\",\"depth\":%u,\"rounds\":%zu,\"question_bytes\":%.0f,\"answer_bytes\":%.0f,", name, depth, rounds,
           (double)question_bytes / (double)rounds / depth, (double)answer_bytes / (double)answers);
    printf("\"median_ns\":%u,\"p90_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,\"max_ns\":%u,\"per_second\":%.0f}\n",
           samples[rounds / 2], samples[rounds * 9 / 10], samples[rounds * 99 / 100], samples[rounds * 999 / 1000],
           samples[rounds - 1], (double)rounds * depth / seconds);
    if (histogram) draw_histogram(samples, rounds);
    return 0;
}
