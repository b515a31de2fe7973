"""Write conversations as tokens.

Special tokens mark where turns begin and end. Messages are encoded as ordinary text, even if they contain the
name of a special token. So nobody can end a turn by typing and continue in another role.

Every text is encoded separately. So a message never changes the tokens of its neighbours, and a longer
conversation begins with the tokens of a shorter one, which a KV cache can keep.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tinyllm.config import bounded, conform
from tinyllm.errors import UserError

FIELDS = {"model": str, "roles": {str: list}, "begin": list, "end": list, "unended": [str]}  # in a file


@dataclass(frozen=True)
class Special:
    """A special token in a template, given by its name in the tokenizer."""

    name: str


@dataclass(frozen=True)
class ChatTemplate:
    """The texts and special tokens around the messages of a conversation.

    roles: {role: parts that open a turn of this role}.
    end: parts that close every turn.
    begin: parts before the first turn.
    model: the role that the model plays.
    unended: roles whose turns have no end of their own; the next opening closes them.

    A part is `Special(name)` or ordinary text. Raises UserError if an opening or the end has no Special.
    """

    roles: dict[str, tuple]
    end: tuple
    begin: tuple = ()
    model: str = "assistant"
    unended: tuple[str, ...] = ()

    def __post_init__(self):
        if self.model not in self.roles:
            raise UserError(f"a chat template needs the role {self.model!r}, which the model plays")
        if not set(self.unended) <= self.roles.keys() - {self.model}:
            raise UserError(f"`unended` lists roles other than {self.model!r}, got {self.unended!r}"[:200])
        for place, parts in self._places():
            if not all(isinstance(part, (str, Special)) for part in parts):
                raise UserError(f"{place} of a chat template is a list of texts and special tokens")
            if place != "the beginning" and not any(isinstance(part, Special) for part in parts):
                raise UserError(f"{place} of a chat template needs a special token: anyone can type a text")

    def _places(self):
        yield "the beginning", self.begin
        yield from ((f"the opening of {role[:40]!r}", parts) for role, parts in self.roles.items())
        yield "the end", self.end

    @property
    def special_tokens(self) -> list[str]:
        """Return the names of the special tokens that a tokenizer must have, without repetition."""
        found = (part.name for _, parts in self._places() for part in parts if isinstance(part, Special))
        return list(dict.fromkeys(found))

    def check(self, tokenizer: Any) -> None:
        """Raise UserError if the tokenizer lacks a special token of this template."""
        for name in self.special_tokens:
            if name not in tokenizer.special_tokens:
                raise UserError(f"the chat template needs the special token {name[:40]!r}, which this "
                                "tokenizer lacks; train one with special_tokens=template.special_tokens")

    def encode(self, tokenizer: Any, messages: Iterable[dict], reply: bool = False) -> list[int]:
        """Encode a conversation.

        messages: a sequence of {"role": role, "content": str} -> ids. With `reply`, they end with the opening
        of the model's next turn, for `generate` to continue. Raises UserError for a role that is not in the
        template and for a special token that is not in the tokenizer.
        """
        self.check(tokenizer)
        ids = self._ids(tokenizer, self.begin)
        closing = self._ids(tokenizer, self.end)
        for message in messages:
            try:
                conform(message, {"role": bounded(str, choices=tuple(self.roles)), "content": str})
            except UserError as error:
                raise UserError(f"a message {error}") from None
            if other := message.keys() - {"role", "content"}:
                raise UserError(f"a message has a role and a content, and no {min(other)[:40]!r}")
            ids += self._ids(tokenizer, self.roles[message["role"]]) + tokenizer.encode(message["content"])
            ids += [] if message["role"] in self.unended else closing
        return ids + (self._ids(tokenizer, self.roles[self.model]) if reply else [])

    def user_turn(self, tokenizer: Any, text: str, before: Sequence[int] = ()) -> list[int]:
        """Encode a user's turn and the opening of the model's next turn -> the ids to append.

        before: the ids so far, which end in a turn of the model; empty for a new conversation. If that turn
        lacks the special token that ends it, this token is added first.
        """
        ids = self.encode(tokenizer, [{"role": "user", "content": text}], reply=True)
        if not len(before):
            return ids
        closing, stop = self._ids(tokenizer, self.end), self.stop_id(tokenizer)
        done = closing.index(stop) + 1 if before[-1] == stop else 0
        return closing[done:] + ids[len(self._ids(tokenizer, self.begin)) :]

    def stop_id(self, tokenizer: Any) -> int:
        """Return the special token that ends a turn, for `generate(..., stop=[id])`."""
        self.check(tokenizer)
        return next(tokenizer.special_tokens[part.name] for part in self.end if isinstance(part, Special))

    @staticmethod
    def _ids(tokenizer, parts):
        """Return the ids of some parts: special tokens by their ids, texts encoded."""
        found = []
        for part in parts:
            special = isinstance(part, Special)
            found += [tokenizer.special_tokens[part.name]] if special else tokenizer.encode(part)
        return found

    def to_dict(self) -> dict:
        """Return the template as a dict for JSON: a special token is {"special": name}, a text is a str."""
        roles = {role: _to_json(parts) for role, parts in self.roles.items()}
        return {"model": self.model, "roles": roles, "begin": _to_json(self.begin), "end": _to_json(self.end),
                "unended": list(self.unended)}

    @classmethod
    def from_dict(cls, fields: Any) -> "ChatTemplate":
        """Build a template from a dict made by `to_dict`. Raises UserError if the dict is malformed."""
        conform(fields, FIELDS, "chat")
        if other := fields.keys() - FIELDS:
            raise UserError(f"holds {min(other)[:40]!r} in chat, which has the fields {', '.join(FIELDS)}")
        roles = {role: _from_json(parts) for role, parts in fields["roles"].items()}
        return cls(roles, _from_json(fields["end"]), _from_json(fields["begin"]), fields["model"],
                   tuple(fields["unended"]))


def _to_json(parts):
    return [{"special": part.name} if isinstance(part, Special) else part for part in parts]


def _from_json(parts):
    """Return parts from JSON as `ChatTemplate` takes them; its constructor refuses wrong ones."""
    names = [part.get("special") if isinstance(part, dict) and len(part) == 1 else None for part in parts]
    named = zip(parts, names, strict=True)
    return tuple(Special(name) if isinstance(name, str) else part for part, name in named)


def _roles(before, word, *after):
    return {role: (Special(before), word.format(role), *after) for role in ("system", "user", "assistant")}


CHAT_TEMPLATES = {
    # One token for every role: the shortest template.
    "roles": ChatTemplate(
        {role: (Special(f"<|{role}|>"),) for role in ("system", "user", "assistant")}, (Special("<|end|>"),)
    ),
    # OpenAI, "Chat Markup Language" (openai-python, chatml.md, 2023); since used by Qwen, SmolLM and others.
    "chatml": ChatTemplate(_roles("<|im_start|>", "{}\n"), (Special("<|im_end|>"), "\n")),
    # Meta, "Llama 3 model card and prompt formats", 2024. Meta's code strips white space from messages;
    # here that is left to the caller.
    "llama3": ChatTemplate(
        _roles("<|start_header_id|>", "{}", Special("<|end_header_id|>"), "\n\n"),
        (Special("<|eot_id|>"),),
        (Special("<|begin_of_text|>"),),
    ),
}
