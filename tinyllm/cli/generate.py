"""Implement `tinyllm generate`, which continues a text, and `tinyllm chat`, in which a person takes part."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from json import dumps
from typing import Any

from tinyllm.align.reward import open_judge, score_texts
from tinyllm.cli.command import command
from tinyllm.cli.opening import Which, add_sampling, open_to_write
from tinyllm.cli.text import typed, write
from tinyllm.data import read_picture
from tinyllm.decode import fill
from tinyllm.decode.beams import beam_search
from tinyllm.decode.generate import stream
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.report.terminal import printable, width
from tinyllm.runs import Opened
from tinyllm.runs.run import find_origin
from tinyllm.tokenizer.text import TextStream, read_prompt

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended
WELCOME = """\
Type the beginning of a text; the model continues it, then you do.
An empty line lets it go on, /reset begins a new text, /quit leaves."""


@command("generate", extend=add_sampling)
def generate(run: str | None = None, *, prompt: str = "", suffix: str | None = None, samples: int = 1,
             tokens: int = 200, beams: int = 0, best_of: int = 0, by: str = "", picture: str = "",
             json: bool = False, which: Which = "best", **values: Any) -> int:
    """Continue a text with a trained model.

    The first continuation is shown while the model writes it. Ctrl-C stops.
    After training with `sft`, the model answers the prompt and stops at the answer's end.
    Models such as bert fill in each [MASK], or name a class; t5 answers the prompt.

    RUN             a run, a model's folder, or `shipped`; if left out, the newest run
                    in runs/, or the model that comes with tinyllm if there is none
    --prompt TEXT   the beginning; without it the model makes one up
    --suffix TEXT   the text after a gap, which the model fills (see pretrain.middle)
    --samples N     how many continuations
    --tokens N      how many tokens at most
    --beams N       beam search: keep the N likeliest beginnings
    --best-of N     write N texts, and show the one that the reward model likes best
    --by REWARD     the reward model: a run of `tinyllm train reward`
    --picture FILE  show the model a picture: a PPM file, or one of world:caption
    --json          print one JSON object at the end, with token ids
    --which         which checkpoint

    example:
      tinyllm generate runs/stories-laptop --prompt "Once" --tokens 200 --top-k 50
    """
    if samples < 1:
        raise UserError(f"--samples must be at least 1, got {samples}")
    if bool(by) != (best_of > 0) or (by and (samples > 1 or beams or suffix is not None or picture)):
        raise UserError("--best-of needs a number above 0 and --by REWARD, and no --samples, --beams, "
                        "--suffix or --picture")
    judge, n = open_judge(find_origin(by)) if by else None, best_of or samples
    opened, drawn = open_to_write(run, which, values, bool(beams))
    if opened.model.objective == "masked" and not picture:
        if suffix is not None or beams or samples > 1 or by:
            raise UserError("an encoder reads a whole text: leave out --suffix, --beams, --samples and --by")
        return _read_whole(opened, prompt, json)
    asked, prompt = prompt, prompt + (opened.frame.separator if prompt else "")
    if picture and (beams or suffix is not None):
        raise UserError(f"--{'beams' if beams else 'suffix'} reads no pictures: leave it out")
    shown = read_picture(picture) if picture else None
    is_turn, said = opened.frame.chat and asked and suffix is None, typed(asked).decode("utf-8", "replace")
    given = opened.frame.prompt(opened.tokenizer, said) + opened.model.end_ids if is_turn else typed(prompt)
    laid_out = opened.lay_out(given, tokens, None if suffix is None else typed(suffix), shown)
    options: dict[str, Any] = {"max_tokens": tokens, "n": n, "tokenizer": opened.tokenizer} | drawn | laid_out
    options["stop"], given = drawn["stop"] + laid_out.get("stop", []), options.pop("prompt")
    texts: list[dict] = _searched(opened, given, beams, options) if beams else [
        {"text": "", "tokens": [], "finish": "length"} for _ in range(n)]
    steps = iter(()) if beams else stream(opened.model, [given], **options)
    say = _keep if json else write
    try:
        _show(prompt, suffix or "", steps, texts, _keep if judge else say)
    except KeyboardInterrupt:
        say("\n")
        return INTERRUPTED
    if judge:
        written, ended = [x["text"] for x in texts], [x["finish"] == "stop" for x in texts]
        scores = score_texts(judge, [asked] * n, written, ended).tolist()
        texts = [texts[scores.index(max(scores))] | {"score": max(scores)}]
        _show(prompt, "", (), texts, say)
    if json:
        around = {"prompt": prompt, "suffix": suffix, "seed": values["seed"], "samples": texts}
        print(dumps({name: x for name, x in around.items() if x is not None}, ensure_ascii=False))
    return 0


def _keep(text, bold=False):
    """Show nothing of a text."""


def _searched(opened, prompt, beams, options):
    """Return the n best texts that beam search finds."""
    model, tokenizer, stop = opened.model, opened.tokenizer, options["stop"]
    if options["sampling"] != Sampling():
        raise UserError("--beams draws nothing: leave out --temperature and what else is about drawing")
    found = beam_search(model, [prompt], max_tokens=options["max_tokens"], beams=beams, stop=stop,
                        tokenizer=tokenizer, length_penalty=model.generation.get("length_penalty", 1.0))[0]
    ends, texts = [*stop, *model.end_ids], []
    before = [] if model.is_encoder_decoder else read_prompt(model.config, 0, prompt, tokenizer)
    for ids, score in found[: options["n"]]:
        stopped = ids[-1] in ends or tokenizer.decode(ids[-1:]) in ends
        text = TextStream(tokenizer, before=before)  # decoded alone, the first token may lose its space
        shown = "".join(map(text.push, ids[:-1] if stopped else ids)) + text.finish()
        texts.append({"text": shown, "tokens": ids, "score": score,
                      "finish": "stop" if stopped else "length"})
    return texts


def _show(prompt, suffix, steps, texts, say):
    """Show the first text while it is written, then the others; add each step to the text of its row."""
    for row, shown in enumerate(texts):
        if len(texts) > 1:
            say(("\n" if row else "") + f"--- {row + 1} of {len(texts)}\n")
        say(prompt, bold=True)
        say(shown["text"])
        for step in steps:  # the steps of all rows; none are left after the first text
            sample = texts[step.index]
            sample["text"] += step.text
            sample["tokens"].append(step.token)
            sample["finish"] = step.finish
            if step.index == 0:
                say(step.text)
        say(suffix, bold=True)
    say("\n")


def _read_whole(opened, prompt, as_json):
    """Show an encoder's result on a text: the text with its masks filled in, or its classes."""
    model, tokenizer = opened.model, opened.tokenizer
    if model.lm_head is None:
        title, rows = prompt, [fill.classes(model, tokenizer, typed(prompt))]
    else:
        title, rows = fill.fill(model, tokenizer, typed(prompt))
    if as_json:
        print(dumps({"prompt": prompt, "text": title, "guesses": rows}, ensure_ascii=False))
        return 0
    print(printable(title))
    for guesses in rows:
        print("  " + "  ".join(f"{printable(text.strip() or repr(text))} {p:.2f}" for text, p in guesses))
    return 0


