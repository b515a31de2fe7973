"""Check the interpreter: what it computes, that it refuses the rest, and that it judges programs."""

import time
from contextlib import suppress

import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm import Random, UserError
from tinyllm.world import KINDS, World
from tinyllm.world.interpreter import run

GOOD = '''
def best(names, k):
    """Try every statement that is allowed."""
    found = []
    total = 0
    for name in names:
        if name == "stop":
            return [total]
        elif len(name) > k and not name.startswith("A"):
            found.append(name.upper())
        else:
            total += len(name)
    odd = [x * x for x in range(5) if x % 2]
    return found + odd[::-1] + sorted([3, 1, 2])[1:] + [total, -7 // 2, sum([x for x in odd])]
'''


def test_it_computes_what_python_computes():
    assert run(GOOD, "best", [["Ada", "Linus", "Otto", "Pia"], 3]) == ["LINUS", "OTTO", 9, 1, 2, 3, 6, -4, 10]
    assert run(GOOD, "best", [["Ada", "stop"], 3]) == [3]
    assert run("def f(x):\n    x", "f", [1]) is None
    calls = "def f(x):\n if x < 2:\n  return 1\n return x * f(x - 1)\ndef g(x):\n x.append(f(len(x)))"
    assert run(f"{calls}\ny = [0, 0, 0]\ng(y)\ng(y)\nx = 1; y + [x]") == [0, 0, 0, 6, 24, 1]
    assert run("for x in range(9):\n if x * x > 30:\n  return x\n0") == 6
    given = [1, 2]
    run("def f(x):\n    x.append(3)", "f", [given])
    assert given == [1, 2], "the caller's list stays as it was"


@pytest.mark.parametrize("expression", [
    "1 + 2 * 3 - -4", "7 // 2 + 7 % 4", "not (1 < 2 and 2 < 3) or 4", "len('abc') * 'x'", "[1, 2] + [3] * 2",
    "'a, b'.split(', ')", "max([3, 1, 2]) in [3]", "' '.join(['a', 'b']).upper()", "[x for x in 'abc'][1:]",
    "str(12)[::-1]", "1 < 3 > 2 != 2", "any([0, 1]) and all([])", "int('12') + abs(-3)", "None == 0",
])
def test_expressions_equal_those_of_python(expression):
    assert repr(run(expression)) == repr(eval(expression))


REFUSED = [
    "9**9", "1 / 2", "~1", "1 << 3", "1.5", "b'a'", "...", "{}", "(1, 2)", "f'{1}'", "lambda: 1", "(x := 1)",
    "1 is 1", "[[1]]", "[].append([])", "[].insert(0, [])", "(1).__class__", "''.join.__self__",
    "'x'.format(1)", "open('x')", "__import__('os')", "print(1)", "'%1000d' % 5", "'a' * 1000000000",
    "1000000000 * [1]", "range(1000000000000)", "1000000 * 10000000", "int('9' * 100)", "[1] * 'a'",
    "'a' * 'b'", "len(1)", "x", "", "1 1", "'a'[::0]", "[0][1]", "'abc'[1, 2]", "1 // 0", "sorted([1, 'a'])",
    "sorted([1], reverse=True)", "min([])", "[x for x in 'a' for y in 'b']", "\0", "-" * 3000 + "1",
    "(" * 250 + "1" + ")" * 250, "1" * 5000, "{1: 2}[1]", "len(*[1])", "zip([1])", "1 if", "*[1]",
    "[x async for x in y]", "x = 1", "def f(x): return x", "def f(x): return y\ny = 1\nf(1)", "f = 1\nf(1)",
    "def f(x): return f(x)\nf(1)", "def f(x): return x\nf()", "[1 for x in range(900) for y in [1]]",
]


