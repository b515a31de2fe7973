"""Read examples, such as prompts with answers, and make plans of training from them."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from tinyllm.config import conform
from tinyllm.data import Batch
from tinyllm.errors import UserError, worded
from tinyllm.files import parse_json
from tinyllm.rng import Random
from tinyllm.runs.plan import Plan
from tinyllm.train.evaluate import evaluate

SHORTER = "take a larger model.context, or shorter examples"
TEACH = "these examples have no target inside the model.context, or two answers that are equal"


def read_records(corpus: Any, *fields: str, **others: Any) -> list[dict[str, Any]]:
    r"""Return the records of a corpus: `read_records(corpus, "text", "second?", "label")`.

    A record maps the fields to texts; a field with "?" may be missing, as may `others`, which have the types
    of `conform`. Each line of a JSONL file is an object with these fields, and perhaps others. Each line of a
    TSV file has the texts in the order of the fields;
    \n and \t in a text mean a new line and a tab. A generated document has the fields prompt and answer (also
    called text and label), and its labels. Raises UserError, naming line and field, for a missing text.
    """
    names = [field.removesuffix("?") for field in fields]
    needed = [field for field in fields if not field.endswith("?")]
    records, unit = [], "document" if corpus.documents else "line"
    form = (f": a record is an object of JSON with {', '.join(needed)}, or these texts with a tab between "
            "them")
    # Not splitlines, which also cuts at characters that JSON texts may hold, such as U+2028.
    for number, item in enumerate(corpus.documents or corpus.text().split("\n"), 1):
        if isinstance(item, str) and not item.strip():
            continue
        with worded(f"{corpus.name} {unit} {number} ", form):
            found = _of_line(item, names, needed) if isinstance(item, str) else _of_document(item, names)
            wanted = [name for name in names if name in needed or found.get(name)]
            more = {name: kind for name, kind in others.items() if name in found}
            conform(found, dict.fromkeys(wanted, str) | more)
            records.append({name: found[name] for name in (*wanted, *more)})
            if empty := [name for name in wanted if not found[name].strip()]:
                raise UserError(f"has no text in the field {empty[0]!r}")
    return records


def _of_line(line: str, names: list[str], needed: list[str]) -> dict[str, Any]:
    if line.startswith("{"):
        return parse_json(line)
    cells = [cell.replace("\\n", "\n").replace("\\t", "\t") for cell in line.rstrip("\r").split("\t")]
    given = names if len(cells) == len(names) else needed
    if len(cells) > len(given):
        raise UserError(f"has {len(cells)} texts")
    return dict(zip(given, cells, strict=False))


def _of_document(document: Any, names: list[str]) -> dict[str, Any]:
    prompt, answer = document.prompt, document.answer.lstrip()
    if "chosen" in document.labels:  # the text of such a document has both answers
        prompt, answer = document.labels["question"], document.labels["chosen"]
    return document.labels | {"prompt": prompt, "answer": answer, "text": prompt, "label": answer}


def hold_out(examples: list, parts: Any, key: Callable[[Any], Hashable] | None = None) -> tuple[list, list]:
    """Split examples of a recipe's data into a first part for training and a last part for validation.

    Examples with the same `key(example)`, such as a prompt, are in the same part: a share of the keys, always
    the same random ones, is held out. Raises UserError, with the name of the data, if a part would be empty.
    """
    fraction = parts.config.train.val_fraction
    keys = [key(x) if key else i for i, x in enumerate(examples)]
    order = Random(0, "held out").shuffle(dict.fromkeys(keys)) if key else keys
    held = round(len(order) * fraction)
    if not 0 < held < len(order):
        what = "different prompts" if key else "examples"
        raise UserError(f"{parts.corpus.name} has {len(order)} {what}: give enough to hold out {fraction:g}")
    last = set(order[-held:])
    first, second = ([x for x, k in zip(examples, keys, strict=True) if (k in last) == part]
                     for part in (False, True))
    return first, second


def row_size(example: Any) -> int:
    """Count the input tokens of (ids of a prompt, ids of answers, ...), with the longest of the answers."""
    prompt, *others = example
    return len(prompt) + max(len(x) for x in others if isinstance(x, list)) - 1


def plan_of(
    parts: Any, examples: tuple[list, list], layout: Callable[[list], Batch], loss: Callable, *,
    size: Callable[[Any], int] = row_size, learn: Callable[[list, int], Batch] | None = None,
    characters: np.ndarray | None = None, **more: Any,
) -> Plan:
    """Return a plan that trains on random examples, and validates on the first held-out examples.

    An example whose batch has the `count` 0 is dropped, because it teaches nothing and cannot start a
    sample; the share of such examples is logged as "dropped". Raises UserError if no others are left.

    parts: the `Parts` of the recipe, with data and model.
    examples: for training and for validation; the first entry of an example is the ids of its prompt.
    layout(examples): makes a batch of some examples.
    size(example): the tokens of an example; the share above the context is logged as "truncated".
    learn(examples, step): makes a training batch; by default `layout` does.
    characters: see `evaluate`. more: other fields of the plan.
    """
    train, seed, private = parts.config.train, parts.config.seed, parts.secret
    learnt, held_out = ([x for x in part if layout([x]).count] for part in examples)
    if not (learnt and held_out):
        what = "train" if held_out else "validate"
        raise UserError(f"no example of {parts.corpus.name} to {what} on teaches anything: {TEACH}")
    sizes = [size(example) for part in examples for example in part]
    shares = {"truncated": sum(tokens > parts.model.config.context for tokens in sizes) / len(sizes)}
    healthy = more.pop("healthy", {}) | {"truncated": (0.0, 0.05, SHORTER)}
    if dropped := len(sizes) - len(learnt) - len(held_out):
        shares["dropped"], healthy["dropped"] = dropped / len(sizes), (0.0, 0.05, TEACH)

    def make(chosen, step):
        batch = learn(chosen, step) if learn else layout(chosen)
        if private and len(batch.tokens) != len(chosen):
            raise UserError(f"private training clips rows, and {parts.config.recipe} makes several of one "
                            "example: take another recipe, such as sft")
        return batch

    def batches(step):
        n = len(learnt)
        if not private:
            return make([learnt[i] for i in Random(seed, "batch", step).integers(n, train.batch)], step)
        each = private.draw("batch", step).uniform(n)  # on its own: perhaps none is drawn
        drawn = np.flatnonzero(each < train.batch / n).tolist()
        return make([learnt[i] for i in drawn or [0]], step).rows(slice(len(drawn)))

    def measure(model):
        chosen, rows = held_out[: train.eval_windows], train.batch // train.accumulate
        same = (layout(chosen[i : i + rows]) for i in range(0, len(chosen), rows))
        return evaluate(model, same, loss, characters)

    train_tokens, val_tokens = (sum(layout([x]).tokens.size for x in part) for part in (learnt, held_out))
    prompt = list(held_out[0][0])
    return Plan(batches, loss, measure, train_tokens, val_tokens, prompt, healthy, known=shares,
                pair=make(learnt[:2], 0) if private else None, examples=len(learnt), **more)
