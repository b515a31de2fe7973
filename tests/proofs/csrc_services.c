/* Drives parallel.c and pool.c without Python, so that sanitizers can watch: every index once, calls that are
 * nested, from several threads at once, while the pool is resized, and in the children of forks; blocks that are
 * aligned, used again, capped and counted.
 */
#define _GNU_SOURCE
#include "csrc_require.h"
#include "tinyllm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- parallel_for ---------------------------------------------------------------------------------------------- */

enum { MOST = 1024 };

struct count { atomic_int *seen; int64_t grain, n; };

static void count_piece(void *context, int64_t begin, int64_t end) {
    const struct count *c = context;
    REQUIRE(0 <= begin && begin < end && end <= c->n, "piece %lld..%lld", (long long)begin, (long long)end);
    REQUIRE(end - begin >= c->grain || end == c->n, "a piece shorter than its grain");
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&c->seen[i], 1);
}

static void check_cover(int64_t n, int64_t grain) {
    atomic_int seen[MOST] = {0}; /* no malloc: the one of ASan hangs in a fork's child */
    REQUIRE(n <= MOST, "check_cover counts up to %d", MOST);
    struct count c = {seen, grain, n};
    parallel_for(count_piece, &c, n, grain);
    for (int64_t i = 0; i < n; i++)
        REQUIRE(atomic_load(&seen[i]) == 1, "index %lld of %lld", (long long)i, (long long)n);
}

static void nested_piece(void *context, int64_t begin, int64_t end) {
    (void)context;
    REQUIRE(parallel_size() >= 1, "a kernel may ask for the size from inside a job");
    for (int64_t i = begin; i < end; i++) check_cover(100, 1);
}

static void *calls(void *rounds) {
    for (int i = 0; i < *(int *)rounds; i++) {
        check_cover(1 + i % 300, 1 + i % 7);
        void *a = pool_take(64 + (size_t)i * 17), *b = pool_take(5000);
        REQUIRE(a && b && a != b, "the pool is out of memory");
        memset(a, i, 64 + (size_t)i * 17);
        pool_give(a);
        pool_give(b);
        if (i % 50 == 0) pool_empty();
    }
    return NULL;
}

static void together(void *(*body)(void *), int threads, int rounds, void (*meanwhile)(void)) {
    pthread_t thread[8];
    for (int i = 0; i < threads; i++) pthread_create(&thread[i], NULL, body, &rounds);
    if (meanwhile) meanwhile();
    for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
}

static void resize(void) {
    for (int i = 0; i < 40; i++) {
        parallel_threads(1 + i % 5);
        usleep(200);
    }
}

static void check_parallel(void) {
    static const int64_t lengths[] = {0, 1, 2, 3, 7, 100, 1001};
    for (int threads = 1; threads <= 8; threads++) {
        parallel_threads(threads);
        REQUIRE(parallel_size() == threads, "asked for %d threads, got %d", threads, parallel_size());
        for (size_t i = 0; i < COUNT(lengths); i++)
            for (int64_t grain = 0; grain < 4; grain++) check_cover(lengths[i], grain);
        parallel_for(nested_piece, NULL, 8, 1);
    }
    parallel_threads(3);
    together(calls, 4, 300, NULL);
    together(calls, 2, 300, resize);
}

/* --- the pool -------------------------------------------------------------------------------------------------- */

static void check_pool(void) {
    pool_empty();
    struct pool_state before = pool_look();
    for (size_t bytes = 0; bytes < 70000; bytes += 1 + bytes / 3) {
        char *a = pool_take(bytes);
        REQUIRE(a && (uintptr_t)a % 64 == 0, "a block of %zu bytes is not aligned", bytes);
        memset(a, 1, bytes);
        int64_t held = pool_look().used - before.used;
        REQUIRE(held >= (int64_t)bytes && held <= (int64_t)(bytes + bytes / 4 + 256), "%zu bytes cost %lld", bytes,
                (long long)held);
        pool_give(a);
        REQUIRE(pool_take(bytes) == a, "a block of %zu bytes is not used again", bytes);
        pool_give(a);
    }
    REQUIRE(pool_look().used == before.used && pool_look().idle > 0, "the pool miscounts");
    pool_cap(4096);
    REQUIRE(pool_look().idle == 0, "a new cap leaves blocks idle");
    void *block[8];
    for (int i = 0; i < 8; i++) block[i] = pool_take(1000);
    for (int i = 0; i < 8; i++) pool_give(block[i]);
    REQUIRE(pool_look().idle <= 4096 && pool_look().idle > 0, "the cap is not kept");
    void *large = pool_take(3000); /* as many bytes as the small ones that lie idle, together */
    int64_t small = pool_look().misses;
    pool_give(large);
    REQUIRE(pool_take(3000) == large && pool_look().misses == small, "a new size does not push out a stale one");
    pool_give(large);
    REQUIRE(pool_look().idle <= 4096, "the cap is not kept by eviction");
    pool_give(pool_take(10000));
    REQUIRE(pool_take(3000) == large, "a block beyond the cap pushes out others");
    pool_give(large);
    pool_empty();
    void *stale = pool_take(1000), *recent = pool_take(500);
    large = pool_take(3000);
    pool_give(stale);
    pool_give(recent);
    pool_give(large); /* room for it and for one of them */
    REQUIRE(pool_take(500) == recent, "more than the stalest blocks make room");
    pool_give(recent);
    pool_cap((size_t)1 << 30);
    REQUIRE(!pool_take(SIZE_MAX) && !pool_take(((size_t)1 << 46) + 1), "an absurd size was granted");
    pool_give(NULL);
    REQUIRE(pool_look().used == before.used, "the pool miscounts");
}

/* --- fork ------------------------------------------------------------------------------------------------------ */

enum { HOLDERS = 2 };

static atomic_int forked, holding;

/* Every lock of ours is held now and then when the fork comes. Those of ASan must not be, for it does not watch forks:
 * a thread that starts, or whose first block is made, holds some, and a fork then waits for ever in the child. */
static void *hold_locks(void *unused) {
    (void)unused;
    check_cover(64, 1);
    for (atomic_fetch_add(&holding, 1); !atomic_load(&forked);) {
        void *a = pool_take(300);
        pool_give(a);
        check_cover(64, 1);
    }
    return NULL;
}

static void fork_often(void) {
    while (atomic_load(&holding) < HOLDERS) usleep(100);
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20); /* a child that waits for a lock without owner dies here */
            pool_give(pool_take(300));
            for (int j = 0; j < 3; j++) check_cover(1000, 1);
            parallel_threads(2);
            check_cover(1000, 1);
            _exit(0);
        }
        int status = -1;
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child, "fork %d failed", i);
        REQUIRE(status == 0, "fork %d: its child ended with %d", i, status);
    }
    atomic_store(&forked, 1);
}

static void check_fork(void) {
    parallel_threads(3);
    check_cover(1000, 1);
    void *block[HOLDERS + 1];
    for (int i = 0; i <= HOLDERS; i++) block[i] = pool_take(300);
    for (int i = 0; i <= HOLDERS; i++) pool_give(block[i]); /* so that nobody calls malloc while another forks */
    together(hold_locks, HOLDERS, 0, fork_often);
}

int main(void) {
    alarm(120); /* a deadlock ends here */
    check_parallel();
    check_pool();
    check_fork();
    parallel_threads(1); /* joins the workers */
    pool_empty();
    puts("parallel_for and the pool hold");
    return 0;
}
