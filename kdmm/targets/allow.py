"""Which classes and functions a YAML may name, so that a YAML from a stranger runs nothing."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from kdmm.errors import InputError
from kdmm.targets.problem import Problem, together

__all__ = ["NAMESPACES", "ROOMS", "TargetError", "refused_argument", "resolve"]

ROOMS = (
    "kdmm.callbacks",
    "kdmm.data",
    "kdmm.losses",
    "kdmm.metrics",
    "kdmm.models",
    "kdmm.modules",
    "kdmm.teachers",
    "kdmm.views",
)
"""The parts of kdmm that hold components. The others (run, config, cli) write files, so no YAML may name them."""

NAMESPACES = (
    "torch.nn",
    "torch.optim",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
    "torchvision.transforms.v2",
    "torchmetrics",
    "timm",
    "open_clip",
    "transformers",
)
"""Other people's namespaces, from which only components and `FUNCTIONS` are taken."""

COMPONENTS = frozenset(
    {
        "torch.nn.modules.module.Module",
        "torch.optim.optimizer.Optimizer",
        "torch.optim.lr_scheduler.LRScheduler",
        "lightning.pytorch.callbacks.callback.Callback",
        "lightning.pytorch.loggers.logger.Logger",
        "lightning.pytorch.profilers.profiler.Profiler",
        "lightning.pytorch.strategies.strategy.Strategy",
        "transformers.configuration_utils.PretrainedConfig",  # transformers 4
        "transformers.configuration_utils.PreTrainedConfig",  # transformers 5
        "transformers.tokenization_utils_base.PreTrainedTokenizerBase",
    }
)
"""What a class of another's namespace must derive from. Named by text: importing them here would cost seconds."""

FUNCTIONS = frozenset({"timm.models._factory.create_model", "open_clip.factory.create_model"})
"""The functions taken from others' namespaces, by where they are defined. Others load pickles or start processes."""

SCHEDULES = "transformers.optimization.get_"
"""Learning rate schedules, which transformers writes as functions."""

REFUSED = ("torchmetrics.multimodal",)
"""Inside `NAMESPACES`, but loads models with ``trust_remote_code=True`` by their repository's name (CLIPScore)."""

REFUSED_ARGUMENTS = ("trust_remote_code", "allow_all_kernels")
"""Arguments by which transformers runs code from a model repository."""


