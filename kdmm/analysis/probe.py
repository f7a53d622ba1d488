"""What a simple classifier finds in the embeddings of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from kdmm.analysis.logistic import Linear, fit_logistic
from kdmm.errors import InputError
from kdmm.metrics.functional import per_class_accuracy
from kdmm.metrics.functional.chunks import row_chunks
from kdmm.metrics.functional.ranks import check_finite
from kdmm.views import stable_hash

__all__ = ["ProbeResult", "knn_probe", "linear_probe"]

STRENGTHS = tuple(10.0**power for power in range(1, -8, -1))
"""From scores that are all but constant to scores that are all but free, for unit vectors."""

HELD_OUT = 5  # each fifth training sample of a class chooses the strength


@dataclass(frozen=True)
class ProbeResult:
    """How well a probe classifies.

    Args:
        accuracy: the share of the test samples that it has right.
        per_class: by label, the same of each class that occurs among them.
        l2: the strength that a linear probe chose; None of another probe.
    """

    accuracy: float
    per_class: dict[int, float]
    l2: float | None = None

    @property
    def mean_per_class(self) -> float:
        """The mean over classes of each one's accuracy."""
        return fmean(self.per_class.values())


def linear_probe(
    train: Float[Tensor, "N D"],
    train_labels: Int64[Tensor, "N"],
    test: Float[Tensor, "M D"],
    test_labels: Int64[Tensor, "M"],
    l2: Sequence[float] = STRENGTHS,
) -> ProbeResult:
    """Fit a multinomial logistic regression to frozen embeddings, and measure it on others.

    The linear probe of Radford et al. 2021, arXiv:2103.00020, 3.2: no augmentation, L-BFGS, the strength of the L2
    penalty chosen on a held-out part of the training samples - a fifth of each class, chosen by a hash of the place -
    by accuracy; of equal ones the strongest. Then it is fitted to all of them. The test samples choose nothing.

    Args:
        train: embeddings of N training samples.
        train_labels: their classes; -1 for none, which do not count.
        test: embeddings of M others. One of a class that no training sample has cannot be right, and counts.
        test_labels: their classes; -1 for none, which do not count.
        l2: strengths to choose from, as in `kdmm.analysis.logistic.fit_logistic`.

    Raises:
        InputError: there is nothing to tell apart, nothing to measure, or no strength above 0.
    """
    if not l2 or min(l2) <= 0:
        raise InputError(f"linear_probe.l2: {list(l2)} given; give strengths above 0.")
    train, train_labels, test, test_labels = _checked("linear_probe", train, train_labels, test, test_labels)
    names, classes = torch.unique(train_labels, return_inverse=True)
    strengths = sorted(set(l2), reverse=True)
    best = strengths[0]
    if len(strengths) > 1:
        held_out = _held_out(classes)
        if not held_out.any():
            raise InputError(
                f"linear_probe: no class has {HELD_OUT} training samples, so none can be held out to choose `l2`; give "
                "one strength."
            )
        right = []
        fitted: Linear | None = None
        for strength in strengths:
            fitted = fit_logistic(train[~held_out], classes[~held_out], len(names), strength, fitted)
            right.append(int((fitted.scores(train[held_out]).argmax(1) == classes[held_out]).sum()))
        best = strengths[right.index(max(right))]
    scores = fit_logistic(train, classes, len(names), best).scores(test)
    return _result(names[scores.argmax(1)], test_labels, best)


def knn_probe(
    train: Float[Tensor, "N D"],
    train_labels: Int64[Tensor, "N"],
    test: Float[Tensor, "M D"],
    test_labels: Int64[Tensor, "M"],
    k: int = 20,
    temperature: float | int = 0.07,
) -> ProbeResult:
    """Classify embeddings by the nearest training embeddings, weighted by ``exp(cosine / temperature)``.

    Wu et al. 2018, arXiv:1805.01978, with their temperature; they take 200 neighbours, of ImageNet. Nothing is fitted.
    Of classes with equal votes the first is taken. What is the same for all votes on a sample is divided out.

    Args:
        train: embeddings of N training samples; they are normalized.
        train_labels: their classes; -1 for none, which do not count.
        test: embeddings of M others; they are normalized. One of a class that no training sample has cannot be right,
            and counts.
        test_labels: their classes; -1 for none, which do not count.
        k: neighbours.
        temperature: how fast a vote falls with the distance.

    Raises:
        InputError: there is nothing to tell apart, nothing to measure, or fewer training samples than neighbours.
    """
    if not temperature > 0:
        raise InputError(f"knn_probe.temperature: {temperature} given; give a number above 0.")
    train, train_labels, test, test_labels = _checked("knn_probe", train, train_labels, test, test_labels)
    if not 1 <= k <= len(train):
        raise InputError(f"knn_probe.k: {k} given; there are {len(train)} training samples, give 1 to {len(train)}.")
    names, classes = torch.unique(train_labels, return_inverse=True)
    train, test = F.normalize(train.double(), dim=1), F.normalize(test.double(), dim=1)
    found = torch.empty_like(test_labels)
    for rows in row_chunks(len(test), 8 * len(train)):
        nearest = (test[rows] @ train.T).topk(k, dim=1)
        votes = test.new_zeros(len(nearest.values), len(names))
        votes.scatter_add_(1, classes[nearest.indices], ((nearest.values - nearest.values[:, :1]) / temperature).exp())
        found[rows] = names[votes.argmax(1)]
    return _result(found, test_labels)


def _checked(
    probe: str,
    train: Float[Tensor, "N D"],
    train_labels: Int64[Tensor, "N"],
    test: Float[Tensor, "M D"],
    test_labels: Int64[Tensor, "M"],
) -> tuple[Float[Tensor, "P D"], Int64[Tensor, "P"], Float[Tensor, "Q D"], Int64[Tensor, "Q"]]:
    """Return the samples that have a label."""
    check_finite(train, "training samples")
    check_finite(test, "test samples")
    train, train_labels = train[train_labels >= 0], train_labels[train_labels >= 0]
    test, test_labels = test[test_labels >= 0], test_labels[test_labels >= 0]
    if len(torch.unique(train_labels)) < 2:
        raise InputError(f"{probe}: the training samples are of fewer than two classes. Give labels of two or more.")
    if not len(test):
        raise InputError(f"{probe}: no test sample has a label. Give a split that has them.")
    return train, train_labels, test, test_labels


def _held_out(classes: Int64[Tensor, "N"]) -> Tensor:
    """Return which samples choose: of each class every fifth, in the order of a hash of the samples' places."""
    order = sorted(range(len(classes)), key=lambda place: stable_hash("probe", place))
    held_out = torch.zeros(len(classes), dtype=torch.bool, device=classes.device)
    shuffled = torch.tensor(order, device=classes.device)
    for each in torch.unique(classes):
        held_out[shuffled[classes[shuffled] == each][HELD_OUT - 1 :: HELD_OUT]] = True
    return held_out


def _result(found: Int64[Tensor, "M"], labels: Int64[Tensor, "M"], l2: float | None = None) -> ProbeResult:
    correct = found == labels
    classes, accuracies = per_class_accuracy(correct, labels)
    by_class = dict(zip(classes.tolist(), accuracies.double().tolist(), strict=True))
    return ProbeResult(correct.double().mean().item(), by_class, l2)
