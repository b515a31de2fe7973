"""Compare generation with a plain loop: cache, chunks and batch change no token and no logit."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from tiny_gpt import CONTEXT, V, tiny

import tinyllm as tl
from tinyllm import ops
from tinyllm.decode.choose import log_probs
from tinyllm.decode.speculative import DraftModel, Lookup
from tinyllm.ops.registry import OPS

USED = ("linear", "matmul", "attention", "layernorm", "linear_gelu", "embedding", "add")
BACKENDS = ["numpy"] + ["compiled"] * all(OPS[name].compiled for name in USED)  # if all kernels are there


def plain_loop(model, ask):
    """Generate without cache and batch; return the ids, the logits of every step, and why it ends."""
    ids, window, rows = list(ask.prompt), list(ask.prompt), []
    s, random = ask.sampling, tl.Random(ask.seed, "sample", ask.sample)
    for _ in range(ask.max_tokens):
        if len(window) > CONTEXT and ask.overflow == "stop":
            return ids[len(ask.prompt) :], rows, "context"
        if len(window) > CONTEXT:
            window = window[-(CONTEXT // 2) :]
        logits = model([window]).data[0, -1]
        rows.append(logits)
        if ask.bias:
            logits = logits + np.array([ask.bias.get(i, 0) for i in range(V)], logits.dtype)
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
            return ids[len(ask.prompt) :], rows, "stop"
    return ids[len(ask.prompt) :], rows, "length"


def unlike_the_last(ids):
    return np.arange(V) % 3 != ids[-1] % 3


samplings = st.builds(
    tl.Sampling,
    temperature=st.sampled_from([1.0, 0.0, 0.5, 3.0]),
    top_k=st.sampled_from([None, 1, 3, 100]),
    top_p=st.sampled_from([None, 0.3, 0.9, 1.0]),
    min_p=st.sampled_from([None, 0.0, 0.2]),
    repetition_penalty=st.sampled_from([1.0, 1.5]),
)
asks = st.builds(  # calls of `Engine.add`
    SimpleNamespace,
    prompt=st.lists(st.integers(0, V - 1), min_size=1, max_size=CONTEXT) | st.just([3] * 6),  # some are equal
    sampling=samplings,
    max_tokens=st.integers(0, 3 * CONTEXT),
    stop=st.lists(st.integers(0, V - 1), max_size=1),
    seed=st.integers(0, 9),
    sample=st.integers(0, 2),
    mask=st.sampled_from([None, None, unlike_the_last]),
    bias=st.sampled_from([None, {3: 2.0, 5: -9.0}]),
    overflow=st.sampled_from(["slide", "slide", "stop"]),
    options=st.sampled_from([{}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 3, "echo": True}]),
    after=st.sampled_from([0, 0, 0, 1, 2, 9]),  # so many steps of the engine
    cancelled=st.sampled_from([None, None, None, 0, 1, 4]),  # after so many steps of its own, or never
)
settings_of_engines = st.fixed_dictionaries(
    {"batch": st.sampled_from([1, 2, 256]), "prefill_budget": st.sampled_from([4096, 1, 3, 10]),
     "draft": st.sampled_from([lambda model: None, lambda model: Lookup(3), DraftModel,
                               lambda model: DraftModel(tiny(np.float32, seed=77), 2)])})


def run_engine(engine, asks):
    """Add each ask after `ask.after` steps; return the sequences, and the logits of each."""
    sequences, logits, waiting, count = {}, [[] for _ in asks], list(range(len(asks))), 0
    while waiting or engine.running or engine.waiting:
        for i in [i for i in waiting if asks[i].after <= count]:
            given = dict(vars(asks[i]))
            options = given.pop("options")
            del given["after"], given["cancelled"]
            sequences[i] = engine.add(given.pop("prompt"), **given, **options)
            waiting.remove(i)
        back = {s.index: i for i, s in sequences.items()}
        steps = engine.step()
        assert steps == sorted(steps, key=lambda step: step.index)
        for step in steps:
            logits[back[step.index]].append(step.logits)
        count += 1
        for i, s in sequences.items():
            if asks[i].cancelled is not None and count > asks[i].after + asks[i].cancelled:
                s.finish = s.finish or "cancelled"
    return [sequences[i] for i in range(len(asks))], logits


@pytest.mark.parametrize("backend", BACKENDS)
@given(st.lists(asks, min_size=2, max_size=6), settings_of_engines, st.integers(0, 9))
def test_company_cache_chunks_and_time_of_arrival_change_nothing(backend, asks, how, seed):
    model = tiny(np.float32 if backend == "compiled" else np.float64, seed)
    with ops.use(backend):
        sequences, logits = run_engine(tl.Engine(model, **how | {"draft": how["draft"](model)}), asks)
        for ask, s, mine in zip(asks, sequences, logits, strict=True):
            tokens, true, finish = plain_loop(model, ask)
            if s.finish == "cancelled":
                tokens, true, finish = tokens[: len(s.tokens)], true[: len(s.tokens)], "cancelled"
            assert (s.tokens, s.finish) == (tokens, finish)
            np.testing.assert_allclose(mine, true, rtol=0 if backend == "compiled" else 1e-9)
            check_scores(model, ask, s, tokens, mine)


def check_scores(model, ask, s, tokens, logits):
    """Compare log-probabilities with the logits of each draw, and with those of a training step."""
    if not ask.options:
        assert s.logprobs == s.top_logprobs == []
        return
    exactly = 0 if ops.matmul.backend == "compiled" else 1e-9
    log_p = [log_probs(row) for row in logits]
    own = [float(row[token]) for row, token in zip(log_p, tokens, strict=True)]
    if "echo" in ask.options and (s.finish != "cancelled" or s.tokens):
        assert len(s.logprobs) == len(s.top_logprobs) == len(s.ids)
        before = model.log_probs([ask.prompt], [[*ask.prompt[1:], -100]]).data[0, :-1]
        assert s.logprobs[0] is None and s.top_logprobs[0] is None
        np.testing.assert_allclose(s.logprobs[1 : len(ask.prompt)], before, rtol=exactly, atol=exactly)
        for token, logprob, top in zip(s.ids, s.logprobs, s.top_logprobs, strict=True):
            assert top is None or dict(top).get(token, logprob) == logprob
            assert top is None or [*top] == sorted(top, key=lambda each: (-each[1], each[0]))[:3]
    drawn = s.logprobs[len(s.logprobs) - len(own) :]
    assert drawn == own
    if len(s.ids) <= model.config.context + 1 and own:
        trained = model.log_probs([s.ids[:-1]], [s.ids[1:]]).data[0, -len(own) :]
        np.testing.assert_allclose(drawn, trained, rtol=exactly, atol=exactly)
    for row, top in zip(log_p, s.top_logprobs[-len(own) :] if own else [], strict=False):
        assert [token for token, _ in top] == np.argsort(-row, kind="stable")[:3].tolist()


def test_a_mask_takes_ids_or_booleans_and_must_allow_something():
    def masked(mask):
        return tl.generate(tiny(), [[1]] * 4, max_tokens=9, mask=mask if callable(mask) else lambda ids: mask)

    by_ids = masked([2, 7])
    assert by_ids == masked(np.isin(np.arange(V), [2, 7])) and {i for row in by_ids for i in row} == {2, 7}
    assert masked(lambda ids: [len(ids)]) == [list(range(1, 10))] * 4
    for wrong, message in [([], "allows no token"), (np.zeros(V, bool), "allows no token"),
                           ([-1], "a mask "), ([V], "a mask "), ([True], "a mask ")]:
        refuses(message, masked, wrong)


@pytest.mark.parametrize("seed", range(3))
def test_an_interrupt_between_any_two_lines_loses_no_token(seed):
    model, lines, interrupts = tiny(), tl.Random(seed), 0
    ask = {"max_tokens": 12, "logprobs": True, "echo": True}
    prompts = [[1, 2], [3] * 7, [4], [1, 2]]
    truth = tl.generate(model, prompts, **ask)
    engine = tl.Engine(model, batch=3, prefill_budget=5)
    sequences = [engine.add(prompt, sample=i, **ask) for i, prompt in enumerate(prompts)]

    def trace(frame, event, arg):
        if not re.search(r"tinyllm.(decode.|nn.(cache|language_model|layers).py)", frame.f_code.co_filename):
            return None
        if event == "line" and lines.uniform() < 0.004:
            raise KeyboardInterrupt
        return trace

    while engine.running or engine.waiting:
        try:
            sys.settrace(trace)
            engine.step()
        except KeyboardInterrupt:
            interrupts += 1
            assert model.training  # an interrupt restores the training mode
        finally:
            sys.settrace(None)
    assert interrupts > 5
    assert [s.ids for s in sequences] == truth[0]
    got, want = ([x for row in rows for x in row] for rows in ([s.logprobs for s in sequences], truth[1]))
    np.testing.assert_allclose(np.float64(got), np.float64(want), 0 if "compiled" in BACKENDS else 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sequence_that_cannot_go_on_ends_alone(backend):
    """One mask allows no token after three, and position 6 gives NaN; other sequences are not disturbed."""
    with ops.use(backend):
        model, never = tiny(), lambda ids: [1, 2] if len(ids) < 4 else []
        model.wpe.weight.data[6] = np.nan
        engine = tl.Engine(model, batch=3)
        asks = [{"mask": never, "logprobs": True}, {}, {"max_tokens": 3, "seed": 1},
                {"max_tokens": 4, "mask": lambda ids: [5]}]
        sequences = [engine.add([3], **({"max_tokens": 9} | ask)) for ask in asks]
        last = {step.index: step for step in engine}
        assert [s.finish for s in sequences] == ["error", "error", "length", "length"]
        assert [len(s.tokens) for s in sequences] == [3, 6, 3, 4] and sequences[3].tokens == [5] * 4
        assert len(sequences[0].logprobs) == 3
        assert "allows no token" in sequences[0].error and "weights are broken" in sequences[1].error
        assert sequences[2].tokens == tl.generate(tiny(), [[3]], max_tokens=3, seed=1)[0]
        assert [(last[row].finish, last[row].token) for row in range(2)] == [("error", -1)] * 2
        engine = tl.Engine(model, batch=2)
        engine.add([3], max_tokens=9)
        for _ in range(4):
            engine.step()
        after = engine.add([3], max_tokens=4, seed=1)  # gets the row of the cache that held NaN
        assert [s.finish for s in engine] == [None] * 4 + ["error", None, "length"]
        assert after.tokens == tl.generate(tiny(), [[3]], max_tokens=4, seed=1)[0]
        refuses("allows no token", lambda: list(tl.stream(tiny(), [[3], [4]], max_tokens=9, mask=never)))


def test_generate_decodes_no_texts_without_stop_strings(monkeypatch):
    monkeypatch.setattr(tl.ByteTokenizer, "decode_bytes", lambda self, ids: b"" if ids == [1, 2] else 1 / 0)
    assert len(tl.generate(tiny(), [1, 2], max_tokens=3, tokenizer=tl.ByteTokenizer())) == 3


@pytest.mark.parametrize("backend", BACKENDS)
@given(st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=CONTEXT), min_size=1, max_size=4),
       st.integers(0, CONTEXT), st.integers(1, 20), settings_of_engines)
def test_a_batch_starts_from_a_filled_cache(backend, prompts, filled, more, how):
    model = tiny(np.float32 if backend == "compiled" else np.float64)
    with ops.use(backend), tl.no_grad():
        cache = model.new_cache(len(prompts))
        for b, prompt in enumerate(prompts):
            if begun := prompt[: (filled + 5 * b) % (CONTEXT + 1)]:
                model.hidden([begun], [layer.keep(slice(b, b + 1)) for layer in cache])
        before = [layer.keep(range(len(prompts))) for layer in cache]
        found = tl.generate(model, prompts, max_tokens=more, cache=cache, n=2,
                         **how | {"draft": how["draft"](model)})
        assert found == tl.generate(model, prompts, max_tokens=more, n=2)
    for layer, old in zip(cache, before, strict=True):  # the caller's cache is unchanged
        assert np.array_equal(layer.lengths, old.lengths) and np.array_equal(layer.keys, old.keys)


def test_generation_is_without_dropout_and_leaves_the_model_as_it_was():
    model, plain = tiny(dropout=0.5), tiny()
    assert tl.generate(model, [[1, 2]], max_tokens=9) == tl.generate(plain, [[1, 2]], max_tokens=9)
    assert model.training and all(p.grad is None for p in model.parameters())
    step = next(steps := tl.stream(model, [[1, 2]], max_tokens=9))
    assert (step.text, step.finish, step.logits.shape) == ("", None, (V,))
    assert steps and model.training and model([1, 2]).requires_grad  # also between steps


def test_an_empty_prompt_begins_with_end_of_text_or_a_newline():
    letters, with_end = tl.CharTokenizer.train("ab\n"), tl.ByteTokenizer(special_tokens=["<|endoftext|>"])
    for tokenizer, start in ((letters, "\n"), (with_end, [256])):
        model = tiny(vocab_size=tokenizer.vocab_size)
        found = [tl.generate(model, [p], max_tokens=5, tokenizer=tokenizer) for p in ("", [], start)]
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("prompts, options, message", [
    ([[1], [2, V]], {}, f"prompt 1 holds token {V}, outside of the model's vocabulary of {V}"),
    ([[-1]], {}, "prompt 0 holds token -1"),
    ([[1] * 9], {}, "prompt 0 has 9 tokens and the model's context is 8: shorten it"),
    (["text"], {}, "prompt 0 is text, which needs a tokenizer"),
    ([[]], {}, "an empty prompt has neither"),
    ([""], {"tokenizer": tl.CharTokenizer.train("ab")}, "neither <|endoftext|> nor a newline"),
    ([[1]], {"max_tokens": -1}, "max_tokens"),
    ([[1]], {"stop": ""}, "empty stop string"),
    ([[1]], {"stop": "x"}, "stop strings need a tokenizer"),
    ([[1]], {"prefill_budget": 0}, "prefill_budget must be at least 1, got 0"),
    ([[1]], {"overflow": "wrap"}, "overflow"),
    ([[1]], {"echo": True}, "echo and top_logprobs add to logprobs: ask for logprobs=True, too"),
    ([[1]], {"logprobs": True, "top_logprobs": 12}, "top_logprobs can be 11 at most, all tokens, got 12"),
    ([[1]], {"logprobs": True, "top_logprobs": 0.5}, "top_logprobs must be a whole number, at least 0"),
    ([[1]], {"bias": {V: 1}}, f"a bias is for token {V}: tokens are 0 to {V - 1}"),
    ([[1]], {"bias": {1: np.inf}}, "a bias must be a finite number"),
    ([[1]], {"batch": 0}, "batch must be at least 1"),
    ([[1]], {"n": 0}, "n must be at least 1"),
    ([[1], [2]], {"cache": tiny().new_cache(3)}, "2 prompts need a cache of as many rows, got 3"),
    ([[1, 2]], {"cache": tiny().new_cache()[:1]}, "a cache of 1 layers is not one row of this"),
])
def test_what_cannot_be_honoured_is_refused_at_the_call(prompts, options, message):
    refuses(re.escape(message), tl.stream, tiny(), prompts, **{"max_tokens": 5} | options)
