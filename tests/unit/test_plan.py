"""Check the simulator of training on many devices: its laws, published runs, and `tinyllm plan`."""

import json
import math
from dataclasses import replace
from functools import cache, partial
from itertools import product

import pytest

from tinyllm.cli import main
from tinyllm.models import build
from tinyllm.nn.init import without_memory
from tinyllm.nn.module import forward_flops
from tinyllm.parallel.simulate import KEPT, Grid, Work, all_reduce, best_grid, machines, scaling, simulate

A100, H100, H800 = (machines()[name] for name in ("a100", "h100", "h800"))


@cache
def work(name, layers, heads, batch, context, **sizes):
    sizes = {"width": 128 * heads, "context": context, "layers": layers, "heads": heads} | sizes
    with without_memory():
        model = build(sizes | {"model_type": name}, None)
    return Work(model.config, model.num_parameters(), forward_flops(model, context), context, batch)


late = partial(partial, work)  # built by the test that needs it, not whenever tests are collected
SEVEN = work("llama", 32, 32, 2048, 2048, hidden=11008, vocab_size=32000)
LLAMA_3 = {"context": 8192, "kv_heads": 8, "hidden": 53248, "vocab_size": 128256}
DEEPSEEK = {"width": 7168, "head_width": 128, "kv_heads": 1, "hidden": 2048, "experts": 257, "top": 9,
            "vocab_size": 129280}
PUBLISHED = {  # run -> (machine, work, nodes, tokens, reported device hours, these divided by the predicted)
    # Touvron et al., "LLaMA", arXiv:2302.13971, 2023, section 2.4 and table 15
    "LLaMA 65B": (A100, late("llama", 80, 64, 2048, 2048, hidden=22016, vocab_size=32000), 256, 1.4e12,
                  1_022_362, 1.01),
    # Narayanan et al., arXiv:2104.04473, 2021, section 5.1: 300e9 tokens on 1,024 devices in 34 days
    "GPT-3": (A100, late("gpt2", 96, 96, 1536, 2048, vocab_size=51200), 128, 300e9, 34 * 24 * 1024, 1.36),
    # github.com/meta-llama/llama-models, models/llama3_1/MODEL_CARD.md; devices: arXiv:2407.21783, 2024
    "Llama 3.1 405B": (H100, late("llama", 126, 128, 2048, **LLAMA_3), 2048, 15e12, 30.84e6, 0.81),
    # github.com/NVIDIA/dgxc-benchmarking, llama3.1/README: 19.81 s a step on 512; sequences are divided over
    # 2 devices, and a device has 8 stages, which is not modelled
    "the same, by NVIDIA": (H100, late("llama", 126, 128, 256, **LLAMA_3), 64, 256 * 8192, 512 * 19.81 / 3600,
                            0.66),
    # DeepSeek-V3 Technical Report, arXiv:2412.19437, 2024, table 1: mostly in 8 bits, with latent attention
    # and a shared expert; here in bf16, with one key head and a 257th expert, 707 G parameters, not 671 G
    "DeepSeek-V3": (H800, late("qwen3_moe", 61, 128, 15360, 4096, **DEEPSEEK), 256, 14.8e12, 2.664e6, 0.91),
}


@pytest.mark.parametrize("run", PUBLISHED)
def test_published_runs_took_as_long_as_the_documentation_says(run):
    machine, what, nodes, tokens, reported, ratio = PUBLISHED[run]
    hours = best_grid(machine, what(), nodes, {})[1].seconds * tokens / what().batch / what().context / 3600
    assert reported / (hours * nodes * machine.devices) == pytest.approx(ratio, abs=0.01)


def test_the_numbers_that_a_layer_keeps_are_about_as_many_in_other_families():
    for c in (SEVEN.config, PUBLISHED["GPT-3"][1]().config, PUBLISHED["Llama 3.1 405B"][1]().config):
        heads = getattr(c, "kv_heads", c.heads) / c.heads
        mlp = 3 * c.hidden / c.width if hasattr(c, "hidden") else 2 * 4  # gate, up, product; or around a GELU
        # inputs of two norms, of the matrices behind them, of attention (q, k, v) and of its last matrix
        assert 2 + 2 + 1 + 2 * heads + 1 + mlp == pytest.approx(KEPT, rel=0.08)


