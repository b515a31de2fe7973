"""Check the simulator of training on many devices: its laws, published runs, and `tinyllm plan`."""

import json
from dataclasses import replace
from itertools import product

import pytest

from tinyllm.cli import main
from tinyllm.models import build
from tinyllm.nn.init import without_memory
from tinyllm.nn.module import forward_flops
from tinyllm.parallel.simulate import Grid, Work, all_reduce, best_grid, machines, scaling, simulate

A100, H100 = machines()["a100"], machines()["h100"]
assert all(machine.sources and machine.bf16 for machine in machines().values())


def work(name, layers, heads, batch=2048, context=2048, **sizes):
    sizes |= {"model_type": name, "context": context, "width": 128 * heads, "layers": layers, "heads": heads}
    with without_memory():
        model = build(sizes, None)
    return Work(model.config, model.num_parameters(), forward_flops(model, context), context, batch, "bf16")


SEVEN = work("llama", 32, 32, hidden=11008, vocab_size=32000)
PUBLISHED = {  # run -> (machine, work, nodes, tokens, device hours that were reported)
    # Touvron et al., "LLaMA", 2023, table 15: 1e12 tokens, 82,432 hours; 1.4e12 tokens, 1,022,362 hours
    "LLaMA 7B": (A100, SEVEN, 128, 1e12, 82_432),
    "LLaMA 65B": (A100, work("llama", 80, 64, hidden=22016, vocab_size=32000), 256, 1.4e12, 1_022_362),
    # Narayanan et al., 2021, section 5.1: GPT-3 of 175B parameters, 300e9 tokens, 1,024 devices, 34 days
    "GPT-3": (A100, work("gpt2", 96, 96, 1536, vocab_size=51200),
              128, 300e9, 34 * 24 * 1024),
    # Llama 3.1's model card: 15e12 tokens, 30.84e6 hours
    "Llama 3.1 405B": (H100, work("llama", 126, 128, 2048, 8192, kv_heads=8, hidden=53248, vocab_size=128256),
                       2048, 15e12, 30.84e6),
}


@pytest.mark.parametrize("run", PUBLISHED)
def test_published_runs_are_predicted_within_a_factor_of_1_5(run):
    machine, what, nodes, tokens, reported = PUBLISHED[run]
    hours = best_grid(machine, what, nodes, {})[1].seconds * tokens / what.batch / what.context / 3600
    assert 1 / 1.5 < reported / (hours * nodes * machine.devices) < 1.5


