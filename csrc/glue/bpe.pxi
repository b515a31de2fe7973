from cpython.bytes cimport PyBytes_AS_STRING
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM, PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_CheckExact
from cpython.ref cimport Py_INCREF
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    SHORT = 1024  # a text of at most so many bytes is encoded into an array on the stack
    WAVE = 256  # parts, 16 MB of text, between two checks for Ctrl-C

cdef int64_t MOST_COUNT = 1 << 62  # limit of the sum of all counts, so that sums fit in int64


# --- plain Python in and out -----------------------------------------------------------------------------------------

cdef object whole_numbers(object values, object dtype, str name, int64_t least):
    """Return a sequence of ints as an array. Raises ValueError if one is not an int of the right size."""
    if isinstance(values, bytes):
        return np.frombuffer(values, np.uint8).astype(dtype)
    values = list(values)
    cdef int64_t most = (1 << 31) - 1 if dtype is I32 else MOST_COUNT
    for value in values:
        if not PyLong_CheckExact(value) or not least <= value <= most:
            raise ValueError(f"{name} holds {str(value)[:20]!r}: the compiled kernel takes whole numbers from {least} "
                             f"to {most}; for others there is tinyllm.use('numpy')")
    return np.array(values, dtype)


# --- the ops ---------------------------------------------------------------------------------------------------------

def bpe_train(pieces, counts, n_merges):
    pieces = [whole_numbers(piece, I32, "a piece", 0) for piece in pieces]
    counts = whole_numbers(counts, I64, "counts", 1).tolist()
    if len(pieces) != len(counts):
        raise ValueError(f"there must be as many pieces as counts, got {len(pieces)} and {len(counts)}")
    if max(counts, default=0) > 1 << 40:  # the piece is copied for every 2^31 of its count
        raise ValueError(f"a piece occurs {max(counts)} times, the kernel counts to 2^40; use tinyllm.use('numpy')")
    if sum([count * len(piece) for piece, count in zip(pieces, counts)]) > MOST_COUNT:
        raise ValueError(f"the counts add up to more than {MOST_COUNT}; use tinyllm.use('numpy')")
    counter = PieceCounter()
    for piece, count in zip(pieces, counts):
        if piece.size and piece.max() > 255:
            raise ValueError(f"a piece holds {piece.max()}: training starts from bytes, 0 to 255")
        counter.add_piece(piece.astype(np.uint8).tobytes(), count)
    return {pair: 256 + i for i, pair in enumerate(counter.train(len(range(n_merges)) if n_merges > 0 else 0))}


def bpe_encode(ids, merges):
    ids = whole_numbers(ids, I32, "ids", 0)
    if not isinstance(merges, dict):
        raise TypeError(f"merges must be a dict {{(left, right): new token}}, not {type(merges).__name__}")
    made = list(merges.values())
    sound = all(new > left and new > right for (left, right), new in merges.items()) and len(set(made)) == len(made)
    if not sound:
        raise ValueError("the compiled bpe_encode takes merges that each make a new, larger token; "
                         "for others there is tinyllm.use('numpy')")
    in_order = sorted(merges.items(), key=lambda item: item[1])
    flat = whole_numbers([token for pair, new in in_order for token in (*pair, new)], I32, "merges", 0)
    return BPE(range(256), flat.reshape(-1, 3).T).encode_ids(ids)


# --- a vocabulary ----------------------------------------------------------------------------------------------------

cdef class Texts:
    """Texts for C, cut into parts; this object keeps the memory alive that C points to."""

    cdef bpe_text *texts
    cdef bpe_part *parts
    cdef int64_t n_texts, n_parts
    cdef list keep

    def __cinit__(self, list texts, pattern):
        """texts: a list of bytes, cut into pieces by a pattern of ops/pieces.py."""
        self.n_texts = len(texts)
        self.keep = list(texts)
        self.texts = <bpe_text *>calloc(self.n_texts + 1, sizeof(bpe_text))
        if self.texts == NULL:
            raise MemoryError("no memory for a list of texts")
        cdef bytes text
        for i, text in enumerate(texts):
            self.texts[i] = bpe_text(<const uint8_t *>PyBytes_AS_STRING(text), len(text), PIECES[pattern])
        cdef int failed
        with nogil:
            failed = bpe_cut(&self.parts, &self.n_parts, self.texts, self.n_texts)
        if failed:
            raise MemoryError("no memory to cut texts into parts")

    def __dealloc__(self):
        bpe_parts_free(self.parts, self.n_parts)
        free(self.texts)


cdef object as_array(const bpe_part *parts, int64_t n, int64_t total):
    result = empty((total,), I32)
    cdef int32_t *out = <int32_t *>address(result)
    cdef int64_t k
    for k in range(n):
        memcpy(out, parts[k].ids, parts[k].count * sizeof(int32_t))
        out += parts[k].count
    return result


