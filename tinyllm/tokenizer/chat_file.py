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
INST = {"user": (Special("[INST]"), " "), "assistant": (" ", Special("[/INST]"))}


def read_chat_template(folder: Path | str, tokenizer: Any) -> ChatTemplate | None:
    """Read the chat template of a folder for its tokenizer, or return None if the folder has none.

    Raises UserError if a file is broken, the program is not known, or the tokenizer lacks a special token.
    """
    path, jinja = Path(folder, "tokenizer_config.json"), Path(folder, "chat_template.jinja")
    config = read_json(path, {}, MOST) if os.path.lexists(path) else {}
    source = config.get("chat_template")
    bos, eos = (_token(config.get(name)) for name in ("bos_token", "eos_token"))
    if isinstance(source, list):  # several with names
        named = [item.get("template", 0) for item in source
                 if isinstance(item, dict) and item.get("name") == "default"]
        source = named[0] if named else source
    if os.path.lexists(jinja):
        source = read_text(jinja, MOST)
    if source is None:
        return None
    if not isinstance(source, str):
        raise UserError(f"{path}: chat_template is no text, and no list with a text named default")
    template = known_template(source, bos, eos)
    if template is None:
        raise UserError(f"the chat template of {folder} is none that tinyllm knows; store another: give what "
                        "tl.load_tokenizer returns a `chat` of tl.CHAT_TEMPLATES, and tl.save_tokenizer it")
    try:
        template.check(tokenizer)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    return template


def _token(value):
    """Return a special token of a config as a part of a template: (Special(name),), or () without a name."""
    name = value.get("content") if isinstance(value, dict) else value
    return (Special(name),) if name and isinstance(name, str) else ()


def known_template(source: str, bos: tuple, eos: tuple) -> ChatTemplate | None:
    """Return what a program writes, or None if its text is not known. bos, eos: what the tokens write."""
    plain = source.removesuffix("\n").replace("\n", "\\n")  # in a string of Jinja, both are a line break
    plain = plain.removeprefix(UNSAID)
    chatml = CHAT_TEMPLATES["chatml"]
    if plain == CHATML:
        return chatml
    if (default := BY_DEFAULT.search(plain)) and BY_DEFAULT.sub("", plain) == CHATML:
        mark, word = chatml.roles["system"]
        roles = {role: parts for role, parts in chatml.roles.items() if role != "system"}
        return replace(chatml, roles=roles, begin=(mark, word + default[1], *chatml.end))
    if plain == MISTRAL:
        return ChatTemplate(INST, eos, bos, unended=("user",))
    return replace(CHAT_TEMPLATES["llama3"], begin=bos) if plain == LLAMA3 else None
