cdef extern from "bpe/pieces.h" nogil:
    int64_t piece_ends_c "piece_ends"(int64_t *ends, int64_t most, int pattern, const uint8_t *text, int64_t n,
                                      int64_t at)
    int64_t piece_cut_c "piece_cut"(const uint8_t *text, int64_t n, int64_t start)
    void piece_classes_c "piece_classes"(uint8_t *classes, int64_t first, int64_t count)

cdef dict PIECES = {"gpt2": 0, "gpt4": 1, "o200k": 2}  # the enum of pieces.h


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
            count += piece_ends_c(out + count, room - count, number, start, n, at)
        at = out[count - 1] if count else 0
        if at == n:
            return ends[:count]
        room = min(n, 2 * room)
        more = empty((room,), I64)
        more[:count] = ends
        ends = more


def piece_cut(text, start=0):
    """Return the first position from `start` on where both sides can be split separately, or the text's length."""
    text = bytes_of(text)
    cdef const uint8_t *first = text
    return piece_cut_c(first, len(text), start)


def piece_classes():
    """Return the class of every character, as one bit of a byte."""
    classes = empty((0x110000,), U8)
    piece_classes_c(<uint8_t *>address(classes), 0, 0x110000)
    return classes
