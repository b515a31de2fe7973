"""`tinyllm bench`: how fast this machine runs the ops, trains and generates, and in how much memory."""

import json
import sys
from typing import NamedTuple

from tinyllm.bench import machine
from tinyllm.bench.generation import measure_batch, measure_generation
from tinyllm.bench.memory import measure_memory, peak_memory
from tinyllm.bench.ops import measure_ops
from tinyllm.bench.peers import load_torch
from tinyllm.bench.roof import measure_roof
from tinyllm.bench.scaling import measure_scaling
from tinyllm.bench.setting import settings
from tinyllm.bench.tokenizer import FULL, measure_tokenizer
from tinyllm.bench.tokenizer import QUICK as SMALL_TEXT
from tinyllm.bench.train import measure_training
from tinyllm.cli import add_command
from tinyllm.cli import bench_tables as tables
from tinyllm.errors import UserError
from tinyllm.ops.registry import threads

EXAMPLE = """what is measured:
  ops        every op that has a kernel, against its NumPy spec: time, GFLOP/s or GB/s, and the ratio,
             how many times as fast it is; ! marks a kernel that is slower than its spec
  train      tokens/s of whole training steps (forward, backward, clip, AdamW), and peak memory
  generate   tokens/s of reading a prompt (prefill) and of writing (decode)
  memory     peak memory of training, each time in a fresh process
  tokenizer  MB/s of learning 8,192 tokens by GPT-4's pattern, encoding, decoding and splitting; time of
             twice the text; peak memory. The text is stdlib-code, or --data
  scaling    time against context, batch, width and threads; attention up to 8,192 tokens

Models are nano and mini with random weights, in float32; ops also take the products of GPT-2's layers, and
generate runs GPT-2 (124M) and a LLaMA of 110M whole. The roof, which the head of the table names, is what
probes reach in the same run: multiply-adds on registers, and reading memory that no cache holds. Engines
take turns, A B A B; times are medians, and a ratio is the median over neighbours.

With --peers, tokenizer also runs tiktoken, Hugging Face's tokenizers and rustbpe, which must first give the
same ids; train and memory also run PyTorch (eager and compiled, float32 and bfloat16), and generate
transformers and llama.cpp, with the same weights; what is not installed is left out, and said. They need
a checkout: how they are run is in benchmarks/, which is not installed.

examples:
  tinyllm bench                    ops, train, generate on nano and mini, memory, briefly
  tinyllm bench train --peers      against PyTorch on the same model, batch and threads
  tinyllm bench generate --peers   GPT-2 and LLaMA against transformers and llama.cpp
  tinyllm bench generate --batch 256 --quick
  tinyllm bench tokenizer --peers --data book.txt
  tinyllm bench ops --json > ops.jsonl
"""


class Effort(NamedTuple):
    """How many seconds each measurement of a kind gets, and how many rounds it takes at least."""

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


