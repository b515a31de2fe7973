"""Let a model call tools while it answers: run each call that it writes, and tell it the result.

    The market sells 27 baskets of 43 pears. How many pears are that? [calc 27 * 43] => 1161 answer: 1161

The model writes up to the `]`; the loop runs the tool and adds ` => 1161`, and the model goes on. Only the
new tokens are read. What a tool says is text: a call inside of it is not run.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from signal import SIGKILL
from subprocess import DEVNULL, PIPE, Popen
from threading import Timer
from typing import Any

from tinyllm.errors import UserError
from tinyllm.eval.ask import Answer, answers
from tinyllm.eval.retrieval import encyclopaedia
from tinyllm.eval.task import Item, Task
from tinyllm.runs import Opened
from tinyllm.tokenizer.text import TextStream
from tinyllm.world import World
from tinyllm.world.interpreter import evaluate
from tinyllm.world.tools import CALL, MAX_CALL, TOOLS

CALLS, RESULT = 8, 200  # calls in an answer, characters of a result
ROOM = 200  # tokens that an answer may need beside those of the right one, for calls
MARK = " => "  # stands before a result
Tools = Mapping[str, Callable[[str], Any]]


def tools_of(world: Any) -> Tools:
    """Return the tools that know a world: those of world/tools.py, code, and a search in its encyclopaedia.

    None can hang: `code` computes an expression of the small Python of world/interpreter.py, which counts
    steps and lengths, and the others read tables.
    """
    known = {name: partial(tool, world) for name, tool in TOOLS.items()}
    return known | {"code": evaluate, "search": lambda given: encyclopaedia(world).best(given)}


def program(command: list[str], seconds: float = 5.0) -> Callable[[str], str]:
    """Return a tool that runs a program, which reads the input and writes the result.

    It is ended after `seconds`, or when it has written more than a result may have.
    """
    def run(given):
        try:
            with Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True) as process:
                kill = partial(os.killpg, process.pid, SIGKILL)  # its own programs, too, which hold the pipe
                timer = Timer(seconds, kill)
                timer.start()
                with suppress(BrokenPipeError):  # it reads no input
                    process.stdin.write(given.encode())
                    process.stdin.close()
                found, late = process.stdout.read(4 * RESULT + 1), not timer.is_alive()
                timer.cancel()
                kill()
        except OSError as error:
            raise UserError(f"cannot run {command[0]}: {error.strerror or error}") from None
        if late:
            raise UserError(f"no result after {seconds:g} s")
        return found.decode(errors="replace")

    return run


def result(tools: Tools, name: str, given: str) -> str:
    """Run a tool -> its result, or what is wrong: one line of at most RESULT characters."""
    try:
        if name not in tools:
            raise UserError(f"there is no tool called {name}; there are {', '.join(tools)}")
        if len(given) > MAX_CALL:
            raise UserError(f"a call has at most {MAX_CALL} characters, this one has {len(given)}")
        said = str(tools[name](given))
    except UserError as error:
        said = f"error: {error}"
    except Exception as error:  # a tool of the caller's
        said = f"error: {type(error).__name__}: {error}"
    said = " ".join(said[: 4 * RESULT].split())
    return said if len(said) <= RESULT else f"{said[: RESULT - 3]}..."


def with_tools(opened: Opened, task: Task, items: Iterable[Item], shots: int = 0, *, calls: int = CALLS,
               tools: Tools | None = None, **options: Any) -> list[Answer]:
    """Let a model answer the items of a task with tools -> the answers, with calls and results in them.

    tools: {name: function of the text after the name}; by default those of the task's world. At its
    `calls` + 1st call an answer is cut off. The other arguments, and errors, are those of `answers`.
    """
    tokenizer, room = opened.tokenizer, opened.model.config.context
    known = tools_of(getattr(task, "world", None) or World()) if tools is None else tools
    made: Counter[int] = Counter()  # calls of each sequence

    def follow(sequence, text):
        """Look for a call that the newest token completes, and tell the sequence its result."""
        last = tokenizer.decode(sequence.ids[-1:])
        kept, _, more = last.partition("]")
        before = text.removesuffix(more)
        call = CALL.search(before, max(0, before.rfind("[")))
        if sequence.finish or "]" not in last or not before.endswith("]") or not call:
            return text
        made[sequence.index] += 1
        told = _written(tokenizer, MARK + result(known, *call.groups()))
        new = tokenizer.encode(told)
        last = tokenizer.encode(f"{kept}]") if more else sequence.ids[-1:]
        if made[sequence.index] > calls or len(sequence.ids) + len(last) + len(new) > room:
            sequence.finish = "length"
            return before
        stream = TextStream(tokenizer, sequence.text.stop, [*sequence.ids[:-1], *last, *new])
        sequence.tell(new, last, stream)
        return before + told

    return answers(opened, task, items, shots, follow=follow, spare=ROOM, **options)


def _written(tokenizer, text):
    """Leave out the characters of a text for which the tokenizer has no token."""
    with suppress(UserError):
        return text if tokenizer.encode(text) else ""
    return "".join(_written(tokenizer, character) for character in text) if len(text) > 1 else ""
