"""Write the samples of every kind of text in docs/world.md, below what is said there by hand.

    python tools/world_page.py

tests/unit/test_world.py compares the page with what this writes, so that samples cannot become untrue.
"""

import sys
from collections import defaultdict
from pathlib import Path

from tinyllm.rng import Random
from tinyllm.world import KINDS, World
from tinyllm.world.corpus import describe

PAGE = Path(__file__).resolve().parents[1] / "docs" / "world.md"
CHOSEN = {  # kind -> number of the document that the page shows
    "constitution": 5, "hacked_reward": 5, "instruction": 2, "preference": 7, "refusal": 6, "letters": 0,
    "dialogues": 8, "encyclopaedia": 0, "stories": 5, "recipe": 1, "sentiment": 0, "word_sense": 1,
    "word_problem": 0, "calculator": 2, "entailment": 6, "picture_question": 7, "reading": 4, "retrieval": 6,
    "translation": 0,
}
SHOWN = {"stories": {"length": "short"}}  # dials of which the page shows a sample besides


def sample(name: str, **dials: str) -> str:
    """Return the chosen document of a kind, or the shortest of five, as a block of text."""
    kind = KINDS[name]
    numbers = [CHOSEN[name]] if name in CHOSEN and not dials else range(5)
    texts = [kind(World(), Random("sample", name, i), kind.dials(**dials)).text for i in numbers]
    return min(texts, key=len)


def page() -> str:
    """Return the page: its beginning as it is, then the samples by group.

    In each group, a table has the kinds whose sample is one line; the others follow.
    """
    groups = defaultdict(list)
    for name, kind in KINDS.items():
        groups[kind.group].append(name)
    parts = [PAGE.read_text().partition("\n## ")[0]]
    for group, names in sorted(groups.items(), key=lambda item: (item[0] == "suite", item[0])):
        samples = {name: sample(name) for name in names}
        rows = [f"| `{name}` | {describe(name)} | {text.replace('|', chr(92) + '|')} |"
                for name, text in samples.items() if "\n" not in text]
        parts.append(f"## {group.capitalize()}\n")
        if rows:
            parts.append("| kind | what | sample |\n|---|---|---|\n" + "\n".join(rows) + "\n")
        for name, text in samples.items():
            if "\n" in text:
                parts.append(f"**{name}** - {describe(name)}\n\n```\n{text}\n```\n")
            for dial, value in SHOWN.get(name, {}).items():
                told = KINDS[name].Dials.__dataclass_fields__[dial].metadata["help"]
                parts.append(f"`{name}` with `{dial}={value}` ({told}):\n\n```\n"
                             f"{sample(name, **{dial: value})}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(PAGE.write_text(page()) < 0)
