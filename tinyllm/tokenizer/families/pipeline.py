"""The tokenizers of BERT, T5, LLaMA 2 and others: a normalizer, a pre-tokenizer, a model and a decoder."""

import json

import numpy as np

from tinyllm.errors import UserError
from tinyllm.ops import bpe_encode, unigram_encode, wordpiece_encode
from tinyllm.tokenizer import files, incremental
from tinyllm.tokenizer.added import AddedTokens
from tinyllm.tokenizer.base import Tokenizer, bytes_from_text

CACHE_PIECES = 2**16
CACHE_LENGTH = 64  # characters
MODELS = 8  # sets of allowed special tokens for which a model is kept


class PipelineTokenizer(Tokenizer):
    """A tokenizer from Hugging Face's tokenizer.json that is *not* lossless.

    Its normalizer may drop capitals, accents, control characters and white space, and what its vocabulary
    cannot write becomes the unknown token: `decode(encode(text))` is what Hugging Face's decoder makes of the
    ids, with special tokens by name. A text must be UTF-8.

    `encode` adds no special tokens of its own: the file's post_processor is kept as `template`, truncation
    and padding as data in `fields`. An added token that is not special is found in every text, as in theirs;
    a special one only where it is allowed, and otherwise no text can become it, however it is spelt.
    """

    kind = "pipeline"
    template = None  # set by who loads the file: `Template`, what the model wants around a text

    def __init__(self, fields, model, tokens, added, normalize, pre_tokenize, decode):
        """fields: the whole file, parsed. model: has encode, without. tokens: the text of each id, or None.

        added: AddedTokens. normalize, pre_tokenize, decode: functions from make_normalizer and its like.
        """
        special = {token.content: token.id for token in added if token.special}
        taken = set(special.values())
        free = [None if i in taken else token for i, token in enumerate(tokens)]
        free += [None] * (max((token.id + 1 for token in added), default=0) - len(free))
        for token in added:
            if not token.special:
                free[token.id] = token.content
        super().__init__([None if token is None else token.encode() for token in free], special)
        self.fields = fields
        self._texts = [None if token is None else token.decode() for token in self._tokens]
        self._model, self._normalize, self._pre_tokenize, self._join = model, normalize, pre_tokenize, decode
        for token in added:
            if token.normalized:  # as theirs: what is looked for is also what is decoded
                self._texts[token.id] = normalize(token.content)
            if not self._texts[token.id]:
                raise UserError(f"the normalizer leaves nothing of the added token {token.content!r}")
        self._added = AddedTokens(tuple(added), normalize)
        self._models: dict = {}

    def encode_to_numpy(self, text, allowed_special=()):
        """The ids of a text in an int32 array; see `encode`. Raises UserError for text that is not UTF-8."""
        allowed = self._allowed(allowed_special)
        banned = frozenset(self.special_tokens.values()) - {self.special_tokens[name] for name in allowed}
        ids: list[int] = []
        for part, first in self._added.cut_with_places(self._readable(text), allowed):
            if isinstance(part, int):
                ids.append(part)
            else:
                self._encode_part(part, first, banned, ids)
        return np.array(ids, np.int32)

    def _encode_part(self, text, first, banned, ids):
        """Add the ids of a normalized text without added tokens."""
        model, cache = self._model_without(banned)
        for piece in self._pre_tokenize(text, first):
            for word in model.cut(piece):
                known = cache.get(word)
                if known is None:
                    known = model.encode(word)
                    if len(word) <= CACHE_LENGTH:
                        if len(cache) >= CACHE_PIECES:
                            cache.clear()
                        cache[word] = known
                ids += known

    def _model_without(self, banned):
        """The model for texts that may not become some tokens, and the pieces that it remembers."""
        if banned not in self._models:
            if len(self._models) >= MODELS:
                self._models.clear()
            self._models[banned] = (self._model.without(banned), {})
        model, cache = self._models[banned]
        yours = any(map(incremental.plugged_in, (bpe_encode, unigram_encode, wordpiece_encode)))
        return model, {} if yours else cache  # what a student's own function answers must not be remembered

    def decode(self, ids, errors="replace"):
        """Turn ids into text as Hugging Face's decoder does, special tokens included.

        ids: a sequence or one-dimensional array of ints. Bytes that are not UTF-8 become U+FFFD whatever
        `errors` says. Raises UserError for an id outside the vocabulary.
        """
        super().decode_bytes(ids)  # checks them
        return self._join([self._texts[i] for i in np.asarray(ids).tolist()])

    def decode_bytes(self, ids):
        """The UTF-8 of what `decode` returns."""
        return self.decode(ids).encode()

    def _readable(self, text):
        data = bytes_from_text(text)
        try:
            return data.decode()
        except UnicodeDecodeError as e:
            raise UserError(f"byte {e.start} of the text is not UTF-8, which this tokenizer needs") from None

    def _json(self):
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.fields.items())
        data = ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")
        files.check_size(data)
        return data
