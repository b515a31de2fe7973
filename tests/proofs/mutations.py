"""Write valid files of tokenizers, and change files into nearly valid ones: bytes, lines, what JSON holds."""

import copy
import json

from foreign_tokenizers import write_gpt2, write_ranks

from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, CharTokenizer, load_tokenizer

BESIDE = b"\n\x00\n"  # between vocab.json and merges.txt
LEARN = "the cat's 12 naïve hats sat on the mat, the mat the cat sat \n\n  on 😀😀 <|end|> "

# --- valid files --------------------------------------------------------------------------------------------


def huggingface_files(folder):
    learnt = BPETokenizer.train(LEARN, 300, special_tokens=["<|end|>"])
    write_gpt2(folder / "gpt2", learnt)
    made = [
        learnt, ByteTokenizer(["<a>", "<b>"]), CharTokenizer.train(LEARN, special_tokens=["<s>", "<a>"]),
        BPETokenizer.from_ranks(learnt.vocabulary.ids, "gpt4", {"<|end|>": 400}),
        BPETokenizer.train(LEARN, 300, "[a-z]+|[^a-z]"), load_tokenizer(folder / "gpt2"),
    ]
    yield from (json.dumps(tokenizer.to_dict()).encode() for tokenizer in made)
    qwen = learnt.to_dict() | {"normalizer": {"type": "NFC"}}
    always = {"id": learnt.vocab_size, "content": "<tool>", "special": False}
    yield json.dumps(qwen | {"added_tokens": [*qwen["added_tokens"], always]}).encode()


def tiktoken_files(folder):
    for size in (256, 257, 300):
        write_ranks(folder / "ranks", BPETokenizer.train(LEARN, size).vocabulary.ids)
        yield (folder / "ranks").read_bytes()


def gpt2_files(folder):
    for names in ((), ["<|end|>"]):
        write_gpt2(folder / "gpt2", BPETokenizer.train(LEARN, 280, special_tokens=names))
        yield BESIDE.join((folder / "gpt2" / name).read_bytes() for name in ("vocab.json", "merges.txt"))


LOADERS = {"huggingface": huggingface_files, "tiktoken": tiktoken_files, "gpt2": gpt2_files}

# --- mutations: of bytes, of lines, and of what JSON holds --------------------------------------------------

ODD = [0, 1, -1, 255, 256, 2**24, 2**31, 2**63, 10**30, 1.5, -0.0, 1e308, None, True, False,
       [], {}, [[]], ["a", "b"], {"type": "Sequence"}, "", " ", "a", "##", "Ġ", "\ud800", "\0", "\x1b[2J",
       "a" * 300, "<|end|>", "the", "[UNK]", "(a*)*b"]
PIECES = [b"[" * 3000, b"9" * 5000, b"e999999999", b"1e400", b"NaN", b"null", b"-", b"\xff", b"\xc3", b"\x00",
          b"\\ud800", b"\r\n", b" ", b'"', b"{", b"]", b",", b":", b"=", b"#version: 0.2\n",
          b"IQ== 4294967296\n", b'"type": "BPE",']


def mutate_bytes(rng, data):
    data, at = bytearray(data), rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 4, 30, 300)))
    kind = rng.randrange(6)
    if kind == 0:
        del data[at : rng.choice((end, len(data)))]
    elif kind == 1 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[at:at] = rng.choice(PIECES)
    elif kind == 3:
        data[at:end] = rng.choice(PIECES)
    else:  # again, or somewhere else
        to = rng.randrange(len(data) + 1)
        data[to:to] = data[at:end]
    return bytes(data)


def mutate_lines(rng, data):
    lines = data.split(b"\n")
    i, k = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        lines.insert(k, lines[i])
    elif kind == 1:
        lines[i], lines[k] = lines[k], lines[i]
    elif kind == 2:
        del lines[i]
    else:
        words = lines[i].split(b" ")
        odd = str(rng.choice(ODD)).encode("utf-8", "replace")
        words[rng.randrange(len(words))] = rng.choice((*lines[k].split(b" "), odd))
        lines[i] = b" ".join(words)
    return b"\n".join(lines)


def places(value):
    """Every (container, key) inside a value."""
    pending = [value]
    while pending:
        container = pending.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            yield container, key
            if isinstance(container[key], (dict, list)):
                pending.append(container[key])


def mutate_json(rng, data):
    """The same JSON but for a part that is odd, gone, a copy of another or has another name; or None."""
    try:
        value = json.loads(data)
        known = list(places(value)) if isinstance(value, (dict, list)) else []
    except (ValueError, RecursionError):
        return None
    if not known:
        return None
    try:
        for _ in range(rng.choice((1, 1, 2, 3))):
            small = [place for place in known if len(place[0]) < 40]
            place = rng.choice(small if small and rng.random() < 0.8 else known)
            change_place(rng, *place, *rng.choice(known))
        return json.dumps(value).encode()
    except (LookupError, ValueError, RecursionError):  # a place that is gone by now, or is inside itself
        return None


def change_place(rng, container, key, other, name):
    """Change container[key], maybe into other[name]."""
    kind = rng.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[name if isinstance(name, str) else str(rng.choice(ODD))] = container.pop(key)
    elif kind == 2:
        container[key] = json.loads(json.dumps(other[name]))
    elif kind == 3:
        for _ in range(rng.choice((1, 3, 20, 900))):
            container[key] = [container[key]] if isinstance(container, list) else {key: container[key]}
    elif kind == 4 and isinstance(container, list):
        container.insert(key, json.loads(json.dumps(other[name])))
    else:
        container[key] = copy.deepcopy(rng.choice(ODD))


def mutate(rng, data):
    first, mark, second = data.partition(BESIDE)
    if mark and rng.random() < 0.5:
        return first + mark + mutate_lines(rng, second)
    changed = mutate_json(rng, first) if rng.random() < 0.6 else None
    if changed is not None:
        return changed + mark + second
    return rng.choice((mutate_lines, mutate_bytes, mutate_bytes))(rng, data)
