"""Look at what a run on the stories still gets wrong: `python benchmarks/stories.py RUN [COUNT]`.

Print the loss on held-out text by the place in the window, where early places lack what stood before it, and
how many of COUNT stories (20) that the model writes at temperature 0.8 have a word that is in no story of the
corpus.
"""

import re
import sys

import numpy as np

import tinyllm as tl
from tinyllm.data import eval_batches
from tinyllm.train.evaluate import count_characters

STEP = 16  # tokens in a group of places


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


def unknown_words(model, tokenizer, corpus, count):
    """Return the unknown words of every story that the model writes: a list of lists."""
    separator, known = corpus.separator.decode(), set(words(corpus.text()))
    prompts, sampling = [tokenizer.encode(separator)] * count, tl.Sampling(temperature=0.8)
    found = tl.generate(model, prompts, max_tokens=model.config.context * 2 - 16, sampling=sampling, seed=1)
    texts = [tokenizer.decode(tokens).partition(separator)[0] for tokens in found]
    return [[word for word in words(text) if word not in known] for text in texts]


def words(text):
    return re.findall(r"[A-Za-z']+", text)


def main(run, count="20"):
    model, tokenizer, config = tl.load(run)
    corpus = tl.load_corpus(config.data)
    for first, loss in losses_by_place(model, tokenizer, corpus):
        print(f"places {first:3} to {first + STEP - 1:3}: {loss:.3f} nats per character")
    unknown = unknown_words(model, tokenizer, corpus, int(count))
    print(f"{sum(map(bool, unknown))} of {count} stories have unknown words: {list(filter(None, unknown))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
