"""Read the chat template of a Hugging Face folder: a program in Jinja that writes conversations as text.

Such a program comes from strangers and could be anything, so it never runs in this process and never gets a
user's text. A child process with little memory and time renders a few conversations of known words in
jinja2's sandbox. The texts around these words become the template, as data: a `ChatTemplate`. A program that
does more, such as counting turns, is refused. Two common programs are recognised by their text.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.files import read_json, read_text
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, ChatTemplate, Special

MOST = 1 << 20  # bytes of a template, and of what it may write
SECONDS = 5  # of the processor for the child, which needs less than one
TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
WORDS = ("Quokka", "Wombat", "Numbat", "Potoroo")  # no template has them
UNLIKE = "does not write every turn in the same way: tinyllm cannot use it"
REPLY = "{% endfor %}{% if add_generation_prompt %}"
CHATML = (  # of Qwen 2, SmolLM 2 and many others
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}" + REPLY + "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (  # of LLaMA 3
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    + REPLY + "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
BY_DEFAULT = re.compile(  # what ChatML says if no system text is given
    r"(?<=^{% for message in messages %}){% if loop\.first and messages\[0\]\['role'\] != 'system' %}{{ "
    r"'<\|im_start\|>system\\n([^'\\<]*)<\|im_end\|>\\n' }}{% endif %}"
)
CHILD = f"""import json, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
except ImportError:  # Windows
    pass
from jinja2.sandbox import ImmutableSandboxedEnvironment
source, tokens, conversations = json.load(sys.stdin)
def refuse(message):
    raise ValueError(message)
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
environment.globals["raise_exception"] = refuse
template, written = environment.from_string(source), []
for messages, reply in conversations:
    try:
        written.append(template.render(messages=messages, add_generation_prompt=reply, **tokens))
    except (ValueError, TypeError) as error:
        written.append(None)
json.dump([text if text is None else text[:{MOST}] for text in written], sys.stdout)
"""


def read_chat_template(folder: Path | str, special_tokens: Any) -> ChatTemplate | None:
    """Read the chat template of a folder, or return None if the folder has none.

    special_tokens: the names of the tokenizer's special tokens; where the program writes such a name, the
    template has that token. Raises UserError when a file is broken, jinja2 is missing, or the program writes
    turns in different ways.
    """
    folder = Path(folder)
    source, tokens = find_source(folder)
    if source is None:
        return None
    known = known_template(source, tokens)
    if known and set(known.special_tokens) <= set(special_tokens):
        return known
    roles = ("user", "assistant", "user", "system")
    said = [{"role": role, "content": word} for role, word in zip(roles, WORDS, strict=True)]
    user, model, again, system = said
    conversations = [([user], True), ([user, model], False), ([user, model, again, model], False),
                     ([user, model, again], True), ([system, user], True)]  # fmt: skip
    where = f"the chat template of {folder}"
    asked, answered, longer, reply, with_system = render(source, tokens, conversations, where)
    found, gap = _from_texts(asked, answered, reply, with_system, special_tokens, where)
    if gap.strip() or _spell(found, [user, model, again, model], gap) != longer:
        raise UserError(f"{where} {UNLIKE}")
    return found


def find_source(folder: Path) -> tuple[str | None, dict[str, str]]:
    """Find a folder's Jinja template -> (its text or None, {name: text} of special tokens it may use)."""
    path = folder / "tokenizer_config.json"
    config = read_json(path, {}, MOST) if os.path.lexists(path) else {}
    tokens = {}
    for name in TOKENS:
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        tokens[name] = value if isinstance(value, str) else ""
    source = config.get("chat_template")
    if isinstance(source, list):  # several with names
        source = next((item.get("template", 0) for item in source
                       if isinstance(item, dict) and item.get("name") == "default"), 0)  # fmt: skip
    if os.path.lexists(folder / "chat_template.jinja"):
        source = read_text(folder / "chat_template.jinja", MOST)
    if source is not None and not isinstance(source, str):
        raise UserError(f"{path}: chat_template is no text, and no list with a text named default")
    return source, tokens


