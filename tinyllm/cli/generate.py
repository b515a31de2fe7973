"""`tinyllm generate` and `tinyllm chat`: let a trained model write."""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from json import dumps
from typing import Any, Literal

from tinyllm.cli.command import command
from tinyllm.cli.text import printable, typed
from tinyllm.errors import UserError
from tinyllm.generate import stream
from tinyllm.sampling import Sampling
from tinyllm.train import load_run
from tinyllm.train.recipe import find_recipe

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands share."""
    add = parser.add_argument
    add("--temperature", metavar="X", type=float, default=1.0, help="0 takes the likeliest token (default 1)")
    add("--top-k", metavar="K", type=int, help="draw from the K likeliest tokens")
    add("--top-p", metavar="P", type=float, help="draw from the likeliest tokens that together reach P")
    add("--min-p", metavar="P", type=float, help="draw from tokens at least P times as likely as the first")
    add("--repetition-penalty", metavar="X", type=float, default=1.0, help="above 1 makes used tokens rarer")
    add("--seed", metavar="S", type=int, default=0, help="the same seed writes the same text (default 0)")
    add("--stop", metavar="STR", action="append", default=[], help="stop before STR (\\n: newline)")


def _options(values: dict[str, Any]) -> dict[str, Any]:
    """Turn the shared options into arguments of `stream`."""
    sampling = Sampling(**{f.name: values[f.name] for f in dataclasses.fields(Sampling)})
    stop = [s.replace("\\n", "\n") for s in values["stop"]]
    return {"sampling": sampling, "seed": values["seed"], "stop": stop}


def _opened(run, which, stop):
    """Return a run's model, its tokenizer, what follows a prompt, and where an answer ends besides at `stop`.

    A run that has learnt answers has a separator between prompt and answer.
    """
    model, tokenizer, config = load_run(run, which=which)
    separator, end = find_recipe(config.recipe).frame(config.options)
    return model, tokenizer, separator, [*stop, *([end] if separator and end else [])]


@command("generate", extend=_add_sampling)
def generate(run: str, *, prompt: str = "", samples: int = 1, tokens: int = 200, json: bool = False,
             which: Literal["best", "last"] = "best", **values: Any) -> int:  # fmt: skip
    """Continue a text with a trained model.

    The text is shown as it is written; of several, the first. Ctrl-C stops.
    A run of sft gets its separator after the prompt, and stops where an answer ends.

    RUN            the folder of a training run
    --prompt TEXT  the beginning; without it the model makes one up
    --samples N    how many continuations
    --tokens N     how many tokens at most
    --json         print one JSON object at the end, with token ids
    --which        which checkpoint

    example:
      tinyllm generate runs/stories-laptop --prompt "Once" --tokens 200 --top-k 50
    """
    if samples < 1:
        raise UserError(f"--samples must be at least 1, got {samples}")
    model, tokenizer, separator, values["stop"] = _opened(run, which, values["stop"])
    prompt += separator if prompt else ""
    options = {"n": samples, "tokenizer": tokenizer} | _options(values)
    steps = stream(model, [typed(prompt)], max_tokens=tokens, **options)
    texts: list[dict] = [{"text": "", "tokens": [], "finish": "length"} for _ in range(samples)]
    heads = [f"--- {row + 1} of {samples}\n{prompt}" if samples > 1 else prompt for row in range(samples)]
    show = (lambda text: None) if json else _write
    show(heads[0])
    try:
        for step in steps:
            sample = texts[step.row]
            sample["text"] += step.text
            sample["tokens"].append(step.token)
            sample["finish"] = step.finish
            if step.row == 0:
                show(step.text)
    except KeyboardInterrupt:
        print(flush=True)
        return INTERRUPTED
    for head, sample in zip(heads[1:], texts[1:], strict=True):
        show(f"\n{head}{sample['text']}")
    show("\n")
    if json:
        print(dumps({"prompt": prompt, "seed": values["seed"], "samples": texts}, ensure_ascii=False))
    return 0


class Conversation:
    """A text that a person and a model write in turns.

    With a chat template, each text of the person is a turn, and the model ends its own turns. Without a
    template, `separator` (of a run that has learnt answers) is added to the person's text. In every turn the
    model reads the conversation again, or its last part if it is longer than the context, so an interrupted
    turn leaves no half-filled cache.
    """

    def __init__(self, model: Any, tokenizer: Any, separator: str = "", seed: int = 0,
                 stop: Sequence[str] = (), **options: Any) -> None:  # fmt: skip
        self.separator = separator
        self.model, self.tokenizer, self.options = model, tokenizer, options
        self.stop = [*stop, *([tokenizer.chat.stop_id(tokenizer)] if tokenizer.chat else [])]
        self.seed = seed  # of the next turn
        self.ids: list[int] = []

    def reply(self, text: str, max_tokens: int) -> Iterator[str]:
        """Append `text`, and yield what the model writes after it, piece by piece."""
        context = self.model.config.context
        self.ids += self._read(text)
        window = self.ids if len(self.ids) <= context else self.ids[-max(1, context // 2) :]
        given = {"tokenizer": self.tokenizer, "stop": self.stop} | self.options
        steps = stream(self.model, [window], max_tokens=max_tokens, seed=self.seed, **given)
        self.seed += 1  # each turn draws other random numbers
        for step in steps:
            self.ids.append(step.token)
            yield step.text

    def _read(self, text: str) -> list[int]:
        """Encode what a person says; an empty text lets the model finish a turn that was cut off."""
        chat = self.tokenizer.chat
        if not chat:
            return self.tokenizer.encode(typed(text + self.separator if text else ""))
        cut_off = self.ids and self.ids[-1] != chat.stop_id(self.tokenizer)
        said = typed(text).decode("utf-8", "replace")
        return [] if cut_off and not text else chat.user_turn(self.tokenizer, said, self.ids)


@command("chat", extend=_add_sampling)
def chat(run: str, *, tokens: int = 100, which: Literal["best", "last"] = "best", **values: Any) -> int:
    """Write a text in turns with a model.

    You type the beginning, the model goes on, you go on. A model that was trained on stories tells stories:
    it is no assistant and answers no questions. Where the run's tokenizer has a chat template, your lines
    are the user's turns in it.

    Your line is put behind the text as it is. An empty line lets the model go on. Ctrl-C stops the model,
    /reset begins a new text, /quit or Ctrl-D leaves.

    RUN         the folder of a training run
    --tokens N  how many tokens the model writes in a turn at most
    --which     which checkpoint

    example:
      tinyllm chat runs/stories --temperature 0.8 --stop '\\n'
    """
    model, tokenizer, separator, values["stop"] = _opened(run, which, values["stop"])
    options = _options(values)
    stream(model, [[0]], max_tokens=tokens, tokenizer=tokenizer, **options)  # complain now, not later
    conversation = Conversation(model, tokenizer, separator, **options)
    print("You begin, the model goes on. Empty line: go on. /reset: new text. /quit: leave.")
    while True:
        try:
            line = input("> ")
        except (EOFError, KeyboardInterrupt) as end:
            print()
            return INTERRUPTED if isinstance(end, KeyboardInterrupt) else 0
        if line.strip() == "/quit":
            return 0
        if line.strip() == "/reset":
            conversation.ids.clear()
        elif line or conversation.ids:
            _turn(conversation, line, tokens)


def _turn(conversation, line, tokens):
    """Let the model reply once; a line that it cannot read gives a message and does not end the chat."""
    try:
        for text in conversation.reply(line, tokens):
            _write(text)
        _write("\n")
    except KeyboardInterrupt:
        _write("\n")
    except UserError as error:
        print(f"tinyllm: {error}", file=sys.stderr)


def _write(text):
    sys.stdout.write(printable(text))  # a model may write control codes
    sys.stdout.flush()
