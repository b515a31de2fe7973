"""Check prefill: prompts are read in parts, equal ones once, scored if asked, in little memory."""

from tiny_gpt import CONTEXT, V, spied, tiny

from tinyllm.decode import slots
from tinyllm.decode.engine import Engine
from tinyllm.decode.generate import generate, stream
from tinyllm.tensor import no_grad


def test_a_prompt_can_be_scored_and_nothing_written():
    model, prompt = tiny(), [1, 2, 3, 4, 5]
    (written,), (scores,) = generate(model, [prompt], max_tokens=3, logprobs=True, echo=True)
    assert written[:5] == prompt and len(written) == len(scores) == 8 and scores[0] is None
    for budget in (1, 2, 4096):
        found = generate(model, written, max_tokens=0, logprobs=True, echo=True, prefill_budget=budget)
        assert found == (written, scores)  # reading a text scores it as generating it did
    assert list(stream(model, [prompt], max_tokens=0, logprobs=True, echo=True)) == []


def test_logits_of_a_prompt_are_never_all_there_at_once(monkeypatch):
    monkeypatch.setattr("tinyllm.decode.prefill.LOGITS", 2 * V)
    heads, prompt = [], [1, 2, 3, 4, 5, 6]
    found = generate(spied(tiny(), "head", heads), prompt, max_tokens=1, logprobs=True, echo=True)
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


def test_rows_of_equal_prompts_are_read_once_and_only_the_last_token_is_scored():
    bodies, heads = [], []
    model = spied(spied(tiny(), "hidden", bodies), "head", heads)
    generate(model, [[1, 2, 3], [1, 2, 4], [5] * 7], n=3, max_tokens=1)
    assert bodies == [(2, 6), (9, 1)] and heads == [(9, 1, 12)]


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
        model.hidden([prompts[0][:6]], [layer.rows(0, 1) for layer in cache])
    assert generate(model, prompts, max_tokens=2, cache=cache) == generate(model, prompts, max_tokens=2)
