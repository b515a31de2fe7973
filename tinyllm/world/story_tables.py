"""List the children, animals, places and things of the stories, with facts that hold in all stories.

For example, Bramble is always a hedgehog who lives in the forest and brings cherries. So one can test whether
a model has learnt these facts. Weights make some names more frequent than others.
"""

from tinyllm.world.names import HE, SHE, a
from tinyllm.world.template import Entity


def child(name: str, pronouns: dict, weight: int) -> Entity:
    """Return a child as an entity; its word `girl` is "girl" or "boy", its `intro` introduces the child."""
    kind = "girl" if pronouns is SHE else "boy"
    return Entity(name, weight, girl=kind, intro=f"{kind} called {name}", **pronouns)


def animal(kind: str, name: str, pronouns: dict, gift: str) -> Entity:
    """Return an animal as an entity; `gift` is the present that the animal brings to friends."""
    return Entity(name, kind=kind, a=f"{a(kind)} called {name}", gift=gift, **pronouns)


def place(name: str, at: str, weight: int, spots: list, animals: list) -> Entity:
    """Return a place as an entity, with its hiding spots and animals; `at` is a phrase like "in the park"."""
    return Entity(name, weight, at=at, spots=plain(*spots), animals=animals)


def plain(*names: str, weight: int = 1) -> list[Entity]:
    """Return entities that have a name and a weight, and no other words."""
    return [Entity(name, weight) for name in names]


def friends(girl: tuple, boy: tuple) -> list[Entity]:
    """Return a girl and a boy who are friends; each has a home, a colour, a toy and an elder."""
    both = [child(girl[0], SHE, 1), child(boy[0], HE, 1)]
    for hero, friend, (_, home, colour, toy, elder) in zip(both, both[::-1], (girl, boy), strict=True):
        vars(hero).update(friends=[friend], home=home, colour=colour, toy=f"{colour} {toy}", elder=elder)
    return both


