"""Write a model as one HTML page that runs it in a browser: no server, no network, nothing to install.

The page holds the settings, weights and tokenizer of a model as data, runtime.js, which runs it, and page.js,
which shows it. A browser runs only these scripts, and they show whatever a person or a model wrote as text.
"""

import json
import re
from base64 import b64encode
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.nn import Int8Linear
from tinyllm.ops import unicode
from tinyllm.ops.pieces import PATTERNS
from tinyllm.ops.quant import spread, unpack
from tinyllm.report.page import Html, assemble, write
from tinyllm.report.tokens import plain
from tinyllm.runs import Opened
from tinyllm.tokenizer.text import read_prompt

FAMILIES = "gpt2", "llama"  # whose parts runtime.js has
SETTINGS = "layers", "heads", "kv_heads", "width", "head_width", "context", "theta", "eps"
FOOTER = Html("Written by <code>tinyllm export --html</code>. The model in this file runs without a network.")
# The classes in a pattern, by the letters of ops/unicode.py, which counts Lt as Lu, and Lm as Lo:
CLASSES = {"L": "ULC", "Lu": "U", "Lt": "U", "Ll": "L", "Lm": "C", "Lo": "C", "M": "M", "N": "N", "s": "RS"}


def write_page(opened: Opened, name: str, path: str | Path) -> int:
    """Write the page of a model opened with 8 bits -> its size in bytes; raise UserError if it cannot run."""
    folder, data = Path(__file__).parent, describe(opened)
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # no token can end the element
    script = "\n" + read_text(folder / "runtime.js") + read_text(folder / "page.js")
    body = Html(Template(read_text(folder / "page.html")).substitute(data=text, script=script))
    lead = f"A {data['family']} of {opened.model.num_parameters():,} parameters, in 8 bits."
    return write(path, assemble(plain(name), lead, [body], FOOTER, script))


def describe(opened: Opened) -> dict[str, Any]:
    """Return what a page needs to know of a model, as data for JSON; raise UserError if it cannot run it."""
    model, tokenizer, frame = opened.model, opened.tokenizer, opened.frame
    kind = "reward model" if model.objective == "scores" else model.model_type
    if kind not in FAMILIES or getattr(model.config, "scaling", None) or model.num_parameters() > 2e8:
        raise UserError(f"a page runs a {' or a '.join(FAMILIES)} of up to 200 million parameters, without "
                        f"rope_scaling, and not this {kind}")
    around: list[list[int]] = [[], []]
    if frame.chat:  # the same tokens stand around whatever a person says
        one, other = (frame.prompt(tokenizer, text) for text in "ab")  # which are single tokens
        begin = int(np.not_equal(one, other).argmax())
        around = [one[:begin], one[begin + 1 :]]
    return {"family": kind, "settings": {name: getattr(model.config, name, None) for name in SETTINGS},
            "parts": weights(model), "tokenizer": tokenizer_data(tokenizer), "around": around,
            "separator": "" if frame.chat else frame.separator, "stops": opened.stops,
            "sampling": vars(opened.sampling), "start": read_prompt(model.config, 0, "", tokenizer)}


def weights(model: Any) -> dict[str, dict[str, str]]:
    """Return weights in base64, {part: {name: numbers}}: q is int8 (n_out, n_in), all others are float32."""
    state, parts = model.state_dict(), dict[str, Any]()
    for name, layer in model.of_kind(Int8Linear).items():
        q = unpack(8, layer.q.data)
        state[f"{name}.q"] = q.reshape(-1, q.shape[2]).T[: layer.sizes[1]]  # n_in is a multiple of 32
        state[f"{name}.scales"] = spread(layer.scales.data).T[: layer.sizes[1]]
    for name, array in state.items():
        part, _, key = name.rpartition(".")
        parts.setdefault(part, {})[key] = b64encode(array.tobytes()).decode()
    return parts


def tokenizer_data(tokenizer: Any) -> dict[str, Any]:
    """Return a tokenizer as data for JSON; raise UserError if it is not of a known kind."""
    if (kind := tokenizer.kind) not in ("char", "byte", "bpe") or tokenizer.added_tokens:
        raise UserError("a page runs char, byte and bpe tokenizers without added tokens; this is another")
    tokens = {i: name.encode() for name, i in tokenizer.special_tokens.items()}
    if kind == "bpe":
        v, pattern = tokenizer.vocabulary, browser_pattern(PATTERNS[tokenizer.pattern])
        ordinary, first, merges = v.tokens, v.byte_ids, v.columns.T.tolist()
        whole = [*ordinary] if v.ignore_merges else []
    else:
        whole = [*range(tokenizer.vocab_size - len(tokens))]
        ordinary = {i: tokenizer.decode_bytes([i]) for i in whole}
        pattern, first, merges = "[^]", [*range(256)] * (kind == "byte"), []  # every character alone
    tokens |= ordinary  # as strings with one character for each byte
    return {"pattern": pattern, "normalizer": tokenizer.normalizer, "bytes": first, "merges": merges,
            "whole": whole, "tokens": [tokens.get(i, b"").decode("latin-1") for i in range(max(tokens) + 1)]}


def browser_pattern(pattern: str) -> str:
    """Rewrite a pattern of ops/pieces.py for JavaScript, with our version of Unicode, not the browser's."""
    table = unicode.classes().tobytes().decode("ascii")

    def members(found):
        runs = re.finditer(f"[{CLASSES[found[1]]}]+", table)
        return "[" + "".join(rf"\u{{{run.start():x}}}-\u{{{run.end() - 1:x}}}" for run in runs) + "]"

    pattern = pattern.replace("/", r"\/").replace(r"(?!\S)", r"(?=\s|$)").replace(r"\s", r"\p{s}")
    return re.sub(r"\\p{(\w+)}", members, pattern)
