"""Check the rules of style on all files: docstrings, types, plain English, names.

Each rule is also tried on a planted offence.
"""

import ast
import re
from collections import defaultdict

import pytest
from source_files import CODE, ROOT, Source, library, sources, walked

C_WIDTH = 120  # ruff limits the width of Python, and the branches of its functions
OF_OPS = {path.name for path in (ROOT / "tinyllm" / "ops").glob("*.py")}


def lines_of_c_fit(source):
    for number, line in enumerate(source.text.splitlines(), 1):
        if source.path.startswith("csrc/") and len(line) > C_WIDTH:
            yield f"{source.path}:{number}: {len(line)} characters, the limit is {C_WIDTH}"


TELLING = ("mistake(", "variant(")  # decorators whose arguments say what a function is


def public_things_are_explained(source):
    if source.part is None:
        return
    tree = source.tree
    things = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
              and not any(ast.unparse(each).startswith(TELLING) for each in node.decorator_list)]
    for node in [tree, *(thing for thing in things if thing.name[0] != "_")]:
        name = getattr(node, "name", "the module")
        words = ast.get_docstring(node)
        line = getattr(node, "lineno", 1)
        if not words:
            yield f"{source.path}:{line}: {name} has no docstring"
        elif "\n" in words and words.split("\n")[1].strip():
            yield f"{source.path}:{line}: the docstring of {name} opens with one line, then a blank one"


