"""What a transform does, in words that are the same in every process."""

from __future__ import annotations

import copyreg
import hashlib
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from kdmm.errors import InputError

__all__ = ["described"]

INTERNAL = frozenset(vars(nn.Module()))
"""What every module keeps; of it only what is `REGISTERED` is told."""
REGISTERED = ("_parameters", "_buffers", "_modules")


def described(setting: str, transform: Callable[..., Any]) -> str:
    """Return a transform's class and all its settings, those of the transforms in it included.

    It is told by what pickle would keep of it, which is also what workers are sent: a ``__repr__`` may leave settings
    out, as that of ``v2.RandomApply`` leaves out ``p``. Numbers, words and paths are told by their value, tensors and
    bytes by a digest, a list like a tuple; functions and classes by their qualified name, and those functions that are
    not a module's own, such as a ``lambda``, by their code and what they enclose too. The order counts except in sets,
    and so do types: 1 is not 1.0. Private attributes count, but a ``cached_property`` and torchvision's private ones
    follow from the others, and some, such as logarithms, differ between machines in the last bit.

    Args:
        setting: what the transform was given to, for messages.
        transform: of a medium.

    Raises:
        InputError: it holds what pickle cannot keep, such as an open file or a lock.
    """
    try:
        return _told(transform, ())
    except Exception as error:  # whatever the parts of others' classes raise when they are to be pickled
        kind = getattr(transform, "__qualname__", type(transform).__qualname__)
        raise InputError(
            f"{setting}: {kind} cannot be told from another with other settings: {error}. Give its class a "
            "`__getstate__` that leaves out what is no setting, as for pickle."
        ) from error


def _told(value: Any, above: tuple[int, ...]) -> str:
    """Return what a value is.

    Args:
        value: a transform, or what one holds.
        above: the ids of those that hold it, from the transform on.
    """
    if isinstance(value, Enum):
        return f"{_name(type(value))}.{value.name or value.value}"
    for kind in (bool, int, float, complex, str):
        if isinstance(value, kind):
            return kind.__repr__(value)
    if value is None:
        return "None"
    if isinstance(value, bytes):
        return _digest(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type):
        return _name(value)
    if isinstance(value, PurePath):
        return f"Path({str(value)!r})"
    if id(value) in above:
        return f"<{len(above) - above.index(id(value))} above>"
    above = (*above, id(value))
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return f"{_name(type(value))}({value.dtype}, {list(value.shape)}, {_digest(content)})"
    if type(value) in (list, tuple, torch.Size):
        return f"[{', '.join(_told(each, above) for each in value)}]"
    if type(value) in (set, frozenset):
        return f"{{{', '.join(sorted(_told(each, above) for each in value))}}}"
    if type(value) is dict:
        return f"{{{', '.join(f'{_told(key, above)}: {_told(each, above)}' for key, each in value.items())}}}"
    if isinstance(value, CodeType):
        return _digest(repr((value.co_code, value.co_names, _told(value.co_consts, above))).encode())
    if isinstance(value, FunctionType):
        return _function(value, above)
    return _instance(value, above)


def _function(value: FunctionType, above: tuple[int, ...]) -> str:
    """Return a function's name, and what it is made of where its name does not say which it is."""
    if "<" not in value.__qualname__:
        return _name(value)
    enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
    return f"{_name(value)}({_told([value.__code__, value.__defaults__, value.__kwdefaults__, enclosed], above)})"


def _instance(value: Any, above: tuple[int, ...]) -> str:
    """Return what pickle would keep of an object."""
    reduced: Any = (copyreg.dispatch_table.get(type(value)) or (lambda each: each.__reduce_ex__(4)))(value)
    if isinstance(reduced, str):  # the name of what a module holds, such as a dtype
        return f"{getattr(value, '__module__', None) or type(value).__module__}.{reduced}"
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]  # typeshed lacks it
        make, arguments = arguments[0], arguments[1:]
    told = [_told(each, above) for each in arguments]
    told += [f"{name}={_told(each, above)}" for name, each in _settings(value, state).items()]
    told += [_told(list(each), above) for each in (items, pairs) if each is not None]
    return f"{_told(make, above)}({', '.join(told)})"


def _settings(value: Any, state: Any) -> dict[str, Any]:
    """Return an object's attributes by name: of a module its tensors and parts, but not what all modules keep."""
    if isinstance(state, tuple) and len(state) == 2 and all(each is None or isinstance(each, dict) for each in state):
        state = {**(state[0] or {}), **(state[1] or {})}  # attributes in slots come second
    if not isinstance(state, dict):
        return {} if state is None else {"state": state}
    kind = type(value)
    derived = {name for name in state if isinstance(getattr(kind, name, None), cached_property)}
    if kind.__module__.startswith("torchvision."):
        derived |= {name for name in state if name.startswith("_")}
    registered = REGISTERED if isinstance(value, nn.Module) else ()
    derived |= INTERNAL if registered else set()
    own = {name: each for name, each in state.items() if name not in derived}
    for name in registered:
        own |= state.get(name, {})
    return own


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
