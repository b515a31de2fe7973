"""Look at what a run on the stories still gets wrong: `python benchmarks/stories.py RUN [COUNT]`.

Print the loss on held-out text by the place in the window, where early places lack what stood before it; how
often a name that stands in the window already is guessed right where it comes back; and of COUNT stories (20)
that the model writes at temperature 1, and as `tinyllm generate` draws them, how many have a word that is in
no story of the corpus, and how many the grammar of the stories parses from the first to the last letter. RUN
may be `shipped`: then all but the last are left out, because that model has no corpus beside it.
"""

import re
import sys

import numpy as np

import tinyllm as tl
from tinyllm.data import eval_batches
from tinyllm.train.evaluate import count_characters
from tinyllm.world import KINDS, World, stories
from tinyllm.world.corpus import SEPARATOR
from tinyllm.world.story_tables import CHILDREN

STEP = 16  # tokens in a group of places
END = 100  # tokens of the story that stands before one that the model writes


def losses_by_place(model, tokenizer, corpus):
    """Yield (first place, nats per character) for every group of places in a window."""
    held_out, context = tl.token_array(corpus.split()[1], tokenizer), model.config.context
    characters, nats, spelt = count_characters(tokenizer), np.zeros(context), np.zeros(context)
    with tl.no_grad():
        for x, y in eval_batches(held_out, context, 32, len(held_out) // context):
            nats += model.token_losses(x, y).data.sum(0)
            spelt += characters[y].sum(0)
    for first in range(0, context, STEP):
        yield first, nats[first : first + STEP].sum() / spelt[first : first + STEP].sum()


def names_again(model, tokenizer, corpus, windows=80):
    """Return the share of right first guesses where a name comes back, in some windows of held-out text."""
    held_out, context = tl.token_array(corpus.split()[1], tokenizer), model.config.context
    spelt = (tokenizer.encode(f" {child.name}") for child in CHILDREN)
    names = np.array([ids[0] for ids in spelt if len(ids) == 1])
    right = []
    with tl.no_grad():
        for x, y in eval_batches(held_out, context, 20, windows):
            guesses = model(x).data.argmax(-1)
            for row, place in zip(*np.nonzero(np.isin(y, names)), strict=True):
                if y[row, place] in x[row, : place + 1]:
                    right.append(guesses[row, place] == y[row, place])
    return np.mean(right)


def written(model, tokenizer, before, sampling, most=400):
    """Return a story that the model writes after each of the stories `before`.

    One that does not end within `most` tokens is cut, so no story. A separator alone is no prompt: before
    each that the model has seen, a story ends, so it does not know what follows one without.
    """
    prompts = [tokenizer.encode(text + SEPARATOR)[-END:] for text in before]
    found = tl.generate(model, prompts, max_tokens=most, sampling=sampling, seed=1, stop=[SEPARATOR],
                        tokenizer=tokenizer, overflow="slide")
    return [tokenizer.decode(tokens).partition(SEPARATOR)[0] for tokens in found]


def words(text):
    return re.findall(r"[A-Za-z']+", text)


def main(run, count="20"):
    opened = tl.open_model(run)
    model, tokenizer = opened.model, opened.tokenizer
    corpus = tl.load_corpus(opened.config.data) if opened.config else None
    if corpus:
        for first, loss in losses_by_place(model, tokenizer, corpus):
            print(f"places {first:3} to {first + STEP - 1:3}: {loss:.3f} nats per character")
        print(f"names that come back: {names_again(model, tokenizer, corpus):.1%} guessed right")
    known = set(words(corpus.text())) if corpus else None
    text = corpus.split()[1].decode() if corpus else stories.generate(seed=1, n=100)
    held_out = text.split(SEPARATOR)[1:-1]  # the first may lack its beginning
    before = [held_out[i % len(held_out)] for i in range(int(count))]
    for name, sampling in {"temperature 1": tl.Sampling(), "as `generate` draws": opened.sampling}.items():
        texts = written(model, tokenizer, before, sampling)
        parsed = sum(KINDS["stories"].read(World(), text) is not None for text in texts)
        print(f"{name}: {parsed} of {count} stories parse")
        if known:
            unknown = [[word for word in words(text) if word not in known] for text in texts]
            print(f"{sum(map(bool, unknown))} have unknown words: {list(filter(None, unknown))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
