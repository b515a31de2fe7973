"""Check how the engine saves passes: prompts are read in parts and once, and tokens are proposed."""

import numpy as np
import pytest
from helpers import refuses
from tiny_gpt import CONTEXT, V, spied, tiny
from tiny_models import DECODERS, MODELS, lively, made

from tinyllm import Engine, Sampling, UserError, generate, no_grad, stream
from tinyllm.decode import prefix, slots
from tinyllm.decode.prefix import Prefixes
from tinyllm.decode.speculative import DraftModel, Lookup


def test_a_prompt_can_be_scored_and_nothing_written():
    model, prompt = tiny(), [1, 2, 3, 4, 5]
    (written,), (scores,) = generate(model, [prompt], max_tokens=3, logprobs=True, echo=True)
    assert written[:5] == prompt and len(written) == len(scores) == 8 and scores[0] is None
    for budget in (1, 2, 4096):
        found = generate(model, written, max_tokens=0, logprobs=True, echo=True, prefill_budget=budget)
        assert found == (written, scores)  # reading a text scores it as generating it did
    assert list(stream(model, [prompt], max_tokens=0, logprobs=True, echo=True)) == []


def test_equal_prompts_are_read_once_and_logits_are_never_all_there_at_once(monkeypatch):
    bodies, heads = [], []
    model = spied(spied(tiny(), "hidden", bodies), "head", heads)
    generate(model, [[1, 2, 3], [1, 2, 4], [5] * 7], n=3, max_tokens=1)
    assert bodies == [(2, 6), (9, 1)] and heads == [(9, 1, 12)]  # only the last token is scored
    monkeypatch.setattr("tinyllm.decode.prefill.LOGITS", 2 * V)
    heads.clear()
    prompt = [1, 2, 3, 4, 5, 6]
    found = generate(model, prompt, max_tokens=1, logprobs=True, echo=True)
    monkeypatch.undo()
    assert found == generate(tiny(), prompt, max_tokens=1, logprobs=True, echo=True)
    assert heads == [(1, 2, 12), (1, 2, 12), (1, 1, 12), (1, 1, 12)]


def test_the_cache_has_room_for_what_is_used_and_is_given_back():
    model = tiny(context=1000)
    engine, block = Engine(model, batch=8), slots.BLOCK
    few = [engine.add([1, 2, 3], max_tokens=1, seed=i) for i in range(8)]
    engine.step()
    assert [s.finish for s in few] == ["length"] * 8 and engine.slots.cache[0].keys.shape[:2] == (0, 0)
    sequences, most = [engine.add([1] * (1 + i), max_tokens=200) for i in range(4)], 0
    for _ in engine:
        rows, room = engine.slots.cache[0].keys.shape[:2]
        most = max([most, *(len(s.ids) for s in sequences)])
        assert rows <= 4 and room <= most * 5 / 4 + block
    assert most > 2 * block


def test_a_long_prompt_does_not_stop_the_others():
    """A prompt of seven tokens is read in four steps; in each of them, the others generate a token."""
    shapes, model = [], tiny()
    engine = Engine(spied(model, "hidden", shapes), prefill_budget=2)
    first, second = engine.add([1], max_tokens=9), engine.add([2], max_tokens=9)
    engine.step()
    late = engine.add([3] * CONTEXT, max_tokens=9)
    found = [[step.sequence for step in engine.step()] for _ in range(4)]
    assert found == [[first, second]] * 3 + [[first, second, late]]
    assert shapes == [(2, 1), *[(1, 2), (3, 1)] * 3, (1, 1), (3, 1)]


def test_equal_prompts_behind_different_caches_are_read_apart():
    model, prompt, caches = tiny(), [1, 2, 3, 4, 5, 6], [tiny().new_cache(), tiny().new_cache()]
    with no_grad():
        for cache, before in zip(caches, ([1, 2, 3], [9, 8, 7]), strict=True):
            model.hidden([before], cache)
    engine = Engine(model)
    together = [engine.add(prompt, max_tokens=2, cache=cache, logprobs=True) for cache in caches]
    list(engine)
    alone = [generate(model, prompt, max_tokens=2, cache=cache, logprobs=True)[1] for cache in caches]
    assert [s.logprobs for s in together] == alone and alone[0] != alone[1]


def test_prompts_are_read_in_their_order_those_of_like_lengths_together_and_no_cache_again():
    engine = Engine(tiny(), prefill_budget=2)
    engine.add([3] * CONTEXT, max_tokens=1)
    engine.add([1, 2], max_tokens=1)
    assert [step.index for step in engine] == [0, 1]
    shapes, cache = [], tiny().new_cache()
    prompts = [[1] * 7, [2, 3], [4] * 7, [5, 6]]
    generate(model := spied(tiny(), "hidden", shapes), prompts, max_tokens=1, prefill_budget=14)
    assert shapes == [(2, 1), (2, 6), (4, 1)]
    with no_grad():
        tiny().hidden([[1, 2, 3]], cache)
    shapes.clear()
    generate(model, [1, 2, 3, 4, 5, 6], max_tokens=2, cache=cache)
    assert shapes == [(1, 2), (1, 1), (1, 1)]


def test_padding_never_reaches_beyond_the_context():
    """One row has six of its eight tokens in the cache; its neighbour has none."""
    model, prompts = tiny(), [[1, 2, 3, 4, 5, 6, 7, 8], [9] * CONTEXT]
    cache = model.new_cache(2)
    with no_grad():
        model.hidden([prompts[0][:6]], [layer.keep(slice(1)) for layer in cache])
    assert generate(model, prompts, max_tokens=2, cache=cache) == generate(model, prompts, max_tokens=2)


# Stored beginnings of texts change no bit, are found and dropped. Penalties.

NAMES = [name for name in MODELS if MODELS[name]["model_type"] in DECODERS]


def written(engine, *prompts, **options):
    sequences = [engine.add(prompt, max_tokens=4, logprobs=True, **options) for prompt in prompts]
    list(engine)
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


# What proposed tokens save; that they change no text is a law in test_generate.py.

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


def test_a_step_can_be_repeated_after_an_interrupt_and_a_draft_model_with_a_short_context_stops_proposing():
    engine, calls = Engine(tiny(), draft=DraftModel(tiny(), 3)), []

    def mask(tokens):
        calls.append(len(tokens))
        if len(calls) == 9:
            raise KeyboardInterrupt
        return np.ones(V, bool)

    s = engine.add([1, 2], max_tokens=8, mask=mask)
    with pytest.raises(KeyboardInterrupt):
        list(engine)
    assert [*engine] and s.ids[2:] == generate(tiny(), [1, 2], max_tokens=8)
    short = Engine(tiny(), draft=DraftModel(made("gpt2", vocab_size=V, context=4)))
    t = short.add([1, 2], max_tokens=8)
    assert len([*short]) == 8 and t.ids == s.ids
