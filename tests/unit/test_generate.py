"""Generation: one plain loop is the judge; cache, chunks and batch must not change a token or a logit."""

import re
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.generate import Engine, Sampling, generate, stream
from tinyllm.models import GPT, GPTConfig
from tinyllm.ops.registry import OPS
from tinyllm.rng import Random
from tinyllm.tensor import no_grad
from tinyllm.tokenizer import ByteTokenizer, CharTokenizer

USED = ("linear", "matmul", "attention", "layernorm", "linear_gelu", "embedding", "add")
BACKENDS = ["numpy"] + ["compiled"] * all(OPS[name].compiled for name in USED)  # else no bits are promised
V, CONTEXT = 11, 8
GREEDY = Sampling(temperature=0)


def tiny(dtype=np.float32, seed=0, std=0.5, **changes):
    """A small model that is sure of itself; in float64, rounding cannot change what it draws."""
    sizes = {"vocab_size": V, "context": CONTEXT, "layers": 2, "heads": 2, "width": 12}
    model = GPT(GPTConfig(**(sizes | changes)), seed=None)
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data = (p.data + rng.normal(size=p.shape) * std).astype(dtype)
    return model


def plain_loop(model, ask):
    """Generation as one would explain it: no cache, no batch -> ids, logits of every step."""
    ids, window, rows = list(ask.prompt), list(ask.prompt), []
    s, random = ask.sampling, Random(ask.seed, "sample", ask.sample)
    for _ in range(ask.max_tokens):
        if len(window) > CONTEXT:
            window = window[-(CONTEXT // 2) :]
        with no_grad():
            logits = model([window]).data[0, -1]
        rows.append(logits)
        if ask.mask:
            logits = np.where(ask.mask(ids), logits, -np.inf).astype(logits.dtype)
        logits = ops.repetition_penalty(logits, np.array(ids), s.repetition_penalty)
        if s.temperature == 0:
            token = min(i for i in range(V) if logits[i] == logits.max())
        else:
            logits = ops.temperature(logits, s.temperature)
            logits = ops.top_k(logits, s.top_k or V)
            logits = ops.top_p(logits, s.top_p or 1.0)
            logits = ops.min_p(logits, s.min_p or 0.0)
            token = int(ops.sample(ops.softmax(logits), np.array(random.uniform())))
        ids.append(token)
        window.append(token)
        if token in ask.stop:
            break
    return ids[len(ask.prompt) :], rows


class Ask(NamedTuple):
    """One call of `Engine.add`, and after how many steps of the others it comes."""

    prompt: list
    sampling: Sampling
    max_tokens: int
    stop: list
    seed: int
    sample: int
    mask: Callable | None
    after: int


def unlike_the_last(ids):
    return np.arange(V) % 3 != ids[-1] % 3


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([1.0, 0.0, 0.5, 3.0]),
    top_k=st.sampled_from([None, 1, 3, 100]),
    top_p=st.sampled_from([None, 0.3, 0.9, 1.0]),
    min_p=st.sampled_from([None, 0.0, 0.2]),
    repetition_penalty=st.sampled_from([1.0, 1.5]),
)
asks = st.builds(
    Ask,
    prompt=st.lists(st.integers(0, V - 1), min_size=1, max_size=CONTEXT),
    sampling=samplings,
    max_tokens=st.integers(0, 3 * CONTEXT),
    stop=st.lists(st.integers(0, V - 1), max_size=1),
    seed=st.integers(0, 9),
    sample=st.integers(0, 2),
    mask=st.sampled_from([None, None, unlike_the_last]),
    after=st.integers(0, 9),
)
settings_of_engines = st.fixed_dictionaries(
    {
        "batch": st.sampled_from([1, 2, 256]),
        "prefill_chunk": st.sampled_from([None, 1, 3]),
        "use_cache": st.sampled_from([True, True, True, False]),
    }
)


def run_engine(engine, asks):
    """Add each ask after its number of steps -> sequences, and the logits of each."""
    sequences, logits, waiting, count = {}, [[] for _ in asks], list(range(len(asks))), 0
    while waiting or engine.running or engine.waiting:
        for i in [i for i in waiting if asks[i].after <= count]:
            a = asks[i]
            sequences[i] = engine.add(a.prompt, a.sampling, max_tokens=a.max_tokens, stop=a.stop, seed=a.seed,
                                      sample=a.sample, mask=a.mask)  # fmt: skip
            waiting.remove(i)
        back = {s.index: i for i, s in sequences.items()}
        for step in engine.step():
            logits[back[step.row]].append(step.logits)
        count += 1
    return [sequences[i] for i in range(len(asks))], logits


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60)
@given(st.lists(asks, min_size=1, max_size=5), settings_of_engines, st.integers(0, 9))
def test_company_cache_chunks_and_time_of_arrival_change_nothing(backend, asks, how, seed):
    model = tiny(np.float32 if backend == "compiled" else np.float64, seed)
    with ops.use(backend):
        sequences, logits = run_engine(Engine(model, logprobs=True, **how), asks)
        for ask, s, mine in zip(asks, sequences, logits, strict=True):
            tokens, true = plain_loop(model, ask)
            assert s.tokens == tokens
            assert s.finish == ("stop" if tokens and tokens[-1] in ask.stop else "length")
            for a, b in zip(mine, true, strict=True):
                np.testing.assert_allclose(a, b, rtol=0 if backend == "compiled" else 1e-9)
            log_p = [ops.log_softmax(row)[token] for row, token in zip(mine, tokens, strict=True)]
            np.testing.assert_allclose(s.logprobs, log_p, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20)
