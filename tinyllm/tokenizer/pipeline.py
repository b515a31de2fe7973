"""What a `tokenizer.json` says beside its vocabulary: added tokens, normalizer, pre-tokenizer, template.

The parts of the file are kept as they were, so that it can be saved again; what runs is made of them.
"""

from dataclasses import dataclass

from tinyllm.tokenizer.added import AddedTokens
from tinyllm.tokenizer.template import Template


@dataclass(frozen=True)
class Pipeline:
    """The steps around the model of a tokenizer.

    steps: functions from a piece to a list of pieces, or None where the tokenizer's own pattern says it all.
    document: the file without its vocabulary, merges or pieces. write: function from the tokenizer to the
    whole document again.
    """

    added: AddedTokens
    steps: list | None
    template: Template | None
    document: dict
    write: object

    def cut(self, text, allowed):
        """The added tokens of a text (ids) and the normalised text between them (str)."""
        return self.added.cut(text, allowed)

    def pieces(self, text):
        """Cut a normalised text into pieces: a list of str, none of them empty."""
        pieces = [text] if text else []
        for step in self.steps:
            pieces = [part for piece in pieces for part in step(piece)]
        return pieces
