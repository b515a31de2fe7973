"""Check `tinyllm inspect`: parts and costs of every family, and the differences of two models."""

import pytest

from tinyllm.models import build, family, names
from tinyllm.nn import DecoderLM, quantize
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
    kinds = {line.split(": ")[1].split(",")[0] for line in drawn}
    assert kinds == set(explanations(each)) and all(explanations(each).values())
    assert max(map(len, drawn)) <= 78
    assert any(", each: " in line for line in drawn), "equal layers share a line"
    assert all(line.startswith(" ") for line in differences(each, each))
    assert settings_that_differ(each.config, each.config) == []
    there, back = differences(each, other), differences(other, each)
    assert [x[2:] for x in there if x[0] == "-"] == [x[2:] for x in back if x[0] == "+"]


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


def test_lines_fit(printed, refused):
    for words in (["inspect", "shipped"], ["inspect", "--diff", "gpt", "llama"]):
        out = printed(*words)
        assert max(map(len, out.splitlines())) <= 80 and ("--diff" in words or "mlp.gate_proj" in out)
        assert "FLOPs to read the last token  " in out
    assert "test_inspect.py holds no run" in refused("inspect", __file__)