@given(st.lists(asks, min_size=1, max_size=4), st.integers(0, 99), st.integers(1, 3))
def test_a_prompt_with_its_own_seed_goes_on_the_same_way_in_any_batch(backend, asks, seed, n):
    model = tiny(np.float32 if backend == "compiled" else np.float64)
    prompts, seeds = [a.prompt for a in asks], [seed + b for b in range(len(asks))]
    stops = {"stop": [3], "max_tokens": 12, "n": n}  # rows end at different times
    with ops.use(backend):
        together = generate(model, prompts, seed=seeds, **stops)
        alone = [generate(model, [p], seed=[s], **stops) for p, s in zip(prompts, seeds, strict=True)]
        single = [generate(model, [p], seed=s, stop=[3], max_tokens=12)[0]
                  for p, s in zip(prompts, seeds, strict=True)]  # fmt: skip
    assert together == [ids for rows in alone for ids in rows]
    assert together[::n] == single


def test_rows_of_equal_prompts_are_read_once():
    model, shapes = tiny(), []
    hidden = model.hidden
    model.hidden = lambda x, cache: shapes.append(x.shape) or hidden(x, cache)
    generate(model, [[1, 2, 3], [1, 2, 4], [5] * 7], n=3, max_tokens=1)
    assert shapes == [(2, 6), (9, 1)]


def test_long_and_short_prompts_are_read_in_parts(monkeypatch):
    model, shapes = tiny(), []
    truth = generate(model, [[1], [2] * 7, [3] * 6, [4, 5]], max_tokens=9)
    monkeypatch.setattr(sys.modules["tinyllm.generate"], "PREFILL", 6)
    hidden = model.hidden
    model.hidden = lambda x, cache: shapes.append(x.shape) or hidden(x, cache)
    assert generate(model, [[1], [2] * 7, [3] * 6, [4, 5]], max_tokens=9) == truth
    assert shapes[:3] == [(2, 1), (1, 5), (1, 6)]


def test_logprobs_are_those_of_the_model():
    model = tiny()
    (ids,), (logprobs,) = generate(model, [[1, 2]], max_tokens=6, logprobs=True,
                                   sampling=Sampling(2.0, top_k=3))  # fmt: skip
    log_p = ops.log_softmax(model([[1, 2, *ids]]).data[0])
    np.testing.assert_allclose(logprobs, [log_p[1 + i, token] for i, token in enumerate(ids)], rtol=1e-5)


def test_a_mask_takes_ids_or_booleans_and_must_allow_something():
    model = tiny()
    some = np.isin(np.arange(V), [2, 7])
    by_ids, by_booleans = (generate(model, [[1]] * 4, max_tokens=9, mask=lambda ids, m=m: m)
                           for m in ([2, 7], some))  # fmt: skip
    assert by_ids == by_booleans and {i for row in by_ids for i in row} == {2, 7}
    assert generate(model, [[1]], max_tokens=3, mask=lambda ids: [len(ids)]) == [[1, 2, 3]]
    for nothing in ([], np.zeros(V, bool)):
        with pytest.raises(UserError, match="allows no token"):
            generate(model, [[1]], max_tokens=9, mask=lambda ids, nothing=nothing: nothing)
    for no_token in ([-1], [V], [True]):
        with pytest.raises(UserError, match="a mask "):
            generate(model, [[1]], max_tokens=9, mask=lambda ids, no_token=no_token: no_token)


