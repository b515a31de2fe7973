"""Read the chat template of a Hugging Face folder.

It is a program in Jinja that writes conversations as text. Programs of strangers do not run here (as in
CVE-2024-34359). Known ones are recognised by their text, and what they write is data; others are refused.
"""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.files import read_json, read_text
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, ChatTemplate, Special

MOST = 1 << 20  # bytes of a file
EACH, REPLY = "{% for message in messages %}", "{% endfor %}{% if add_generation_prompt %}"
CHATML = (  # of Qwen 2, SmolLM 2 and many others
    EACH + "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}" + REPLY
    + "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
UNSAID = "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
BY_DEFAULT = re.compile(  # what ChatML says if no system text is given
    r"(?<=^{% for message in messages %}){% if loop\.first and messages\[0\]\['role'\] != 'system' %}{{ "
    r"'<\|im_start\|>system\\n([^'\\<{]*)<\|im_end\|>\\n' }}{% endif %}"
)
LLAMA3 = (  # of LLaMA 3
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    + REPLY + "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
MISTRAL = (  # of Mistral 7B Instruct 0.2
    "{{ bos_token }}" + EACH + "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ "
    "raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
BOS, EOS = Special("bos_token"), Special("eos_token")  # the folder names them
INST = {"user": (Special("[INST]"), " "), "assistant": (" ", Special("[/INST]"))}
KNOWN = {  # a program -> what it writes
    CHATML: CHAT_TEMPLATES["chatml"],
    LLAMA3: replace(CHAT_TEMPLATES["llama3"], begin=(BOS,)),
    MISTRAL: ChatTemplate(INST, (EOS,), (BOS,), unended=("user",)),
}


def read_chat_template(folder: Path | str, tokenizer: Any) -> ChatTemplate | None:
    """Read the chat template of a folder for its tokenizer, or return None if the folder has none.

    Raises UserError if a file is broken, the program is not known, or the tokenizer lacks a special token.
    """
    folder = Path(folder)
    source, tokens = _find_source(folder)
    if source is None:
        return None
    try:
        if found := known_template(source, tokens):
            found.check(tokenizer)
            return found
    except UserError as error:  # a special token is missing
        raise UserError(f"{folder}: {error}") from None
    other = f"tinyllm tokenizer convert {folder} --chat chatml --out {folder}/tokenizer.json --overwrite"
    raise UserError(f"the chat template of {folder} is none that tinyllm knows; store another: {other}")


def known_template(source: str, tokens: dict[str, str]) -> ChatTemplate | None:
    """Return what a program writes, or None if its text is not known. tokens: {"bos_token": name, ...}."""
    plain = source.removesuffix("\n").replace("\n", "\\n")  # in a string of Jinja, both are a line break
    plain = plain.removeprefix(UNSAID)
    if (default := BY_DEFAULT.search(plain)) and BY_DEFAULT.sub("", plain) == CHATML:
        chatml = CHAT_TEMPLATES["chatml"]
        mark, word = chatml.roles["system"]
        roles = {role: parts for role, parts in chatml.roles.items() if role != "system"}
        return replace(chatml, roles=roles, begin=(mark, word + default[1], *chatml.end))
    found = KNOWN.get(plain)
    return found and replace(found, begin=_named(found.begin, tokens), end=_named(found.end, tokens))


def _named(parts, tokens):
    """Give `bos_token` and `eos_token` the folder's names; a token without a name writes nothing."""
    named = [
        Special(tokens.get(part.name, part.name)) if isinstance(part, Special) else part for part in parts
    ]
    return tuple(part for part in named if part != Special(""))


def _find_source(folder: Path) -> tuple[str | None, dict[str, str]]:
    """Find a folder's Jinja template -> (its text or None, {name: text} of special tokens that it uses)."""
    path = folder / "tokenizer_config.json"
    config = read_json(path, {}, MOST) if os.path.lexists(path) else {}
    tokens = {}
    for name in (BOS.name, EOS.name):
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        tokens[name] = value if isinstance(value, str) else ""
    source = config.get("chat_template")
    if isinstance(source, list):  # several with names
        source = next((item.get("template", 0) for item in source
                       if isinstance(item, dict) and item.get("name") == "default"), 0)
    if os.path.lexists(folder / "chat_template.jinja"):
        source = read_text(folder / "chat_template.jinja", MOST)
    if source is not None and not isinstance(source, str):
        raise UserError(f"{path}: chat_template is no text, and no list with a text named default")
    return source, tokens
