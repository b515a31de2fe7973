"""Check text while it is generated: no half character, and no part of a stop string."""

from hypothesis import given
from hypothesis import strategies as st

from tinyllm.tokenizer.text import ByteStream, TextStream


class Pieces:
    """A tokenizer whose tokens are the pieces of one byte string."""

    def __init__(self, pieces):
        self.pieces = pieces

    def decode_bytes(self, ids):
        return b"".join(self.pieces[i] for i in ids)

    def decode_stream(self):
        return ByteStream(self)


def cut(data, places):
    """Cut bytes at the given places."""
    ends = sorted({p % (len(data) + 1) for p in places} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def before_stop(text, stop):
    """The text up to the stop string that is complete first; of two that end together, the longer one."""
    for end in range(len(text) + 1):
        done = [s for s in stop if text[:end].endswith(s)]
        if done:
            return text[: end - max(map(len, done))], True
    return text, False


few_letters = st.text(alphabet="abé🙂", max_size=30)
stops = st.lists(st.text(alphabet="abé🙂", min_size=1, max_size=4), max_size=3)
places = st.lists(st.integers(0, 200), max_size=40)


@given(few_letters, places, stops)
def test_all_is_shown_but_what_may_still_become_a_character_or_a_stop_string(text, places, stop):
    """So nothing is ever taken back, and at the end the whole text up to the first stop was shown."""
    pieces = cut(text.encode(), places)
    stream, shown, seen = TextStream(Pieces(pieces), stop), "", b""
    for i, piece in enumerate(pieces):
        shown += stream.push(i)
        seen += piece
        so_far = seen.decode(errors="ignore")  # whole characters only
        kept, stopped = before_stop(so_far, stop)
        assert stream.stopped == stopped
        if stopped:
            assert shown == kept
            break
        pending = max((n for s in stop for n in range(len(s)) if so_far.endswith(s[:n])), default=0)
        assert shown == so_far[: len(so_far) - pending]
    assert (shown + stream.finish(), stream.stopped) == before_stop(text, stop)


@given(st.binary(max_size=20), places)
def test_bytes_that_are_no_text_are_replaced_as_decode_does(data, places):
    pieces = cut(data, places)
    stream = TextStream(Pieces(pieces), [])
    shown = [stream.push(i) for i in range(len(pieces))]
    assert "".join(shown) + stream.finish() == data.decode("utf-8", errors="replace")
