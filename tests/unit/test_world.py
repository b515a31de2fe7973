"""Check the world: facts, rules, calendar, map, and the corpora with their dials."""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
import world_tokenizer
from helpers import refuses
from hypothesis import example, given, settings, strategies as st

from tinyllm import Random, load_corpus
from tinyllm.tokenizer import make_tokenizer
from tinyllm.world import KINDS, Date, Fact, Stream, World
from tinyllm.world.corpus import SEPARATOR, Options, dials_of, read_name
from tinyllm.world.facts import FactBase, read_rules
from tinyllm.world.mix import REPEATS, Mix, MixDials
from tinyllm.world.names import JOBS
from tinyllm.world.phrases import STATEMENTS, read_statements, say

WORLD = World()
SMALL = World(seed=5, size=40)
EARLY = World(year=60)
DIGEST = "32ff9a1c58a2d66ea84456ae6b6e0d4d4e9905636b9c002415a17af344ec054f"


def objects(world, subject, relation):
    return {fact.object for fact in world.ask(Fact(subject, relation, None))}


def test_the_bytes_of_a_world_are_pinned_and_depend_on_its_seed_and_size():
    """They are the same on every platform, Python and NumPy. If they change, all texts of the world do."""
    told = "\n".join(f"{fact} {fact.since}" for fact in WORLD.history)
    assert hashlib.sha256(told.encode()).hexdigest() == DIGEST
    assert World(3, 60).history == World(3, 60).history != World(4, 60).history
    assert len({p.name for p in WORLD.people}) == len(WORLD.people) == 240
    assert [len(World(1, size).people) for size in (12, 13, 500)] == [12, 13, 500]


@pytest.mark.parametrize("world", [WORLD, SMALL], ids=["default", "small"])
def test_what_follows_is_what_brute_force_over_the_people_finds(world):
    mother = {p.name: getattr(p, "mother", None) for p in world.people}
    father = {p.name: getattr(p, "father", None) for p in world.people}
    for a in mother:
        parents = {mother[a], father[a]} - {None}
        siblings = {b for b in mother if b != a and mother[b] and mother[b] == mother[a]}
        assert objects(world, a, "sibling") == siblings
        assert objects(world, a, "child") == {b for b in mother if a in (mother[b], father[b])}
        assert objects(world, a, "grandmother") == {mother[p] for p in parents} - {None}
        assert objects(world, a, "grandfather") == {father[p] for p in parents} - {None}
        uncles = {b for p in parents for b in mother if b != p and mother[b] and mother[b] == mother[p]}
        assert objects(world, a, "aunt") | objects(world, a, "uncle") == uncles
        cousins = {c for b in uncles for c in mother if b in (mother[c], father[c])}
        assert objects(world, a, "cousin") == cousins


@given(st.integers(0, 2**40), st.integers(12, 260))
@settings(max_examples=20)
@example(0, 240)
def test_families_make_sense(seed, size):
    """People who marry, have children or move are of age; siblings are born a year apart or more."""
    world = World(seed, size)
    born = {person.name: person.born for person in world.people}
    wedding = {fact.subject: fact for fact in world.history if fact.relation == "married_to"}
    births = defaultdict(list)
    for person in world.people:
        if hasattr(person, "mother"):
            mother, father = world.person(person.mother), world.person(person.father)
            assert mother.girl == "woman" and father.girl == "man"
            assert wedding[mother.name].object == father.name and wedding[father.name].object == mother.name
            assert 18 * 360 < person.born - max(mother.born, father.born) < 40 * 360
            assert person.born - wedding[mother.name].since >= 360
            births[mother.name].append(person.born)
        _, *moves = [f for f in world.history if f[:2] == (person.name, "lives_in")]
        assert all(move.since >= born[person.name] + 18 * 360 for move in moves)
        assert person.name != person.best_friend
    for fact in wedding.values():
        assert fact.since >= born[fact.subject] + 18 * 360
        assert fact.object not in objects(world, fact.subject, "sibling")
    assert all(b - a >= 360 for days in births.values() for a, b in pairwise(sorted(days)))
    assert len(births) > 0.25 * size - 2


