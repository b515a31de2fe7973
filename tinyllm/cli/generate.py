"""Implement `tinyllm generate` and `tinyllm chat`, which let a trained model write."""

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from json import dumps
from typing import Any, Literal

from tinyllm.cli.command import command
from tinyllm.cli.newest import chosen
from tinyllm.cli.text import Writer, note, note_ignored, typed
from tinyllm.data import read_picture
from tinyllm.decode import fill
from tinyllm.decode.beams import beam_search
from tinyllm.decode.engine import stream
from tinyllm.decode.middle import middle_prompt
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.models.generation import BEAMS, ignored, sampling_settings, stop_ids
from tinyllm.models.registry import locate
from tinyllm.nn import EncoderDecoderLM
from tinyllm.report.terminal import printable, width
from tinyllm.runs import load_run
from tinyllm.runs.recipe import find_recipe
from tinyllm.tokenizer.chat_file import read_chat_template
from tinyllm.tokenizer.middle import markers_of
from tinyllm.tokenizer.text import TextStream, read_prompt

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended
WELCOME = "Type the beginning of a text; the model continues it, then you do. See /help."
HELP = """\
The model continues your text. It is no assistant: it writes texts like those
that it was trained on.
  any text   is added to the end of the text, with a space between two words
  (nothing)  the model continues
  /reset     begin a new text
  /quit      leave, as Ctrl-D does
Ctrl-C stops the model; where nothing is written, a second one leaves.
`tinyllm chat --help` lists the options."""


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands share."""
    add = parser.add_argument
    add("--temperature", metavar="X", type=float, help="0: the likeliest token (default: the model's, or 1)")
    add("--top-k", metavar="K", type=int, help="draw from the K likeliest tokens")
    add("--top-p", metavar="P", type=float, help="draw from the likeliest tokens that together reach P")
    add("--min-p", metavar="P", type=float, help="draw from tokens at least P times as likely as the first")
    add("--repetition-penalty", metavar="X", type=float, help="above 1 makes used tokens rarer")
    add("--seed", metavar="S", type=int, default=0, help="the same seed writes the same text (default 0)")
    add("--bits", type=int, choices=(8, 4), help="round the weights as they are read: less memory")
    add("--stop", metavar="STR", action="append", default=[], help="stop before STR (\\n: newline)")


def _options(values: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Turn the shared options into arguments of `stream`; `settings` of the model's folder fill gaps."""
    given = {f.name: values[f.name] for f in dataclasses.fields(Sampling) if values[f.name] is not None}
    sampling = Sampling(**(settings | given))
    stop = [s.replace("\\n", "\n") if isinstance(s, str) else s for s in values["stop"]]
    return {"sampling": sampling, "seed": values["seed"], "stop": stop}


def _opened(run, which, values, draws=True):
    """Return a run's model, its tokenizer, what follows a prompt, and the arguments of `stream`.

    The model's generation_config.json may give settings of sampling. A run that has learnt answers has a
    separator between prompt and answer, and an end; other folders may list tokens that end a text.
    """
    model, tokenizer, config = load_run(run, which=which, bits=values["bits"])
    settings = sampling_settings(model.generation) if draws else {}
    if config:
        separator, end = find_recipe(config.recipe).frame(config.options)
        values["stop"] = [*values["stop"], *([end] if separator and end else [])]
        return model, tokenizer, separator, _options(values, settings)
    for setting in ignored(model.generation, not draws):
        note(f"{setting} in generation_config.json is not applied")
    note_ignored(tokenizer)
    ends, size = stop_ids(model.generation), model.config.vocab_size
    for end in ends:
        if end >= size:
            note(f"no text ends with eos_token_id = {end}: the model has {size} tokens")
    if size - tokenizer.vocab_size > size // 8:  # a small difference is padding, which is never learnt
        note(f"the model has {size} tokens, its tokenizer {tokenizer.vocab_size}: is it another model's?")
    values["stop"] = [*values["stop"], *ends]
    return model, tokenizer, "", _options(values, settings)


