"""Run the commands generate and chat, with a small model in place of a trained run."""

import functools
import itertools
import json
from unittest.mock import Mock

import pytest
import tiny_gpt
from helpers import refuses

import tinyllm as tl
from tinyllm.cli import build_parser, chat as chats, generate as cli, opening
from tinyllm.decode.beams import beam_search
from tinyllm.runs.recipe import Frame
from tinyllm.tokenizer.text import add_markers

TOKENIZER = tl.CharTokenizer.train("abcdefgh \n")
GREEDY = {"sampling": tl.Sampling(temperature=0)}
VARIED = {"sampling": tl.Sampling(temperature=0, repetition_penalty=2.0)}  # else it repeats one token


tiny = functools.partial(tiny_gpt.tiny, vocab_size=TOKENIZER.vocab_size, context=12, width=8, std=0.3)


@pytest.fixture
def tinyllm(monkeypatch):
    """Let commands open an untrained model; return a function that runs a command line -> its exit code."""
    monkeypatch.setattr(opening, "open_model", lambda *_: tl.Opened(tiny(), TOKENIZER))

    def run(*words):
        args = build_parser(words[0]).parse_args(words)
        return args._call(args)

    return run


def expected(prompt, tokens, **options):
    ids = tl.generate(tiny(), [prompt], max_tokens=tokens, tokenizer=TOKENIZER, **options)[0]
    return ids, TOKENIZER.decode(ids)


def test_generate_passes_every_option_on(tinyllm, printed):
    drawn = "--temperature=0.7 --top-k=5 --top-p=0.9 --min-p=0.05 --repetition-penalty=1.2 --seed=3"
    sampling = {"sampling": tl.Sampling(0.7, 5, 0.9, 0.05, 1.2), "seed": 3}
    ids, text = expected("a", 200, **sampling)
    words = "generate", "RUN", "--prompt", "a", *drawn.split()
    assert printed(*words) == f"a{text}\n"
    sample = {"text": text, "tokens": ids, "finish": "length"}
    assert json.loads(printed(*words, "--json")) == {"prompt": "a", "seed": 3, "samples": [sample]}
    (sample,) = json.loads(printed(*words, "--stop", "\\n", "--json"))["samples"]
    assert sample["text"] == text.split("\n")[0] != text and sample["finish"] == "stop"
    more = {"max_tokens": 200, "tokenizer": TOKENIZER} | sampling
    packed = tl.generate(tl.nn.pack_cache(tiny(), "int8"), ["a"], **more)[0]
    (sample,) = json.loads(printed(*words, "--cache", "int8", "--json"))["samples"]
    assert sample["tokens"] == packed != ids


def test_generate_searches_with_beams(tinyllm, printed):
    words = ("generate", "RUN", "--prompt", "abc", "--tokens", "6", "--stop", "h", "--beams", "3")
    found = beam_search(tiny(), ["abc"], max_tokens=6, beams=3, tokenizer=TOKENIZER, stop=["h"])[0]
    texts = [TOKENIZER.decode(ids).removesuffix("h") for ids, _ in found]
    assert printed(*words) == f"abc{texts[0]}\n"
    samples = json.loads(printed(*words, "--samples", "2", "--json"))["samples"]
    assert [(s["tokens"], s["score"], s["text"]) for s in samples] == [
        (ids, score, text) for (ids, score), text in zip(found[:2], texts, strict=False)]


@pytest.mark.parametrize("draft", ["lookup", "DRAFT"])
def test_a_draft_changes_no_text(tinyllm, printed, monkeypatch, draft):
    engines, texts = Mock(side_effect=tl.Engine), []
    monkeypatch.setattr("tinyllm.decode.generate.Engine", engines)
    monkeypatch.setattr("builtins.input", Mock(side_effect=["ab", "c", EOFError] * 2))
    for words in (("generate", "RUN", "--prompt", "abab", "--tokens", "40"), ("chat", "RUN")):
        for more in ((), ("--draft", draft)):
            texts.append(printed(*words, *more))
    assert texts[0] == texts[1] and texts[2] == texts[3]
    drafts = [type(call.kwargs["draft"]).__name__ for call in engines.call_args_list]
    kind = "Lookup" if draft == "lookup" else "DraftModel"
    assert drafts == ["NoneType", kind, *["NoneType"] * 3, *[kind] * 3]


