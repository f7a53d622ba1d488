"""Classes as tables write them: by name or by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kdmm.errors import InputError, nearest

__all__ = ["NONE", "Classes", "class_number", "is_none", "whole_number"]

NONE = -1  # what Hugging Face's data sets write for no class


class Classes:
    """The classes of a column.

    Args:
        names: in the order of their numbers.
        setting: what they are set by, for messages.

    Raises:
        InputError: a name stands twice.
    """

    def __init__(self, names: Sequence[str], setting: str = "class_names") -> None:
        self.names = tuple(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        if len(self._numbers) < len(self.names):
            raise InputError(f"{setting}: {list(names)} names a class twice. Name each once.")

    @classmethod
    def found(cls, values: Iterable[Any]) -> Classes:
        """Return the classes that values name: whole numbers by size, other names by the alphabet."""
        names = {str(value).strip() for value in values if not is_none(value)}
        numbers = all(name.isdecimal() for name in names)
        return cls(sorted(names, key=int) if numbers else sorted(names))

    def number(self, value: Any, origin: str) -> int:
        """Return the number of the class that a value names, or states.

        Raises:
            InputError: it does neither.
        """
        text = str(value).strip()
        if text in self._numbers:
            return self._numbers[text]
        if text.isdecimal() and int(text) < len(self.names):
            return int(text)
        raise InputError(
            f"{origin}: the class is {value!r}; the classes are {', '.join(self.names)}.{nearest(text, self.names)}"
        )


def class_number(value: Any, column: str, origin: str, classes: Classes | None, unlabelled: bool) -> int:
    """Return the class number of a cell, -1 for no class.

    Args:
        value: a class's name or number.
        column: its name, for messages.
        origin: of the row.
        classes: the column's; ``None``: it holds numbers alone.
        unlabelled: whether a cell may be without a class.

    Raises:
        InputError: it is no class.
    """
    if is_none(value):
        if unlabelled:
            return NONE
        raise InputError(f"{origin}: the label column {column!r} holds {value!r}. Fill it, or set `unlabelled: true`.")
    if classes is not None:
        return classes.number(value, origin)
    number = whole_number(value)
    if number is None:
        raise InputError(
            f"{origin}: the label column {column!r} holds {value!r}; a class number, 0 or more, is needed. For classes "
            "by name set `class_names`."
        )
    return number


def whole_number(value: Any) -> int | None:
    """Return the whole number, 0 or more, that a value states; ``None``: it states none."""
    text = str(value).strip().removesuffix(".0")  # pandas writes whole numbers so where a column has empty cells
    return int(text) if text.isdecimal() else None


def is_none(value: Any) -> bool:
    """Return whether a cell says that there is no class: it is empty, or -1."""
    return value is None or str(value).strip() in ("", str(NONE))
