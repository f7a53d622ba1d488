import pytest
import torch

from kdmm.metrics.functional import centroid_distance, pair_cosines
from tests.losses.data import unit


def test_the_distance_of_two_clusters_is_that_of_their_centres():
    cloud = unit(50, 6, 1, torch.float32)
    apart = torch.tensor([3.0, 0, 4, 0, 0, 0])
    assert centroid_distance(cloud, cloud + apart) == pytest.approx(5, rel=1e-6)
    assert centroid_distance(cloud, cloud[torch.randperm(50)]) == pytest.approx(0, abs=1e-7)
    assert centroid_distance(torch.eye(2)[:1], -torch.eye(2)[:1]) == 2  # the most that unit vectors can be apart


def test_cosines_are_those_of_every_pair():
    first, second = unit(7, 5, 1, torch.float32), unit(9, 5, 2, torch.float32)
    labels = [{0, 5}, {1}, {2, 3}, {4}, {5, 6}, {9}, {1, 7}]  # of an item of the first, several
    of_second = [0, 1, 1, 2, 3, 4, 6, 7, 8]
    pairs = [(i, label) for i, some in enumerate(labels) for label in sorted(some)]
    first_labels = tuple(torch.tensor(each) for each in zip(*pairs, strict=True))
    found = pair_cosines(first, second, first_labels, (torch.arange(9), torch.tensor(of_second)))
    positive, negative = [], []
    for i in range(7):
        for j in range(9):
            cosine = sum(a * b for a, b in zip(first[i].tolist(), second[j].tolist(), strict=True))
            (positive if of_second[j] in labels[i] else negative).append(cosine)
    assert len(positive) == 10
    assert found[0] == pytest.approx(sum(positive) / len(positive), rel=1e-5)
    assert found[1] == pytest.approx(sum(negative) / len(negative), rel=1e-5)


def test_a_mean_of_nothing_is_nan():
    rows, labels = torch.eye(2), (torch.arange(2), torch.zeros(2, dtype=torch.long))
    positive, negative = pair_cosines(rows, rows, labels, labels)
    assert positive == 0.5
    assert negative.isnan()


def test_embeddings_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="second modality are NaN or infinite, the first in row 1"):
        centroid_distance(torch.eye(2), torch.tensor([[0.0, 1], [torch.nan, 0]]))
