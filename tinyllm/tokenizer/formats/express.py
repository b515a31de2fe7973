"""Whether another format can express a vocabulary: what its merges really do, whatever they are listed as.

A merge that joins l and r to the token t happens in some text only if it is the last one when the bytes of
t are encoded alone: until it happens nothing has crossed the ends of l + r, so what went on between them
does not depend on what stands around. So two lists of merges do the same to every text if, token by token,
the same pair comes last, and these pairs go in the same order.
"""

from itertools import zip_longest

from tinyllm.errors import UserError
from tinyllm.tokenizer import incremental
from tinyllm.tokenizer.bpe import BPETokenizer
from tinyllm.tokenizer.vocabulary import Vocabulary


def live_merges(vocabulary):
    """The merges that ever happen, the first to go first: {(left, right): token}, one for a token at most."""
    merges, order = dict(vocabulary.merges), dict(vocabulary.order or vocabulary.merges)
    makers, live = {}, {}
    for pair, token in merges.items():
        makers.setdefault(token, []).append(pair)
    for token, pairs in makers.items():
        ranks = [order.pop(pair) for pair in pairs]
        for pair in pairs:
            del merges[pair]
        parts = tuple(incremental.encode(vocabulary.first_ids(vocabulary.tokens[token]), merges, order))
        merges.update(dict.fromkeys(pairs, token))
        order.update(zip(pairs, ranks, strict=True))
        if parts in pairs:
            live[parts] = token
    return dict(sorted(live.items(), key=lambda item: order[item[0]]))


def merges_in_order(vocabulary):
    """Merges of which each has its own rank, as a list of pairs: what GPT-2 and Hugging Face write."""
    ties = vocabulary.order is None and len(set(vocabulary.merges.values())) < len(vocabulary.merges)
    return list(live_merges(vocabulary)) if ties else vocabulary.in_order()


def needs_whole_first(vocabulary):
    """Whether some token is only found because a whole piece is looked up before anything merges."""
    if not vocabulary.whole_first:
        return False
    return set(live_merges(vocabulary).values()) < {
        i for token, i in vocabulary.ids.items() if len(token) > 1
    }


def ranks_of(vocabulary):
    """The vocabulary as {bytes: rank}, which must merge alike by tiktoken's rule (UserError)."""
    check_distinct(vocabulary)
    if vocabulary.ranked:
        return vocabulary.ids
    ranked = Vocabulary.from_ranks(vocabulary.ids)
    ours, theirs = list(live_merges(vocabulary).items()), list(live_merges(ranked).items())
    if ours != theirs:
        token = next((a or b)[1] for a, b in zip_longest(ours, theirs) if a != b)
        raise UserError(f"ranks cannot say how the token {token} is made: {vocabulary.tokens[token][:40]!r}")
    never = {i for token, i in vocabulary.ids.items() if len(token) > 1} - {token for _, token in ours}
    if never and not vocabulary.whole_first:
        raise UserError(f"no merge makes the token {min(never)}, but ranks would: it cannot be written")
    return vocabulary.ids


def check_distinct(vocabulary):
    """Raise UserError if two tokens have the same bytes, which only our own file can say."""
    seen = {}
    for i, token in enumerate(vocabulary.tokens):
        if token is not None and seen.setdefault(token, i) != i:
            raise UserError(
                f"the tokens {seen[token]} and {i} have the same bytes, which this format cannot say"
            )


def check_plain(tokenizer, name):
    """Raise UserError for what a format has no place for; `name` is the format in the message."""
    if not isinstance(tokenizer, BPETokenizer):
        raise UserError(f"{name} holds byte-level BPE, not a {tokenizer.kind} tokenizer")
    pipeline = tokenizer.pipeline
    if pipeline is None:
        return
    if pipeline.added.normalize:
        raise UserError(f"{name} has no place for a normalizer")
    if pipeline.steps is not None:
        raise UserError(f"{name} has no place for this pre_tokenizer")
    if pipeline.template is not None:
        raise UserError(f"{name} has no place for a post_processor")
    for token in pipeline.added.tokens:
        if not token.special or token.lstrip or token.rstrip or token.single_word:
            raise UserError(f"{name} has no place for the added token {token.content[:40]!r}")
