/* Run one loop at a time on a pool of threads.
 *
 * parallel_for opens a job, and every thread that is awake, the caller first, takes the next piece of [0, n) from a
 * shared counter until none is left. Nobody waits for a sleeping thread: when the counter has run out, the caller
 * closes the job, and waits only for threads that are inside it. An idle worker spins for about a millisecond, because
 * the next job usually follows at once, and then sleeps on a condition variable.
 *
 * To enter a job or to close it, each side writes its own variable before it reads the other side's:
 *
 *     worker: inside += 1; if (open) take pieces; inside -= 1          caller: open = 0; wait until inside == 0
 *
 * So a worker sees that the job is closed, or else the caller sees the worker and waits. Then the job can be rewritten.
 *
 * The pieces differ from run to run; results do not, because a body writes only the outputs of its own piece. A nested
 * call, and a call while another thread uses the pool, runs on the calling thread alone. A fork waits until no job runs
 * and no thread is inside pool.c: the child would inherit a lock, but not the thread that unlocks it. The child starts
 * its own workers at its first job.
 */
#include "tinyllm.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MOST_THREADS 256
#define STACK ((size_t)4 << 20) /* matmul keeps its panels there; some systems give a thread only 128 KiB */
#define SPINS 100000 /* about a millisecond: longer than Python takes from kernel to kernel in a training step */

static struct {
    pthread_mutex_t busy; /* held by the thread whose job runs, or that resizes the pool */
    pthread_mutex_t sleep;
    pthread_cond_t wake;
    pthread_t worker[MOST_THREADS];
    atomic_int wanted; /* workers, the caller not counted */
    int started;

    atomic_int open, inside, sleeping, quit;
    atomic_llong ticket; /* goes up with every job, so that sleeping threads notice a new one */
    atomic_llong next;   /* the first index that nobody has taken */
    parallel_body body;
    void *context;
    int64_t n, grain, shares; /* size of the next piece: what is left / shares, but at least grain */
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Take large pieces first and small ones last, because at the end all threads wait for the last piece. Another
 * thread may take a piece between the two reads of `next`; then this piece is larger than its share, or empty, which is
 * safe because `next` only grows. */
static void take_pieces(void) {
    for (;;) {
        int64_t share = (pool.n - atomic_load(&pool.next)) / pool.shares;
        int64_t piece = share > pool.grain ? share : pool.grain;
        int64_t begin = atomic_fetch_add(&pool.next, piece);
        if (begin >= pool.n) break;
        int64_t end = begin + piece < pool.n ? begin + piece : pool.n;
        pool.body(pool.context, begin, end);
    }
}

/* Wait until there is a ticket other than `seen`, and return it. */
static long long wait_for_ticket(long long seen) {
    for (int i = 0; i < SPINS; i++) {
        long long ticket = atomic_load(&pool.ticket);
        if (ticket != seen) return ticket;
        pause_briefly();
    }
    pthread_mutex_lock(&pool.sleep);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.ticket) == seen) pthread_cond_wait(&pool.wake, &pool.sleep);
    atomic_fetch_sub(&pool.sleeping, 1);
    pthread_mutex_unlock(&pool.sleep);
    return atomic_load(&pool.ticket);
}

static void *work(void *argument) {
    long long seen = (long long)(intptr_t)argument;
    for (;;) {
        seen = wait_for_ticket(seen);
        if (atomic_load(&pool.quit)) return NULL;
        atomic_fetch_add(&pool.inside, 1);
        if (atomic_load(&pool.open)) take_pieces();
        atomic_fetch_sub(&pool.inside, 1);
    }
}

static void announce(void) {
    atomic_fetch_add(&pool.ticket, 1);
    if (atomic_load(&pool.sleeping) == 0) return;
    pthread_mutex_lock(&pool.sleep);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.sleep);
}

/* --- fork: only the calling thread lives on in the child ------------------------------------------------------- */

static void before_fork(void) {
    pthread_mutex_lock(&pool.busy); /* first, because a job that runs may still need memory */
    pool_lock();
}
static void after_fork_parent(void) {
    pool_unlock();
    pthread_mutex_unlock(&pool.busy);
}
static void after_fork_child(void) {
    pool_unlock();
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
    atomic_store(&pool.sleeping, 0);
    atomic_store(&pool.inside, 0);
    pool.started = 0;
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

static void start_workers(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    void *ticket = (void *)(intptr_t)atomic_load(&pool.ticket);
    while (pool.started < pool.wanted &&
           pthread_create(&pool.worker[pool.started], &attributes, work, ticket) == 0)
        pool.started++;
    pool.wanted = pool.started; /* the system may give no more threads: go on with those there are */
    pthread_attr_destroy(&attributes);
}

void parallel_threads(int n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    int wanted = (n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : n) - 1;
    pthread_mutex_lock(&pool.busy);
    if (wanted < pool.started) {
        atomic_store(&pool.quit, 1);
        announce();
        for (int i = 0; i < pool.started; i++) pthread_join(pool.worker[i], NULL);
        atomic_store(&pool.quit, 0);
        pool.started = 0;
    }
    pool.wanted = wanted;
    pthread_mutex_unlock(&pool.busy);
}

/* Return the number of threads. This takes no lock, so a kernel may call it while a job runs, even inside the job. */
int parallel_size(void) { return atomic_load(&pool.wanted) + 1; }

void parallel_for(parallel_body body, void *context, int64_t n, int64_t grain) {
    if (n <= 0) return;
    if (n <= grain || pthread_mutex_trylock(&pool.busy) != 0) { /* another thread's job runs, or this call is nested */
        body(context, 0, n);
        return;
    }
    if (pool.wanted == 0) {
        pthread_mutex_unlock(&pool.busy);
        body(context, 0, n);
        return;
    }
    if (pool.started < pool.wanted) start_workers();
    pool.body = body;
    pool.context = context;
    pool.n = n;
    pool.shares = 2 * ((int64_t)pool.wanted + 1);
    pool.grain = grain > 1 ? grain : 1;
    atomic_store(&pool.next, 0);
    atomic_store(&pool.open, 1);
    announce();
    take_pieces();
    atomic_store(&pool.open, 0);
    for (int i = 0; atomic_load(&pool.inside) != 0; i++) {
        if (i < SPINS) pause_briefly();
        else sched_yield();
    }
    pthread_mutex_unlock(&pool.busy);
}