class Conversation:
    """A text that a person and a model write in turns.

    With a chat template, each text of the person is a turn, and the model ends its own turns. Without a
    template, the run's separator is added to the person's text, as in its training. In every turn the
    model reads the conversation again (or its last part, if the context is too short for all), so an
    interrupted turn leaves no half-filled cache. For an encoder-decoder, each text is a new question.
    """

    def __init__(self, opened: Opened, seed: int = 0, stop: Sequence[str | int] = (), **options: Any) -> None:
        self.model, self.tokenizer, self.chat = opened.model, opened.tokenizer, opened.chat
        self.separator = opened.frame.separator
        self.is_one_text = not (self.separator or self.chat or self.model.is_encoder_decoder)
        stop = [*stop, *([self.chat.stop_id(self.tokenizer)] if self.chat else [])]
        self.options = {"tokenizer": self.tokenizer, "stop": stop} | options
        self.seed = seed  # of the next turn
        self.ids: list[int] = []

    def reply(self, text: str, max_tokens: int) -> Iterator[str]:
        """Append `text` to the conversation, and yield the model's answer piece by piece."""
        context = self.model.config.context
        if self.model.is_encoder_decoder:
            self.ids = []
        self.ids += [*self._read(text), *self.model.end_ids]
        window = self.ids if len(self.ids) <= context else self.ids[-max(1, context // 2) :]
        steps = stream(self.model, [window], max_tokens=max_tokens, seed=self.seed, **self.options)
        self.seed += 1  # each turn draws other random numbers
        for step in steps:
            self.ids.append(step.token)
            yield step.text

    def spaced(self, text: str) -> str:
        """Put a space before a person's text if the text would otherwise touch the last word."""
        end = self.tokenizer.decode(self.ids[-4:])[-1:] if self.is_one_text else ""
        begins = text[:1].isalnum() and (end.isalnum() or end in [*".,;:!?"])
        if begins and width(end + text[0]) == 2:  # no space for East Asian letters, of width 2 each
            with suppress(UserError):  # the characters of this tokenizer may include no space
                self.tokenizer.encode(" ")
                return f" {text}"
        return text

    def _read(self, text: str) -> list[int]:
        """Encode what a person says; an empty text lets the model finish a turn that was cut off."""
        if not self.chat:
            return self.tokenizer.encode(typed(text + self.separator if text else ""))
        cut_off = self.ids and self.ids[-1] != self.chat.stop_id(self.tokenizer)
        said = typed(text).decode("utf-8", "replace")
        return [] if cut_off and not text else self.chat.user_turn(self.tokenizer, said, self.ids)


@command("chat", extend=add_sampling)
def chat(run: str | None = None, *, tokens: int = 100, which: Which = "best", **values: Any) -> int:
    """Write a text in turns with a model.

    You type the beginning, the model continues it, then you do. A model that was trained on stories tells
    stories: it is not an assistant and answers no questions. If the model has a chat template, each of your
    lines is a turn of the user.

    Your line is added to the text, after a space if that is needed. An empty line lets the model continue.
    Ctrl-C stops the model, or leaves if nothing is being written. /reset begins a new text, /quit or Ctrl-D
    leaves. Without a terminal, each line of standard input is answered.

    RUN             a run, a model's folder, or `shipped`; if left out, the newest run
                    in runs/, or the model that comes with tinyllm if there is none
    --tokens N      how many tokens the model writes in a turn at most
    --which         which checkpoint

    example:
      tinyllm chat
      tinyllm chat runs/stories --temperature 0.8 --stop '\\n'
      echo "Once upon a time" | tinyllm chat
    """
    opened, options = open_to_write(run, which, values)
    conversation = Conversation(opened, **options)
    stream(opened.model, [[0]], max_tokens=tokens, tokenizer=opened.tokenizer, **options)  # checks options
    print(WELCOME)
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # as in arguments, so that a bad line raises no error
    try:
        while True:
            line = input("> ")
            if not sys.stdin.isatty():
                print(printable(line))  # as a terminal shows what is typed
            if line.strip() == "/quit":
                return 0
            _answer(conversation, line, tokens)
    except (EOFError, KeyboardInterrupt) as error:  # Ctrl-D, Ctrl-C
        print()
        return 0 if isinstance(error, EOFError) else INTERRUPTED


def _answer(conversation, line, tokens):
    """Do what a line asks for; a line that the model cannot read gives a message, and the chat goes on."""
    word = line.strip()
    if word == "/reset":
        conversation.ids.clear()
    elif re.fullmatch(r"/\w+", word):
        print(f"tinyllm: there is no command {word}: type /reset or /quit", file=sys.stderr)
    elif line or conversation.ids:
        try:
            with suppress(KeyboardInterrupt):
                for text in conversation.reply(conversation.spaced(line), tokens):
                    write(text)
            write("\n")
        except UserError as error:
            print(f"tinyllm: {error}", file=sys.stderr)
