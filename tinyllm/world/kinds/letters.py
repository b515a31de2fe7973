"""Write letters from a person of the world to a best friend."""

from typing import Any

from tinyllm.world.prose import Prose

RULES = {
    "letters": "<head> (<work>&<treasure>&<table>&<hours>) <wish> <close> {hero.first}",
    "head": "From {hero = writers}, {hero.lives_in}. Dear {friend = hero.friends : first}, <opening>",
    "opening": [
        (2, "we have had nothing but {weather = weather} since {day = days}."),
        "thank you for your letter, which came on a {weather = weather : day} {day = days}.",
        "it is {day = days} evening, and I can hear the {noise = heard} outside."
        " [The kettle sings.|The cat is asleep.|The candle is nearly down.]",
        "forgive me that I have not written since {day = days}; the {cause = bad} kept the postman away.",
    ],
    "work": [
        "You ask how it is to be {hero.job}: [never dull.|as always.|harder than you think.|a joy.]",
        "Work is plenty for {hero.job} like me.",
        "I am still {hero.job}, and still [late every morning.|proud of it.|learning.]",
    ],
    "treasure": [
        "I have bought {hero.thing}[!|, and everybody stares at it.|, do not laugh.]",
        "Do you remember my {hero.owns}? It [fell into the river.|is as good as new.|hangs over my bed.]",
    ],
    "table": [
        "We had {hero.likes} again yesterday, [and I ate too much.|and thought of you.|what a feast!]",
        "If you come, I shall make {hero.likes} for you.",
    ],
    "hours": [
        "In the evenings I go in for {hero.enjoys}.",
        "How I love {hero.enjoys}! [You should try it.|It keeps me young.|Mother calls it a waste of time.]",
        "There is little time for {hero.enjoys}[.|, alas.]",
    ],
    "wish": [
        "How is life in {friend.lives_in}?",
        "Are you still {friend.job}?",
        "Do you still like {friend.likes}?",
        "Write to me about {friend.lives_in}, and take care of your {friend.owns}.",
    ],
    "close": ["Yours,", "Your old friend,", "With love,", "Until soon,"],
}


class Letters(Prose):
    """Write a letter to a friend, with news about the writer's job, treasure, food and pastime."""

    splits = {"entity": lambda document: document.labels["hero"]}

    def rules(self, dials: Any) -> dict:
        """Return the rules of the grammar of letters."""
        return RULES
