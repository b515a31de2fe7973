/* Keep a pool of blocks of memory, aligned to 64 bytes, which are reused instead of returned to the system.
 *
 * malloc returns large blocks to the system when they are freed, and a new block has a page fault for every 4 KiB.
 * A training step asks for the same sizes each time, so keeping them makes every step after the second one free of
 * page faults. Sizes are rounded up to four classes per power of two (at most a quarter is wasted); each class has a
 * list of idle blocks. When the cap on idle blocks is reached, those of the class that was used longest ago are
 * returned to the system, so that the sizes of an old model make room for those of a new one.
 */
#define _DEFAULT_SOURCE /* posix_memalign, madvise */
#include "tinyllm.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ALIGNMENT 64
#define CLASSES 256

#if defined(__SANITIZE_ADDRESS__) /* report an access beyond the end of a block, or to an idle block */
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes) ((void)0)
#endif

struct block { /* lies in the 64 bytes before the memory handed out */
    struct block *next;
    size_t bytes;
    int class;
};

static struct block *idle[CLASSES];
static int64_t last_used[CLASSES], clock_ticks; /* when a block of the class was last taken or given back */
static struct pool_state state = {.capacity = (int64_t)1 << 30};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void pool_lock(void) { pthread_mutex_lock(&lock); }
void pool_unlock(void) { pthread_mutex_unlock(&lock); }

static void *from_system(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, ALIGNMENT, bytes)) return NULL;
#ifdef MADV_HUGEPAGE /* 2 MB pages, as in NumPy: passes over arrays larger than the cache get up to a quarter faster */
    uintptr_t page = ((uintptr_t)p + 4095) / 4096 * 4096;
    if (bytes >= (size_t)1 << 22) madvise((void *)page, (uintptr_t)p + bytes - page, MADV_HUGEPAGE);
#endif
    return p;
}

/* Return the smallest class that holds `bytes`: class 4 * e + q has (4 + q) * 2**e blocks of 64 bytes. */
static int class_of(size_t bytes, size_t *rounded) {
    size_t units = (bytes + ALIGNMENT - 1) / ALIGNMENT;
    int e = 0;
    while ((units + ((size_t)1 << e) - 1) >> e > 7) e++;
    size_t quarters = (units + ((size_t)1 << e) - 1) >> e;
    if (quarters < 4) quarters = 4; /* 256 bytes are the least */
    *rounded = (quarters << e) * ALIGNMENT;
    return 4 * e + (int)(quarters - 4);
}

/* Return the memory of a block. The caller may use its first `bytes` bytes; AddressSanitizer reports any other use. */
static void *memory_of(struct block *block, size_t bytes) {
    char *memory = (char *)block + ALIGNMENT;
    ASAN_POISON_MEMORY_REGION(memory, block->bytes);
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
    (void)bytes;
    return memory;
}

void *pool_take(size_t bytes) {
    if (bytes > (size_t)1 << 46) return NULL;
    size_t rounded;
    int class = class_of(bytes, &rounded);
    pool_lock();
    last_used[class] = ++clock_ticks;
    struct block *block = idle[class];
    if (block) {
        idle[class] = block->next;
        state.hits++;
        state.idle -= (int64_t)rounded;
        state.used += (int64_t)rounded;
        pool_unlock();
        return memory_of(block, bytes);
    }
    pool_unlock();
    block = from_system(rounded + ALIGNMENT);
    if (!block) { /* idle blocks of the pool may be all that is left of the memory: return them and try again */
        pool_empty();
        block = from_system(rounded + ALIGNMENT);
        if (!block) return NULL;
    }
    block->bytes = rounded;
    block->class = class;
    pool_lock();
    state.misses++;
    state.used += (int64_t)rounded;
    if (state.used + state.idle > state.peak) state.peak = state.used + state.idle;
    pool_unlock();
    return memory_of(block, bytes);
}

static void all_to_system(struct block *block) {
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

/* Take idle blocks out of the pool until `bytes` more fit under the cap, beginning with the class that was used longest
 * ago, and return them as a list. The caller holds the lock. */
static struct block *make_room(int64_t bytes) {
    struct block *out = NULL;
    while (state.idle > 0 && state.idle + bytes > state.capacity) {
        int stale = -1;
        for (int class = 0; class < CLASSES; class++)
            if (idle[class] && (stale < 0 || last_used[class] < last_used[stale])) stale = class;
        struct block *block = idle[stale];
        idle[stale] = block->next;
        state.idle -= (int64_t)block->bytes;
        block->next = out;
        out = block;
    }
    return out;
}

void pool_give(void *memory) {
    if (!memory) return;
    struct block *block = (struct block *)((char *)memory - ALIGNMENT), *out = block;
    int64_t bytes = (int64_t)block->bytes;
    ASAN_POISON_MEMORY_REGION(memory, block->bytes);
    block->next = NULL;
    pool_lock();
    state.used -= bytes;
    if (bytes <= state.capacity) { /* else the block itself does not fit, and is returned to the system */
        last_used[block->class] = ++clock_ticks;
        out = make_room(bytes);
        state.idle += bytes;
        block->next = idle[block->class];
        idle[block->class] = block;
    }
    pool_unlock();
    all_to_system(out);
}

void pool_empty(void) {
    for (int class = 0; class < CLASSES; class++) {
        pool_lock();
        struct block *block = idle[class];
        idle[class] = NULL;
        for (struct block *b = block; b; b = b->next) state.idle -= (int64_t)b->bytes;
        pool_unlock();
        all_to_system(block);
    }
}

void pool_cap(size_t bytes) {
    pool_lock();
    state.capacity = bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
    pool_unlock();
    pool_empty();
}

struct pool_state pool_look(void) {
    pool_lock();
    struct pool_state copy = state;
    pool_unlock();
    return copy;
}
