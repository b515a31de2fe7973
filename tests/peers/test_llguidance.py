"""Compare what a JSON Schema allows with llguidance, which checks a text byte by byte, too."""

import pytest
from hypothesis import given, strategies as st
from test_constrain import TREE, end, schemas, tokenizer, write

from tinyllm.constrain.constraint import Constraint

llguidance = pytest.importorskip("llguidance")


@given(schemas | st.just(TREE), st.integers(0, 60), st.integers(0, 99))
def test_llguidance_accepts_what_is_written(schema, more, seed):
    fits = Constraint.of_schema(schema, tokenizer(), end())
    text, _ = write(fits, fits.grammar.shortest[fits.start] + more, seed)
    grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar)
    assert matcher.consume_tokens([*text.encode()]) and matcher.is_accepting(), (text, matcher.get_error())
