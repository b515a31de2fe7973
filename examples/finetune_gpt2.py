"""Fine-tune GPT-2 on a text of yours, with adapters or with its last blocks only.

    python examples/finetune_gpt2.py --model gpt2 --data book.txt      gpt2: the folder from Hugging Face
    python examples/finetune_gpt2.py --train-last 2                    two blocks, in place of adapters
    python examples/finetune_gpt2.py        a tiny GPT-2 of random weights, to try

The result is a folder that tinyllm and transformers open. Adapters (Hu et al., "LoRA", 2021) are a few new
numbers beside each matrix, which stays as it is; in the end they are added to the matrices.
"""

import argparse
from pathlib import Path

import tinyllm as tl
from tinyllm import nn
from tinyllm.data import get_batch

WINDOW, BATCH = 128, 4


def main():
    parser = argparse.ArgumentParser(description="Fine-tune GPT-2 on a text.")
    parser.add_argument("--model", metavar="FOLDER", help="a GPT-2 with its tokenizer.json; else a tiny one")
    parser.add_argument("--data", default="stories", help="a text file, or the name of a corpus (stories)")
    parser.add_argument("--train-last", type=int, metavar="N", help="train the last N blocks, no adapters")
    parser.add_argument("--rank", type=int, default=8, help="of the adapters (default 8)")
    parser.add_argument("--steps", type=int, default=200, help="how many updates (default 200)")
    parser.add_argument("--lr", type=float, default=1e-3, help="the learning rate (default 1e-3)")
    parser.add_argument("--out", default="runs/finetuned", help="where to write (default runs/finetuned)")
    args = parser.parse_args()

    corpus = tl.load_corpus(args.data)
    found = tl.open_model(args.model) if args.model else tiny(corpus)
    model, tokenizer = found.model, found.tokenizer
    tokens = tl.token_array(corpus.data, tokenizer)
    training, held_out = tokens[: -len(tokens) // 10], tokens[-len(tokens) // 10 :]
    context = min(WINDOW, model.config.context, len(held_out) - 1)
    test = get_batch(held_out, seed=1, step=0, batch=8, context=context)
    choose(model, args.train_last, args.rank)
    trained, of = (sum(p.data.size for p in model.parameters(trainable)) for trainable in (True, False))
    print(f"{trained:,} of {of:,} parameters are trained")
    print(f"before: {loss(model, test):.3f} nats per token of text that is held out", flush=True)
    tl.fit(model.train(), lambda step: get_batch(training, 0, step, BATCH, context), args.steps, args.lr)
    print(f"after:  {loss(model.eval(), test):.3f}")
    nn.merge(model)  # adapters, if there are any, into the matrices
    model.save_pretrained(args.out)
    tl.save_tokenizer(tokenizer, Path(args.out, "tokenizer.json"))
    ids = tl.generate(model, ["The "], max_tokens=40, tokenizer=tokenizer, sampling=tl.Sampling(0.7))[0]
    print(f"\nThe {tokenizer.decode(ids)}\n\n{args.out} is a GPT-2; talk with it: tinyllm chat {args.out}")


def choose(model, last, rank):
    """Freeze all weights but those that are to be trained: new adapters, or the last blocks."""
    if last is not None and (last < 1 or model.model_type != "gpt2"):
        raise SystemExit("--train-last takes a number of blocks, at least 1, of a GPT-2")
    if last is None:
        nn.adapt(model, rank, alpha=2 * rank)
    else:
        model.freeze()
        for p in (p for block in model.h[-last:] for p in block.parameters()):
            p.requires_grad = True


def loss(model, batch):
    """Return the loss on some text, without a gradient."""
    with tl.no_grad():
        return model.loss(*batch).item()


def tiny(corpus):
    """Make a GPT-2 that is small enough to try this without a download, and knows nothing yet."""
    tokenizer = tl.BPETokenizer.train(corpus.text()[:100_000], vocab_size=512)
    sizes = tl.GPT.PRESETS["nano"] | {"layers": 2, "width": 64}
    return tl.Opened(tl.GPT(tl.GPTConfig(tokenizer.vocab_size, **sizes)), tokenizer)


if __name__ == "__main__":
    main()