def public_functions(source):
    """Every public function of a module and of its public classes."""
    bodies = [source.tree.body]
    bodies += [n.body for n in source.tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
    for node in (node for body in bodies for node in body):
        if isinstance(node, ast.FunctionDef) and (node.name[0] != "_" or node.name == "__call__"):
            yield node


def public_functions_have_types(source):
    if source.path.removeprefix("tinyllm/testing/") in OF_OPS:  # cases and variants are data
        return
    for node in public_functions(source):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [a.arg for a in given if a.annotation is None and a.arg not in ("self", "cls")]
        if bare or node.returns is None:
            what = f"its argument {bare[0]}" if bare else "what it returns"
            yield f"{source.path}:{node.lineno}: {node.name} has no type for {what}"


FRAGMENT = re.compile(r"(What|Whether|How|Where|Which|Who|When|Why) |.*\b(anew|whoever|theirs|storey)\b")


def docstrings_begin_plainly(source):
    """No first sentence is a fragment of a question or has archaic words."""
    for node in walked(source.text):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            first = (ast.get_docstring(node) or "").split("\n")[0]
            if FRAGMENT.match(first):
                yield f"{source.path}:{getattr(node, 'lineno', 1)}: a docstring begins with {first[:60]!r}"


VERBS = re.compile(
    r"(Add|Build|Check|Collect|Compare|Compile|Count|Damage|Define|Draw|Feed|Give|Hold|Judge|"
    r"Keep|Kill|Let|Make|Measure|Open|Prove|Quantise|Read|Render|Run|Save|Score|Set|"
    r"Share|Show|State|Step|Test|Train|Try|Write) "
)


def files_of_tests_begin_with_a_verb(source):
    """The first sentence of a file of tests says in the imperative what the file is for."""
    words = ast.get_docstring(source.tree) or ""
    if source.path.startswith("tests/") and not VERBS.match(words):
        yield f"{source.path}:1: the docstring begins with {words[:20]!r}, with none of the verbs in VERBS"


C_FRAGMENT = re.compile(r'(?:/\*|//|"""|^ *[*#]) *(?:What|Whether|How|Where|Which|Who|When|Why) ')


def comments_of_c_begin_plainly(source):
    for number, line in enumerate(source.text.splitlines(), 1):
        if source.path.startswith("csrc/") and C_FRAGMENT.search(line):
            yield f"{source.path}:{number}: a comment begins with {line.strip()[:60]!r}"


def no_test_is_imported(source):
    for node in walked(source.text) if source.path.startswith("tests/") else ():
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else \
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (f"{source.path}:{node.lineno}: {name} is a test; move what is shared into another file"
                    for name in names if name.startswith("test_"))


KINDS = "tinyllm/world/kinds/"  # whose classes give the kinds their names, and are not imported by name


def names_of_two_classes(files):
    """{name: files} of public classes that share a name."""
    found = defaultdict(list)
    for source in files:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_" and not source.path.startswith(KINDS):
                found[node.name].append(source.path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_public_class_has_the_name_of_another():
    assert not names_of_two_classes(library())
    a, b = (Source(f"tinyllm/{part}/a.py", "class Step: pass") for part in ("train", "cli"))
    assert names_of_two_classes([a, b]) == {"Step": [a.path, b.path]}


OF_THE_LIBRARY = (public_things_are_explained, public_functions_have_types)
OF_PYTHON = (docstrings_begin_plainly, files_of_tests_begin_with_a_verb, no_test_is_imported)
OF_ALL = (lines_of_c_fit, comments_of_c_begin_plainly)


@pytest.mark.parametrize("rule", OF_THE_LIBRARY, ids=lambda rule: rule.__name__)
def test_the_library_keeps(rule):
    assert not [line for source in library() for line in rule(source)]


@pytest.mark.parametrize("rule", OF_ALL, ids=lambda rule: rule.__name__)
def test_all_code_keeps(rule):
    assert not [line for source in sources(*CODE) for line in rule(source)]


@pytest.mark.parametrize("rule", OF_PYTHON, ids=lambda rule: rule.__name__)
def test_all_python_keeps(rule):
    assert not [line for source in sources(".py") for line in rule(source)]


OFFENCES = [
    (public_functions_have_types, "tinyllm/nn/layers.py", "def f(x: int):\n    pass"),
    (public_functions_have_types, "tinyllm/nn/layers.py", "class A:\n    def f(self, x) -> int: ..."),
    (docstrings_begin_plainly, "tinyllm/nn/layers.py", 'def f():\n    """Whether it is so."""'),
    (public_things_are_explained, "tinyllm/ops/softmax.py", "x = 1"),
    (public_things_are_explained, "tinyllm/ops/softmax.py", '"""Words."""\ndef softmax(x):\n    return x'),
    (public_things_are_explained, "tinyllm/ops/softmax.py", '"""Words\nthat run on."""'),
    (docstrings_begin_plainly, "tests/unit/test_ops.py", '"""What ops do."""'),
    (docstrings_begin_plainly, "setup.py", '"""How it is built."""'),
    (docstrings_begin_plainly, "tests/unit/test_ops.py", 'def test_x():\n    """Where it is 0, so is y."""'),
    (files_of_tests_begin_with_a_verb, "tests/unit/test_ops.py", '"""The ops."""'),
    (no_test_is_imported, "tests/unit/test_tokens.py", "from test_tokenizer import TEXT"),
    (no_test_is_imported, "tests/unit/test_tokens.py", "def f():\n    import test_tokenizer"),
    (lines_of_c_fit, "csrc/softmax.c", "/* " + "x" * 118),
    (comments_of_c_begin_plainly, "csrc/softmax.c", "int n; /* How many. */"),
    (comments_of_c_begin_plainly, "csrc/softmax.c", "/* Sums.\n *\n * Where a row ends. */"),
    (comments_of_c_begin_plainly, "csrc/glue/softmax.pxi", "    # Whether it fits."),
]
GOOD = [
    (no_test_is_imported, "tests/unit/test_tokens.py", "import pytest\nfrom tinyllm.testing import check"),
    (public_functions_have_types, "tinyllm/nn/layers.py", "def f(x: int) -> None: ...\ndef _g(x): ..."),
    (docstrings_begin_plainly, "tinyllm/nn/layers.py", 'def f():\n    """Return whether it is so."""'),
    (docstrings_begin_plainly, "tests/unit/test_ops.py", 'def test_x():\n    """If it is 0, so is y."""'),
    (files_of_tests_begin_with_a_verb, "tests/unit/test_ops.py", '"""Check the ops."""'),
    (lines_of_c_fit, "tinyllm/ops/softmax.py", "x" * 200),
    (comments_of_c_begin_plainly, "csrc/softmax.c", "/* Count. Where it ends, stop. */ int which; /* row */"),
]


@pytest.mark.parametrize("rule, path, text, count", [(*offence, 1) for offence in OFFENCES]
                         + [(*good, 0) for good in GOOD])
def test_every_rule_notices_an_offence_and_accuses_no_good_code(rule, path, text, count):
    assert len(list(rule(Source(path, text)))) == count
