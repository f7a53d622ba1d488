"""From what was counted and measured to the lines of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdmm.runs.plan import Line
from kdmm.runs.step_costs import StepCosts
from kdmm.runs.step_memory import StepMemory
from kdmm.runs.step_times import StepTimes
from kdmm.runs.store_size import TableSize

__all__ = ["AT_HAND", "RUNNING", "Storing", "Way", "lines_of"]

RUNNING, AT_HAND = "teacher running", "answers at hand"


@dataclass(frozen=True)
class Way:
    """Steps in one of the two ways.

    Args:
        times: as they were measured.
        memory: as it was counted and measured.
    """

    times: StepTimes
    memory: StepMemory


@dataclass(frozen=True)
class Storing:
    """What a store would hold.

    Args:
        tables: of it.
        why_not: the answers cannot be stored.
        there: bytes in the store that the experiment names; ``None``: there is none.
    """

    tables: Sequence[TableSize]
    why_not: str
    there: int | None


def lines_of(costs: StepCosts, ways: Mapping[str, Way], storing: Storing) -> list[Line]:
    """Return the lines of a plan.

    Args:
        costs: of the parts of a step.
        ways: how steps were measured.
        storing: what a store would hold.
    """
    return [*_operations(costs), *_times(costs, ways), *_storing(costs, ways, storing), *_memory(ways)]


def _operations(costs: StepCosts) -> Iterator[Line]:
    student, teacher, unit = costs.student, costs.teacher, "GFLOP a step"
    yield Line("student, parameters", "millions", student.parameters / 1e6)
    yield Line("student, trained parameters", "millions", student.trained / 1e6)
    yield Line("student, forward and backward", unit, costs.batches * student.flops / 1e9)
    if teacher is not None:
        yield Line("teacher, parameters", "millions", teacher.parameters / 1e6)
        yield Line("teacher, forward", unit, costs.batches * teacher.flops / 1e9)
    yield Line("loss, forward and backward", unit, costs.batches * costs.objective.flops / 1e9)


def _times(costs: StepCosts, ways: Mapping[str, Way]) -> Iterator[Line]:
    first = next(iter(ways.values())).times
    parts = {
        "student": costs.batches * costs.student.seconds,
        "teacher": _teacher_s(costs),
        "loss": costs.batches * costs.objective.seconds,
        "optimizer": first.optimizer_s,
    }
    for name, seconds in parts.items():
        if seconds:
            yield Line(f"a step's {name}", "ms", 1e3 * seconds)
    for name, way in ways.items():
        found = way.times
        planned = sum(parts.values()) - (0 if name == RUNNING else parts["teacher"])
        yield Line(f"step, {name}", "ms", 1e3 * planned, 1e3 * found.step_s)
        yield Line(f"wait for its data, {name}", "ms", None, 1e3 * found.data_s)
        yield Line(f"epoch, {name}", "s", (planned + found.data_s) * found.steps_an_epoch, found.epoch_s)


def _storing(costs: StepCosts, ways: Mapping[str, Way], storing: Storing) -> Iterator[Line]:
    tables, why_not = storing.tables, storing.why_not
    if storing.there is not None:
        yield Line("answers in the store", "MB", None, storing.there / 1e6)
    for dtype in ("float32", "float16"):
        size = sum(table.bytes_in(dtype) for table in tables) / 1e6 if tables else None
        yield Line("answers to store", f"MB in {dtype}", size)
    writing = None
    if tables:
        online = ways[RUNNING].times
        wait = online.data_s / costs.batches / max(1, costs.media)  # of a medium, which is read for a store as well
        unseen = [table.name for table in tables if table.name not in costs.row_s]
        why_not = f"the first batch asks nothing of {', '.join(unseen)}." if unseen else why_not
        if not unseen:
            writing = sum(table.rows * (costs.row_s[table.name] + wait * table.is_media) for table in tables)
    yield Line("storing them", "s", writing, None, why_not)
    planned = measured = None
    note = ""
    if writing is not None:
        note = "of what is measured, the epochs are, and the time to store is planned."
        epoch, epoch_after = (ways[way].times.epoch_s for way in (RUNNING, AT_HAND))
        saved = _teacher_s(costs) * online.steps_an_epoch
        planned = writing / saved if saved else None
        measured = writing / (epoch - epoch_after) if epoch > epoch_after else None
    yield Line("storing pays after", "epochs", planned, measured, note)


def _memory(ways: Mapping[str, Way]) -> Iterator[Line]:
    first = next(iter(ways.values())).memory.tensors
    parts = {
        "weights": first.weights,
        "teacher's weights": first.teacher,
        "gradients": first.gradients,
        "optimizer's states": first.states,
        "batch, and what is kept for the backward pass": first.rest,
    }
    for name, size in parts.items():
        yield Line(name, "MB", size / 1e6)
    for name, way in ways.items():
        yield Line(f"peak memory, {name}", "MB", way.memory.tensors.peak / 1e6, way.memory.allocated / 1e6)


def _teacher_s(costs: StepCosts) -> float:
    return 0.0 if costs.teacher is None else costs.batches * costs.teacher.seconds
