import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from kdmm.analysis.probe import knn_probe, linear_probe
from kdmm.errors import InputError
from tests.losses.data import unit

D = 8
NAMES = torch.tensor([2, 5, 11])


def data(count, seed, spread=0.6):
    """Noisy directions of three classes called 2, 5 and 11, the first twice as frequent as the others."""
    which = torch.arange(count) % 4 % 3
    noise = torch.randn(count, D, generator=torch.Generator().manual_seed(seed))
    return F.normalize(unit(3, D, 1, torch.float32)[which] + spread * noise, dim=1), NAMES[which]


TRAIN, TEST = data(200, 2), data(130, 3)


def test_the_linear_probe_is_scikit_learns():
    found = linear_probe(*TRAIN, *TEST, l2=[1e-2])
    theirs = LogisticRegression(C=1 / (1e-2 * 200), tol=1e-8, max_iter=5000).fit(*(x.numpy() for x in TRAIN))
    right = theirs.predict(TEST[0].numpy()) == TEST[1].numpy()
    assert found.l2 == 1e-2
    assert found.accuracy == pytest.approx(right.mean())
    assert 0.5 < found.accuracy < 1
    assert found.per_class == pytest.approx({int(c): right[TEST[1].numpy() == c].mean() for c in (2, 5, 11)})
    assert found.mean_per_class == pytest.approx(sum(found.per_class.values()) / 3)


def test_separated_classes_are_told_apart_without_fault():
    found = linear_probe(*data(60, 2, 0.01), *data(40, 3, 0.01))
    assert found.accuracy == found.mean_per_class == 1
    assert set(found.per_class) == {2, 5, 11}
    assert knn_probe(*data(60, 2, 0.01), *data(40, 3, 0.01), k=5).accuracy == 1


def test_the_strength_is_chosen_by_training_samples_alone():
    """Other test labels choose the same, and what was chosen is what is measured."""
    strengths = [10.0, 1e-1, 1e-3, 1e-6]
    one = linear_probe(*TRAIN, *TEST, l2=strengths)
    swapped = linear_probe(*TRAIN, TEST[0], TEST[1].flip(0), l2=strengths)
    assert one.l2 == swapped.l2
    assert one.l2 in strengths
    assert linear_probe(*TRAIN, *TEST, l2=[one.l2]).accuracy == one.accuracy
    accuracies = [linear_probe(*TRAIN, *TEST, l2=[each]).accuracy for each in strengths]
    assert one.accuracy > min(accuracies)  # 10 leaves the most frequent class alone
    assert linear_probe(*TRAIN, *TEST, l2=strengths[::-1]) == one


def test_of_equal_strengths_the_strongest_is_taken():
    assert linear_probe(*data(60, 2, 0.01), *data(40, 3, 0.01), l2=[1e-5, 1e-3, 1e-4]).l2 == 1e-3


@pytest.mark.parametrize("k", [1, 7, 200])
@pytest.mark.parametrize("temperature", [0.07, 1])
def test_the_neighbours_are_scikit_learns(k, temperature):
    theirs = KNeighborsClassifier(
        n_neighbors=k, metric="cosine", weights=lambda d: np.exp((1 - d) / temperature), algorithm="brute"
    ).fit(TRAIN[0].double().numpy(), TRAIN[1].numpy())
    right = theirs.predict(TEST[0].double().numpy()) == TEST[1].numpy()
    found = knn_probe(*TRAIN, *TEST, k=k, temperature=temperature)
    assert found.accuracy == pytest.approx(right.mean())
    assert found.per_class == pytest.approx({int(c): right[TEST[1].numpy() == c].mean() for c in (2, 5, 11)})
    assert found.l2 is None


def test_the_neighbours_are_those_of_brute_force_whatever_the_lengths():
    correct = 0
    for row, label in zip(*(x.tolist() for x in TEST), strict=True):
        cosines = []
        for other, its in zip(*(x.tolist() for x in TRAIN), strict=True):
            dot = sum(a * b for a, b in zip(row, other, strict=True))
            cosines.append((dot / math.hypot(*row) / math.hypot(*other), its))
        votes = dict.fromkeys((2, 5, 11), 0.0)
        for cosine, its in sorted(cosines, reverse=True)[:20]:
            votes[its] += math.exp(cosine / 0.07)
        correct += max(votes, key=votes.get) == label
    longer = TRAIN[0] * torch.linspace(0.5, 3, 200)[:, None]
    assert knn_probe(longer, TRAIN[1], 2 * TEST[0], TEST[1]).accuracy == pytest.approx(correct / 130)


def test_a_low_temperature_takes_the_nearest():
    """Votes of e^(cosine / 1e-4) are beyond any number, and of e^((cosine - 1) / 1e-4) all are 0."""
    assert knn_probe(*TRAIN, *TEST, k=50, temperature=1e-4) == knn_probe(*TRAIN, *TEST, k=1)


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_unlabelled_samples_do_not_count_and_unknown_classes_are_wrong(probe):
    marked = [TRAIN[1].clone(), TEST[1].clone()]
    for labels in marked:
        labels[:30] = -1
    expected = probe(TRAIN[0][30:], TRAIN[1][30:], TEST[0][30:], TEST[1][30:])
    assert probe(TRAIN[0], marked[0], TEST[0], marked[1]) == expected
    novel = torch.cat([TEST[1][:129], torch.tensor([99])])
    found = probe(*TRAIN, TEST[0], novel)
    assert found.per_class[99] == 0


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_what_cannot_be_probed_is_explained(probe):
    with pytest.raises(InputError, match=f"{probe.__name__}: the training samples are of fewer than two classes"):
        probe(TRAIN[0], torch.full((200,), 5), *TEST)
    with pytest.raises(InputError, match=f"{probe.__name__}: no test sample has a label"):
        probe(*TRAIN, TEST[0], torch.full((130,), -1))
    with pytest.raises(ValueError, match="training samples are NaN or infinite"):
        probe(TRAIN[0] * math.nan, TRAIN[1], *TEST)


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match=r"knn_probe\.k: 201 given; there are 200 training samples"):
        knn_probe(*TRAIN, *TEST, k=201)
    with pytest.raises(InputError, match=r"knn_probe\.temperature: 0 given"):
        knn_probe(*TRAIN, *TEST, temperature=0)
    with pytest.raises(InputError, match=r"linear_probe\.l2: \[1.0, 0.0\] given; give strengths above 0"):
        linear_probe(*TRAIN, *TEST, l2=[1.0, 0.0])
    few = TRAIN[0][:8], TRAIN[1][:8]
    with pytest.raises(InputError, match="no class has 5 training samples"):
        linear_probe(*few, *TEST)
    assert linear_probe(*few, *TEST, l2=[0.1]).l2 == 0.1