def test_a_proof_is_made_of_given_facts_and_proves():
    known, given_facts = WORLD.known, set(WORLD.facts())
    rules = read_rules("parent(x, y) if mother(x, y)\nparent(x, y) if father(x, y)\n"
                       "grandmother(x, z) if parent(x, y), mother(y, z)")
    for fact in known.find(Fact(None, "grandmother", None)):
        why = known.why(fact)
        assert set(why) <= given_facts
        assert fact in FactBase(why, rules)


def test_time_changes_what_holds():
    for person in WORLD.people[:60]:
        homes = [f for f in WORLD.history if f.subject == person.name and f.relation == "lives_in"]
        for world, year in ((WORLD, 80), (EARLY, 60)):
            known = [fact.object for fact in homes if fact.since < year * 360]
            assert objects(world, person.name, "lives_in") == {*known[-1:]}
    assert len(EARLY.facts()) < len(WORLD.facts())


@pytest.mark.parametrize("bias", [0.0, 0.5, 0.9, 1.0])
def test_bias_is_the_share_of_jobs_that_go_with_the_gender(bias):
    world = World(seed=1, size=1500, bias=bias)
    half = list(JOBS)[:8]
    fits = [(person.works_as in half) == (person.girl == "woman") for person in world.people]
    assert abs(sum(fits) / len(fits) - bias) < 0.05


def test_every_fact_can_be_said_in_four_ways_and_read_again():
    for fact in WORLD.known:
        for way in range(4 if fact.relation in STATEMENTS else 0):
            sentence = say(fact, way)
            assert (fact[:3], way) in [(read[:3], w) for read, w in read_statements(sentence)], sentence
            assert WORLD.holds(sentence)
    person = WORLD.people[0]
    assert not WORLD.holds(f"{person.name} lives in Nowhere.")
    assert WORLD.holds(f"{person.name} lives in {person.lives_in}")
    refuses("says nothing that the world can check", WORLD.holds, "The moon is made of cheese, isn't it?")
    for pattern in ("Who lives in Nutley?", Fact(person.name, None, None)):
        refuses("ask with a Fact such as", WORLD.ask, pattern)
    refuses("nobody in this world is called 'Zorro'", WORLD.holds, "Zorro lives in Nutley.")


@given(st.integers(0, 80 * 360))
def test_dates_are_read_as_they_are_written(number):
    date = Date.of(number)
    assert date.number == number and Date.read(str(date)) == date
    assert Date.of(number + 7).weekday == date.weekday != Date.of(number + 1).weekday


def test_every_place_is_joined_to_all_others():
    joined = {"Nutley"}
    for _ in WORLD.map.places:
        joined |= {place for road in WORLD.map.roads if joined & {*road} for place in road}
    assert joined == WORLD.map.places.keys()


@pytest.mark.parametrize("read, wrong, words", [
    (Date.read, ("", "31 May 4", "0 May 4", "3 Mai 4", "3 May", "-1 May 4", "3 May -4", "3 May 99999"),
     "is not a date of the world"),
    (read_rules, ("a(x, y)", "a(x) if b(x, y)", "grand if", "a(x, y) if b(x, y), c(x)"),
     "this is not a rule"),
    (lambda given: World(**given), ({"size": 0}, {"size": 10**9}, {"bias": 1.5}, {"bias": float("nan")},
                                    {"year": 3}, {"seed": -1}), r"world: (size|bias|year|seed) must be"),
])
def test_what_is_no_date_no_rule_and_no_world_is_refused(read, wrong, words):
    for each in wrong:
        refuses(words, read, each)


