"""Text while it is generated: no half character, no part of a stop string, wherever tokens begin and end."""

from hypothesis import given
from hypothesis import strategies as st

from tinyllm.tokenizer.text import TextStream


class Pieces:
    """A tokenizer whose tokens are the pieces of one byte string."""

    def __init__(self, pieces):
        self.pieces = pieces

    def decode_bytes(self, ids):
        return b"".join(self.pieces[i] for i in ids)


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


def run(data, places, stop):
    pieces = cut(data, places)
    stream, shown = TextStream(Pieces(pieces), stop), []
    for i in range(len(pieces)):
        shown.append(stream.push(i))
        if stream.stopped:
            break
    shown.append(stream.finish())
    return shown, stream


@given(few_letters, places, stops)
def test_the_whole_text_comes_up_to_the_first_stop(text, places, stop):
    shown, stream = run(text.encode(), places, stop)
    assert ("".join(shown), stream.stopped) == before_stop(text, stop)


@given(few_letters, places, stops)
def test_what_was_shown_is_never_taken_back(text, places, stop):
    """After every token, all is shown but what may still become a character or a stop string."""
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
            return
        pending = max((n for s in stop for n in range(len(s)) if so_far.endswith(s[:n])), default=0)
        assert shown == so_far[: len(so_far) - pending]


@given(st.binary(max_size=20), places)
def test_bytes_that_are_no_text_are_replaced_as_decode_does(data, places):
    shown, _ = run(data, places, [])
    assert "".join(shown) == data.decode("utf-8", errors="replace")


def test_a_stop_string_across_tokens_and_text_before_it():
    shown, stream = run(b"Once.\n\nTwice", [5, 6], ["\n\n"])
    assert shown == ["Once.", "", "", ""] and stream.stopped


def test_text_that_only_looked_like_a_stop_string_is_shown_after_all():
    shown, stream = run(b"Once.\nTwice\n", [6, 8], ["\n\n"])
    assert shown == ["Once.", "\nTw", "ice", "\n"] and not stream.stopped
