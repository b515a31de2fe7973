"""What a model wants around its text, such as [CLS] and [SEP]: read from a `post_processor`.

`encode` never adds it, because a text's tokens are the text's. Types as in the `tokenizers` library:
ByteLevel (which changes no ids), TemplateProcessing, RobertaProcessing, BertProcessing, and a Sequence with
one of them.
"""

from dataclasses import dataclass

from tinyllm.errors import UserError
from tinyllm.tokenizer.fields import kind_of, one_of, take

MOST = 2**12  # items in a template


@dataclass(frozen=True)
class Template:
    """Ids and the places of the texts' own: single and pair are tuples of ids, "A" and "B"."""

    single: tuple
    pair: tuple

    def __call__(self, ids, second=None):
        """Put the ids of one text, or of two, where the template has them: a list of ids."""
        texts = {"A": ids, "B": second}
        framed = []
        for item in self.single if second is None else self.pair:
            framed += texts.get(item, [item])
        return framed


def _nothing(part, where):
    take(part, where, add_prefix_space=([bool], True), trim_offsets=([bool], True), use_regex=([bool], True))


def _template(part, where):
    fields = take(part, where, single=list, pair=list, special_tokens=dict)
    known = {}
    for name, special in fields["special_tokens"].items():
        at = f"{where}.special_tokens[{name[:40]!r}]"
        values = take(special, at, id=str, ids=list, tokens=list)
        known[name] = [one_of(i, f"{at}.ids", int) for i in values["ids"]]
    return Template(*(_items(fields[side], known, f"{where}.{side}") for side in ("single", "pair")))


def _items(items, known, where):
    found = []
    for i, item in enumerate(items):
        at = f"{where}[{i}]"
        members = list(take(item, at, SpecialToken=([dict], None), Sequence=([dict], None)).items())
        if len([value for _, value in members if value is not None]) != 1:
            raise UserError(f"{at} is neither a SpecialToken nor a Sequence")
        kind, value = next(member for member in members if member[1] is not None)
        name = take(value, f"{at}.{kind}", id=str, type_id=int)["id"]
        if kind == "Sequence" and name in ("A", "B"):
            found.append(name)
        elif kind == "SpecialToken" and name in known:
            found += known[name]
        else:
            raise UserError(f"{at} names {name[:40]!r}, which is not explained")
        if len(found) > MOST:
            raise UserError(f"{where} has more than {MOST} tokens")
    return tuple(found)


def _two_ends(between):
    """The templates of RoBERTa and BERT: a first token, a last one, and something between two texts."""

    def build(part, where):
        more = {"trim_offsets": ([bool], True), "add_prefix_space": ([bool], True)} if between == 2 else {}
        fields = take(part, where, sep=list, cls=list, **more)
        ends = {}
        for name in ("sep", "cls"):
            if [type(value) for value in fields[name]] != [str, int]:
                raise UserError(f"{where}.{name} is not a text and an id")
            ends[name] = fields[name][1]
        sep, cls = ends["sep"], ends["cls"]
        return Template((cls, "A", sep), (cls, "A", *[sep] * between, "B", sep))

    return build


def _sequence(part, where):
    members = take(part, where, processors=list)["processors"]
    found = [build_template(member, f"{where}.processors[{i}]") for i, member in enumerate(members)]
    templates = [template for template in found if template]
    if len(templates) > 1:
        raise UserError(f"{where} adds tokens twice, which is not supported")
    return templates[0] if templates else None


PROCESSORS = {  # type -> what makes a template of its fields, or None
    "ByteLevel": _nothing,
    "TemplateProcessing": _template,
    "RobertaProcessing": _two_ends(2),
    "BertProcessing": _two_ends(1),
    "Sequence": _sequence,
}


def build_template(part, where="post_processor"):
    """Make a `Template`, or None, of the post-processor in a `tokenizer.json`. Raises UserError."""
    if part is None:
        return None
    kind = kind_of(part, where)
    if kind not in PROCESSORS:
        raise UserError(f"{where} is {kind[:40]!r}, which is not supported; {', '.join(PROCESSORS)} are")
    return PROCESSORS[kind](part, where)
