"""Describe a model: draw its parts, compute its costs, and compare it with another model.

This works for every family of models, because all facts are read from the modules.
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
    """One line in the drawing of a model: a module, or several equal modules."""

    depth: int
    name: str
    kind: str
    shapes: str

    def line(self) -> str:
        """Return the part as a line: its name, its class, and the shapes of its weights."""
        return f"{'  ' * self.depth}{self.name:{32 - 2 * self.depth}} {self.kind} {self.shapes}".rstrip()

    def what(self) -> tuple[str, str]:
        """Return the (class, shapes) of the part, which `differences` compares."""
        return self.kind, self.shapes


def parts(module: Module, name: str = "", depth: int = 0) -> list[Part]:
    """List the parts of a model in the order of a drawing; equal layers in a row share one line."""
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
    """Return the class of a module before fusing, such as MLP for a FusedMLP."""
    return next(c for c in type(module).__mro__ if not c.__name__.startswith("Fused"))


def _whats(tree):
    return [part.what() for part in tree[1:]] + [tree[0].what()]


def explanations(model: Module) -> dict[str, str]:
    """Map the class of each part of a model to the first paragraph of the class's docstring."""
    found = {}
    for _, module in list(model.named_modules())[1:]:
        if not isinstance(module, Dropout):
            cls = plain(module)
            found[cls.__name__] = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
    return found


@dataclasses.dataclass(frozen=True)
class Costs:
    """The costs of a model: parameters and bytes of all weights; KV cache bytes and FLOPs for one token.

    FLOPs are counted for the last token of a full context, with the tokens before it in the KV cache. For a
    model without a cache, such as an encoder, FLOPs are the mean over all tokens of a full context.
    """

    parameters: int
    active: int  # parameters that one token uses: fewer in a mixture of experts
    weight_bytes: int
    cache_bytes: int | None  # of keys and values, for one token; None without a cache
    flops: int


def costs(model: Any) -> Costs:
    """Compute the costs of a model; only matrix products and attention count as FLOPs."""
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
    """List the parts of two models: lines begin with - (only in one), + (only in other) or a space (in both).

    Two parts are equal if they have the same class and the same weight shapes. Their names do not matter.
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
    """Return (setting, value in one, value in other) where two configs differ; - is a missing setting."""
    values = [{f.name: str(getattr(c, f.name)) for f in dataclasses.fields(c)} for c in (one, other)]
    names = list(dict.fromkeys([*values[0], *values[1]]))
    found = [(name, values[0].get(name, "-"), values[1].get(name, "-")) for name in names]
    return [row for row in found if row[1] != row[2]]
