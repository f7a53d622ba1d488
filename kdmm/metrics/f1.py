"""Precision and recall of classes, for data in which some are rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from kdmm.errors import InputError
from kdmm.metrics.labelled import LabelledMetric
from kdmm.outputs import Batch, Outputs

__all__ = ["F1"]


class F1(LabelledMetric):
    """F1, the harmonic mean of a class's precision and recall, and its mean over classes.

    Gives ``f1``, the mean over the classes that are labelled or predicted somewhere (macro), and with names
    ``f1/<class>``, ``precision/<class>`` and ``recall/<class>``; for the teacher the same under ``teacher/``. Of a
    class that is nowhere these are NaN, as are the precision of one that is never predicted and the recall of one that
    is never labelled. The class with the highest score is predicted. A sample with label -1 for none does not count,
    and one that comes again is dropped.

    Args:
        class_names: of all C classes in order, for values of each; ``None``: the mean alone.
        label: the batch's entry that holds (B,) labels in [0, C), or -1.
        logits: the output that holds the scores (B, C).
        role: whose they are.
    """

    higher_is_better = True

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        label: str = "label",
        logits: str = "logits",
        role: Literal["student", "teacher"] = "student",
    ) -> None:
        super().__init__(label, logits, role, ["predicted"])
        self.class_names = None if class_names is None else tuple(class_names)

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's samples.

        Args:
            student: its logits are read, or else the teacher's.
            teacher: as the student.
            batch: ``id`` and the labels are read.

        Raises:
            InputError: a label of no class, other classes than are named, or no labels in the batch.
        """
        scores = self.add(student, teacher, batch)
        if self.class_names is not None and len(self.class_names) != scores.shape[1]:
            raise InputError(
                f"F1.class_names: {len(self.class_names)} given, and the {self.role} scores {scores.shape[1]} classes. "
                "Name them all."
            )
        self.append("predicted", scores.argmax(1))

    def compute(self) -> dict[str, Tensor]:
        """Return the values.

        Raises:
            InputError: no sample with scores and a label was added.
        """
        rows = self.rows()
        predicted, target = self.stacked("predicted")[rows], self.stacked("target")[rows]
        classes = (
            max(int(predicted.max()), int(target.max())) + 1 if self.class_names is None else len(self.class_names)
        )
        confusion = multiclass_confusion_matrix(predicted, target, classes, validate_args=False)
        right, labelled, found = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        each = {"f1": 2 * right / (labelled + found), "precision": right / found, "recall": right / labelled}
        values = {"f1": each["f1"].nanmean()}
        for place, name in enumerate(self.class_names or ()):
            values.update({f"{kind}/{name}": of_classes[place] for kind, of_classes in each.items()})
        return self.named(values)
