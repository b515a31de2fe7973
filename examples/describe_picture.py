"""Train a small Fuyu to read pictures, then let it describe some, and ask it about them.

    python examples/describe_picture.py

The pictures are of 16 x 16 dots, from the world of this library: up to three things of eight shapes and eight
colours. A picture becomes 16 patches, each patch a vector, and these vectors stand before the words. Training
takes some minutes on two CPU cores; more --steps make it more reliable.
"""

import argparse
import dataclasses
import sys

import tinyllm as tl
from tinyllm.data import load_corpus
from tinyllm.rng import Random


def main():
    parser = argparse.ArgumentParser(description="Learn to read pictures, then describe some.")
    parser.add_argument("--steps", type=int, default=1500, help="how many updates (default 1500)")
    parser.add_argument("--n", type=int, default=20_000, help="captions, and as many questions to learn from")
    parser.add_argument("--once", metavar="QUESTION", help="ask about one picture and stop")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other weights and pictures")
    args = parser.parse_args()

    corpus = captions_and_questions(args.n)
    settings = {
        "recipe": "sft", "model.type": "fuyu", "tokenizer": "bpe:400", "train.lr": 2e-3, "train.batch": 32,
        "train.steps": args.steps, "seed": args.seed,
    }  # fmt: skip
    setup = tl.prepare(tl.make_config(settings), corpus=corpus)
    print(f"it learns from {len(corpus.shown):,} captions and answers")
    for event in setup.train():
        if hasattr(event, "val_loss"):
            print(f"step {event.step:5}  loss on new pictures {event.val_loss:.3f}", flush=True)
    unseen = load_corpus(f"world:caption,split=test,by=scene,n=100,seed={args.seed}").shown
    for picture, prompt, _ in unseen:
        draw(picture)
        print(prompt, answer(setup, picture, prompt))
        if args.once:
            print(args.once, answer(setup, picture, args.once))
            return
        try:
            while question := input("a question, such as 'Which thing is red?' (empty: the next picture) > "):
                print(answer(setup, picture, question))
        except EOFError:
            return


def captions_and_questions(n):
    """Return a corpus with a caption and a question in turn."""
    first, second = (load_corpus(f"world:{kind},n={n}") for kind in ("caption", "picture_question"))
    shown = [example for pair in zip(first.shown, second.shown, strict=True) for example in pair]
    shown = [shown[i] for i in Random("order").shuffle(range(len(shown)))]
    return dataclasses.replace(first, name="pictures", shown=tuple(shown))


def answer(setup, picture, question):
    """Return the likeliest answer to a question about a picture."""
    model = setup.model.eval()
    prompt = model.picture_marks + setup.tokenizer.encode(f"{question}\n")
    options = {"cache": model.cache_of(picture), "sampling": tl.Sampling(temperature=0), "stop": "\n"}
    steps = tl.stream(model, [prompt], max_tokens=60, tokenizer=setup.tokenizer, **options)
    return "".join(step.text for step in steps)


def draw(picture):
    """Draw a picture in a terminal with colours, two dots in each character."""
    for above, below in zip(picture[0::2], picture[1::2], strict=True):
        pairs = zip(above, below, strict=True)
        dots = ("\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*a, *b) for a, b in pairs)
        print("".join(dots) + "\x1b[0m" if sys.stdout.isatty() else "")


if __name__ == "__main__":
    main()