def known_template(source: str, tokens: dict[str, str]) -> ChatTemplate | None:
    """Return the template of a program whose text is known, or None for other programs."""
    plain = source.removesuffix("\n").replace("\n", "\\n")  # in a string of Jinja, both are a line break
    if plain == LLAMA3 and tokens["bos_token"] == "<|begin_of_text|>":
        return CHAT_TEMPLATES["llama3"]
    usual, chatml = BY_DEFAULT.search(plain), CHAT_TEMPLATES["chatml"]
    if BY_DEFAULT.sub("", plain) != CHATML:
        return None
    if usual is None:
        return chatml
    mark, word = chatml.roles["system"]
    roles = {role: parts for role, parts in chatml.roles.items() if role != "system"}
    return replace(chatml, roles=roles, begin=(mark, word + usual[1], *chatml.end))


def render(source: str, tokens: dict[str, str], conversations: list, where: str) -> list[str | None]:
    """Run a Jinja template in a child process -> each conversation's text, or None if it is refused.

    conversations: [(messages, True if a reply follows)]. Raises UserError when the program fails.
    """
    try:
        child = subprocess.run([sys.executable, "-I", "-c", CHILD], capture_output=True, timeout=4 * SECONDS,
                               input=json.dumps([source, tokens, conversations]).encode())  # fmt: skip
        written = json.loads(child.stdout) if child.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        raise UserError(f"{where} takes too long, or writes no text") from None
    if written is not None:
        return written
    why = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it was stopped"]
    if "No module named 'jinja2'" in why[0]:
        raise UserError(f"{where} needs jinja2: pip install jinja2")
    raise UserError(f"{where} cannot be run: {why[0][:200]}")


def _from_texts(asked, answered, reply, with_system, special_tokens, where):
    """Derive a template from rendered texts: the texts around the known words open and end turns."""
    user, model, again, system = WORDS
    try:
        before, between, end = _around(answered, user, model)
        opens_user = _around(reply, user, model, again)[2].removeprefix(end)
        asks = _around(asked, user)[1]
        if not before.endswith(opens_user) or not between.startswith(asks):
            raise ValueError
        begin, unended = before.removesuffix(opens_user), [] if asks.startswith(end) else ["user"]
        roles = {"user": opens_user, "assistant": asks.removeprefix(end)}
        if with_system is not None and with_system.startswith(begin) and not unended:
            opens_system, next_turn, _ = _around(with_system, system, user)
            if next_turn == end + opens_user:
                roles["system"] = opens_system.removeprefix(begin)
    except (ValueError, AttributeError):
        raise UserError(f"{where} {UNLIKE}") from None
    openings = {role: _parts(text, special_tokens) for role, text in roles.items()}
    ends = [_parts(text, special_tokens) for text in (end, begin)]
    gap = between.removeprefix(asks)  # such as Mistral's space, which the model itself writes in a reply
    return ChatTemplate(openings, *ends, unended=tuple(unended)), gap


def _around(text, *words):
    """Return the texts before, between and after words. Raises ValueError unless they occur in this order."""
    found = []
    for word in words:
        before, there, text = text.partition(word)
        if not there:
            raise ValueError
        found.append(before)
    return [*found, text]


def _parts(text, special_tokens):
    names = sorted(special_tokens, key=len, reverse=True)
    if not names:
        return (text,) if text else ()
    pieces = re.split(f"({'|'.join(map(re.escape, names))})", text)
    return tuple(Special(piece) if piece in special_tokens else piece for piece in pieces if piece)


def _spell(template, messages, gap):
    """Render a conversation by a template, to compare with the program's text. gap: text before an answer."""
    parts = list(template.begin)
    for message in messages:
        ended = message["role"] not in template.unended
        parts += [*template.roles[message["role"]], gap if message["role"] == template.model else "",
                  message["content"], *(template.end if ended else ())]  # fmt: skip
    return "".join(part.name if isinstance(part, Special) else part for part in parts)
