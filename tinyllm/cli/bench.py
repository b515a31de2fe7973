"""`tinyllm bench`: how fast this machine runs the ops, trains and generates, and in how much memory."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from json import dumps
from typing import Literal, NamedTuple

from tinyllm.bench import machine
from tinyllm.bench.generation import measure_batch, measure_generation
from tinyllm.bench.memory import measure_memory, peak_memory
from tinyllm.bench.ops import measure_ops
from tinyllm.bench.peers import load_torch
from tinyllm.bench.roof import Roof, measure_roof
from tinyllm.bench.scaling import measure_scaling
from tinyllm.bench.setting import Setting, settings
from tinyllm.bench.tokenizer import FULL, measure_tokenizer
from tinyllm.bench.tokenizer import QUICK as SMALL_TEXT
from tinyllm.bench.train import measure_training
from tinyllm.cli import bench_tables as tables
from tinyllm.cli.command import command
from tinyllm.cli.text import fold
from tinyllm.errors import UserError
from tinyllm.ops import registry

Work = Literal["ops", "train", "generate", "memory", "tokenizer", "scaling"]


class Effort(NamedTuple):
    """The seconds that each measurement of a kind gets, and the least number of rounds."""

    ops: float
    train: float
    generate: float
    scaling: float
    tokenizer: float
    least: int


BRIEF = Effort(ops=0.05, train=3, generate=1, scaling=0.3, tokenizer=0.3, least=3)
CAREFUL = Effort(ops=0.5, train=20, generate=5, scaling=1, tokenizer=3, least=5)
QUICK = Effort(ops=0.02, train=1, generate=0.5, scaling=0.2, tokenizer=0.2, least=2)
WITH_PEERS = ("train", "generate", "memory", "tokenizer")
TABLES: dict[str, tuple] = {  # what is measured -> words above the table, function of a line, words below
    "ops": (tables.OPS_HEAD, tables.ops_line, tables.ops_verdict),
    "train": (tables.TRAIN_HEAD, tables.train_line, None),
    "generate": (tables.GENERATE_HEAD, tables.generate_line, None),
    "memory": (tables.MEMORY_HEAD, tables.memory_line, None),
    "tokenizer": (tables.TOKENIZER_HEAD, tables.tokenizer_line, None),
    "scaling": (tables.SCALING_HEAD, tables.scaling_line, None),
}


MEASURED = """

what is measured:
  ops        every op that has a kernel, against its NumPy spec: time, GFLOP/s or GB/s, and the ratio,
             how many times as fast it is; ! marks a kernel that is slower than its spec
  train      tokens/s of whole training steps (forward, backward, clip, AdamW), and peak memory
  generate   tokens/s of reading a prompt (prefill) and of writing (decode)
  memory     peak memory of training, each time in a fresh process
  tokenizer  MB/s of learning 8,192 tokens by GPT-4's pattern, encoding, decoding and splitting; time of
             twice the text; peak memory. The text is stdlib-code, or --data
  scaling    time against context, batch, width and threads; attention up to 8,192 tokens

Models are nano and mini with random weights, in float32. ops also takes the matrix products of GPT-2's
layers, and generate runs GPT-2 (124M) and a LLaMA of 110M whole. The head of the table names the roof:
the best rates that probes reach in the same run, multiply-adds on registers and reading memory that no
cache holds. Engines take turns, A B A B; times are medians, and a ratio is the median over neighbours.

