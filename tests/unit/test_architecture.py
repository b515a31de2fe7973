"""Check the architecture: the layers of tinyllm and the rules of its imports, read from the source.

Each rule is a function from a source file to the lines that break it. Every rule is also tried on a planted
offence, because a rule that cannot fail checks nothing. The rules of style are in test_style.py; ruff checks
that only cli/ prints, and that no data that are read can run as code (pyproject.toml).
"""

import ast
import graphlib
import re
import runpy
import sys

import pytest
from source_files import ROOT, Source, library, walked

# A part may import itself and the parts on earlier lines. Parts on one line must not import each other.
# docs/read.md explains the layers by these numbers.
LAYERS = (
    ("arrays", "errors", "padding", "version"),  # leaves that every part may import
    ("rng",),
    ("config",),  # settings that check themselves
    ("files",),
    ("ops",),  # 0: arrays in, arrays out
    ("tokenizer", "constrain"),  # leaves: text and tokens; texts that must fit a form
    ("world",),  # a leaf: a small world, and texts about it
    ("data",),  # a leaf: corpora and batches
    ("tape",),  # 1: the backward pass, and arrays that record their history
    ("tensor",),
    ("functional",),  # 2
    ("nn",),  # 3
    ("models",),  # 4
    ("decode",),  # 5
    ("train",),  # 6
    ("runs",),  # 7
    ("align", "eval", "compress", "serve", "parallel"),  # 8: side by side, but all may import eval/task.py
    ("report",),  # what a person looks at
    ("testing",),  # for tests/ and course/
    ("course",),
    ("bench",),  # measures everything below
    ("cli",),
    ("api",),  # the public names
    ("__init__", "__main__"),
)
HEIGHT = {part: height for height, parts in enumerate(LAYERS) for part in parts}
NETWORK = {"tape", "tensor", "functional", "nn", "models"}  # these know no text

CORE = {"numpy", "regex", "tqdm"}
PEERS = {"torch", "transformers", "llama_cpp", "gguf", "rustbpe", "tiktoken", "tokenizers"}
EXTRAS = {  # on top of CORE
    "tokenizer": {"tokenizers"},
    "models": {"gguf"},
    "testing": {"hypothesis"},
    "course": {"hypothesis"},
    "serve": {"starlette", "uvicorn"},
    "parallel": {"mpi4py"},
    "bench": PEERS,
}

INFRASTRUCTURE = {"cpu", "ladder", "level", "parallel", "pool", "probe"}  # C files that are no op's kernels


def imports(source):
    """Yield every (line, module, name) that a file imports; relative names are made absolute."""
    package = source.path.removesuffix(".py").split("/")[:-1]
    for node in walked(source.text):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield from ((node.lineno, module, alias.name) for alias in node.names)


def arrows_point_down(source):
    if source.part not in HEIGHT:
        yield f"{source.path}: {source.part} is in no layer; give it one in tests/unit/test_architecture.py"
        return
    for line, module, name in imports(source):
        if module.split(".")[0] != "tinyllm":
            continue
        to, *_ = module.split(".")[1:] or [name if name in HEIGHT else "__init__"]
        down = to == source.part or HEIGHT.get(to, 99) < HEIGHT[source.part] + (module == "tinyllm.eval.task")
        text = source.part in NETWORK and to in ("tokenizer", "data")
        tests = to == "testing" and source.part not in ("testing", "course")
        if not down or text or tests:
            yield f"{source.path}:{line}: {source.part} must not import {to}"


def extras_stay_out(source):
    for line, module, _ in imports(source):
        top = module.split(".")[0]
        if top not in {"tinyllm", *CORE, *EXTRAS.get(source.part, ())} and top not in sys.stdlib_module_names:
            yield f"{source.path}:{line}: {top} is no core dependency"


COURSE = re.compile(r"\b(students?|mine|yours|lessons?)\b", re.IGNORECASE)
STORIES = "tinyllm/world/storylines", "tinyllm/world/kinds/"  # people in the texts say these words


def the_course_is_unknown_below(source):
    if source.part in ("course", "cli", "__init__", "__main__") or source.path.startswith(STORIES):
        return
    for number, line in enumerate(source.text.splitlines(), 1):
        if found := COURSE.search(line):
            yield f"{source.path}:{number}: nothing below course/ says {found[0]}"


OPENERS = {"open", "os.open", "io.open", "io.FileIO", "np.load", "np.fromfile", "np.memmap", "safe_open"}
READ_ELSEWHERE = {  # all other reads go through tinyllm/files.py, which refuses pipes, devices and huge files
    ("tinyllm/models/weights.py", "np.fromfile(f"): "reads a file that is open",
    ("tinyllm/course/classroom/collect.py", "archive.open(entry)"): "an entry of a zip, read up to a limit",
    ("tinyllm/ops/unicode.py", "Path(__file__)"): "a file of the package, read at build time, too",
    ("tinyllm/course/sandbox.py", "os.open(path, os.O_PATH"): "opens a folder for landlock, reads nothing",
    ("tinyllm/course/fork_server.py", "os.open(OUTPUT, os.O_WRONLY"): "writes",
    ("tinyllm/course/workers.py", "os.open(Path(self.scratch, OUTPUT)"): "a file that it has made itself",
}
HARMLESS = re.compile(  # opens a file of the system, or a file to write
    r"open\((f?'/proc/|os\.devnull|[\w.]+, '[wax]b?')"
)