GLUE, THREAD = {"mend": "a drop of glue"}, {"mend": "needle and thread"}
TABLES: dict[str, list[Entity]] = {
    "children": [
        *[child(name, SHE, 3) for name in ("Lily", "Mia", "Rosie", "Nora", "Ruby")],
        *[child(name, HE, 3) for name in ("Tom", "Ben", "Leo", "Sam", "Max")],
        *[child(name, SHE, 2) for name in ("Clara", "Ella", "Hana", "Amina", "Zoe", "Greta")],
        *[child(name, HE, 2) for name in ("Finn", "Jack", "Omar", "Hugo", "Ravi", "Kofi")],
    ],
    "traits": [
        *plain("curious", "cheerful", "quiet", "brave", "clever", "gentle", weight=2),
        *plain("dreamy", "merry", "shy", "patient", "stubborn", "careful"),
    ],
    "likes": [
        *plain("puddles", "warm bread", "old songs", "riddles", "bedtime stories", "funny hats", weight=2),
        *plain("long walks", "secrets", "cherries", "thunder", "tall trees", "the stars", "the rain"),
    ],
    "houses": [
        Entity(f"the {kind}", a=f"a {kind}") for kind in (
            "little house", "tall house", "red house", "white house", "crooked house", "cottage", "cabin",
            "farmhouse")
    ],
    "landmarks": plain("by the sea", "near the mill", "on the hill", "beside the church", "among the trees",
                      "at the end of the lane", "behind the bakery", "near the bridge"),
    "elders": [
        Entity("mother", 3, **SHE), Entity("father", 3, **HE),
        Entity("grandmother", 3, **SHE), Entity("grandfather", 3, **HE),
        Entity("aunt", **SHE), Entity("uncle", **HE),
        Entity("big sister", **SHE), Entity("big brother", **HE),
    ],
    "colours": [
        *plain("red", "blue", "green", "yellow", weight=2),
        *plain("white", "silver", "golden", "purple", "striped", "spotted"),
    ],
    "things": [
        Entity("kite", 2, broken="torn", **GLUE), Entity("drum", 2, broken="cracked", **GLUE),
        Entity("scarf", 2, broken="torn", **THREAD), Entity("lantern", 2, broken="cracked", **GLUE),
        Entity("hat", 2, broken="torn", **THREAD), Entity("ball", 2, broken="torn", **THREAD),
        Entity("whistle", broken="cracked", **GLUE), Entity("boat", broken="in two pieces", **GLUE),
        Entity("flute", broken="in two pieces", **GLUE), Entity("puppet", broken="torn", **THREAD),
        Entity("crown", broken="in two pieces", **GLUE), Entity("train", broken="in two pieces", **GLUE),
        Entity("ribbon", broken="torn", **THREAD),
    ],
    "foods": [
        Entity("pie", a="an apple pie"), Entity("cake", a="a birthday cake"),
        Entity("bread", a="a loaf of warm bread"), Entity("cherries", a="a bag of cherries"),
        Entity("biscuits", a="a plate of biscuits"), Entity("pancakes", a="a plate of pancakes"),
    ],
    "plants": [
        Entity("sunflower", seed="a sunflower seed", grown="a sunflower taller than the door",
               share="the seeds"),
        Entity("pumpkin", seed="a pumpkin seed", grown="a pumpkin as round as the moon", share="the soup"),
        Entity("bean", seed="a spotted bean", grown="a bean plant that reached the roof", share="the beans"),
        Entity("strawberry", seed="a strawberry seed", grown="a bed of strawberries",
               share="the strawberries"),
    ],
    "skills": [
        Entity("dance", where="in the barn", fail="fell over a bucket", win="danced all night long"),
        Entity("swim", where="in the lake", fail="sank like a stone", win="swam across the lake"),
        Entity("juggle", where="in the kitchen", fail="broke three eggs", win="juggled five eggs"),
        Entity("whistle", where="in the garden", fail="made no sound at all", win="whistled a whole song"),
    ],
    "troubles": [
        Entity("caught in an old net", fix="cut the net, string by string"),
        Entity("stuck in the mud", fix="dug and pulled and dug again"),
        Entity("trapped under a branch", fix="lifted the heavy branch"),
        Entity("stuck between two stones", fix="rolled one of the stones away"),
        Entity("tangled up in a string", fix="untied the string, knot by knot"),
    ],
    "promises": [
        Entity("feed the hens", done="fed the hens", sorry="The hens had gone to bed hungry"),
        Entity("water the beans", done="watered the beans", sorry="The beans were dry and sad"),
        Entity("fetch the milk", done="fetched the milk", sorry="There was no milk for supper"),
        Entity("close the gate", done="closed the gate", sorry="The goats had eaten all the roses"),
        Entity("light the lamp", done="lit the lamp", sorry="The whole house was dark"),
    ],
    "noises": plain("scratch, scratch, scratch", "thump, thump, thump", "tap, tap, tap",
                    "creak, creak, creak"),
    "monsters": plain("monster", "ghost", "dragon"),
    "corners": plain("behind the stove", "under the stairs", "in the kitchen", "under the roof",
                     "by the window"),
    "beds": plain("beside the door", "under the window", "behind the house", "beside the well",
                  "near the gate"),
    "visitors": [
        animal("mouse", "Crumb", HE, "a button"), animal("kitten", "Soot", SHE, "a feather"),
        animal("puppy", "Biscuit", HE, "an old shoe"), animal("hamster", "Pip", SHE, "an apple seed"),
    ],
    "places": [
        place("the forest", "in the forest", 2,
              ["inside a hollow tree", "between two tall trees", "behind a round stone"],
              [animal("hedgehog", "Bramble", HE, "three cherries"),
               animal("owl", "Luna", SHE, "a long feather"),
               animal("fox", "Rusty", HE, "a silver coin")]),
        place("the park", "in the park", 2, ["under a bench", "behind the old oak", "among the roses"],
              [animal("squirrel", "Hazel", SHE, "a red apple"),
               animal("duck", "Puddle", HE, "a white feather"),
               animal("magpie", "Pepper", SHE, "a silver coin")]),
        place("the beach", "on the beach", 2, ["behind a rock", "inside a little cave", "beside an old boat"],
              [animal("crab", "Captain", HE, "a pink feather"),
               animal("seagull", "Pearl", SHE, "a grey feather"),
               animal("seal", "Bobbin", HE, "a round stone")]),
        place("the river", "by the river", 2, ["among the reeds", "under the bridge", "behind a flat stone"],
              [animal("otter", "Ripple", SHE, "a round stone"), animal("frog", "Jasper", HE, "a water lily"),
               animal("heron", "Stilt", HE, "a long feather")]),
        place("the meadow", "in the meadow", 2, ["in the tall grass", "under a thorn bush",
                                                 "behind the fence"],
              [animal("rabbit", "Nibble", HE, "a bunch of daisies"),
               animal("mole", "Velvet", SHE, "a silver coin"),
               animal("lark", "Melody", SHE, "a blue feather")]),
    ],
    "heroes": [
        *friends(("Lily", "by the sea", "red", "kite", "grandmother"),
                 ("Tom", "near the mill", "blue", "drum", "uncle")),
        *friends(("Mia", "on the hill", "yellow", "ball", "father"),
                 ("Ben", "by the river", "green", "boat", "sister")),
        *friends(("Rosie", "at the bakery", "golden", "crown", "aunt"),
                 ("Leo", "near the woods", "striped", "scarf", "mother")),
        *friends(("Nora", "near the bridge", "silver", "whistle", "grandfather"),
                 ("Sam", "behind the church", "white", "lantern", "brother")),
        *friends(("Ruby", "by the lake", "purple", "ribbon", "mother"),
                 ("Max", "in the forest", "spotted", "puppet", "grandmother")),
        *friends(("Hana", "at the gate", "pink", "flute", "father"),
                 ("Omar", "at the market", "brown", "train", "aunt")),
    ],
}
TABLES["traps"] = TABLES["troubles"][:3]  # for short stories, like `heroes`
