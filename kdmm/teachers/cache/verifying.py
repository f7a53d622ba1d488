"""Whether a store still says what its teacher says: random entries are answered again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.teachers.cache.answering import answer, inputs_of
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.format import Format, cosines
from kdmm.teachers.cache.keys import TEXTS, keys_of, text_key
from kdmm.teachers.cache.precision import Step, under
from kdmm.teachers.cache.requests import Request, texts_of
from kdmm.teachers.cache.store import Store
from kdmm.teachers.teacher import Running
from kdmm.views import EVAL_VIEW

__all__ = ["QUANTILES", "Verified", "verify"]

QUANTILES = (0.0, 0.01, 0.1, 0.5)


SLACK = 0.05  # of an answer's length: sums in another order, on other hardware or in bfloat16, stay far below it


@dataclass(frozen=True)
class Verified:
    """How near an output's stored answers are to new ones.

    Args:
        output: ``<table>.<name>``.
        format: that it is stored in.
        entries: how many were answered again.
        quantiles: of the cosines, at `QUANTILES`.
        difference: the largest of a number.
        beyond: how far a stored answer is from the new one, at most, without what the format loses, in parts of the
            new one's length.
    """

    output: str
    format: str
    entries: int
    quantiles: tuple[float, ...]
    difference: float
    beyond: float

    @property
    def holds(self) -> bool:
        """Whether the stored answers are what the format promises of the new ones."""
        return self.beyond <= SLACK


@torch.no_grad()
def verify(
    store: Store, teachers: Mapping[str, Running], data: CacheSource, count: int, seed: int = 0
) -> list[Verified]:
    """Answer random entries of each table again, in the precision that the store was written in.

    Args:
        store: that is verified.
        teachers: that run, by their names in a batch.
        data: the DataModule that the store was made for.
        count: entries of each table; all where there are fewer.
        seed: of the choice.

    Raises:
        InputError: fewer than one entry, or an entry that should be there is not.
    """
    if count < 1:
        raise InputError(f"entries: {count} given; give at least 1.")
    with under(store.facts["precision"], teachers.values()) as step:
        return _verified(store, teachers, data, count, seed, step)


def _verified(
    store: Store,
    teachers: Mapping[str, Running],
    data: CacheSource,
    count: int,
    seed: int,
    step: Step,
) -> list[Verified]:
    found: list[Verified] = []
    for name, told in store.manifest["tables"].items():
        table, teacher = store.tables[name], teachers[told["part"]]
        draw = np.random.Generator(np.random.PCG64(seed))
        stored: dict[str, list[Tensor]] = {}
        again: dict[str, list[Tensor]] = {}
        for keys, inputs in _drawn(store, teacher, table.reads, data, count, draw):
            rows = table.find(keys)
            if bool((rows < 0).any()):
                raise InputError(f"The store {store.folder} lacks entries of the table {name}. Write it again.")
            with step.context():
                outputs = answer(teacher, step.moved(inputs))
            kept = table.gather(rows)
            for output in table.columns:
                stored.setdefault(output, []).append(kept[output].cpu())
                again.setdefault(output, []).append(outputs[output].float().cpu())
        for output, column in table.columns.items():
            if output in stored:
                found.append(_compared(f"{name}.{output}", column.format, stored[output], again[output]))
    return found


def _compared(output: str, form: Format, stored: list[Tensor], again: list[Tensor]) -> Verified:
    pairs = [(a.flatten(1), b.flatten(1)) for a, b in zip(stored, again, strict=True)]
    found = torch.cat([cosines(*pair) for pair in pairs])
    quantiles = torch.quantile(found, torch.tensor(QUANTILES, dtype=found.dtype)).tolist()
    difference = max(float((a - b).abs().nan_to_num(0.0).max()) for a, b in pairs)
    promised = [form.decode(form.encode(each)).flatten(1) for each in again]
    beyond = max(_beyond(a, b, c) for (a, b), c in zip(pairs, promised, strict=True))
    return Verified(output, form.name, len(found), tuple(quantiles), difference, beyond)


def _beyond(stored: Tensor, again: Tensor, promised: Tensor) -> float:
    """Return what is left of the distance of ``stored`` (N, D) to ``again`` without that of ``promised``, at most.

    It is in parts of the length of ``again``, and the square root of a difference of squares, since what a format loses
    and what has changed are as good as orthogonal.
    """
    if not torch.equal(torch.isfinite(stored), torch.isfinite(promised)):
        return math.inf
    finite = torch.isfinite(stored) & torch.isfinite(again)
    length = torch.where(finite, again, 0.0).double().norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    far, as_promised = (torch.where(finite, x - again, 0.0).double().norm(dim=1) for x in (stored, promised))
    return float(((far**2 - as_promised**2).clamp(min=0).sqrt() / length).max())


def _drawn(
    store: Store,
    teacher: Running,
    reads: tuple[str, ...],
    data: CacheSource,
    count: int,
    draw: np.random.Generator,
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Yield keys and what is read, an entry at a time: a batch would be filled up otherwise than the store's was."""
    preprocess, splits = teacher.preprocess.only(*reads), store.manifest["splits"]
    if all(each in TEXTS for each in reads):
        texts = texts_of(data, splits, reads)
        for place in draw.permutation(len(texts))[:count]:
            row = texts[place]
            by_modality = zip([each for each in TEXTS if each in reads], row, strict=True)
            yield (
                torch.tensor([text_key(*row)]),
                {each: preprocess.written[each]([text]) for each, text in by_modality},
            )
        return
    for split, requests in _requests(store, data, splits, reads, count, draw).items():
        for batch in data.everything(split).batches(requests, preprocess):
            if batch is not None:
                yield keys_of(reads, batch, [True] * len(batch["id"])), inputs_of(batch, preprocess)


def _requests(
    store: Store, data: CacheSource, splits: list[str], reads: tuple[str, ...], count: int, draw: np.random.Generator
) -> dict[str, list[Request]]:
    """Draw samples and views by split, in the order of the samples."""
    views = {split: range(store.manifest["views"]) if split == "train" else (EVAL_VIEW,) for split in splits}
    every = [
        (split, place.source, place.position)
        for split in splits
        for place in data.everything(split).walk()
        if all(place.sample.has(each) for each in reads)
    ]
    chosen = sorted(draw.permutation(len(every))[:count].tolist())
    found: dict[str, list[Request]] = {}
    for place in chosen:
        split, source, position = every[place]
        view = views[split][int(draw.integers(len(views[split])))]
        found.setdefault(split, []).append((source, (position,), view))
    return found