def add_parser(subparsers):
    """Add `tinyllm bench`."""
    parser = add_command(subparsers, "bench", "measure how fast this machine trains and generates", EXAMPLE)
    parser.add_argument("work", metavar="WORK", nargs="?", choices=tuple(BENCHES), help=", ".join(BENCHES))
    parser.add_argument("--peers", action="store_true", help=f"{', '.join(WITH_PEERS)}: others as well")
    parser.add_argument("--quick", action="store_true", help="nano only, for a rough idea in seconds")
    parser.add_argument("--batch", type=int, metavar="N", help="generate: N prompts at once, and no more")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the kernels (all CPUs)")
    parser.add_argument("--data", metavar="FILE", help="tokenizer: a file or corpus (stdlib-code)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run)


def run(args):
    """Measure what was asked for, and print each number as soon as it is known."""
    if args.peers:
        if args.work and args.work not in WITH_PEERS:
            raise UserError(f"--peers goes with {', '.join(WITH_PEERS)}: there are no peers for {args.work}")
        if args.work != "tokenizer":
            load_torch()  # complain now, not after the ops
    if args.data is not None and args.work != "tokenizer":
        raise UserError("--data goes with tokenizer: the other measurements need no text")
    if args.batch is not None and (args.work != "generate" or args.batch < 1):
        raise UserError(f"--batch goes with generate, and is at least 1; got {args.batch}")
    if args.data == "-":
        raise UserError("--data is read twice, so it cannot be standard input; give a file or a corpus")
    if args.threads is not None:
        threads(args.threads)
    effort = QUICK if args.quick else CAREFUL if args.work else BRIEF
    about, roof = machine.summary(), measure_roof()
    if args.json:
        _say(json.dumps({"bench": "machine"} | about | {"roof": vars(roof)}))
    else:
        _introduce(about, roof)
    for work in [args.work] if args.work else BENCHES:
        measure, head, line, conclude = BENCHES[work]
        if not args.json:
            _say("\n" + head)
        records = []
        for record in measure(settings(work if args.work else None, args.quick), effort, args):
            found = roof.share(record)
            record |= {} if found is None else {"share_of_roof": found}
            records.append(record)
            _say(json.dumps(record) if args.json else line(record))
        if not args.json and conclude:
            _say(tables.wrapped(conclude(records)))


def _introduce(about, roof):
    kernels = f"kernels {about['level']}" if about["level"] else "no kernels"
    _say(tables.wrapped(
        f"{about['cpu']}, {kernels}, {about['threads']} of {about['cpus']} CPUs as threads; "
        f"{about['compiled_ops']} of {about['ops']} ops compiled; NumPy's BLAS is {about['blas']}"
    ))  # fmt: skip
    if roof.gflops:
        bf16 = f", {roof.bf16_gflops:.0f} in bf16" if roof.bf16_gflops else ""
        _say(f"roof, measured: {roof.gflops:.0f} GFLOP/s{bf16}; {roof.gb_per_second:.1f} GB/s")
    for name, value in about["environment"].items():
        _say(tables.wrapped(f"{name}={value}"))
    if about["load"] is not None and about["load"] > 0.5:
        _say(tables.wrapped(
            f"This machine is busy: {about['load']:.1f} programs wanted to run in the last minute, before "
            "any of this. Do not trust these numbers."
        ))  # fmt: skip
    if not about["compiled_ops"]:
        print("no op runs on kernels, so these are the numbers of NumPy: see `tinyllm doctor`",
              file=sys.stderr)  # fmt: skip


def _measure_ops(wanted, effort, args):
    for setting in wanted:
        yield from measure_ops(setting, effort.ops, effort.least)


def _measure_training(wanted, effort, args):
    for setting in wanted:
        for record in measure_training(setting, effort.train, effort.least, args.peers):
            if record["engine"] in ("tinyllm", "torch"):
                record["peak_rss_mb"] = peak_memory(setting, record["engine"])["peak_rss_mb"]
            yield record


def _measure_generation(wanted, effort, args):
    for setting in wanted:
        if args.batch is not None:
            yield from measure_batch(setting, args.batch, effort.generate, effort.least)
            continue
        yield from measure_generation(setting, effort.generate, effort.least, args.peers)


def _measure_memory(wanted, effort, args):
    for setting in wanted:
        yield from measure_memory(setting, args.peers)


def _measure_tokenizer(wanted, effort, args):
    scale = FULL if args.work and not args.quick else SMALL_TEXT
    yield from measure_tokenizer(
        args.data or "stdlib-code", scale, effort.tokenizer, effort.least, args.peers
    )


def _measure_scaling(wanted, effort, args):
    yield from measure_scaling(effort.scaling, effort.least, args.quick, wanted[0])


BENCHES = {  # what is measured -> how, the words above the table, a line of it, the words under it
    "ops": (_measure_ops, tables.OPS_HEAD, tables.ops_line, tables.ops_verdict),
    "train": (_measure_training, tables.TRAIN_HEAD, tables.train_line, None),
    "generate": (_measure_generation, tables.GENERATE_HEAD, tables.generate_line, None),
    "memory": (_measure_memory, tables.MEMORY_HEAD, tables.memory_line, None),
    "tokenizer": (_measure_tokenizer, tables.TOKENIZER_HEAD, tables.tokenizer_line, None),
    "scaling": (_measure_scaling, tables.SCALING_HEAD, tables.scaling_line, None),
}


def _say(text):
    print(text, flush=True)
