"""Bind an operation's parameters, as the file has them, to the arguments of the function that computes it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from torch import Tensor

from exporters.artifact import ArtifactError
from exporters.coreml.evaluator.mil_ops import Flags, Ints
from exporters.coreml.evaluator.values import Constant

Given = Mapping[str, Sequence[str]]
"""Maps each parameter to the names of its values: one, or several."""

_TENSORS = (Tensor, Tensor | None, list[Tensor])


def _read(read: Callable[[Any], Any], of: Any) -> Callable[[Constant], Any]:
    def converted(value: Constant) -> Any:
        plain = value.tolist() if isinstance(value, Tensor) else value
        elements = plain if isinstance(plain, list) else [plain]
        if not all(isinstance(element, of) for element in elements):
            raise TypeError(f"{str(plain)[:100]} is not of {getattr(of, '__name__', of)}")
        return read(plain)

    return converted


_CONSTANTS: Mapping[Any, Callable[[Constant], Any]] = {
    int: _read(int, int),
    float: _read(float, int | float),
    bool: _read(bool, bool),
    str: _read(str, str),
    Ints: _read(tuple, int),
    Flags: _read(tuple, bool),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """A function with its constants filled in. It takes the values of `tensors`, in order."""

    function: Callable[..., Any]
    constants: Mapping[str, Any]
    slots: Given

    @property
    def tensors(self) -> tuple[str, ...]:
        return tuple(name for names in self.slots.values() for name in names)

    def __call__(self, *values: Tensor) -> Any:
        arguments, taken = dict(self.constants), iter(values)
        for parameter, names in self.slots.items():
            each = [next(taken) for _ in names]
            arguments[parameter] = each if _hints(self.function)[parameter] == list[Tensor] else each[0]
        return self.function(**arguments)


def bind(function: Callable[..., Any], given: Given, constants: Mapping[str, Constant]) -> Bound:
    """Match an operation's parameters to a function's parameters, by name and annotation.

    Args:
        function: One of `mil_ops.OPERATIONS` or `mil_constants.CONSTANTS`.
        given: The parameters that the file passes.
        constants: Values that are already known.

    Raises:
        ArtifactError: the function lacks a parameter or misses one; or a parameter that must be a constant is computed,
            or has another kind.
    """
    hints = _hints(function)
    unknown = sorted(given.keys() - hints.keys())
    if unknown:
        raise ArtifactError(f"it gives {function.__name__} a {unknown[0][:100]!r}, which is not known here")
    filled: dict[str, Any] = {}
    slots: dict[str, Sequence[str]] = {}
    for parameter, names in given.items():
        hint = hints[parameter]
        if len(names) != 1 and hint != list[Tensor]:
            raise ArtifactError(f"it gives {function.__name__} {len(names)} values for {parameter!r}")
        if hint in _TENSORS:
            slots[parameter] = names
        else:
            filled[parameter] = _constant(function.__name__, parameter, hint, constants.get(names[0]))
    for parameter, description in inspect.signature(function).parameters.items():
        if description.default is inspect.Parameter.empty and parameter not in given:
            raise ArtifactError(f"it gives {function.__name__} no {parameter!r}")
    return Bound(function=function, constants=filled, slots=slots)


def _constant(operation: str, parameter: str, hint: Any, value: Constant | None) -> Any:
    if value is None:
        raise ArtifactError(f"it computes {parameter!r} of {operation}; only a constant is known here")
    wanted = next(kind for kind in _CONSTANTS if hint in (kind, kind | None))
    try:
        return _CONSTANTS[wanted](value)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"it gives {operation} a {parameter!r} that makes no sense: {error}") from error


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