def files_are_read_in_one_place(source):
    if source.path == "tinyllm/files.py":
        return
    for node in walked(source.text):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name not in OPENERS and not re.search(r"\.(read_text|read_bytes|open)$", name):
            continue
        text = ast.unparse(node)
        known = any(path == source.path and part in text for path, part in READ_ELSEWHERE)
        if not known and not HARMLESS.search(text):
            yield f"{source.path}:{node.lineno}: {text[:80]} is no reader of tinyllm.files"


def import_graph(files):
    """Return {module: modules of the package that it imports, at the top or inside functions}."""
    modules = {s.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): s for s in files}
    graph = {}
    for module, source in modules.items():
        reached = {f"{base}.{name}" if f"{base}.{name}" in modules else base
                   for _, base, name in imports(source) if not str(name).startswith("_compiled")}
        graph[module] = (reached & modules.keys()) - {module}
    return graph


def test_files_import_no_circle():
    graphlib.TopologicalSorter(import_graph(library())).prepare()
    a = Source("tinyllm/x/a.py", "from tinyllm.x import b")
    b = Source("tinyllm/x/b.py", "def f():\n    import tinyllm.x.a")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(import_graph([a, b])).prepare()


OPS, GPT = "tinyllm/ops/softmax.py", "tinyllm/models/gpt.py"
LOOP, TRAIN = "tinyllm/train/loop.py", "tinyllm/cli/train.py"
RULES = {  # a rule: offences, and good code
    arrows_point_down: (
        [(OPS, "from tinyllm.tensor import Tensor"), (OPS, "def f():\n    import tinyllm.functional"),
         (OPS, "from ..nn import Module"), (GPT, "from tinyllm.train import AdamW"),
         (GPT, "from tinyllm import engine"), (GPT, "from tinyllm.data import get_batch"),
         (LOOP, "from tinyllm import GPT"), (LOOP, "import tinyllm"),
         ("tinyllm/align/dpo.py", "from tinyllm.eval import perplexity"),
         (TRAIN, "from tinyllm.testing import check"), ("tinyllm/cellar.py", "")],
        [(GPT, "import os\nfrom tinyllm import functional as F"),
         ("tinyllm/__init__.py", "from tinyllm.models import GPT"),
         ("tinyllm/align/grpo.py", "import tinyllm.nn\nfrom tinyllm.eval.task import Task"),
         (OPS, "from tinyllm.ops.loss import x\nfrom . import y")]),
    extras_stay_out: (
        [(GPT, "import torch"), (OPS, "from hypothesis import given")], [(OPS, "import numpy, math")]),
    the_course_is_unknown_below: (
        [(OPS, "# A student's own function.")], [("tinyllm/course/x.py", "# A student's own function.")]),
    files_are_read_in_one_place: (
        [(TRAIN, "with open(path) as f: pass"), (TRAIN, "Path(folder, 'a').read_bytes()"),
         (TRAIN, "f = path.open('rb')"), (TRAIN, "os.open(path, os.O_RDONLY)"), (TRAIN, "np.load(path)")],
        [(TRAIN, "read_bytes(path)\nopen(path, 'wb')")]),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_library_keeps_a_rule_that_finds_offences_and_accuses_no_good_code(rule):
    assert library() and not [line for source in library() for line in rule(source)]
    for cases, count in zip(RULES[rule], (1, 0), strict=True):
        assert [len(list(rule(Source(*case)))) for case in cases] == [count] * len(cases)


JUDGES = {"__init__", "arrays", "bounds", "by_rule", "catalog", "check", "edits", "operators",
          "properties", "relations", "statements", "values"}  # testing/ without files for ops/


def stems(pattern):
    return {path.stem for path in ROOT.glob(pattern)}


def test_the_same_stem_everywhere():
    """`git ls-files | grep softmax` must list all files of softmax: its op, kernels, cases and mistakes."""
    helpers = {"__init__", "mask", "registry", "runtime", "shapes", "unicode"}
    ops = stems("tinyllm/ops/*.py") - helpers
    kernels = {name.split("_")[0] for name in stems("csrc/*.c")} - INFRASTRUCTURE
    kernels |= {"bpe", "pieces"}  # the files of csrc/bpe
    bindings = runpy.run_path(str(ROOT / "csrc" / "bindings.py"))
    written = {file for file, *kernel in bindings["kernels"]() if bindings["function"](*kernel)}
    assert (stems("csrc/glue/*.pxi") - {"_kernels"}) | written == kernels <= ops
    assert stems("tinyllm/testing/*.py") - JUDGES == ops
