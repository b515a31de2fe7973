"""Find pairs of submissions that share more code than chance explains.

Submissions are compared as sets of statements, each without names, constants, comments and types; so renaming
and reordering change nothing. Statements of the starter and of the library's own solution do not count. A
statement that two students share has a weight of log2(1 / p) bits, if a share p of the other students has it
too. So a statement that everybody writes weighs nothing, and a rare statement weighs much.

Chance is estimated from the class itself: most pairs worked independently, and above the median, sums of bits
are rarer about exponentially. With a class of this size without copies, only one grading in twenty would have
a pair above the limit. Small stubs are alike by nature, so a pair above the limit is only a reason to look.
"""

import ast
import builtins
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyllm.course.answer_keys import answers
from tinyllm.course.classroom.collect import Submission
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.reference_solution import solved
from tinyllm.files import read_text
from tinyllm.report.page import Html, assemble, html, number, section, table, tag
from tinyllm.report.tokens import plain

CHUNK = 4096  # statements that are counted at once
LONGEST = 200_000  # bytes of a file that is compared
SHOWN = 200  # characters of a statement that a report shows
LEAST_BITS = 20  # on top of a bit for each doubling of the pairs: statements are not quite independent
FALSE_PAIRS = 0.05  # expected on a page about a class without copies
MOST_PAIRS, MOST_LINES = 50, 100  # pairs on the page; statements of a pair
KEPT = {*dir(builtins), "self"}  # names that nobody chooses
IN_C = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\S")
OF_C = {"for", "if", "else", "while", "return", "int", "float", "const", "void", "double", "size_t", "break"}
CAUTION = ("A pair stands here because the two share statements that few others wrote. Exercises of a few "
           "lines leave few ways to write them, and people who learn together write alike: it is a reason to "
           "look and to ask, and says nothing about who wrote what.")  # fmt: skip
RULE = ("What the starter and the library's solutions have does not count; what most others wrote, hardly. "
        "A bit is a halving: 10 bits are shared by chance once in 1,000 times.")  # fmt: skip
ALL = "all lessons"
Key = tuple[str, str]  # folder of a lesson, statement without names


class Place(NamedTuple):
    """The place of a statement: a file, a line, and its text."""

    file: str
    line: int
    text: str


class SharedBits(NamedTuple):
    """The sum of bits that two students share in a lesson's folder, and the limit that it exceeds."""

    lesson: str
    bits: float
    limit: float


class Pair(NamedTuple):
    """Two students who share statements. shared: (bits, place in `one`'s file, place in `other`'s file)."""

    one: str
    other: str
    findings: list[SharedBits]
    shared: list[tuple[float, Place, Place]]

    @property
    def words(self) -> str:
        """Say in words what the two share: "Ada and Bob: 70 bits in all lessons ..., 12 statements"."""
        clearest = max(self.findings, key=lambda each: each.bits / each.limit)
        told = f"{clearest.bits:.0f} bits in {clearest.lesson}, where chance gives up to {clearest.limit:.0f}"
        return plain(f"{self.one} and {self.other}: {told}; {len(self.shared)} statements")


def shape(node: Any) -> str:
    """Return the structure of a statement as text, without names, constants, types or inner statements."""
    if isinstance(node, ast.Name):
        return node.id if node.id in KEPT else "_"
    if isinstance(node, ast.Constant):
        return "0"
    parts = [type(node).__name__]
    for field, value in ast.iter_fields(node):
        if field in ("ctx", "annotation", "returns", "type_comment"):
            continue
        if isinstance(value, str):
            parts.append(value if isinstance(node, ast.Attribute | ast.keyword) else "_")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.stmt):
                parts.append(shape(child))
    return f"({' '.join(parts)})"


