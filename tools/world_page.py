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
seed -> people, places, dated facts            tinyllm world person "Leo Candle"
          |  rules: grandmother(x, z) if parent(x, y), mother(y, z)
          v
        all facts, each with its proof         tinyllm world ask "Leo Candle" sister --why
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
world.ask(Fact("Leo Candle", "sister", None))      # facts, given or derived
world.holds("Leo Candle lives in Iverness.")       # True
document = Stream(world, KINDS["question"])[7]     # endless; a document is found by its number
document.prompt, document.truth, document.labels
```

What models learned from these texts, with commands, stands in [measured.md](measured.md). A sample below is
the shortest of five with the default dials.
"""


SHOWN = {"stories": {"length": "short"}}  # dials of which the page shows a sample besides


def sample(name: str, **dials: str) -> str:
    """Return the first short document of a kind, as a block of text."""
    kind = KINDS[name]
    documents = [kind(World(), Random("sample", name, i), kind.dials(**dials)) for i in range(5)]
    return min(documents, key=lambda document: len(document.text)).text


def page() -> str:
    """Return the page."""
    groups = defaultdict(list)
    for name, kind in KINDS.items():
        groups[kind.group].append(name)
    parts = [HEAD]
    for group, names in sorted(groups.items(), key=lambda item: (item[0] == "suite", item[0])):
        parts.append(f"## {group.capitalize()}\n")
        if group == "suite":
            rows = [f"| `{name}` | {describe(name)} | {sample(name)} |" for name in names]
            parts.append("| kind | what | sample |\n|---|---|---|\n" + "\n".join(rows) + "\n")
            continue
        for name in names:
            parts.append(f"**{name}** - {describe(name)}\n\n```\n{sample(name)}\n```\n")
            for dial, value in SHOWN.get(name, {}).items():
                told = KINDS[name].Dials.__dataclass_fields__[dial].metadata["help"]
                text = sample(name, **{dial: value})
                parts.append(f"With `{dial}={value}` ({told}):\n\n```\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(PAGE.write_text(page()) < 0)
