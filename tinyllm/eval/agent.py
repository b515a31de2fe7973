"""Let a model call tools while it answers: run each call that it writes, and tell it the result.

    The market sells 27 baskets of 43 pears. How many pears are that? [calc 27 * 43] => 1161 answer: 1161

The model writes up to the `]`; the loop runs the tool and adds ` => 1161`, and the model goes on. Only the
new tokens are read. What a tool says is text: a call inside of it is not run.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Thread
from typing import Any

from tinyllm.errors import UserError
from tinyllm.eval.ask import Answer, answers
from tinyllm.eval.retrieval import Index, passages_of
from tinyllm.eval.task import Item, Task
from tinyllm.runs import Opened
from tinyllm.tokenizer.text import TextStream
from tinyllm.world import World
from tinyllm.world.interpreter import run
from tinyllm.world.tools import TOOLS

CALL = re.compile(r"\[([a-z]+) ([^\[\]\n]*)\]$")
CALLS, RESULT = 8, 200  # calls in an answer, characters of a result
SECONDS = 5.0  # until a tool must have a result
ROOM = 200  # tokens that an answer may need beside those of the right one, for calls
MARK = " => "  # stands before a result
Tools = Mapping[str, Callable[[str], Any]]


def tools_of(world: Any) -> Tools:
    """Return the tools that know a world: those of world/tools.py, code, and a search in its facts.

    `code` runs a program in the small Python of world/interpreter.py, as the suite `code` does. The result is
    the value of its last line.
    """
    known = {name: partial(tool, world) for name, tool in TOOLS.items()}
    return known | {"code": run, "search": Index(passages_of(world)).best}


def result(tools: Tools, name: str, given: str) -> str:
    """Run a tool -> one line of at most RESULT characters: its result, or what is wrong."""
    said: list[str] = []
    thread = Thread(target=lambda: said.append(_answered(tools, name, given)), daemon=True)
    thread.start()
    thread.join(SECONDS)  # a thread cannot be ended, but nobody has to wait for it
    (text,) = said or [f"error: no result after {SECONDS:g} s"]
    text = " ".join(text[: 4 * RESULT].split())
    return text if len(text) <= RESULT else f"{text[: RESULT - 3]}..."


def _answered(tools, name, given):
    try:
        if name not in tools:
            raise UserError(f"there is no tool called {name}; there are {', '.join(tools)}")
        return str(tools[name](given))
    except UserError as error:
        return f"error: {error}"
    except Exception as error:  # a tool of the caller's
        return f"error: {type(error).__name__}: {error}"


def with_tools(opened: Opened, task: Task, items: Iterable[Item], shots: int = 0, *, calls: int = CALLS,
               tools: Tools | None = None, **options: Any) -> list[Answer]:
    """Let a model answer the items of a task with tools -> the answers, with calls and results in them.

    tools: {name: function of the text after the name}; by default those of the task's world. At its
    `calls` + 1st call an answer is cut off. The other arguments, and errors, are those of `answers`.
    """
    tokenizer, room = opened.tokenizer, opened.model.config.context
    known = tools_of(getattr(task, "world", None) or World()) if tools is None else tools
    told: dict[int, list[list[int]]] = defaultdict(list)  # of each sequence: where its results stand

    def follow(sequence, text):
        """Look for a call that the newest token completes, and tell the sequence its result."""
        last, places = tokenizer.decode(sequence.ids[-1:]), told[sequence.index]
        begin = places[-1][1] if places else 0
        for end in [i for i, character in enumerate(last, 1) if character == "]"]:
            before, more = text.removesuffix(last[end:]), last[end:]
            if call := _completed(before[begin:]):
                break
        else:  # no call is completed
            return text
        if sequence.finish:
            return text
        said = _written(tokenizer, MARK + result(known, *call))
        new = tokenizer.encode(said)
        last = tokenizer.encode(last[:end]) if more else sequence.ids[-1:]
        if len(places) == calls or len(sequence.ids) + len(last) + len(new) > room:
            sequence.finish = "length"
            return before
        stream = TextStream(tokenizer, sequence.text.stop, [*sequence.ids[:-1], *last, *new])
        sequence.tell(new, last, stream)
        places.append([len(before), len(before + said)])
        return before + said

    found = answers(opened, task, items, shots, follow=follow, spare=ROOM, **options)
    return [replace(answer, told=told[i]) for i, answer in enumerate(found)]


def _completed(text):
    """Return the tool and the input of the call that ends a text, or None. A program may have brackets."""
    code = text[text.find("[code ") :]
    if code.startswith("[code "):
        return ("code", code[6:-1]) if code.count("[") == code.count("]") else None
    call = CALL.search(text, max(0, text.rfind("[")))
    return call and call.groups()


def _written(tokenizer, text):
    """Leave out the characters of a text for which the tokenizer has no token."""
    with suppress(UserError):
        return text if tokenizer.encode(text) else ""
    return "".join(_written(tokenizer, character) for character in text) if len(text) > 1 else ""
