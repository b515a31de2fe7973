"""Implement `tinyllm bench`, which measures speed and memory on this machine."""

import argparse
import sys
from collections.abc import Iterator
from json import dumps
from statistics import median
from typing import Any, Literal

from tinyllm.bench import machine
from tinyllm.bench.generation import measure_batch, measure_generation
from tinyllm.bench.memory import peak_memory
from tinyllm.bench.ops import PRODUCTS, measure_ops
from tinyllm.bench.peers import load, load_torch
from tinyllm.bench.roof import Roof, measure_roof
from tinyllm.bench.setting import settings
from tinyllm.bench.speedrun import measure_speedrun
from tinyllm.bench.train import measure_training
from tinyllm.cli.command import command
from tinyllm.errors import UserError
from tinyllm.ops import runtime
from tinyllm.report.terminal import entry, paragraph

Work = Literal["ops", "train", "generate", "tokenizer", "speedrun"]
SECONDS = {"ops": 0.5, "train": 20.0, "generate": 5.0, "tokenizer": 3.0}
EFFORTS = {"careful": (1, 5), "brief": (0.15, 3), "quick": (0.05, 2)}  # share of these seconds, least rounds
WITH_PEERS = ("train", "generate", "tokenizer", "speedrun")
HEADS = {
    "ops": "a kernel; its time, its rate, share of the roof, how many times as fast as its spec; ! marks one "
           "that is slower",
    "train": "a step of forward, backward, clip and AdamW; share of the roof of its precision; peak memory "
             "of three steps in a fresh process; how many times as fast as the best of PyTorch's modes "
             "(float32 against float32, bf16 against all), or as NumPy's specs",
    "generate": "one row, random weights; share of the roof (prefill, which reads a prompt: arithmetic; "
                "decode: reading weights and cache); the time as a multiple of tinyllm's",
    "tokenizer": "documents of 256 KiB; learning 8,192 tokens by GPT-4's pattern, encoding, decoding, "
                 "splitting; peak memory; the time as a multiple of tinyllm's; `twice` is the time of all "
                 "over that of half, where 2 is linear",
    "speedrun": "the default training to a target loss, in nats per character of held-out text",
}

ABOUT = """
Models are nano and mini with random weights, in float32. ops also takes a
layer of GPT-2, and generate runs GPT-2 (124M) and a LLaMA of 110M whole. The
roof is what probes reach in the same run: multiply-adds on registers, and
reading memory that no cache holds. Engines take turns, A B A B; times are
medians.

With --peers, tokenizer also runs tiktoken, Hugging Face's tokenizers and
rustbpe, train also PyTorch, and generate transformers and llama.cpp: with the
same weights, or after giving the same ids. speedrun trains nanoGPT's recipe for
CPUs in PyTorch for the same time. A library that is not installed is left out,
and a line says so. --peers and tokenizer need a checkout with benchmarks/."""


def _describe(parser: argparse.ArgumentParser) -> None:
    """Add what is measured to the end of the help."""
    kinds = "\n".join(paragraph(f"{kind}: {head}", 2) for kind, head in HEADS.items())
    parser.epilog = f"{parser.epilog}\n\nwhat is measured:\n{kinds}\n{ABOUT}"


