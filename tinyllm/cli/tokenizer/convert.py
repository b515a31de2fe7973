"""`tinyllm tokenizer convert`: the same tokenizer in another format."""

from tinyllm.cli import add_command
from tinyllm.cli.tokenizer.opening import free_path
from tinyllm.tokenizer import load_tokenizer

FORMATS = ("huggingface", "tiktoken", "gpt2", "tinyllm")
FOLDERS = ("huggingface", "gpt2")  # the formats whose files have names of their own, in a folder
EXAMPLE = """example:
  tinyllm tokenizer convert book.json --to huggingface --out tokenizer.json
  tinyllm tokenizer convert ranks --pattern gpt4 --to tinyllm --out r.json

  huggingface  tokenizer.json, as Hugging Face's tokenizers reads and writes it
  tiktoken     a rank file: a line for each token, base64 and rank
  gpt2         a folder with vocab.json and merges.txt
  tinyllm      the file that `tinyllm tokenizer train` writes

What a format cannot hold is refused, never left out, unless you say so. Ranks
say nothing of the pattern and of special tokens; --pattern and --special do
when a rank file is read, or GPT-2's two files.
"""


def add_parsers(commands):
    """Add `tinyllm tokenizer convert`."""
    parser = add_command(commands, "convert", "write a tokenizer in another format", EXAMPLE)
    parser.add_argument("path", metavar="PATH", help="a tokenizer in any of the formats")
    parser.add_argument("--to", required=True, choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--out", required=True, metavar="PATH", help="the file, or folder for gpt2, to write")
    parser.add_argument("--pattern", help="where a rank file's text is cut: gpt2, gpt4, o200k or a regex")
    names = {"nargs": "+", "action": "extend", "metavar": "NAME"}
    parser.add_argument("--special", **names, help="special tokens to number after a rank file's tokens")
    parser.add_argument("--drop-chat", action="store_true", help="leave a chat template out")
    parser.add_argument("--overwrite", action="store_true", help="replace it if it is there")
    parser.set_defaults(run=run_convert)


def run_convert(args):
    """Load, save, and say so."""
    out = free_path(args.out, args.overwrite, folder=args.to in FOLDERS)
    tokenizer = load_tokenizer(args.path, args.pattern, args.special)
    if args.drop_chat:
        tokenizer.chat = None
    tokenizer.save(out, args.to)
    print(f"{args.path}: {tokenizer.vocab_size:,} tokens, written as {args.to} to {out}")
