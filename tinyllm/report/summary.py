"""Describe a model of any family by its modules: draw and tabulate parts, compute costs, compare two."""

import dataclasses
import difflib
import math
import re
from itertools import groupby
from typing import Any

from tinyllm import ops
from tinyllm.nn import Buffer, DecoderLM, Dropout, Embedding, Module, Parameter
from tinyllm.nn.module import forward_flops
from tinyllm.nn.quantized import QuantizedLinear
from tinyllm.report.terminal import short, table

LONGEST = 22  # letters of a part's name in the table, so that a line fits into 80 columns


def summarise(model: Module, batch: int = 1, context: int = 1) -> str:
    """Return a table of a model's parts: shapes, parameters, and FLOPs of a forward pass over tokens (B, T).

    Equal parts of different layers share a line: `h.*.ln_1` 12 stands for 12 parts. A multiplication and an
    addition are two FLOPs. Only matrix products and causal attention are counted; norms, activations and
    sums would add about one percent. A backward pass takes twice the FLOPs. Lines have at most 80 columns.
    """
    rows = _rows(model, batch, context)
    parameters = sum(n for _, _, n, _ in rows.values())
    flops = sum(f for _, _, _, f in rows.values())
    cells = [
        [part if len(part) <= LONGEST else "..." + part[3 - LONGEST :], str(count), str(shape), f"{n:,}",
         _share(n, parameters), short(f) if f else "", _share(f, flops)]
        for part, (count, shape, n, f) in rows.items()
    ]
    head = ["part", "", "shape", "parameters", "share", "FLOPs", "share"]
    total = [f"total, B={batch} T={context}", "", "", f"{parameters:,}", "", short(flops), ""]
    first, *lines, last = table(head, [*cells, total], "<><>>>>")
    rule = "-" * max(map(len, (first, *lines, last)))
    return "\n".join([first, rule, *lines, rule, last])


def _rows(model, batch, context):
    """Return {part, with * for a layer's index: (how many, shape, parameters, FLOPs)}, as they are run."""
    rows, seen = {}, set()

    def add(name, shape, parameters, flops):
        part = re.sub(r"\.\d+(?=\.|$)", ".*", name.strip("."))
        count, shape, n, f = rows.get(part, (0, shape, 0, 0))
        rows[part] = count + 1, shape, n + parameters, f + flops

    def visit(name, module):
        shapes, work = own_shapes(module, seen), module.flops(batch, context)
        if shapes:
            add(name, shapes[0], sum(map(math.prod, shapes)), work.pop("", 0))
        for child, inside in module.named_children():
            visit(f"{name}.{child}", inside)
        for what, flops in work.items():
            add(f"{name}.{what}", "", 0, flops)

    visit("", model)
    return rows


def own_shapes(module: Module, seen: set[int]) -> list[tuple[int, ...]]:
    """Return the shapes of a module's parameters, quantised or not; parameters of children are left out.

    Parameters whose ids are in `seen` are left out, and new ids are added, so that tied weights count once.
    """
    if isinstance(module, QuantizedLinear):
        return [module.sizes, *([] if module.bias is None else [module.sizes[1:]])]
    own = [p for p in vars(module).values() if isinstance(p, Parameter) and id(p) not in seen]
    seen.update(map(id, own))
    return [p.shape for p in own]


def _share(n, total):
    return f"{100 * n / total:.1f}%" if n else ""


def drawing(model: Module) -> list[str]:
    """List the parts of a model, inner ones indented, without dropout; equal neighbours share a line."""
    parts = [(name, _described(part), drawing(part)) for name, part in model.named_children()
             if not isinstance(part, Dropout)]
    lines = []
    for (_, what, inside), group in groupby(parts, lambda part: (part[0].partition(".")[0], *part[1:])):
        names = [name for name, *_ in group]
        label = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}, each"
        lines += [f"{label}: {what}", *("  " + line for line in inside)]
    return lines


def _described(part):
    """Describe a part by its class, the shapes of its arrays, and its number of parameters."""
    arrays = [f", {name} {tuple(array.shape)}" for name, array in vars(part).items()
              if isinstance(array, Parameter | Buffer)]
    if isinstance(part, QuantizedLinear):
        arrays = [f", weight {own_shapes(part, set())[0]} in {part.bits} bits"]
    count = part.num_parameters()
    return type(part).__name__ + "".join(arrays) + (f": {count:,}" if count else "")


