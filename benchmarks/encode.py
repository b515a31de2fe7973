"""Encode 64 sentences beside transformers: `python benchmarks/encode.py [--rounds N] [--threads N]`.

Both read one folder: an encoder of the sizes of all-MiniLM-L6-v2 with random weights. Both get the same ids
and return the mean of the positions: transformers in batches of 32, sorted by length, as is usual, tinyllm in
long rows without padding. Each runs in a process of its own, in turn. The fastest are compared, because other
programs only make one slower; they disturb seconds of the processor less. Needs the extra `peers`.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import tinyllm as tl
from tinyllm.bench.memory import run_child
from tinyllm.bench.peers import load

SIZES = {"vocab_size": 30522, "context": 512, "layers": 6, "heads": 12, "width": 384, "hidden": 1536}
BATCH, TIMES = 32, 7


def main() -> None:
    """Measure both engines in turn, and print times and their ratio."""
    parser = argparse.ArgumentParser(description="Encode 64 sentences beside transformers.")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each engine (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each (default 2)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = tl.build({"model_type": "bert", "task": "encode", **SIZES}, seed=0)
        model.save_pretrained(folder)
        found: dict[str, list] = {name: [] for name in ENGINES}
        for _ in range(args.rounds):
            for name, times in found.items():
                work = {"engine": name, "folder": folder, "threads": args.threads}
                times.append(run_child(load("encode").measure, work, f"encoding with {name}"))
    apart = np.abs(np.subtract(*(found[name][0]["sums"] for name in ENGINES))).max()
    print(f"64 sentences of {sum(map(len, sentences()))} tokens, {args.threads} threads:")
    for i, what in enumerate(("passed", "of the processor")):
        ours, theirs = (1000 * min(run["seconds"][i] for run in found[name]) for name in ENGINES)
        print(f"tinyllm {ours:.0f} ms, transformers {theirs:.0f} ms {what}: {theirs / ours:.2f} x")
    print(f"largest difference of a vector's weighted sum: {apart:.1e}")


def sentences() -> list[list[int]]:
    """Return 64 lists of 4 to 40 ids, as sentences have them."""
    rng = np.random.default_rng(0)
    return [rng.integers(1000, 30000, n).tolist() for n in rng.integers(4, 41, 64)]


def measure(engine: str, folder: str, threads: int) -> dict[str, list[float]]:
    """Return the shortest seconds of some encodings, passed and of the processor, and sums as a check."""
    encode = ENGINES[engine](folder, threads)
    clocks = time.perf_counter, time.process_time
    times = []
    for _ in range(TIMES):
        began = [clock() for clock in clocks]
        vectors = encode(sentences())
        times.append([clock() - start for clock, start in zip(clocks, began, strict=True)])
    weights = np.linspace(0, 1, SIZES["width"])
    return {"seconds": np.min(times, axis=0).tolist(), "sums": (vectors * weights).sum(axis=1).tolist()}


def tinyllm_engine(folder: str, threads: int):
    """Return tinyllm's function from lists of ids to vectors."""
    tl.threads(threads)
    model = tl.from_pretrained(Path(folder))
    return model.embed_sentences


def transformers_engine(folder: str, threads: int):
    """Return the same of transformers, with its fastest attention."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.BertModel.from_pretrained(folder, dtype=torch.float32).eval()

    def encode(rows):
        found = np.empty((len(rows), SIZES["width"]), np.float32)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        with torch.inference_mode():
            for begin in range(0, len(rows), BATCH):
                chosen = order[begin : begin + BATCH]
                lengths = torch.tensor([len(rows[i]) for i in chosen])
                ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(rows[i]) for i in chosen], True)
                mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
                x = model(input_ids=ids, attention_mask=mask).last_hidden_state
                mean = (x * mask[..., None]).sum(1) / lengths[:, None]
                found[chosen] = torch.nn.functional.normalize(mean).numpy()
        return found

    return encode


ENGINES = {"tinyllm": tinyllm_engine, "transformers": transformers_engine}

if __name__ == "__main__":
    main()
