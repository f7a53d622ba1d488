"""Whether what is written about a picture finds it again, and how well it fits, as an image-text model sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.metrics.functional import Positives, median_rank, ranks, recall_at_k
from kdmm.metrics.judges import check_judge
from kdmm.metrics.samples import check_depths, first_rows, hash_ids
from kdmm.metrics.written import WritingMetric, Written
from kdmm.outputs import Batch, Outputs

__all__ = ["CaptionRetrieval", "MediaById"]


@runtime_checkable
class MediaById(Protocol):
    """Where the media are that are written about: a :class:`kdmm.data.Source`."""

    @property
    def splits(self) -> Sequence[Any]:
        """The splits that it has."""

    def samples(self, split: Any) -> Sequence[Any]:
        """Return samples with ``id`` and ``media``."""


class CaptionRetrieval(WritingMetric):
    """Lets another model, of media and texts, judge captions: by them alone it must find their media among all.

    Gives ``own_caption/recall@1``, ... and ``own_caption/median_rank``: the rank, by cosine, of each caption's own
    medium among those of all samples that were written about; and ``own_caption/score``, the mean of max(cosine, 0):
    CLIPScore (Hessel et al. 2021, arXiv:2104.08718) without its factor of 2.5, which is CLIP's. What people's first
    captions reach stands beside it as ``own_caption/people/recall@1`` and so on: a judge is not right about all of them
    either. With beams and for the teacher, names begin as those of :class:`kdmm.metrics.Captioning` do.

    The judge prepares each medium in its own way, so the media are opened again, from where they are.

    Args:
        judge: reads the medium and ``text``, such as ``kdmm.teachers.FromRun`` or ``kdmm.models.OpenClip``. It should
            not have been trained on what is measured on.
        media: the source of the samples.
        modality: of the media.
        k: depths of the recalls.
        role: whose captions are measured.
        beams: 1 writes the best token each time; more search for a likelier caption.
        max_tokens: the most that are written; ``None``: what the model was trained to read.

    Raises:
        InputError: the judge has no space that the medium and texts share.
    """

    higher_is_better = True

    def __init__(
        self,
        judge: nn.Module,
        media: MediaById,
        modality: str = "image",
        k: Sequence[int] = (1, 5, 10),
        role: Literal["student", "teacher"] = "student",
        beams: int = 1,
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(role, beams, max_tokens)
        self.k = check_depths(k, "CaptionRetrieval")
        self.modality = modality
        self.media = media
        self._judge = (judge.requires_grad_(False).eval(),)  # a tuple is no registered submodule: in no checkpoint
        check_judge(judge, modality, "CaptionRetrieval.judge")
        for state in ("sample", "medium", "text", "people"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Let the model write about a batch's samples, and the judge look at both.

        Args:
            student: not read.
            teacher: not read.
            batch: as for `write`.

        Raises:
            InputError: the model does not write, or a sample is not among the media.
        """
        written = self.write(batch)
        if written:
            self.append("sample", hash_ids([each.id for each in written]))
            self.append(
                "medium", self._embedded(self.modality, torch.stack([self._prepared(each) for each in written]))
            )
            tokenize = self._preprocess.text
            for state, texts in (
                ("text", [each.text for each in written]),
                ("people", [each.references[0] for each in written]),
            ):
                self.append(state, self._embedded("text", tokenize(texts)))

    def compute(self) -> dict[str, Tensor]:
        """Return the values.

        Raises:
            InputError: no sample was seen that could be written about and had a reference.
        """
        sample = self.stacked("sample")
        if not len(sample):
            raise self.nothing_seen()
        rows = first_rows(sample[:, None])
        media = self.stacked("medium")[rows]
        own = torch.arange(len(media), device=media.device)
        values: dict[str, Tensor] = {}
        for state, name in (("text", "own_caption"), ("people", "own_caption/people")):
            texts = self.stacked(state)[rows]
            found = ranks(texts, media, Positives.by_group(own, own))
            values |= {f"{name}/recall@{k}": recall_at_k(found, k) for k in self.k}
            values[f"{name}/median_rank"] = median_rank(found)
            values[f"{name}/score"] = (texts * media).sum(1).clamp(min=0).mean()
        return self.named(values)

    @property
    def _preprocess(self) -> Any:
        return cast(Any, self._judge[0]).preprocess

    @cached_property
    def _opened_by_id(self) -> Mapping[str, Any]:
        """What opens each medium, by the sample's id."""
        return {
            sample.id: sample.media[self.modality]
            for split in self.media.splits
            for sample in self.media.samples(split)
            if self.modality in sample.media
        }

    def _prepared(self, written: Written) -> Tensor:
        known = self._opened_by_id
        alone = written.id.partition("/")[2]  # of several sources, batches put the source's name before
        ref = known.get(written.id, known.get(alone))
        if ref is None:
            raise InputError(
                f"CaptionRetrieval.media: {self.media} has no {self.modality} of the sample {written.id!r}. Give the "
                f"source that is evaluated on.{nearest(written.id, known)}"
            )
        prepared: Tensor = self._preprocess.media[self.modality](ref.open())
        return prepared

    @torch.no_grad()
    def _embedded(self, modality: str, inputs: Tensor) -> Float[Tensor, "N D"]:
        (judge,) = self._judge
        judge.to(self.device)
        return F.normalize(judge({modality: inputs.to(self.device)})[modality].float(), dim=1)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_opened_by_id", None)
        return state
