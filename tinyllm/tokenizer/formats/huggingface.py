"""Hugging Face's `tokenizer.json`: the file of the `tokenizers` library, version 1.0.

A file has added tokens, a normalizer, a pre-tokenizer, a model, a post-processor and a decoder. Each part
is built by a table from its "type" to a function; what is in no table is refused by name. `MODELS` is the
table of models. `encode` gives the tokens of the text: what the library adds or takes away around them
(post-processor, truncation, padding) is kept, the first as `tokenizer.template`, and saved again.
"""

import json
import os
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes
from tinyllm.tokenizer import families, files
from tinyllm.tokenizer.added import read_added
from tinyllm.tokenizer.fields import take
from tinyllm.tokenizer.formats import huggingface_bpe

MODELS = {  # type -> what makes a tokenizer of the document and its added tokens
    "BPE": huggingface_bpe.build,
}
WRITERS = {  # kind of a tokenizer without such a file -> what makes one
    "bpe": huggingface_bpe.document_of,
    "pipeline": lambda tokenizer: tokenizer.fields,
}


def from_document(document):
    """Make a tokenizer of what a `tokenizer.json` holds; UserError names what is not supported."""
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError("the file holds half a character (a lone surrogate); no library reads that") from None
    if isinstance(document, dict) and families.reads(document):
        return families.from_huggingface(document)
    part = (dict, type(None))
    parts = {
        name: ([*part], None)
        for name in ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    }
    fields = take(document, "the file", version=str, added_tokens=([list], []), model=dict, **parts)
    if fields["version"] != "1.0":
        raise UserError(f"this tinyllm reads tokenizer.json of version 1.0, not {fields['version'][:20]!r}")
    model = fields["model"]
    kind = model.get("type", "BPE" if "merges" in model else None)
    if not isinstance(kind, str) or kind not in MODELS:
        known = ", ".join(families.MODELS)
        raise UserError(f"the model {str(kind)[:40]!r} is not supported; {known} are")
    return MODELS[kind](fields, read_added(fields["added_tokens"]))


def to_document(tokenizer):
    """What `from_document` made the tokenizer of, or would make the same one of. Raises UserError."""
    if tokenizer.pipeline:
        return tokenizer.pipeline.write(tokenizer)
    if tokenizer.kind not in WRITERS:
        raise UserError(f"tokenizer.json has no model for a {tokenizer.kind} tokenizer")
    return WRITERS[tokenizer.kind](tokenizer)


def save(tokenizer, path):
    """Write a `tokenizer.json`: to this path, or into this folder. Raises UserError."""
    if os.path.isdir(path):
        path = Path(path, "tokenizer.json")
    try:
        data = json.dumps(to_document(tokenizer), ensure_ascii=False, indent=1).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError("the file would hold half a character, which its readers refuse") from None
    files.check_size(data)
    atomic_write_bytes(path, data + b"\n")
