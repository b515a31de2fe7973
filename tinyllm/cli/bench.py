"""`tinyllm bench`: how fast this machine runs the ops, trains and generates, and in how much memory."""

import json
import sys
import textwrap
from typing import NamedTuple

from tinyllm.bench import machine
from tinyllm.bench.generation import measure_generation
from tinyllm.bench.memory import measure_memory, peak_memory
from tinyllm.bench.ops import measure_ops
from tinyllm.bench.setting import SETTINGS
from tinyllm.bench.train import load_peers, measure_training
from tinyllm.cli import add_command
from tinyllm.errors import UserError
from tinyllm.ops.registry import threads

EXAMPLE = """what is measured:
  ops        every op that has a kernel, against its NumPy spec: time, GFLOP/s or GB/s, and the ratio,
             how many times as fast it is; ! marks a kernel that is slower than its spec
  train      tokens/s of whole training steps (forward, backward, clip, AdamW), and peak memory
  generate   tokens/s of reading a prompt (prefill) and of writing (decode), with and without cache
  memory     peak memory of training, each time in a fresh process

Models are nano and mini with random weights, in float32. Competitors take turns, A B A B; times are
medians, and a ratio is the median over neighbours. Without WORK all four are done, briefly.

examples:
  tinyllm bench                    all in about a minute
  tinyllm bench train --peers      against PyTorch, eager, on the same model, batch and threads
  tinyllm bench ops --json > ops.jsonl
"""


class Effort(NamedTuple):
    """How many seconds each measurement of a kind gets, and how many rounds it takes at least."""

    ops: float
    train: float
    generate: float
    least: int


BRIEF = Effort(ops=0.05, train=3, generate=1, least=3)
CAREFUL = Effort(ops=0.5, train=20, generate=5, least=5)
QUICK = Effort(ops=0.02, train=1, generate=0.5, least=2)


def add_parser(subparsers):
    """Add `tinyllm bench`."""
    parser = add_command(subparsers, "bench", "measure how fast this machine trains and generates", EXAMPLE)
    parser.add_argument(
        "work", metavar="WORK", nargs="?", choices=tuple(BENCHES), help="ops, train, generate or memory"
    )
    parser.add_argument("--peers", action="store_true", help="train and memory: measure PyTorch as well")
    parser.add_argument("--quick", action="store_true", help="nano only, for a rough idea in seconds")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the kernels (all CPUs)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run)


def run(args):
    """Measure what was asked for, and print each number as soon as it is known."""
    if args.peers:
        if args.work in ("ops", "generate"):
            raise UserError("--peers goes with train and memory: there are no peers for the other two yet")
        load_peers()  # complain now, not after the ops
    if args.threads is not None:
        threads(args.threads)
    effort = QUICK if args.quick else CAREFUL if args.work else BRIEF
    settings = list(SETTINGS.values())[: 1 if args.quick else None]
    about = machine.summary()
    if args.json:
        _say(json.dumps({"bench": "machine"} | about))
    else:
        _introduce(about)
    for work in [args.work] if args.work else BENCHES:
        measure, head, line, conclude = BENCHES[work]
        if not args.json:
            _say("\n" + head)
        records = []
        for setting in settings:
            for record in measure(setting, effort, args.peers):
                records.append(record)
                _say(json.dumps(record) if args.json else line(record))
        if not args.json and conclude:
            _say(_wrapped(conclude(records)))


def _introduce(about):
    kernels = f"kernels {about['level']}" if about["level"] else "no kernels"
    _say(_wrapped(
        f"{about['cpu']}, {kernels}, {about['threads']} of {about['cpus']} CPUs as threads; "
        f"{about['compiled_ops']} of {about['ops']} ops compiled; NumPy's BLAS is {about['blas']}"
    ))  # fmt: skip
    for name, value in about["environment"].items():
        _say(_wrapped(f"{name}={value}"))
    if about["load"] is not None and about["load"] > 0.5:
        _say(_wrapped(
            f"This machine is busy: {about['load']:.1f} programs wanted to run in the last minute, before "
            "any of this. Do not trust these numbers."
        ))  # fmt: skip
    if not about["compiled_ops"]:
        print("no op runs on kernels, so these are the numbers of NumPy: see `tinyllm doctor`",
              file=sys.stderr)  # fmt: skip


