/*
 * Kept decisions: which questions are worth holding open, found by their bytes. A question asked once is remembered; the
 * second asking begins a watch; the one that was not asked for longest makes room.
 *
 * INVARIANT. A watch that was found under the lock may be ended by another thread once the lock is let go; therefore it is
 * read under the lock.
 */
#include <pthread.h>
#include <stdlib.h>

#include "internal.h"

struct entry {
    struct entry *chain;
    struct entry *newer, *older; /* by last use */
    stile_watch *watch;          /* NULL: asked once */
    uint64_t hash;
    size_t size;
    uint8_t bytes[];
};

struct sti_kept {
    pthread_mutex_t lock;
    struct sti_watches *watches;
    size_t capacity;
    /* entries with a watch, and without; each list by last use, at most `capacity` and twice as many */
    struct list {
        struct entry *newest, *oldest;
        size_t count;
    } watched, seen;
    struct entry **table;
    size_t table_size;
};

struct sti_kept *sti_kept_open(struct sti_watches *watches, unsigned capacity) {
    struct sti_kept *kept = calloc(1, sizeof *kept);
    if (!kept) return NULL;
    kept->watches = watches;
    kept->capacity = capacity;
    kept->table_size = 64;
    while (kept->table_size < (size_t)capacity * 3) kept->table_size *= 2;
    kept->table = calloc(kept->table_size, sizeof *kept->table);
    pthread_mutex_init(&kept->lock, NULL);
    if (kept->table) return kept;
    free(kept);
    return NULL;
}

static void take_out(struct list *list, struct entry *entry) {
    if (entry->newer) entry->newer->older = entry->older;
    else list->newest = entry->older;
    if (entry->older) entry->older->newer = entry->newer;
    else list->oldest = entry->newer;
    list->count--;
}

static void put_in(struct list *list, struct entry *entry) {
    entry->newer = NULL;
    entry->older = list->newest;
    if (list->newest) list->newest->newer = entry;
    else list->oldest = entry;
    list->newest = entry;
    list->count++;
}

static struct entry **slot_of(struct sti_kept *kept, uint64_t hash) {
    return &kept->table[hash & (kept->table_size - 1)];
}

static void forget(struct sti_kept *kept, struct list *list, struct entry *entry) {
    take_out(list, entry);
    struct entry **link = slot_of(kept, entry->hash);
    while (*link != entry) link = &(*link)->chain;
    *link = entry->chain;
    stile_watch_end(entry->watch);
    free(entry);
}

void sti_kept_close(struct sti_kept *kept) {
    while (kept->watched.oldest) forget(kept, &kept->watched, kept->watched.oldest);
    while (kept->seen.oldest) forget(kept, &kept->seen, kept->seen.oldest);
    pthread_mutex_destroy(&kept->lock);
    free(kept->table);
    free(kept);
}

/* FNV-1a, eight bytes at a time: the questions are the program's own, not an attacker's choice of collisions alone. */
static uint64_t hash_of(const uint8_t *bytes, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u ^ size;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
        bytes += 8;
        size -= 8;
    }
    for (; size > 0; size--) hash = (hash ^ *bytes++) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static void remember(struct sti_kept *kept, uint64_t hash, const struct sti_bytes *bytes) {
    struct entry *entry = calloc(1, sizeof *entry + bytes->count);
    if (!entry) return;
    entry->hash = hash;
    entry->size = bytes->count;
    memcpy(entry->bytes, bytes->at, bytes->count);
    entry->chain = *slot_of(kept, hash);
    *slot_of(kept, hash) = entry;
    put_in(&kept->seen, entry);
    if (kept->seen.count > 2 * kept->capacity) forget(kept, &kept->seen, kept->seen.oldest);
}

static void hold_open(struct sti_kept *kept, struct entry *entry, stile_question *question) {
    entry->watch = sti_watch_begin(kept->watches, question, NULL, NULL);
    if (!entry->watch) return;
    take_out(&kept->seen, entry);
    put_in(&kept->watched, entry);
    if (kept->watched.count > kept->capacity) forget(kept, &kept->watched, kept->watched.oldest);
}

bool sti_kept_find(struct sti_kept *kept, stile_question *question, bool *permits, stile_answer **answer) {
    const struct sti_bytes *bytes = &question->encoded;
    uint64_t hash = hash_of(bytes->at, bytes->count);
    bool is_known = false;
    pthread_mutex_lock(&kept->lock);
    struct entry *entry = *slot_of(kept, hash);
    while (entry && (entry->hash != hash || entry->size != bytes->count || memcmp(entry->bytes, bytes->at, bytes->count)))
        entry = entry->chain;
    if (!entry) {
        remember(kept, hash, bytes);
    } else if (!entry->watch) {
        hold_open(kept, entry, question);
    } else {
        take_out(&kept->watched, entry);
        put_in(&kept->watched, entry);
        is_known = sti_watch_knows(entry->watch, answer != NULL, permits, answer);
    }
    pthread_mutex_unlock(&kept->lock);
    return is_known;
}
