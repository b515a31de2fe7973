/* Cut long texts into parts, so that several threads can encode or count them.
 *
 * A text is cut only where every pattern ends a piece, whatever comes before and after (bpe_piece_cut in pieces.c), so
 * the parts have the pieces of the whole text. A text without such a place, such as a million times "a", is one part.
 */
#include "bpe.h"
#include "pieces.h"
#include "tinyllm.h"

#include <stdatomic.h>

enum { PART = 1 << 16 }; /* bytes: a millisecond of work */

static int64_t next_cut(const struct bpe_text *text, int64_t from) {
    return text->n - from <= PART ? text->n : bpe_piece_cut(text->bytes, text->n, from + PART);
}

int bpe_cut(struct bpe_part **parts, int64_t *n, const struct bpe_text *texts, int64_t n_texts) {
    int64_t room = 0;
    *parts = NULL;
    *n = 0;
    for (int64_t i = 0; i < n_texts; i++) {
        for (int64_t at = 0, end; at < texts[i].n; at = end) {
            struct bpe_part *more = bpe_grow(*parts, &room, *n + 1, sizeof *more);
            if (!more) {
                free(*parts);
                return -1;
            }
            end = next_cut(&texts[i], at);
            *parts = more;
            more[(*n)++] = (struct bpe_part){.text = i, .begin = at, .end = end};
        }
    }
    return 0;
}

void bpe_parts_free(struct bpe_part *parts, int64_t n) {
    for (int64_t i = 0; i < n; i++) free(parts[i].ids);
    free(parts);
}

struct work {
    int (*each)(void *context, int64_t thread, int64_t i);
    void *context;
    int64_t last;
    atomic_llong next;
    atomic_int failed;
};

static void run_some(void *context, int64_t thread, int64_t end) {
    struct work *work = context;
    (void)end;
    while (!atomic_load(&work->failed)) {
        int64_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->last) break;
        if (work->each(work->context, thread, i) != 0) atomic_store(&work->failed, 1);
    }
}

int bpe_each_part(int (*each)(void *context, int64_t thread, int64_t i), void *context, int64_t first, int64_t last,
                  int64_t most) {
    struct work work = {.each = each, .context = context, .last = last, .next = first};
    int64_t threads = parallel_size() < most ? parallel_size() : most;
    parallel_for(run_some, &work, threads < last - first ? threads : last - first, 1);
    return atomic_load(&work.failed) ? -1 : 0;
}
