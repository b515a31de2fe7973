"""Check text while it is generated: no partial character and no part of a stop string is shown."""

from hypothesis import given, strategies as st

from tinyllm.tokenizer.text import ByteStream, TextStream


class Pieces:
    """A tokenizer whose tokens are the pieces of one byte string, cut at the given places."""

    def __init__(self, data, places):
        ends = sorted({p % (len(data) + 1) for p in places} | {len(data)})
        self.pieces = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    def decode_bytes(self, ids):
        return b"".join(self.pieces[i] for i in ids)

    def decode_stream(self):
        return ByteStream(self)


def before_stop(text, stop):
    """Return (text before the first complete stop string, True); the longer one of two that end together."""
    for end in range(len(text) + 1):
        done = [s for s in stop if text[:end].endswith(s)]
        if done:
            return text[: end - max(map(len, done))], True
    return text, False


letters = "abé🙂"
places = st.lists(st.integers(0, 200), max_size=40)


@given(st.text(letters, max_size=30), places, st.lists(st.text(letters, min_size=1, max_size=4), max_size=3))
def test_all_is_shown_but_what_may_still_become_a_character_or_a_stop_string(text, places, stop):
    """Nothing shown is ever taken back, and in the end all text up to the first stop is shown."""
    tokenizer = Pieces(text.encode(), places)
    stream, shown = TextStream(tokenizer, stop), ""
    for i in range(len(tokenizer.pieces)):
        shown += stream.push(i)
        so_far = tokenizer.decode_bytes(range(i + 1)).decode(errors="ignore")  # whole characters only
        kept, stopped = before_stop(so_far, stop)
        pending = max((n for s in stop for n in range(len(s)) if so_far.endswith(s[:n])), default=0)
        assert stream.stopped == stopped
        assert shown == (kept if stopped else so_far[: len(so_far) - pending])
        if stopped:
            break
    assert (shown + stream.finish(), stream.stopped) == before_stop(text, stop)


@given(st.binary(max_size=20), places)
def test_bytes_that_are_no_text_are_replaced_as_decode_does(data, places):
    stream = TextStream(tokenizer := Pieces(data, places), [])
    shown = "".join(map(stream.push, range(len(tokenizer.pieces))))
    assert shown + stream.finish() == data.decode("utf-8", errors="replace")
