"""Write conversations as tokens, and read the chat templates of Hugging Face folders.

Special tokens mark where turns begin and end. Messages are encoded as ordinary text, even if they contain the
name of a special token. So nobody can end a turn by typing and continue in another role.

Every text is encoded separately. So a message never changes the tokens of its neighbours, and a longer
conversation begins with the tokens of a shorter one, which a KV cache can keep.

The template of a folder is a Jinja program that writes conversations as text. It may be malicious, so it is
not run (CVE-2024-34359): known programs are recognised by their text, and stored here as data.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from tinyllm.config import bounded, conform
from tinyllm.errors import UserError, worded
from tinyllm.files import read_json, read_text

MODEL = "assistant"  # the role that the model plays
FIELDS = {"model": bounded(str, choices=(MODEL,)), "roles": {str: list}, "begin": list, "end": list,
          "unended": [str]}  # of a template in a file
MOST = 1 << 20  # the most bytes of a file with a template


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
    unended: roles whose turns have no end of their own; the next opening closes them.

    A part is `Special(name)` or ordinary text. Raises UserError if an opening or the end has no Special.
    """

    roles: dict[str, tuple]
    end: tuple
    begin: tuple = ()
    unended: tuple[str, ...] = ()

    def __post_init__(self):
        if MODEL not in self.roles or not set(self.unended) <= self.roles.keys() - {MODEL}:
            raise UserError(f"a chat template needs the role {MODEL!r}, and lists others in `unended`")
        for parts in (self.begin, self.end, *self.roles.values()):
            kinds = {*map(type, parts)}
            if not kinds <= {str, Special} or (parts is not self.begin and Special not in kinds):
                raise UserError("a chat template has texts and special tokens, and a special token in every "
                                f"opening and end, because anyone can type a text: not {str(parts)[:40]}")

    @property
    def special_tokens(self) -> list[str]:
        """Return the names of the special tokens that a tokenizer must have, without repetition."""
        parts = chain(self.begin, *self.roles.values(), self.end)
        return list(dict.fromkeys(part.name for part in parts if isinstance(part, Special)))

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
        for message in messages:
            with worded("a message "):
                conform(message, {"role": bounded(str, choices=tuple(self.roles)), "content": str})
            role, content = message["role"], message["content"]
            ids += self._ids(tokenizer, self.roles[role]) + tokenizer.encode(content)
            ids += [] if role in self.unended else self._ids(tokenizer, self.end)
        return ids + (self._ids(tokenizer, self.roles[MODEL]) if reply else [])

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

    def model_turn(self, tokenizer: Any, text: str) -> list[int]:
        """Encode an answer of the model, up to the special token that ends its turn."""
        closing = self._ids(tokenizer, self.end)
        return tokenizer.encode(text) + closing[: closing.index(self.stop_id(tokenizer)) + 1]

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
        return {"model": MODEL, "roles": roles, "begin": _to_json(self.begin), "end": _to_json(self.end),
                "unended": list(self.unended)}

    @classmethod
    def from_dict(cls, fields: Any) -> "ChatTemplate":
        """Build a template from a dict made by `to_dict`. Raises UserError if the dict is malformed."""
        conform(fields, FIELDS, "chat")
        roles = {role: _from_json(parts) for role, parts in fields["roles"].items()}
        begin, end = _from_json(fields["begin"]), _from_json(fields["end"])
        return cls(roles, end, begin, tuple(fields["unended"]))


def _to_json(parts):
    return [{"special": part.name} if isinstance(part, Special) else part for part in parts]


def _from_json(parts):
    """Return parts from JSON as `ChatTemplate` takes them; its constructor refuses wrong ones."""
    return tuple(Special(part["special"]) if isinstance(part, dict) and type(part.get("special")) is str
                 else part for part in parts)


def _roles(before, word, *after):
    return {role: (Special(before), word.format(role), *after) for role in ("system", "user", "assistant")}


