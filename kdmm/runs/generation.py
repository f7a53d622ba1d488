"""What a trained model writes about the samples of a data set, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdmm import atomic
from kdmm.data import MultimodalDataModule, Sample
from kdmm.data.source import Split
from kdmm.errors import InputError, nearest
from kdmm.models import Preprocess, Writer
from kdmm.runs.choosing import Choice

__all__ = ["Generated", "free_path", "samples_of", "write_table"]

SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Generated:
    """A table of written texts.

    Args:
        path: the file.
        texts: its rows.
        empty: samples about which nothing was written, and which have no row.
    """

    path: Path
    texts: int
    empty: int


def free_path(output: Path) -> Path:
    """Return ``output``.

    Raises:
        InputError: it exists, its folder does not, or it is no ``.jsonl``.
    """
    if output.suffix != SUFFIX:
        raise InputError(f"output: {str(output)!r} ends in {output.suffix!r}; the table is written as {SUFFIX}.")
    if output.exists():
        raise InputError(f"output: {output} exists. Remove it, or give another file with --output.")
    if not output.parent.is_dir():
        raise InputError(f"output: there is no folder {str(output.parent)!r}. Make it first.")
    return output


def samples_of(data: Any, split: Split) -> list[tuple[str, Sample]]:
    """Return the samples of a split with their ids over all sources, which batches know them by.

    Raises:
        InputError: the data have no such split, or give no list of their samples.
    """
    if not isinstance(data, MultimodalDataModule):
        raise InputError(f"data: {type(data).__name__} gives no list of its samples. Take a DataModule of kdmm.data.")
    if not data.has(split):
        known = [each for each in ("train", "val", "test") if data.has(each)]
        raise InputError(f"split: the data have no {split} split, but {', '.join(known)}.{nearest(split, known)}")
    feeds = data.mixture.feeds(split)
    several = len(data.mixture.sources) > 1
    return [
        (f"{name}/{each.id}" if several else each.id, each) for name, feed in feeds.items() for each in feed.samples
    ]


def write_table(
    model: nn.Module,
    samples: Sequence[tuple[str, Sample]],
    output: Path,
    beams: int,
    max_tokens: int | None,
    batch_size: int,
    choice: Choice | None = None,
) -> Generated:
    """Write a row a sample that the model reads: its ``id``, what is read, the ``target`` text, and its ``group``.

    What is read stands under its modality's name: a ``source`` text itself, a medium's path. The file is written whole
    or not at all.

    Args:
        model: a `Writer`.
        samples: with their ids.
        output: the file.
        beams: as for `Writer.generate`.
        max_tokens: as for `Writer.generate`.
        batch_size: samples at a time.
        choice: among the beams' texts; ``None``: the likeliest is written.

    Raises:
        InputError: the model does not write, or reads none of the samples, or there is nothing to choose from.
    """
    if not isinstance(model, Writer):
        raise InputError(f"The run's model, {type(model).__name__}, does not write. Give the run of one that does.")
    if batch_size < 1:
        raise InputError(f"batch_size: {batch_size} given; give at least 1.")
    read = [(name, sample) for name, sample in samples if sample.has(model.modality)]
    if not read:
        raise InputError(f"No sample of the data has a {model.modality}, which the model reads.")
    if choice is not None:
        if beams < 2:
            raise InputError(f"{choice.setting}: {beams} beam leaves nothing to choose from. Give 2 or more (--beams).")
        choice.check(model.modality, [sample for _, sample in read])
    texts = _texts(model, read, beams, max_tokens, batch_size, choice)
    rows = [_row(name, sample, model.modality, text) for (name, sample), text in zip(read, texts, strict=True) if text]
    with atomic.writing(output) as partial:
        partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return Generated(output, len(rows), len(read) - len(rows))


def _texts(
    model: Writer,
    read: Sequence[tuple[str, Sample]],
    beams: int,
    max_tokens: int | None,
    batch_size: int,
    choice: Choice | None,
) -> list[str]:
    """Return what is written, of texts of nearly equal length at a time: less padding."""
    order = sorted(range(len(read)), key=lambda row: (len(read[row][1].source or ""), row))
    device = next(model.parameters()).device
    texts = [""] * len(read)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        samples = [read[row][1] for row in rows]
        inputs = _inputs(model.preprocess, model.modality, samples).to(device)
        if choice is None:
            found = model.generate(inputs, beams, max_tokens)
        else:
            found = choice(model.modality, samples, model.hypotheses(inputs, beams, max_tokens))
        for row, text in zip(rows, found, strict=True):
            texts[row] = text
    return texts


def _inputs(preprocess: Preprocess, modality: str, samples: Sequence[Sample]) -> Tensor:
    written = preprocess.written.get(modality)
    if written is not None:
        return written([cast(str, sample.source) for sample in samples])
    return torch.stack([_medium(preprocess, modality, sample) for sample in samples])


def _medium(preprocess: Preprocess, modality: str, sample: Sample) -> Tensor:
    try:
        return preprocess.media[modality](sample.media[modality].open())
    except InputError as error:
        raise InputError(f"{sample.origin}: {error}. Mend or remove it.") from error


def _row(name: str, sample: Sample, modality: str, text: str) -> Mapping[str, str]:
    read = sample.source if modality == "source" else sample.media[modality].path
    row = {"id": name, modality: cast(str, read), "target": text}
    return row if sample.group is None else {**row, "group": sample.group}
