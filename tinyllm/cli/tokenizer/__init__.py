"""Implement `tinyllm tokenizer`, which trains, uses, shows and converts tokenizers."""

from tinyllm.cli.command import group
from tinyllm.cli.tokenizer import encode, show, train  # noqa: F401  (they register their commands)

group("tokenizer", """
    example:
      tinyllm tokenizer show "Once upon a time"
      tinyllm tokenizer train stories --vocab 1024 --out words.json
      tinyllm tokenizer encode words.json "Once upon a time"

    A tokenizer is a file of any format that `tinyllm tokenizer convert` knows, or a folder with one, such as
    a checkpoint of `tinyllm train`.
""")
