"""List the words of the world: names of people and places, jobs, animals, things, foods and pastimes."""


def words(text: str) -> list[str]:
    """Split a text at blanks and return its words."""
    return text.split()


def unwrapped(text: str) -> list[str]:
    """Return the lines of a table; join a line that begins with blanks to the line before."""
    return text.strip().replace("\n    ", " ").splitlines()


def table(text: str) -> dict[str, tuple[str, ...]]:
    """Read a table of lines "name: value, value"; a semicolon ends an entry, too."""
    entries = (part.partition(": ") for line in unwrapped(text) for part in line.split("; "))
    return {name: tuple(values.split(", ")) for name, _, values in entries}


def a(noun: str) -> str:
    """Return a noun with "a" or "an", such as "a kite" or "an umbrella"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


HE = {"he": "he", "him": "him", "his": "his", "himself": "himself"}
SHE = {"he": "she", "him": "her", "his": "her", "himself": "herself"}
GIRLS = words("""
    Ada Alma Amina Anna Bella Birgit Clara Dora Edith Ella Emma Erna Fanny Flora Greta Hana Hazel Ida Ines
    Iris Ivy Jane Kira Lena Lily Lotte Mabel Mara Mia Nell Nora Olga Pia Rosa Ruby Stella Tilda Vera Wanda Zoe
""")
BOYS = words("""
    Abel Adam Anton Basil Ben Boris Carl Caspar David Emil Erik Felix Finn Frank George Hugo Ivan Jack
    Jonas Karl Kofi Leo Linus Ludwig Max Milo Nils Omar Otto Paul Peter Ravi Rolf Rufus Sam Simon Theo
    Tom Victor Walter
""")
FAMILIES = words("""
    Acorn Appleby Barley Birch Bramley Button Candle Chestnut Clover Copper Cotton Crumb Dale Dove Elder
    Fennel Finch Fisher Frost Gardener Goodwin Hart Hawthorn Hazelwood Heather Hill Holly Kettle Lark
    Linden Lock Marsh Meadows Merry Mill Moss Nettle Oakley Pepper Pine Plum Reed River Robin Rowan
    Sparrow Stone Thistle Thorn Willow
""")
PLACES = words("""
    Amberfield Birchholm Cloverton Dunmoor Eelmouth Foxbridge Goosewick Hollowell Iverness Juniper
    Kingsferry Larkhill Mossgate Nutley Otterbank Plumstead Quarry Redcliff Silverdale Thornbury
    Umberley Vinegate Westwater Yarrow
""")
JOBS = table("""
baker: bake bread, an oven, the bakery; teacher: teach children, a blackboard, the school
fisher: mend nets, a net, the harbour; miller: grind corn, a millstone, the mill
gardener: grow roses, a rake, the garden; doctor: cure a fever, a black bag, the hospital
blacksmith: forge horseshoes, a hammer, the smithy; painter: paint portraits, a brush, the studio
tailor: sew coats, a needle, the workshop; farmer: milk cows, a pitchfork, the farm
singer: sing ballads, a songbook, the theatre; carpenter: build chairs, a saw, the yard
beekeeper: keep bees, a veil, the orchard; librarian: find any book, a ladder, the library
sailor: steer a ship, a compass, the pier; clockmaker: repair clocks, tweezers, the tower
""")  # job -> what its people can do, the tool, the place where they work
ANIMALS = table("""
dog: guard a house, barks; cat: catch mice, purrs; goose: fly, honks; parrot: fly, chatters
pony: pull a cart, neighs; goat: climb rocks, bleats; duck: swim, quacks; otter: swim, whistles
owl: see in the dark, hoots; rabbit: dig tunnels, squeaks; hen: lay eggs, clucks; frog: swim, croaks
""")  # animal -> what it can do, its sound
PETS = words("""
    Biscuit Bubbles Captain Cinder Comet Crumpet Dandy Echo Ginger Hopper Jam Juno Muffin Noodle Patch
    Pearl Pickle Pudding Quill Rumble Scout Shadow Soot Sprout Tango Truffle Velvet Whisk Ziggy Zorro
""")
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]  # for invented words
COLOURS = words("red blue green yellow white black brown purple")
THINGS = words("""
    kite drum lantern hat whistle boat flute puppet crown scarf basket bell umbrella violin globe teapot
""")
FOODS = ("apple pie", "barley soup", "bread and honey", "cheese", "cherries", "dumplings", "fried fish",
         "gingerbread", "mushroom stew", "nut cake", "pancakes", "pea soup", "plum jam", "roast chestnuts",
         "rice pudding", "strawberries")
PASTIMES = ("chess", "dancing", "fishing", "juggling", "knitting", "painting", "reading", "riding",
            "rowing", "singing", "skating", "stargazing", "swimming", "walking", "whittling",
            "writing poems")
FEASTS = ("Lantern Night", "Apple Sunday", "Boat Day", "Kite Day", "Snow Night", "Harvest Sunday",
          "Bell Night", "Bread Day")
