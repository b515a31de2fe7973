"""The measurements: what takes part, in what order, in what units. How fast anything is, no test asks."""

import json
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tinyllm.bench import memory, peers, timing
from tinyllm.bench import ops as bench_ops
from tinyllm.bench.generation import decode_bytes, measure_batch, measure_generation, prefill_flops
from tinyllm.bench.memory import peak_memory
from tinyllm.bench.ops import Case, cases, measure_ops, shape
from tinyllm.bench.roof import Roof, measure_roof
from tinyllm.bench.setting import Setting, settings
from tinyllm.bench.timing import Contender, race, ratio
from tinyllm.bench.train import (
    _against,
    measure_training,
    step_flops,
    training_step,
)
from tinyllm.cli import bench as cli
from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.nn import quantize
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS

TINY = Setting("tiny", layers=1, heads=2, width=8, context=8, batch=2, vocab_size=11)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Take every call for one that is long enough to be timed at once."""
    monkeypatch.setattr(timing, "SHORTEST", 1e-9)
    monkeypatch.setattr(timing, "sleep", lambda seconds: None)


def tick(monkeypatch, shortest, warm_up):
    """Let every look at the clock take a second, and nothing have to settle."""
    clock = iter(range(10**6))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "settle", lambda: None)
    monkeypatch.setattr(timing, "SHORTEST", shortest)
    monkeypatch.setattr(timing, "WARM_UP", warm_up)


def test_contenders_take_turns_off_the_clock_and_then_on_it(monkeypatch):
    log = []

    @contextmanager
    def around():
        log.append("(")
        yield
        log.append(")")

    tick(monkeypatch, shortest=5, warm_up=0)
    times = race({name: Contender(lambda name=name: log.append(name)) for name in "ab"}, 0, least=2)
    assert times == {"a": [1 / 5] * 2, "b": [1 / 5] * 2}  # short calls are repeated: five in a sample
    assert log == [*"aabb", *"aaaaabbbbb" * 2]
    log.clear()
    race({"c": Contender(log.append, lambda: "d", around)}, 0, least=2)
    assert "".join(log) == "(d)" * 4  # what is prepared serves one call, inside of what is around it
    log.clear()
    tick(monkeypatch, shortest=1, warm_up=10)
    race({"a": Contender(lambda: log.append("a"))}, 0, least=3)
    assert len(log) == 1 + 4 * 10  # nine to warm up, one that counts


def test_settling_waits_until_no_thread_uses_time_but_not_for_ever(monkeypatch):
    used, clock, naps = iter([0, 1, 1, 2, 2, 2, *range(1000)]), iter(range(1000)), []
    monkeypatch.setattr(timing, "process_time", lambda: next(used))  # before and after each nap
    monkeypatch.setattr(timing, "sleep", naps.append)
    timing.settle()
    assert len(naps) == 3
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    timing.settle(patience=5)
    assert len(naps) == 3 + 4


def test_a_ratio_is_the_median_of_neighbours_and_not_of_the_whole():
    """The second round was three times as slow for both, so the ratio stays."""
    assert ratio({"slow": [2.0, 6.0, 2.0], "fast": [1.0, 3.0, 1.0]}, "slow", "fast") == 2


@pytest.mark.skipif(registry._compiled is None, reason="the kernels are not built")
def test_the_calls_to_measure_are_those_of_training_and_generating():
    found = cases(TINY)
    by_name = {case.op: case for case in found}
    assert {"linear", "attention_backward", "rmsnorm", "rope", "swiglu", "adamw_step", "top_p", "linear_int4",
            "softmax", "matmul", "token_losses"} <= set(by_name)
    assert len({(case.op, shape(case.args)) for case in found}) == len(found)
    pairs = 2 * 2 * 36  # heads, rows, and pairs of 8 positions, of width 4
    assert by_name["attention_backward"].flops == 5 / 2 * (2 * 2 * 4 * pairs)
    for name, factor in (("linear", 1), ("linear_backward", 2), ("linear_token_losses_backward", 3)):
        case = by_name[name]
        x, w = case.args[name.endswith("_backward") :][:2]
        assert case.flops == factor * 2 * x.size * w.size / x.shape[-1]
    add, step = by_name["add"], by_name["adamw_step"]
    assert add.flops is None and add.traffic == 3 * add.args[0].nbytes
    assert step.traffic == (4 + 3) * step.args[0].nbytes  # reads four, writes three
    x = np.zeros((3, 5), np.float32)
    assert shape((x, x, np.zeros((5, 2)), 0.5)) == "3x5, 5x2" and shape(([x, x],)) == "2 arrays"


@pytest.mark.skipif(registry._compiled is None, reason="the kernels are not built")
@pytest.mark.parametrize("compiled, slower", [([2.0, 2.0], True), ([0.5, 0.5], False)])
def test_a_twin_slower_than_its_spec_is_flagged(monkeypatch, compiled, slower):
    monkeypatch.setattr(bench_ops, "race", lambda *_: {"compiled": compiled, "spec": [1.0, 1.0]})
    case = Case("add", (np.ones(3, np.float32),) * 2, {}, None, 36)
    monkeypatch.setattr(bench_ops, "cases", lambda s: [case])
    (record,) = measure_ops(TINY, 0)
    assert record["slower_than_spec"] is slower and record["times_spec"] == 1 / compiled[0]
    assert record["gb_per_second"] == 36 / compiled[0] / 1e9
    assert cli.line(record).endswith("!") is slower
    verdict = cli.verdict([record])
    assert ("slower" in verdict and "add (tiny" in verdict) is slower


def test_ops_with_kernels_are_measured_and_no_others():
    records = list(measure_ops(TINY, 0, least=1))
    assert all(OPS[r["op"]].compiled for r in records) and bool(records) == (registry._compiled is not None)
    for r in records:
        assert r["seconds"] > 0 and r["spec_seconds"] > 0 and ("gflops" in r) != ("gb_per_second" in r)


def test_a_training_step_trains():
    step = training_step(TINY)
    losses = [step() for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1
    assert losses[:3] == [training_step(TINY)(), *losses[1:3]]  # always the same weights and batch


def test_training_is_measured():
    records = {r["engine"]: r for r in measure_training(TINY, 0, least=2)}
    assert list(records) == ["tinyllm", "tinyllm bf16", "numpy"]
    assert [r["precision"] for r in records.values()] == ["float32", "bf16", "float32"]
    for r in records.values():
        assert r["rounds"] == 2 and np.isclose(r["tokens_per_second"] * r["seconds"], 2 * 8)
        assert np.isclose(r["gflops"] * r["seconds"] * 1e9, step_flops(TINY))
    assert records["tinyllm"]["times_spec"] > 0 and "times_torch" not in records["tinyllm"]
    forward = 2 * 2 * 8 * (12 * 8 * 8 + 8 * 11) + 2 * 2 * 2 * 36 * 8  # matrices, and 36 pairs of positions
    assert step_flops(TINY) == 3 * forward


def test_we_are_set_against_the_best_that_may_be_compared():
    times = {"tinyllm": [2.0], "tinyllm bf16": [1.0]}
    times |= {"torch": [5.0], "torch compiled": [4.0], "torch bf16": [3.0]}
    ours, low = _against("tinyllm", times), _against("tinyllm bf16", times)
    assert (ours["best_torch"], ours["times_torch"]) == ("torch compiled", 2.0)
    assert (low["best_torch"], low["times_torch"]) == ("torch bf16", 3.0)
    assert _against("torch", times) == {} and "times_spec" not in ours


def test_without_torch_or_a_checkout_peers_say_what_is_needed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.train", raising=False)
    with pytest.raises(UserError, match="pip install torch"):
        list(measure_training(TINY, 0, peers=True))
    with pytest.raises(UserError, match="pip install"):
        peers.load_torch()
    for why in ("--peers needs PyTorch", "--peers and `bench tokenizer` need a checkout"):
        assert main(["bench", "train", "--peers", "--quick"]) == 2
        out, err = capsys.readouterr()
        assert not out and err.startswith(f"tinyllm: error: {why}")
        monkeypatch.setattr(peers, "source_folder", lambda: None)


def test_generation_is_measured():
    records = {(r["task"], r["engine"]): r for r in measure_generation(TINY, 0, least=1)}
    assert {key: r["tokens"] for key, r in records.items()} == {
        ("prefill", "tinyllm"): 8, ("prefill", "numpy"): 8, ("prefill", "int8"): 8, ("prefill", "int4"): 8,
        ("decode", "tinyllm"): 4, ("decode", "numpy"): 4, ("decode", "int8"): 4, ("decode", "int4"): 4,
    }
    assert all(np.isclose(r["tokens_per_second"] * r["seconds"], r["tokens"]) for r in records.values())
    assert all(("times" in r) == (engine != "tinyllm") for (_, engine), r in records.items())
    ours, model = records["decode", "tinyllm"], TINY.model()
    read = 4 * decode_bytes(model, 6.5)  # with 5, 6, 7 and 8 tokens behind
    assert np.isclose(ours["gb_per_second"] * ours["seconds"] * 1e9, read)
    matrices, norms = 12 * 8 * 8 + 8 * 11, 5 * 8 + (24 + 8 + 32 + 8 + 8)
    assert decode_bytes(model, 5) == 4 * (matrices + norms + 2 * 5 * 8)
    packed = quantize(TINY.model(), 8)  # its head is read instead of the table, not as well
    table, packed.wte.weight.data = packed.wte.weight.data, np.zeros((0, 8), np.float32)
    without = decode_bytes(packed, 5)
    packed.wte.weight.data = table
    assert decode_bytes(packed, 5) == without > 0
    keys, rest = 8 * 3 * 8 * 8, 9 * 8 * 8 + 8 * 11  # its only block is the last
    assert prefill_flops(model, 8) == 2 * (keys + rest) + 2 * 2 * 8 * 8


def test_a_batch_is_measured():
    (record,) = measure_batch(replace(TINY, context=24), 3, 0, least=1)
    assert record["tokens"] == 3 * 8 and np.isclose(record["tokens_per_second"] * record["seconds"], 24)
    assert "batch" in cli.line(record)


def test_peers_that_are_missing_are_left_out_and_liars_are_found(monkeypatch):
    class Liar:
        around, precision, tolerance = nullcontext, "float32", 1e-3

        def __init__(self, model, threads):
            pass

        def prefill(self, prompt):
            return np.zeros(11, np.float32)

    def missing(model, threads):
        raise ImportError("No module named 'theirs'")

    found = {"theirs": missing}
    monkeypatch.setattr(peers, "load", lambda name: SimpleNamespace(engines=lambda model: found))
    first, *others = measure_generation(TINY, 0, least=1, with_peers=True)
    assert "theirs" in first["skipped"] and len(others) == 8
    assert "theirs: left out" in cli.line(first)
    found = {"liar": Liar}
    with pytest.raises(UserError, match="liar does not run the same tiny: logits differ by"):
        list(measure_generation(TINY, 0, least=1, with_peers=True))


def test_the_roof_is_measured_and_shares_are_of_the_right_one():
    found = measure_roof(0)
    assert (found.gflops is None) == (registry._compiled is None)
    roof = Roof(gflops=100.0, bf16_gflops=200.0, gb_per_second=50.0)
    assert roof.share({"gflops": 50.0}) == 0.5 == roof.share({"gflops": 100.0, "precision": "bf16"})
    assert roof.share({"gb_per_second": 25.0}) == 0.5 and roof.share({"seconds": 1.0}) is None
    assert Roof().share({"gflops": 50.0}) is None is Roof().share({"gb_per_second": 1.0})
    assert Roof(gflops=100.0).share({"gflops": 50.0, "precision": "bf16"}) == 0.5  # emulated


def test_memory_is_that_of_a_fresh_process(monkeypatch):
    record = peak_memory(TINY, "tinyllm")
    assert record["engine"] == "tinyllm" and record["steps"] == 3
    assert record["peak_rss_mb"] is None or 10 < record["libraries_mb"] <= record["peak_rss_mb"] < 1000
    monkeypatch.setattr(memory, "CHILD", "raise MemoryError('all is full')")
    assert peak_memory(TINY, "tinyllm") | record == record  # asked again, no process is needed
    with pytest.raises(UserError, match="all is full"):
        peak_memory(TINY, "tinyllm", steps=1)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(cli, "settings", lambda work, quick: [TINY])
    monkeypatch.setattr(cli, "measure_roof", lambda: Roof(100.0, 200.0, 50.0))
    tokenizer = peers.load("tokenizer")
    for scale in ("FULL", "QUICK"):
        monkeypatch.setattr(tokenizer, scale, tokenizer.Scale(2000, 300, 400))
    monkeypatch.setattr(cli, "EFFORTS", dict.fromkeys(cli.EFFORTS, (0, 1)))
    monkeypatch.setattr(cli, "peak_memory", lambda setting, engine: {"peak_rss_mb": 12.5})
    monkeypatch.setenv("OPENBLAS_EXAMPLE", "Haswell")


def test_the_command_prints_one_json_object_per_line(tiny, capsys):
    assert main(["bench", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    about = records[0]
    assert about["bench"] == "machine" and about["cpu"] and about["threads"] >= 1
    assert about["environment"]["OPENBLAS_EXAMPLE"] == "Haswell"
    kinds = ["train"] * 3 + ["generate"] * 8
    assert [r["bench"] for r in records[1:] if r["bench"] not in ("ops", "tokenizer")] == kinds
    assert all(r["setting"] == "tiny" for r in records[1:] if r["bench"] != "tokenizer")
    assert about["roof"] == {"gflops": 100.0, "bf16_gflops": 200.0, "gb_per_second": 50.0}
    assert all(("share_of_roof" in r) == ("gflops" in r or "gb_per_second" in r) for r in records[1:])


@pytest.mark.parametrize("work", ["ops", "train", "generate", "tokenizer"])
def test_the_command_prints_tables_of_80_columns(tiny, printed, work):
    out = printed("bench", work, "--quick")
    assert "OPENBLAS_EXAMPLE=Haswell" in out and f"\n\n{work}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_widest_lines_fit():
    shared = {"setting": "mini", "seconds": 1.234, "tokens_per_second": 123456, "share_of_roof": 0.987}
    ours = {"bench": "train", "engine": "tinyllm bf16", "peak_rss_mb": 1234.5, "times_torch": 2.22}
    op = {"bench": "ops", "op": max(OPS, key=len), "shape": "16x256x1536, 16x256x384", "seconds": 0.123,
          "setting": "small", "gflops": 1234.5, "times_spec": 1123.4, "slower_than_spec": True,
          "share_of_roof": 1.5}
    decode = shared | {"bench": "generate", "setting": "llama-110m", "task": "prefill", "tokens": 512,
                       "engine": "llama.cpp q8_0", "times": 123.4}
    used = {"bench": "memory", "setting": "mini", "engine": "tinyllm", "peak_rss_mb": 1234.5}
    lines = [cli.line(r) for r in (shared | ours, op, decode, used)]
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["mini", "tinyllm", "bf16", "1.23", "s", "123,456", "tok/s", "99%", "1,234",
                                "MiB", "2.22", "x", "torch"]
    assert "linear_token_losses_backward" in lines[1]
    assert lines[1].endswith("123 ms  1,234 GFLOP/s 150% 1,123 x spec!")
    assert [s.name for s in settings("ops")] == ["nano", "mini", "small"]
    assert [s.name for s in settings("generate")] == ["nano", "mini", "small", "llama-110m"]
    assert [s.name for s in settings(None, quick=True)] == ["nano"]


def test_times_have_three_digits_and_products_a_verdict():
    records = [{"op": "linear", "times_spec": x, "slower_than_spec": False} for x in (0.96, 1.5, 1.2)]
    assert "3 matrix products against NumPy's: median 1.20, worst 0.96" in cli.verdict(records)
    assert [cli.time(t) for t in (12.3456, 1.0, 0.9999, 0.0123456, 1e-3, 9.999e-4, 1.2e-6, 6.462e-7)] == [
        "12.3 s", "1 s", "1 s", "12.3 ms", "1 ms", "1 ms", "1.2 us", "646 ns",
    ]
