"""Make tinyllm/models/shipped: a small model of the world's stories, for people who have trained nothing yet.

    python tools/shipped_model.py [--run DIR] [--check] [--quick]

It trains for some minutes in DIR (or in a temporary folder), or goes on with the run that is there, rounds
the weights to 8 bits, and prints the loss before and after. The bits depend only on the settings below, not
on the machine. --check compares them with the model in the package, and writes nothing; --quick trains only
ten steps, and compares their loss with what it was when the model was made.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np

import tinyllm as tl
from tinyllm.cli.train import train
from tinyllm.models.registry import SHIPPED
from tinyllm.runs import reopen

WEIGHTS = SHIPPED / "model.safetensors"
SHA256 = "880ff350ed0ff43c5ea991208ad3840b32ece4c74dd091b5650f420a62481bc9"
FIRST_LOSS = 7.449414873123169  # nats per token, the mean of the first ten steps
CHOSEN = """
    data=stories tokenizer=world preset=laptop seed=0
    model.type=llama model.layers=4 model.heads=4 model.kv_heads=4 model.width=128 model.hidden=336
    model.context=256 model.tied=false model.init_std=0.08838834764831845
    model.embed_std=1
    train.steps=4800 train.batch=4 train.even=false train.lr=0.003 train.schedule=cosine train.warmup=240
    train.optimizer=muon train.min_lr_ratio=0 train.beta2=0.98
    train.weight_decay=0.1
    train.clip=1 train.val_fraction=0.1
"""  # all settings that change the weights, so that new defaults change nothing
SETTINGS = dict(words.split("=") for words in CHOSEN.split())


def write(run: tl.Run, folder: Path, bits: int = 8) -> None:
    """Write the last model of a run with weights of some bits, and embeddings of 16."""
    opened = tl.open_model(run.folder, "last")
    model, tokenizer = opened.model, opened.tokenizer
    tl.quantize(model, bits).save_pretrained(folder)
    state, about = tl.load_weights(folder / WEIGHTS.name)
    embedding = "model.embed_tokens.weight"
    tl.save_weights(state | {embedding: state[embedding].astype(np.float16)}, folder / WEIGHTS.name, about)
    tl.save_tokenizer(tokenizer, folder / "tokenizer.json")


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def compare(run: tl.Run, folder: Path) -> None:
    """Print validation loss and size before and after rounding."""
    setup = reopen(run, run.read().config)
    floor = setup.facts.entropy_per_char
    for name, place in (("trained", run.folder), ("shipped", folder)):
        loss = setup.plan.evaluate(tl.open_model(place, "last").model)["val_loss_per_char"]
        print(f"{name}: {loss:.4f} nats per character, {loss - floor:.4f} above the floor")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{size:,} bytes, SHA-256 of the weights {sha256(folder / WEIGHTS.name)}")


def main() -> int:
    """Train, write and compare -> exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", help="where to train; an interrupted run goes on")
    parser.add_argument("--check", action="store_true", help="only say if the same bits come out again")
    parser.add_argument("--quick", action="store_true", help="only say if ten steps have the same loss")
    args = parser.parse_args()
    if args.quick:
        steps = tl.prepare(tl.make_config(SETTINGS)).steps()
        loss = sum(step.loss for step in islice(steps, 10)) / 10
        print(f"=> mean loss of the first ten steps {loss!r}, when it was made {FIRST_LOSS!r}")
        return 0 if loss == FIRST_LOSS else 1
    with tempfile.TemporaryDirectory() as scratch:
        run = tl.Run(args.run or f"{scratch}/run")
        resume = run.holds_something()
        if code := train(set_=CHOSEN.split(), out=str(run.folder), resume=resume):
            return code
        folder = Path(scratch, "made")
        write(run, folder)
        compare(run, folder)
        if not args.check:
            shutil.copytree(folder, SHIPPED, dirs_exist_ok=True)
        same = sha256(folder / WEIGHTS.name) == SHA256
        print("=> the same bits as in the package" if same else f"=> other bits than {SHA256}")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
