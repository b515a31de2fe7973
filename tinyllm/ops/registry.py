"""Register ops: `@op` makes a NumPy function the specification of an op, and backends can replace it.

An op is run by its NumPy body (`numpy`), by the C kernel of the same name (`compiled`), by a kernel of
another precision (`bf16`), or by a function that you plug in (`override`). Ops call ops, so a replacement is
used in the whole model.
"""

import dis
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from tinyllm.errors import UserError
from tinyllm.ops.runtime import BACKENDS, _compiled, default_backend, startup_error
from tinyllm.ops.shapes import ShapeCheck

OPS: dict[str, "Op"] = {}  # in order of definition
BACKWARD = "_backward"
_state: dict[str, Any] = {"backend": default_backend, "around": None}  # for all ops; see `use` and `watch`


class PythonCall:
    """Base class of Op: a call runs `_check`, unless it is None, and then `_run`.

    With kernels, a C class with the same behaviour is used, because each token takes dozens of calls.
    """

    _check: Callable | None
    _run: Callable
    _refuse: Callable  # raises the error of a check again, with the op's name in front

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._check is not None:
            try:
                self._check(*args, **kwargs)
            except (ValueError, AttributeError) as error:
                self._refuse(error)
        return self._run(*args, **kwargs)


class Checked(PythonCall):
    """One implementation of an op, with the op's checks in front of it."""

    def __init__(self, op: "Op", run: Callable):
        functools.update_wrapper(self, run)
        self._check, self._run, self._refuse = op.check, run, op._refuse


Call: Any = PythonCall if _compiled is None else _compiled.Call


class Op(Call):
    """A pure function on arrays with one specification and several implementations.

    `reference` is the NumPy body; `implementations` has it and the kernels, by backend; `override` is the
    plugged-in function or None. The other attributes are the arguments of the decorator `op`.
    """

    def __init__(self, function, outputs=None, grads=("x",), shapes=None, check=None, flops=0, mutates=(),
                 follows=None):
        functools.update_wrapper(self, function)
        self.__signature__ = _untyped(inspect.signature(function))
        if shapes:
            check = ShapeCheck(shapes, self.__signature__, check)
        self.reference, self.check, self.flops = function, check, flops
        self.outputs = outputs or mutates or _default_outputs(function.__name__)
        self.grads, self.mutates, self.follows = grads, mutates, follows
        self.implementations = {"numpy": function}  # backend -> function
        for backend, suffix in (("compiled", ""), ("bf16", "_bf16")):
            twin = getattr(_compiled, function.__name__ + suffix, None)
            if twin is not None:
                self.implementations[backend] = twin
        if follows:  # without such a kernel the specification runs, and calls the op that it follows
            self.implementations.setdefault("bf16", function)
        self.choice = self.override = None  # choice: set by use(name=backend); None: that of all ops
        self._check = check
        if isinstance(check, ShapeCheck):  # the C class looks up known shapes by itself
            self._fitted, self._more, self._count = check.fitted, check.more, len(check.axes)
        self._run = self._first_call  # what a call runs; `resolve` updates it, so calls are fast

    @property
    def compiled(self) -> Any:
        """Return the kernel with the op's checks, or None."""
        return self.checked("compiled") if "compiled" in self.implementations else None

    def checked(self, backend: str) -> Callable:
        """Return the implementation of a backend with the op's checks, so that tests can call it directly."""
        return Checked(self, self.implementations[backend])

    @functools.cached_property
    def specification(self) -> Callable:
        """Return the NumPy body, which calls only other NumPy bodies, never kernels or overrides."""
        f, called = self.reference, {o.__name__: o.specification for o in self.calls}
        return Checked(self, types.FunctionType(f.__code__, f.__globals__ | called, None, f.__defaults__))

    def count_flops(self, args: dict[str, Any], result: Any) -> int:
        """Count the operations of one call, given its arguments {name: value} and its result -> int."""
        if callable(self.flops):
            return self.flops(args, result)
        y = result[0] if isinstance(result, tuple) else result
        return self.flops * getattr(y, "size", 0)

    @functools.cached_property
    def calls(self) -> "list[Op]":
        """Return the ops that the specification calls by name."""
        called = dict.fromkeys(_ops_called(self.reference, set()))
        return [o for o in called if o is not self]

    @property
    def replaced(self) -> bool:
        """Return True while an override replaces this op, or an op that its specification calls."""
        return self.override is not None or any(o.replaced for o in self.calls)

    @property
    def backend(self) -> str:
        """Return the name of the implementation that runs this op now: override, bf16, compiled or numpy."""
        if self.override is not None:
            return "override"
        if self.replaced:  # a kernel would not call the override
            return "numpy"
        wanted = self.choice or (OPS[self.follows].choice if self.follows else None) or _state["backend"]
        return wanted if wanted in self.implementations else "numpy"

    def _first_call(self, *args, **kwargs):
        self.resolve()  # not earlier, because an op may be defined above functions that it calls
        return self._run(*args, **kwargs)

    def resolve(self) -> None:
        """Decide which function a call runs, after a backend or an override has changed."""
        if startup_error:
            self._run = _cannot_start
            return
        self._check = None if self.override else self.check
        run = self.override or self.implementations[self.backend]
        around = _state["around"]  # set only during `watch`
        self._run = run if around is None else functools.partial(around, self, run)

    def _refuse(self, error):
        """Raise the ValueError of a check with the op's name in front of its message.

        An AttributeError means that an argument is not an array; the implementation raises a clearer error.
        """
        if isinstance(error, ValueError):
            raise ValueError(f"{self.__name__} {error}") from None

    def __repr__(self):
        return f"<op {self.__name__}{self.__signature__}, run by {self.backend}>"