class TargetError(InputError):
    """A target that is unknown or not allowed."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(together([problem])))
        self.problem = problem


def refused_argument(name: object, value: object) -> str:
    """Return why an argument of this name and value is refused, or an empty string."""
    if any(refused in str(name) for refused in REFUSED_ARGUMENTS):
        return "is refused: kdmm runs no code from model repositories; remove it"
    if name == "allow":
        return "is refused: a YAML cannot allow packages for itself; remove it and give --allow PACKAGE"
    if name == "weights_only" and value is not True:
        return "is refused: a pickle can run any code; remove it or set it to true"
    return ""


def resolve(target: object, path: str = "", allow: Sequence[str] = ()) -> Callable[..., Any]:
    """Return the class or function that ``target`` names.

    The name is split into a module, which is imported, and one attribute of it: there is no walk over attributes that
    could leave the package. What is found must also be defined inside an allowed namespace, so re-exports do not count.

    Args:
        target: ``package.module.Name``.
        path: where it stands in the config, for the message.
        allow: packages that the caller trusts besides `ROOMS` and `NAMESPACES`.

    Raises:
        TargetError: it is unknown, private, or not allowed; the message holds the nearest name that is.
    """
    try:
        return _look_up(target, allow)
    except _RefusalError as refusal:
        found, accepted = refusal.args
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # looking for a name may import what is deprecated
            nearest = _mended(target, allow) if isinstance(target, str) else ""
        hint = f" Did you mean {nearest!r}?" if nearest else ""
        raise TargetError(Problem(path, found, accepted, hint)) from None


class _RefusalError(Exception):
    """What was found, and what is accepted."""


def _look_up(target: object, allow: Sequence[str]) -> Callable[..., Any]:
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise _RefusalError(f"found {target!r}", "the dotted name of a class or function")
    if any(part.startswith("_") for part in target.split(".")):
        raise _RefusalError(f"{target!r} is private", "public names")
    room, _, name = target.rpartition(".")
    if not _inside(room, (*ROOMS, *NAMESPACES, *allow)):
        raise _RefusalError(
            f"{target!r} is not in an allowed namespace",
            ", ".join((*ROOMS, *NAMESPACES, *allow)) + ", and packages named with --allow PACKAGE",
        )
    module = _import(room)
    if module is None or not _has(module, name):
        missing = f"no {name!r} in {room}" if module else f"no module {room!r}"
        raise _RefusalError(f"unknown target {target!r}: {missing}", "")
    found = getattr(module, name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise _RefusalError(f"{target!r} is a {type(found).__name__}", "a class or function")
    home = f"{found.__module__}"
    if _inside(home, allow):
        return found
    if _inside(home, ROOMS):
        if name not in getattr(module, "__all__", ()):
            raise _RefusalError(f"{target!r} is not public", f"the names in {room}.__all__")
        if not name[0].isupper():  # kdmm writes functions that make a component like classes; others may touch files
            raise _RefusalError(f"{target!r} is a helper", "classes, and functions written like one")
        return found
    if not _inside(home, NAMESPACES) or _inside(home, REFUSED):
        raise _RefusalError(f"{target!r} is defined in {home}, which is not an allowed namespace", "")
    if not _is_component(found):
        raise _RefusalError(
            f"{target!r} is not a component",
            "modules, optimizers, schedulers, metrics, callbacks, loggers, strategies, profilers, model configs, "
            "tokenizers, timm.create_model, open_clip.create_model",
        )
    return found


def _inside(name: str, namespaces: Iterable[str]) -> bool:
    return any(name == namespace or name.startswith(f"{namespace}.") for namespace in namespaces)


def _is_component(found: Callable[..., Any]) -> bool:
    if inspect.isclass(found):
        return any(f"{base.__module__}.{base.__qualname__}" in COMPONENTS for base in found.__mro__)
    defined = f"{found.__module__}.{found.__qualname__}"
    return defined in FUNCTIONS or defined.startswith(SCHEDULES)


def _import(name: str) -> ModuleType | None:
    """Import a module; None if there is none of this name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and _inside(name, [error.name]):
            return None
        raise _RefusalError(f"{name} needs the package {error.name!r}, which is not installed", "") from None
    except ImportError as error:
        raise _RefusalError(f"{name} cannot be imported: {error}", "") from None


def _has(module: ModuleType, name: str) -> bool:
    try:
        return hasattr(module, name)
    except ImportError as error:  # a module that imports its parts when they are asked for
        raise _RefusalError(f"{module.__name__}.{name} cannot be imported: {error}", "") from None


def _mended(target: str, allow: Sequence[str]) -> str:
    """Return the nearest allowed target: each unknown part becomes its nearest sibling; else kdmm's nearest name."""
    mended = ""
    for part in target.split("."):
        names = _names(mended, allow)
        close = [part] if part in names else difflib.get_close_matches(part, names, n=1)
        if not close:
            break
        mended = f"{mended}.{close[0]}" if mended else close[0]
    if mended.count(".") == target.count(".") and _is_allowed(mended, allow):
        return mended
    own = {name: f"{room}.{name}" for room in ROOMS for name in _public(room) if _is_allowed(f"{room}.{name}", allow)}
    close = difflib.get_close_matches(target.rpartition(".")[2], own, n=1, cutoff=0.75)
    return own[close[0]] if close else ""


def _is_allowed(target: str, allow: Sequence[str]) -> bool:
    try:
        _look_up(target, allow)
    except _RefusalError:
        return False
    return True


def _public(room: str) -> list[str]:
    try:
        return list(getattr(_import(room), "__all__", ()))
    except _RefusalError:
        return []


def _names(room: str, allow: Sequence[str]) -> list[str]:
    """Return the public names inside a module; above the allowed namespaces, the next parts of their names."""
    namespaces = (*ROOMS, *NAMESPACES, *allow)
    if not _inside(room, namespaces):
        head = f"{room}." if room else ""
        return [name[len(head) :].split(".")[0] for name in namespaces if name.startswith(head)]
    try:
        module = _import(room)
    except _RefusalError:
        return []
    if module is None:
        return []
    parts = [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", []))]
    return sorted(name for name in {*dir(module), *parts} if not name.startswith("_"))
