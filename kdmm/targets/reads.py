"""Whether the terms of an objective read what the models give, known before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdmm.errors import nearest
from kdmm.targets.allow import TargetError, resolve
from kdmm.targets.problem import Problem, at
from kdmm.targets.signature import parameters_of
from kdmm.targets.tree import arguments_of, check

__all__ = ["check_reads", "gives"]

ROLES = ("student", "teacher")


def check_reads(module: Any, path: str = "module", allow: Sequence[str] = ()) -> list[Problem]:
    """Return the terms of ``module.objective.terms`` that read what their model does not give.

    A term's class says what it reads by ``reads(arguments) -> (student names, teacher names)``, a model's node what it
    gives (see `gives`). Where either is silent, nothing is known and nothing is reported. Terms read the model in
    training as their student: the module's class names it in ``role``, ``student`` if it does not. A module that trains
    its ``teacher``, or whose signature has none, leaves its terms nothing to read from a teacher.

    Args:
        module: the node of a module with ``objective``, and its models under ``student`` and ``teacher``.
        path: where it stands in the config.
        allow: packages that may be named besides kdmm's own list.
    """
    objective = module.get("objective") if isinstance(module, Mapping) else None
    terms = objective.get("terms") if isinstance(objective, Mapping) else None
    if not isinstance(terms, Mapping):
        return []
    trained = getattr(_target(module, allow), "role", "student")
    lacks = trained == "teacher" or not _takes(module, "teacher", allow)
    given = (gives(module.get(trained), allow), frozenset() if lacks else gives(module.get("teacher"), allow))
    if isinstance(module.get("students"), Mapping):  # each is the others' teacher
        given = (_given_by_all(module["students"].values(), allow),) * 2
    problems = []
    for name, node in terms.items():
        where = at(path, f"objective.terms.{name}")
        term = _target(node, allow)
        if hasattr(term, "reads") and not check(node, where, allow):
            problems += _unmet(term, node, where, given)
    return problems


def gives(node: Any, allow: Sequence[str] = ()) -> frozenset[str] | None:
    """Return the names that a model's node says it gives; None if it does not say.

    Its class or function says so by the attribute ``gives``: a frozenset, or, where it depends on the arguments, a
    class method ``gives(arguments)`` that returns one or None.
    """
    names = getattr(_target(node, allow), "gives", None)
    given: frozenset[str] | None = names(arguments_of(node)) if callable(names) else names
    return given


def _given_by_all(nodes: Iterable[Any], allow: Sequence[str]) -> frozenset[str] | None:
    given = [gives(node, allow) for node in nodes]
    known = [names for names in given if names is not None]
    return frozenset.intersection(*known) if known and len(known) == len(given) else None


def _unmet(term: Any, node: Mapping[str, Any], path: str, given: Sequence[frozenset[str] | None]) -> list[Problem]:
    defaults = {
        name: parameter.default
        for name, parameter in (parameters_of(term) or {}).items()
        if parameter.default is not inspect.Parameter.empty
    }
    read = term.reads({**defaults, **arguments_of(node)})
    problems = []
    for role, names, known in zip(ROLES, read, given, strict=True):
        if known is None:
            continue
        for name in sorted(names - known):
            if not name.startswith("present/"):
                listed = f"the {role} gives {', '.join(sorted(known))}" if known else f"there is no {role}"
                problems.append(Problem(path, f"reads {role}.{name}; {listed}", nearest=nearest(name, known)))
    return problems


def _takes(node: Mapping[str, Any], name: str, allow: Sequence[str]) -> bool:
    """Whether the target of a node takes an argument of this name, as far as is known."""
    target = _target(node, allow)
    parameters = parameters_of(target) if target else None
    if not parameters:
        return True
    return name in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def _target(node: Any, allow: Sequence[str]) -> Callable[..., Any] | None:
    if not isinstance(node, Mapping) or "_target_" not in node:
        return None
    try:
        return resolve(node["_target_"], "", allow)
    except TargetError:  # reported by `check`
        return None
