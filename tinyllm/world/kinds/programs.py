"""Write programs: small functions with a docstring and tests.

A program filters a list, changes the items that are left, and folds the list into one value. A table gives
each step as source code, and as a Python function, which computes the results that the tests expect and is
written differently where possible. The interpreter proves that both agree.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind, dials
from tinyllm.world.interpreter import run
from tinyllm.world.world import World

NUMBERS = ("ages", "prices", "miles", "weights", "coins", "scores")
TEXTS = {"names": names.GIRLS + names.BOYS, "towns": names.PLACES, "things": names.THINGS, "pets": names.PETS,
         "animals": list(names.ANIMALS), "colours": names.COLOURS}
LETTERS = ("early", "end", "contain")  # operations with a letter as their constant
FROM = {"above": 3, "below": 4, "divisible": 3, "longer": 3, "shorter": 5}  # smallest constants; else 2
GROUPS = (("above", "below"), ("even", "odd", "divisible"), ("longer", "shorter"), *((c,) for c in LETTERS))
CONDITIONS: dict[str, tuple] = {  # name -> (is it for numbers?, words, code, a function)
    "above": (True, "above {k}", "{x} > {k}", lambda x, k: x > k),
    "below": (True, "below {k}", "{x} < {k}", lambda x, k: x < k),
    "even": (True, "even", "{x} % 2 == 0", lambda x, k: x & 1 == 0),
    "odd": (True, "odd", "{x} % 2 == 1", lambda x, k: x & 1 == 1),
    "divisible": (True, "divisible by {k}", "{x} % {k} == 0", lambda x, k: x in range(0, 99, k)),
    "longer": (False, "have more than {k} letters", "len({x}) > {k}", lambda x, k: x[k:] != ""),
    "shorter": (False, "have fewer than {k} letters", "len({x}) < {k}", lambda x, k: x[k - 1 :] == ""),
    "early": (False, "come before {k} in the alphabet", '{x}.lower() < "{k}"',
              lambda x, k: ord(x[0].lower()) < ord(k)),
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
# name -> (words, code before a loop, code in it, code of the result, one expression for all, a function)
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
PLAIN = ("count", "any", "no")  # templates that never use changed items
ONLY = {"total": True, "most": True, "join": False}  # True: for numbers only; False: for texts only
INPUTS, TESTS = 26, 10  # lists of inputs per theme; how many of them test one function


def _said(operations: Iterable[tuple], part: int, x: str = "") -> list[str]:
    """Write operations (name, constant) in words (part=1), or as code for the variable `x` (part=2)."""
    return [(CONDITIONS | EXPRESSIONS)[name][part].format(x=x, k=k) for name, k in operations]


@cache
def _inputs(items):
    """Return the lists on which functions of a theme are tried."""
    random = Random(0, "program", items)
    pool: Any = range(13) if items in NUMBERS else TEXTS[items]
    single = [[item] for item in random.shuffle(pool)[: INPUTS // 2]]
    more = [[random.choice(pool) for _ in range(2 + random.integers(5))] for _ in single]
    return [inputs for pair in zip(single, more, strict=True) for inputs in pair]


class Program(Kind):
    """Write the body of a function from its docstring; the body is right if it passes the tests."""

    group = "programs"
    end = "\n\n"  # an answer has several lines
    splits = {"operations": lambda document: document.labels["operations"]}
    Dials = dials(parts=(2, "conditions and changes of the items in a function", 1, 3),
                  examples=(1, "examples in the docstring", 0, 4))

    def write(self, world: World, random: Random, dials: Any) -> Document:
        """Draw up to 30 functions, until a function's tests have different outputs; return the last draw."""
        for _ in range(30):
            document = self._draw(random, dials)
            outputs = [output for _, output in document.labels["tests"]]
            if outputs[:1] * TESTS != outputs:
                break
        return document

    def _draw(self, random, dials):
        """Draw a theme, a template that fits it, and as many parts as the dials say."""
        of_numbers = random.integers(2) == 0
        items = random.choice(NUMBERS if of_numbers else list(TEXTS))
        template = random.choice([t for t in TEMPLATES if ONLY.get(t, of_numbers) == of_numbers])
        groups = [[c for c in group if CONDITIONS[c][0] == of_numbers] for group in GROUPS]
        conditions = [random.choice(group) for group in groups if group]
        changes = [name for name in EXPRESSIONS if EXPRESSIONS[name][0] == of_numbers]
        change = template not in PLAIN and random.integers(2) == 1
        drawn = random.shuffle(conditions)[: dials.parts - change] + [random.choice(changes)] * change
        parts = [(name, self._constant(random, name, items)) for name in drawn]
        return self._document(template, items, parts, random.integers(2) == 1, dials.examples)

    def _constant(self, random, name, items):
        """Return a constant for an operation, or "" if the operation needs no constant."""
        if name in LETTERS:
            word = random.choice(TEXTS[items]).lower()
            inside = word[1 + random.integers(2)]
            return {"early": max("c", word[0]), "end": word[-1], "contain": inside}[name]
        if "{k}" not in (CONDITIONS | EXPRESSIONS)[name][1]:
            return ""
        return FROM.get(name, 2) + random.integers(7 if name in ("above", "below") else 3)

    def _document(self, template, items, parts, short, examples):
        words = TEMPLATES[template][0]
        conditions = [part for part in parts if part[0] in CONDITIONS]
        change = [part for part in parts if part[0] in EXPRESSIONS]
        what = " and ".join(_said(conditions, 1))
        that = " that are " if items in NUMBERS else " that "
        what = ", ".join([items + (that + what if what else ""), *_said(change, 1)])
        name, doc = f"{template}_{items}", words.format(what=what)
        tests = self._tests(template, items, conditions, change, sum(map(ord, doc)))
        lines = [f">>> {name}({_code(inputs)})\n    {_code(output)}" for [inputs], output in tests[:examples]]
        shown = "\n\n    " + "\n    ".join(lines) + "\n    " if examples else ""
        prompt = f'def {name}({items}):\n    """{doc}{shown}"""'
        body = self._body(template, items, conditions, change, short)
        operations = [template, *sorted(part[0] for part in parts)]
        labels = {"entry_point": name, "items": items, "operations": operations, "tests": tests}
        return Document(prompt + body, labels, body, prompt=prompt)

    def _tests(self, template, items, conditions, change, at):
        """Return [[arguments], output] for inputs from index `at` on; those with new outputs come first."""
        fold, new, known, seen = TEMPLATES[template][-1], [], [], []
        chosen = [(CONDITIONS[name][3], k) for name, k in conditions]
        changed = [(EXPRESSIONS[name][3], k) for name, k in change]
        lists = _inputs(items)[at % INPUTS :] + _inputs(items)[: at % INPUTS]
        for inputs in sorted(lists, key=len) if template in ("any", "no") else lists:
            found = inputs
            for holds, k in chosen:
                found = [item for item in found if holds(item, k)]
            for function, k in changed:
                found = [function(item, k) for item in found]
            output = fold(found)
            (known if output in seen else new).append([[inputs], output])
            seen.append(output)
        return (new + known)[:TESTS]

    def _body(self, template, items, conditions, change, short):
        """Return the lines of the body, each after a newline."""
        _, before, inside, result, shortly, _ = TEMPLATES[template]
        x = items[:-1]
        test, value = " and ".join(_said(conditions, 2, x)), [*_said(change, 2, x), x][0]
        if short:
            every = f"[{value} for {x} in {items}{' if ' + test if test else ''}]"
            return f"\n    return {shortly.format(all=every)}"
        lines = [before, f"for {x} in {items}:", f"    if {test}:" if test else ""]
        lines += [(8 if test else 4) * " " + inside.format(value=value), f"return {result}"]
        return "".join(f"\n    {line}" for line in lines if line)

    def solve(self, world: World, document: Document) -> str:
        """Run the program on its tests, and return its body if it passes, else "wrong"."""
        return document.answer if self.score_answer(document.answer, document) else "wrong"

    def score_answer(self, answer: str | None, document: Document) -> float:
        """Return 1.0 if the function with the body `answer` passes all tests in the interpreter, else 0.0."""
        source = f"{document.prompt}\n{(answer or '').strip(chr(10))}"
        for arguments, output in document.labels["tests"]:
            try:
                if _code(run(source, document.labels["entry_point"], arguments)) != _code(output):
                    return 0.0
            except UserError:
                return 0.0
        return 1.0


def _code(value):
    if isinstance(value, list):
        return f"[{', '.join(map(_code, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
