"""Write docs/world.md: what the world is, and a sample of every kind of text.

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
HEAD = """# The world

Three generations of people live in 24 places. Everything about them is drawn from a seed and known: families,
homes, jobs, tastes, friends, pets, feasts, roads. Texts of many kinds are written about them, and every text
comes with its truth: the right answer, the facts it rests on, often its exact probability. So what a model
learns, invents, repeats or leaves out is a number, found on a laptop without another model as a judge. Nobody
in it is real.

```
seed -> people, places, dated facts            tinyllm world person "Emil Reed"
          |  rules: grandmother(x, z) if parent(x, y), mother(y, z)
          v
        all facts, each with its proof         tinyllm world ask "Emil Reed" sister --why
          |
          +-> grammars  -> prose               exact entropy, text -> probability
          +-> questions -> answers             found again by a second, independent way
          +-> mixes     -> corpora             with secrets, duplicates, poison, bias: of known strength
```

`tinyllm data show world:KIND` writes samples of a kind of text and lists its settings, the *dials*;
`tinyllm train --data world:hops,hops=3` trains on a kind, with a dial set;
`tinyllm data make world:mix --mb 50 --out DIR` writes a corpus with all that is known of it.
Documents of the test split are in no training text. In Python:

```python
from tinyllm.world import KINDS, Fact, Stream, World

world = World(seed=0)
world.ask(Fact("Emil Reed", "sister", None))      # facts, given or derived
world.holds("Emil Reed lives in Thornbury.")       # True
document = Stream(world, KINDS["question"])[7]     # endless; a document is found by its number
document.prompt, document.truth, document.labels
```

Nothing is saved: a world is its seed and its size. `--tokenizer word` makes a token of each whole word. What
models learned from these texts, with commands, stands in [measured.md](measured.md). The samples below were
chosen by hand, or are the shortest of five; all dials are the usual ones.
"""


CHOSEN = {  # kind -> number of the document that the page shows
    "constitution": 5, "hacked_reward": 5, "instruction": 2, "preference": 7, "refusal": 6, "letters": 0,
    "dialogues": 8, "encyclopaedia": 0, "stories": 5, "recipe": 1, "sentiment": 0, "word_sense": 1,
    "word_problem": 0, "calculator": 2, "entailment": 6, "picture_question": 7, "reading": 4, "retrieval": 6,
    "translation": 0,
}  # fmt: skip
SHOWN = {"stories": {"length": "short"}}  # dials of which the page shows a sample besides


def sample(name: str, **dials: str) -> str:
    """Return the chosen document of a kind, or the shortest of five, as a block of text."""
    kind = KINDS[name]
    numbers = [CHOSEN[name]] if name in CHOSEN and not dials else range(5)
    texts = [kind(World(), Random("sample", name, i), kind.dials(**dials)).text for i in numbers]
    return min(texts, key=len)


def page() -> str:
    """Return the page: in each group a table of the kinds whose sample is one line, then the others."""
    groups = defaultdict(list)
    for name, kind in KINDS.items():
        groups[kind.group].append(name)
    parts = [HEAD]
    for group, names in sorted(groups.items(), key=lambda item: (item[0] == "suite", item[0])):
        samples = {name: sample(name) for name in names}
        rows = [f"| `{name}` | {describe(name)} | {text.replace('|', chr(92) + '|')} |"
                for name, text in samples.items() if "\n" not in text]  # fmt: skip
        parts.append(f"## {group.capitalize()}\n")
        if rows:
            parts.append("| kind | what | sample |\n|---|---|---|\n" + "\n".join(rows) + "\n")
        for name, text in samples.items():
            if "\n" in text:
                parts.append(f"**{name}** - {describe(name)}\n\n```\n{text}\n```\n")
            for dial, value in SHOWN.get(name, {}).items():
                told = KINDS[name].Dials.__dataclass_fields__[dial].metadata["help"]
                parts.append(f"`{name}` with `{dial}={value}` ({told}):\n\n```\n"
                             f"{sample(name, **{dial: value})}\n```\n")  # fmt: skip
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(PAGE.write_text(page()) < 0)
