"""Fine-tune GPT-2 on a text of yours, with adapters.

    python examples/finetune_gpt2.py --model gpt2 --data book.txt      gpt2: the folder from Hugging Face
    python examples/finetune_gpt2.py        a tiny GPT-2 of random weights, to try

The result is a folder that tinyllm and transformers open. Adapters (Hu et al., "LoRA", 2021) are small new
matrices beside each weight matrix. Only adapters are trained; in the end they are added to the weights.
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
    nn.adapt(model, args.rank, alpha=2 * args.rank)
    print(f"before: {loss(model, test):.3f} nats per token of text that is held out", flush=True)
    tl.fit(model.train(), lambda step: get_batch(training, 0, step, BATCH, context), args.steps, args.lr)
    print(f"after:  {loss(model.eval(), test):.3f}")
    nn.merge(model)
    model.save_pretrained(args.out)
    tl.save_tokenizer(tokenizer, Path(args.out, "tokenizer.json"))
    ids = tl.generate(model, ["The "], max_tokens=40, tokenizer=tokenizer, sampling=tl.Sampling(0.7))[0]
    print(f"\nThe {tokenizer.decode(ids)}\n\n{args.out} is a GPT-2; talk with it: tinyllm chat {args.out}")


def loss(model, batch):
    """Return the loss on some text, without a gradient."""
    with tl.no_grad():
        return model.loss(*batch).item()


def tiny(corpus):
    """Make an untrained GPT-2 that is small enough to try this example without a download."""
    tokenizer = tl.BPETokenizer.train(corpus.text()[:100_000], vocab_size=512)
    sizes = tl.GPT.PRESETS["nano"] | {"layers": 2, "width": 64}
    return tl.Opened(tl.GPT(tl.GPTConfig(tokenizer.vocab_size, **sizes)), tokenizer)


if __name__ == "__main__":
    main()
