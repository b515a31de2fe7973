"""Write stories in turns with a small GPT: you begin, it goes on.

    python examples/chat.py                     trains first (some minutes), then remembers
    python examples/chat.py --once "Once upon a time there was a"
    python examples/chat.py runs/my-own-run     talk with a run of `tinyllm train`

The model knows nothing but children's stories: it answers no questions, it continues what you write.
"""

import argparse
import sys

import tinyllm as tl


def main():
    parser = argparse.ArgumentParser(description="Write stories in turns with a small GPT.")
    parser.add_argument("run", nargs="?", default="runs/chat", help="the folder of a run (default runs/chat)")
    parser.add_argument("--steps", type=int, default=1500, help="how long to train, if need be")
    parser.add_argument("--once", metavar="TEXT", help="continue this text and end")
    args = parser.parse_args()

    try:
        model, tokenizer, _ = tl.load(args.run)
    except tl.UserError:
        if tl.Run(args.run).holds_something():
            raise
        train(args.run, args.steps)
        model, tokenizer, _ = tl.load(args.run)

    if args.once is not None:
        reply(model, tokenizer, args.once)
        return
    print("You begin, the model goes on; an empty line leaves.")
    text = ""
    while line := input("> "):
        text += line
        text += reply(model, tokenizer, text)


def train(folder, steps):
    """Train on the stories that come with the library. The run keeps everything."""
    settings = {"data": "stories", "train.steps": steps, "train.eval_every": 250, "train.sample_tokens": 50}
    setup = tl.prepare(tl.make_config(settings))
    run = tl.Run(folder)
    run.create(setup.config, setup.facts, setup.tokenizer)
    print(f"{folder} holds no model yet: training one on {setup.facts.data}, {steps} steps")
    for event in setup.train(run):
        if getattr(event, "val_loss", None) is not None:
            print(f"step {event.step:5}  validation loss {event.val_loss:.3f}", flush=True)


def reply(model, tokenizer, text, tokens=200):
    """Let the model continue the text, show it word by word, and return what it wrote."""
    prompt = tokenizer.encode(text)[-model.config.context :]  # what it can see
    new = ""
    for step in tl.stream(model, [prompt], max_tokens=tokens, sampling=tl.Sampling(temperature=0.7),
                          stop=["\n"], seed=len(text), tokenizer=tokenizer):  # fmt: skip
        print(step.text, end="", flush=True)
        new += step.text
    print()
    return new


if __name__ == "__main__":
    try:
        main()
    except tl.UserError as error:
        sys.exit(f"error: {error}")
    except (EOFError, KeyboardInterrupt):
        print()
