"""``_target_`` trees: which targets are allowed, whether their arguments fit, and building them.

A tree is what YAML gives: mappings, lists and scalars. A mapping with ``_target_`` is a node: the dotted name of a
class or function, with its arguments as siblings. ``_partial_: true`` makes a ``functools.partial`` of it instead of
calling it.
"""

from kdmm.targets.allow import NAMESPACES, ROOMS, resolve
from kdmm.targets.catalogue import Component, components
from kdmm.targets.described import Described, node
from kdmm.targets.hints import UNKNOWN, Made, describe, mismatches
from kdmm.targets.problem import Problem, together
from kdmm.targets.reads import check_reads, gives
from kdmm.targets.tree import build, call, check, check_call

__all__ = [
    "NAMESPACES",
    "ROOMS",
    "UNKNOWN",
    "Component",
    "Described",
    "Made",
    "Problem",
    "build",
    "call",
    "check",
    "check_call",
    "check_reads",
    "components",
    "describe",
    "gives",
    "mismatches",
    "node",
    "resolve",
    "together",
]
