"""Write conversations of two friends: one asks, and the other answers."""

from typing import Any

from tinyllm.world.prose import Prose

RULES = {
    "dialogues": "<meeting> (<job>&<food>&<pastime>&<thing>) <parting>",
    "meeting": """
        {hero = writers} met {friend = hero.friends} [on the road to {hero.lives_in}.|on a
        {weather = weather : day} {day = days}.|by chance at the well.|under a big umbrella.]
        [2*"Good morning, {hero.first}!" said {friend.first}.|"Is that you, {hero.first}?"
        {friend.first} asked.]
    """,
    "job": [
        '"[What do you do all day|Do you work]?" "I am {hero.job}," said {hero.first}[.|, with pride.]',
        '"Are you still {hero.job}?" "[I am|Of course|As you can see]," said {hero.first}.',
    ],
    "food": [
        '"Are you hungry?" "[Only for|I could eat] {hero.likes}," said {hero.first}.',
        '"What shall we eat?" "[Best of all,|I would like] {hero.likes}," said {hero.first}.',
        '"I have {hero.likes} in my bag." "My favourite!" cried {hero.first}.',
    ],
    "pastime": [
        """
        "And what do you do in the evenings?" "[Always {hero.enjoys}|Nothing but {hero.enjoys}],"
        said {hero.first}.
        """,
        '"Do you have time for {hero.enjoys}?" "[Every evening|Never enough|On Sundays]," said {hero.first}.',
    ],
    "thing": [
        '"What is under your arm?" "My {hero.owns}," said {hero.first}. "[Do not touch it|You may hold it]."',
        '"Where is your {hero.owns}?" "[At home|A neighbour has it|I wish I knew]," said {hero.first}.',
    ],
    "parting": [
        '"Come and see me in {friend.lives_in}," {friend.first} said, and [waved.|ran off.|was gone.]',
        "Then they [laughed|sang|said nothing] all the way to {hero.lives_in}.",
        '"I must go home to {friend.lives_in}," said {friend.first}. "[See you soon|Farewell|Good luck]!"',
    ],
}


class Dialogues(Prose):
    """Tell what two friends say to each other when they meet."""

    splits = {"entity": lambda document: document.labels["hero"]}

    def rules(self, dials: Any) -> dict:
        """Return the rules of the grammar of conversations."""
        return RULES