BODIES = [
    "while True:\n  x = 1", "pass", "return f(x)", "return 1 if x else 2", "x[0] = 1", "for a, b in x: a",
    "y = []\n y.append(y)", "for i in x:\n  x.append(i)", "y = 'a'\n for i in range(99):\n  y += y",
    "y = [z for z in x]\n return z", "import os", "global x", "def g(): pass", "class A: pass",
    "try: pass\n finally: pass", "del x", "assert x", "for i in x: x\n else: x", "a, b = 1, 2", "a = b = 1",
    "x[0:1] = [5]", "x += [1]", "with x: pass", "raise x", "return (yield)", "x: int = 1", "return len",
    "x.y = 1", "return x[0](1)", "x[0] = x", "match x:\n  case 1: pass",
    "return sum([y for y in range(1000)], [])",
]
HEADS = [
    "import os\ndef f(x): pass", "def f(*x): pass", "def f(x=1): pass", "def f(x, /): pass",
    "def f(x: int): return x", "@f\ndef f(x): pass", "async def f(x): pass", "def g(x): pass",
    "def f(x, y): pass", "f = 1", "def f(x", "x" * 5000,
]
SOURCES = [*HEADS, *(f"def f(x):\n {body}" for body in BODIES)]
CALLS = [*((expression,) for expression in REFUSED), *((source, "f", [[1]]) for source in SOURCES)]


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
def test_anything_else_is_refused(call):
    assert "UserError" not in refuses("", run, *call)


def test_no_step_takes_long():
    long = ["s = 'a' * 1000\n for i in range(1000):\n  s.replace('a', s)",
            "s = ['ab' * 500] * 1000\n for i in range(1000):\n  sorted(s)",
            "s = 'a' * 1000\n t = 'a' * 999 + 'b'\n for i in range(1000):\n  s.count(t)",
            "s = ['a' * 1000] * 1000\n str(s)", "for i in x:\n  x.append(i)",
            "s = ['a' * 1000] * 1000\n for i in range(1000):\n  ''.join(s)"]
    start = time.process_time()
    for body in long:
        refuses("", run, f"def f(x):\n {body}", "f", [1])
    assert time.process_time() - start < 1


@given(st.text("abx01 ()[]:=+*-.,'\"\n<forinlenreturn"), st.integers(0, 300))
def test_no_text_raises_anything_but_a_user_error(text, budget):
    for source in (text, f"def f(x):\n return {text}"):
        with suppress(UserError):
            run(source, "f", [1], budget)
            run(text, budget=budget)


@pytest.mark.parametrize("form, inside, why", [
    ("len(range({}))", 1000, "a range is longer than 1,000"), ("len('a' * {})", 1000, "longer than 1,000"),
    ("len({} * [1])", 1000, "longer than 1,000"), ("{} + 0", 10**12, "beyond 1,000,000,000,000"),
    ("{} * -1 - 0", 10**12, "beyond"), ("len([1] * 500 + [1] * ({} - 500))", 1000, "longer than"),
])
def test_sizes_are_bounded_exactly(form, inside, why):
    assert abs(run(form.format(inside))) == inside
    refuses(why, run, form.format(inside + 1))


def test_the_budget_is_exact():
    assert run("1 + 1", budget=4) == 2
    for source, budget in (("1 + 1", 3), ("max([0] * 100)", 60)):
        refuses(f"more than {budget} steps", run, source, budget=budget)


WORLD, PROGRAM = World(), KINDS["program"]


def program(i=0, **dials):
    return PROGRAM(WORLD, Random(i), PROGRAM.dials(**dials))


@pytest.mark.parametrize("body", [
    "return None", "pass", "return [", "while True:\n        pass", "import os", "return open('x')",
    "return exit()",
])
def test_wrong_and_hostile_bodies_fail(body):
    for i in range(20):
        assert PROGRAM.score_answer(f"\n    {body}", program(i)) == 0


def test_the_body_of_another_function_hardly_ever_passes():
    alike, passed = {}, 0
    for i in range(800):
        document = program(i, examples=0)
        name = document.labels["entry_point"]
        if name in alike and alike[name].prompt != document.prompt:
            passed += PROGRAM.score_answer(alike[name].answer, document)
        alike[name] = document
    assert passed < 800 * 0.04, "some pairs are equal, such as even and below 9, even and below 10"