CHAT_TEMPLATES = {
    # OpenAI, "Chat Markup Language" (openai-python, chatml.md, 2023); since used by Qwen, SmolLM and others.
    "chatml": ChatTemplate(_roles("<|im_start|>", "{}\n"), (Special("<|im_end|>"), "\n")),
    # Meta, "Llama 3 model card and prompt formats", 2024. Meta's code strips white space from messages;
    # here that is left to the caller.
    "llama3": ChatTemplate(_roles("<|start_header_id|>", "{}", Special("<|end_header_id|>"), "\n\n"),
                           (Special("<|eot_id|>"),), (Special("<|begin_of_text|>"),)),
    # Mistral 7B Instruct, 2023: only users and the model speak.
    "mistral": ChatTemplate(
        {"user": (Special("[INST]"), " "), "assistant": (" ", Special("[/INST]"))},
        (Special("</s>"),), (Special("<s>"),), unended=("user",)),
}

# --- Jinja programs in folders ----------------------------------------------------------------------------

EACH, REPLY = "{% for message in messages %}", "{% endfor %}{% if add_generation_prompt %}"
UNSAID = "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
DEFAULT = re.compile(  # what ChatML writes if there is no system message
    r"(?<=^{% for message in messages %}){% if loop\.first and messages\[0\]\['role'\] != 'system' %}{{ "
    r"'<\|im_start\|>system\\n([^'\\<{]*)<\|im_end\|>\\n' }}{% endif %}"
)
PROGRAMS = {  # name in CHAT_TEMPLATES: the text of the program, without UNSAID and DEFAULT
    "chatml": EACH  # of Qwen 2, SmolLM 2 and many others
    + "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}" + REPLY
    + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    + REPLY + "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "mistral": "{{ bos_token }}" + EACH  # of Mistral 7B Instruct 0.2
    + "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ "
    "raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
}


def read_chat_template(folder: Path | str, tokenizer: Any) -> ChatTemplate | None:
    """Read the chat template of a folder for its tokenizer, or return None if the folder has none.

    Raises UserError if a file is broken, the program is not known, or the tokenizer lacks a special token.
    """
    path, jinja = Path(folder, "tokenizer_config.json"), Path(folder, "chat_template.jinja")
    config = read_json(path, {}, MOST) if os.path.lexists(path) else {}
    source = read_text(jinja, MOST) if os.path.lexists(jinja) else config.get("chat_template")
    if source is None:
        return None
    with worded(f"{folder}: "):
        template = known_template(source, config)
        template.check(tokenizer)
    return template


def known_template(source: Any, config: dict[str, Any]) -> ChatTemplate:
    """Return the template that writes the same as a Jinja program. Raises UserError for an unknown one.

    config: the content of tokenizer_config.json, which names the tokens of the beginning and the end.
    """
    program = str(source).removesuffix("\n").replace("\n", "\\n")  # Jinja reads both alike
    program = program.removeprefix(UNSAID)
    default, plain = DEFAULT.search(program), DEFAULT.sub("", program)
    name = {text: name for name, text in PROGRAMS.items()}.get(plain)
    if name is None:
        raise UserError("its chat template is none that tinyllm knows; store another: give what "
                        "tl.load_tokenizer returns a `chat` of tl.CHAT_TEMPLATES, and tl.save_tokenizer it")
    template = CHAT_TEMPLATES[name]
    if default:
        roles = template.roles.copy()
        mark, word = roles.pop("system")
        return replace(template, roles=roles, begin=(mark, word + default[1], *template.end))
    if name == "chatml":
        return template
    begin, end = (_token(config.get(field)) for field in ("bos_token", "eos_token"))
    return replace(template, begin=begin, end=end if name == "mistral" else template.end)


def _token(value):
    """Return a special token of a config as a part of a template: (Special(name),), or () without a name."""
    name = value.get("content") if isinstance(value, dict) else value
    return (Special(name),) if name and isinstance(name, str) else ()
