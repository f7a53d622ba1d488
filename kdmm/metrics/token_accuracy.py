"""How often the right token has the highest score."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from kdmm.errors import InputError
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.samples import first_rows, hash_ids, read_batch
from kdmm.outputs import IGNORED, Batch, Outputs, read

__all__ = ["TokenAccuracy"]


class TokenAccuracy(SampleMetric):
    """Accuracy and cross entropy (nats a token) of a model that scores tokens, such as a masked language model.

    Gives ``top1`` and ``cross_entropy``; for the teacher the same under ``teacher/``. Every token counts alike; of a
    sample that comes again the first counts.

    Args:
        role: whose ``logits`` (B, T, V) and ``tokens`` (B, T), -100 where there is none to score, are read.
    """

    higher_is_better = None

    def __init__(self, role: Literal["student", "teacher"] = "student") -> None:
        super().__init__(["sample", "tokens", "right", "loss"])
        self.role = role

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's samples.

        Args:
            student: its outputs are read, or else the teacher's.
            teacher: as the student.
            batch: ``id`` is read.
        """
        outputs = student if self.role == "student" else teacher
        scores, tokens = (read(outputs, name, self.role) for name in ("logits", "tokens"))
        loss = F.cross_entropy(scores.float().transpose(1, 2), tokens, ignore_index=IGNORED, reduction="none")
        self.append("sample", hash_ids(read_batch(batch, "id", type(self).__name__)).to(tokens.device))
        self.append("tokens", (tokens != IGNORED).sum(1))
        self.append("right", (scores.argmax(2) == tokens).sum(1))
        self.append("loss", loss.double().sum(1))

    def compute(self) -> dict[str, Tensor]:
        """Return the two.

        Raises:
            InputError: no token was added.
        """
        rows = first_rows(self.stacked("sample")[:, None])
        tokens, right, loss = (self.stacked(name)[rows].sum() for name in ("tokens", "right", "loss"))
        if not tokens:
            raise InputError(f"{type(self).__name__} has seen no token. Evaluate on a split with texts.")
        prefix = "" if self.role == "student" else "teacher/"
        return {f"{prefix}top1": right / tokens, f"{prefix}cross_entropy": (loss / tokens).float()}
