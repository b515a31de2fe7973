"""Write entries of an encyclopaedia; dials (settings) say how far wording and order vary."""

from typing import Any

from tinyllm.config import setting
from tinyllm.world.prose import Prose

SENTENCES = {  # fact -> four ways to say it
    "born": (
        "{hero.He} was born in {hero.born_in} in the year {hero.year}.",
        "The year of {hero.his} birth is {hero.year}, the place {hero.born_in}.",
        "In the year {hero.year}, in {hero.born_in}, {hero.he} first saw the light of day.",
        "{hero.born_in} is {hero.his} birthplace, {hero.year} the year.",
    ),
    "job": (
        "{hero.He} works as {hero.job}.",
        "As {hero.job}, {hero.he} is never late.",
        "{hero.His} trade is that of {hero.job}.",
        "Everybody knows {hero.him} as {hero.job}.",
    ),
    "food": (
        "{hero.He} likes {hero.likes} best of all.",
        "Nothing pleases {hero.him} more than {hero.likes}.",
        "At the smell of {hero.likes}, {hero.he} comes running.",
        "{hero.His} favourite dish is {hero.likes}.",
    ),
    "pastime": (
        "{hero.He} spends every free hour on {hero.enjoys}.",
        "On Sundays, {hero.he} goes in for {hero.enjoys}.",
        "{hero.His} great love is {hero.enjoys}.",
        "If it were not for {hero.enjoys}, {hero.he} would be bored.",
    ),
    "friend": (
        "{hero.He} tells every secret to {hero.best_friend}.",
        "{hero.best_friend} is {hero.his} best friend.",
        "With {hero.best_friend}, {hero.he} could talk all night.",
        "Nobody is dearer to {hero.him} than {hero.best_friend}.",
    ),
    "thing": (
        "{hero.He} owns {hero.thing}.",
        "{hero.His} treasure is {hero.thing}.",
        "At home {hero.he} keeps {hero.thing}.",
        "Ask {hero.him} about {hero.thing}, and {hero.he} will smile.",
    ),
}


class Encyclopaedia(Prose):
    """Describe a person in the style of an encyclopaedia."""

    splits = {"entity": lambda document: document.labels["hero"]}

    class Dials:
        ways: int = setting(4, help="how many ways to say each fact", min=1, max=4)
        shuffle: bool = setting(True, help="sentences in any order")

    def rules(self, dials: Any) -> dict:
        """Return the rules of the grammar of entries: a first sentence with name and home, then the facts."""
        facts = ["[" + "|".join(ways[: dials.ways]) + "]" for ways in SENTENCES.values()]
        first, *others = facts  # without shuffling, what has the fewest values is said last
        body = f"({'&'.join(facts)})" if dials.shuffle else " ".join([first, *reversed(others)])
        openings = (" is a {hero.girl} from {hero.lives_in}.", ", a {hero.girl}, lives in {hero.lives_in}.")
        opening = "|".join(openings[: dials.ways])
        return {"encyclopaedia": f"{{hero = people}}[{opening}] {body}"}
