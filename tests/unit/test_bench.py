"""Check what takes part in races, in what order and in what units. How fast anything is, no test asks."""

import json
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from tinyllm.bench import race as timing
from tinyllm.bench import rows
from tinyllm.bench.race import Contender, compare, race, ratio
from tinyllm.bench.roof import Roof, measure_roof
from tinyllm.cli import bench as cli
from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.nn import quantize
from tinyllm.ops import registry
from tinyllm.ops.registry import OPS
from tinyllm.ops.runtime import threads
from tinyllm.train.memory import peak_rss_mb

TINY = {"model_type": "gpt2", "vocab_size": 11, "layers": 1, "heads": 2, "width": 8, "context": 8}
needs_kernels = pytest.mark.skipif(registry._compiled is None, reason="the kernels are not built")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Take every call for one that is long enough to be timed at once, and every model for a tiny one."""
    monkeypatch.setattr(timing, "SHORTEST", 1e-9)
    monkeypatch.setattr(timing, "WARM_UP", 0)
    monkeypatch.setattr(timing, "sleep", lambda seconds: None)
    monkeypatch.setattr(rows, "SIZES", dict.fromkeys(rows.SIZES, TINY))
    monkeypatch.setattr(rows, "BATCH", dict.fromkeys(rows.BATCH, 2))


def tick(monkeypatch, shortest, warm_up):
    """Let every look at a clock take a second."""
    clock = iter(range(10**6))
    for name in ("perf_counter", "thread_time"):
        monkeypatch.setattr(timing, name, lambda: next(clock))
    monkeypatch.setattr(timing, "settle", lambda: None)
    monkeypatch.setattr(timing, "SHORTEST", shortest)
    monkeypatch.setattr(timing, "WARM_UP", warm_up)


@pytest.mark.parametrize("n", [1, 2])
def test_race_takes_turns_and_repeats_short_calls(monkeypatch, n):
    log = []

    @contextmanager
    def around():
        log.append("(")
        yield
        log.append(")")

    monkeypatch.setattr(timing, "threads", lambda: n)
    tick(monkeypatch, shortest=5, warm_up=0)
    times = race({name: Contender(lambda name=name: log.append(name)) for name in "ab"}, 0, least=2)
    assert times == {"a": [1 / 5] * 2, "b": [1 / 5] * 2}
    assert log == [*"aabb", *"aaaaabbbbb" * 2]
    log.clear()
    race({"c": Contender(log.append, lambda: "d", around)}, 0, least=2, once=["c"])
    assert "".join(log) == "(d)" * 4  # what is prepared serves one call, inside of what is around it
    log.clear()
    tick(monkeypatch, shortest=1, warm_up=10)
    race({"a": Contender(lambda: log.append("a"))}, 0, least=3)
    assert len(log) == (1 + 4 * (10 if n == 2 else 1))  # one thread needs no warming up


def test_settle_waits_until_no_thread_uses_time_but_not_for_ever(monkeypatch):
    used, clock, naps = iter([0, 1, 1, 2, 2, 2, *range(1000)]), iter(range(1000)), []
    monkeypatch.setattr(timing, "process_time", lambda: next(used))  # before and after each nap
    monkeypatch.setattr(timing, "sleep", naps.append)
    timing.settle()
    assert len(naps) == 3
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    timing.settle(patience=5)
    assert len(naps) == 3 + 4


def test_a_ratio_is_the_median_of_neighbours():
    """The second round was ten times as slow for both."""
    assert ratio({"slow": [2.0, 30.0, 6.0], "fast": [1.0, 10.0, 6.0]}, "slow", "fast") == 2


def answering(numbers, tolerance=0.0):
    return Contender(tuple, answer=lambda: np.array(numbers), tolerance=tolerance, amounts={"tokens": 6},
                     facts={"precision": "int8"})


def missing():
    raise ImportError("No module named 'absent'")


@pytest.mark.parametrize("apart", [False, True])
def test_compare_makes_a_record_for_each_and_leaves_out_what_is_missing(apart):
    makers = {"ours": partial(answering, [2.0, 4.0]), "gone": missing,
              "near": partial(answering, [2.0, 4.1], tolerance=0.1)}
    skipped, first, second = compare(makers, 0, least=1, apart=apart, task="x")
    assert (skipped["engine"], skipped["task"]) == ("gone", "x") and "absent" in skipped["skipped"]
    assert "times" not in first and second["times"] > 0 and second["precision"] == "int8"
    assert np.isclose(first["tokens_per_second"] * first["seconds"], 6) and first["rounds"] == 1
    assert ("peak_rss_mb" in first) == apart
    if apart and peak_rss_mb() is not None:
        assert 10 < first["peak_rss_mb"] < 1000


@pytest.mark.parametrize("wrong", [[2.0, 4.5], [2.0], [np.nan, 4.0]])
def test_who_computes_something_else_does_not_race(wrong):
    ours = partial(answering, [2.0, 4.0])
    with pytest.raises(UserError, match="other does not compute what ours does"):
        list(compare({"ours": ours, "other": partial(answering, wrong, 0.1)}, 0))
    with pytest.raises(ImportError, match="absent"):
        list(compare({"ours": missing, "other": ours}, 0))


@needs_kernels
def test_the_ops_to_measure_are_those_of_training_and_generating():
    found = rows.op_calls(TINY, 2)
    by_name = {op: (args, amounts) for op, args, _, amounts in found}
    assert {"linear", "attention_backward", "rmsnorm", "rope", "swiglu", "adamw_step", "top_p", "linear_int4",
            "softmax", "matmul", "token_losses"} <= set(by_name)
    assert len({(op, rows._shapes(args)) for op, args, *_ in found}) == len(found)
    pairs = 2 * 2 * 36  # heads, rows, and pairs of 8 positions, of width 4
    assert by_name["attention_backward"][1] == {"flops": 5 / 2 * (2 * 2 * 4 * pairs)}
    for name, factor in (("linear", 1), ("linear_backward", 2), ("linear_token_losses_backward", 3)):
        args, amounts = by_name[name]
        x, w = args[name.endswith("_backward") :][:2]
        assert amounts["flops"] == factor * 2 * x.size * w.size / x.shape[-1]
    add, step = by_name["add"], by_name["adamw_step"]
    assert add[1] == {"bytes": 3 * add[0][0].nbytes}
    assert step[1] == {"bytes": (4 + 3) * step[0][0].nbytes}  # reads four, writes three
    x = np.zeros((3, 5), np.float32)
    assert rows._shapes((x, x, np.zeros((5, 2)), 0.5)) == "3x5, 5x2" and rows._shapes(([x, x],)) == "2 arrays"


def test_a_training_step_trains_the_same_weights_on_the_same_batch():
    model = rows.model_of(TINY)
    step = rows.training_step(model, 2)
    losses = [step() for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1 and all(p.grad is None for p in model.parameters())
    contender = rows.trainer(TINY, 2)
    assert contender.answer() == losses[0] and contender.amounts["tokens"] == 2 * 8
    forward = 2 * 2 * 8 * (12 * 8 * 8 + 8 * 11) + 2 * 2 * 2 * 36 * 8  # matrices, and 36 pairs of positions
    assert contender.amounts["flops"] == 3 * forward
    ((about, makers, apart),) = rows.train_races(quick=True)
    assert (about, list(makers), apart) == ({"setting": "nano"}, ["tinyllm", "tinyllm bf16", "numpy"], True)
    assert [make().facts["precision"] for make in makers.values()] == ["float32", "bf16", "float32"]


def test_generating_counts_what_is_read():
    model = rows.model_of(TINY)
    matrices, norms = 12 * 8 * 8 + 8 * 11, 5 * 8 + (24 + 8 + 32 + 8 + 8)
    assert rows.decode_bytes(model, 5) == 4 * (matrices + norms + 2 * 5 * 8)
    packed = quantize(rows.model_of(TINY), 8)  # its head is read instead of the table, not as well
    table, packed.wte.weight.data = packed.wte.weight.data, np.zeros((0, 8), np.float32)
    without = rows.decode_bytes(packed, 5)
    packed.wte.weight.data = table
    assert rows.decode_bytes(packed, 5) == without > 0
    assert rows.decoder(TINY).amounts == {"tokens": 4, "bytes": 4 * rows.decode_bytes(model, 6.5)}
    assert rows.reader(TINY).amounts["tokens"] == 8 and rows.reader(TINY).answer().shape == (11,)
    (_, prefill, _), (_, decode, _) = rows.generate_races(quick=True)
    assert list(prefill) == list(decode) == ["tinyllm", "numpy", "int8", "int4"]
    assert rows.many(TINY, 3).amounts == {"tokens": 3 * 4}


def test_the_roof_is_measured_and_shares_are_of_the_right_one():
    found = measure_roof(0)
    assert (found.gflops is None) == (registry._compiled is None)
    roof = Roof(gflops=100.0, bf16_gflops=200.0, gb_per_second=50.0)
    assert roof.share({"gflops": 50.0}) == 0.5 == roof.share({"gflops": 100.0, "precision": "bf16"})
    assert roof.share({"gb_per_second": 25.0}) == 0.5 and roof.share({"seconds": 1.0}) is None
    assert Roof().share({"gflops": 50.0}) is None is Roof().share({"gb_per_second": 1.0})
    assert Roof(gflops=100.0).share({"gflops": 50.0, "precision": "bf16"}) == 0.5  # emulated


@pytest.fixture
def tiny(monkeypatch):
    """Run all races in this process, without time to spend, below a known roof."""
    monkeypatch.setattr(cli, "measure_roof", lambda: Roof(100.0, 200.0, 50.0))
    monkeypatch.setattr(cli, "SECONDS", dict.fromkeys(cli.SECONDS, 0))
    monkeypatch.setattr(cli, "compare", lambda *args, apart, **about: compare(*args, least=1, **about))
    monkeypatch.setenv("OPENBLAS_EXAMPLE", "Haswell")


def test_the_command_measures_everything(tiny, capsys, printed):
    before = threads()
    assert main(["bench", "--json", "--quick"]) == 0 and threads() == before
    about, *records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert about["bench"] == "machine" and about["environment"]["OPENBLAS_EXAMPLE"] == "Haswell"
    assert about["roof"] == {"gflops": 100.0, "bf16_gflops": 200.0, "gb_per_second": 50.0}
    kinds = ["train"] * 3 + ["generate"] * 8 + ["batch"]
    assert [r["bench"] for r in records if r["bench"] != "ops"] == kinds
    ops = [r for r in records if r["bench"] == "ops"]
    assert all(OPS[r["op"]].compiled and r["times"] > 0 and r["spec_seconds"] > 0 for r in ops)
    assert bool(ops) == (registry._compiled is not None)
    assert all(("share_of_roof" in r) == ("gflops" in r or "gb_per_second" in r) for r in records)
    shown = printed("bench", "train", "--quick", "--threads", "1")
    assert "OPENBLAS_EXAMPLE=Haswell" in shown and "\n\ntrain\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_lines_fit_and_a_verdict_names_what_is_slower():
    op = {"bench": "ops", "op": max(OPS, key=len), "shape": "16x256x1536, 16x256x384", "seconds": 0.123,
          "setting": "small", "engine": "compiled", "gflops": 1234.5, "times": 1123.4, "share_of_roof": 1.5}
    train = {"bench": "train", "setting": "mini", "engine": "torch compiled bf16", "peak_rss_mb": 1234.5,
             "seconds": 1.234, "tokens_per_second": 123456, "share_of_roof": 0.987, "times": 12345.6}
    lines = [cli.line(r) for r in (op, train, op | {"times": 0.9})]
    assert max(map(len, lines)) <= 80 and lines[2].endswith("0.90 x!") and not lines[0].endswith("!")
    assert lines[1].startswith("mini torch compiled bf16 ")
    assert cli.line(train | {"op": "x" * 90}).split()[1:5] == ["xx..", "torch", "compiled", "bf16"]
    assert lines[1].split()[-7:] == ["123,456", "tok/s", "99%", "1,234", "MiB", "12,346", "x"]
    records = [op | {"op": name, "times": x} for name, x in (("a", 0.9), ("b", 1.5), ("c", 1.2))]
    (said,) = cli.verdict(records)
    assert said.startswith("spec: 3 matrix products, median 1.20 x; 1 below 0.95: small a")
    assert [cli.time(t) for t in (12.3456, 1.0, 0.9999, 0.0123456, 1e-3, 9.999e-4, 1.2e-6, 6.462e-7)] == [
        "12.3 s", "1 s", "1 s", "12.3 ms", "1 ms", "1 ms", "1.2 us", "646 ns",
    ]
