"""Implement `tinyllm bench`, which measures speed and memory on this machine."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from json import dumps
from statistics import median
from typing import Literal

from tinyllm.bench import machine
from tinyllm.bench.race import compare
from tinyllm.bench.roof import Roof, measure_roof
from tinyllm.bench.rows import BENCHES, Race
from tinyllm.cli.command import command
from tinyllm.ops import runtime
from tinyllm.report.terminal import entry, paragraph

SECONDS = {"ops": 0.5, "train": 20.0, "generate": 5.0, "batch": 5.0}  # of each race
HURRY = 20  # --quick takes so many times less
NAMES = ("setting", "task", "op", "text", "rows", "shape", "threads")  # fields that name a race
RATES = {"tokens_per_second": "tok/s", "mb_per_second": "MB/s", "gflops": "GFLOP/s", "gb_per_second": "GB/s"}
NEARLY = 0.95  # times as long: what is shorter beats the first contender


@command("bench")
def bench(work: Literal["ops", "train", "generate", "batch"] | None = None, *, quick: bool = False,
          threads: int | None = None, json: bool = False) -> None:
    """Measure how fast this machine trains and generates.

    ops: each kernel beside its specification. train: steps of forward, backward, clip and AdamW. generate:
    reading a prompt and writing, one row. batch: writing 256 rows at once. Models have random weights. A line
    has the time, the rate, the share of the roof, the peak memory, and the time as a multiple of the first
    contender's.

    The roof is what probes reach here: multiply-adds on registers, and reading memory that no cache holds.
    Contenders take turns, A B A B; times are medians. In a checkout, `python benchmarks/race.py NAME`
    measures other libraries too.

    WORK         ops, train, generate or batch (default all)
    --quick      the preset nano only, for a rough idea in seconds
    --threads N  threads of the kernels (default all CPUs)
    --json       print one JSON object per line

    examples:
      tinyllm bench --quick
      tinyllm bench train
      tinyllm bench ops --json > ops.jsonl
    """
    if threads is not None:
        runtime.threads(threads)
    roof = introduce(json)
    for name in [work] if work else SECONDS:
        run(name, BENCHES[name](quick), SECONDS[name] / (HURRY if quick else 1), roof, json)


def introduce(json: bool = False) -> Roof:
    """Measure the roof of this machine, print it with facts about the machine, and return it."""
    about, roof = machine.facts(), measure_roof()
    if json:
        say(dumps({"bench": "machine"} | about | {"roof": vars(roof)}))
        return roof
    kernels = f"kernels {about['level']}" if about["level"] else "no kernels, see `tinyllm doctor`"
    say(paragraph(f"{about['cpu']}, {kernels}, {about['threads']} of {about['cpus']} CPUs as threads; "
                  f"NumPy's BLAS is {about['blas']}", further=0))
    if roof.gflops:
        bf16 = f", {roof.bf16_gflops:.0f} in bf16" if roof.bf16_gflops else ""
        say(f"roof, measured: {roof.gflops:.0f} GFLOP/s{bf16}; {roof.gb_per_second:.1f} GB/s")
    for name, value in about["environment"].items():
        say(entry("", f"{name}={value}", cut=True))
    if (about["load"] or 0) > 0.5:
        say(paragraph(f"This machine is busy: {about['load']:.1f} programs wanted to run in the last minute, "
                      "before this one began. Do not trust these numbers.", further=0))
    return roof


def run(bench: str, races: Iterable[Race], seconds: float, roof: Roof, json: bool = False) -> list[dict]:
    """Run races, print a line for each contender and a verdict on all; return the records."""
    records: list[dict] = []
    if not json:
        say(f"\n{bench}")
    for about, makers in races:
        before = runtime.threads()
        runtime.threads(about.get("threads", before))
        for record in compare(makers, seconds, bench=bench, **about):
            share = roof.share(record)
            record |= {} if share is None else {"share_of_roof": share}
            records.append(record)
            say(dumps(record) if json else line(record))
        runtime.threads(before)
    if not json:
        say("\n".join(verdict(records)) or "No op has a kernel here." * (bench == "ops"))
    return records


def line(r: dict) -> str:
    """Write a record as a line of 80 columns: names, time, rate, share of the roof and ratio."""
    name, engine = race_name(r), r["engine"]
    if "skipped" in r:
        return paragraph(f"{name} {engine}: left out, {r['skipped']}".strip(), further=0)
    peak = f"{r['peak_rss_mb']:>6,.0f} MiB" if r.get("peak_rss_mb") else ""
    room = 30 if peak else 40
    left = room - len(engine) - 2
    name = f"{name if len(name) <= left else name[: left - 2] + '..'} {engine}".strip()
    rate = next((f"{short(r[rate])} {unit}" for rate, unit in RATES.items() if rate in r), "")
    share = f"{100 * r['share_of_roof']:.0f}%" if "share_of_roof" in r else "-"
    ratio = f"{short(r['times'])} x" if "times" in r else ""
    return f"{name:{room}}{time(r['seconds']):>8}{rate:>15}{share:>5}{peak} {ratio}".rstrip()


def race_name(r: dict) -> str:
    """Name the race of a record by what tells it from others."""
    return " ".join(str(r[part]) + f" {part}" * (part in ("rows", "threads")) for part in NAMES if part in r)


def verdict(records: list[dict]) -> Iterator[str]:
    """Yield a paragraph for each engine with more than two ratios: their median, and those below 0.95."""
    groups: dict[str, list[dict]] = defaultdict(list)
    for r in records:
        if "times" in r:
            groups[r["engine"]].append(r)
    for engine, found in groups.items():
        if len(found) < 3:
            continue
        worst = sorted((r for r in found if r["times"] < NEARLY), key=lambda r: r["times"])
        names = "; ".join(f"{race_name(r)} {r['times']:.2f}" for r in worst[:5])
        yield paragraph(f"{engine}: {len(found)} races, median {median(r['times'] for r in found):.2f} x; "
                        f"{len(worst)} below {NEARLY}" + f": {names}" * bool(worst), further=0)


def say(text: str) -> None:
    """Print a text at once."""
    print(text, flush=True)


def short(number: float) -> str:
    """Write a number with three digits, but never cut its whole part: 2.22, 12.3, 12,345."""
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:,.{digits}f}"


def time(seconds: float) -> str:
    """Write a time with three digits and a unit: 0.00123 becomes `1.23 ms`."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
