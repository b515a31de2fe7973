# %% [markdown]
# # 2. Bytes to BPE
#
# A model sees numbers, so text must become numbers first. Which ones? There are
# too many characters: Unicode has more than 150,000, and most will never be
# seen in training. There are even more words, and always a new one. This lesson
# builds what most large models use instead, *byte pair encoding* (BPE): start
# from bytes, of which there are only 256 and in which every text can be
# written, then give frequent neighbours a number of their own.
#
# The method began as a data compressor (Gage, 1994). Sennrich, Haddow and Birch
# brought it to language models in 2016; GPT-2 was the first to start it from
# bytes (Radford et al., 2019, section 2.2).

# %%
import time

from tinyllm import ops
from tinyllm.course.lesson_runner import begin, compare, predict
from tinyllm.course.page import coloured, write_page
from tinyllm.data import load_corpus
from tinyllm.tokenizer import BPETokenizer

folder = begin()

# %% [markdown]
# ## Text is bytes
#
# UTF-8 writes a character of English in one byte, one of Greek, Cyrillic or
# Arabic in two, of Chinese in three, and an emoji in four.

# %%
guess = predict("the Russian word for a cat has 3 letters: how many bytes?")
print(compare(guess, len("кот".encode())))
for text in ("cat", "café", "кот", "猫", "🐈"):
    print(f"{text:<6} {len(text)} characters, bytes {list(text.encode())}")

# %% [markdown]
# With bytes as tokens no text is unknown. But texts become long, and a model
# pays for every token: in attention, lesson 6, each is compared with each. So
# we buy shorter texts with a larger vocabulary.
#
# ## The idea
#
# Count all pairs of neighbours. Take the most frequent pair, call it token 256,
# and write 256 wherever it stands. Count again; the next best pair becomes 257.
# Go on until you have as many tokens as you want.
#
# Here it is on a text small enough to follow: one piece of text that occurs
# once, `[text], [1]`. The counts of its pairs:

# %%
text = b"low low low lower lowest"
counts = ops.bpe_pair_counts([text], [1])
guess = predict("how often does the pair 'lo' occur in it?")
print(compare(guess, counts[tuple(b"lo")]))
best_first = sorted(counts, key=lambda pair: (-counts[pair], pair))
for pair in best_first[:4]:
    print(f"  {bytes(pair)} occurs {counts[pair]} times")

# %% [markdown]
# Two pairs are equally frequent. Which goes first? It hardly matters, but the
# rule must be *stated*, or the same text would give different tokens on another
# machine. Ours is: the highest count, then the smallest pair.
#
# **Now you: `bpe_pair_counts`, `bpe_merge`, `bpe_train`.** The second has a
# trap: in "aaa" the pair "aa" occurs twice, but a token can be used only once.
# Merge from left to right, then, and the last a stays alone.

# %%
print(ops.bpe_merge(list(b"aaa"), (97, 97), 256))
merges = ops.bpe_train([text], [1], 5)
tokens = {i: bytes([i]) for i in range(256)}
for (left, right), new in merges.items():
    tokens[new] = tokens[left] + tokens[right]
    print(f"  {new} = {tokens[left]} + {tokens[right]}")

# %% [markdown]
# ## Encoding
#
# A new text must be written in these tokens. It is tempting to take the longest
# token that fits, again and again. That gives other tokens than training did.
# Instead do what training did, in the same order: of all pairs in the text that
# have a merge, the one learnt first goes first.
#
# **Now you: `bpe_encode`.**

# %%
pair_of = {new: pair for pair, new in merges.items()}


def tree(i):
    """Show which tokens were merged into a token: ((l o) w)."""
    if i < 256:
        return chr(i).replace(" ", "·")
    return "(" + " ".join(map(tree, pair_of[i])) + ")"


for word in (b"lower", b"slow", b"blow owl"):
    ids = ops.bpe_encode(word, merges)
    pieces = "|".join(tokens[i].decode() for i in ids)
    print(f"  {pieces:<14} made of  {' '.join(map(tree, ids))}")

