"""Check `tinyllm inspect`: parts and costs of every family, and the differences of two models."""

import json

import numpy as np
import pytest

from tinyllm.bench.machine import Roof
from tinyllm.bench.rows import speeds
from tinyllm.models import build, family, names
from tinyllm.nn import DecoderLM, inference, quantize
from tinyllm.nn.module import forward_flops
from tinyllm.ops.registry import watch
from tinyllm.report.summary import costs, differences, drawing, explanations, settings_that_differ


def model(name="gpt2", **settings):
    sizes = family(name).PRESETS["nano"] | {"vocab_size": 48, "width": 32, "layers": 3} | settings
    return build({"model_type": name} | sizes)


@pytest.mark.parametrize("name", names())
def test_every_part_is_drawn_explained_and_counted(name):
    each, other = model(name), model("qwen2")
    found, drawn = costs(each), drawing(each)
    assert found.parameters == each.num_parameters()
    assert found.weight_bytes == sum(a.nbytes for a in each.state_dict().values())
    assert found.active <= found.parameters and found.flops > found.active
    if isinstance(each, DecoderLM):
        assert found.cache_bytes == sum(c.nbytes for c in each.new_cache(1, 1))
        assert found.context_bytes == sum(c.nbytes for c in each.new_cache())
    assert found.memory == found.weight_bytes + found.context_bytes and found.read_bytes <= found.weight_bytes
    kinds = {line.split(": ")[1].split(",")[0] for line in drawn}
    assert kinds == set(explanations(each)) and all(explanations(each).values())
    assert max(map(len, drawn)) <= 78
    assert any(", each: " in line for line in drawn), "equal layers share a line"
    assert all(line.startswith(" ") for line in differences(each, each))
    assert settings_that_differ(each.config, each.config) == []
    there, back = differences(each, other), differences(other, each)
    assert [x[2:] for x in there if x[0] == "-"] == [x[2:] for x in back if x[0] == "+"]


def counting(counted):
    """Return a function for `watch` that adds the FLOPs of each op to a list."""
    def count(op, run, *args, **options):
        y = run(*args, **options)
        if callable(op.flops):
            bound = op.__signature__.bind(*args, **options)
            bound.apply_defaults()
            counted.append(op.count_flops(bound.arguments, y))
        return y

    return count


def test_flops_of_an_encoder_are_those_of_the_ops_that_run():
    each, counted = model("bert"), []
    with inference(each), watch(counting(counted)):
        each(np.arange(12)[None])
    assert sum(counted) == forward_flops(each, 12)


@pytest.mark.parametrize("bits", [32, 8])
@pytest.mark.parametrize("name", [name for name in names() if family(name).model_type not in ("t5", "bert")])
def test_flops_and_cache_are_those_of_the_ops_that_run(name, bits):
    window = {"window": 5} if name in ("mistral", "mixtral") else {}
    each, counted = model(name, context=12, **window), []
    each = quantize(each, bits) if bits == 8 else each
    cache, ids = each.new_cache(), np.arange(12)[None]
    with inference(each), watch(counting(counted)):
        each(ids[:, :11], cache)
        prompt = sum(counted)
        counted.clear()
        each(ids[:, 11:], cache)
    assert sum(counted) == costs(each).flops
    assert prompt // 11 == costs(each, 11).prompt_flops
    assert costs(each).context_bytes == sum(layer.nbytes for layer in cache)


def test_the_roof_predicts_speeds():
    each = model("llama", context=64)
    found, roof = costs(each, 32), Roof(1.0, None, 1e-3)  # a million bytes a second
    wanted = (found.read_bytes + found.context_bytes) / 1e6
    assert speeds(each, roof)["written"] == (pytest.approx(1 / wanted), None)
    assert speeds(each, Roof(1e-6, None, 1.0))["written"][0] == pytest.approx(1e3 / found.flops)
    assert speeds(each, roof, True)["read"][1] > 0
    assert speeds(each, Roof()) == speeds(model("bert"), roof) == speeds(model("t5"), roof) == {}


def test_quantizing_changes_bytes_but_no_counts_and_a_token_uses_some_experts_only():
    whole, small = costs(model("llama")), costs(quantize(model("llama"), 8))
    assert (small.parameters, small.flops) == (whole.parameters, whole.flops)
    assert small.weight_bytes < whole.weight_bytes / 2
    few, many = (costs(model("mixtral", experts=n, top=2)) for n in (4, 8))
    router = 3 * 4 * 32  # the routers of 3 layers score 4 more experts
    assert many.active - few.active == router and many.parameters > few.parameters + router


def test_differences_name_what_changed():
    lines = differences(model("llama"), model("qwen2"))
    assert [line.split()[1] for line in lines if line[0] != " "] == ["q_proj:", "k_proj:", "v_proj:"] * 2
    found = settings_that_differ(model("llama", layers=2).config, model("gpt2").config)
    assert ("layers", "2", "3") in found and ("dropout", "-", "0.0") in found


def test_lines_fit(printed):
    for words in (["inspect", "shipped"], ["inspect", "--diff", "gpt", "llama"]):
        out = printed(*words)
        assert max(map(len, out.splitlines())) <= 80 and ("--diff" in words or "mlp.gate_proj" in out)
        assert "FLOPs to read the last token  " in out
    first, other = (json.loads(printed("inspect", "shipped", "--json", "--price-per-hour", price))["speeds"]
                    for price in ("3.6", "0"))
    for what in ("read", "written") if first else ():
        rate, price = (first[f"{start} {what}{end}"]["predicted"] for start, end in (
            ("tokens", " a second"), ("price of 1,000 tokens", "")))
        assert price * rate == pytest.approx(1) and other[f"price of 1,000 tokens {what}"]["predicted"] == 0
