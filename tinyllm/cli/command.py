"""Turn a function into a command: its signature and docstring become a parser (see cli/world.py).

Parameters before the `*` are positional arguments, the others are options. The annotation gives the type:
`bool` is a switch, `Literal` a choice, `list[T]` takes several values. A parameter without a default is
required. Each has one line of help in the paragraph before `example`, `--name METAVAR help`; the text above
is the description, and what begins with `example` is shown at the end. Paragraphs are folded at 80 columns,
unless they contain an indented line.
"""

import argparse
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable
from typing import Any

LINE = re.compile(r"(--[a-z][\w-]*|[A-Z][A-Z_]*)( [A-Z][\w,/=.|:-]*(?: \.\.\.)?)? {2,}(\S.*)")
COMMANDS: dict[tuple[str, ...], tuple] = {}  # a command's words -> (function, extend); filled by `command`


def command(name: str, extend: Callable[[argparse.ArgumentParser], None] | None = None) -> Callable:
    """Return a decorator that registers a function as `tinyllm NAME`; in a group, NAME has two words.

    `extend(parser)` may add arguments that a signature cannot list; the function gets their values by name.
    """

    def register(function: Callable) -> Callable:
        COMMANDS[tuple(name.split())] = function, extend
        return function

    return register


def read_docstring(function: Callable) -> tuple[str, dict[str, tuple[str | None, str]], str]:
    """Cut a docstring into (description, {parameter: (metavar or None, help)}, examples).

    Raises TypeError when docstring and signature disagree.
    """
    text, _, examples = inspect.cleandoc(function.__doc__ or "").partition("\n\nexample")
    shown = {_shown(p) for p in _parameters(function)}
    text, _, about = text.rpartition("\n\n") if shown else (text, "", "")
    lines: dict[str, tuple[str | None, str]] = {}
    for row in re.sub(r"\n +", "  ", about).splitlines():  # an indented line continues the one above
        if match := LINE.fullmatch(row):
            name = match[1].removeprefix("--").replace("-", "_").lower()
            lines[name] = (match[2] or "").strip() or None, " ".join(match[3].split())
    if odd := lines.keys() ^ shown:
        raise TypeError(f"{function.__name__}: signature and docstring disagree about {sorted(odd)}")
    return text, lines, f"example{examples}"


def _folded(text: str) -> str:
    return "\n\n".join(paragraph if "\n " in paragraph else textwrap.fill(paragraph, 80)
                       for paragraph in text.split("\n\n"))


def _parameters(function: Callable) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]


def _shown(p: inspect.Parameter) -> str:
    """Return the name of a parameter for users: `set_` is --set, because `set` has a meaning in Python."""
    return p.name.removesuffix("_")


def add_commands(first: str, what: str, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Build the parsers of the registered commands whose first word is `first`.

    If they form a group, its help is `what`. `add` is the method `add_parser` of argparse's subparsers.
    """
    if (first,) in COMMANDS:
        _add(add, first, *COMMANDS[first,])
        return
    parser = add(first, help=what, description=what[0].upper() + what[1:] + ".",
                 epilog=f"`tinyllm {first} COMMAND --help` explains a command, with examples.")
    parser.set_defaults(_call=lambda args: parser.print_help(), _parser=parser)
    inner = parser.add_subparsers(title="commands", metavar="COMMAND")
    for words, found in COMMANDS.items():
        if words[0] == first:
            _add(inner.add_parser, words[1], *found)


def _add(add: Callable[..., argparse.ArgumentParser], name: str, function: Callable, extend: Callable | None
         ) -> None:
    """Add the parser of a command, which calls its function."""
    description, lines, examples = read_docstring(function)
    summary = description.split("\n")[0].rstrip(".")
    parser = add(name, help=summary[0].lower() + summary[1:], description=_folded(description),
                 epilog=_folded(examples))
    hints, parameters = typing.get_type_hints(function), _parameters(function)
    for p in parameters:
        _add_argument(parser, p, hints[p.name], *lines[_shown(p)])
    if extend:
        extend(parser)

    def call(args: argparse.Namespace) -> int | None:
        values = {name: value for name, value in vars(args).items() if name[0] != "_"}
        values |= {p.name: values.pop(_shown(p)) for p in parameters}
        return function(**values)

    parser.set_defaults(_call=call, _parser=parser)


def _add_argument(parser: argparse.ArgumentParser, p: inspect.Parameter, hint: Any, metavar: str | None,
                  text: str) -> None:
    many, choices, kind = _kind(hint)
    name, required = _shown(p), p.default is p.empty
    default = None if required else p.default
    if kind is not bool and default not in (None, "", ()) and "default" not in text:
        text += f" (default {default})"
    settings: dict[str, Any] = {"help": text.replace("%", "%%")}
    if kind is bool:
        settings["action"] = "store_true"
    else:
        settings |= {"type": kind, "choices": choices, "default": default}
    if p.kind is not p.KEYWORD_ONLY:
        settings["nargs"] = ("+" if required else "*") if many else (None if required else "?")
        parser.add_argument(name, metavar=metavar or name.upper(), **settings)
        return
    if kind is not bool:
        settings["metavar"] = metavar or (None if choices else name.upper())
    if many and metavar and metavar.endswith(" ..."):
        settings |= {"nargs": "+", "metavar": metavar.removesuffix(" ...")}
    elif many:
        settings["action"] = "append"
    parser.add_argument(f"--{name.replace('_', '-')}", required=required, **settings)


def _kind(hint: Any) -> tuple[bool, tuple | None, Callable]:
    """Read an annotation -> (takes several values, choices or None, type of one value)."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    many = typing.get_origin(hint) is list
    if many:
        (hint,) = typing.get_args(hint)
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None
    return many, choices, type(choices[0]) if choices else hint
