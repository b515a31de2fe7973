"""Generation: one plain loop is the judge; cache, chunks and batch must not change a token or a logit."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.generate import Sampling, generate, stream
from tinyllm.models import GPT, GPTConfig
from tinyllm.ops.registry import OPS
from tinyllm.rng import Random
from tinyllm.tensor import no_grad
from tinyllm.tokenizer import ByteTokenizer, CharTokenizer

USED = ("linear", "matmul", "attention", "layernorm", "linear_gelu", "embedding", "add")
BACKENDS = ["numpy"] + ["compiled"] * all(OPS[name].compiled for name in USED)  # else no bits are promised
V, CONTEXT = 11, 8


def tiny(dtype=np.float32, seed=0, std=0.5, **changes):
    """A small model that is sure of itself; in float64, rounding cannot change what it draws."""
    sizes = {"vocab_size": V, "context": CONTEXT, "layers": 2, "heads": 2, "width": 12}
    model = GPT(GPTConfig(**(sizes | changes)), seed=None)
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data = (p.data + rng.normal(size=p.shape) * std).astype(dtype)
    return model


def plain_loop(model, prompt, max_tokens, random, temperature, top_k, top_p, min_p, repetition_penalty):
    """Generation as one would explain it: no cache, no batch -> ids, logits of every step."""
    ids, window, rows = list(prompt), list(prompt), []
    for _ in range(max_tokens):
        if len(window) > CONTEXT:
            window = window[-(CONTEXT // 2) :]
        with no_grad():
            logits = model([window]).data[0, -1]
        rows.append(logits)
        logits = ops.repetition_penalty(logits, np.array(ids), repetition_penalty)
        if temperature == 0:
            token = min(i for i in range(V) if logits[i] == logits.max())
        else:
            logits = ops.temperature(logits, temperature)
            logits = ops.top_k(logits, top_k or V)
            logits = ops.top_p(logits, top_p or 1.0)
            logits = ops.min_p(logits, min_p or 0.0)
            token = int(ops.sample(ops.softmax(logits), np.array(random.uniform())))
        ids.append(token)
        window.append(token)
    return ids[len(prompt) :], rows


def collect(model, prompts, **options):
    tokens, logits = [[] for _ in prompts], [[] for _ in prompts]
    for step in stream(model, prompts, **options):
        tokens[step.row].append(step.token)
        logits[step.row].append(step.logits)
    return tokens, logits


prompts = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=CONTEXT), min_size=1, max_size=4)
sampling = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([1.0, 0.0, 0.5, 3.0]),
        "top_k": st.sampled_from([None, 1, 3, 100]),
        "top_p": st.sampled_from([None, 0.3, 0.9, 1.0]),
        "min_p": st.sampled_from([None, 0.0, 0.2]),
        "repetition_penalty": st.sampled_from([1.0, 1.5]),
    }
)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25)
@given(prompts, sampling, st.integers(0, 3 * CONTEXT), st.integers(1, 5), st.integers(0, 99))
def test_cache_chunks_and_batch_change_nothing(backend, prompts, sampling, max_tokens, chunk, seed):
    model = tiny(np.float32 if backend == "compiled" else np.float64, seed)
    options = {"max_tokens": max_tokens, "seed": seed} | sampling
    with ops.use(backend):
        truth = [
            plain_loop(model, p, max_tokens, Random(seed, "sample", b), **sampling)
            for b, p in enumerate(prompts)
        ]
        for how in ({}, {"use_cache": False}, {"prefill_chunk": chunk}):
            tokens, logits = collect(model, prompts, **options, **how)
            for b, (true_tokens, true_logits) in enumerate(truth):
                assert tokens[b] == true_tokens
                for mine, true in zip(logits[b], true_logits, strict=True):
                    if backend == "compiled":
                        assert np.array_equal(mine, true)
                    np.testing.assert_allclose(
                        mine, true, rtol=1e-9 if model.wte.weight.dtype == np.float64 else 0
                    )


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20)
@given(prompts, st.integers(0, 99))
def test_a_prompt_with_its_own_seed_goes_on_the_same_way_in_any_batch(backend, prompts, seed):
    model = tiny(np.float32 if backend == "compiled" else np.float64)
    seeds = [seed + b for b in range(len(prompts))]
    stops = {"stop": [3], "max_tokens": 12}  # rows end at different times, so the batch shrinks on the way
    with ops.use(backend):
        together = generate(model, prompts, seed=seeds, **stops)
        alone = [generate(model, [p], seed=s, **stops)[0] for p, s in zip(prompts, seeds, strict=True)]
        back = generate(model, prompts[::-1], seed=seeds[::-1], **stops)[::-1]
    assert together == alone == back


def test_the_same_seed_draws_the_same_and_rows_and_seeds_differ():
    model = tiny(std=0.05)
    one = generate(model, [[1], [1]], max_tokens=20, seed=1)
    assert one == generate(model, [[1], [1]], max_tokens=20, seed=1)
    assert one[0] != one[1]
    assert one != generate(model, [[1], [1]], max_tokens=20, seed=2)
    assert (
        one[0][:5] == generate(model, [[1]], max_tokens=5, seed=1)[0]
    )  # fewer tokens are the beginning of more


def test_draws_follow_the_models_probabilities():
    model, prompt = tiny(std=0.3), [[1, 2, 3]]
    probs = ops.softmax(model(prompt).data[0, -1])
    drawn = generate(model, prompt * 500, max_tokens=1, seed=5)
    rates = np.bincount([ids[0] for ids in drawn], minlength=V) / 500
    assert np.abs(rates - probs).max() < 4 * (0.25 / 500) ** 0.5


def test_greedy_takes_the_smallest_of_equal_ids():
    undecided = GPT(GPTConfig(vocab_size=V, context=CONTEXT, layers=1, heads=1, width=4), seed=None)
    assert generate(undecided, [[5]], max_tokens=10, temperature=0) == [[0] * 10]


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


def test_a_context_of_one_token_can_go_on_forever():
    model = tiny(context=1)
    assert generate(model, [[4]], max_tokens=9, seed=2) == generate(
        model, [[4]], max_tokens=9, seed=2, use_cache=False
    )


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 30))
def test_a_cache_of_ones_own_goes_on_where_it_stood(n, more):
    model = tiny(np.float64)
    with ops.use("numpy"):
        cache = model.new_cache()
        ids = [1, 2] + generate(model, [[1, 2]], max_tokens=n, cache=cache, temperature=0)[0] + [3]
        ids = ids[-CONTEXT:]
        assert cache[0].length == 1 + n
        assert generate(model, [ids], max_tokens=more, cache=cache, temperature=0) == generate(
            model, [ids], max_tokens=more, use_cache=False, temperature=0
        )
        assert cache[0].length <= CONTEXT


def test_generation_is_without_dropout_and_leaves_the_model_as_it_was():
    model, plain = tiny(dropout=0.5), tiny()
    assert generate(model, [[1, 2]], max_tokens=9) == generate(plain, [[1, 2]], max_tokens=9)
    assert model.training and all(p.grad is None for p in model.parameters())
    steps = stream(model, [[1, 2]], max_tokens=9)
    next(steps)
    assert model.training and model([1, 2]).requires_grad  # between two steps, too


def test_token_ids_can_stop_a_row():
    free = generate(tiny(), [[1, 2]], max_tokens=30, seed=3)[0]
    stop = free[4]
    steps = list(stream(tiny(), [[1, 2]], max_tokens=30, seed=3, stop=[stop]))
    assert [s.token for s in steps] == free[: free.index(stop) + 1]
    assert steps[-1].finish == "stop"


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
        ([[1]], {"temperature": -0.5}, "temperature"),
        ([[1]], {"temperature": float("nan")}, "temperature"),
        ([[1]], {"temperature": float("inf")}, "temperature"),
        ([[1]], {"temperature": 1e-30}, "temperature"),
        ([[1]], {"top_k": 0}, "top_k"),
        ([[1]], {"top_k": 1.5}, "top_k"),
        ([[1]], {"top_p": 0.0}, "top_p"),
        ([[1]], {"top_p": 1.1}, "top_p"),
        ([[1]], {"min_p": -0.1}, "min_p"),
        ([[1]], {"repetition_penalty": 0.0}, "repetition_penalty"),
        ([[1]], {"stop": ""}, "empty stop string"),
        ([[1]], {"stop": "x"}, "stop strings need a tokenizer"),
        ([[1]], {"prefill_chunk": 0}, "prefill_chunk"),
        ([[1]], {"overflow": "wrap"}, "overflow"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_the_call(prompts, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        stream(tiny(), prompts, **({"max_tokens": 5} | options))


def test_misuse_is_told_from_bad_input():
    with pytest.raises(TypeError, match=r"write \[prompt\]"):
        stream(tiny(), "text", max_tokens=5)
    with pytest.raises(ValueError, match="for one prompt, got 2"):
        stream(tiny(), [[1], [2]], max_tokens=5, cache=tiny().new_cache(2))


def test_broken_weights_are_told_to_the_user():
    model = tiny()
    model.ln_f.weight.data[0] = np.nan
    for temperature in (0, 1.0):
        with pytest.raises(UserError, match="weights are broken"):
            generate(model, [[1]], max_tokens=5, temperature=temperature)


@pytest.mark.parametrize("temperature", [1e-6, 1e30])
def test_extreme_temperatures_still_draw(temperature):
    ids = generate(tiny(std=2.0), [[1]] * 20, max_tokens=1, temperature=temperature)
    assert len({row[0] for row in ids}) == 1 if temperature < 1 else len({row[0] for row in ids}) > 4


def test_sampling_settings_keep_their_order():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    drawn = {Sampling(top_k=3, top_p=0.7).choose(logits, [], Random(i)) for i in range(200)}
    assert drawn == {0, 1}  # top-p counts shares of what top-k left: 0.44 + 0.33 reach 0.7
    drawn = {Sampling(temperature=0.1, min_p=0.5).choose(logits, [], Random(i)) for i in range(200)}
    assert drawn == {0}  # min-p sees the distribution that temperature has sharpened
