"""Test what proposed tokens save; that they change no text is a law in test_generate.py."""

import numpy as np
import pytest
from helpers import refuses
from tiny_gpt import CONTEXT, V, tiny
from tiny_models import made

from tinyllm.decode.engine import Engine
from tinyllm.decode.sampling import Sampling
from tinyllm.decode.speculative import DraftModel, Lookup
from tinyllm.errors import UserError


def passes(draft, prompts=((1,),), tokens=8, **options):
    """Return how many passes an engine takes for the prompts, and how many tokens they gave."""
    engine = Engine(tiny(), draft=draft)
    for prompt in prompts:
        engine.add([*prompt], max_tokens=tokens, **options)
    assert len([*engine]) == engine.written == len(prompts) * tokens
    return engine.passes


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0), Sampling(top_p=0.5)])
def test_a_draft_model_that_is_the_model_is_always_right(sampling):
    assert CONTEXT == 8
    assert passes(DraftModel(tiny(), 3), sampling=sampling) == 2  # of 4 tokens each
    assert passes(DraftModel(tiny(), 3), [[1, 2], [3], [5, 4, 3]], 4, sampling=sampling) == 1
    assert passes(DraftModel(tiny(), 1), sampling=sampling) == 4
    assert passes(None, sampling=sampling) == 8


def test_a_lookup_finds_what_came_next_before():
    repeat = {"mask": lambda ids: [[5, 6, 7][len(ids) % 3]]}
    assert passes(Lookup(3), [[5, 6, 7]], 5, **repeat) == 2
    assert passes(Lookup(3), [[5, 6, 7]], 3, mask=lambda so_far: [len(so_far)]) == 3
    texts = [1, 2, 3, 9, 1, 2], [1], [1, 1], [4, 5]
    assert [Lookup(2)._find(ids) for ids in texts] == [[3, 9], [], [1], []]


def test_a_draft_model_of_another_kind_is_refused():
    with pytest.raises(UserError, match=f"the draft model has {V + 1} tokens and the model {V}"):
        Engine(tiny(), draft=DraftModel(made("gpt2", vocab_size=V + 1)))
    for name in ("t5", "bert"):
        refuses("cannot propose tokens", DraftModel, made(name))


def test_a_draft_model_with_a_shorter_context_stops_proposing():
    short = made("gpt2", vocab_size=V, context=4)
    engine = Engine(tiny(), draft=DraftModel(short))
    ids = engine.add([1, 2], max_tokens=9)
    assert len([*engine]) == 9
    alone = Engine(tiny())
    same = alone.add([1, 2], max_tokens=9)
    assert len([*alone]) == 9 and same.ids == ids.ids


def test_an_interrupted_step_can_be_repeated():
    engine, calls = Engine(tiny(), draft=DraftModel(tiny(), 3)), []

    def mask(tokens):
        calls.append(len(tokens))
        if len(calls) == 9:
            raise KeyboardInterrupt
        return np.ones(V, bool)

    s = engine.add([1, 2], max_tokens=8, mask=mask)
    with pytest.raises(KeyboardInterrupt):
        list(engine)
    assert [*engine]
    alone = Engine(tiny())
    same = alone.add([1, 2], max_tokens=8)
    assert [*alone] and s.ids == same.ids
