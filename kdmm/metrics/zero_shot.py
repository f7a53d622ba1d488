"""Classifying pictures, or sounds, by the names of the classes alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.metrics.functional import Positives, per_class_accuracy, ranks, recall_at_k, text_classifier
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.samples import check_depths, first_rows, hash_ids, read_batch
from kdmm.outputs import MODALITIES, Batch, Outputs, present, read

__all__ = ["TEMPLATES", "ZeroShot"]

TEMPLATES = (
    "a photo of a {}.",
    "a picture showing a {}.",
    "a close-up of the {}.",
    "a drawing of a {}.",
    "a small icon of a {}.",
    "one of many kinds of {}.",
    "the {}.",
)
"""General prompts for pictures in the manner of CLIP's; a data set's own do better."""

UNLABELLED = -1  # the DataModule's number for a sample without this label


class ZeroShot(SampleMetric):
    """Accuracy of the classifier that class names and prompts make (CLIP, https://arxiv.org/abs/2103.00020, 3.1).

    Gives ``zero_shot/top1``, ``zero_shot/top5``, ... and ``zero_shot/mean_per_class``: the top-1 accuracy of each class
    that occurs, averaged over classes. Of another modality than pictures the names begin with its own, such as
    ``zero_shot_audio/top1``, so that several fit into one run. A sample that lacks the modality, or with label -1 for
    none, does not count, and one that comes again is dropped. A class with the same score as the right one ranks
    before it.

    :meth:`prepare` goes before the first :meth:`update`, and again after each :meth:`reset`, since the text tower may
    have been trained in between; kdmm's modules call it when an evaluation begins.

    Args:
        class_names: of the C classes, in the order of the labels.
        templates: each with one ``{}`` for the class name. ``null`` takes `TEMPLATES`, which speak of pictures: of
            another modality give some, such as ``the sound of a {}.``
        label: the batch's entry that holds (B,) labels in [0, C), or -1.
        k: depths of the accuracies.
        modality: what is classified.
        per_class: also give each class's top-1 accuracy, as ``zero_shot/class/<name>``; a class that does not occur has
            none.
    """

    higher_is_better = True

    def __init__(
        self,
        class_names: Sequence[str],
        templates: Sequence[str] | None = None,
        label: str = "label",
        k: Sequence[int] = (1, 5),
        modality: str = "image",
        per_class: bool = False,
    ) -> None:
        super().__init__(["sample", "target", "rank"])
        self.k = check_depths(k, "ZeroShot")
        self.class_names = tuple(class_names)
        self.label = label
        self.modality = modality
        self.per_class = per_class
        if modality not in MODALITIES:
            raise InputError(
                f"ZeroShot.modality: {modality!r} is none; accepted are {', '.join(MODALITIES)}."
                + nearest(modality, MODALITIES)
            )
        if templates is None and modality != "image":
            raise InputError(
                f"ZeroShot.templates: none given for {modality!r}, and the default ones speak of pictures; give some, "
                "such as ['the sound of a {}.']."
            )
        self.templates = TEMPLATES if templates is None else tuple(templates)
        if len(set(self.class_names)) < len(self.class_names):
            twice = next(name for name in self.class_names if self.class_names.count(name) > 1)
            raise InputError(f"ZeroShot.class_names: {twice!r} is given twice; the classes could not be told apart.")
        if len(self.class_names) <= self.k[-1]:
            raise InputError(
                f"ZeroShot.k: {list(k)} given with {len(self.class_names)} class names; top-{self.k[-1]} would "
                "always be 1. Give smaller depths or more classes."
            )
        for template in self.templates or ("",):
            if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
                raise InputError(f"ZeroShot.templates: {template!r} given; write the class name's place as one {{}}.")
        self._classifier: Tensor | None = None

    def prepare(self, encode_text: Callable[[list[str]], Tensor]) -> None:
        """Embed the prompts.

        Args:
            encode_text: the model's text tower, from N prompts to embeddings (N, D).
        """
        self._classifier = text_classifier(encode_text, self.class_names, self.templates)

    def reset(self) -> None:
        """Forget the samples and the prompts' embeddings."""
        super().reset()
        self._classifier = None

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Add a batch's samples.

        Args:
            student: the embeddings of the modality are read.
            teacher: not read.
            batch: ``id`` and the labels are read.

        Raises:
            InputError: a label of no class, or no labels in the batch.
        """
        if self._classifier is None:
            raise RuntimeError("ZeroShot.prepare(encode_text) must be called before update, and again after reset.")
        embeddings = read(student, self.modality, "student").float()
        target = torch.as_tensor(read_batch(batch, self.label, "ZeroShot"), device=embeddings.device).long()
        flag = present(student, self.modality) & (target != UNLABELLED)
        target = target[flag]
        classes = len(self.class_names)
        if len(target) and not 0 <= int(target.min()) <= int(target.max()) < classes:
            raise InputError(
                f"ZeroShot: batch[{self.label!r}] holds labels from {int(target.min())} to {int(target.max())}, but "
                f"there are {classes} class names; labels are 0 to {classes - 1}."
            )
        positives = Positives.by_group(target, torch.arange(classes, device=target.device))
        self.append("rank", ranks(embeddings[flag], self._classifier.to(embeddings.device), positives))
        self.append("target", target)
        self.append("sample", hash_ids(read_batch(batch, "id", "ZeroShot")).to(flag.device)[flag])

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracies.

        Raises:
            InputError: no sample with the modality and a label was added.
        """
        sample = self.stacked("sample")
        if not len(sample):
            raise InputError(
                f"ZeroShot has seen no sample with {self.modality} and a {self.label!r}. Evaluate on a split that has "
                "them."
            )
        rows = first_rows(sample[:, None])
        rank, target = self.stacked("rank")[rows], self.stacked("target")[rows]
        classes, accuracies = per_class_accuracy(rank == 1, target)
        values = {f"top{k}": recall_at_k(rank, k) for k in self.k} | {"mean_per_class": accuracies.mean()}
        if self.per_class:
            names = (self.class_names[each] for each in classes.tolist())
            values |= {f"class/{name}": accuracy for name, accuracy in zip(names, accuracies, strict=True)}
        prefix = "zero_shot" if self.modality == "image" else f"zero_shot_{self.modality}"
        return {f"{prefix}/{name}": value for name, value in values.items()}
