"""Define UserError, the exception for mistakes that a user can correct, and hints for users of PyTorch.

The command line prints a UserError and exits with code 2.
"""

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any, NoReturn, TypeVar

LONGEST = 560  # the most characters of a message


class UserError(ValueError):
    """Report a wrong file, flag, size or other input from outside the program.

    The message is one printable line that says what is wrong and what to do about it. It may quote names and
    contents of files, because `one_line` escapes control codes.
    """

    def __init__(self, message: object):
        super().__init__(one_line(message))


@contextmanager
def worded(before: str, after: str = "", unless: object = None) -> Iterator[None]:
    """Put words around the message of a UserError in a `with` block; `before` only if it lacks `unless`."""
    try:
        yield
    except UserError as error:
        named = unless is not None and str(unless) in str(error)
        raise UserError(f"{'' if named else before}{error}{after}") from error


def one_line(message: object) -> str:
    """Shorten a message to one line of bounded length, and escape characters that are not printable."""
    return _shortened("".join(c if c.isprintable() else repr(c)[1:-1] for c in _shortened(str(message))))


def _shortened(text):
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 203]}...{text[-200:]}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name, "; did you mean X?", or "" if no known name is similar."""
    near = [each for each in known if each.startswith(name)][:1] or difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def unknown(what: str, name: Any, known: Iterable[str]) -> UserError:
    """Return the error for a name that there is not: it names a similar one, or else all that there are."""
    hint = did_you_mean(str(name), known) or f"; there are {', '.join(known)}"
    return UserError(f"there is no {what} {name!r:.60}{hint}")


PYTORCH = {  # {name: what to write instead} for Tensor, Module, Tokenizer, tl, tl.nn and tl.functional
    "view": "reshape", "flatten": "reshape(-1)", "squeeze": "reshape", "unsqueeze": "x[:, None]",
    "permute": "transpose", "abs": "F.maximum(x, -x)", "size": "shape, or data.size", "argmax": "data.argmax",
    "tolist": "data.tolist()", "clone": "x + 0",
    "var": "((x - x.mean(axis=-1, keepdims=True)) ** 2).mean(axis=-1)",
    "std": "((x - x.mean(axis=-1, keepdims=True)) ** 2).mean(axis=-1).sqrt()",
    "float": "data.astype(np.float32)", "to": "data.astype for dtypes; everything runs on the CPU",
    **dict.fromkeys(("cuda", "cpu", "device"), "it as it is: everything runs on the CPU"),
    "compile": "it as it is: the kernels are compiled",
    "masked_fill": "F.softmax(x + np.where(mask, -np.inf, 0))", "gather": "x[rows, columns]",
    "softmax": "F.softmax(x)", "log_softmax": "F.log_softmax(x)", "relu": "F.relu(x)",
    "sigmoid": "F.sigmoid(x)", "matmul": "x @ y", "einsum": "x @ y", "clamp": "F.clip", "cat": "F.concat",
    "stack": "F.concat of x[None]", "where": "mask * x + ~mask * y", "split": "F.split(x, n)",
    "tanh": "x.tanh()", "exp": "x.exp()", "log": "x.log()", "sqrt": "x.sqrt()", "take": "F.embedding",
    "tensor": "tl.Tensor(array)", "from_numpy": "tl.Tensor(array)", "zeros": "tl.Tensor(np.zeros(shape))",
    "ones": "tl.Tensor(np.ones(shape))", "arange": "np.arange",
    "randn": "tl.Random(seed).normal(shape)", "rand": "tl.Random(seed).uniform(shape)",
    "manual_seed": "the seed= of models and of tl.fit, or nn.init_normal(model, seed)",
    "Adam": "tl.AdamW(..., weight_decay=0)", "SGD": "tl.AdamW", "zero_grad": "optimizer.zero_grad()",
    "DataLoader": "tl.get_batch, or tl.fit", "load": "tl.open_model(folder)",
    "save": "tl.save_weights for weights, tl.save_tokenizer for a tokenizer",
    "save_pretrained": "tl.save_weights or tl.save_tokenizer", "F": "import tinyllm.functional as F",
    "functional": "import tinyllm.functional as F", "init": "nn.init_normal(model, seed)",
    "ReLU": "F.relu, a function that nn.Sequential takes", "GELU": "F.gelu, a function",
    "ModuleList": "a list", "CrossEntropyLoss": "F.cross_entropy", "cross_entropy": "F.cross_entropy",
    "MultiheadAttention": "nn.SelfAttention", "scaled_dot_product_attention": "F.attention",
    "layer_norm": "F.layernorm", "rms_norm": "F.rmsnorm", "checkpoint": "nn.recompute(model, 0)",
    "modules": "named_modules", "register_buffer": "nn.Buffer", "AutoTokenizer": "tl.load_tokenizer(folder)",
    "from_pretrained": "tl.from_pretrained(folder)", "AutoModelForCausalLM": "tl.from_pretrained(folder)",
    "t": "T", "numel": "data.size", "mm": "x @ y", "bmm": "x @ y", "multinomial": "tl.generate",
    "optim": "tl.AdamW", "pipeline": "tl.open_model(folder), then tl.generate", "chunk": "F.split(x, n)",
    "summary": "`tinyllm inspect`", "SiLU": "F.silu, a function", "Tanh": "a function: lambda x: x.tanh()",
    "Sigmoid": "F.sigmoid, a function", "mse_loss": "((x - y) ** 2).mean()", "one_hot": "np.eye(n)[ids]",
    "children": "named_children", "requires_grad_": "requires_grad = True, of a parameter",
    "batch_decode": "decode for each list of ids", "eos_token_id": "special_tokens",
    "offsets": "the lengths of decode_bytes([i]), added up",
    "generate": "tl.generate(model, prompts, max_tokens=50)", "stream": "tl.stream(model, prompts, ...)",
}


def missing(owner: Any, name: str) -> NoReturn:
    """Raise the AttributeError for a missing name of a module or object, with a hint if PyTorch has it."""
    kind = owner if isinstance(owner, str) else (owner if isinstance(owner, type) else type(owner)).__name__
    hint = f"; use {PYTORCH[name]}" if name in PYTORCH else ""
    if isinstance(owner, str):
        raise AttributeError(f"{kind} has no {name}{hint or did_you_mean(name, dir(sys.modules[owner]))}")
    raise AttributeError(f"{kind} has no {name}{hint}", name=name, obj=owner)  # Python suggests similar names


Function = TypeVar("Function", bound=Callable[..., Any])  # or a class


def instead(*also: Callable, **names: str) -> Callable[[Function], Function]:
    """Make a function or class refuse wrong keyword arguments, with a hint: `@instead(dim="axis=")`.

    `also` are the functions to which it passes its **options.
    """

    def decorate(function: Any) -> Any:
        if isinstance(function, type):
            function.__init__ = decorate(function.__init__)  # type: ignore[misc]
            return function
        known = {name for each in (function, *also) for name in signature(each).parameters}

        @wraps(function)
        def call(*args, **options):
            for name in sorted(options.keys() - known):
                kind = function.__qualname__.removesuffix(".__init__")
                hint = f"; use {names[name]}" if name in names else did_you_mean(name, known)
                raise TypeError(f"{kind} has no argument {name}{hint}")
            return function(*args, **options)

        return call

    return decorate
