"""Train a small GPT on a text, and let it write.

    python examples/loop.py                    the help pages of your Python
    python examples/loop.py --data book.txt    your own text

About a minute on two CPU cores. This is the whole training loop, by hand; `tinyllm train` does the same and
adds validation, checkpoints and a report.
"""

import argparse
import math
import sys

import tinyllm as tl

BATCH, CONTEXT = 12, 64  # rows per step, and how many characters the model can look back


def main():
    parser = argparse.ArgumentParser(description="Train a small GPT on a text and let it write.")
    parser.add_argument("--data", default="pydocs", help="a text file or a corpus (default pydocs)")
    parser.add_argument("--steps", type=int, default=1500, help="how many updates (default 1500)")
    args = parser.parse_args()

    # A text, and its characters as numbers.
    corpus = tl.load_corpus(args.data)
    tokenizer = tl.CharTokenizer.train(corpus.text())
    tokens = tl.token_array(corpus.data, tokenizer)
    print(f"{corpus.name}: {len(tokens):,} characters, {tokenizer.vocab_size} different ones")

    # An untrained model, and an optimizer that changes its parameters.
    model = tl.GPT(tl.GPTConfig(tokenizer.vocab_size, context=CONTEXT, layers=4, heads=4, width=128))
    optimizer = tl.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    nothing = math.log(tokenizer.vocab_size)  # the loss if all characters are equally likely
    print(f"{model.num_parameters():,} parameters; a model that knows nothing has loss {nothing:.3f}")

    for step in range(args.steps):
        x, y = tl.get_batch(tokens, seed=0, step=step, batch=BATCH, context=CONTEXT)  # y: x, one token later
        loss = model.loss(x, y)  # how surprised the model is by y
        loss.backward()  # the slope of the loss in each parameter
        tl.clip_grad_norm(model.parameters(), 1.0)
        optimizer.lr = tl.lr_schedule(step, args.steps, 1e-3, warmup=args.steps // 20, min_lr_ratio=0.1)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == args.steps - 1:
            print(f"step {step:5}  loss {loss.item():.3f}", flush=True)

    print()
    sampling = tl.Sampling(temperature=0.8)
    for step in tl.stream(model, ["\n"], max_tokens=500, sampling=sampling, tokenizer=tokenizer):
        print(step.text, end="", flush=True)
    print()


if __name__ == "__main__":
    try:
        main()
    except tl.UserError as error:
        sys.exit(f"error: {error}")
