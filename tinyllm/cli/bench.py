"""Implement `tinyllm bench`, which measures speed and memory on this machine."""

from collections.abc import Iterable
from typing import Literal

from tinyllm.bench import machine, rows
from tinyllm.bench.machine import Roof
from tinyllm.bench.race import compare
from tinyllm.bench.rows import Race
from tinyllm.cli.command import command
from tinyllm.report.terminal import paragraph, short

BENCHES = {  # name -> function of `quick` that yields races, seconds of each
    "ops": (rows.op_races, 0.5), "train": (rows.train_races, 20.0), "generate": (rows.generate_races, 5.0),
    "batch": (rows.batch_races, 5.0),
}
HURRY = 20  # --quick divides the seconds of a race by this
NAMES = ("setting", "task", "op", "shape")  # fields that name a race
UNITS = {"tokens": " tok/s", "text": "B/s", "flops": "FLOP/s"}  # amount -> unit of its rate


@command("bench")
def bench(work: Literal["ops", "train", "generate", "batch"] | None = None, *, quick: bool = False) -> None:
    """Measure how fast this machine trains and generates.

    ops: each kernel beside its specification. train: steps of forward, backward, clip and AdamW. generate:
    reading a prompt and writing, one row. batch: writing 256 rows at once. Models have random weights. A line
    has the time, the rate, the share of the roof, the time as a multiple of the first contender's, and the
    peak memory.

    The roof is what probes reach here: multiply-adds on registers, and reading memory that no cache holds.
    Contenders take turns, A B A B; times are medians. In a checkout, `python benchmarks/race.py NAME`
    measures other libraries too.

    WORK     ops, train, generate or batch (default all)
    --quick  the preset nano only, for a rough idea in seconds

    examples:
      tinyllm bench --quick
      TINYLLM_THREADS=1 tinyllm bench train
    """
    roof = introduce()
    for name in [work] if work else BENCHES:
        races, seconds = BENCHES[name]
        run(name, races(quick), seconds / (HURRY if quick else 1), roof)


def introduce() -> Roof:
    """Measure the roof of this machine, print it with facts about the machine, and return it."""
    about, roof = machine.facts(), machine.measure_roof()
    said = [f"{about['cpu']}, kernels {about['level']}, {about['threads']} threads on {about['cpus']} CPUs, "
            f"NumPy with {about['blas']}"]
    if roof.gflops:
        bf16 = f", {roof.bf16_gflops:.0f} in bf16" if roof.bf16_gflops else ""
        said.append(f"roof, measured: {roof.gflops:.0f} GFLOP/s{bf16}; {roof.gb_per_second:.1f} GB/s")
    said += [f"{name}={value}" for name, value in about["environment"].items()]
    print("\n".join(paragraph(text, further=0) for text in said), flush=True)
    return roof


def run(bench: str, races: Iterable[Race], seconds: float, roof: Roof) -> None:
    """Run races, and print a line for each contender."""
    print(f"\n{bench}")
    for about, makers in races:
        for record in compare(makers, seconds, **about):
            print(line(record, roof), flush=True)


def line(r: dict, roof: Roof) -> str:
    """Format a record as a line of 80 columns: names, time, rate, share of the roof, ratio and memory."""
    name, engine = " ".join(r[part] for part in NAMES if part in r), r["engine"]
    if "skipped" in r:
        return paragraph(f"{name} {engine}: left out, {r['skipped']}", further=0)
    room = 32 - len(engine)
    name = name if len(name) <= room else f"{name[: room - 2]}.."
    rates, share = r["rates"], roof.share(r["rates"])
    rate = next((f"{short(rates[what])}{unit}" for what, unit in UNITS.items() if what in rates), "")
    percent = f"{100 * share:.0f}%" if share else ""
    ratio = f"{r['times']:.3g} x" if "times" in r else ""
    peak = f"{r['peak_rss_mb']:,.0f} MiB" if r.get("peak_rss_mb") else ""
    return f"{f'{name} {engine}':33} {r['seconds']:<7.3g} s {rate:>14}{percent:>5} {ratio} {peak}".rstrip()
