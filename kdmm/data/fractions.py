"""Parts of a train split for validation and testing, chosen by what a sample is and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from kdmm.data.source import Split
from kdmm.data.split_files import split_named
from kdmm.errors import InputError
from kdmm.views import stable_hash

__all__ = ["Fractions"]

RANGE = 2**63  # of `stable_hash`


class Fractions:
    """Parts of a train split.

    Args:
        given: the parts of ``val`` and ``test``; ``None`` or empty: there are none.
        setting: what they are set by, for messages.
        salt: makes the choice a kind of source's own.

    Raises:
        InputError: they are no parts.
    """

    def __init__(self, given: Mapping[str, float | int] | None, setting: str, salt: str) -> None:
        self.salt = salt
        self._parts = {split_named(name, setting): float(part) for name, part in (given or {}).items()}
        parts = self._parts.values()
        if "train" in self._parts or not all(0 < part < 1 for part in parts) or sum(parts) >= 1:
            raise InputError(
                f"{setting}: {dict(given or {})} given; give parts of the train split above 0 for val, test or both, "
                "together below 1, such as {val: 0.1, test: 0.1}."
            )

    def split(self, of: str) -> Split:
        """Return the split of the samples of which ``of`` says what they are."""
        place = stable_hash(self.salt, of) / RANGE
        val, test = self._parts.get("val", 0), self._parts.get("test", 0)
        return "val" if place < val else "test" if place < val + test else "train"
