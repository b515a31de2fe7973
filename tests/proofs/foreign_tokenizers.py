"""Write a tokenizer in the formats of tiktoken and GPT-2, which tinyllm reads and does not write."""

import base64
import json


def write_ranks(path, ranks):
    """Write a rank file of tiktoken: {bytes: rank}."""
    lines = sorted(ranks.items(), key=lambda item: item[1])
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in lines))


def write_gpt2(folder, tokenizer):
    """Write a BPE tokenizer as vocab.json and merges.txt."""
    words, merges = tokenizer.vocabulary.words()
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(words | tokenizer.special_tokens))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n")