def test_a_step_that_failed_can_be_taken_again():
    model, ask = tiny(), {"max_tokens": 20, "seed": 1}
    truth = generate(model, [[1, 2]], **ask)[0]
    second, left = model.h[1], [0]

    def fails_at_times(x, cache=None):
        left[0] += 1
        if left[0] % 3 == 1:
            raise KeyboardInterrupt
        return second(x, cache)

    model.h[1] = fails_at_times
    engine = Engine(model)
    sequence = engine.add([1, 2], **ask)
    while not sequence.finish:
        try:
            engine.step()
        except KeyboardInterrupt:
            assert model.training  # and nothing was left switched off
    assert sequence.tokens == truth


def test_a_sequence_can_be_cancelled():
    model, engine = tiny(), Engine(tiny(), batch=2)
    first, second, third = (engine.add([i], max_tokens=9, seed=i) for i in (1, 2, 3))
    engine.step()
    engine.cancel(first)
    engine.cancel(first)
    for step in engine:
        if step.row == 1 and third in engine.running:
            engine.cancel(third)
    assert first.finish == third.finish == "cancelled" and len(first.tokens) == 1
    assert second.tokens == generate(model, [[2]], max_tokens=9, seed=2)[0]
    assert engine.step() == []


def test_the_same_seed_draws_the_same_and_rows_and_seeds_differ():
    model = tiny(std=0.05)
    one = generate(model, [[1], [1]], max_tokens=20, seed=1)
    assert one == generate(model, [[1], [1]], max_tokens=20, seed=1)
    assert one[0] != one[1]
    assert one != generate(model, [[1], [1]], max_tokens=20, seed=2)
    assert (
        one[0][:5] == generate(model, [[1]], max_tokens=5, seed=1)[0]
    )  # fewer tokens are the beginning of more


def test_nothing_is_drawn_where_nothing_is_asked_for():
    assert generate(tiny(), [[1], [2, 3]], max_tokens=0) == [[], []]
    assert generate(tiny(), [], max_tokens=5) == []


def test_steps_come_one_row_after_the_other_and_the_last_one_says_why():
    steps = list(stream(tiny(), [[1], [2]], max_tokens=3))
    assert [s.row for s in steps] == [0, 1, 0, 1, 0, 1]
    assert [s.finish for s in steps] == [None] * 4 + ["length"] * 2
    assert all(s.text == "" and s.logits.shape == (V,) for s in steps)


def test_streaming_is_lazy():
    model, calls = tiny(), []
    hidden = model.hidden
    model.hidden = lambda *args: calls.append(1) or hidden(*args)
    steps = stream(model, [[1, 2]], max_tokens=100)
    assert not calls
    next(steps)
    assert len(calls) == 2  # prefill, and one token


def test_prefill_computes_no_logits_and_decoding_one_row_of_them():
    model, shapes = tiny(), []
    head = model.head
    model.head = lambda x: shapes.append(x.shape) or head(x)
    generate(model, [[1, 2, 3, 4], [5]], max_tokens=2)
    assert shapes == [(2, 12), (2, 12)]


def test_overflow_can_stop_at_the_models_context():
    steps = list(stream(tiny(), [[1, 2, 3], [1] * CONTEXT], max_tokens=50, overflow="stop"))
    for b, n in ((0, 3), (1, CONTEXT)):
        mine = [s for s in steps if s.row == b]
        assert len(mine) == CONTEXT + 1 - n  # a full window still says what comes next
        assert [s.finish for s in mine] == [None] * (len(mine) - 1) + ["context"]


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=CONTEXT), min_size=1, max_size=4),
       st.integers(1, 5), st.integers(1, 20), st.sampled_from([1, 2, 256]))  # fmt: skip
def test_a_batch_goes_on_from_its_cache(backend, prompts, n, more, batch):
    model = tiny(np.float32 if backend == "compiled" else np.float64)
    with ops.use(backend):
        cache = model.new_cache(len(prompts))
        first = generate(model, prompts, max_tokens=n, cache=cache, seed=1, batch=batch)
        lengths = [layer.lengths.copy() for layer in cache]
        texts = [p + ids + [3] for p, ids in zip(prompts, first, strict=True)]
        fits = [len(text) <= CONTEXT for text in texts]
        assert [a for a, f in zip(lengths[0], fits, strict=True) if f] == [len(t) - 2 for t in texts if
                                                                          len(t) <= CONTEXT]  # fmt: skip
        rows = [b for b, f in enumerate(fits) if f]
        cache = [layer.keep(rows) for layer in cache]
        texts = [texts[b] for b in rows]
        seeds = list(range(len(rows)))
        if rows:
            again = generate(model, texts, max_tokens=more, cache=cache, seed=seeds, batch=batch)
            assert again == generate(model, texts, max_tokens=more, seed=seeds, use_cache=False)
            assert all(layer.length <= CONTEXT for layer in cache)


