"""Test that texts under a constraint always fit, whatever the model prefers, and that the rest is refused."""

import json
import re
import time
from functools import cache, reduce

import jsonschema
import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from sample_texts import TEXT

import tinyllm as tl
from tinyllm.constrain.constraint import Constraint


@cache
def tokenizer():
    """Return a tokenizer with all bytes, some longer tokens, and an end."""
    texts = [TEXT, '{"name": "Tom", "n": [1, 2]}, "', "\\u00e9\\n", "aaaabbbb"]
    return tl.BPETokenizer.train(texts * 9, 320, special_tokens=["<end>"])


def end():
    return [tokenizer().special_tokens["<end>"]]


def write(fits, max_tokens, seed):
    """Draw allowed tokens until the text ends -> (text, ended by its own token)."""
    random, mask, tokens = np.random.default_rng(seed), fits.within(max_tokens), []
    while len(tokens) < max_tokens:
        allowed = mask(tokens)
        # Long tokens first, or the end never, or anything: what a model prefers must not matter.
        wish = random.random(len(allowed)) + (seed % 3 == 1) * np.array(
            [len(tokenizer().decode_bytes([i])) for i in allowed.tolist()])
        if seed % 3 == 2 and len(allowed) > 1:
            wish[np.isin(allowed, end())] = -1
        tokens.append(int(allowed[wish.argmax()]))
        if tokens[-1] in end():
            return tokenizer().decode_bytes(tokens[:-1]).decode(), True
    return tokenizer().decode_bytes(tokens).decode(), False


characters = st.sampled_from(["a", "b", "é", "😀", "\\.", "\\d", "\\w", "\\s", ".", "[^a]", "[a-e0]", "\\D",
                              '"', "[^\\d\\u00e0-\\u07ff]", "\\x41", "[\\]-]", "\\\\", "[\\n\"]"])
counts = st.sampled_from(["*", "+", "?", "{2}", "{0,3}", "{1,}", "*?"])
patterns = st.recursive(characters, lambda inner: st.one_of(
    st.lists(inner, min_size=1, max_size=3).map("".join),
    st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({'|'.join(options)})"),
    st.builds("(?:{}){}".format, inner, counts)), max_leaves=6)


@given(patterns, st.integers(1, 30), st.integers(0, 99))
def test_a_text_fits_its_regular_expression(pattern, more, seed):
    fits = Constraint.of_regex(pattern, tokenizer(), end())
    max_tokens = fits.grammar.shortest[fits.start] + more
    assert re.fullmatch(pattern, write(fits, max_tokens, seed)[0], re.ASCII)


@given(patterns, st.text("ab01é😀. \n", max_size=6))
def test_a_text_that_fits_can_be_written(pattern, text):
    fits = Constraint.of_regex(pattern, tokenizer(), end())
    tokens, mask = tokenizer().encode(text), fits.within(10_000)
    allowed = all(token in mask(tokens[:n]) for n, token in enumerate([*tokens, *end()]))
    assert allowed == bool(re.fullmatch(pattern, text, re.ASCII))


def of_type(name, **keywords):
    return st.fixed_dictionaries({"type": st.just(name)}, optional=keywords)


names = st.sampled_from(["a", "b", 'q"', "é", "long name"])
leaves = st.one_of(
    of_type("string", minLength=st.integers(0, 2), maxLength=st.integers(2, 5)),
    of_type("string", pattern=st.sampled_from(["^a+$", "b|é", "^[\"\\\\\\n]{2}", "\\d$", "."])),
    st.builds(lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
              st.integers(-120, 99), st.integers(0, 300)), of_type("integer"),
    of_type("number"), of_type("boolean"), of_type("null"),
    st.builds(lambda values: {"enum": values},
              st.lists(st.sampled_from([1, None, 'x"\n', {"a": [1.5]}, "é"]), min_size=1)),
    st.sampled_from([{"const": "a"}, True, {}, {"type": ["integer", "null"]}, {"type": "object"}]),
)


def combined(inner):
    properties = st.dictionaries(names, inner, max_size=3)
    return st.one_of(
        of_type("array", items=inner, minItems=st.integers(0, 2), maxItems=st.integers(2, 3)),
        of_type("object", properties=properties, required=st.lists(names, max_size=2, unique=True)),
        of_type("object", properties=properties, additionalProperties=st.just(False)),
        of_type("object", additionalProperties=inner),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=2)))


schemas = st.recursive(leaves, combined, max_leaves=5)


@given(schemas, st.integers(0, 60), st.integers(0, 99))
def test_json_is_valid_under_its_schema(schema, more, seed):
    fits = Constraint.of_schema(schema, tokenizer(), end())
    text, _ = write(fits, fits.grammar.shortest[fits.start] + more, seed)
    assert jsonschema.Draft202012Validator(schema).is_valid(json.loads(text))