With --peers, tokenizer also runs tiktoken, Hugging Face's tokenizers and rustbpe, which must first give
the same ids; train and memory also run PyTorch (eager and compiled, float32 and bfloat16), and generate
transformers and llama.cpp, with the same weights. A library that is not installed is left out, and a
line says so. --peers needs a checkout, for benchmarks/, which runs these libraries, is not installed.
"""


def explain(parser: ArgumentParser) -> None:
    """Say at the end of the help what is measured."""
    parser.epilog = (parser.epilog or "") + MEASURED


@command("bench", extend=explain)
def bench(work: Work | None = None, *, peers: bool = False, quick: bool = False, batch: int | None = None,
          threads: int | None = None, data: str | None = None, json: bool = False) -> None:  # fmt: skip
    """Measure how fast this machine trains and generates.

    WORK         ops, train, generate, memory, tokenizer or scaling (default all)
    --peers      train, generate, memory, tokenizer: measure other libraries as well
    --quick      nano only, for a rough idea in seconds
    --batch N    generate: N prompts at once, and nothing else
    --threads N  threads of the kernels (default all CPUs)
    --data FILE  tokenizer: a file or corpus (default stdlib-code)
    --json       print one JSON object per line

    examples:
      tinyllm bench                    ops, train, generate on nano and mini, memory, briefly
      tinyllm bench train --peers      against PyTorch on the same model, batch and threads
      tinyllm bench generate --peers   GPT-2 and LLaMA against transformers and llama.cpp
      tinyllm bench generate --batch 256 --quick
      tinyllm bench tokenizer --peers --data book.txt
      tinyllm bench ops --json > ops.jsonl
    """
    _refuse_mistakes(work, peers, batch, data)
    if threads is not None:
        registry.threads(threads)
    about, roof = machine.summary(), measure_roof()
    if json:
        _say(dumps({"bench": "machine"} | about | {"roof": vars(roof)}))
    else:
        _introduce(about, roof)
    for kind in [work] if work else TABLES:
        head, line, conclude = TABLES[kind]
        if not json:
            _say("\n" + head)
        records = []
        for record in _measure(kind, work is None, quick, peers, batch, data):
            share = roof.share(record)
            record |= {} if share is None else {"share_of_roof": share}
            records.append(record)
            _say(dumps(record) if json else line(record))
        if not json and conclude:
            _say(fold(conclude(records)))


def _refuse_mistakes(work: str | None, peers: bool, batch: int | None, data: str | None) -> None:
    if peers and work and work not in WITH_PEERS:
        raise UserError(f"--peers goes with {', '.join(WITH_PEERS)}: there are no peers for {work}")
    if data is not None and work != "tokenizer":
        raise UserError("--data goes with tokenizer: the other measurements need no text")
    if batch is not None and (work != "generate" or batch < 1):
        raise UserError(f"--batch goes with generate, and is at least 1; got {batch}")
    if data == "-":
        raise UserError("--data is read twice, so it cannot be standard input; give a file or a corpus")
    if peers and work != "tokenizer":
        load_torch()  # complain now, not after the ops


def _measure(kind: str, brief: bool, quick: bool, peers: bool, batch: int | None,
             data: str | None) -> Iterator[dict]:  # fmt: skip
    """Yield the records of one kind of measurement, less carefully when `brief` or `quick`."""
    effort = QUICK if quick else BRIEF if brief else CAREFUL
    least, wanted = effort.least, settings(None if brief else kind, quick)
    if kind == "tokenizer":
        scale = SMALL_TEXT if brief or quick else FULL
        yield from measure_tokenizer(data or "stdlib-code", scale, effort.tokenizer, least, peers)
    elif kind == "scaling":
        yield from measure_scaling(effort.scaling, least, quick, wanted[0])
    else:
        for setting in wanted:
            if kind == "ops":
                yield from measure_ops(setting, effort.ops, least)
            elif kind == "memory":
                yield from measure_memory(setting, peers)
            elif kind == "train":
                yield from map(partial(_with_memory, setting),
                               measure_training(setting, effort.train, least, peers))
            elif batch is not None:
                yield from measure_batch(setting, batch, effort.generate, least)
            else:
                yield from measure_generation(setting, effort.generate, least, peers)


def _with_memory(setting: Setting, record: dict) -> dict:
    if record["engine"] in ("tinyllm", "torch"):
        record["peak_rss_mb"] = peak_memory(setting, record["engine"])["peak_rss_mb"]
    return record


def _introduce(about: dict, roof: Roof) -> None:
    kernels = f"kernels {about['level']}" if about["level"] else "no kernels"
    _say(fold(
        f"{about['cpu']}, {kernels}, {about['threads']} of {about['cpus']} CPUs as threads; "
        f"{about['compiled_ops']} of {about['ops']} ops compiled; NumPy's BLAS is {about['blas']}"
    ))  # fmt: skip
    if roof.gflops:
        bf16 = f", {roof.bf16_gflops:.0f} in bf16" if roof.bf16_gflops else ""
        _say(f"roof, measured: {roof.gflops:.0f} GFLOP/s{bf16}; {roof.gb_per_second:.1f} GB/s")
    for name, value in about["environment"].items():
        _say(fold(f"{name}={value}", cut=True))
    if about["load"] is not None and about["load"] > 0.5:
        _say(fold(
            f"This machine is busy: {about['load']:.1f} programs wanted to run in the last minute, before "
            "this one began. Do not trust these numbers."
        ))  # fmt: skip
    if not about["compiled_ops"]:
        print("no op runs on kernels, so these are the numbers of NumPy: see `tinyllm doctor`",
              file=sys.stderr)  # fmt: skip


def _say(text: str) -> None:
    print(text, flush=True)