def test_more_nodes_never_send_less_and_one_node_sends_nothing():
    for tensor, pipeline, zero in product((1, 2, 8, 16), (1, 2, 8), (0, 1)):
        sent = [simulate(H100, SEVEN, Grid(n * 8 // tensor // pipeline, tensor, pipeline, 1, zero)).network
                for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n * 8 >= tensor * pipeline]
        assert sent == sorted(sent)
        assert (sent[0] == 0) == (tensor * pipeline <= 8), "a grid that fits into a node sends nothing out"
    assert simulate(H100, SEVEN, Grid()).sent == 0, "one device sends nothing"
    often, once = (simulate(replace(H100, overlap=overlap), SEVEN, Grid(2)).sent for overlap in (False, True))
    assert often == once * 2048 / 2, "without overlap, gradients are summed after each piece"
    assert all_reduce(H100, 8e9, 8, 1)[1:] == (14e9, 0.0), "a ring sends 2 (k - 1) / k"
    assert all_reduce(H100, 8e9, 4, 8)[1:] == (12e9, 12e9)
    seconds, sent, far = all_reduce(H100, 8e9, 16, 1)
    assert (sent, far) == (14e9 + 1e9, 1e9) and seconds > all_reduce(H100, 8e9, 8, 1)[0]


def test_links_without_cost_leave_compute_alone_and_no_worse_link_saves_time():
    def seconds(grid, inside=(math.inf, 0.0), between=(math.inf, 0.0)):
        on = replace(H100, inside=[*inside], between=[*between], bandwidth=math.inf)
        return simulate(on, SEVEN, grid).seconds

    alone = seconds(Grid())
    for data, tensor, pipeline, micro in product((1, 4, 32), (1, 8), (1, 2, 8), (1, 4)):
        grid, pieces = Grid(data, tensor, pipeline, micro), 2048 / data / micro
        bubble = (pieces + pipeline - 1) / pieces
        assert seconds(grid) == pytest.approx(alone / data / tensor / pipeline * bubble, rel=1e-9)
        slower = [seconds(grid, (n, wait), (n, wait)) for n, wait in ((1e12, 0.0), (1e11, 0.0), (1e11, 1e-3))]
        assert [seconds(grid), *slower] == sorted([seconds(grid), *slower])
        if tensor * pipeline > 1:  # else sums may hide behind the backward pass
            assert slower[0] < slower[1] < slower[2]


@pytest.mark.parametrize("number, state", [(2, 12), (4, 8)])
def test_memory_divides_over_the_grid(number, state):
    tiny, machine = replace(SEVEN, context=1, batch=16), replace(H100, number=number, state=state)
    alone = simulate(machine, tiny, Grid(zero=0)).memory  # hardly any activations
    assert alone == pytest.approx(16 * tiny.parameters, rel=1e-3)
    for tensor, pipeline in product((1, 2, 8), (1, 2, 8)):
        found = simulate(machine, tiny, Grid(1, tensor, pipeline, zero=0)).memory
        assert found == pytest.approx(alone / tensor / pipeline, rel=1e-3)
    divided = simulate(machine, tiny, Grid(8, zero=1)).memory
    assert alone - divided == pytest.approx(state * tiny.parameters * 7 / 8, rel=1e-6)
    kept, again = simulate(H100, SEVEN, Grid()), simulate(H100, SEVEN, Grid(checkpoint=1))
    assert again.memory < kept.memory and again.seconds == pytest.approx(4 / 3 * kept.seconds, rel=0.01)
    flying = [simulate(H100, replace(SEVEN, batch=n), Grid(pipeline=8)).memory for n in (1, 4, 8, 64)]
    assert flying == sorted(flying) and flying[2] == flying[3], "1F1B keeps at most as many pieces as stages"
    words = replace(SEVEN, config=replace(SEVEN.config, vocab_size=10**7))  # logits, with one piece
    assert simulate(H100, words, Grid(pipeline=8)).memory > 8 * 2048 * 10**7


def test_the_bubble_is_that_of_1f1b_and_a_stage_with_more_layers_holds_up_the_others():
    for stages, batch in product((1, 2, 4, 8), (1, 4, 64)):
        cost = simulate(H100, replace(SEVEN, batch=batch), Grid(pipeline=stages))
        assert cost.bubble == (stages - 1) / (batch + stages - 1)
    uneven, even = (simulate(H100, SEVEN, Grid(pipeline=n)).seconds for n in (31, 16))
    assert uneven > even, "with 31 stages for 32 layers, one has two layers, as with 16 stages"


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


@pytest.mark.parametrize("machine", machines())
def test_the_command_prints_80_columns_a_page_and_json(machine, tmp_path, capsys):
    line = ["plan", "--params", "1e9", "--nodes", "4", "--price-per-hour", "2", "--machine", machine]
    assert main([*line, "--html", str(tmp_path / "plan.html")]) == 0
    said, hourly = capsys.readouterr().out, 8 * machines()[machine].devices
    assert max(map(len, said.splitlines())) <= 80 and f"{hourly}.00 an hour" in said and "4,096" in said
    assert (tmp_path / "plan.html").read_text().count("<figure") == 2
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["price"] == pytest.approx(found["hours"] * hourly)
    sizes = found["work"]["config"]
    assert 12 * sizes["layers"] * sizes["width"] ** 2 == pytest.approx(1e9, rel=0.1)
    line = ["plan", "--model", "gpt2", "--preset", "nano", "--json", "--grid", "tensor=2"]
    assert main(line) == 0 and json.loads(capsys.readouterr().out)["grid"]["tensor"] == 2
    assert main(["plan", "--machine", machine, "--devices", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["sent"] == 0, "one device sends nothing"


def test_a_mixture_costs_what_its_active_parameters_do_and_weighs_all(capsys):
    costs = []
    for sizes in ("37e9", "671e9 --active 37e9"):
        line = f"plan --nodes 256 --json --batch 64e6 --grid tensor=8 pipeline=8 --params {sizes}"
        assert main(line.split()) == 0
        costs.append(json.loads(capsys.readouterr().out)["cost"])
    assert costs[1]["memory"] > 4 * costs[0]["memory"] and costs[1]["seconds"] < 1.3 * costs[0]["seconds"]


MISTAKES = {
    "--machine h101": "there is no machine 'h101'; did you mean h100?", "--nodes 0": "--nodes must be from 1",
    "--params nan": "--params must be from", "--devices 0": "--devices must be from",
    "--batch inf": "--batch must be from",
    "--model lama": "did you mean", "--model lama --params 7e9": "did you mean",
    "--model bert": "does not write",
    "--grid data=3": "data=3 cannot be: data x tensor x pipeline must be 8 devices",
    "--grid tensor=8": "tensor must divide 12 heads", "--grid pipeline=16 --nodes 2": "be at most 12 layers",
    "--batch 4096 --grid data=8": "and data x micro be at most 4 sequences",
    "--batch 1 --nodes 512": "a grid cannot be: data x tensor",
    "--grid x=3": "got 'x=3'", "--grid tensor=two": "--grid takes", "--grid tensor=0": "got 'tensor=0'",
    "--grid zero=2": "got 'zero=2'", "--params 70e9": "a smaller model; --nodes 4 would do",
    "--params 1e13": "or a smaller model\n", "--active 1e9": "must be a part of --params",
    "--params 1e9 --active 2e9": "must be a part of --params",
    "--params 1e9 --preset nano": "leave out --preset", "--params 1e9 --model mixtral": "of other families",
}


@pytest.mark.parametrize("options, said", MISTAKES.items())
def test_a_mistake_gets_one_line(options, said, capsys):
    assert main(["plan", *options.split()]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
