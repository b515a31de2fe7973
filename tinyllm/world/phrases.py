"""Write facts as English and read them back: four sentences and a question for each relation."""

from tinyllm.world.facts import Fact
from tinyllm.world.forms import Form, Shape
from tinyllm.world.names import a, unwrapped

_STATEMENTS = """
lives_in: {s} lives in {o}. / The home of {s} is in {o}. / {o} is where {s} lives. / You can find {s} in {o}.
born_in: {s} was born in {o}. / The birthplace of {s} is {o}. /
    {o} is where {s} was born. / {s} came into the world in {o}.
born_on: {s} was born on {o}. / The birthday of {s} is {o}. /
    On {o}, {s} was born. / {s} has been in the world since {o}.
works_as: {s} works as a {o}. / The job of {s} is {o}. /
    By trade, {s} is a {o}. / {s} earns a living as a {o}.
likes: {s} likes {o}. / The favourite food of {s} is {o}. /
    {s} would eat {o} every day. / Nothing tastes better to {s} than {o}.
enjoys: {s} enjoys {o}. / The favourite pastime of {s} is {o}. /
    On Sundays, {s} goes in for {o}. / {s} spends every free hour on {o}.
owns: {s} owns a {o}. / The treasure of {s} is a {o}. / {s} keeps a {o} at home. / A {o} belongs to {s}.
pet: {s} has a pet called {o}. / The pet of {s} is {o}. /
    {s} looks after {o}. / {o} belongs to the house of {s}.
mother: {s}'s mother is {o}. / The mother of {s} is {o}. / {o} is the mother of {s}. / {o} gave birth to {s}.
father: {s}'s father is {o}. / The father of {s} is {o}. /
    {o} is the father of {s}. / {o} is known as the father of {s}.
married_to: {s} is married to {o}. / The partner of {s} is {o}. /
    {s} gave a ring to {o}. / {s} and {o} are a couple.
best_friend: {s}'s best friend is {o}. / The best friend of {s} is {o}. /
    {s} tells every secret to {o}. / Nobody is dearer to {s} than {o}.
grandmother: {s}'s grandmother is {o}. / A grandmother of {s} is {o}. /
    {o} is a grandmother of {s}. / {s} calls {o} Granny.
grandfather: {s}'s grandfather is {o}. / A grandfather of {s} is {o}. /
    {o} is a grandfather of {s}. / {s} calls {o} Grandpa.
sister: {s}'s sister is {o}. / A sister of {s} is {o}. /
    {o} is a sister of {s}. / {s} grew up with a sister, {o}.
brother: {s}'s brother is {o}. / A brother of {s} is {o}. /
    {o} is a brother of {s}. / {s} grew up with a brother, {o}.
can: {s} can {o}. / {s} knows how to {o}. / It is easy for {s} to {o}. / {s} has learnt to {o}.
works_at: {s} works at {o}. / {s} goes to work at {o}. / At {o}, {s} is at work. / {s} spends the day at {o}.
held_in: {s} is held in {o}. / The people of {o} hold {s}. /
    {o} is the town of {s}. / For {s} you must go to {o}.
held_on: {s} is held on {o}. / The date of {s} is {o}. /
    Every year, {s} begins on {o}. / {o} is the day of {s}.
"""
STATEMENTS = {  # relation -> four ways to say it; {s} is the subject, {o} the object
    relation: tuple(ways.split(" / "))
    for relation, _, ways in (line.partition(": ") for line in unwrapped(_STATEMENTS))
}
# relation -> the question for its object
QUESTIONS = {
    "lives_in": "Where does {s} live?", "born_in": "Where was {s} born?", "born_on": "When was {s} born?",
    "works_as": "What is the job of {s}?", "likes": "What does {s} like to eat?",
    "enjoys": "What does {s} enjoy?", "owns": "What does {s} own?", "pet": "Which pet does {s} have?",
    "mother": "Who is the mother of {s}?", "father": "Who is the father of {s}?",
    "married_to": "Who is married to {s}?", "best_friend": "Who is the best friend of {s}?",
    "held_in": "Where is {s} held?", "held_on": "When is {s} held?",
}


def say(fact: Fact, way: int = 0, subject: str | None = None) -> str:
    """Write a fact as a sentence; `way` (0 to 3) picks the wording, `subject` replaces the subject's name."""
    text = STATEMENTS[fact.relation][way].format(s=subject or fact.subject, o=fact.object)
    return text[0].upper() + text[1:]


def ask(fact: Fact) -> str:
    """Return a question about a fact; the answer is the object of the fact."""
    return QUESTIONS[fact.relation].format(s=fact.subject)


def answer(fact: Fact) -> str:
    """Return the object of a fact as the answer to a question, such as "Nutley" or "a blue kite"."""
    return a(str(fact.object)) if fact.relation == "owns" else str(fact.object)


def asked(*relations: str) -> Shape:
    """Return a slot type (`Shape`) for questions about relations; a value is a Fact with object None."""
    forms = {relation: Form(QUESTIONS[relation]) for relation in relations}

    def read(text):
        found = ((relation, form.read(text)) for relation, form in forms.items())
        return next(Fact(slots["s"], relation, None) for relation, slots in found if slots)

    return Shape(r".+?\?", ask, read)


def passage(*relations: str) -> Shape:
    """Return a slot type (`Shape`) for sentences about some relations; a value is [(fact, wording)]."""

    def read(text):
        sentences = [f"{sentence}." for sentence in text.removesuffix(".").split(". ")]
        readings = [[r for r in read_statements(one) if r[0].relation in relations] for one in sentences]
        return [one[0] for one in readings]

    return Shape(r".+?\.", lambda told: " ".join(say(fact, way) for fact, way in told), read)


HOPS = {"mother": "mother", "father": "father", "best_friend": "best friend", "married_to": "partner"}


def chain(*relations: str) -> Shape:
    """Return a `Shape` for phrases: "the mother of the partner of Mia" is ["Mia", "married_to", "mother"]."""
    names = {HOPS[relation]: relation for relation in relations}

    def read(text):
        *hops, person = text.split(" of ")
        return [person, *[names[hop.removeprefix("the ")] for hop in reversed(hops)]]

    return Shape(".+?", lambda who: "".join(f"the {HOPS[hop]} of " for hop in reversed(who[1:])) + who[0],
                 read)


FORMS = [(relation, way, Form(text)) for relation, ways in STATEMENTS.items()
         for way, text in enumerate(ways)]


def read_statements(sentence: str) -> list[tuple[Fact, int]]:
    """Return all readings of a sentence as (fact, wording); the names need not exist in a world."""
    plain = sentence.replace(" an ", " a ").replace("An ", "A ")
    found = ((form.read(plain), relation, way) for relation, way, form in FORMS)
    return [(Fact(slots["s"], relation, slots["o"]), way) for slots, relation, way in found if slots]