@pytest.mark.parametrize("name, words", [
    ("world:novel", "no kind of text called novel"), ("world:", "no kind of text called"),
    ("world:facts,cheese=1", "has no dial 'cheese=1'"), ("world:facts,groups", "has no dial 'groups'"),
    ("world:facts,groups=9", "groups must be .* at most 7"),
    ("world:facts,groups=x", "groups must be a whole number"), ("world:facts,n=1e6", "n must be a whole"),
    ("world:facts,n=0", "n must be .* at least 1"), ("world:facts,split=dev", "split must be"),
    ("world:facts,by=size", "cannot be split by size"), ("world:question,steps=1", "true or false"),
    ("world:facts,bias=nan", "bias must be a number"), ("world:facts,year=2", "year must be .* at least 60"),
    ("world:mix,kinds=stories*x", "kinds are written like"), ("world:mix,kinds=novel", "no kind of text"),
    ("world:mix,n=10,poison=9", "9 planted documents are too many among 10"),
    ("world:mix,n=10,secrets=50", "6350 planted documents are too many among 10"),
    ("world:mix,kinds=stories*0", "leave nothing to write"),
    ("world:mix,clients=2,client=2", "client must be below"), ("world:mix,by=entity", "a mix is split as"),
])
def test_a_wrong_name_is_refused_in_one_line(name, words):
    refuses(words, load_corpus, name)


def test_no_dial_has_the_name_of_an_option():
    options = {field.name for field in dataclasses.fields(Options)}
    for name in [*KINDS, "mix"]:
        assert not options & {field.name for field in dataclasses.fields(dials_of(name))}


@pytest.mark.parametrize("options", ["people=12", "people=30,world=7", "people=60,year=60", "year=70"])
def test_every_kind_is_written_about_every_world_with_known_truth(options):
    """In an early year, some people are children without a job, a possession or a partner."""
    for name, kind in KINDS.items():
        named = read_name(f"world:{name},n=20,split=all,{options}")
        for document in named.documents():
            assert kind.solve(named.world, document) == document.truth
    assert len(list(read_name(f"world:mix,n=8,split=all,{options}").documents())) == 8


def test_a_named_corpus_is_its_documents_as_many_as_its_kind_says():
    names = {"instruction": 40_000, "instruction,n=7": 7, "parity": 10_000, "mix": 10_000}
    assert {name: read_name(f"world:{name}").options.n for name in names} == names
    corpus = load_corpus("world:facts,n=50,groups=3")
    stream = Stream(WORLD, KINDS["facts"], KINDS["facts"].dials(groups=3))
    assert corpus.text() == "".join(stream[i].text + SEPARATOR for i in range(50))
    assert not corpus.documents and corpus.entropy_per_char is None
    questions = load_corpus("world:question,n=20")
    assert len(questions.documents) == 20 and all(q.text in questions.text() for q in questions.documents)


def test_groups_of_people_are_named_twice_as_often_each():
    stream = Stream(WORLD, KINDS["facts"], KINDS["facts"].dials(groups=4), split="all")
    number = {person.name: i for i, person in enumerate(WORLD.people)}
    seen = Counter(number[stream[i].labels["subject"]] % 4 for i in range(6000))
    for group in range(4):
        assert abs(seen[group] / 6000 - 2**group / 15) < 0.03


@pytest.mark.parametrize("name", [
    "letters", "dialogues", "encyclopaedia", "encyclopaedia,ways=2,shuffle=false", "stories",
    "stories,length=short",
])
def test_the_entropy_of_prose_is_the_mean_of_minus_logprob(name):
    named = read_name(f"world:{name}")
    kind, dials = KINDS[named.name], named.dials
    documents = [kind(WORLD, Random("entropy", i), dials) for i in range(1500)]
    nats, chars = kind.expectation(WORLD, dials)
    for exact, found in ((nats, [-d.logprob for d in documents]), (chars, [len(d.text) for d in documents])):
        mean = sum(found) / len(found)
        error = (sum((x - mean) ** 2 for x in found) / len(found) / len(found)) ** 0.5
        assert abs(mean - exact) <= 4 * error + 1e-9
    assert load_corpus(f"world:{name},n=30,split=all").entropy_per_char == nats / (chars + len(SEPARATOR))
    assert load_corpus(f"world:{name},n=30").entropy_per_char < nats / chars


