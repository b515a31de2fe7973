"""Small tasks about the letters of a word."""

from collections import Counter, defaultdict
from string import ascii_lowercase as ABC
from typing import Any

from tinyllm.rng import Random
from tinyllm.world.task import CONSONANTS, NO_YES, VOWELS, WORDS, Fields, Task, babble, sized
from tinyllm.world.world import World

ORDER = ("first", "second", "third", "last")
BY_VOWELS: dict[int, list[str]] = defaultdict(list)  # number of vowels -> words
BY_LETTER: dict[int, list[tuple[str, str]]] = defaultdict(list)  # count -> (letter, word)
for _word in WORDS:
    BY_VOWELS[sum(c in VOWELS for c in _word)].append(_word)
    for _letter in ABC:
        BY_LETTER[_word.count(_letter)].append((_letter, _word))


class Spell(Task):
    """Spell a word, letter by letter."""

    asks = ("Spell {word}, please:", "The letters of {word} are")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"word": random.choice(WORDS)}

    def truth(self, word: str) -> str:
        return "-".join(word)

    def second(self, word: str) -> str:
        return "".join(f"{letter}-" for letter in word)[:-1]


class Mirror(Task):
    """Write a word backwards."""

    Dials = sized(6, "how many letters the word has", 2, 16)
    asks = ("In the mirror, {word} reads", "The wizard says {word} backwards:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"word": babble(random, dials.size)}

    def truth(self, word: str) -> str:
        return word[::-1]

    def second(self, word: str) -> str:
        turned = ""
        for letter in word:
            turned = letter + turned
        return turned


class CountLetter(Task):
    """Count how often a letter is in a word."""

    choices = ("0", "1", "2")
    asks = ("How many times is the letter {letter} in {word}?", "In {word}, the letter {letter} is so often:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        letter, word = random.choice(BY_LETTER[random.integers(3)])
        return {"letter": letter, "word": word}

    def truth(self, letter: str, word: str) -> str:
        return str(word.count(letter))

    def second(self, letter: str, word: str) -> str:
        return str(len(word) - len(word.replace(letter, "")))


class CountVowels(Task):
    """Count the vowels of a word."""

    choices = ("1", "2", "3")
    asks = ("How many vowels are in {word}?", "The number of vowels of {word} is")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"word": random.choice(BY_VOWELS[1 + random.integers(3)])}

    def truth(self, word: str) -> str:
        return str(sum(letter in VOWELS for letter in word))

    def second(self, word: str) -> str:
        return str(len(word) - len(word.translate({ord(vowel): None for vowel in VOWELS})))


class LetterAt(Task):
    """Say the first, second, third or last letter of a word."""

    asks = ("The {which} letter of {word} is", "In {word}, which letter is the {which}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"which": random.choice(ORDER), "word": random.choice(WORDS)}

    def truth(self, which: str, word: str) -> str:
        return word[ORDER.index(which) if which != "last" else -1]

    def second(self, which: str, word: str) -> str:
        return {"first": word[:1], "second": word[1:2], "third": word[2:3], "last": word[::-1][0]}[which]

    def chance(self, dials: Any) -> float:
        """Return the share of the most frequent answer."""
        letters = Counter(self.truth(which, word) for which in ORDER for word in WORDS)
        return max(letters.values()) / letters.total()


class Palindrome(Task):
    """Say if a word is the same backwards."""

    Dials = sized(5, "how many letters the word has", 2, 15)
    choices = NO_YES
    asks = ("Is {word} the same when read backwards?", "Is {word} a palindrome?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        half = babble(random, (dials.size + 1) // 2)
        word = half + half[::-1][dials.size % 2 :]
        if random.integers(2):
            i = random.integers(dials.size // 2)
            other = random.choice((VOWELS if word[i] in VOWELS else CONSONANTS).replace(word[i], ""))
            word = word[:i] + other + word[i + 1 :]
        return {"word": word}

    def truth(self, word: str) -> str:
        return NO_YES[word == word[::-1]]

    def second(self, word: str) -> str:
        return NO_YES[all(word[i] == word[-1 - i] for i in range(len(word) // 2))]


class Anagram(Task):
    """Say if two words are made of the same letters."""

    Dials = sized(5, "how many letters each word has", 3, 12)
    choices = NO_YES
    asks = ("Can the letters of {one} be laid as {two}?", "Is {two} an anagram of {one}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        one = babble(random, dials.size)
        letters = random.shuffle(one)
        if random.integers(2):
            i = random.integers(dials.size)
            others = VOWELS if letters[i] in VOWELS else CONSONANTS
            letters[i] = random.choice(others.replace(letters[i], ""))
        return {"one": one, "two": "".join(letters)}

    def truth(self, one: str, two: str) -> str:
        return NO_YES[sorted(one) == sorted(two)]

    def second(self, one: str, two: str) -> str:
        for letter in two:
            one = one.replace(letter, "", 1)
        return NO_YES[not one]
