"""Describe a model: a drawing of its parts, its costs, and its differences from another model.

Everything is computed from the modules, so it works for every family of models.
"""

import dataclasses
import difflib
import math
from itertools import groupby
from typing import Any, NamedTuple

from tinyllm.nn import DecoderLM, Dropout, Module
from tinyllm.nn.module import forward_flops
from tinyllm.report.summary import own_shapes


class Part(NamedTuple):
    """One line of the drawing: a module, or several equal ones, indented by its depth in the model."""

    depth: int
    name: str
    kind: str
    shapes: str

    def line(self) -> str:
        """Return the part as a line: its name, its class, and the shapes of its weights."""
        return f"{'  ' * self.depth}{self.name:{32 - 2 * self.depth}} {self.kind} {self.shapes}".rstrip()

    def what(self) -> tuple[str, str]:
        """Return (class, shapes), to compare the parts of two models."""
        return self.kind, self.shapes


def parts(module: Module, name: str = "", depth: int = 0) -> list[Part]:
    """Return the lines of a drawing of a model; equal neighbours in a stack of layers share a line."""
    shapes = [f"({', '.join(map(str, shape))})" for shape in own_shapes(module, set())]
    found = [Part(depth, name, plain(module).__name__, " + ".join(shapes))]
    children = [(n, parts(child, n, depth + 1)) for n, child in module.named_children()
                if not isinstance(child, Dropout)]  # fmt: skip
    for (stack, _), group in groupby(children, lambda item: (item[0].partition(".")[0], _whats(item[1]))):
        equal = [tree for _, tree in group]
        first = equal[0][0]
        label = first.name if len(equal) == 1 else f"{stack} ({len(equal)} times)"
        found += [first._replace(name=label), *equal[0][1:]]
    return found


def plain(module: Module) -> type:
    """Return the class that a module had before `nn.fuse`, such as MLP for a FusedMLP."""
    return next(c for c in type(module).__mro__ if not c.__name__.startswith("Fused"))


def _whats(tree):
    return [part.what() for part in tree[1:]] + [tree[0].what()]


def explanations(model: Module) -> dict[str, str]:
    """Return {class: the first paragraph of its docstring} for all parts of a model."""
    found = {}
    for _, module in list(model.named_modules())[1:]:
        if not isinstance(module, Dropout):
            cls = plain(module)
            found[cls.__name__] = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
    return found


@dataclasses.dataclass(frozen=True)
class Costs:
    """The costs of a model: parameters, bytes of the weights, and cache bytes and FLOPs of a token.

    FLOPs are counted for the last token of a full context, read through the KV cache. A model without a
    cache, such as an encoder, reads all tokens together: then FLOPs are the mean per token.
    """

    parameters: int
    active: int  # parameters that one token uses: fewer in a mixture of experts
    weight_bytes: int
    cache_bytes: int | None  # of keys and values, for one token; None without a cache
    flops: int


def costs(model: Any) -> Costs:
    """Compute the costs of a model; FLOPs count matrix products and attention."""
    count, active, seen = 0, 0, set[int]()
    for _, module in model.named_modules():
        numbers = sum(map(math.prod, own_shapes(module, seen)))
        count, active = count + numbers, active + round(numbers * module.reached)
    size = sum(t.data.nbytes for t in {id(t): t for _, t in model.named_tensors()}.values())
    context = model.config.context
    flops = forward_flops(model, context)
    if not isinstance(model, DecoderLM):
        return Costs(count, active, size, None, flops // context)
    flops -= forward_flops(model, context - 1) if context > 1 else 0
    held = sum(layer.nbytes for layer in model.new_cache(1, 1))
    return Costs(count, active, size, held or None, flops)


def differences(one: Any, other: Any) -> list[str]:
    """Compare the parts of two models -> lines that begin with a space, - (only in one) or + (only in other).

    Parts are equal if their classes and the shapes of their weights are; names do not matter.
    """
    old, new = parts(one)[1:], parts(other)[1:]
    matcher = difflib.SequenceMatcher(None, [p.what() for p in old], [p.what() for p in new], autojunk=False)
    lines = []
    for what, i, j, k, n in matcher.get_opcodes():
        if what == "equal":
            lines += [f"  {part.line()}" for part in new[k:n]]
        else:
            lines += [f"- {part.line()}" for part in old[i:j]] + [f"+ {part.line()}" for part in new[k:n]]
    return lines


def settings_that_differ(one: Any, other: Any) -> list[tuple[str, str, str]]:
    """Return (setting, value in one, value in other) where two configs differ; - if one lacks it."""
    values = [{f.name: str(getattr(c, f.name)) for f in dataclasses.fields(c)} for c in (one, other)]
    names = list(dict.fromkeys([*values[0], *values[1]]))
    found = [(name, values[0].get(name, "-"), values[1].get(name, "-")) for name in names]
    return [row for row in found if row[1] != row[2]]
