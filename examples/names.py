"""Invent names of Unicode characters that do not exist.

    python examples/names.py

Every Python knows the names of all Unicode characters, such as GRINNING FACE WITH SMILING EYES. A small GPT
learns them, one name per row, in a minute or two on two CPU cores, and makes up new ones.
After Karpathy, makemore, 2022, which does it with the names of people.
"""

import argparse
import sys
import unicodedata

import tinyllm as tl
from tinyllm.data import rows

BATCH, LONGEST = 24, 40
END = "\n"  # stands before and after every name


def main():
    parser = argparse.ArgumentParser(description="Invent names of Unicode characters.")
    parser.add_argument("--steps", type=int, default=1200, help="how many updates (default 1200)")
    parser.add_argument("--count", type=int, default=20, help="how many names to invent (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other names")
    args = parser.parse_args()

    names = symbol_names()
    print(f"{len(names):,} names, such as {names[0]}, {names[len(names) // 2]}, {names[-1]}")
    tokenizer = tl.CharTokenizer.train(END.join(names))
    first = tokenizer.encode(END)
    rest = [tokenizer.encode(f"{name}{END}") for name in names]

    model = tl.GPT(tl.GPTConfig(tokenizer.vocab_size, context=LONGEST + 1, layers=4, heads=4, width=128))
    optimizer = tl.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(args.steps):
        chosen = tl.Random(args.seed, "names", step).integers(len(rest), BATCH)
        batch = rows([first] * BATCH, [rest[i] for i in chosen], context=LONGEST + 1)
        loss = model.loss(batch.tokens, batch.targets)
        loss.backward()
        optimizer.lr = 1e-3 * (1 - 0.9 * step / args.steps)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == args.steps - 1:
            print(f"step {step:5}  loss {loss.item():.3f}", flush=True)

    # All names are written side by side, as one batch; each row ends where the model writes END.
    texts = [""] * args.count
    for s in tl.stream(model, [END] * args.count, max_tokens=LONGEST, sampling=tl.Sampling(temperature=0.8),
                       seed=args.seed, stop=[END], tokenizer=tokenizer):
        texts[s.index] += s.text
    print("\nnew names (* marks one that it knows by heart):")
    for text in texts:
        print("*" if text in names else " ", text)


def symbol_names():
    """List the names of symbols and pictures. Names of letters, and names with digits, are left out."""
    characters = map(chr, range(sys.maxunicode + 1))
    symbols = [c for c in characters if unicodedata.category(c) in ("So", "Sm", "Po")]
    names = [unicodedata.name(symbol, "") for symbol in symbols]
    return [name for name in names if name and len(name) < LONGEST and not any(c.isdigit() for c in name)]


if __name__ == "__main__":
    main()
