"""Check that stored beginnings of texts change no bit, are found and dropped; and what penalties do."""

import numpy as np
import pytest
from tiny_gpt import CONTEXT, V, spied, tiny
from tiny_models import DECODERS, MODELS, lively

from tinyllm.decode import prefix
from tinyllm.decode.engine import Engine
from tinyllm.decode.generate import generate
from tinyllm.decode.prefix import Prefixes
from tinyllm.decode.sampling import Sampling

NAMES = [name for name in MODELS if MODELS[name]["model_type"] in DECODERS]


def written(engine, *prompts, **options):
    sequences = [engine.add(prompt, max_tokens=4, logprobs=True, **options) for prompt in prompts]
    for _ in engine:
        pass
    return sequences


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_the_same_with_and_without_a_stored_beginning(name, monkeypatch):
    monkeypatch.setattr(prefix, "SHORTEST", 2)
    model = lively(name)
    prompts = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6, 7], [1, 2, 9], [1, 2, 3, 4, 5], [8, 2, 3, 4, 5],
               [1, 2, 3, 4, 6, 7, 3]]
    engine = Engine(model, prefixes=Prefixes(model, 2**20))
    found = [written(engine, prompt)[0] for prompt in prompts]
    alone = [written(Engine(model), prompt)[0] for prompt in prompts]
    assert [(s.ids, s.logprobs) for s in found] == [(s.ids, s.logprobs) for s in alone]
    assert [s.reused for s in found][:2] == [0, 4] and found[4].reused == 0 and found[3].reused == 4
    together = written(engine, *prompts, [1, 2, 3, 4, 5])
    assert [s.ids for s in together] == [s.ids for s in [*alone, alone[0]]]


def test_a_stored_beginning_is_not_read_again_and_echo_reads_it(monkeypatch):
    monkeypatch.setattr(prefix, "SHORTEST", 2)
    shapes, model = [], tiny()
    engine = Engine(spied(model, "hidden", shapes), prefixes=Prefixes(model, 2**20))
    written(engine, [1, 2, 3])
    shapes.clear()
    written(engine, [1, 2, 3, 4])
    assert shapes[0] == (1, 1)  # nothing but the last token
    (s,) = written(engine, [1, 2, 3, 4], echo=True)
    assert s.reused == 0 and s.logprobs[0] is None and None not in s.logprobs[1:]


def test_the_oldest_go_when_the_memory_is_full_and_broken_ones_are_not_stored(monkeypatch):
    monkeypatch.setattr(prefix, "SHORTEST", 2)
    model = tiny()
    one = sum(layer.nbytes for layer in model.new_cache(1, 6))
    engine = Engine(model, prefixes=Prefixes(model, 2 * one))
    store = engine.prefixes
    for first in (1, 2, 3):
        written(engine, [first, 5, 5])
    assert [text[0] for text in store.rows] == [2, 3] == [text[0] for text in store.sorted]
    assert 0 < store.nbytes <= 2 * one
    assert written(engine, [2, 5, 5, 7])[0].reused == 3
    written(engine, [4, 5, 5])
    assert [text[0] for text in store.rows][-1] == 4 and all(text[0] != 3 for text in store.rows)
    before = list(store.rows)
    engine.add([6, 6, 6], max_tokens=3, mask=lambda tokens: [])
    assert [step.finish for step in engine] == ["error"] and list(store.rows) == before
    running, waiting = (Engine(model, batch=1).add([1], max_tokens=9) for _ in range(2))
    assert running.reused == waiting.reused == 0


def test_a_sequence_that_the_caller_ends_is_never_read_and_frees_its_row():
    shapes, model = [], tiny()
    engine = Engine(spied(model, "hidden", shapes), batch=1)
    first, second, third = (engine.add([i, 2, 3], max_tokens=5) for i in range(3))
    engine.step()
    first.finish = second.finish = "cancelled"
    shapes.clear()
    engine.step()
    assert engine.running == [third] and not engine.waiting and shapes == [(1, 2), (1, 1)]


def test_penalties_lower_the_logits_of_tokens_that_were_drawn():
    model, greedy = tiny(), Sampling(temperature=0)
    ids = generate(model, [1], max_tokens=CONTEXT - 1, sampling=greedy, presence_penalty=1e6)
    assert len(set(ids)) == len(ids)
    ids = generate(model, [1], max_tokens=CONTEXT - 1, sampling=greedy, presence_penalty=0.5,
                   frequency_penalty=1.5)
    for n in range(len(ids)):
        counts = np.bincount(ids[:n], minlength=V)
        logits = model(np.array([[1, *ids[:n]]])).data[0, -1] - 0.5 * (counts > 0) - 1.5 * counts
        assert ids[n] == np.argmax(logits)
