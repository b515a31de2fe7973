"""Check `tinyllm inspect`: parts and costs of every family, and what two models differ in."""

import pytest

from tinyllm.bench import rows
from tinyllm.cli import main
from tinyllm.models import build, family, names
from tinyllm.nn import DecoderLM, quantize
from tinyllm.report.anatomy import costs, differences, drawing, explanations, settings_that_differ


def model(name="gpt2", **settings):
    sizes = family(name).PRESETS["nano"] | {"vocab_size": 48, "width": 32, "layers": 3} | settings
    return build({"model_type": name} | sizes)


@pytest.fixture(params=names())
def each(request):
    return model(request.param)


def test_costs_are_those_of_the_arrays(each):
    found = costs(each)
    assert found.parameters == each.num_parameters()
    assert found.weight_bytes == sum(a.nbytes for a in each.state_dict().values())
    assert found.active <= found.parameters and found.flops > found.active
    if isinstance(each, DecoderLM):
        assert found.cache_bytes == sum(c.nbytes for c in each.new_cache(1, 1))


def test_every_part_is_drawn_and_explained(each):
    drawn = drawing(each)
    kinds = {line.split(": ")[1].split(",")[0] for line in drawn}
    assert kinds == set(explanations(each)) and all(explanations(each).values())
    assert max(map(len, drawn)) <= 78
    assert any(", each: " in line for line in drawn), "equal layers share a line"


def test_a_model_does_not_differ_from_itself_and_a_difference_can_be_turned_round(each):
    assert all(line.startswith(" ") for line in differences(each, each))
    assert settings_that_differ(each.config, each.config) == []
    other = model("qwen2")
    there, back = differences(each, other), differences(other, each)
    assert [x[2:] for x in there if x[0] == "-"] == [x[2:] for x in back if x[0] == "+"]


def test_quantizing_changes_bytes_but_no_counts():
    whole, small = costs(model("llama")), costs(quantize(model("llama"), 8))
    assert (small.parameters, small.flops) == (whole.parameters, whole.flops)
    assert small.weight_bytes < whole.weight_bytes / 2


def test_a_token_uses_some_experts_only():
    few, many = (costs(model("mixtral", experts=n, top=2)) for n in (4, 8))
    router = 3 * 4 * 32  # four more experts in each of three layers have to be chosen from
    assert many.active - few.active == router and many.parameters > few.parameters + router


def test_differences_name_what_changed():
    lines = differences(model("llama"), model("qwen2"))
    assert [line.split()[1] for line in lines if line[0] != " "] == ["q_proj:", "k_proj:", "v_proj:"] * 2
    rows = settings_that_differ(model("llama", layers=2).config, model("gpt2").config)
    assert ("layers", "2", "3") in rows and ("dropout", "-", "0.0") in rows


def test_lines_fit_and_a_long_name_begins_at_a_dot(printed):
    for words in (["inspect", "shipped"], ["inspect", "--diff", "gpt", "llama"]):
        out = printed(*words)
        assert max(map(len, out.splitlines())) <= 80 and ("--diff" in words or "...*.mlp.gate_proj" in out)


@pytest.mark.parametrize("name, tasks", [("bert", ["reading"]),
                                         ("t5", ["reading", "writing"])])
def test_models_that_read_both_directions_are_timed_too(name, tasks, tmp_path, capsys):
    model(name, context=16).save_pretrained(tmp_path)
    assert main(["inspect", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "1,000 tokens take" in line]
    assert [line.split(" here ")[0] for line in lines] == tasks


def test_an_early_end_does_not_make_writing_fast():
    settings = {"model_type": "t5", "vocab_size": 48, "end": 0}
    silent = build(settings | family("t5").PRESETS["nano"], seed=None)
    contender = rows.writing(silent)  # without weights, token 0, the end, is the first of the likeliest
    assert contender.run(*contender.prepare()) == contender.amounts["tokens"] > 5


def test_a_file_is_no_run(refused):
    assert "holds no run: there is no run.json" in refused("inspect", __file__)