def test_a_callers_cache_stays_as_it_was_until_the_end():
    model, cache = tiny(), tiny().new_cache()
    generate(model, [[1, 2]], max_tokens=2, cache=cache)
    before = cache[0].keys.copy()
    steps = stream(model, [[1, 2, 3, 4, 5]], max_tokens=9, cache=cache)
    next(steps)
    steps.close()
    assert cache[0].length == 3 and np.array_equal(cache[0].keys, before)


def test_generation_is_without_dropout_and_leaves_the_model_as_it_was():
    model, plain = tiny(dropout=0.5), tiny()
    assert generate(model, [[1, 2]], max_tokens=9) == generate(plain, [[1, 2]], max_tokens=9)
    assert model.training and all(p.grad is None for p in model.parameters())
    steps = stream(model, [[1, 2]], max_tokens=9)
    next(steps)
    assert model.training and model([1, 2]).requires_grad  # between two steps, too


def test_stop_strings_end_the_text_before_themselves():
    tokenizer = CharTokenizer.train("abcdefghijk")
    free = generate(tiny(), ["ab"], max_tokens=30, seed=3, tokenizer=tokenizer)[0]
    text = tokenizer.decode(free)
    stop = text[5:8]
    steps = list(stream(tiny(), ["ab"], max_tokens=30, seed=3, tokenizer=tokenizer, stop=stop))
    end = text.index(stop)
    assert "".join(s.text for s in steps) == text[:end]
    assert [s.token for s in steps] == free[: end + 3] and steps[-1].finish == "stop"


def test_an_empty_prompt_begins_with_end_of_text_or_a_newline():
    newline = CharTokenizer.train("ab\n")
    for tokenizer, start in [
        (newline, newline.encode("\n")),
        (ByteTokenizer(special_tokens=["<|endoftext|>"]), [256]),
    ]:
        model = tiny(vocab_size=tokenizer.vocab_size)
        for empty in ("", []):
            mine = generate(model, [empty], max_tokens=5, tokenizer=tokenizer)
            assert mine == generate(model, [start], max_tokens=5)
    with pytest.raises(UserError, match="neither <\\|endoftext\\|> nor a newline"):
        generate(tiny(), [""], max_tokens=1, tokenizer=CharTokenizer.train("ab"))
    with pytest.raises(UserError, match="empty prompt needs a token"):
        generate(tiny(), [[]], max_tokens=1)


@pytest.mark.parametrize(
    "prompts, options, message",
    [
        ([[1], [2, V]], {}, f"prompt 1 holds token {V}, outside of the model's vocabulary of {V}"),
        ([[-1]], {}, "prompt 0 holds token -1"),
        ([[1] * 9], {}, "prompt 0 has 9 tokens and the model's context is 8: shorten it"),
        (["text"], {}, "prompt 0 is text, which needs a tokenizer"),
        ([[1], [2]], {"seed": [1]}, "2 prompts need as many seeds"),
        ([[1]], {"max_tokens": -1}, "max_tokens"),
        ([[1]], {"stop": ""}, "empty stop string"),
        ([[1]], {"stop": "x"}, "stop strings need a tokenizer"),
        ([[1]], {"prefill_chunk": 0}, "prefill_chunk"),
        ([[1]], {"overflow": "wrap"}, "overflow"),
        ([[1]], {"batch": 0}, "batch must be at least 1"),
        ([[1]], {"n": 0}, "n must be at least 1"),
        ([[1], [2]], {"cache": tiny().new_cache(3)}, "2 rows need a cache of as many; got 3"),
        ([[1, 2]], {"cache": tiny().new_cache(1, 5)}, "room for 5 tokens, and the text may reach 6"),
        ([[1, 2]], {"cache": tiny().new_cache()[:1]}, "1 layers of 1 rows"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_the_call(prompts, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        stream(tiny(), prompts, **({"max_tokens": 5} | options))


def test_settings_that_no_sequence_has_are_forgotten():
    engine = Engine(tiny())
    for t in range(1, 9):
        engine.add([1], Sampling(t), max_tokens=1)
        list(engine)
    assert len(engine._samplings) <= 1


def test_a_text_in_place_of_a_list_is_refused():
    with pytest.raises(TypeError, match=r"write \[prompt\]"):
        stream(tiny(), "text", max_tokens=5)


def test_broken_weights_are_told_to_the_user():
    model = tiny()
    model.ln_f.weight.data[0] = np.nan
    for temperature in (0, 1.0):
        with pytest.raises(UserError, match="weights are broken"):
            generate(model, [[1]], max_tokens=5, sampling=Sampling(temperature))
