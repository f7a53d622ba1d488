"""What a running teacher says of what it reads, and which of its outputs depend on which modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models import Preprocess
from kdmm.outputs import Outputs
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.keys import TEXTS
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.table import VALID, Column
from kdmm.teachers.teacher import Running
from kdmm.views import EVAL_VIEW

__all__ = ["answer", "columns_of", "inputs_of"]

SCALES = ("logit_scale", "logit_bias")
SIZE = "image_size"
ATTENTION = 4  # dimensions: (B, heads, T, T)
ROUNDING = 0.01  # relative; bfloat16's is 0.004
SHORT, LONG = "a", "a dog and a cat " * 8  # two texts whose numbers of tokens differ, unless all texts have as many


def answer(teacher: Running, inputs: Mapping[str, Any]) -> Outputs:
    """Return what a teacher says of N samples that have certain modalities and no others.

    Args:
        teacher: that runs.
        inputs: as `inputs_of` gives them.
    """
    modalities = teacher.preprocess.modalities
    first: Tensor = next(inputs[each] for each in modalities if each in inputs)
    flags = {
        f"present/{each}": torch.full((len(first),), each in inputs, dtype=torch.bool, device=first.device)
        for each in modalities
    }
    outputs: Outputs = teacher({**inputs, **flags})
    return outputs


def columns_of(
    part: str,
    teacher: Running,
    data: CacheSource,
    settings: Settings,
) -> tuple[dict[tuple[str, ...], dict[str, Column]], dict[str, Tensor], set[str]]:
    """Return a teacher's columns by the modalities that they depend on, its scales, and the names of all it says.

    It is asked about one sample of each modality alone, and about one that has all it reads: what is said of that one
    only depends on all of them.

    Args:
        part: the teacher's name in a batch.
        teacher: that runs.
        data: the DataModule.
        settings: which splits are looked at, and what is kept, and how.

    Raises:
        InputError: one cannot be kept.
    """
    preprocess = teacher.preprocess
    alone = [(modality,) for modality in preprocess.modalities]
    together = [preprocess.modalities] if len(alone) > 1 else []
    columns: dict[tuple[str, ...], dict[str, Column]] = {}
    scales: dict[str, Tensor] = {}
    seen: set[str] = set()
    for reads in (*alone, *together):
        inputs = _example(data, settings.splits, preprocess.only(*reads))
        if not inputs:
            continue
        device = next(teacher.model.parameters()).device
        with torch.no_grad():
            given = {name: _twice(x, device) for name, x in inputs.items()}
            found = answer(teacher, given)
            if len(reads) > 1:
                _check_alone(part, teacher, given, found, columns)
        scales |= {name: x.float().cpu() for name, x in found.items() if not x.ndim and name.split("/")[0] in SCALES}
        rows = {name: x for name, x in found.items() if name not in seen and _is_answer(found, name)}
        seen |= rows.keys()
        is_ragged = any(_is_ragged(preprocess, each) for each in reads if each in TEXTS)
        kept = {}
        for name, x in rows.items():
            if settings.outputs and name not in settings.outputs:
                continue
            ragged = is_ragged and f"{VALID}{name}" in found
            if is_ragged and x.ndim > 2 and not ragged:
                raise InputError(
                    f"outputs: the {part}'s {name!r} has as many places as the longest text of a batch, and the model "
                    "does not say which of them count. Name the outputs that are kept without it, with --outputs."
                )
            if ragged and x.ndim == ATTENTION:
                raise InputError(
                    f"outputs: the {part}'s {name!r} is attention, of as many tokens as the longest text of a batch in "
                    "two dimensions, and is not kept. Name the outputs that are kept without it, with --outputs."
                )
            kept[name] = Column(name, settings.format_of(name), tuple(x.shape[1:]), ragged)
        if kept:
            columns[reads] = kept
    return columns, scales, seen


def inputs_of(batch: Mapping[str, Any], preprocess: Preprocess) -> dict[str, Any]:
    """Return what a model reads of a batch: its modalities, and the size that all pictures have, if they have one.

    What is marked in pictures moves no answer and is left out.
    """
    found = {each: batch[each] for each in preprocess.modalities}
    return {**found, SIZE: batch[SIZE]} if preprocess.marks and SIZE in batch else found


def _example(data: CacheSource, splits: Sequence[str], preprocess: Preprocess) -> dict[str, Any]:
    """Return what is read of the first sample that has it all; nothing if there is none."""
    for split in splits:
        samples = data.everything(split)
        for place in samples.walk():
            if all(place.sample.has(each) for each in preprocess.modalities):
                request = (place.source, (place.position,), EVAL_VIEW)
                (batch,) = samples.batches([request], preprocess)
                if batch is not None:
                    return inputs_of(batch, preprocess)
    return {}


def _check_alone(
    part: str,
    teacher: Running,
    inputs: Mapping[str, Any],
    outputs: Outputs,
    columns: Mapping[tuple[str, ...], Mapping[str, Column]],
) -> None:
    """Refuse what is said of one modality alone, but otherwise where it stands beside another.

    Args:
        part: the teacher's name in a batch.
        teacher: that runs.
        inputs: of several modalities.
        outputs: what is said of them.
        columns: what depends on one of them, as far as it is known.

    Raises:
        InputError: an output does.
    """
    for reads, kept in columns.items():
        alone = answer(teacher, {name: x for name, x in inputs.items() if name in (*reads, SIZE)})
        for name in kept:
            x, y = alone[name].float(), outputs[name].float()
            if x.shape != y.shape or not torch.allclose(x, y, rtol=ROUNDING, atol=ROUNDING * float(x.abs().max())):
                raise InputError(
                    f"outputs: what the {part} says as {name!r} of {' and '.join(reads)} changes with what stands "
                    "beside it, so it cannot be looked up. Name the outputs that are kept without it, with --outputs."
                )


def _is_answer(outputs: Outputs, name: str) -> bool:
    """Whether an output is of numbers for each of two samples, and none of it depends on what these lack."""
    x, flag = outputs[name], outputs.get(f"present/{name}")
    is_rows = x.ndim > 1 and len(x) == 2 and x.is_floating_point() and not name.startswith((VALID, "present/"))
    return is_rows and (flag is None or bool(flag.all()))


def _is_ragged(preprocess: Preprocess, modality: str) -> bool:
    tokenize = preprocess.written[modality]
    return tokenize([SHORT]).shape[1] != tokenize([LONG]).shape[1]


def _twice(x: Any, device: torch.device) -> Any:
    """Return two rows of one: a tensor that happens to have one row is then none of a sample's."""
    return torch.cat([x, x]).to(device) if isinstance(x, Tensor) else x
