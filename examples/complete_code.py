"""Train a small model on Python's standard library, then complete code at a cursor.

    python examples/complete_code.py                           # train first, a few minutes
    python examples/complete_code.py --file my.py --at 12:9    # then complete line 12, column 9

Half of the windows have their middle moved to the end (Bavarian et al., 2022): so the model learns to write
what stands between the text before a cursor and the text behind it. It is small, and has read little: it
knows what Python looks like, not what your program is about.
"""

import argparse

import tinyllm as tl
from tinyllm.decode.middle import fill_middle

EXAMPLE = '''def largest(numbers):
    """Return the largest of some numbers."""
    best = numbers[0]
    for number in numbers:
        |
    return best
'''


def main():
    parser = argparse.ArgumentParser(description="Learn Python, then complete code at a cursor.")
    parser.add_argument("--run", default="runs/code", help="the folder of the model; trained if missing")
    parser.add_argument("--steps", type=int, default=1500, help="how many updates (default 1500)")
    parser.add_argument("--data", default="stdlib-code", help="a text to learn from")
    parser.add_argument("--file", help="a file to complete (default: an example)")
    parser.add_argument("--at", default="1:1", metavar="LINE:COLUMN", help="the cursor, counted from 1")
    parser.add_argument("--tokens", type=int, default=24, help="how many tokens at most")
    args = parser.parse_args()

    run = tl.Run(args.run)
    if not run.last_checkpoint():
        train(run, args)
    opened = tl.open_model(args.run)
    model, tokenizer = opened.model, opened.tokenizer
    before, after = at_cursor(args) if args.file else EXAMPLE.split("|")
    drawn = tl.Sampling(temperature=0.6)
    for text in fill_middle(model, tokenizer, [(before, after)], args.tokens, sampling=drawn, n=3):
        print("-" * 40)
        print(f"{before[-300:]}\033[1m{text}\033[0m{after[:300]}")


def train(run, args):
    """Train a model as `tinyllm train --set pretrain.middle=0.5` does, and keep it in a folder."""
    settings = {"data": args.data, "tokenizer": "bpe:1024", "pretrain.middle": 0.5, "train.steps": args.steps}
    setup = tl.prepare(tl.make_config(settings))
    facts = setup.facts
    print(f"learning from {facts.data}: {facts.bytes:,} bytes, SHA-256 {facts.sha256[:16]}...")
    run.create(setup.record(), setup.tokenizer)
    for event in setup.train(run):
        if hasattr(event, "val_loss"):
            loss = event.val_loss_per_char
            print(f"step {event.step:5}  loss on unseen code {loss:.3f} per character", flush=True)


def at_cursor(args):
    """Return the text of a file before the cursor, and the text behind it."""
    try:
        line, column = map(int, args.at.split(":"))
        if min(line, column) < 1:
            raise ValueError
        with open(args.file, encoding="utf-8") as file:
            lines = file.read().splitlines(keepends=True)
        here = lines[line - 1]
    except (OSError, ValueError, IndexError):
        raise SystemExit(f"there is no place {args.at} in {args.file}") from None
    return "".join(lines[: line - 1]) + here[: column - 1], here[column - 1 :] + "".join(lines[line:])


if __name__ == "__main__":
    main()
