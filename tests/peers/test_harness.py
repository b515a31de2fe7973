"""Compare the numbers of lm-eval with those of `tinyllm eval`, on the same items, without a download."""

from types import SimpleNamespace

import pytest
from served import running

import tinyllm as tl

pytest.importorskip("lm_eval")
pytest.importorskip("datasets")
from harness import METRICS, Harnessed, both, described
from lm_eval import simple_evaluate
from lm_eval.models.openai_completions import LocalCompletionsAPI


def test_multiple_choice_has_exactly_the_numbers_of_lm_eval():
    """The choices of entailment differ in length, so that metrics which divide by it differ there."""
    names = ["world:sentiment", "world:acceptability", "world:entailment"]
    found = both(tl.open_model("shipped"), names, 60)
    for name in names:
        assert {metric: theirs for metric, (theirs, _) in found[name].items()} == {
            metric: own for metric, (_, own) in found[name].items()}
    assert len({own for _, own in found["world:entailment"].values()}) > 1 and len(METRICS) == 3


def test_lm_eval_asks_the_server_and_gets_the_numbers_of_the_library():
    """lm-eval scores prompts with echo and logprobs, several at a time."""
    pytest.importorskip("uvicorn")
    opened, names = tl.open_model("shipped"), ["world:sentiment", "world:entailment"]
    tokenizer = SimpleNamespace(encode=opened.tokenizer.encode, eot_token=0)
    with running("shipped") as process:
        theirs = LocalCompletionsAPI(
            base_url=f"http://127.0.0.1:{process.port}/v1/completions", tokenizer_backend="None",
            model="shipped", num_concurrent=4, batch_size=4, max_length=256)
        theirs.tokenizer, theirs.tokenizer_backend, theirs.tokenized_requests = tokenizer, "tiktoken", True
        found, truth = (simple_evaluate(lm, tasks=[described(name, 40) for name in names], bootstrap_iters=0)
                        for lm in (theirs, Harnessed(opened)))
    assert found["results"] == truth["results"] and len(found["results"]) == 2