@command("generate", extend=_add_sampling)
def generate(run: str | None = None, *, prompt: str = "", suffix: str | None = None, samples: int = 1,
             tokens: int = 200, beams: int = 0, length_penalty: float | None = None, picture: str = "",
             unmask: int = 0, json: bool = False, which: Literal["best", "last"] = "best",
             **values: Any) -> int:  # fmt: skip
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
    --length-penalty X  for --beams: above 0 prefers long texts (default: the model's, or 1)
    --picture FILE  show the model a picture: a PPM file, or one of world:caption
    --unmask K      an encoder writes K tokens in each step, the surest first
    --json          print one JSON object at the end, with token ids
    --which         which checkpoint

    example:
      tinyllm generate runs/stories-laptop --prompt "Once" --tokens 200 --top-k 50
    """
    if samples < 1:
        raise UserError(f"--samples must be at least 1, got {samples}")
    model, tokenizer, separator, drawn = _opened(chosen(run, shipped=True), which, values, not beams)
    if model.objective == "masked" and not picture:
        if suffix is not None or beams or (samples > 1 and not unmask):
            raise UserError("an encoder has no --suffix and --beams, and --samples only with --unmask")
        show = _unmask if unmask else _read_whole
        return show(model, tokenizer, prompt, json, tokens, samples, per_step=unmask, **drawn)
    if unmask:
        raise UserError("--unmask is for encoders such as bert: leave it out")
    prompt += separator if prompt else ""
    options = {"n": samples, "tokenizer": tokenizer} | drawn
    given = _given(model, tokenizer, prompt, suffix, picture, tokens, beams, options)
    texts: list[dict] = [{"text": "", "tokens": [], "finish": "length"} for _ in range(samples)]
    if beams or length_penalty is not None:
        texts = _searched(model, given, tokens, beams, length_penalty, **options)
    steps = iter(()) if beams else stream(model, [given], max_tokens=tokens, **options)
    write = (lambda text, bold=False: None) if json else Writer()
    try:
        _show(prompt, suffix or "", steps, texts, write)
    except KeyboardInterrupt:
        write("\n")
        return INTERRUPTED
    return _report(json, prompt, suffix, values["seed"], texts)


def _report(as_json, prompt, suffix, seed, texts):
    """Print the texts as JSON if `as_json` -> exit code."""
    if as_json:
        around = {"prompt": prompt} | ({"suffix": suffix} if suffix is not None else {})
        print(dumps({**around, "seed": seed, "samples": texts}, ensure_ascii=False))
    return 0


def _given(model, tokenizer, prompt, suffix, picture, tokens, beams, options):
    """Return a prompt for `stream`, with a picture before it or a gap behind it; change `options`."""
    if picture and (beams or suffix is not None):
        raise UserError(f"--{'beams' if beams else 'suffix'} reads no pictures: leave it out")
    if suffix is not None:
        options["stop"] = [*options["stop"], markers_of(tokenizer)[-1]]
        return middle_prompt(model, tokenizer, typed(prompt), typed(suffix), tokens)
    if not picture:
        return typed(prompt)
    options |= seen(model, read_picture(picture), options["n"])
    return model.picture_marks + tokenizer.encode(typed(prompt))


def seen(model: Any, picture: Any, rows: int = 1) -> dict[str, Any]:
    """Return arguments for `stream` that put a picture before `rows` prompts and keep it in context."""
    return {"cache": model.cache_of(picture, rows), "overflow": "stop"}


def _searched(model, prompt, tokens, beams, length_penalty, *, n, tokenizer, sampling, stop, seed):
    """Return the n best texts that beam search finds."""
    if not beams:
        raise UserError("--length-penalty is for --beams: leave it out, or add --beams 4")
    if sampling != Sampling():
        raise UserError("--beams draws nothing: leave out --temperature and what else is about drawing")
    rules = {name: model.generation[name] for name in BEAMS if name in model.generation}
    rules |= {} if length_penalty is None else {"length_penalty": length_penalty}
    found = beam_search(model, [prompt], max_tokens=tokens, beams=beams, stop=stop, tokenizer=tokenizer,
                        **rules)[0]  # fmt: skip
    ends, texts = [*stop, *([model.config.end] if model.is_encoder_decoder else [])], []
    before = [] if model.is_encoder_decoder else read_prompt(model.config, 0, prompt, tokenizer)
    for ids, score in found[:n]:
        stopped = ids[-1] in ends or tokenizer.decode(ids[-1:]) in ends
        text = TextStream(tokenizer, before=before)  # decoded alone, the first token may lose its space
        shown = "".join(map(text.push, ids[:-1] if stopped else ids)) + text.finish()
        finish = "stop" if stopped else "length"
        texts.append({"text": shown, "tokens": ids, "score": score, "finish": finish})
    return texts


def _show(prompt, suffix, steps, texts, write):
    """Add each step to the text of its row, and show all texts; the first as it is written."""
    heads = [f"--- {row + 1} of {len(texts)}\n" if len(texts) > 1 else "" for row in range(len(texts))]
    write(heads[0])
    write(prompt, bold=True)
    write(texts[0]["text"])
    for step in steps:
        sample = texts[step.row]
        sample["text"] += step.text
        sample["tokens"].append(step.token)
        sample["finish"] = step.finish
        if step.row == 0:
            write(step.text)
    write(suffix, bold=True)
    for head, sample in zip(heads[1:], texts[1:], strict=True):
        write(f"\n{head}")
        write(prompt, bold=True)
        write(sample["text"])
        write(suffix, bold=True)
    write("\n")


def _unmask(model, tokenizer, prompt, as_json, tokens, samples, *, sampling, seed, stop, per_step):
    """Show texts that an encoder writes from masks."""
    if any(isinstance(s, str) for s in stop) or sampling != Sampling(sampling.temperature):
        raise UserError("--unmask takes --temperature and --seed: leave out the other settings")
    options = {"per_step": per_step, "sampling": sampling, "seed": seed}
    found = fill.write(model, tokenizer, typed(prompt), tokens, samples, **options)
    if as_json:
        samples = [{"text": text, "tokens": ids} for text, ids in found]
        print(dumps({"prompt": prompt, "samples": samples}, ensure_ascii=False))
        return 0
    for row, (text, _) in enumerate(found):
        head = f"--- {row + 1} of {len(found)}\n" if len(found) > 1 else ""
        print(head + printable(text))
    return 0


def _read_whole(model, tokenizer, prompt, as_json, *_, **unused):
    """Show an encoder's result on a text: the text with its masks filled in, or its classes."""
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
    template, `separator` is added to the person's text, as in the run's training data. In every turn the
    model reads the conversation again (or its last part, if the context is too short for all), so an
    interrupted turn leaves no half-filled cache. With a `picture`, each text is a new question about the
    picture.
    """

    def __init__(self, model: Any, tokenizer: Any, separator: str = "", seed: int = 0,
                 stop: Sequence[str] = (), picture: Any = None, **options: Any) -> None:  # fmt: skip
        self.picture = picture
        self.separator = separator
        self.model, self.tokenizer, self.options = model, tokenizer, options
        one_by_one = isinstance(model, EncoderDecoderLM) or picture is not None
        self.is_one_text = not (separator or tokenizer.chat or one_by_one)
        self.stop = [*stop, *([tokenizer.chat.stop_id(tokenizer)] if tokenizer.chat else [])]
        self.seed = seed  # of the next turn
        self.ids: list[int] = []

    def reply(self, text: str, max_tokens: int) -> Iterator[str]:
        """Append `text` to the conversation, and yield the model's answer piece by piece."""
        context, given = self.model.config.context, {"tokenizer": self.tokenizer, "stop": self.stop}
        if text and self.picture is not None:
            self.ids = [*self.model.picture_marks]
        self.ids += self._read(text)
        if isinstance(self.model, EncoderDecoderLM):  # it answers one text at a time
            end = self.model.config.end
            self.ids = self._read(text) + ([] if end is None else [end])
        window = self.ids if len(self.ids) <= context else self.ids[-max(1, context // 2) :]
        if self.picture is not None:
            window, given = self.ids, given | seen(self.model, self.picture)
        steps = stream(self.model, [window], max_tokens=max_tokens, seed=self.seed, **given, **self.options)
        self.seed += 1  # each turn draws other random numbers
        for step in steps:
            self.ids.append(step.token)
            yield step.text

    def spaced(self, text: str) -> str:
        """Put a space before a person's text if the text would otherwise touch the last word."""
        end = self.tokenizer.decode(self.ids[-4:])[-1:] if self.is_one_text else ""
        begins = text[:1].isalnum() and (end.isalnum() or end in [*".,;:!?"])
        if begins and width(end + text[0]) == 2:  # letters of East Asia have a width of 2 each
            with suppress(UserError):  # the characters of this tokenizer may include no space
                self.tokenizer.encode(" ")
                return f" {text}"
        return text

    def _read(self, text: str) -> list[int]:
        """Encode what a person says; an empty text lets the model finish a turn that was cut off."""
        chat = self.tokenizer.chat
        if not chat:
            return self.tokenizer.encode(typed(text + self.separator if text else ""))
        cut_off = self.ids and self.ids[-1] != chat.stop_id(self.tokenizer)
        said = typed(text).decode("utf-8", "replace")
        return [] if cut_off and not text else chat.user_turn(self.tokenizer, said, self.ids)


@command("chat", extend=_add_sampling)
def chat(run: str | None = None, *, tokens: int = 100, picture: str = "",
         which: Literal["best", "last"] = "best", **values: Any) -> int:  # fmt: skip
    """Write a text in turns with a model.

    You type the beginning, the model continues it, then you do. A model that was trained on stories tells
    stories: it is not an assistant and answers no questions. If the model has a chat template, each of your
    lines is a turn of the user.

    Your line is added to the text, after a space if that is needed. An empty line lets the model continue.
    Ctrl-C stops the model (or leaves, if the model is silent and you press it twice), /reset begins a new
    text, /quit or Ctrl-D leaves, /help explains. Without a terminal, each line of standard input is answered.

    RUN             a run, a model's folder, or `shipped`; if left out, the newest run
                    in runs/, or the model that comes with tinyllm if there is none
    --tokens N      how many tokens the model writes in a turn at most
    --picture FILE  talk about a picture: a PPM file, or one of world:caption
    --which         which checkpoint

    example:
      tinyllm chat
      tinyllm chat runs/stories --temperature 0.8 --stop '\\n'
      echo "Once upon a time" | tinyllm chat
    """
    run = chosen(run, shipped=True)
    model, tokenizer, separator, options = _opened(run, which, values)
    tokenizer.chat = tokenizer.chat or read_chat_template(locate(run), tokenizer.special_tokens)
    stream(model, [[0]], max_tokens=tokens, tokenizer=tokenizer, **options)  # raises now, not later
    shown = read_picture(picture) if picture else None
    if picture:
        model.cache_of(shown)  # raises now, not later
    conversation = Conversation(model, tokenizer, separator, picture=shown, **options)
    print(WELCOME)
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # as in arguments, so that a bad line raises no error
    try:
        for line in _lines():
            if not sys.stdin.isatty():
                print(printable(line))  # as a terminal shows what is typed
            if line.strip() == "/quit":
                return 0
            _take(conversation, line, tokens)
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    return 0


def _lines():
    """Yield the lines that somebody types, until Ctrl-D; raise the second Ctrl-C in a row."""
    again = False  # the first was perhaps meant to stop the model
    while True:
        try:
            line = input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            if again:
                raise
            print("\n(Ctrl-C again, /quit or Ctrl-D leaves)")
            again = True
        else:
            again = False
            yield line


def _take(conversation, line, tokens):
    """Do what a line asks for: a command, or a text for the model to continue."""
    word = line.strip()
    if word == "/reset":
        conversation.ids.clear()
    elif word == "/help":
        print(HELP)
    elif re.fullmatch(r"/\w+", word):
        print(f"tinyllm: there is no command {word}; see /help", file=sys.stderr)
    elif line or conversation.ids:
        _turn(conversation, line, tokens)


def _turn(conversation, line, tokens):
    """Let the model reply once; a line that it cannot read gives a message and does not end the chat."""
    write = Writer()
    try:
        with suppress(KeyboardInterrupt):
            for text in conversation.reply(conversation.spaced(line), tokens):
                write(text)
        write("\n")
    except UserError as error:
        print(f"tinyllm: {error}", file=sys.stderr)
