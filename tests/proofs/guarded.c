/* The services of the kernels, as strictly as their promises allow: verify_kernels.py loads these in place of pool.c's
 * and parallel.c's. Every block ends at a page that nobody may touch, or begins behind one; it is filled with a byte
 * that no kernel writes, and its pages are gone once it is given back. Loops are cut into pieces of one to three, the last one
 * first, whatever their grain.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int guard_end = 1, guard_fill = 0xff, guard_pieces = 0; /* set by Python */

struct mapping { char *map; size_t mapped; void *memory; };
static struct mapping live[4096];

void *pool_take(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + page - 1) / page * page;
    if (bytes > (size_t)1 << 40) return NULL;
    struct mapping *m = live;
    while (m < live + 4096 && m->memory) m++;
    if (m == live + 4096) abort();
    m->mapped = inner + 2 * page;
    m->map = mmap(NULL, m->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->map == MAP_FAILED || (inner && mprotect(m->map + page, inner, PROT_READ | PROT_WRITE))) abort();
    memset(m->map + page, guard_fill, inner);
    return m->memory = m->map + page + (guard_end ? inner - bytes : 0);
}

void pool_give(void *memory) {
    if (!memory) return;
    struct mapping *m = live;
    while (m < live + 4096 && m->memory != memory) m++;
    if (m == live + 4096) abort();
    munmap(m->map, m->mapped);
    m->memory = NULL;
}

void parallel_for(void (*body)(void *, int64_t, int64_t), void *context, int64_t n, int64_t grain) {
    (void)grain;
    if (!guard_pieces && n > 0) body(context, 0, n);
    for (int64_t end = n; guard_pieces && end > 0;) {
        int64_t begin = end - 1 - end % 3;
        body(context, begin > 0 ? begin : 0, end);
        end = begin;
    }
}
