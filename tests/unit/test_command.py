"""Check `@command`, which makes a parser of a signature and a docstring that must agree."""

from typing import Literal

import pytest

from tinyllm.cli import Parser, command
from tinyllm.errors import UserError


@pytest.fixture(autouse=True)
def no_commands(monkeypatch):
    monkeypatch.setattr(command, "COMMANDS", {})


def make(name="go", **kwargs):
    @command.command(name, **kwargs)
    def go(run: str, more: list[str] | None = None, *, bits: Literal[8, 4] = 8, rate: float | None = None,
           tag: list[str] | None = None, over: list[str] = (), force_: bool = False, **rest):
        """Do it: `force_` is --force.

        At length.

        RUN            the run
        MORE           others
        --bits         how many
        --rate X       how fast,
                       in all
        --tag T        a tag
        --over T ...   tags
        --force        do it

        example:
          tinyllm go
        """
        return run, more, bits, rate, tag, over, force_, rest


def run(line):
    parser = Parser(prog="tinyllm")
    command.add_commands(line.split()[0], "do things", parser.add_subparsers().add_parser)
    args = parser.parse_args(line.split())
    return args._call(args)


def test_arguments_reach_the_function():
    make()
    assert run("go a") == ("a", [], 8, None, None, (), False, {})
    line = "go a b c --bits 4 --rate 1.5 --tag x --tag y --over p q --force"
    assert run(line) == ("a", ["b", "c"], 4, 1.5, ["x", "y"], ["p", "q"], True, {})
    make("set up", extend=lambda parser: parser.add_argument("--set", action="append"))
    assert run("set up a --set x=1")[-1] == {"set": ["x=1"]}


def test_an_option_may_stand_between_arguments():
    @command.command("go")
    def go(run: str, file: str | None = None, *, json: bool = False):
        """Do it.

        RUN     the run
        FILE    another
        --json  do it
        """
        return run, file, json

    assert run("go a --json b") == ("a", "b", True)


@pytest.mark.parametrize("line, why", [
    ("go", "required: RUN"), ("go a --bits 3", "invalid choice: 3"), ("go a --rate x", "invalid float"),
    ("go a --nope b", "unrecognized arguments: --nope b"),
])
def test_a_wrong_argument_is_named(line, why):
    make()
    with pytest.raises(UserError, match=why):
        run(line)


def test_help_shows_docstring_defaults_and_example(capsys):
    make()
    with pytest.raises(SystemExit):
        run("go --help")
    text = capsys.readouterr().out
    for part in ("\n\nAt length.", "how many (default 8)", "--rate X", "fast, in all", "\nexample:\n"):
        assert part in text
    assert "(default None)" not in text and "(default False)" not in text


@pytest.mark.parametrize("text", [
    "Do it.\n\n--other  no parameter", "Do it.\n\n--n N  how many\n--m  more", "Do it.",
])
def test_signature_and_docstring_must_agree(text):
    def go(*, n: int = 1):
        pass

    go.__doc__ = text
    command.command("go")(go)
    with pytest.raises(TypeError, match="disagree"):
        run("go")