TREE = {"$ref": "#/$defs/tree", "$defs": {"tree": {
    "type": "object", "properties": {"value": {"type": "integer"}, "children": {
        "type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["value"]}}}


@given(st.integers(0, 80), st.integers(0, 99))
def test_a_schema_may_contain_itself(more, seed):
    def check(tree):
        assert isinstance(tree["value"], int) and all(map(check, tree.get("children", [])))
        return True

    fits = Constraint.of_schema(TREE, tokenizer(), end())
    check(json.loads(write(fits, 11 + more, seed)[0]))


@pytest.mark.parametrize("pattern", [
    "a{2", "(a", "a)", "[a", "a**", "\\b", "(?=a)", "(a)\\1", "a^", "$a", "[b-a]", "\\", "x{2,1", "a{,3}",
    "\\xZ1", "(a{1,99}){99}", "(" * 60 + ")" * 60, "a" * 501, "\\ud800"])
def test_other_patterns_are_refused(pattern):
    refuses(".", Constraint.of_regex, pattern, tokenizer(), end())


@pytest.mark.parametrize("schema", [
    [], "x", False, {"type": "text"}, {"not": {}}, {"type": "string", "format": "date"}, {"oneOf": [{}]},
    {"anyOf": []}, {"required": [1]}, {"required": "a"}, {"properties": 1},
    {"type": "array", "uniqueItems": True},
    {"type": "number", "minimum": 1}, {"type": "integer", "minimum": 1},
    {"type": "integer", "multipleOf": 2}, {"type": "integer", "minimum": 0, "maximum": 1e9},
    {"type": ["integer", "number"], "minimum": 0, "maximum": 1},
    {"type": "string", "minLength": -1}, {"type": "string", "minLength": True},
    {"type": "string", "pattern": 3}, {"type": "string", "pattern": "a", "minLength": 1},
    {"$ref": "http://example.org/a"}, {"$ref": "#/nowhere"},
    {"$ref": "#"}, {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, {"enum": 3},
    {"enum": []}, {"enum": ["\ud800"]},
    {"type": "array", "minItems": 3, "maxItems": 2}, {"type": "integer", "minimum": 3, "maximum": 2},
    {"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, {"properties": [], "type": "object"},
    {"required": ["a"], "additionalProperties": False},
    {"allOf": [{}, {}]},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"enum": [str(i**5) for i in range(9000)]},
    reduce(lambda inner, _: {"type": "array", "items": inner}, range(40), {}),
    {"type": "string", "minLength": 10**400},  # no number holds it
    {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "minItems": 10**400}}},
])
def test_other_schemas_are_refused_before_the_first_token(schema):
    refuses("^.{1,400}$", lambda: Constraint.of_schema(schema, tokenizer(), end()).within(10_000))


@pytest.mark.parametrize("schema", [
    {"properties": {f"a{i}": {} for i in range(30_000)}},
    {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 999}] * 10_000},
    {"type": "integer", "minimum": 10**4200, "maximum": 10**4200 + 999}, {"enum": ["a" * 3_000_000]},
])
def test_a_schema_that_takes_too_much_work_is_refused_soon(schema):
    began = time.process_time()
    refuses("make it smaller", Constraint.of_schema, schema, tokenizer(), end())
    assert time.process_time() - began < 6  # without a limit, minutes


def test_max_tokens_that_allow_no_text_are_refused():
    fits = Constraint.of_regex("maybe|certainly", tokenizer(), end())
    assert write(fits, 5, 0)[0] == "maybe"
    refuses("max_tokens is 4", fits.within, 4)
    refuses("end=", Constraint.of_regex, "a", tokenizer(), [])


def test_a_tokenizer_that_cannot_write_the_text_is_refused():
    letters = tl.CharTokenizer.train("yesno", ["<end>"])
    ends = [letters.special_tokens["<end>"]]
    assert {*Constraint.of_regex("yes|maybe", letters, ends).within(9)([])} == {letters.encode("y")[0]}
    refuses("cannot write", Constraint.of_regex, "maybe", letters, ends)
    refuses("cannot write", Constraint.of_schema, {"type": "object"}, letters, ends)


def test_a_pattern_that_takes_too_long_to_follow_ends_with_one_line(monkeypatch):
    monkeypatch.setattr("tinyllm.constrain.constraint.MOST_DERIVED", 50_000)
    fits = Constraint.of_regex("(.*[a-z].{1,20}){1,40}", tokenizer(), end())
    refuses("takes too long to follow", write, fits, 150, 0)
    monkeypatch.setattr("tinyllm.constrain.constraint.MOST_DERIVED", 300)
    for _ in range(99):  # a later try does not go on with the work of the earlier ones
        refuses("takes too long to follow", fits.within, 150)


def test_what_was_forgotten_is_worked_out_again(monkeypatch):
    fits = Constraint.of_regex("(a|b)*a(a|b){12}", tokenizer(), end())
    before = [write(fits, 40, seed) for seed in range(6)]
    monkeypatch.setattr("tinyllm.constrain.constraint.MOST_STATES", 10)
    assert [write(fits, 40, seed) for seed in range(6)] == before


def test_a_model_writes_what_fits():
    model = tl.build({"model_type": "gpt2", "vocab_size": 320, "context": 64, "layers": 1, "heads": 2,
                      "width": 16})
    fits = Constraint.of_schema(TREE, tokenizer(), end())
    prompt = tokenizer().encode("some story")
    for ids in tl.generate(model, prompt, max_tokens=40, mask=fits.within(40, len(prompt)), stop=end(), n=4):
        assert "value" in json.loads(tokenizer().decode([i for i in ids if i not in end()]))
