"""Checking a whole ``_target_`` tree against the signatures it names, and building it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdmm.errors import InputError, nearest
from kdmm.targets.allow import TargetError, refused_argument, resolve
from kdmm.targets.hints import UNKNOWN, Made, convert, describe, mismatches
from kdmm.targets.problem import Problem, at, closest, together
from kdmm.targets.signature import hint_of, made_by, name_of, parameters_of

__all__ = ["arguments_of", "build", "call", "check", "check_call"]

SPECIAL = ("_target_", "_partial_")
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
WRONG_INPUT = (ValueError, TypeError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What a constructor raises when an argument is at fault."""


def check(tree: Any, path: str = "", allow: Sequence[str] = (), hint: Any = Any) -> list[Problem]:
    """Return everything that is wrong in a tree, without building anything.

    Arguments are held against the signature. What cannot be seen there a class says itself, if it wants to, by a static
    or class method ``check_arguments(arguments)`` that raises `InputError`; it is asked where they fit the signature. A
    derived class that has an ``__init__`` of its own does not inherit it.

    Args:
        tree: mappings, lists and scalars.
        path: where the tree stands in the config.
        allow: packages that may be named besides kdmm's own list.
        hint: what the tree should make.
    """
    walk = _Walk(allow)
    made = walk.stand_in(tree, path)
    return walk.problems + mismatches(made, hint, path)


def check_call(
    target: Callable[..., Any], arguments: Mapping[str, Any], path: str, allow: Sequence[str] = ()
) -> list[Problem]:
    """Return everything that is wrong in the arguments of a target that the caller has chosen."""
    walk = _Walk(allow)
    walk.arguments(target, name_of(target), arguments, path)
    return walk.problems


def build(tree: Any, path: str = "", allow: Sequence[str] = ()) -> Any:
    """Check a tree and build it: each node becomes what its target returns, its arguments first.

    Raises:
        InputError: the tree has problems (all are listed), or a constructor refuses its arguments.
    """
    problems = check(tree, path, allow)
    if problems:
        raise together(problems)
    return _build(tree, path, allow)


def call(target: Callable[..., Any], arguments: Mapping[str, Any], path: str, allow: Sequence[str] = ()) -> Any:
    """Check and build the arguments, and call a target that the caller has chosen.

    Raises:
        InputError: as `build`.
    """
    problems = check_call(target, arguments, path, allow)
    if problems:
        raise together(problems)
    return _call(target, arguments, path, allow)


class _Walk:
    """Goes through a tree and gathers its problems."""

    def __init__(self, allow: Sequence[str]) -> None:
        self.allow = allow
        self.problems: list[Problem] = []

    def stand_in(self, tree: Any, path: str) -> Any:
        """Return the tree with each node replaced by what it will make."""
        if isinstance(tree, Mapping):
            for key, value in tree.items():
                self._key(key, value, path)
            if "_target_" in tree:
                return self._node(tree, path)
            return {key: self.stand_in(value, at(path, key)) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self.stand_in(value, at(path, i)) for i, value in enumerate(tree)]
        return tree

    def arguments(
        self, target: Callable[..., Any], name: str, arguments: Mapping[Any, Any], path: str, partial: bool = False
    ) -> bool:
        """Return whether arguments fit the signature of ``target``, which the config calls ``name``."""
        made = {key: self.stand_in(value, at(path, key)) for key, value in arguments.items()}
        before = len(self.problems)  # what is wrong inside the arguments is theirs
        parameters = parameters_of(target)
        if parameters is None:
            return True
        by_name = {key: parameter for key, parameter in parameters.items() if parameter.kind in BY_NAME}
        takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
        for key, value in made.items():
            if key in by_name:
                if not _equal(value, by_name[key].default):
                    self.problems += mismatches(value, hint_of(target, by_name[key]), at(path, key))
            elif not takes_any or not isinstance(key, str):
                accepted = closest(str(key), by_name) or "no arguments"
                found = f"unknown argument of {name}"
                self.problems.append(Problem(at(path, key), found, accepted, nearest(str(key), by_name)))
        for key, parameter in by_name.items():
            if not partial and parameter.default is inspect.Parameter.empty and key not in arguments:
                found = f"missing argument of {name}"
                self.problems.append(Problem(at(path, key), found, describe(hint_of(target, parameter))))
        return len(self.problems) == before

    def _key(self, key: Any, value: Any, path: str) -> None:
        if isinstance(key, str) and key[:1] == key[-1:] == "_" and key not in SPECIAL:
            self.problems.append(Problem(at(path, key), "unknown key", ", ".join(SPECIAL), nearest(key, SPECIAL)))
        if reason := refused_argument(key, value):
            self.problems.append(Problem(at(path, key), reason))

    def _node(self, node: Mapping[Any, Any], path: str) -> Made:
        partial = node.get("_partial_", False)
        self.problems += mismatches(partial, bool, at(path, "_partial_"))
        arguments = arguments_of(node)
        try:
            target = resolve(node["_target_"], at(path, "_target_"), self.allow)
        except TargetError as error:
            self.problems.append(error.problem)
            self.stand_in(arguments, path)
            return UNKNOWN
        if inspect.isabstract(target):
            found = f"{node['_target_']!r} is abstract"
            self.problems.append(Problem(at(path, "_target_"), found, "a class derived from it"))
        fits = self.arguments(target, node["_target_"], arguments, path, partial is True)
        own_check = _own_check(target)
        if fits and not partial and own_check is not None:
            try:
                own_check(arguments)
            except InputError as error:
                self.problems.append(Problem(path, str(error)))
        return made_by(target, partial is True)


def _own_check(target: Any) -> Callable[[Mapping[Any, Any]], None] | None:
    """Return a class's ``check_arguments``, unless it comes from behind the ``__init__`` whose arguments are given."""
    for each in getattr(target, "__mro__", ()):
        if "check_arguments" in vars(each):
            own: Callable[[Mapping[Any, Any]], None] = target.check_arguments
            return own
        if "__init__" in vars(each):
            return None
    return None


def _equal(value: Any, default: Any) -> bool:
    """Whether a value is the default itself, which is right whatever the hint says."""
    return type(value) is type(default) and isinstance(value, bool | int | float | str | None) and value == default


def arguments_of(node: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return what a node passes to its target."""
    return {key: value for key, value in node.items() if key not in SPECIAL}


def _build(tree: Any, path: str, allow: Sequence[str]) -> Any:
    if isinstance(tree, Mapping):
        if "_target_" in tree:
            target = resolve(tree["_target_"], at(path, "_target_"), allow)
            return _call(target, arguments_of(tree), path, allow, tree.get("_partial_", False))
        return {key: _build(value, at(path, key), allow) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_build(value, at(path, i), allow) for i, value in enumerate(tree)]
    return tree


def _call(
    target: Callable[..., Any], arguments: Mapping[str, Any], path: str, allow: Sequence[str], partial: bool = False
) -> Any:
    parameters = parameters_of(target) or {}
    built = {key: _build(value, at(path, key), allow) for key, value in arguments.items()}
    if "allow" in parameters and target.__module__.startswith("kdmm."):  # a model that it loads builds no more than we
        built["allow"] = tuple(allow)
    for key in built.keys() & parameters.keys():
        built[key] = convert(built[key], hint_of(target, parameters[key]))
    if partial:
        return functools.partial(target, **built)
    try:
        return target(**built)
    except WRONG_INPUT as error:
        raise InputError(f"{path or name_of(target)}: {error}") from error
