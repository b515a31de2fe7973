"""Write sentences in which "she" or "he" means one of two people, with a clue that fits only one of them.

If the clue is the gender, a small model learns the task at once. If the clue is the job, the model had not
learnt the task after 1,200 steps (docs/measured.md).
"""

from functools import partial

from tinyllm.world.facts import Fact, FactBase, read_rules
from tinyllm.world.forms import FIRST_NAMES, Form, Shape, read_any
from tinyllm.world.names import BOYS, GIRLS, JOBS, THINGS, words
from tinyllm.world.question import asks, dials

# deeds of a helper; deeds of somebody who is helped / clues to who can help; clues to who needs help
_AFFAIRS = """
lent {him} a {thing}, gave {him} a {thing}, brought {him} a {thing}, made {him} a {thing};
asked {him} for a {thing}, begged {him} for a {thing}, borrowed {his} {thing}, bought a {thing} from {him}
/ had two of them, had one to spare, owned a chest full of them; had none, needed one, had lost one

carried {him} over the brook, pulled {him} out of the mud, lifted {him} over the fence, led {him} up the hill;
leant on {him} all the way, clung to {him}, rode on {his} back, called {him} for help
/ was very strong, had strength for two, was still fresh; had a sore foot, was worn out, could go no further

comforted {him}, sang {him} a song, hugged {him} for a while, told {him} a funny story;
wept on {his} shoulder, ran into {his} arms, hid behind {him}, cried out for {him}
/ had a warm heart, was calm and kind, was good at cheering up; was in tears, was sad, had had a bad dream

taught {him} to dance, showed {him} a card trick, explained the game to {him}, helped {him} with the sums;
took lessons from {him}, watched {his} steps, learned a trick from {him}, copied {his} sums
/ knew how to do it, had done it often, was a master of it; wanted to learn, was new to it, had never tried it

shared a pie with {him}, cooked soup for {him}, saved a plum for {him}, fed {him} with cake;
ate {his} lunch, took a crumb from {him}, licked {his} plate, supped at {his} table
/ had a full basket, had enough for two, had baked all day; was hungry, had eaten nothing, had an empty bag
"""
_SIDES = [
    [side.strip().split(", ") for side in affair.replace("\n/ ", ";").replace("\n", " ").split(";")]
    for affair in _AFFAIRS.strip().split("\n\n")
]
AFFAIRS = [(side[:2], side[2:]) for side in _SIDES]  # (helper's deeds, the other's deeds), (clues)
CLUES = {
    (deed, clue): int(gives != able)  # 0 if the clue is about the first person, 1 if about the second
    for deeds, clues in AFFAIRS
    for gives, able in ((0, 0), (0, 1), (1, 0), (1, 1))
    for deed in deeds[gives]
    for clue in clues[able]
}
PRONOUNS = {"he": {"him": "him", "his": "his"}, "she": {"him": "her", "his": "her"}}
LENT = [thing for thing in THINGS if thing[0] not in "aeiou"]
GIVING = words("""
    lent gave brought made carried pulled lifted led comforted sang hugged told taught showed explained helped
    shared cooked saved fed
""")
NEED = words("none needed lost sore worn further tears sad dream wanted new tried hungry nothing empty")
DEEDS = [Form(deed, him=("him", "her"), his=("his", "her"), thing=LENT)
         for deed in dict.fromkeys(deed for deed, _ in CLUES)]
DEED_NUMBERS = {form.template: i for i, form in enumerate(DEEDS)}
CHANCE = {"gender": 0.5, "job": 0.5, "cause": 0.54}
RULES = read_rules("can(x, y) if works_as(x, z), skill(z, y)")


def _draw(random, dials):
    he = random.choice(list(PRONOUNS))
    a, b = random.shuffle((GIRLS if he == "she" else BOYS)[: dials.names])[:2]
    clue = random.choice(list(CHANCE)) if dials.clue == "any" else dials.clue
    if clue != "cause":
        who = random.integers(2)
        if clue == "gender":
            stranger = random.choice((BOYS if he == "she" else GIRLS)[: dials.names])
            a, b = (stranger, b) if who else (a, stranger)
        jobs = random.shuffle(list(JOBS)[:8])[:2]
        c, d = random.shuffle([a, b])
        return {"way": 1, "a": a, "b": b, "c": c, "d": d, "he": he, "job": jobs[0], "other": jobs[1],
                "skill": JOBS[jobs[who]][0]}
    # Drawn evenly, a deed or a clue alone would not hint at the answer. Drawn unevenly, a guess by the deed
    # scores 0.7, by the clue 0.6, and a constant one 0.54. It was not shown that this helps a small model.
    affair, gives, able = random.choice(AFFAIRS), random.integers(10) < 6, random.integers(10) < 3
    deed, said = random.choice(affair[0][not gives]), random.choice(affair[1][not able])
    did = DEED_NUMBERS[deed], {**PRONOUNS[he], "thing": random.choice(LENT)}
    return {"way": 0, "a": a, "b": b, "did": did, "he": he, "clue": said}


def _labels(a, b, did=(0, {}), clue="", job="", other="", skill=""):
    return {"people": [a, b], "deed": [job, other] if job else did[0], "clue": skill or clue}


def _combination(document):
    """Return what a split holds out: two jobs in alphabetical order, or a deed and a clue."""
    deed = document.labels["deed"]
    return sorted(deed) if isinstance(deed, list) else [deed, document.labels["clue"]]


def _by_words(prompt, a, b, clue="", job="", other="", skill=""):
    """Solve independently: by jobs and skills, or by words for giving (deed) and for need (clue)."""
    if job:
        told = [Fact(a, "works_as", job), Fact(b, "works_as", other)]
        skills = [Fact(name, "skill", skill) for name, (skill, _, _) in JOBS.items()]
        return FactBase([*told, *skills], RULES).find(Fact(None, "can", skill))[0].subject
    able = not any(word in NEED for word in clue.split(" "))
    return a if able == (prompt.split(" ")[4] in GIVING) else b


@asks("{a} met {b} and {did} because {he} {clue}. Who {clue}?",
      "{a} is a {job} and {b} is a {other}. {c} met {d} when {he} went to {skill}. Who went to {skill}?",
      slots={**dict.fromkeys("abcd", FIRST_NAMES), "job": JOBS, "other": JOBS, "he": PRONOUNS,
             "skill": [skill for skill, _, _ in JOBS.values()], "clue": [clue for _, clue in CLUES],
             "did": Shape(r".+?", lambda did: DEEDS[did[0]].say(**did[1]), partial(read_any, DEEDS))},
      group="understanding", marker="", draw=_draw, second=_by_words, labels=_labels,
      choices=lambda a, b: [a, b],
      chance=lambda dials: CHANCE.get(dials.clue, sum(CHANCE.values()) / len(CHANCE)),
      splits={"combination": _combination},
      Dials=dials(clue=("any", "gender and job, the job alone, or the cause of a deed", ("any", *CHANCE)),
                  names=(4, "how many names of women, and of men: fewer are easier", 2, 40)))
def coreference(a: str, b: str, did: tuple = (0, {}), clue: str = "", job: str = "", other: str = "",
                skill: str = "") -> str:
    """Tell which of two people is meant by "she" or "he"."""
    if job:
        return next(name for name, known in ((a, job), (b, other)) if JOBS[known][0] == skill)
    return (a, b)[CLUES[DEEDS[did[0]].template, clue]]
