"""Check who takes part in races, in what order and in what units; no test depends on a speed."""

import re
from functools import partial

import numpy as np
import pytest

from tinyllm.bench import race as timing, rows
from tinyllm.bench.machine import Roof, measure_roof
from tinyllm.bench.race import Contender, apart, compare, race
from tinyllm.cli import bench as cli
from tinyllm.errors import UserError
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS, use

TINY = {"model_type": "gpt2", "vocab_size": 11, "layers": 1, "heads": 2, "width": 8, "context": 8}


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Time each call without repeats, pauses and warm-up, and make all models tiny."""
    monkeypatch.setattr(timing, "SHORTEST", 1e-9)
    monkeypatch.setattr(timing, "WARM_UP", 0)
    monkeypatch.setattr(timing, "sleep", lambda seconds: None)
    monkeypatch.setattr(rows, "SIZES", dict.fromkeys(rows.SIZES, TINY | {"context": 64}))
    monkeypatch.setattr(rows, "BATCH", dict.fromkeys(rows.BATCH, 2))


@pytest.mark.parametrize("n", [1, 2])
def test_race_takes_turns_and_repeats_short_calls(monkeypatch, n):
    """The clock advances by a second each time that it is read; a single thread is not warmed up."""
    log, clock = [], iter(range(10**6))
    for name in ("perf_counter", "thread_time"):
        monkeypatch.setattr(timing, name, lambda: next(clock))
    monkeypatch.setattr(timing, "settle", lambda: None)
    monkeypatch.setattr(timing, "threads", lambda: n)
    monkeypatch.setattr(timing, "SHORTEST", 5)
    times = race({name: Contender(lambda name=name: log.append(name)) for name in "ab"}, 0, least=2)
    assert times == {"a": [1 / 5] * 2, "b": [1 / 5] * 2}
    assert log == [*"aabb", *"aaaaabbbbb" * 2]
    log.clear()
    race({"c": Contender(log.append, lambda: "d")}, 0, least=2)
    assert "".join(log) == "d" * 4  # each call gets an argument prepared for it alone
    log.clear()
    monkeypatch.setattr(timing, "SHORTEST", 1)
    monkeypatch.setattr(timing, "WARM_UP", 10)
    race({"a": Contender(lambda: log.append("a"))}, 0, least=3)
    assert len(log) == (1 + 4 * (10 if n == 2 else 1))


def test_settle_waits_until_no_thread_uses_time_but_not_for_ever(monkeypatch):
    used, clock, naps = iter([0, 1, 1, 2, 2, 2, *range(1000)]), iter(range(1000)), []
    monkeypatch.setattr(timing, "process_time", lambda: next(used))  # before and after each nap
    monkeypatch.setattr(timing, "sleep", naps.append)
    timing.settle()
    assert len(naps) == 3
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    timing.settle(patience=5)
    assert len(naps) == 3 + 4


def answering(numbers, tolerance=0.0):
    return Contender(tuple, answer=lambda: np.array(numbers), tolerance=tolerance, amounts={"tokens": 6})


def missing():
    raise ImportError("No module named 'absent'")


@pytest.mark.parametrize("where", [apart, dict])
def test_compare_makes_a_record_for_each_and_leaves_out_what_is_missing(where, monkeypatch):
    """Compare times within rounds: in the second round all are slow, and the median of ratios stays 2."""
    makers = {"ours": partial(answering, [2.0, 4.0]), "gone": missing,
              "near": partial(answering, [2.0, 4.1], tolerance=0.1)}
    monkeypatch.setattr(timing, "race", lambda *given: {"ours": [1.0, 10.0, 6.0], "near": [2.0, 30.0, 6.0]})
    skipped, first, second = compare(where(makers), 0, task="x")
    assert (skipped["engine"], skipped["task"]) == ("gone", "x") and "absent" in skipped["skipped"]
    assert cli.line(skipped, Roof()).startswith("x gone: left out, ImportError: No module")
    assert (first["seconds"], first["rates"]) == (6, {"tokens": 1})
    assert "times" not in first and (second["seconds"], second["times"]) == (6, 2)
    assert ("peak_rss_mb" in first) == (where is apart)
    assert 10 < (first.get("peak_rss_mb") or 11) < 1000


@pytest.mark.parametrize("wrong", [[2.0, 4.5], [[2.0, 4.0]], [np.nan, 4.0]])
def test_who_computes_something_else_does_not_race(wrong):
    ours = partial(answering, [2.0, 4.0])
    with pytest.raises(UserError, match="other does not compute what the first does"):
        list(compare({"ours": ours, "other": partial(answering, wrong, 0.1)}, 0))
    with pytest.raises(ImportError, match="absent"):
        list(compare({"ours": missing, "other": ours}, 0))


@pytest.mark.skipif(registry._compiled is None, reason="the kernels are not built")
def test_the_ops_to_measure_are_those_of_training_and_generating():
    found = rows.op_calls(TINY, 2)
    by_name = {op: (args, amounts) for op, args, _, amounts in found}
    assert {"linear", "attention_backward", "rmsnorm", "rope", "swiglu", "adamw_step", "top_p",
            "linear_int4"} <= set(by_name)
    assert len({(op, rows._shapes(args)) for op, args, *_ in found}) == len(found)
    (x, w, *_), amounts = by_name["linear"]
    assert amounts == {"flops": 2 * x.size * w.size / x.shape[-1]} and by_name["add"][1] == {}


def test_a_training_step_trains_the_same_weights_on_the_same_batch():
    step = rows.training_step(rows.model_of(TINY), 2)
    losses = [step() for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1
    contender = rows.trainer(TINY, 2)
    forward = 2 * 2 * 8 * (12 * 8 * 8 + 8 * 11) + 2 * 2 * 2 * 36 * 8  # products; 36 pairs of positions
    assert contender.answer() == losses[0] and contender.amounts == {"tokens": 16, "flops": 3 * forward}


def test_a_share_is_of_the_roof_of_the_same_rate():
    assert (measure_roof(0).gflops is None) == (registry._compiled is None)
    roof = Roof(gflops=100.0, bf16_gflops=200.0, gb_per_second=50.0)
    assert roof.share({"flops": 50e9}) == roof.share({"tokens": 9, "bf16_flops": 100e9}) == 0.5
    assert roof.share({"text": 25e9}) is Roof().share({"flops": 50e9}) is None


def test_the_command_measures_everything(monkeypatch, printed):
    """Run all races in this process, with a time limit of 0 and a given roof."""
    monkeypatch.setattr(rows, "apart", dict)
    monkeypatch.setattr(cli.machine, "measure_roof", lambda: Roof(100.0, 200.0, 50.0))
    monkeypatch.setattr(cli, "BENCHES", {name: (races, 0) for name, (races, _) in cli.BENCHES.items()})
    monkeypatch.setattr(cli, "compare", partial(compare, least=1))
    monkeypatch.setenv("OPENBLAS_EXAMPLE", "Haswell")
    with use(registry._state["backend"], matmul=OPS["matmul"].backend):  # undoes what contenders choose
        shown = printed("bench", "--quick")
    about, *works = re.split(r"\n\n(\w+)\n", shown)
    assert "OPENBLAS_EXAMPLE=Haswell" in about and "100 GFLOP/s, 200 in bf16; 50.0 GB/s" in about
    found = {name: said.splitlines() for name, said in zip(works[::2], works[1::2], strict=True)}
    assert [len(found[name]) for name in ("train", "generate", "batch")] == [3, 8, 2]
    assert bool(found["ops"]) == (registry._compiled is not None)
    full = {"setting": "mini", "op": "x" * 90, "engine": "torch compiled bf16", "peak_rss_mb": 1234.5,
            "seconds": 1.234567, "rates": {"tokens": 123456, "flops": 98.7e9}, "times": 1.2345}
    said = cli.line(full, Roof(100.0))
    assert said.endswith("xx.. torch compiled bf16 1.23    s    123 k tok/s  99% 1.23 x 1,234 MiB")
    assert max(map(len, [*shown.splitlines(), said])) <= 80