def statements(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (shape, first line, last line) of each statement, except definitions, imports and docstrings."""
    skipped = ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef | ast.Import | ast.ImportFrom
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not isinstance(node, skipped) and not is_text:
            inner = getattr(node, "body", None)
            last = inner[0].lineno - 1 if isinstance(inner, list) and inner else node.end_lineno
            yield shape(node), node.lineno, max(last or 0, node.lineno)


def lines_of_c(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (shape, n, n) for each line n of code in a C file, as `statements` does for Python."""
    comment = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
    blank = comment.sub(lambda found: "\n" * found[0].count("\n"), text)
    for i, line in enumerate(blank.split("\n"), 1):
        words = [word if word in OF_C or not re.match(r"\w", word) else "0" if word[0].isdigit() else "_"
                 for word in IN_C.findall(line)]  # fmt: skip
        if any(word.isidentifier() for word in words) and not line.lstrip().startswith("#"):
            yield " ".join(words), i, i


def fingerprint(folder: str, name: str, text: str) -> dict[Key, Place]:
    """Return the statements of a file, each with its first place. Raises SyntaxError or ValueError."""
    text = re.sub(r"\r\n?", "\n", text)
    lines, found = text.split("\n"), dict[Key, Place]()
    for said, first, last in statements(text) if name.endswith(".py") else lines_of_c(text):
        if (folder, said) not in found:
            part = " ".join(line[:SHOWN] for line in lines[first - 1 : last][:SHOWN])
            place = Place(f"{folder}/{name}", first, " ".join(part.split())[:SHOWN])
            found[folder, said] = place
    return found


def known(part: Part) -> set[Key]:
    """Return the statements of a lesson that are ignored, because the starter or a solution has them."""
    texts = [("exercise.py", part.lesson.starter)]
    texts += [(path.name, read_text(path)) for path in part.lesson.path.glob("exercise.c")]
    for task in map(part.lesson.task, part.points):
        if task.kind == "op":
            texts.append(("exercise.py", solved(task)))
        elif task.kind != "run":
            texts.append(("exercise.c" if task.kind == "c" else "exercise.py", answers(task).reference))
    return {key for name, text in texts for key in fingerprint(part.lesson.folder, name, text)}


def fingerprints(submissions: Iterable[Submission],
                 course: Course) -> tuple[dict[str, dict[Key, Place]], list[str]]:
    """Return {student: statements to compare}, and sentences about files that cannot be compared."""
    ignored = set[Key]().union(*map(known, course.parts))
    found: dict[str, dict[Key, Place]] = {}
    left = []
    for submission in submissions:
        mine = found.setdefault(submission.student, {})
        for (folder, name), data in sorted(submission.files.items()):
            if not name.endswith((".py", ".c")):
                continue
            try:
                if len(data) > LONGEST:
                    raise ValueError("it is too long")
                mine |= fingerprint(folder, name, data.decode("utf-8-sig", "replace"))
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                why = getattr(error, "msg", None) or str(error) or type(error).__name__
                left.append(plain(f"{submission.student}, {folder}/{name}: {why}"))
        found[submission.student] = {key: place for key, place in mine.items() if key not in ignored}
    return found, left


def worth(key: Key, count: int, students: int) -> float:
    """Return the weight in bits of a statement that `count` of all students have.

    The rarer a statement is in the class, the larger its weight. To avoid a division by 0, the number of
    other students who have it is raised by 1/16, or more for short statements.
    """
    prior = max(2 ** -((key[1].count("(") + key[1].count("_")) / 4), 1 / 16)
    return math.log2((students - 1) / (count - 2 + prior)) if students > 2 else -math.log2(prior)


def similar(found: dict[str, dict[Key, Place]]) -> list[Pair]:
    """Return the pairs of students who share more than chance explains, the clearest first."""
    students = list(found)
    counts = Counter(key for mine in found.values() for key in mine)
    bits = {key: worth(key, n, len(students)) for key, n in counts.items() if n > 1}
    lessons = sorted({folder for folder, _ in bits})
    rows, columns = np.triu_indices(len(students), 1)
    every, above = np.zeros((len(students), len(students))), dict[tuple, list[SharedBits]]()
    groups = [*lessons, ALL] if len(lessons) > 1 else lessons
    for where in groups:
        sums = every if where == ALL else shared_bits(found, {k: x for k, x in bits.items() if k[0] == where})
        every = every + sums
        limit = beyond_chance(sums[rows, columns], FALSE_PAIRS / len(groups))
        for i, j in zip(rows, columns, strict=True):
            if sums[i, j] > limit:
                above.setdefault((i, j), []).append(SharedBits(where, float(sums[i, j]), limit))
    pairs = []
    for (i, j), findings in above.items():
        one, other = found[students[i]], found[students[j]]
        places = {finding.lesson for finding in findings}
        both = [(bits[key], one[key], other[key]) for key in one
                if key in other and key in bits and places & {key[0], ALL}]  # fmt: skip
        pairs.append(Pair(students[i], students[j], findings, sorted(both, key=lambda each: each[1])))
    return sorted(pairs, key=lambda pair: -max(finding.bits / finding.limit for finding in pair.findings))


def shared_bits(found: dict[str, dict[Key, Place]], bits: dict[Key, float]) -> np.ndarray:
    """Return the sum of bits that each pair of students shares: an array (students, students)."""
    sums, keys = np.zeros((len(found), len(found))), list(bits)
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        has = np.array([[key in mine for key in chunk] for mine in found.values()], np.float64)
        sums += (has * [bits[key] for key in chunk]) @ has.T
    return sums


def beyond_chance(sums: np.ndarray, false_pairs: float) -> float:
    """Return a limit in bits: without copying, `false_pairs` pairs of a class exceed it on average.

    Above the median, the sums of pairs should fall off exponentially, with a scale from the median and the
    third quartile. Then a share of 0.5 exp(-(limit - median) / scale) of all pairs is above the limit.
    """
    floor = LEAST_BITS + math.log2(max(len(sums), 1) / false_pairs)
    if len(sums) < 3:
        return floor
    median, upper = np.quantile(sums, [0.5, 0.75], method="lower")
    tail = (upper - median) / math.log(2) * math.log(0.5 * len(sums) / false_pairs)
    return max(float(median + tail), floor)


def similarity_page(course: Course, found: dict[str, dict[Key, Place]], pairs: list[Pair],
                    left: Sequence[str]) -> str:
    """Return an HTML page with the pairs of students; what a pair shares is shown side by side."""
    count = len(found) * (len(found) - 1) // 2
    lead = f"{len(found)} submissions, {count:,} pairs; above what chance gives: {len(pairs)}"
    body: list[Html] = [tag("p", CAUTION), tag("p", RULE, class_="note")]
    body += [side_by_side(pair) for pair in pairs[:MOST_PAIRS]]
    if left:
        body.append(section("Not compared", None, tag("ul", [tag("li", text) for text in left])))
    return assemble(f"{course.title}: shared code", lead, body, "Names, constants and comments are ignored.")


def side_by_side(pair: Pair) -> Html:
    """Return what two students share as a table, a row for each statement."""
    rows = []
    for bits, one, other in pair.shared[:MOST_LINES]:
        rows.append([number(f"{bits:.1f}"), f"{one.file}:{one.line}", code(one.text), number(other.line),
                     code(other.text)])  # fmt: skip
    head = ["bits", "file and line", plain(pair.one), "line", plain(pair.other)]
    more = len(pair.shared) - MOST_LINES
    rest = tag("p", f"and {more} more") if more > 0 else None
    return html([tag("h3", pair.words), table("shared statements", head, rows), rest])


def code(text: str) -> Html:
    """Return a cell of an HTML table with a line of code."""
    return tag("td", plain(text), class_="tok", style="white-space: pre-wrap; overflow-wrap: anywhere")