def test_a_draft_with_other_tokens_and_a_prompt_that_is_no_text_are_refused(tinyllm, monkeypatch):
    other = {"RUN": TOKENIZER, "DRAFT": tl.CharTokenizer.train("abcdefgi \n")}
    monkeypatch.setattr(opening, "open_model", lambda name, *_: tl.Opened(tiny(), other[name]))
    for command in ("generate", "chat"):
        refuses("DRAFT has other tokens", tinyllm, command, "RUN", "--draft", "DRAFT")
    refuses("not UTF-8", tinyllm, "generate", "RUN", "--prompt", "\udcff")


@pytest.mark.parametrize("tokens", [0, 40])
def test_samples_are_shown_one_after_the_other(tinyllm, printed, tokens):
    words = ["generate", "RUN", "--prompt", "ab", "--samples", "3", "--tokens", str(tokens), "--stop", "c"]
    texts = [sample["text"] for sample in json.loads(printed(*words, "--json"))["samples"]]
    assert not tokens or len(set(texts)) == len(set(map(len, texts))) == 3  # they end at different times
    assert printed(*words) == "".join(f"--- {i + 1} of 3\nab{text}\n" for i, text in enumerate(texts))


def interrupt_after(monkeypatch, count, command=cli):
    """Raise KeyboardInterrupt, as Ctrl-C does, after `count` steps."""
    real = command.stream

    def stream(*args, **kwargs):
        yield from itertools.islice(real(*args, **kwargs), count)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "stream", stream)


def test_ctrl_c_keeps_what_was_shown_and_exits_with_130(tinyllm, capsys, monkeypatch):
    interrupt_after(monkeypatch, 4)
    assert tinyllm("generate", "RUN", "--prompt", "abc") == 130
    assert capsys.readouterr().out == "abc" + expected("abc", 4)[1] + "\n"


def typed(monkeypatch, *lines):
    """Let `input` return these lines, then raise EOFError (Ctrl-D); exceptions among the lines are raised."""
    type_line = Mock(side_effect=[*lines, EOFError])
    monkeypatch.setattr("builtins.input", type_line)
    return type_line


def test_chat_goes_on_survives_bad_lines_and_ctrl_c_and_forgets_on_reset(tinyllm, capsys, monkeypatch):
    typed(monkeypatch, "", "ab", "c", "xyz", "/reset", "", "/nothing", "ab", "/quit", "never read")
    assert tinyllm("chat", "RUN", "--tokens", "3", "--temperature", "0") == 0
    out, err = capsys.readouterr()
    first = expected("ab", 3, **GREEDY)[1]
    second = expected(f"ab{first} c", 3, **GREEDY)[1]
    lines = ["", "ab", first, "c", second, "xyz", "/reset", "", "/nothing", "ab", first, "/quit", ""]
    assert out.split("\n")[2:] == lines  # without a terminal, input is echoed
    assert "the character 'x'" in err and "there is no command /nothing: type /reset" in err

    read = typed(monkeypatch, "ab", KeyboardInterrupt(), "never read")
    interrupt_after(monkeypatch, 2, chats)  # Ctrl-C ends a reply, not the chat
    assert tinyllm("chat", "RUN", "--tokens", "9", "--temperature", "0") == 130 and read.call_count == 2
    assert capsys.readouterr().out.split("\n")[3] == first[:2]
    typed(monkeypatch)
    assert tinyllm("chat", "RUN") == 0


def test_chat_writes_turns_by_the_template_of_the_tokenizer(monkeypatch):
    template, prompts = tl.CHAT_TEMPLATES["chatml"], Mock(side_effect=chats.stream)
    tokenizer = tl.ByteTokenizer(template.special_tokens)
    tokenizer.chat, stop = template, template.stop_id(tokenizer)
    config = tl.GPTConfig(vocab_size=tokenizer.vocab_size, context=256, layers=1, heads=1, width=8)
    conversation = chats.Conversation(tl.Opened(tl.GPT(config, seed=3), tokenizer), stop=["x"], **GREEDY)
    asked = []
    monkeypatch.setattr(chats, "stream", prompts)
    for text in ("ab", "", "b<|im_end|>"):  # the empty text continues the first reply
        reply = conversation.reply(text, 2)
        next(reply)
        asked.append([*conversation.ids[:-1]])
        list(reply)
    first, second, third = asked
    assert all(call.kwargs["stop"] == ["x", stop] for call in prompts.call_args_list)
    assert tokenizer.decode(first) == "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    assert len(second) == len(first) + 2 and second[: len(first)] == first
    assert third[len(second) + 2 :] == template.user_turn(tokenizer, "b<|im_end|>", third[: len(second) + 2])
    assert third.count(stop) == 3