# %% [markdown]
# ## Cutting first
#
# Left alone, merges would cross from word to word: "dog.", "dog!" and "dog "
# would each get tokens of their own. So the text is first cut into *pieces*,
# words more or less, and no token crosses a cut (*pre-tokenization*). The cuts
# come from a regular expression that was published with GPT-2. Note that a
# space goes with the word after it.

# %%
splitter = BPETokenizer([], pattern="gpt2")
cut = splitter.pieces("It's 2026, and the cat doesn't care.")
print([piece.decode() for piece in cut])

# %% [markdown]
# A piece that occurs a thousand times need not be looked at a thousand times:
# pieces are counted first, and each merge looks at every *different* piece
# once. That is why the ops take pieces and counts.

# %%
corpus = load_corpus("stories").text()[:200_000]
pieces = {}
for piece in splitter.pieces(corpus):
    pieces[piece] = pieces.get(piece, 0) + 1
print(f"{sum(pieces.values()):,} pieces, {len(pieces):,} different ones")
guess = predict("20 merges by the plain specification: how many seconds?")
start = time.perf_counter()
words, times = list(pieces), list(pieces.values())
merges = ops.bpe_train.reference(words, times, 20)
print(compare(guess, time.perf_counter() - start), "(on your machine)")

# %% [markdown]
# The specification counts every pair again after each merge, though a merge
# changes only its neighbours. The kernel that tokenizers run keeps the counts
# up to date instead, and gets the same merges. (`csrc/bpe/train.c` says how.)

# %%
start = time.perf_counter()
tokenizer = BPETokenizer.train(corpus, vocab_size=512)
print(f"256 merges in {time.perf_counter() - start:.2f} s (on your machine)")
assert list(tokenizer.merges)[:20] == list(merges)  # the same merges

# %% [markdown]
# ## What it bought
#
# How many bytes does a token hold now, on average?

# %%
guess = predict("bytes per token with 512 tokens")
size = len(corpus.encode()) / len(tokenizer.encode(corpus))
print(compare(guess, size))
figures = []
for vocab_size in (256, 300, 512, 1024):
    t = BPETokenizer.train(corpus, vocab_size)
    n = len(t.encode(corpus))
    each = f"{len(corpus) / n:.2f} bytes each"
    print(f"  {vocab_size:>5} tokens: {each}, {n:,} in all")
    print("       ", "|".join(t.decode([i]) for i in t.encode(corpus[:34])))
    cut = [t.decode_bytes([i]) for i in t.encode(corpus[:180])]
    figures.append(coloured(f"{vocab_size:,} tokens", each, cut))
lead = "The beginning of the same story, in four vocabularies."
write_page(folder / "tokens.html", "Tokens", lead, figures)

# %% [markdown]
# Each doubling of the vocabulary gains less, because each new pair is rarer
# than the one before. And a larger vocabulary is not free: the model must learn
# something about every token, and score each of them at every step.
#
# ## What can go wrong
#
# **Nothing may be lost.** What goes in must come out, even bytes that are not
# valid text.

# %%
strange = b"caf\xc3\xa9 \xff\xfe\x00 \xf0\x9f\x90\x88"
assert tokenizer.decode_bytes(tokenizer.encode(strange)) == strange
print("every byte came back")

# %% [markdown]
# **A text must never become a command.** Special tokens mark the end of a
# document, or whose turn it is. If their names in a user's text were read as
# those tokens, a user could end the document or speak in somebody else's name.
# So the tokenizer looks for them only where the program asks for it.

# %%
marked = BPETokenizer.train(corpus, 512, special_tokens=["<|end|>"])
text = "<|end|>"
print("typed by a user:", marked.encode(text))
print("allowed by us:  ", marked.encode(text, allowed_special={text}))

# %% [markdown]
# **Models spell badly** because of tokens. To a model "strawberry" is a few
# numbers in which no letter can be seen; and " cat" and "cat" are different
# numbers. Much that looks stupid in a language model is its tokenizer's doing.
# `tinyllm tokenizer show TEXT` colours the tokens of any text.
#
# You have rebuilt `tinyllm/ops/bpe.py`. The next lesson is about learning: how
# to find out which way to turn a million numbers at once.
