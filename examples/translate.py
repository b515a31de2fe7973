"""Train a small T5 to translate into an invented language, then translate what you type.

    python examples/translate.py

The language belongs to the world of this library: it has other endings than English, adjectives behind nouns
and the verb at the end, so that translating is more than looking up words. Sentences are built from the words
that the program lists. Training takes about a minute on one CPU core; more --steps make it more reliable.
"""

import argparse

import tinyllm as tl
from tinyllm.decode.beams import beam_search

END = "\n"  # ends every translation


def main():
    parser = argparse.ArgumentParser(description="Learn to translate, then translate.")
    parser.add_argument("--steps", type=int, default=500, help="how many updates (default 500)")
    parser.add_argument("--data", default="world:translation,n=20000", help="pairs of texts")
    parser.add_argument("--once", metavar="TEXT", help="translate one sentence and stop")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other first weights")
    args = parser.parse_args()

    settings = {
        "recipe": "sft", "model.type": "t5", "data": args.data, "train.lr": 2e-3, "train.steps": args.steps,
        "train.batch": 32, "seed": args.seed,
    }
    setup = tl.prepare(tl.make_config(settings))
    print(f"it reads and writes {setup.facts.train_tokens:,} tokens, such as\n{setup.corpus.text()[:100]}")
    for event in setup.train():
        if hasattr(event, "val_loss"):
            print(f"step {event.step:5}  loss on unseen sentences {event.val_loss:.3f}", flush=True)
    if args.once:
        print(translate(setup, args.once))
        return
    while text := input("a sentence, such as 'the old frog called the cats' (empty: stop) > "):
        print(translate(setup, text))


def translate(setup, text):
    """Search for the likeliest translation of a sentence."""
    prompt = f"{text} ->{END}"
    found = beam_search(setup.model.eval(), [prompt], max_tokens=100, beams=4, tokenizer=setup.tokenizer)
    ids, _ = found[0][0]
    return setup.tokenizer.decode(ids).split(END)[0]


if __name__ == "__main__":
    main()
