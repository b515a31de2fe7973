cdef dict PIECES = {"gpt2": 0, "gpt4": 1, "o200k": 2, "qwen2": 3}  # the enum of pieces.h


cdef bytes bytes_of(object text):
    if not isinstance(text, (bytes, bytearray, memoryview)):
        raise TypeError(f"text must be bytes, not {type(text).__name__}; use text.encode()")
    return bytes(text)


def split_pieces(text, pattern):
    text = bytes_of(text)
    if not isinstance(pattern, str) or pattern not in PIECES:
        raise UserError(f"split_pieces knows the patterns {', '.join(PIECES)}, not {pattern!r}")
    cdef int number = PIECES[pattern]
    cdef const uint8_t *start = text
    cdef int64_t n = len(text), room = n // 4 + 16, count = 0, at = 0
    cdef int64_t *out
    ends = empty((room,), I64)
    while True:
        out = <int64_t *>address(ends)
        with nogil:
            count += bpe_piece_ends(out + count, room - count, number, start, n, at)
        at = out[count - 1] if count else 0
        if at == n:
            return ends[:count]
        room = min(n, 2 * room)
        more = empty((room,), I64)
        more[:count] = ends
        ends = more


def piece_cut(text, start=0):
    """Return the first position >= start where any pattern can split both sides separately, or the text's length."""
    text = bytes_of(text)
    cdef const uint8_t *first = text
    return bpe_piece_cut(first, len(text), start)


def piece_classes():
    """Return the class of every character, as one bit of a byte."""
    classes = empty((0x110000,), U8)
    bpe_piece_classes(<uint8_t *>address(classes), 0, 0x110000)
    return classes


cdef class PieceCounter:
    """Count the distinct pieces of texts, on all threads, and then learn merges from the counts."""

    cdef bpe_counter *counter

    def __cinit__(self):
        self.counter = bpe_counter_new()
        if self.counter == NULL:
            raise MemoryError("no memory to count pieces")

    def __dealloc__(self):
        bpe_counter_free(self.counter)

    def add(self, list texts, pattern):
        """Count the pieces of texts (bytes), cut by a pattern of ops/pieces.py."""
        cdef Texts given = Texts(texts, pattern)
        cdef int64_t first, last
        cdef int failed = 0
        for first in range(0, given.n_parts, WAVE):
            last = min(first + WAVE, given.n_parts)
            with nogil:
                failed = bpe_count_parts(self.counter, given.texts, given.parts, first, last)
            if failed:
                raise MemoryError("no memory to count pieces")
            PyErr_CheckSignals()

    def add_piece(self, bytes piece, int64_t count):
        """Add `count` occurrences of one piece."""
        if piece and bpe_count_one(self.counter, <const uint8_t *>PyBytes_AS_STRING(piece), len(piece), count):
            raise MemoryError("no memory to count pieces")

    def train(self, n_merges, progress=None):
        """Learn up to n_merges merges -> list of pairs (left, right); call progress(done, total) after each."""
        cdef bpe_trainer *trainer = NULL
        cdef int64_t done = 0, before = -1, step = 1 if progress else 64, most = min(n_merges, 1 << 40)
        with nogil:
            if bpe_counter_merge(self.counter) == 0:
                trainer = bpe_trainer_new(self.counter, most)
        if trainer == NULL:
            raise MemoryError("no memory to train, or different pieces of more than 2 GiB in all")
        cdef const int32_t *pairs = bpe_trainer_pairs(trainer)
        try:
            while done != before:
                before = done
                with nogil:
                    done = bpe_trainer_run(trainer, before + step)
                if done < 0:
                    raise MemoryError("no memory to train")
                if progress and done > before:
                    progress(done, n_merges)
                PyErr_CheckSignals()
            return [(pairs[2 * i], pairs[2 * i + 1]) for i in range(done)]
        finally:
            bpe_trainer_free(trainer)