def _cannot_start(*args, **kwargs):
    raise startup_error


def _untyped(signature):
    """Return a signature without types, for messages and for comparing with overrides."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return inspect.Signature(parameters)


def _default_outputs(name):
    """Return the default names of results: ("y",), or for X_backward "d" + name for each of X's `grads`."""
    forward = OPS.get(name.removesuffix(BACKWARD)) if name.endswith(BACKWARD) else None
    return tuple("d" + argument for argument in forward.grads) if forward else ("y",)


def _names(code):
    """Yield every name in a code object and in the functions and comprehensions inside it.

    An op's name is left out where it is an attribute: `np.exp` does not call the op exp.
    """
    if OPS.keys().isdisjoint(code.co_names):  # a quick test that skips the slow search below
        yield from code.co_names
    else:
        yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


def _ops_called(function, seen):
    """Yield every op that a function calls by name, directly or through helper functions of its module."""
    seen.add(function)
    function = inspect.unwrap(function)
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, Op):
            yield value
        elif isinstance(value, types.FunctionType) and value not in seen:
            yield from _ops_called(value, seen)


def op(function: Callable | None = None, **said: Any) -> Any:
    """Register a NumPy function as the specification of an op, and declare the properties of the op.

    outputs  the names of the op's results, ("y",) by default; for X_backward, "d" + each of X's `grads`
    grads    the arguments for which X_backward returns gradients, ("x",) by default
    shapes   the shapes of arguments, such as "x (..., I), w (I, O)"; see `ShapeCheck`
    check    a function of the op's arguments that raises ValueError("needs ..., got ...") for conditions that
             shapes cannot express; both checks run before specification and kernel, not before an override
    flops    operations for each number of the first output, or a function (arguments by name, result) -> int
    mutates  the arguments that the op changes in place
    follows  the op whose choice of backend this op shares; matmul_backward follows matmul
    """
    if function is None:
        return functools.partial(op, **said)
    OPS[function.__name__] = new = Op(function, **said)
    return new


class _Switch:
    """Make the changes of a `use`, `override` or `watch`, and undo them at the end of a `with` block.

    changes: a list of (dictionary, key, new value). Other changes that the block makes stay.
    """

    def __init__(self, changes):
        self._before = [(place, key, place[key]) for place, key, _ in changes]
        self._set(changes)

    def _set(self, changes):
        for place, key, value in changes:
            place[key] = value
        for o in OPS.values():  # all, because an op that calls a replaced op must not run its kernel
            o.resolve()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._set(self._before)


def _find(name):
    if name not in OPS:
        raise UserError(f"there is no op called {name!r}; the ops are {', '.join(sorted(OPS))}")
    return OPS[name]


def use(backend: str | None = None, **per_op: str) -> _Switch:
    """Choose the backend of all ops (`use("numpy")`, `use("compiled")`) or of some (`use(matmul="bf16")`).

    The choice applies at once; as a context manager (`with use("numpy"):`) it ends with the block.
    Naming a backend for all ops also clears the choices for single ops. A choice for matmul also applies to
    the ops that follow it, such as linear. Raises UserError on an unknown backend or op, and
    for "compiled" if the kernels were not built.
    """
    if backend is not None and backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if backend == "compiled" and _compiled is None:
        raise UserError("the kernels are not built: install a C compiler and reinstall, or use 'numpy'")
    for name, choice in per_op.items():
        known = _find(name).implementations
        if choice == "bf16" and (followed := OPS[name].follows):
            raise UserError(f"{name} follows {followed}: write use({followed}='bf16')")
        if choice not in known:
            raise UserError(f"{name} has no {choice!r} backend here: choose one of {', '.join(known)}")
    changes: list[Any] = []
    if backend is not None:
        changes += [(_state, "backend", backend)]
        changes += [(vars(o), "choice", None) for o in OPS.values() if o.choice]
    return _Switch(changes + [(vars(OPS[name]), "choice", choice) for name, choice in per_op.items()])


def override(**functions: Any) -> _Switch:
    """Replace ops by your functions: `override(softmax=f)`, as a call or as a context manager.

    Every op that calls softmax, and so the whole model, then runs f. None removes an override. Raises
    UserError when there is no op of that name, TypeError when the arguments of f differ from the op's.
    """
    for name, function in functions.items():
        wanted = _find(name).__signature__
        if function is not None and list(inspect.signature(function).parameters) != list(wanted.parameters):
            got = inspect.signature(function)
            raise TypeError(f"{name} is called as {name}{wanted}; the override takes {got}")
    return _Switch([(vars(OPS[name]), "override", function) for name, function in functions.items()])


def watch(around: Callable[..., Any]) -> _Switch:
    """Call `around(op, run, *args)` in place of every op inside a `with` block; run(*args) computes the op.

    The result of `around` is the result of the op. A nested watch replaces the outer one until it ends.
    """
    return _Switch([(_state, "around", around)])