@command("bench", extend=_describe)
def bench(work: Work | None = None, *, peers: bool = False, quick: bool = False, batch: int | None = None,
          threads: int | None = None, data: str | None = None, tokenizer: str | None = None,
          target: float | None = None, minutes: float | None = None, json: bool = False) -> None:
    """Measure how fast this machine trains, learns and generates.

    WORK              ops, train, generate, tokenizer or speedrun
                      (default all but speedrun)
    --peers           train, generate, tokenizer, speedrun: measure other
                      libraries as well
    --quick           nano only, for a rough idea in seconds
    --batch N         generate: N prompts at once, and nothing else
    --threads N       threads of the kernels (default all CPUs)
    --data FILE       tokenizer, speedrun: a file or corpus (default: stdlib-code
                      for tokenizer, stories for speedrun)
    --tokenizer SPEC  speedrun: as in tinyllm train
    --target LOSS     speedrun: stop at this loss in nats per character (default
                      0.05 above the entropy of the text, if it is known)
    --minutes N       speedrun: plan the training for N minutes on this machine
    --json            print one JSON object per line

    examples:
      tinyllm bench                    everything on nano and mini: many minutes
      tinyllm bench train --peers      against PyTorch: same model, batch, threads
      tinyllm bench generate --peers   against transformers and llama.cpp
      tinyllm bench generate --batch 256 --quick
      tinyllm bench tokenizer --peers --data book.txt
      tinyllm bench speedrun --peers   against nanoGPT's recipe: loss and minutes
      tinyllm bench ops --json > ops.jsonl
    """
    _refuse_mistakes(work, peers, batch, data, tokenizer=tokenizer, target=target, minutes=minutes)
    if threads is not None:
        runtime.threads(threads)
    about, roof = machine.summary(), measure_roof()
    if json:
        _say(dumps({"bench": "machine"} | about | {"roof": vars(roof)}))
    else:
        _introduce(about, roof)
    if work == "speedrun":
        chosen = {"data": data, "tokenizer": tokenizer}
        given = {name: value for name, value in chosen.items() if value is not None}
        _show(work, measure_speedrun(given, target, minutes, peers), roof, json)
        return
    if not (work or quick or json):
        _say("This measures everything, which takes many minutes. --quick is shorter.")
    everything = [kind for kind in SECONDS if kind != "tokenizer" or machine.source_folder()]
    for kind in [work] if work else everything:
        _show(kind, _measure(kind, work is None, quick, peers, batch, data), roof, json)


def _show(kind: str, measured: Iterator[dict], roof: Roof, json: bool) -> None:
    if not json:
        _say("\n" + paragraph(f"{kind}: {HEADS[kind]}", further=0))
    records = []
    for record in measured:
        share = roof.share(record)
        record |= {} if share is None else {"share_of_roof": share}
        records.append(record)
        _say(dumps(record) if json else line(record))
    if kind in VERDICTS and not json:
        _say(paragraph(further=0, text=VERDICTS[kind](records)))


def _refuse_mistakes(work: str | None, peers: bool, batch: int | None, data: str | None,
                     **speedrun: Any) -> None:
    if work != "speedrun" and (wrong := [name for name, value in speedrun.items() if value is not None]):
        raise UserError(f"--{wrong[0]} goes with speedrun")
    if peers and work and work not in WITH_PEERS:
        raise UserError(f"--peers goes with {', '.join(WITH_PEERS)}: there are no peers for {work}")
    if data is not None and work not in ("tokenizer", "speedrun"):
        raise UserError("--data goes with tokenizer and speedrun: the other measurements need no text")
    if batch is not None and (work != "generate" or batch < 1):
        raise UserError(f"--batch goes with generate, and is at least 1; got {batch}")
    if data == "-":
        raise UserError("--data is read twice, so it cannot be standard input; give a file or a corpus")
    if peers and work != "tokenizer":
        load_torch()  # raises now, not after the ops were timed


def _measure(kind: str, brief: bool, quick: bool, peers: bool, batch: int | None,
             data: str | None) -> Iterator[dict]:
    """Yield the records of one kind of measurement, less carefully when `brief` or `quick`."""
    share, least = EFFORTS["quick" if quick else "brief" if brief else "careful"]
    seconds, wanted = share * SECONDS[kind], settings(None if brief else kind, quick)
    if kind == "tokenizer":
        tokenizer = load("tokenizer")
        scale = tokenizer.QUICK if brief or quick else tokenizer.FULL
        yield from tokenizer.measure_tokenizer(data or "stdlib-code", scale, seconds, least, peers)
    else:
        for setting in wanted:
            if kind == "ops":
                yield from measure_ops(setting, seconds, least)
            elif kind == "train":
                for record in measure_training(setting, seconds, least, peers):
                    if record["engine"] in ("tinyllm", "torch"):
                        record["peak_rss_mb"] = peak_memory(setting, record["engine"])["peak_rss_mb"]
                    yield record
            elif batch is not None:
                yield from measure_batch(setting, batch, seconds, least)
            else:
                yield from measure_generation(setting, seconds, least, peers)


