"""A teacher that has answered every view and caption before training begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models import Preprocess, untapped
from kdmm.outputs import Outputs, read, scatter_present
from kdmm.teachers.answers import Answers
from kdmm.teachers.cache.answering import answer
from kdmm.teachers.teacher import Frozen, Teacher
from kdmm.teachers.view_source import ViewSource

__all__ = ["Precomputed"]


class Precomputed(Teacher):
    """A running teacher's embeddings, computed once for K views of every training picture or sound and every caption.

    Of a classifier, ``outputs`` names what is kept in their place.

    Args:
        teacher: the running teacher.
        views: K, as the DataModule's ``views``.
        store: as for :class:`kdmm.teachers.Answers`.
        batch_size: pictures or sounds at a time, and eighths of the captions.
        precision: that a teacher runs in which has none of its own; embeddings are float32.
        outputs: what is kept of a teacher that reads one modality, each (B, W), such as ``[logits, features]`` of a
            ``Classifier``; none: its embeddings.

    Raises:
        InputError: a teacher with taps, whose activations are not stored; or ``outputs`` of one that reads several
            modalities.
    """

    def __init__(
        self,
        teacher: Frozen,
        views: int,
        store: str | None = None,
        batch_size: int = 64,
        precision: Literal["float32", "bfloat16"] = "float32",
        outputs: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self._kept_of: dict[str, dict[str, int]] = {}  # by modality, the width of each output
        read_by_it = teacher.preprocess.modalities
        if outputs and len(read_by_it) != 1:
            raise InputError(
                f"Precomputed.outputs: {', '.join(outputs)} given, and the teacher reads {', '.join(read_by_it)}. They "
                "are kept of a teacher that reads one modality; leave `outputs` out, or take the running teacher."
            )
        if untapped(teacher.model) is not teacher.model:
            raise InputError(
                "Precomputed.teacher has `taps`, and embeddings alone are computed beforehand. Leave the taps out, or "
                "take the running teacher in the place of Precomputed."
            )
        self._held = (teacher,)
        self.answers = Answers(views, store, batch_size, teacher.precision or precision)
        self.preprocess = Preprocess()  # reads ids, views and captions, which every batch holds
        self._constants: dict[str, Tensor] = {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Precomputed:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        self.online()._apply(fn, recurse)
        return self

    def online(self) -> Frozen:
        """Return the running teacher."""
        return self._held[0]

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Let the running teacher answer what will be asked.

        Raises:
            InputError: the DataModule has another number of views.
        """
        teacher = self.online()

        def encode(modality: str, inputs: Tensor) -> Tensor:
            outputs = answer(teacher, {modality: inputs})
            self._constants = {name: each for name, each in outputs.items() if each.ndim == 0}
            return torch.cat(self._kept(outputs), 1) if self.outputs else self._embeddings(outputs, modality)

        self.answers.prepare(data, splits, teacher.model, teacher.preprocess, encode, self.outputs)
        if self.outputs:
            self._ask_for_widths()
            return
        self._kept_of = {modality: {modality: width} for modality, width in self.answers.widths.items()}
        if not self._constants:  # read from a store
            self._constants = dict(teacher({}))

    def _embeddings(self, outputs: Outputs, modality: str) -> Tensor:
        """Return what is kept of a teacher of which no outputs are named.

        Raises:
            InputError: the teacher gives no embeddings of this modality alone.
        """
        if modality not in outputs:
            raise InputError(
                f"Precomputed.teacher: {type(self.online().model).__name__} gives no embeddings of {modality} alone, "
                f"but {', '.join(name for name in outputs if '/' not in name) or 'nothing'}. Name those of them that "
                "are vectors a sample with `outputs`, or store what it says with `kdmm cache` and take Cached."
            )
        return outputs[modality]

    def _kept(self, outputs: Outputs) -> list[Tensor]:
        """Return what is kept of the teacher's outputs.

        Raises:
            InputError: the teacher gives none of that name, or one that is no vector a sample.
        """
        kept = [read(outputs, name, "teacher") for name in self.outputs]
        for name, rows in zip(self.outputs, kept, strict=True):
            if rows.ndim != 2:
                raise InputError(
                    f"Precomputed.outputs: the teacher's {name!r} has the shape {tuple(rows.shape)}; what is kept is "
                    "(B, W). Leave it out, or take the running teacher."
                )
        return kept

    def _ask_for_widths(self) -> None:
        """Let the teacher answer one sample that lacks what it reads: the store may hold answers of an earlier run."""
        (modality,) = self.online().preprocess.modalities
        device = next(self.online().model.parameters()).device
        nothing = self.online()({f"present/{modality}": torch.zeros(1, dtype=torch.bool, device=device)})
        kept = zip(self.outputs, self._kept(nothing), strict=True)
        self._kept_of = {modality: {name: rows.shape[1] for name, rows in kept}}
        self._constants = {name: each for name, each in nothing.items() if each.ndim == 0}

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Look the batch up.

        Raises:
            InputError: a view or caption that was not computed.
        """
        outputs = dict(self._constants)
        rows = self.answers.rows(batch)
        for modality, widths in self._kept_of.items():
            flag = batch.get(f"present/{modality}")
            if flag is not None:
                found = rows.get(modality, torch.zeros(0, sum(widths.values()), device=flag.device))
                for name, part in zip(widths, torch.split(found, list(widths.values()), 1), strict=True):
                    outputs[name], outputs[f"present/{name}"] = scatter_present(part, flag), flag
        return outputs
