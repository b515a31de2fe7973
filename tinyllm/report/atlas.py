"""Write the atlas of a world: one page with its map, its towns, its people and its last events."""

from tinyllm.report.diagram import Arrow, diagram
from tinyllm.report.page import Html, assemble, details, section, table, tag
from tinyllm.world import Date, Fact, World
from tinyllm.world.geography import COLUMNS, ROWS
from tinyllm.world.phrases import STATEMENTS, say

CELL = 64  # pixels between two columns of the map


def atlas_page(world: World) -> str:
    """Return the atlas of a world as the text of an HTML page."""
    seed, year, known = world.config.seed, world.config.year, len(world.known())
    lead = f"{len(world.people)} people, {len(world.map.places)} places, {known:,} facts of the year {year}"
    towns = [_town(world, place) for place in world.map.places]
    body = [
        section("The map", None, map_picture(world)),
        section("The towns", "Who lives there; click on a name.", towns),
        section("The last events", None, table("events", ["date", "what happened"], _events(world))),
    ]
    return assemble(f"An atlas of world {seed}", lead, body, "Made from a seed; nobody here is real.")


def map_picture(world: World) -> Html:
    """Draw the map of a world as SVG: lines are roads with their miles, larger dots have more people."""
    at = {name: ((x + 0.5) * CELL, (y + 0.5) * CELL) for name, (x, y) in world.map.places.items()}
    shapes: list = [Arrow([at[a], at[b]], str(miles), "faint", head=False)
                    for (a, b), miles in world.map.roads.items()]  # fmt: skip
    for name, (x, y) in at.items():
        people = len(world.ask(Fact(None, "lives_in", name)))
        r = 3 + people / 4
        dot = tag("circle", tag("title", f"{people} people"), cx=x, cy=y, r=r, fill="currentColor")
        shapes += [dot, tag("text", name, x=x, y=y - r - 11, class_="on", style="fill: var(--ink)")]
    unit = "a number beside a road is its length in miles"
    return diagram("Places and roads", "the map of the world", (COLUMNS * CELL, ROWS * CELL), shapes, unit)


def _town(world, place):
    """Return a section, closed at first, with the feasts, the roads and the people of a place."""
    feasts = [str(fact.subject) for fact in world.ask(Fact(None, "held_in", place))]
    near = sorted(world.map.neighbours(place).items())
    roads = ", ".join(f"{name} ({miles} miles)" for name, miles in near)
    names = [str(fact.subject) for fact in world.ask(Fact(None, "lives_in", place))]
    about = [tag("p", f"Roads to {roads}."), tag("p", f"Feasts: {', '.join(feasts)}.") if feasts else None]
    rows = [[name, *(_of(world, name, what) for what in ("works_as", "owns", "likes"))] for name in names]
    who = table(f"people of {place}", ["name", "job", "treasure", "favourite food"], rows)
    return details(f"{place}, {len(names)} people", about, who)


def _of(world, name, relation):
    found = world.ask(Fact(name, relation, None))
    return str(found[0].object) if found else ""


def _events(world):
    told = [fact for fact in world.history() if fact.since and fact.relation in STATEMENTS]
    return [[str(Date.of(fact.since)), say(fact)] for fact in told[-60:]]
