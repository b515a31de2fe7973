"""Tabulate the parameters and floating-point operations of each part of a model."""

import math
import re

from tinyllm.nn import Module, Parameter
from tinyllm.nn.quantized import QuantizedLinear
from tinyllm.report.terminal import short, table

LONGEST = 22  # letters of a part's name, so that a line fits into 80 columns


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
    """Return {part: (how many, shape, parameters, FLOPs)}, in the order in which the parts are run.

    The name of a part has `*` for the index of a layer in a stack.
    """
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
    """Return the shapes of a module's parameters, quantized or not; parameters of children are left out.

    Parameters whose ids are in `seen` are left out, and new ids are added, so that tied weights count once.
    """
    if isinstance(module, QuantizedLinear):
        return [(module.n_in, module.n_out), *([] if module.bias is None else [(module.n_out,)])]
    own = [p for p in vars(module).values() if isinstance(p, Parameter) and id(p) not in seen]
    seen.update(map(id, own))
    return [p.shape for p in own]


def _share(n, total):
    return f"{100 * n / total:.1f}%" if n else ""
