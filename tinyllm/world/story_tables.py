"""List the children, animals, places and things of the stories, with facts that hold in all stories.

For example, Bramble is always a hedgehog who lives in the forest and brings cherries. So one can test whether
a model has learnt these facts. Weights make some names more frequent than others.
"""

from tinyllm.world.names import HE, SHE, a
from tinyllm.world.template import Entity, entities


def child(name: str, pronouns: dict, weight: int) -> Entity:
    """Return a child as an entity; its word `girl` is "girl" or "boy", its `intro` introduces the child."""
    kind = "girl" if pronouns is SHE else "boy"
    return Entity(name, weight, girl=kind, intro=f"{kind} called {name}", **pronouns)


def animal(kind: str, name: str, pronouns: dict, gift: str) -> Entity:
    """Return an animal as an entity; `gift` is the present that the animal brings to friends."""
    return Entity(name, kind=kind, a=f"{a(kind)} called {name}", gift=gift, **pronouns)


def place(name: str, at: str, weight: int, spots: str, animals: list) -> Entity:
    """Return a place as an entity, with its hiding spots and animals; `at` is a phrase like "in the park"."""
    return Entity(name, weight, at=at, spots=entities(spots), animals=animals)


def friends(girl: tuple, boy: tuple) -> list[Entity]:
    """Return a girl and a boy who are friends; each has a home, a colour, a toy and an elder."""
    both = [child(girl[0], SHE, 1), child(boy[0], HE, 1)]
    for hero, friend, (_, home, colour, toy, elder) in zip(both, both[::-1], (girl, boy), strict=True):
        vars(hero).update(friends=[friend], home=home, colour=colour, toy=f"{colour} {toy}", elder=elder)
    return both


TABLES: dict[str, list[Entity]] = {
    "children": [
        *[child(name, SHE, 3) for name in ("Lily", "Mia", "Rosie", "Nora", "Ruby")],
        *[child(name, HE, 3) for name in ("Tom", "Ben", "Leo", "Sam", "Max")],
        *[child(name, SHE, 2) for name in ("Clara", "Ella", "Hana", "Amina", "Zoe", "Greta")],
        *[child(name, HE, 2) for name in ("Finn", "Jack", "Omar", "Hugo", "Ravi", "Kofi")],
    ],
    "traits": entities("""curious*2; cheerful*2; quiet*2; brave*2; clever*2; gentle*2; dreamy; merry; shy;
        patient; stubborn; careful"""),
    "likes": entities("""puddles*2; warm bread*2; old songs*2; riddles*2; bedtime stories*2; funny hats*2;
        long walks; secrets; cherries; thunder; tall trees; the stars; the rain"""),
    "houses": [
        Entity(f"the {kind}", a=f"a {kind}") for kind in (
            "little house", "tall house", "red house", "white house", "crooked house", "cottage", "cabin",
            "farmhouse")
    ],
    "landmarks": entities("""by the sea; near the mill; on the hill; beside the church; among the trees;
        at the end of the lane; behind the bakery; near the bridge"""),
    "elders": [
        Entity("mother", 3, **SHE), Entity("father", 3, **HE),
        Entity("grandmother", 3, **SHE), Entity("grandfather", 3, **HE),
        Entity("aunt", **SHE), Entity("uncle", **HE),
        Entity("big sister", **SHE), Entity("big brother", **HE),
    ],
    "colours": entities("red*2; blue*2; green*2; yellow*2; white; silver; golden; purple; striped; spotted"),
    "things": entities("""kite*2: torn, a drop of glue; drum*2: cracked, a drop of glue;
        scarf*2: torn, needle and thread; lantern*2: cracked, a drop of glue; hat*2: torn, needle and thread;
        ball*2: torn, needle and thread; whistle: cracked, a drop of glue;
        boat: in two pieces, a drop of glue; flute: in two pieces, a drop of glue;
        puppet: torn, needle and thread; crown: in two pieces, a drop of glue;
        train: in two pieces, a drop of glue; ribbon: torn, needle and thread""", "broken", "mend"),
    "foods": entities("""pie: an apple pie; cake: a birthday cake; bread: a loaf of warm bread;
        cherries: a bag of cherries; biscuits: a plate of biscuits; pancakes: a plate of pancakes""", "a"),
    "plants": entities("""sunflower: a sunflower seed, a sunflower taller than the door, the seeds;
        pumpkin: a pumpkin seed, a pumpkin as round as the moon, the soup;
        bean: a spotted bean, a bean plant that reached the roof, the beans;
        strawberry: a strawberry seed, a bed of strawberries, the strawberries""", "seed", "grown", "share"),
    "skills": entities("""dance: in the barn, fell over a bucket, danced all night long;
        swim: in the lake, sank like a stone, swam across the lake;
        juggle: in the kitchen, broke three eggs, juggled five eggs;
        whistle: in the garden, made no sound at all, whistled a whole song""", "where", "fail", "win"),
    "troubles": [
        Entity("caught in an old net", fix="cut the net, string by string"),
        Entity("stuck in the mud", fix="dug and pulled and dug again"),
        Entity("trapped under a branch", fix="lifted the heavy branch"),
        Entity("stuck between two stones", fix="rolled one of the stones away"),
        Entity("tangled up in a string", fix="untied the string, knot by knot"),
    ],
    "promises": entities("""feed the hens: fed the hens, The hens had gone to bed hungry;
        water the beans: watered the beans, The beans were dry and sad;
        fetch the milk: fetched the milk, There was no milk for supper;
        close the gate: closed the gate, The goats had eaten all the roses;
        light the lamp: lit the lamp, The whole house was dark""", "done", "sorry"),
    "noises": entities("scratch, scratch, scratch; thump, thump, thump; tap, tap, tap; creak, creak, creak"),
    "monsters": entities("monster; ghost; dragon"),
    "corners": entities("behind the stove; under the stairs; in the kitchen; under the roof; by the window"),
    "beds": entities("beside the door; under the window; behind the house; beside the well; near the gate"),
    "visitors": [
        animal("mouse", "Crumb", HE, "a button"), animal("kitten", "Soot", SHE, "a feather"),
        animal("puppy", "Biscuit", HE, "an old shoe"), animal("hamster", "Pip", SHE, "an apple seed"),
    ],
    "places": [
        place("the forest", "in the forest", 2,
              "inside a hollow tree; between two tall trees; behind a round stone",
              [animal("hedgehog", "Bramble", HE, "three cherries"),
               animal("owl", "Luna", SHE, "a long feather"),
               animal("fox", "Rusty", HE, "a silver coin")]),
        place("the park", "in the park", 2, "under a bench; behind the old oak; among the roses",
              [animal("squirrel", "Hazel", SHE, "a red apple"),
               animal("duck", "Puddle", HE, "a white feather"),
               animal("magpie", "Pepper", SHE, "a silver coin")]),
        place("the beach", "on the beach", 2, "behind a rock; inside a little cave; beside an old boat",
              [animal("crab", "Captain", HE, "a pink feather"),
               animal("seagull", "Pearl", SHE, "a grey feather"),
               animal("seal", "Bobbin", HE, "a round stone")]),
        place("the river", "by the river", 2, "among the reeds; under the bridge; behind a flat stone",
              [animal("otter", "Ripple", SHE, "a round stone"), animal("frog", "Jasper", HE, "a water lily"),
               animal("heron", "Stilt", HE, "a long feather")]),
        place("the meadow", "in the meadow", 2, "in the tall grass; under a thorn bush; behind the fence",
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
