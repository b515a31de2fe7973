"""Turn messages into token ids, and between texts and tool calls.

A call is written as in tinyllm/world/tools.py, `[name input] => result`, all in one turn of the model. The
input of a function with one parameter, a string, is its value; of any other, the JSON of its arguments.
"""

import json
import re
from contextlib import suppress
from typing import Any

from tinyllm.config import bounded, conform
from tinyllm.constrain.expressions import Expressions
from tinyllm.constrain.json_schema import read_schema
from tinyllm.constrain.regex import read_regex
from tinyllm.errors import UserError
from tinyllm.runs import Opened
from tinyllm.serve.fields import Chat, Refusal, check_part

ARROW = " => "  # stands between a call and its result
BEGIN = re.compile(r"\[([\w-]{0,64})( |$)")  # of a call, or what may become one
INPUT = r"[^\[\]\n]"
LONGEST = 2000  # characters of a call
Tools = dict[str, str | dict]  # of each function, its only parameter if that is a text, or its schema


def read_tools(asked: Chat) -> Tools:
    """Return the functions that the model may call. Raises Refusal for one whose calls it could not write."""
    found: Tools = {}
    for tool in asked.tools:
        name, parameters = tool["function"]["name"], tool["function"].get("parameters") or {}
        check_part(parameters, dict, "tools")
        check_part(properties := parameters.get("properties") or {}, {str: dict}, "tools")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            raise Refusal("a function's name has 1 to 64 of the characters a-z A-Z 0-9 _ -, and not "
                          f"{name[:60]!r}", "tools")
        (only, kind), *more = properties.items() or [("", {})]
        text = kind.get("type") == "string" and not more
        found[name] = only if text else {"type": "object", **parameters}
    return {} if asked.tool_choice == "none" else found


def must_call(asked: Chat, tools: Tools) -> Tools | None:
    """Return the functions one of which the answer must call, or None if it may be a text."""
    choice: Any = asked.tool_choice
    if isinstance(choice, dict):
        name, choice = choice["function"]["name"], "required"
        tools = {name: tools[name]} if name in tools else {}
    if choice not in ("auto", "none", "required") or (choice == "required" and not tools):
        raise Refusal("tool_choice must be auto, none, required, or a function of tools", "tool_choice")
    return tools if choice == "required" else None


def read_calls(grammar: Expressions, tools: Tools) -> int:
    """Return the expression for a call of one of these functions."""
    return grammar.either(*(grammar.sequence(
        grammar.text(f"[{name} "),
        read_schema(grammar, tool) if isinstance(tool, dict) else read_regex(grammar, INPUT + "{1,80}"),
        grammar.text("]")) for name, tool in tools.items()))


def find_call(text: str, tools: Tools) -> tuple[str, dict[str, str] | None, str]:
    """Look for a call in a text -> the text before it, the call as OpenAI writes it, what may become one."""
    for match in BEGIN.finditer(text):
        (name, space), given, end = match.groups(), text[match.end() :], -1
        if not (space and name in tools) and (space or not any(tool.startswith(name) for tool in tools)):
            continue
        only = tools.get(name)
        if isinstance(only, str):
            end = next(re.finditer(INPUT + "*", given)).end()
            arguments = json.dumps({only: given[:end]})
        elif space:
            with suppress(ValueError, RecursionError):
                _, end = json.JSONDecoder().raw_decode(given)
                arguments = given[:end]
        if given[end : end + 1] == "]" and end > 0:
            return text[: match.start()], {"name": name, "arguments": arguments}, ""
        if end in (-1, len(given)) and len(given) < LONGEST:
            return text[: match.start()], None, text[match.start() :]
    return text, None, ""


def encode(opened: Opened, asked: Chat) -> list[int]:
    """Encode a conversation, up to where the model's next turn begins, or goes on after a tool's result."""
    turns: list[dict[str, str]] = []
    for message in asked.messages:
        role = {"developer": "system"}.get(message["role"], message["role"])
        text = ARROW * (role == "tool") + _text(message)
        calls = message.get("tool_calls") or []
        check_part(calls, [{"function": {"name": str, "arguments": str}}], "messages")
        for call in calls:
            text += f"[{call['function']['name']} {_input(call['function']['arguments'])}]"
        goes_on = role == "tool" or (role == "assistant" and turns and turns[-1]["last"] == "tool")
        if goes_on and turns and turns[-1]["role"] == "assistant":
            turns[-1] = {"role": "assistant", "content": turns[-1]["content"] + text, "last": role}
        else:
            turns.append({"role": role, "content": text, "last": ""})
    if not turns:
        raise Refusal("messages is empty", "messages")
    begun = turns.pop()["content"] if turns[-1]["last"] == "tool" else ""
    try:
        return _laid_out(opened, turns) + (opened.tokenizer.encode(begun) if begun else [])
    except UserError as error:
        raise Refusal(error, "messages") from None


def _laid_out(opened, turns):
    """Write the turns with the chat template, or as a model without one saw them in its training."""
    tokenizer, frame = opened.tokenizer, opened.frame
    if opened.chat:
        return opened.chat.encode(tokenizer, turns, reply=True)
    ends = {"user": frame.separator, "assistant": frame.end, "system": frame.separator}
    for turn in turns:
        conform(turn, {"role": bounded(str, choices=tuple(ends))})
    return tokenizer.encode("".join(turn["content"] + ends[turn["role"]] for turn in turns))


def _text(message):
    """Return the text of a message: a string, or parts of type text."""
    content = message.get("content") or ""
    if isinstance(content, list):
        check_part(content, [{"type": bounded(str, choices=("text",)), "text": str}], "messages")
        content = "".join(part["text"] for part in content)
    check_part(content, str, "messages")
    return content


def _input(arguments):
    """Return the input that a call had, from its arguments as OpenAI writes them."""
    try:
        values = list(json.loads(arguments).values())
    except (ValueError, AttributeError, RecursionError):
        return arguments
    return values[0] if len(values) == 1 and isinstance(values[0], str) else arguments
