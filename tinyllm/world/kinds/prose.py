"""Write prose by grammars: stories, letters, conversations, and entries of an encyclopaedia."""

import math
from typing import Any

from tinyllm.world import stories
from tinyllm.world.document import HELD_OUT, dials
from tinyllm.world.grammar import Grammar
from tinyllm.world.names import unwrapped
from tinyllm.world.prose import Prose
from tinyllm.world.template import read_grammar
from tinyllm.world.world import World


class Stories(Prose):
    """Tell a little story with a beginning, a problem and an end."""

    splits = {"text": lambda document: document.text, "plot": lambda document: document.labels["plot"]}
    Dials = dials(length=("long", "short ones are easier: a child has one toy and one friend",
                          tuple(stories.RULES)))

    def grammar(self, world: World, dials: Any) -> Grammar:
        """Return the grammar of the stories, which does not depend on the world."""
        return stories.grammar(dials.length)

    def expectation(self, world: World, dials: Any = None, split: str = "all") -> tuple[float, float]:
        nats, chars = self.grammar(world, dials or self.dials()).expectation()
        share = {"all": 1.0, "train": 1 - HELD_OUT, "test": HELD_OUT}[split]
        return nats + math.log(share), chars


LETTERS = read_grammar("""
letters: <head> (<work>&<treasure>&<table>&<hours>) <wish> <close> {hero.first}
head: From {hero = writers}, {hero.lives_in}. Dear {friend = hero.friends : first}, <opening>
opening: [2*we have had nothing but {weather = weather} since {day = days}.
    |thank you for your letter, which came on a {weather = weather : day} {day = days}.
    |it is {day = days} evening, and I can hear the {noise = heard} outside. [The kettle sings.|The cat is
     asleep.|The candle is nearly down.]
    |forgive me that I have not written since {day = days}; the {cause = bad} kept the postman away.]
work: [You ask how it is to be {hero.job}: [never dull.|as always.|harder than you think.|a joy.]
    |Work is plenty for {hero.job} like me.
    |I am still {hero.job}, and still [late every morning.|proud of it.|learning.]]
treasure: [I have bought {hero.thing}[!|, and everybody stares at it.|, do not laugh.]
    |Do you remember my {hero.owns}? It [fell into the river.|is as good as new.|hangs over my bed.]]
table: [We had {hero.likes} again yesterday, [and I ate too much.|and thought of you.|what a feast!]
    |If you come, I shall make {hero.likes} for you.]
hours: [In the evenings I go in for {hero.enjoys}.
    |How I love {hero.enjoys}! [You should try it.|It keeps me young.|Mother calls it a waste of time.]
    |There is little time for {hero.enjoys}[.|, alas.]]
wish: [How is life in {friend.lives_in}?
    |Are you still {friend.job}?
    |Do you still like {friend.likes}?
    |Write to me about {friend.lives_in}, and take care of your {friend.owns}.]
close: [Yours,|Your old friend,|With love,|Until soon,]
""")


class Letters(Prose):
    """Write a letter to a friend, with news about the writer's job, treasure, food and pastime."""

    templates = LETTERS


DIALOGUES = read_grammar("""
dialogues: <meeting> (<job>&<food>&<pastime>&<thing>) <parting>
meeting: {hero = writers} met {friend = hero.friends} [on the road to {hero.lives_in}.|on a
    {weather = weather : day} {day = days}.|by chance at the well.|under a big umbrella.] [2*"Good morning,
    {hero.first}!" said {friend.first}.|"Is that you, {hero.first}?" {friend.first} asked.]
job: ["[What do you do all day|Do you work]?" "I am {hero.job}," said {hero.first}[.|, with pride.]
    |"Are you still {hero.job}?" "[I am|Of course|As you can see]," said {hero.first}.]
food: ["Are you hungry?" "[Only for|I could eat] {hero.likes}," said {hero.first}.
    |"What shall we eat?" "[Best of all,|I would like] {hero.likes}," said {hero.first}.
    |"I have {hero.likes} in my bag." "My favourite!" cried {hero.first}.]
pastime: ["And what do you do in the evenings?" "[Always {hero.enjoys}|Nothing but {hero.enjoys}]," said
    {hero.first}.
    |"Do you have time for {hero.enjoys}?" "[Every evening|Never enough|On Sundays]," said {hero.first}.]
thing: ["What is under your arm?" "My {hero.owns}," said {hero.first}. "[Do not touch it|You may hold it]."
    |"Where is your {hero.owns}?" "[At home|A neighbour has it|I wish I knew]," said {hero.first}.]
parting: ["Come and see me in {friend.lives_in}," {friend.first} said, and [waved.|ran off.|was gone.]
    |Then they [laughed|sang|said nothing] all the way to {hero.lives_in}.
    |"I must go home to {friend.lives_in}," said {friend.first}. "[See you soon|Farewell|Good luck]!"]
""")


class Dialogues(Prose):
    """Tell what two friends say to each other when they meet."""

    templates = DIALOGUES


SENTENCES = [ways.split(" / ") for ways in unwrapped("""
{hero.He} was born in {hero.born_in} in the year {hero.year}. /
    The year of {hero.his} birth is {hero.year}, the place {hero.born_in}. /
    In the year {hero.year}, in {hero.born_in}, {hero.he} first saw the light of day. /
    {hero.born_in} is {hero.his} birthplace, {hero.year} the year.
{hero.He} works as {hero.job}. / As {hero.job}, {hero.he} is never late. /
    {hero.His} trade is that of {hero.job}. / Everybody knows {hero.him} as {hero.job}.
{hero.He} likes {hero.likes} best of all. / Nothing pleases {hero.him} more than {hero.likes}. /
    At the smell of {hero.likes}, {hero.he} comes running. / {hero.His} favourite dish is {hero.likes}.
{hero.He} spends every free hour on {hero.enjoys}. / On Sundays, {hero.he} goes in for {hero.enjoys}. /
    {hero.His} great love is {hero.enjoys}. / If it were not for {hero.enjoys}, {hero.he} would be bored.
{hero.He} tells every secret to {hero.best_friend}. / {hero.best_friend} is {hero.his} best friend. /
    With {hero.best_friend}, {hero.he} could talk all night. /
    Nobody is dearer to {hero.him} than {hero.best_friend}.
{hero.He} owns {hero.thing}. / {hero.His} treasure is {hero.thing}. /
    At home {hero.he} keeps {hero.thing}. / Ask {hero.him} about {hero.thing}, and {hero.he} will smile.
""")]  # for each fact, four ways to say it


class Encyclopaedia(Prose):
    """Describe a person in the style of an encyclopaedia."""
    Dials = dials(ways=(4, "how many ways to say each fact", 1, 4), shuffle=(True, "sentences in any order"))

    def rules(self, dials: Any) -> dict:
        """Return the rules of the grammar of entries: a first sentence with name and home, then the facts."""
        facts = ["[" + "|".join(ways[: dials.ways]) + "]" for ways in SENTENCES]
        first, *others = facts  # without shuffling, the fact with the fewest values is last
        body = f"({'&'.join(facts)})" if dials.shuffle else " ".join([first, *reversed(others)])
        openings = (" is a {hero.girl} from {hero.lives_in}.", ", a {hero.girl}, lives in {hero.lives_in}.")
        opening = "|".join(openings[: dials.ways])
        return {"encyclopaedia": f"{{hero = people}}[{opening}] {body}"}
