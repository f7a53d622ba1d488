"""What an experiment will cost: computed from the parts of a step, and held against steps that are measured."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdmm import config as configuration
from kdmm.config import Config
from kdmm.errors import InputError
from kdmm.modules import DistillationModule
from kdmm.outputs import Batch
from kdmm.runs import build
from kdmm.runs.caching import Written
from kdmm.runs.plan import Plan
from kdmm.runs.plan_lines import AT_HAND, RUNNING, Storing, Way, lines_of
from kdmm.runs.quiet import quiet
from kdmm.runs.step_costs import Heard, KeptAnswers, StepCosts
from kdmm.runs.step_memory import StepMemory
from kdmm.runs.step_times import Aside, measure_steps
from kdmm.runs.store_size import store_tables
from kdmm.teachers import Precomputed, StoredTeacher, Teacher
from kdmm.teachers.cache.finishing import MANIFEST

__all__ = ["plan"]


def plan(config: str | Path, overrides: Sequence[str] = (), *, steps: int = 20, allow: Sequence[str] = ()) -> Plan:
    """Say what an experiment will cost on one device, beside some steps that are measured; nothing is written.

    A step is planned as the sum of its parts, each timed alone on the first batch, and its memory as the tensors that
    are alive in one step, beside what PyTorch's allocator gives in another. It is measured with the teacher running,
    whatever would answer before training, and with the same answers at hand. Where only a store answers (`Cached`
    without its teacher) nothing runs; a teacher that ends with training (`MovingAverage`) has no answers to keep.
    Validation is left out.

    Args:
        config: the YAML file of a distillation.
        overrides: ``key=value`` strings that change single settings.
        steps: to be measured, each of as many batches as accumulate gradients.
        allow: packages of your own that the configuration may build from.

    Raises:
        InputError: the experiment distils nothing.
    """
    if steps < 1:
        raise InputError(f"steps: {steps} given; give at least 1.")
    allowed = tuple(allow)
    settings = configuration.load(config, overrides, allowed)
    with quiet():
        module, data = build.build(settings, allowed)
        if not isinstance(module, DistillationModule):
            raise InputError(
                f"module: {type(module).__name__} has no teacher, so there is nothing to plan. Give the file of a "
                "DistillationModule."
            )
        named = module.teacher
        if named.outlasts_training:
            module.teacher = named.online()
            data.use(module.preprocess)
        storing = _storing(named, module.teacher, data)
        del named  # so that the models that run go when they have answered
        costs = StepCosts(storing.tables)
        ways = dict(_ways(settings, module, data, steps, allowed, costs))
    return Plan(tuple(lines_of(costs, ways, storing)), steps, next(iter(ways.values())).times.where)


def _ways(
    settings: Config, module: DistillationModule, data: Any, steps: int, allow: tuple[str, ...], costs: StepCosts
) -> Iterator[tuple[str, Way]]:
    """Measure steps with the teacher running, if it does, and with its answers at hand, if they can be kept."""

    def measured(aside: Aside | None) -> Way:
        memory = StepMemory()
        times = measure_steps(settings, module, data, steps, allow, [memory], aside)
        return Way(times, memory)

    if not module.teacher.models:
        yield AT_HAND, measured(costs.look)
        return
    heard = Heard(module)

    def aside(trainer: Any, module: Any, batch: Batch) -> None:
        heard.keep()
        costs.look(trainer, module, batch)

    yield RUNNING, measured(aside)
    heard.end(module)
    if module.teacher.outlasts_training:
        module.teacher = KeptAnswers(heard.answers, list(module.teacher.preprocesses))
        data.use(module.preprocess)
        gc.collect()  # the models that ran
        yield AT_HAND, measured(None)


def _storing(named: Teacher, teacher: Teacher, data: Any) -> Storing:
    """Find out what a store holds, and would hold.

    Args:
        named: the teacher of the experiment.
        teacher: the running one, if one runs.
        data: the DataModule.
    """
    there = None
    if isinstance(named, StoredTeacher) and (not named.running or (named.folder / MANIFEST).is_file()):
        there = Written.of(named.folder).size_bytes
    if not teacher.models:
        return Storing([], "the store does not say how long it took, and no teacher runs.", there)
    try:
        tables = store_tables(teacher, data, named.outputs if isinstance(named, Precomputed) else ())
        return Storing(tables, "" if tables else "the data have nothing that the teacher reads.", there)
    except InputError as error:
        return Storing([], str(error), there)