def _introduce(about: dict, roof: Roof) -> None:
    kernels = f"kernels {about['level']}" if about["level"] else "no kernels"
    _say(paragraph(further=0, text=
        f"{about['cpu']}, {kernels}, {about['threads']} of {about['cpus']} CPUs as threads; "
        f"{about['compiled_ops']} of {about['ops']} ops compiled; NumPy's BLAS is {about['blas']}"
    ))
    if roof.gflops:
        bf16 = f", {roof.bf16_gflops:.0f} in bf16" if roof.bf16_gflops else ""
        _say(f"roof, measured: {roof.gflops:.0f} GFLOP/s{bf16}; {roof.gb_per_second:.1f} GB/s")
    for name, value in about["environment"].items():
        _say(entry("", f"{name}={value}", cut=True))
    if about["load"] is not None and about["load"] > 0.5:
        _say(paragraph(further=0, text=
            f"This machine is busy: {about['load']:.1f} programs wanted to run in the last minute, before "
            "this one began. Do not trust these numbers."
        ))
    if not about["compiled_ops"]:
        print("no op runs on kernels, so these are the numbers of NumPy: see `tinyllm doctor`",
              file=sys.stderr)


def _say(text: str) -> None:
    print(text, flush=True)


NAMES = ("setting", "task", "op", "engine", "text", "shape", "tokens")
RATES = {"tokens_per_second": "tok/s", "mb_per_second": "MB/s", "gflops": "GFLOP/s", "gb_per_second": "GB/s"}
RATIOS = {"times_torch": " torch", "times_spec": " spec", "times": "", "twice": ""}


def line(r: dict) -> str:
    """Write a record as a line of 80 columns: name, time, rate, share of the roofline, memory and ratio.

    `--json` prints the whole record.
    """
    name = " ".join(str(r[part]) for part in NAMES if part in r)
    if "skipped" in r:
        return paragraph(f"{name}: left out, {r['skipped']}", further=0)
    if r["bench"] == "speedrun":
        done = f"step {r['step']:>6,}{r['tokens'] / 1e6:>8.2f}M tokens{r['seconds'] / 60:>8.2f} min"
        return f"{r['engine']:8} {done}   {r['val_loss_per_char']:.3f}"
    name += f" {r['threads']} threads" if "threads" in r else ""
    room = 26 if r["bench"] == "train" else 38
    name = name if len(name) < room else f"{name[: room - 3]}.."
    took = time(r["seconds"]) if "seconds" in r else ""
    rate = next((f"{short(r[part])} {unit}" for part, unit in RATES.items() if part in r), "")
    known = r.get("share_of_roof")
    share = f"{100 * known:.0f}%" if known is not None else "-" if took else ""
    peak = "?" if r.get("peak_rss_mb") is None else f"{r['peak_rss_mb']:,.0f}"
    memory = f"{peak + ' MiB':>10}" if "peak_rss_mb" in r else ""
    ratio = next((f"{short(r[part])} x{of}" for part, of in RATIOS.items() if part in r), "")
    mark = "!" if r.get("slower_than_spec") else ""
    return f"{name:{room}}{took:>8}{rate:>15}{share:>5}{memory} {ratio}{mark}".rstrip()


def verdict(records: list[dict]) -> str:
    """Name the kernels that are slower than their specs, and compare matrix products with OpenBLAS."""
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


def outcome(records: list[dict]) -> str:
    """Say for each engine which target or loss it reached, in how many minutes and tokens."""
    said = []
    for engine in dict.fromkeys(r["engine"] for r in records):
        last = [r for r in records if r["engine"] == engine][-1]
        took = f"{last['seconds'] / 60:.2f} minutes and {last['tokens'] / 1e6:.2f}M tokens"
        if last["reached"]:
            said.append(f"{engine} reached the target of {last['target']:.3f} in {took}.")
        else:
            aimed = "" if last["target"] is None else f", not the target of {last['target']:.3f}"
            said.append(f"{engine} reached {last['val_loss_per_char']:.3f} in {took}{aimed}.")
    return " ".join(said)


VERDICTS = {"ops": verdict, "speedrun": outcome}


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
