"""Check the rules of style that ruff does not know: types of public functions, and plain English.

Each rule is also tried on a planted offence.
"""

import ast
import re

import pytest
from source_files import CODE, ROOT, Source, sources

C_WIDTH = 120  # ruff limits the width of Python, and the branches of its functions
OF_OPS = {path.name for path in (ROOT / "tinyllm" / "ops").glob("*.py")}


def lines_of_c_fit(source):
    for number, line in enumerate(source.text.splitlines(), 1):
        if source.path.startswith("csrc/") and len(line) > C_WIDTH:
            yield f"{source.path}:{number}: {len(line)} characters, the limit is {C_WIDTH}"


def public_functions_have_types(source):
    """Check public functions and methods; skip files of cases and variants, whose functions are data."""
    if source.part is None or source.path.removeprefix("tinyllm/testing/") in OF_OPS:
        return
    classes = [n.body for n in source.tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
    for node in (node for body in [source.tree.body, *classes] for node in body):
        if not isinstance(node, ast.FunctionDef) or (node.name[0] == "_" and node.name != "__call__"):
            continue
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [a.arg for a in given if a.annotation is None and a.arg not in ("self", "cls")]
        if bare or node.returns is None:
            what = bare[0] if bare else "its result"
            yield f"{source.path}:{node.lineno}: {node.name} has no type for {what}"


QUESTION = "(?:What|Whether|How|Where|Which|Who|When|Why) "
FRAGMENT = re.compile(rf'^ *"""(?:{QUESTION}|.*\b(anew|whoever|theirs|storey)\b)')
C_FRAGMENT = re.compile(rf'(?:/\*|//|"""|^ *[*#]) *{QUESTION}')
VERBS = re.compile(
    r'"""(Add|Build|Check|Collect|Compare|Compile|Copy|Count|Damage|Define|Draw|Feed|Give|Hold|Judge|'
    r"Keep|Kill|Let|Make|Measure|Open|Prove|Quantise|Read|Render|Run|Save|Score|Set|"
    r"Share|Show|State|Step|Test|Train|Try|Write) "
)


def docstrings_and_comments_of_c_begin_plainly(source):
    """Find first sentences that are fragments of questions, or, in docstrings, have archaic words."""
    fragment = C_FRAGMENT if source.path.startswith("csrc/") else FRAGMENT
    for number, line in enumerate(source.text.splitlines(), 1):
        if fragment.search(line):
            yield f"{source.path}:{number}: it begins with {line.strip()[:60]!r}"


def files_of_tests_begin_with_a_verb(source):
    """Find files of tests whose first sentence is not an imperative that says what the file is for."""
    if source.path.startswith("tests/") and source.path.endswith(".py") and not VERBS.match(source.text):
        yield f"{source.path}:1: it begins with {source.text[:20]!r}, not with a verb of VERBS"


LAYERS, OPS, KERNEL = "tinyllm/nn/layers.py", "tests/unit/test_ops.py", "csrc/softmax.c"
RULES = {  # rule -> (offences, good code)
    public_functions_have_types: (
        [(LAYERS, "def f(x: int):\n    pass"), (LAYERS, "class A:\n    def f(self, x) -> int: ...")],
        [(LAYERS, "def f(x: int) -> None: ...\ndef _g(x): ...")]),
    docstrings_and_comments_of_c_begin_plainly: (
        [(LAYERS, 'def f():\n    """Whether it is so."""'), (OPS, '"""What ops do."""'),
         ("setup.py", '"""How it is built."""'), (OPS, 'def test_x():\n    """Where it is 0, so is y."""'),
         (KERNEL, "int n; /* How many. */"), (KERNEL, "/* Sums.\n *\n * Where a row ends. */"),
         ("csrc/glue/norm.pxi", "    # Whether it fits.")],
        [(LAYERS, 'def f():\n    """Return whether it is so."""'),
         (OPS, 'def test_x():\n    """If it is 0, so is y."""'),
         (KERNEL, "/* Count. Where it ends, stop. */ int which; /* row */")]),
    files_of_tests_begin_with_a_verb: ([(OPS, '"""The ops."""')], [(OPS, '"""Check the ops."""')]),
    lines_of_c_fit: ([(KERNEL, "/* " + "x" * 118)], [(LAYERS, "x" * 200)]),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_all_code_keeps_a_rule_that_finds_offences_and_accuses_no_good_code(rule):
    assert not [line for source in sources(*CODE) for line in rule(source)]
    for cases, count in zip(RULES[rule], (1, 0), strict=True):
        assert [len(list(rule(Source(*case)))) for case in cases] == [count] * len(cases)
