"""Draw random settings for property tests, often at the ends of their ranges."""

from dataclasses import fields
from typing import Any

from tinyllm.rng import Random


def corner(config: type, random: Random) -> Any:
    """Draw an instance of a dataclass; a field has its default, a bound of its range, or a value between."""
    given = {}
    for field in fields(config):
        rule = field.metadata
        if random.integers(3) == 0:
            continue
        if field.type is bool:
            given[field.name] = bool(random.integers(2))
        elif "choices" in rule:
            given[field.name] = random.choice(rule["choices"])
        elif field.type is float:
            ends = rule["min"], rule["max"]
            given[field.name] = random.choice([*ends, 0.5 * sum(ends)])
        else:
            inside = rule["min"] + random.integers(rule["max"] - rule["min"] + 1)
            given[field.name] = random.choice([rule["min"], rule["max"], inside])
    return config(**given)