cdef class BPE:
    """A vocabulary in C that encodes texts.

    byte_ids: the ids of the 256 bytes, -1 - i for a byte i without a token. columns: (3, n), the left, right and new
    token of each merge, in the order of merging. whole: {bytes: id} of pieces that become one token unmerged.
    """

    cdef bpe_vocab *vocab
    cdef bpe_encoder *encoder
    cdef list numbers  # the ids as Python ints, made once
    cdef bint lacks_bytes

    def __cinit__(self, byte_ids, columns, dict whole={}):
        byte_ids = whole_numbers(byte_ids, I32, "byte_ids", -256)
        if byte_ids.shape != (256,):
            raise ValueError(f"byte_ids must have shape (256,), got {byte_ids.shape}")
        self.lacks_bytes = byte_ids.min() < 0
        if columns.size and columns.min() < 0:
            raise ValueError(f"columns holds the token {columns.min()}: tokens are numbers from 0 on")
        left, right, made = (np.ascontiguousarray(ids, I32) for ids in columns)
        spelt, offsets = b"".join(whole), np.cumsum([0, *map(len, whole)], dtype=I64)
        numbers = whole_numbers(whole.values(), I32, "whole", 0)
        largest = max([int(array.max()) for array in (byte_ids, left, right, made, numbers) if array.size])
        self.vocab = bpe_vocab_new(<int32_t *>address(byte_ids), <int32_t *>address(left), <int32_t *>address(right),
                                   <int32_t *>address(made), len(made),
                                   <const uint8_t *>PyBytes_AS_STRING(spelt), <int64_t *>address(offsets),
                                   <int32_t *>address(numbers), len(numbers))
        if self.vocab != NULL:
            self.encoder = bpe_encoder_new(self.vocab)
        if self.encoder == NULL:
            raise MemoryError("no memory for a vocabulary")
        self.numbers = list(range(largest + 1)) if largest < 1 << 22 else None

    def __dealloc__(self):
        bpe_encoder_free(self.encoder)
        bpe_vocab_free(self.vocab)

    cdef int run(self, Texts texts) except -1:
        cdef int64_t first, last
        cdef int failed = 0
        for first in range(0, texts.n_parts, WAVE):
            last = min(first + WAVE, texts.n_parts)
            with nogil:
                failed = bpe_encode_parts(self.encoder, texts.texts, texts.parts, first, last)
            if failed:
                raise MemoryError("no memory to encode, or a piece of text of 2 GiB")
            PyErr_CheckSignals()
        return 0

    def encode(self, list texts, pattern, bint arrays=False):
        """Encode texts (bytes), cut by a pattern of ops/pieces.py -> a list of ids for each, or an int32 array."""
        cdef Texts given = Texts(texts, pattern)
        self.run(given)
        cdef int64_t i, k = 0, total, first
        cdef list results = []
        for i in range(given.n_texts):
            total, first = 0, k
            while k < given.n_parts and given.parts[k].text == i:
                self.check(given.parts[k].ids, given.parts[k].count)
                total += given.parts[k].count
                k += 1
            if arrays:
                results.append(as_array(given.parts + first, k - first, total))
            else:
                results.append(self.as_list(given.parts + first, k - first, total))
        return results

    cdef list as_list(self, bpe_part *parts, int64_t n, int64_t total):
        cdef list result = PyList_New(total)
        cdef int64_t at = 0, k
        for k in range(n):
            self.fill(result, at, parts[k].ids, parts[k].count)
            at += parts[k].count
        return result

    cdef int fill(self, list result, int64_t at, const int32_t *ids, int64_t n) except -1:
        cdef list numbers = self.numbers
        cdef object number
        cdef int64_t i
        for i in range(n):
            number = <object>PyList_GET_ITEM(numbers, ids[i]) if numbers is not None else ids[i]
            Py_INCREF(number)
            PyList_SET_ITEM(result, at + i, number)
        return 0

    cdef int check(self, const int32_t *ids, int64_t n) except -1:
        cdef int64_t i
        for i in range(n if self.lacks_bytes else 0):
            if ids[i] < 0:
                raise UserError(f"the text has the byte 0x{-1 - ids[i]:02x}, for which this vocabulary has no token; "
                                "take it out of the text, or take another tokenizer")
        return 0

    def encode_short(self, str text, pattern):
        """Encode a str of at most SHORT bytes of UTF-8 -> list of ids; None for any other text."""
        cdef int32_t ids[SHORT + BPE_SPARE]
        cdef Py_ssize_t size = len(text)
        cdef const char *utf8
        if size > SHORT:
            return None
        try:
            utf8 = PyUnicode_AsUTF8AndSize(text, &size)
        except UnicodeEncodeError:  # a lone surrogate
            return None
        if size > SHORT:
            return None
        cdef bpe_text given = bpe_text(<const uint8_t *>utf8, size, PIECES[pattern])
        cdef int64_t n = bpe_encode_short(self.encoder, &given, ids)
        if n < 0:
            raise MemoryError("no memory to encode")
        self.check(ids, n)
        cdef list result = PyList_New(n)
        self.fill(result, 0, ids, n)
        return result

    def encode_ids(self, ids):
        """Merge an int32 array of tokens as one piece -> list of ids."""
        ids = np.array(ids, I32)
        cdef int32_t *id = <int32_t *>address(ids)
        cdef int64_t n = ids.size
        with nogil:
            n = bpe_merge_ids(self.vocab, id, n)
        if n < 0:
            raise MemoryError("no memory to encode, or a piece of 2^31 tokens")
        return [id[i] for i in range(n)]