def _measure_ops(setting, effort, peers):
    return measure_ops(setting, effort.ops, effort.least)


def _ops_line(r):
    rate = f"{r['gflops']:.1f} GFLOP/s" if "gflops" in r else f"{r['gb_per_second']:.1f} GB/s"
    mark = "!" if r["slower_than_spec"] else ""
    op = r["op"] if len(r["op"]) < 23 else f"{r['op'][:12]}..{r['op'][-8:]}"  # linear_cross..backward
    name = f"{r['setting']:5}{op:23}{r['shape']:24}"
    return f"{name}{_time(r['seconds']):>7}{rate:>14}{r['times_spec']:>6.1f}{mark}"


def _ops_verdict(records):
    if not records:
        return "No op has a kernel here; `tinyllm doctor` says why."
    slower = [f"{r['op']} ({r['setting']}, {r['shape']})" for r in records if r["slower_than_spec"]]
    if not slower:
        return f"All {len(records)} are at least as fast as their specs."
    return f"{len(slower)} of {len(records)} are slower than their specs: {'; '.join(slower)}"


def _measure_training(setting, effort, peers):
    for record in measure_training(setting, effort.train, effort.least, peers):
        yield record | {"peak_rss_mb": peak_memory(setting, record["engine"])["peak_rss_mb"]}


def _train_line(r):
    ours = "times_torch" in r
    against = f"{r['times_torch']:.2f} x torch" if ours else ""
    if "torch" in r:
        against = f"{r['torch']}, AdamW {r['adamw']}"
    speed = f"{r['tokens_per_second']:,.0f} tokens/s"
    peak = _mib(r["peak_rss_mb"])
    return f"{r['setting']:5}{r['engine']:9}{_time(r['seconds']):>9}{speed:>18}{peak:>12}  {against}".rstrip()


def _measure_generation(setting, effort, peers):
    return measure_generation(setting, effort.generate, effort.least)


def _generate_line(r):
    speed = f"{r['tokens_per_second']:,.0f} tokens/s"
    gain = f"  {r['times_without_cache']:.1f} x" if "times_without_cache" in r else ""
    return f"{r['setting']:5}{r['task']:22}{r['tokens']:>5} tokens{_time(r['seconds']):>10}{speed:>18}{gain}"


def _measure_memory(setting, effort, peers):
    return measure_memory(setting, peers)


def _memory_line(r):
    share = f"  {r['share_of_torch']:.2f} of torch" if r.get("share_of_torch") else ""
    before = _mib(r["libraries_mb"])
    return f"{r['setting']:5}{r['engine']:9}{_mib(r['peak_rss_mb']):>12} peak, {before} at start{share}"


OPS_HEAD = f"{'ops: kernel against spec':28}{'shapes':24}{'time':>7}{'rate':>14}{'ratio':>6}"
TRAIN_HEAD = "train: time of a step, speed, peak memory of a process that trains"
GENERATE_HEAD = "generate: one row, random weights; how many times as fast with cache"
MEMORY_HEAD = "memory: three training steps in a fresh process"

BENCHES = {  # what is measured -> how, the line above the table, a line of it, the words under it
    "ops": (_measure_ops, OPS_HEAD, _ops_line, _ops_verdict),
    "train": (_measure_training, TRAIN_HEAD, _train_line, None),
    "generate": (_measure_generation, GENERATE_HEAD, _generate_line, None),
    "memory": (_measure_memory, MEMORY_HEAD, _memory_line, None),
}


def _time(seconds):
    """Write a time with three digits and a unit: 0.00123 -> 1.23 ms."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _mib(amount):
    return "? MiB" if amount is None else f"{amount:,.0f} MiB"


def _wrapped(text):
    return textwrap.fill(text, 80)


def _say(text):
    print(text, flush=True)
