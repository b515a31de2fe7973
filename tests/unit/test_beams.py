"""Check beam search: one beam is greedy decoding, enough beams find the best text, transformers agrees."""

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from tiny_gpt import shaken
from tiny_models import MODELS, SIZES

import tinyllm as tl
from tinyllm.decode.beams import beam_search

V, END = SIZES["vocab_size"], 1
KINDS = ["gpt2", "t5", "t5 untied"]
PROMPTS = [[3, 4, 5], [2], [7, 3, 3, 6, 8]]
each = pytest.mark.parametrize("kind", KINDS)


def lively(kind, seed, std=0.5):
    """Build a small model whose distributions are neither sharp nor flat."""
    # A cache of transformers fails if the decoder has more layers than the encoder.
    settings = {"end": END, "decoder_layers": 2} if "t5" in kind else {}
    return shaken(tl.build(MODELS[kind] | settings, seed=None), std, seed).eval()


def logprobs(model, prompt, text):
    """Return the log-probabilities of all tokens after a prompt and a text (V,)."""
    if model.is_encoder_decoder:
        logits = model([prompt], [[model.config.start, *text]])
    else:
        logits = model([[*prompt, *text]])
    return tl.ops.log_softmax(logits.data[0, -1])


@each
@given(seed=st.integers(0, 99), count=st.integers(1, 7), penalty=st.sampled_from([0, 2]))
def test_one_beam_is_greedy(kind, seed, count, penalty):
    model = lively(kind, seed)
    found = beam_search(model, PROMPTS, beams=1, max_tokens=count, length_penalty=penalty, stop=[END])
    greedy = tl.generate(model, PROMPTS, max_tokens=count, sampling=tl.Sampling(temperature=0), stop=[END])
    assert [texts[0][0] for texts in found] == greedy


@each
@given(seed=st.integers(0, 30), penalty=st.sampled_from([-1.0, 0.0, 0.7, 1.0]))
def test_scores_are_log_probabilities_and_all_beams_together_find_the_best_text(kind, seed, penalty):
    model, prompt = lively(kind, seed), PROMPTS[0]
    found = beam_search(model, prompt, beams=V, max_tokens=2, length_penalty=penalty, stop=END)[0]
    first = logprobs(model, prompt, [])
    scores = {(END,): first[END]}
    for one in set(range(V)) - {END}:
        second = enumerate(logprobs(model, prompt, [one]))
        scores |= {(one, two): (first[one] + p) / 2**penalty for two, p in second}
    for ids, score in found:
        assert np.isclose(scores[tuple(ids)], score, rtol=1e-4, atol=1e-4)
    assert np.isclose(found[0][1], max(scores.values()), rtol=1e-4, atol=1e-4)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@each
def test_other_prompts_and_a_full_context_change_nothing(kind):
    model = lively(kind, 3)
    together = beam_search(model, PROMPTS, beams=3, max_tokens=10**12)  # must not reserve memory for so many
    room = [12] * 3 if model.is_encoder_decoder else [10, 12, 8]
    for prompt, texts, n in zip(PROMPTS, together, room, strict=True):
        (alone,) = beam_search(model, [prompt], beams=3, max_tokens=40)
        assert [ids for ids, _ in texts] == [ids for ids, _ in alone]
        assert all(len(ids) <= n for ids, _ in texts)


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS + [k for k in MODELS if " " not in k and k != "bert"]))
def test_transformers_finds_the_same(tmp_path, kind):
    """tinyllm searches for all prompts at once, transformers for each alone; one beam is greedy decoding."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = lively(kind, 0)
    model.save_pretrained(tmp_path)
    theirs = getattr(transformers, model.architecture).from_pretrained(tmp_path)
    shared = {"max_new_tokens": 7, "do_sample": False, "eos_token_id": END, "pad_token_id": 0}

    def written(prompt, **options):
        found = theirs.generate(torch.tensor([prompt]), return_dict_in_generate=True, **shared, **options)
        rows = [row[1 if model.is_encoder_decoder else len(prompt) :].tolist() for row in found.sequences]
        return [row[: row.index(END) + 1] if END in row else row for row in rows], found

    greedy = tl.generate(model, PROMPTS, max_tokens=7, sampling=tl.Sampling(temperature=0), stop=[END])
    assert greedy == [written(prompt)[0][0] for prompt in PROMPTS]
    for penalty, beams in [(0.0, 4), (1.0, 3), (2.0, 2), (-0.5, 3)]:
        together = beam_search(model, PROMPTS, beams=beams, max_tokens=7, stop=[END], length_penalty=penalty)
        for prompt, ours in zip(PROMPTS, together, strict=True):
            ids, found = written(prompt, num_beams=beams, num_return_sequences=beams, output_scores=True,
                                 length_penalty=penalty)
            assert [text for text, _ in ours] == ids
            np.testing.assert_allclose([x for _, x in ours], found.sequences_scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes, message", [
    ({"beams": 0}, "beams and max_tokens must be at least 1, got 0 and 4"),
    ({"max_tokens": 0}, "got 4 and 0"),
    ({"beams": 20}, "20 beams need as many tokens, and there are 19"),
    ({"prompts": [[19]]}, "outside of the model's vocabulary"), ({"stop": ["ab"]}, "'ab' is 2: leave it out"),
])
def test_settings_that_cannot_work_are_named(changes, message):
    tokenizer = tl.CharTokenizer.train("abcdefghi")
    given = {"prompts": [[1]], "max_tokens": 4, "beams": 4, "tokenizer": tokenizer} | changes
    refuses(message, beam_search, lively("gpt2", 0), **given)
