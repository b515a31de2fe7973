"""The tables of `tinyllm bench`: the words above each, a line for each record, the verdict below.

A line is at most 80 columns wide; what a table leaves out is in `--json`.
"""

from statistics import median

from tinyllm.bench.ops import PRODUCTS
from tinyllm.cli.text import fold

OPS_HEAD = f"{'ops: kernel against spec':29}{'shapes':18}{'time':>7}{'rate':>13}{'roof':>6}{'ratio':>6}"
TRAIN_HEAD = (
    "train: a step of forward, backward, clip and AdamW; share of the roof of its\n"
    "precision; peak memory; how many times as fast as the best of PyTorch's modes\n"
    "(float32 against float32, bf16 against all), or as NumPy's specs"
)
GENERATE_HEAD = (
    "generate: one row, random weights; share of the roof (prefill: arithmetic,\n"
    "decode: reading weights and cache); the time as a multiple of tinyllm's"
)
MEMORY_HEAD = "memory: three training steps in a fresh process"
TOKENIZER_HEAD = (
    "tokenizer: documents of 256 KiB; the time as a multiple of tinyllm's; `twice` is\n"
    "the time of all over that of half, where 2 is linear"
)
SCALING_HEAD = "scaling: one size grows, the rest stays (nano); then attention alone, 6 x 64"


def ops_line(r: dict) -> str:
    """Write one op at one size."""
    rate = f"{short(r['gflops'])} GFLOP/s" if "gflops" in r else f"{short(r['gb_per_second'])} GB/s"
    mark = "!" if r["slower_than_spec"] else ""
    shapes = r["shape"] if len(r["shape"]) <= 17 else r["shape"].split(",")[0]
    op = r["op"] if len(r["op"]) < 23 else f"{r['op'][:12]}..{r['op'][-8:]}"  # linear_toke..backward
    name = f"{r['setting']:6}{op:23}{shapes:17}"
    return f"{name} {time(r['seconds']):>7}{rate:>13}{share(r)}{short(r['times_spec']):>6}{mark}"


def ops_verdict(records: list[dict]) -> str:
    """Name the kernels that are slower than their specs, and compare the products with OpenBLAS."""
    if not records:
        return "No op has a kernel here; `tinyllm doctor` says why."
    slower = [f"{r['op']} ({r['setting']}, {r['shape']})" for r in records if r["slower_than_spec"]]
    text = f"All {len(records)} are at least as fast as their specs."
    if slower:
        text = f"{len(slower)} of {len(records)} are slower than their specs: {'; '.join(slower)}"
    products = [r["times_spec"] for r in records if r["op"] in PRODUCTS]
    if products:
        text += (
            f" The {len(products)} matrix products against NumPy's: median {median(products):.2f}, "
            f"worst {min(products):.2f}."
        )
    return text


def train_line(r: dict) -> str:
    """Write one engine that trains one model."""
    if "skipped" in r:
        return left_out(r)
    against = f" {r['times_spec']:.1f} x numpy" if "times_spec" in r else ""
    if "times_torch" in r:
        against = f" {r['times_torch']:.2f} x {r['best_torch'].removeprefix('torch ')}"
    speed = f"{r['tokens_per_second']:,.0f}/s"
    peak = mib(r.get("peak_rss_mb")) if "peak_rss_mb" in r else ""
    name = f"{r['setting']:5}{r['engine']:19} {time(r['seconds']):>7}"
    return f"{name}{speed:>10}{share(r)}{peak:>10} {against}".rstrip()


def generate_line(r: dict) -> str:
    """Write one engine that generates."""
    if "skipped" in r:
        return left_out(r)
    speed = f"{r['tokens_per_second']:,.1f} tokens/s"
    times = f"{r['times']:>7.2f} x" if "times" in r else ""
    name = f"{r['setting']:11}{r['task']:8}{r['engine']:15}{r['tokens']:>4}"
    return f"{name}{time(r['seconds']):>9}{speed:>18}{share(r)}{times}"


def memory_line(r: dict) -> str:
    """Format the peak memory of one engine as a line of the table."""
    of_torch = f"  {r['share_of_torch']:.2f} of torch" if r.get("share_of_torch") else ""
    before = mib(r["libraries_mb"])
    return f"{r['setting']:5}{r['engine']:9}{mib(r['peak_rss_mb']):>12} peak, {before} at start{of_torch}"


def tokenizer_line(r: dict) -> str:
    """Write one engine at one task, or the time of a text twice as long, or the memory of training."""
    if "skipped" in r:
        return left_out(r)
    size = f"{r['bytes'] / 1e6:.1f} MB"
    if r["task"] == "memory":
        parts = f"{mib(r['libraries_mb'])} at start, {mib(r['text_mb'])} with the text"
        return f"memory  {mib(r['peak_rss_mb']):>9} to train on {size}; {parts}"
    plural = "s" if r["threads"] > 1 else ""
    if "twice" in r:
        name = f"{r['task']:14} {r['text']:18}{size:>9}"
        return f"{name}{time(r['seconds']):>10}{r['twice']:>7.2f}  {r['threads']} thread{plural}"
    times = f"{r['times']:>7.2f} x" if "times" in r else ""
    name = f"{r['task']:8}{r['engine']:15}{r['threads']:>2} thread{plural:1}"
    return f"{name}{time(r['seconds']):>10}{short(r['mb_per_second']):>9} MB/s{times}"


def scaling_line(r: dict) -> str:
    """Write one size, or the exponent that was fitted through all sizes of an axis."""
    if "time_exponent" in r:
        text = f"{r['axis']:10} time ~ size^{r['time_exponent']:.2f}"
        return text + (f", memory ~ size^{r['memory_exponent']:.2f}" if "memory_exponent" in r else "")
    memory = f"{mib(r['memory_mb']):>12}" if "memory_mb" in r else ""
    rate = f"{r['gflops']:.1f} GFLOP/s"
    return f"{r['axis']:10}{r['size']:>7}{time(r['seconds']):>10}{rate:>16}{share(r)}{memory}"


def left_out(r: dict) -> str:
    """Write why an engine was not measured."""
    return fold(f"{r.get('setting', '')} {r['engine']}: left out, {r['skipped']}".strip())


def share(r: dict) -> str:
    """Write the share of the roof in six columns: 0.87 -> '   87%'."""
    known = r.get("share_of_roof")
    return "     -" if known is None else f"{100 * known:>5.0f}%"


def short(rate: float) -> str:
    """Write a number of at least 100 without decimals, others with one."""
    return f"{rate:.0f}" if rate >= 99.95 else f"{rate:.1f}"


def time(seconds: float) -> str:
    """Write a time with three digits and a unit: 0.00123 -> 1.23 ms."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def mib(amount: float | None) -> str:
    """Write an amount of memory: 12.3 -> 12 MiB."""
    return "? MiB" if amount is None else f"{amount:,.0f} MiB"
