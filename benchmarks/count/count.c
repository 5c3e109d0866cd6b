// Stands before the C library in a program (LD_PRELOAD) and counts, for each thread, what a hot path must not do: take
// memory, give it back, lock. The counts lie in the file that STILE_COUNTS names, one `struct slot` a thread, so that
// another process can read them while the program runs.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 64

struct slot {
    uint64_t thread;
    uint64_t allocations;
    uint64_t releases;
    uint64_t locks;
};

static struct slot *slots;
// What is counted before the file is there, and by threads beyond the last slot.
static struct slot nowhere;
static atomic_int used;
static __thread struct slot *mine;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("STILE_COUNTS");
    if (path == NULL) return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, SLOTS * sizeof *slots) != 0) return;
    void *place = mmap(NULL, SLOTS * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place != MAP_FAILED) slots = place;
}

static struct slot *counts(void) {
    if (mine != NULL) return mine;
    if (slots == NULL) return &nowhere;
    int place = atomic_fetch_add(&used, 1);
    mine = place < SLOTS ? &slots[place] : &nowhere;
    mine->thread = (uint64_t)gettid();
    return mine;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t number, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

void *malloc(size_t size) {
    counts()->allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    counts()->allocations++;
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
    counts()->allocations++;
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    counts()->allocations++;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    counts()->allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    counts()->allocations++;
    void *found = __libc_memalign(alignment, size);
    if (found == NULL) return ENOMEM;
    *memory = found;
    return 0;
}

void free(void *memory) {
    if (memory != NULL) counts()->releases++;
    __libc_free(memory);
}

int pthread_mutex_lock(pthread_mutex_t *mutex) {
    static int (*next)(pthread_mutex_t *);
    if (next == NULL) next = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
    counts()->locks++;
    return next(mutex);
}
