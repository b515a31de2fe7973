"""List the building blocks of programs: themes, conditions, changes, and folds of a list.

Each operation is given twice: as source code, and as a Python function that computes the results which tests
expect. The two are written differently where possible, so that they check each other.
"""

from collections.abc import Iterable

from tinyllm.world import names

NUMBERS = ("ages", "prices", "miles", "weights", "coins", "scores")
TEXTS = {"names": names.GIRLS + names.BOYS, "towns": names.PLACES, "things": names.THINGS, "pets": names.PETS,
         "animals": list(names.ANIMALS), "colours": names.COLOURS}
LETTERS = ("early", "end", "contain")  # operations with a letter as their constant
FROM = {"above": 3, "below": 4, "divisible": 3, "longer": 3, "shorter": 5}  # smallest constants; else 2
GROUPS = (("above", "below"), ("even", "odd", "divisible"), ("longer", "shorter"), *((c,) for c in LETTERS))
CONDITIONS: dict[str, tuple] = {  # name -> (of numbers?, words, code, the same as a function)
    "above": (True, "above {k}", "{x} > {k}", lambda x, k: x > k),
    "below": (True, "below {k}", "{x} < {k}", lambda x, k: x < k),
    "even": (True, "even", "{x} % 2 == 0", lambda x, k: x & 1 == 0),
    "odd": (True, "odd", "{x} % 2 == 1", lambda x, k: x & 1 == 1),
    "divisible": (True, "divisible by {k}", "{x} % {k} == 0", lambda x, k: x in range(0, 99, k)),
    "longer": (False, "have more than {k} letters", "len({x}) > {k}", lambda x, k: x[k:] != ""),
    "shorter": (False, "have fewer than {k} letters", "len({x}) < {k}", lambda x, k: x[k - 1 :] == ""),
    "early": (
        False,
        "come before {k} in the alphabet",
        '{x}.lower() < "{k}"',
        lambda x, k: ord(x[0].lower()) < ord(k),
    ),
    "end": (False, "end in {k}", '{x}.endswith("{k}")', lambda x, k: x[-1] == k),
    "contain": (False, "contain {k}", '"{k}" in {x}', lambda x, k: x.count(k) > 0),
}
EXPRESSIONS: dict[str, tuple] = {
    "doubled": (True, "doubled", "{x} * 2", lambda x, k: x + x),
    "plus": (True, "plus {k}", "{x} + {k}", lambda x, k: sum((x, k))),
    "squared": (True, "squared", "{x} * {x}", lambda x, k: x**2),
    "halved": (True, "halved", "{x} // 2", lambda x, k: x >> 1),
    "loud": (False, "in capitals", "{x}.upper()", lambda x, k: x.swapcase().upper()),
    "backwards": (False, "backwards", "{x}[::-1]", lambda x, k: "".join(reversed(x))),
    "twice": (False, "each twice", "{x} + {x}", lambda x, k: x * 2),
    "cut": (False, "cut to {k} letters", "{x}[:{k}]", lambda x, k: x.removesuffix(x[k:])),
}
# name -> (words, before the loop, in the loop, result, in short, the same as a function)
TEMPLATES: dict[str, tuple] = {
    "count": ("Count the {what}.", "n = 0", "n += 1", "n", "len({all})", len),
    "list": ("List the {what}.", "found = []", "found.append({value})", "found", "{all}", list),
    "total": ("Add up the {what}.", "total = 0", "total += {value}", "total", "sum({all})", sum),
    "most": ("Find the largest of the {what}, or 0.", "best = 0", "best = max(best, {value})", "best",
             "max([0] + {all})", lambda found: max(found, default=0)),
    "join": ("Join the {what}.", 'text = ""', "text += {value}", "text", '"".join({all})', "".join),
    "first": ("Find the first of the {what}, or None.", "", "return {value}", "None", "({all} + [None])[0]",
              lambda found: found[0] if found else None),
    "any": ("Say if there are {what}.", "", "return True", "False", "len({all}) > 0", bool),
    "no": ("Say if there are no {what}.", "", "return False", "True", "{all} == []", lambda found: not found),
}
PLAIN = ("count", "any", "no")  # templates to which it does not matter what becomes of the items
ONLY = {"total": True, "most": True, "join": False}  # templates that are for numbers, or for texts


def said(operations: Iterable[tuple], part: int, x: str = "") -> list[str]:
    """Write operations (name, constant) in words (part=1), or as code for the variable `x` (part=2)."""
    return [(CONDITIONS | EXPRESSIONS)[name][part].format(x=x, k=k) for name, k in operations]


def operation(phrase: str) -> tuple[str, int | str]:
    """Find the operation that a phrase describes; return (name, constant), or raise ValueError."""
    for name, (_, words, _, _) in (CONDITIONS | EXPRESSIONS).items():
        before, slot, after = words.partition("{k}")
        k = phrase.removeprefix(before).removesuffix(after) if slot else ""
        if words.format(k=k) == phrase:
            return name, int(k) if slot and name not in LETTERS else k
    raise ValueError(f"no operation is called {phrase}")
