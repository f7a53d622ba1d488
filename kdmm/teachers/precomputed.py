"""A teacher that has answered every view and caption before training begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models import Preprocess, untapped
from kdmm.outputs import MODALITIES, Outputs, scatter_present
from kdmm.teachers.answers import Answers, ViewSource
from kdmm.teachers.teacher import Frozen, Teacher

__all__ = ["Precomputed"]


class Precomputed(Teacher):
    """A running teacher's embeddings, computed once for K views of every training picture or sound and every caption.

    Args:
        teacher: the running teacher.
        views: K, as the DataModule's ``views``.
        store: as for :class:`kdmm.teachers.Answers`.
        batch_size: pictures or sounds at a time, and eighths of the captions.
        precision: that the teacher runs in; embeddings are float32.

    Raises:
        InputError: a teacher with taps, whose activations are not stored.
    """

    def __init__(
        self,
        teacher: Frozen,
        views: int,
        store: str | None = None,
        batch_size: int = 64,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__()
        if untapped(teacher.model) is not teacher.model:
            raise InputError(
                "Precomputed.teacher has `taps`, and embeddings alone are computed beforehand. Leave the taps out, or "
                "take the running teacher in the place of Precomputed."
            )
        self._held = (teacher,)
        self.answers = Answers(views, store, batch_size, precision)
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
            outputs: Outputs = teacher({modality: inputs})
            self._constants = {name: each for name, each in outputs.items() if each.ndim == 0}
            return outputs[modality]

        self.answers.prepare(data, splits, teacher.model, teacher.preprocess, encode)
        if not self._constants:  # read from a store
            self._constants = dict(teacher({}))

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Look the batch up.

        Raises:
            InputError: a view or caption that was not computed.
        """
        outputs = dict(self._constants)
        rows = self.answers.rows(batch)
        for modality in MODALITIES:
            flag = batch.get(f"present/{modality}")
            if modality in rows and flag is not None:
                outputs[modality] = scatter_present(rows[modality], flag)
                outputs[f"present/{modality}"] = flag
        return outputs
