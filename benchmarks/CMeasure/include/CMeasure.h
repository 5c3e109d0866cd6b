// What a measurement of nanoseconds needs from the machine: its clock, and a count of allocations.
#ifndef CMEASURE_H
#define CMEASURE_H

#include <stdint.h>
#include <time.h>

// Nanoseconds of the monotonic clock.
static inline uint64_t measure_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Ticks of the processor's clock, read when all work before it is done and before any work behind it starts.
static inline uint64_t measure_ticks(void) {
#if defined(__x86_64__)
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
    return ticks;
#else
    return measure_nanoseconds();
#endif
}

// Allocations of this process so far: every call of malloc, calloc, realloc and their aligned kin.
uint64_t measure_allocations(void);

#endif
