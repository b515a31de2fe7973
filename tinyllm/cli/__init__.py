"""Run the commands of the command line, `tinyllm COMMAND ...`.

A command is a function decorated with `@command` (see command.py). Only the module of the chosen command is
imported, so `tinyllm --help` is quick. No other package prints, except the functions of `course` for lessons.
"""

import argparse
import importlib
import os
import sys
from contextlib import nullcontext
from typing import Any, NoReturn

from tinyllm.cli.command import add_commands
from tinyllm.errors import UserError, did_you_mean, one_line
from tinyllm.version import __version__

COMMANDS = {  # name -> module, what it does
    "train": ("train", "train a model on a text, or go on with a run"),
    "generate": ("generate", "continue a text with a trained model"),
    "chat": ("chat", "write a text in turns with a trained model"),
    "eval": ("eval", "ask a trained model questions, and score its answers"),
    "arena": ("arena", "compare answers of models blindly, and rank the models"),
    "scaling": ("scaling", "find how the loss falls with size, and predict a larger run"),
    "merge": ("compress", "add a trained adapter to the weights of its model"),
    "compress": ("compress", "make a trained model smaller: fewer bits, pruned, or distilled"),
    "export": ("compress", "write a model as a GGUF file, for llama.cpp"),
    "report": ("compress", "write the report.html of a run again"),
    "inspect": ("inspect", "show what a model is made of and what it costs, or compare two"),
    "plan": ("plan", "predict time, memory and price of training on many devices"),
    "serve": ("serve", "answer HTTP requests as OpenAI's API does"),
    "trace": ("trace", "show what happens inside a model on a text, or where two differ"),
    "data": ("data", "list, show and measure texts"),
    "world": ("world", "ask the small world that texts are about"),
    "tokenizer": ("tokenizer", "train a tokenizer, look at its tokens, encode texts"),
    "lesson": ("lesson", "show the lessons, or start one"),
    "check": ("lesson", "try your exercise of a lesson, and name the mistakes in it"),
    "hint": ("lesson", "give the next hint for an exercise"),
    "solution": ("lesson", "show the library's own code of an exercise"),
    "course": ("course", "hand out lessons, and grade what comes back"),
    "blame": ("blame", "find out which of your functions breaks a run of `train --mine`"),
    "bench": ("bench", "measure how fast this machine trains and generates"),
    "doctor": ("doctor", "say what this machine and this installation can do"),
}

EXAMPLE = """example:
  tinyllm train                                  little stories, in some minutes
  tinyllm train --data book.txt --steps 500      the same on your own text
  tinyllm generate runs/stories-laptop --prompt "Once"
  tinyllm lesson                                 how it all works, step by step
"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError for bad arguments and keeps line breaks in the help text."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)  # an abbreviation that works today may be ambiguous tomorrow
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


def main(argv: list[str] | None = None) -> int:
    """Run a command, and return its exit code: 2 after a UserError, 130 after an interrupt."""
    if sys.stdout is None:  # the program that started this one closed it
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if hasattr(sys.stdout, "reconfigure"):  # replace letters that the terminal cannot show
        sys.stdout.reconfigure(errors="replace")
    words = sys.argv[1:] if argv is None else list(argv)
    several: Any = nullcontext()
    if os.environ.keys() & {"PMI_SIZE", "OMPI_COMM_WORLD_SIZE"}:  # started by mpiexec
        several = importlib.import_module("tinyllm.cli.ranks").one_voice(_tell, words)
    try:
        with several:
            try:
                return _run(words)
            finally:
                sys.stdout.flush()  # here, where a broken pipe is still caught; --help raises SystemExit
    except (Exception, KeyboardInterrupt) as error:
        return _tell(error)


def _tell(error: BaseException) -> int:
    """Print an error for users; return the exit code. Raises the error again if it is a bug."""
    if isinstance(error, KeyboardInterrupt):
        if error.args:  # the message says where the work was interrupted
            print(f"tinyllm: {error}", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, UserError | MemoryError | ModuleNotFoundError | OSError):
        print(f"tinyllm: error: {one_line(_advice(error))}", file=sys.stderr)
        return 2
    raise error


def _advice(error: Exception) -> object:
    """Return the message of an error for users. Raises the error again if it is a bug of the library."""
    if isinstance(error, MemoryError):
        said = error or "the system refused"
        return f"not enough memory ({said}): choose a smaller model, batch or context"
    if isinstance(error, ModuleNotFoundError):
        if error.name not in ("hypothesis", "starlette", "uvicorn"):
            raise error
        return f"this command needs {error.name}; install it: pip install {error.name}"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{error.filename} cannot be a folder, as a file is in the way: move it, or choose another"
    if isinstance(error, OSError):  # a full disk, a name too long, a folder without permission
        return f"{error.filename or 'cannot write the output'}: {error.strerror or error}"
    return error


def _run(argv: list[str]) -> int:
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    command = argv[0] if argv else None
    if command and command not in COMMANDS and not command.startswith("-"):
        hint = did_you_mean(command, COMMANDS) or "; `tinyllm --help` lists the commands"
        raise UserError(f"there is no command {command[:40]!r}{hint}")
    parser = build_parser(command)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        of = getattr(args, "_parser", parser)  # of the command
        near = did_you_mean(unknown[0].split("=")[0], of._option_string_actions)
        hint = near or f" (see `{of.prog} --help`)"
        raise UserError(f"unrecognized arguments: {' '.join(unknown)[:80]}{hint}")
    if "_call" not in args:
        parser.print_help()
        return 0
    from tinyllm.ops.runtime import startup_error  # here, because --help needs no NumPy

    if startup_error:
        raise startup_error
    return args._call(args) or 0


def build_parser(command: str | None = None) -> Parser:
    """Return the parser of the command line. To save time, only `command` gets its options."""
    parser = Parser(
        prog="tinyllm",
        description="Learn how language models work, lesson by lesson, and use the library\n"
                    "underneath: small enough to be read, fast enough to be worth using.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--version", action="version", version=f"tinyllm {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (module, what) in COMMANDS.items():
        if command not in COMMANDS:
            subparsers.add_parser(name, help=what)
        elif module == COMMANDS[command][0] and name not in subparsers.choices:
            importlib.import_module(f"tinyllm.cli.{module}")
            add_commands(name, what, subparsers.add_parser)
    return parser
