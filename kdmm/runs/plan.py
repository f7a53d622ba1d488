"""The table of a plan: each quantity as planned and as measured."""

from __future__ import annotations

from dataclasses import dataclass

from kdmm.analysis.tables import NOTHING, Table

__all__ = ["Line", "Plan"]


@dataclass(frozen=True)
class Line:
    """One quantity, as planned and as measured; ``None``: not known.

    Args:
        what: it is.
        unit: of the numbers.
        planned: from the parts of a step.
        measured: over several steps.
        note: why something is not known, or what the numbers stand for.
    """

    what: str
    unit: str
    planned: float | None = None
    measured: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """What a distillation will cost.

    Args:
        lines: the quantities.
        steps: how many were measured.
        where: the device.
    """

    lines: tuple[Line, ...]
    steps: int
    where: str

    def value(self, what: str) -> Line:
        """Return the line of a quantity, the first of that name."""
        return next(line for line in self.lines if line.what == what)

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        rows = [(f"{each.what}, {each.unit}", _shown(each.planned), _shown(each.measured)) for each in self.lines]
        title = f"planned from the parts of a step, and measured over {self.steps} steps on one {self.where}"
        table = Table(title, ("what", "planned", "measured"), tuple(rows)).to_markdown()
        notes = [f"- {each.what}: {each.note}" for each in self.lines if each.note]
        return "\n".join([table, "", *notes]) if notes else table


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