def test_more_nodes_never_send_less_and_one_node_sends_nothing():
    for tensor, pipeline, zero in product((1, 2, 8, 16), (1, 2, 8), (0, 1)):
        sent = [simulate(H100, SEVEN, Grid(n * 8 // tensor // pipeline, tensor, pipeline, 1, zero)).network
                for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n * 8 >= tensor * pipeline]
        assert sent == sorted(sent)
        assert (sent[0] == 0) == (tensor * pipeline <= 8), "a grid that fits into a node sends nothing out"
    assert simulate(H100, SEVEN, Grid()).sent == 0, "one device sends nothing"
    assert all_reduce(H100, 8e9, 8, 1)[1:] == (14e9, 0.0), "a ring sends 2 (k - 1) / k"
    assert all_reduce(H100, 8e9, 4, 8)[1:] == (12e9, 12e9)
    seconds, sent, far = all_reduce(H100, 8e9, 16, 1)
    assert (sent, far) == (14e9 + 1e9, 1e9) and seconds > all_reduce(H100, 8e9, 8, 1)[0]


@pytest.mark.parametrize("precision, state", [("bf16", 12), ("float32", 8)])
def test_memory_divides_over_the_grid(precision, state):
    tiny = replace(SEVEN, context=1, batch=16, precision=precision)  # hardly any activations
    alone = simulate(H100, tiny, Grid()).memory
    assert alone == pytest.approx(16 * tiny.parameters, rel=1e-3)
    for tensor, pipeline in product((1, 2, 8), (1, 2, 8)):
        found = simulate(H100, tiny, Grid(1, tensor, pipeline)).memory
        assert found == pytest.approx(alone / tensor / pipeline, rel=1e-3)
    divided = simulate(H100, tiny, Grid(8, zero=1)).memory
    assert alone - divided == pytest.approx(state * tiny.parameters * 7 / 8, rel=1e-6)
    kept, again = simulate(H100, SEVEN, Grid()), simulate(H100, SEVEN, Grid(checkpoint=1))
    assert again.memory < kept.memory and again.seconds > kept.seconds


def test_the_bubble_is_that_of_1f1b_and_the_pieces_take_the_rest():
    for stages, batch in product((1, 2, 4, 8), (1, 4, 64)):
        cost = simulate(H100, replace(SEVEN, batch=batch), Grid(pipeline=stages))
        assert cost.bubble == (stages - 1) / (batch + stages - 1)
    long, short = (simulate(H100, replace(SEVEN, batch=n), Grid(pipeline=8)).seconds for n in (128, 64))
    assert long / short == pytest.approx((128 + 7) / (64 + 7), rel=1e-2)


def test_the_best_grid_fits_and_none_of_the_others_is_faster():
    grid, cost = best_grid(A100, SEVEN, 4, {})
    assert grid.data * grid.tensor * grid.pipeline == 32 and cost.memory <= A100.memory
    for tensor, pipeline in product((1, 2, 4, 8), (1, 2, 4)):
        other = simulate(A100, SEVEN, Grid(32 // tensor // pipeline, tensor, pipeline, 1, 1))
        assert other.memory > A100.memory or other.seconds >= cost.seconds
    assert best_grid(A100, SEVEN, 4, {"tensor": 8, "micro": 2})[0].tensor == 8
    rows = scaling(A100, SEVEN, 4, {"data": 4})
    strong = [row["strong"].seconds for row in rows if row["strong"]]
    weak = [row["weak"].utilization for row in rows if row["weak"]]
    assert rows[-1]["nodes"] == 4096 and strong == sorted(strong, reverse=True)
    assert max(weak[2:]) / min(weak[2:]) < 1.3, "with weak scaling, devices stay busy"


def test_the_command_prints_80_columns_a_page_and_json(tmp_path, capsys):
    line = ["plan", "--params", "1e9", "--nodes", "4", "--price-per-hour", "2", "--tokens", "2e12"]
    assert main([*line, "--html", str(tmp_path / "plan.html")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "64.00 an hour" in said and "4,096" in said
    assert (tmp_path / "plan.html").read_text().count("<figure") == 2
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["work"]["parameters"] == pytest.approx(1e9, rel=0.2)
    assert found["price"] == pytest.approx(found["hours"] * 32 * 2)
    line = ["plan", "--model", "gpt2", "--preset", "nano", "--machine", "here", "--batch", "256"]
    assert main([*line, "--grid", "data=2"]) == 0
    assert "2, in 1 nodes of 2" in capsys.readouterr().out


MISTAKES = {
    "--machine h200": "there is no machine 'h200'; did you mean h100?", "--nodes 0": "--nodes must be from 1",
    "--params nan": "--params must be from", "--batch inf": "--batch must be from",
    "--model lama": "did you mean", "--model bert": "does not write", "--grid data=3": "must be 8 devices",
    "--grid tensor=8": "12 heads do not divide by tensor=8: 4 would", "--grid x=3": "got 'x=3'",
    "--grid tensor=two": "--grid takes", "--grid zero=2": "zero must be",
    "--params 1e12": "take more --nodes",
    "--grid data=8 --batch 6144 --context 1024": "do not divide by data x micro=8: 2 would",
    "--machine tpu-v4 --precision float32": "no peak in float32", "--machine here --nodes 2": "is one node",
    "--machine here --precision bf16": "float32 only",
}


@pytest.mark.parametrize("options, said", MISTAKES.items())
def test_a_mistake_gets_one_line(options, said, capsys):
    assert main(["plan", *options.split()]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
