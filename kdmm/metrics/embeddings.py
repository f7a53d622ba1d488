"""What metrics on whole sets of embeddings share: collecting them, and which of them belong together."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Int64
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.samples import first_rows, hash_ids, read_batch
from kdmm.outputs import MODALITIES, Batch, Outputs, present, read

__all__ = ["Collected", "EmbeddingMetric", "Source"]

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
class Collected:
    """R distinct rows, each one sample's picture (or sound) with one caption.

    Args:
        sample: (R,) which sample; rows of one sample differ by caption.
        caption: (R,) equal for equal captions.
        embeddings: (R, D) by source.
    """

    sample: Int64[Tensor, "R"]
    caption: Int64[Tensor, "R"]
    embeddings: dict[Source, Tensor]

    def items(self, modality: str) -> tuple[Int64[Tensor, "N"], Int64[Tensor, "R"]]:
        """Return the rows that stand for the N items of a modality, and for each row the item it belongs to.

        Each row is a text of its own; a picture or sound is one item, however many captions it has.
        """
        if modality == "text":
            rows = torch.arange(len(self.sample), device=self.sample.device)
            return rows, rows
        return first_rows(self.sample[:, None]), torch.unique(self.sample, return_inverse=True)[1]


class EmbeddingMetric(SampleMetric, ABC):
    """Keeps the embeddings of samples that have every modality asked for, over batches and ranks.

    A sample is known by its ``id`` and ``caption_id``: one that comes again, as a distributed sampler's padding does,
    is dropped. Rows of one ``id`` with different ``caption_id`` are several captions of one picture.

    Args:
        sources: the embeddings to keep.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        sources = tuple(sources)
        super().__init__(["sample", "caption", *(source.state for source in sources)])
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
        flags = [present(outputs[source.role], source.modality) for source in self.sources]
        flag = reduce(torch.logical_and, flags)
        sample = hash_ids(read_batch(batch, "id", type(self).__name__)).to(flag.device)
        caption = torch.as_tensor(read_batch(batch, "caption_id", type(self).__name__), device=flag.device)
        self.append("sample", sample[flag])
        self.append("caption", caption[flag])
        for source, embeddings in found.items():
            self.append(source.state, embeddings.detach().float()[flag])

    def collected(self) -> Collected:
        """Return what all ranks have added, without repeats.

        Raises:
            InputError: no sample has every modality.
        """
        sample = self.stacked("sample")
        if not len(sample):
            wanted = ", ".join(f"{source.role}.{source.modality}" for source in self.sources)
            raise InputError(
                f"{type(self).__name__} has seen no sample that has all of {wanted}. Evaluate on a split whose "
                "samples have these modalities, or leave this metric out."
            )
        caption = self.stacked("caption")
        rows = first_rows(torch.stack([sample, caption], dim=1))
        embeddings = {source: self.stacked(source.state)[rows] for source in self.sources}
        return Collected(sample[rows], caption[rows], embeddings)
