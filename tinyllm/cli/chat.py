"""Implement `tinyllm chat`, in which a person and a model write a text in turns."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from tinyllm.cli.command import command
from tinyllm.cli.generate import INTERRUPTED
from tinyllm.cli.opening import Which, add_sampling, open_to_write
from tinyllm.cli.text import typed, write
from tinyllm.decode.generate import stream
from tinyllm.errors import UserError
from tinyllm.report.terminal import printable, width
from tinyllm.runs import Opened

WELCOME = """\
Type the beginning of a text; the model continues it, then you do.
An empty line lets it go on, /reset begins a new text, /quit leaves."""


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
