"""Add the tokens that a model expects around a text: TemplateProcessing of a `tokenizer.json`.

`encode` never adds them; call the template on its result.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tinyllm.errors import UserError
from tinyllm.tokenizer.json_file import one_of

MOST = 2**12  # items in a template


@dataclass(frozen=True)
class Template:
    """Tuples of ids and of "A" and "B", which stand for the first and second text.

    document: the TemplateProcessing in the file.
    """

    single: tuple
    pair: tuple
    document: dict

    def __call__(self, ids: Iterable[int], second: Iterable[int] | None = None) -> list[int]:
        """Add the tokens of the template to the ids of one text, or of two -> list of ids."""
        texts = {"A": ids, "B": second or ()}
        framed: list[int] = []
        for item in self.single if second is None else self.pair:
            framed += texts.get(item, [item])
        return framed

    @classmethod
    def from_dict(cls, document: dict, known_ids: Collection[int]) -> "Template":
        """Read a TemplateProcessing; every id must be one of known_ids. Raises UserError."""
        special = {}
        for name, token in one_of(document.get("special_tokens"), "special_tokens", dict).items():
            where = f"special_tokens[{name[:40]!r}]"
            special[name] = one_of(one_of(token, where, dict).get("ids"), f"{where}.ids", list)
            for i in special[name]:
                if one_of(i, f"{where}.ids", int) not in known_ids:
                    raise UserError(f"post_processor has the id {str(i)[:20]}, which is no token")
        single, pair = (_items(document.get(side), special, side) for side in ("single", "pair"))
        return cls(single, pair, document)


def _items(items, special, where):
    found = []
    for item in one_of(items, where, list):
        kind, value = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (None, {})
        name = value.get("id") if isinstance(value, dict) else None
        if kind == "Sequence" and name in ("A", "B"):
            found.append(name)
        elif kind == "SpecialToken" and isinstance(name, str) and name in special:
            found += special[name]
        else:
            raise UserError(f"post_processor.{where} has {str(item)[:40]}, which is not explained")
        if len(found) > MOST:
            raise UserError(f"post_processor.{where} has more than {MOST} tokens")
    return tuple(found)