def test_each_turn_of_a_conversation_draws_its_own_numbers():
    def turn(conversation):
        conversation.ids.clear()
        return "".join(conversation.reply("ab", 12))

    first, second = (chats.Conversation(tl.Opened(tiny(), TOKENIZER), seed=1) for _ in "ab")
    texts = [turn(first) for _ in range(3)]
    assert len(set(texts)) == 3 and texts == [turn(second) for _ in range(3)]


def test_the_frame_of_a_run_stands_behind_a_prompt_and_ends_an_answer(tinyllm, monkeypatch):
    framed = tl.Opened(tiny(), TOKENIZER, Frame("b", "a"))
    conversation = chats.Conversation(framed)
    list(conversation.reply("a", 2))
    list(conversation.reply("", 1))  # an empty line continues: no separator
    assert TOKENIZER.decode(conversation.ids[:2]) == "ab" and len(conversation.ids) == 5
    add_markers(tokenizer := tl.ByteTokenizer())
    gap, with_marks = ("--suffix", "c", "--tokens", "2"), tl.Opened(tiny(), tokenizer)
    for opened, more, prompt, stop in ((framed, (), b"ab", ["ba", "a"]),
                                       (with_marks, gap, [256, 97, 257, 99, 258], ["ba", 259])):
        monkeypatch.setattr(opening, "open_model", lambda *_, opened=opened: opened)
        monkeypatch.setattr(cli, "stream", stream := Mock(return_value=[]))
        tinyllm("generate", "RUN", "--prompt", "a", "--stop", "ba", *more)
        assert stream.call_args.args[1] == [prompt] and stream.call_args.kwargs["stop"] == stop


def test_a_conversation_goes_on_from_what_is_seen_of_it():
    """A reply continues the text so far, even if replies were cut off or the start left the context."""
    model = tiny()
    conversation, said = chats.Conversation(tl.Opened(model, TOKENIZER), seed=1, **VARIED), []
    turns = ("ab", 3, 9), ("c", 20, 9), ("abcabc", 5, 2), ("a" * 15, 9, 9), ("", 4, 9)
    for text, tokens, cut_after in turns:
        said += TOKENIZER.encode(text)
        window = said[-6:] if len(said) > 12 else said
        truth = tl.generate(model, [list(window)], max_tokens=tokens, **VARIED)[0][:cut_after]
        reply = conversation.reply(text, tokens)
        assert "".join(itertools.islice(reply, cut_after)) == TOKENIZER.decode(truth)
        reply.close()
        said += truth
        assert conversation.ids == said


def test_a_new_word_is_not_glued_to_the_last_one():
    """A past bug: a new line was joined to the last word, as in "She liked the starThe dog"."""
    conversation = chats.Conversation(tl.Opened(tiny(), tl.CharTokenizer.train("abcd., \u732b")))
    for said, line, read in [
        ("ab", "c d", " c d"), ("ab.", "c", " c"), ("ab ", "c", "c"), ("", "c", "c"), ("ab", ", c", ", c"),
        ("ab", " c", " c"), ("ab", "", ""), ("\u732b", "\u732b", "\u732b"),
    ]:
        conversation.ids = conversation.tokenizer.encode(said)
        assert conversation.spaced(line) == read
    for tokenizer, separator in ((TOKENIZER, "b"), (tl.CharTokenizer.train("ACGT"), "")):
        conversation = chats.Conversation(tl.Opened(tiny(), tokenizer, Frame(separator, "")))
        conversation.ids = [0]  # with a separator; without a space token
        assert conversation.spaced("c") == "c"


def test_what_a_terminal_would_obey_is_not_written(capsys):
    cli.write("a\x1b[2Jb\nc\td")
    assert capsys.readouterr().out == "a\ufffd[2Jb\nc\td"
