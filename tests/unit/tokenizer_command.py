"""Run `tinyllm tokenizer` as the command line does."""

from tinyllm.cli import build_parser

TEXT = "the cat sat on the mat <|end|>\n" * 20


def run(*words):
    args = build_parser("tokenizer").parse_args(["tokenizer", *map(str, words)])
    return args._call(args)
