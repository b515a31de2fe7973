"""`tinyllm tokenizer`: make a tokenizer, see what it does to a text, compare it with others."""

from tinyllm.cli import add_command
from tinyllm.cli.tokenizer import coding, convert, report, show, train

EXAMPLE = """example:
  tinyllm tokenizer show "Once upon a time"
  tinyllm tokenizer train stories --vocab 1024 --out words.json
  tinyllm tokenizer report words.json --on stories pydocs
  tinyllm tokenizer encode words.json "Once upon a time"

A tokenizer is a file of any format that `tinyllm tokenizer convert` knows, or a
folder with one, such as a run of `tinyllm train`.
"""
WHAT = "train a tokenizer, look at its tokens, encode and decode"


def add_parser(subparsers):
    """Add `tinyllm tokenizer` and its commands."""
    parser = add_command(subparsers, "tokenizer", WHAT, EXAMPLE)
    parser.set_defaults(run=lambda args: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (show, train, coding, report, convert):
        module.add_parsers(commands)