@pytest.mark.parametrize("seed", [0, 2])
def test_planted_documents_are_as_many_as_the_dials_say(seed):
    """No two secrets are about one person, and none is copied, as its label says how often it comes."""
    dials = MixDials(secrets=4, poison=60, duplicates=0.6)
    mix = Mix(WORLD, 1200, dials, seed=seed)
    secrets = Counter((d.labels["name"], d.text, d.labels["repeats"]) for d in mix if "code" in d.labels)
    assert sorted(secrets.values()) == sorted(4 * REPEATS) == sorted(repeats for *_, repeats in secrets)
    assert len({name for name, *_ in secrets}) == len(secrets)
    poison = [d.text.startswith("Under the two moons") for d in mix if d.labels.get("planted") == "poison"]
    assert all(poison) and len(poison) == 60 == sum(d.text.startswith("Under the two moons") for d in mix)
    for document in mix:
        if document.labels.get("planted") == "duplicate":
            assert document.text == mix[document.labels["of"]].text
            assert document.labels["of"] not in mix.planted
    assert mix[700] == Mix(WORLD, 1200, dials, seed=seed)[700]


@pytest.mark.parametrize("dial, planted", [("duplicates", "duplicate"), ("contamination", "test item")])
def test_shares_of_a_mix_are_what_the_dials_say(dial, planted):
    for share in (0.0, 0.3, 0.7):
        mix = Mix(WORLD, 800, MixDials(kinds="facts question", **{dial: share}))
        found = sum(document.labels.get("planted") == planted for document in mix) / 800
        assert found == share == 0 or abs(found - share) < 0.06


def test_no_test_document_is_in_a_mixed_training_text():
    train = {document.text for document in Mix(WORLD, 2000)}
    test = {document.text for document in Mix(WORLD, 500, split="test")}
    assert not train & test
    mix = Mix(WORLD, 500, MixDials(contamination=0.5))
    leaky = [document for document in mix if document.labels.get("planted") == "test item"]
    assert leaky and all(KINDS[d.labels["kind"]].held_out(d) for d in leaky)


def test_clients_differ_as_much_as_the_dial_says():
    def kinds(client, difference):
        mix = Mix(WORLD, 300, MixDials(clients=6, client=client, difference=difference))
        return Counter(document.labels["kind"] for document in mix)

    assert len(kinds(0, 1.0)) == 1 and kinds(0, 1.0) != kinds(1, 1.0)
    assert len(kinds(0, 0.0)) == 6


def test_the_tokenizer_of_the_world_is_what_its_command_makes():
    made, shipped = world_tokenizer.tokenizer(), make_tokenizer("world", b"")
    assert shipped.fingerprint() == made.fingerprint() and shipped.vocab_size == 1024
    text = "".join(Stream(WORLD, KINDS["stories"])[i].text for i in range(50))
    assert shipped.decode(shipped.encode(text)) == text and len(text) / len(shipped.encode(text)) > 2.5


def test_the_world_answers_on_the_command_line(printed, refused):
    person = next(p for p in WORLD.people if objects(WORLD, p.name, "cousin"))
    said = printed("world", "ask", person.name, "cousin", "--why")
    assert all(name in said for name in objects(WORLD, person.name, "cousin")) and "because mother(" in said
    for stop in ("", "."):
        assert printed("world", "ask", f"{person.name} lives in {person.lives_in}{stop}") == "true\n"
    assert person.lives_in in printed("world", "ask", person.name)
    for wrong in ("Nobody",), (person.first, "shoe"):
        refused("world", "ask", *wrong)
