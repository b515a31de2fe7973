"""Implement `tinyllm world`, which shows what is true in the invented world of the generated texts."""

from tinyllm.cli.command import command
from tinyllm.errors import UserError
from tinyllm.report.terminal import entry
from tinyllm.world import Fact, World
from tinyllm.world.phrases import read_statements


@command("world ask")
def ask(subject: str, relation: str | None = None, *, seed: int = 0, why: bool = False) -> None:
    """Say what is true of a person, a place or a thing in the world.

    SUBJECT   a name such as "Emil Reed", or a sentence, to ask if it is true
    RELATION  what to ask for, such as mother, cousin, lives_in (default: all relations)
    --seed S  the seed of the world
    --why     print the facts from which each answer follows

    example:
      tinyllm world ask "Emil Reed" cousin --why
      tinyllm world ask "Emil Reed lives in Thornbury."
    """
    world = World(seed)
    known = world.known
    if relation is None and (subject.endswith(".") or read_statements(f"{subject}.")):
        print("true" if world.holds(subject) else "false")
        return
    relations = sorted({fact.relation for fact in known})
    if relation is not None and relation not in relations:
        raise UserError(f"the world knows no relation {relation}; it knows {', '.join(relations)}")
    asked = [relation] if relation else relations
    found = [fact for name in asked for fact in known.find(Fact(subject, name, None))]
    if not found:
        if subject not in {fact.subject for fact in known}:
            world.person(subject)  # raises an error with similar names
        raise UserError(f"nothing is known of {relation} of {subject}")
    for fact in found:
        print(entry(f"{fact.relation:<14} ", str(fact.object)))
        for reason in known.why(fact) if why else ():
            print(f"  because {reason}")
