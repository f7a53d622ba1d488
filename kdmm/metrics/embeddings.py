"""What metrics on whole sets of embeddings share: collecting them, and which of them count."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.samples import first_rows, hash_ids, read_batch
from kdmm.outputs import MODALITIES, Batch, Outputs, present, read

__all__ = ["EmbeddingMetric", "Items", "Source"]

ROLES = ("student", "teacher")


@dataclass(frozen=True)
class Source:
    """Where an embedding comes from: whose, and of which modality."""

    role: str
    modality: str

    @classmethod
    def parse(cls, name: str, setting: str) -> Source:
        """Read ``image`` or ``student.image`` (the same), or ``teacher.image``.

        Raises:
            InputError: an unknown role or modality.
        """
        role, modality = name.split(".", 1) if "." in name else ("student", name)
        if role not in ROLES:
            raise InputError(
                f"{setting}: {name!r} is of nobody we know; write student.<modality> or teacher.<modality>."
            )
        if modality not in MODALITIES:
            raise InputError(
                f"{setting}: {name!r} names no modality; accepted are {', '.join(MODALITIES)}."
                + nearest(modality, MODALITIES)
            )
        return cls(role, modality)

    @property
    def state(self) -> str:
        """The name of the metric's state that holds these embeddings."""
        return f"{self.role}_{self.modality}"


@dataclass(frozen=True)
class Items:
    """N distinct embeddings of one source, in an order that is the same for every source of their modality.

    Args:
        sample: (N,) whose they are. Texts of one sample differ by caption; of another modality a sample has one item.
        caption: (N,) equal for equal captions; of another modality than text it says nothing.
        embeddings: (N, D).
        is_text: whether they are texts.
    """

    sample: Int64[Tensor, "N"]
    caption: Int64[Tensor, "N"]
    embeddings: Float[Tensor, "N D"]
    is_text: bool

    @property
    def keys(self) -> Int64[Tensor, "N K"]:
        """What tells the items of a modality apart."""
        return torch.stack([self.sample, self.caption], dim=1) if self.is_text else self.sample[:, None]

    def at(self, rows: Int64[Tensor, "M"] | Bool[Tensor, "N"]) -> Items:
        """Return some of them."""
        return replace(self, sample=self.sample[rows], caption=self.caption[rows], embeddings=self.embeddings[rows])


class EmbeddingMetric(SampleMetric, ABC):
    """Keeps the embeddings of several sources, over batches and ranks.

    A sample is known by its ``id``. It may take several rows, one for each of its captions (``caption_id``), of which
    one or more have its picture or sound. What comes again, as a distributed sampler's padding does, counts once.

    Args:
        sources: the embeddings to keep.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        sources = tuple(sources)
        parts = ("sample", "caption", "embedding")
        super().__init__([f"{source.state}_{part}" for source in sources for part in parts])
        self.sources = sources

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's samples.

        Args:
            student: the student's outputs.
            teacher: the teacher's outputs.
            batch: ``id`` and ``caption_id`` are read.
        """
        outputs = {"student": student, "teacher": teacher}
        found = {source: read(outputs[source.role], source.modality, source.role) for source in self.sources}
        sample = hash_ids(read_batch(batch, "id", type(self).__name__))
        caption = torch.as_tensor(read_batch(batch, "caption_id", type(self).__name__))
        for source, embeddings in found.items():
            flag = present(outputs[source.role], source.modality)
            self.append(f"{source.state}_sample", sample.to(flag.device)[flag])
            self.append(f"{source.state}_caption", caption.to(flag.device)[flag])
            self.append(f"{source.state}_embedding", embeddings.detach().float()[flag])

    def collected(self) -> dict[Source, Items]:
        """Return what all ranks have added, without repeats: of the samples that every source has, what counts.

        Raises:
            InputError: no sample has every modality.
        """
        found = {source: self._items(source) for source in self.sources}
        shared = reduce(_shared, (items.sample for items in found.values()))
        if not len(shared):
            wanted = ", ".join(f"{source.role}.{source.modality}" for source in self.sources)
            raise InputError(
                f"{type(self).__name__} has seen no sample that has all of {wanted}. Evaluate on a split whose "
                "samples have these modalities, or leave this metric out."
            )
        found = {source: items.at(torch.isin(items.sample, shared)) for source, items in found.items()}
        for modality in {source.modality for source in found}:
            same = [source for source in found if source.modality == modality]
            in_all = _in_all([found[source].keys for source in same])
            found |= {source: found[source].at(flag) for source, flag in zip(same, in_all, strict=True)}
        return found

    def _items(self, source: Source) -> Items:
        sample, caption, embeddings = (
            self.stacked(f"{source.state}_{part}") for part in ("sample", "caption", "embedding")
        )
        if not len(sample):  # of no batch the types are not known
            sample = caption = sample.long()
            embeddings = embeddings.reshape(0, 1)
        items = Items(sample, caption, embeddings, source.modality == "text")
        return items.at(first_rows(items.keys))


def _shared(first: Int64[Tensor, "N"], second: Int64[Tensor, "M"]) -> Int64[Tensor, "K"]:
    return first[torch.isin(first, second)]


def _in_all(keys: Sequence[Int64[Tensor, "N K"]]) -> list[Bool[Tensor, "N"]]:
    """Return for each list of distinct keys which of them are in every list."""
    if len(keys) == 1:
        return [torch.ones(len(keys[0]), dtype=torch.bool, device=keys[0].device)]
    distinct, which = torch.unique(torch.cat(list(keys)), dim=0, return_inverse=True)
    everywhere = which.bincount(minlength=len(distinct)) == len(keys)
    return list(everywhere[which].split([len(some) for some in keys]))
