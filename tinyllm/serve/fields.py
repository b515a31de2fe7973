"""List the fields of each request, with types and limits, and read a request's JSON into them."""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from tinyllm.config import allowed, bounded, conform, setting, wish
from tinyllm.errors import UserError, did_you_mean
from tinyllm.files import parse_json

CHOICES = 128  # the most texts in one request
IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "verbosity",
           "parallel_tool_calls", "prediction"}  # they change no answer here
TOOL = {"type": bounded(str, choices=("function",)), "function": {"name": str}}
FORMS = bounded(str, choices=("text", "json_object", "json_schema"))


class Refusal(UserError):
    """Report a request that is not answered, with the parts of OpenAI's error object and the HTTP status."""

    def __init__(self, message: object, param: str | None = None, status: int = 400, code: str | None = None):
        super().__init__(message)
        self.param, self.status, self.code = param, status, code

    @property
    def body(self) -> dict[str, Any]:
        """Return the error object."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, kind)
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The fields that requests for texts share. Without a value, `Sampling` is that of the model's folder."""

    model: str = setting("", help="a name of /v1/models; by default the first")
    max_tokens: int | None = setting(None, min=0, help="default 16; in a chat, what the context holds")
    temperature: float | None = setting(None, min=0, max=2, help="0: the likeliest token")
    top_p: float | None = setting(None, above=0, max=1, help="draw from the likeliest that together reach it")
    top_k: int | None = setting(None, min=1, help="draw from the k likeliest (not OpenAI's)")
    min_p: float | None = setting(None, min=0, max=1, help="as in `tinyllm generate` (not OpenAI's)")
    repetition_penalty: float | None = setting(None, min=0.01, max=100, help="the same (not OpenAI's)")
    seed: int = setting(0, min=-(2**63), max=2**64 - 1, help="equal seeds give equal texts, under any load")
    n: int = setting(1, min=1, max=CHOICES, help="texts for each prompt")
    stop: str | list = setting((), most=16, holds=[str], help="texts that end an answer, and are not in it")
    logit_bias: dict | None = setting(None, most=1024, holds={str: bounded(float, min=-100, max=100)},
                                      help="{token id: -100 to 100}")
    presence_penalty: float = setting(0.0, min=-2, max=2, help="makes tokens of the answer rarer")
    frequency_penalty: float = setting(0.0, min=-2, max=2, help="the same, as often as each was drawn")
    stream: bool = setting(False, help="send server-sent events, and [DONE] at the end")
    stream_options: dict | None = setting(None, holds={str: bool}, help="include_usage")


@dataclass(frozen=True, kw_only=True)
class Completion(Asked):
    """The fields of /v1/completions."""

    prompt: str | list = setting("", help="a text, token ids, or a list of these")
    logprobs: int | None = setting(None, min=0, max=20, help="as many likeliest tokens at each place")
    echo: bool = setting(False, help="return the prompt, too, scored if there are logprobs")


@dataclass(frozen=True, kw_only=True)
class Chat(Asked):
    """The fields of /v1/chat/completions."""

    messages: list = setting((), most=4096, holds=[{"role": str}], help="of the template's roles, and tool")
    max_completion_tokens: int | None = setting(None, min=0, help="the same as max_tokens")
    logprobs: bool = setting(False, help="log-probabilities of the answer's tokens")
    top_logprobs: int = setting(0, min=0, max=20, help="as many likeliest tokens at each place")
    tools: list = setting((), most=128, holds=[TOOL], help="functions; the model knows calls [name input]")
    tool_choice: str | dict = setting("auto", holds=TOOL, help="auto, none, required or a function")
    response_format: dict | None = setting(None, holds={"type": FORMS}, help="text or a form of JSON")


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The fields of /v1/embeddings."""

    model: str = setting("", help="a name of /v1/models, of an encoder")
    input: str | list = setting("", help="a text, token ids, or a list of these")
    encoding_format: str = setting("float", choices=("float", "base64"), help="base64: float32")


Fields = TypeVar("Fields", Completion, Chat, Embedding)


def parse(body: bytes) -> dict[str, Any]:
    """Return the object that a request's JSON holds. Raises Refusal if it is something else."""
    try:
        conform(found := parse_json(body), {})
    except UserError as error:
        raise Refusal(f"the body {error}") from None
    return found


def read_fields(given: dict[str, Any], kind: type[Fields]) -> Fields:
    """Return a request's fields; null is the same as leaving a field out. Raises Refusal for a wrong one."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {name: value for name, value in given.items() if value is not None and name not in IGNORED}
    for name, value in values.items():
        if name not in fields:
            raise Refusal(f"{name[:40]} is not supported{did_you_mean(name[:40], fields)}", name[:40],
                          code="unsupported_parameter")
        most = fields[name].metadata.get("most")
        if not allowed(fields[name], value):
            raise Refusal(f"{name} must be {wish(fields[name])}, got {str(value)[:40]}", name)
        if most and not isinstance(value, str) and len(value) > most:
            raise Refusal(f"{name} has {len(value)} entries, at most {most} are allowed", name)
        if "holds" in fields[name].metadata and isinstance(value, list | dict):
            check_part(value, fields[name].metadata["holds"], name)
    return kind(**values)


def check_part(value: Any, kind: Any, param: str) -> None:
    """Check a part of a field against a declaration of `conform`. Raises Refusal."""
    try:
        conform(value, kind)
    except UserError as error:
        raise Refusal(f"{param} {error}", param) from None