def explanations(model: Module) -> dict[str, str]:
    """Map the class of each part of a model to the first paragraph of the class's docstring."""
    kinds = [type(part) for _, part in list(model.named_modules())[1:] if not isinstance(part, Dropout)]
    return {kind.__name__: " ".join((kind.__doc__ or "").split("\n\n")[0].split()) for kind in kinds}


@dataclasses.dataclass(frozen=True)
class Costs:
    """The costs of a model: parameters and bytes of all weights; KV cache bytes and FLOPs for one token.

    FLOPs are counted for the last token of a context, with the tokens before it in the KV cache. For a model
    without a cache, such as an encoder, FLOPs are the mean over all tokens of a context.
    """

    parameters: int
    active: int  # parameters that one token uses: fewer in a mixture of experts
    weight_bytes: int
    cache_bytes: int | None  # of keys and values, for one token; None without a cache
    flops: int
    prompt_flops: int  # the mean over all tokens of a context, read at once
    read_bytes: int  # of weights that one token reads: few of experts, and one row of an embedding
    context_bytes: int  # of keys and values, for all tokens of a context
    memory: int  # bytes of weights, keys and values

    def seconds(self, tokens: int, flops: float, size: float) -> tuple[float, float]:
        """Predict from a roof the seconds to read `tokens` tokens at once, and to write one after them.

        flops and size: the operations, and the bytes of memory, in a second. A roof ignores what calls cost,
        and lower caches, which hold a small model's weights and read them faster.
        """
        kept = self.cache_bytes or 0
        read = ops.roof_seconds(tokens, self.prompt_flops, kept, self.read_bytes, flops, size)
        return read, ops.roof_seconds(1, self.flops, self.context_bytes, self.read_bytes, flops, size)


def costs(model: Any, context: int | None = None) -> Costs:
    """Compute the costs of a model and a context, by default its longest; see `summarise` for FLOPs."""
    count, active, seen = 0, 0, set[int]()
    for _, module in model.named_modules():
        numbers = sum(map(math.prod, own_shapes(module, seen)))
        count, active = count + numbers, active + round(numbers * module.reached)
    size = sum(t.data.nbytes for t in {id(t): t for _, t in model.named_tensors()}.values())
    context = model.config.context if context is None else context
    whole = forward_flops(model, context)
    mean, read, held, last = whole // context, _read_bytes(model), 0, whole // context
    if isinstance(model, DecoderLM):
        last = whole - (forward_flops(model, context - 1) if context > 1 else 0)
        held = sum(layer.nbytes for layer in model.new_cache(1, 1))
    return Costs(count, active, size, held or None, last, mean, read, held * context, size + held * context)


def _read_bytes(model):
    """Count the bytes of the weights that a token reads, without rows of embeddings that no head shares."""
    held = [(id(value), value.data.nbytes * part.reached) for _, part in model.named_modules()
            if not isinstance(part, Embedding) for value in vars(part).values()
            if isinstance(value, Parameter | Buffer)]
    return round(sum(dict(held).values()))


def differences(one: Any, other: Any) -> list[str]:
    """List the parts of two models: lines begin with - (only in `one`), + (only in `other`) or a space.

    Two parts are equal if they have the same class and the same weight shapes. Their names do not matter.
    """
    old, new = drawing(one), drawing(other)
    was, now = ([re.sub(r"^.*?: |: [\d,]+$", "", line) for line in lines] for lines in (old, new))
    matcher = difflib.SequenceMatcher(None, was, now, autojunk=False)
    lines = []
    for what, i, j, k, n in matcher.get_opcodes():
        lines += [f"- {line}" for line in old[i:j] if what != "equal"]
        lines += [f"{' ' if what == 'equal' else '+'} {line}" for line in new[k:n]]
    return lines


def settings_that_differ(one: Any, other: Any) -> list[tuple[str, str, str]]:
    """Return (setting, value in one, value in other) where two configs differ; "-" for no such setting."""
    values = [{f.name: str(getattr(c, f.name)) for f in dataclasses.fields(c)} for c in (one, other)]
    names = list(dict.fromkeys([*values[0], *values[1]]))
    found = [(name, values[0].get(name, "-"), values[1].get(name, "-")) for name in names]
    return [row for row in found if row[1] != row[2]]
