import math

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from kdmm.metrics.functional import linear_separability


def normal(rows, width, seed, mean=0.0):
    return mean + torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def half(rows):
    return torch.arange(rows) % 2 == 0


def separability(first, second, **settings):
    return linear_separability(first, second, half(len(first)), half(len(second)), **settings).item()


def test_clusters_apart_are_told_apart_without_fault():
    assert separability(normal(60, 5, 1), normal(80, 5, 2, 20.0)) == 1


def test_pairs_of_equal_embeddings_are_told_apart_by_chance_exactly():
    both = normal(61, 5, 1)
    assert separability(both, both.clone()) == 0.5


def test_one_distribution_is_told_apart_by_chance():
    assert separability(normal(3000, 8, 1), normal(3000, 8, 2)) == pytest.approx(0.5, abs=0.03)  # standard error 0.9 %


@pytest.mark.parametrize("apart", [0.5, 1.0, 2.0])
def test_two_normal_distributions_are_told_apart_as_theory_has_it(apart):
    """The best accuracy of centres 2 d standard deviations apart is the normal distribution up to d."""
    shift = torch.zeros(6)
    shift[2] = 2 * apart
    expected = (1 + math.erf(apart / math.sqrt(2))) / 2
    assert separability(normal(4000, 6, 1), normal(4000, 6, 2) + shift) == pytest.approx(expected, abs=0.015)


def test_stretching_the_space_changes_nothing_without_shrinkage():
    first, second = normal(200, 4, 1), normal(300, 4, 2, 0.4)
    stretch = torch.tensor([1.0, 30.0, 0.1, 5.0])
    plain = separability(first, second, shrinkage=0.0)
    assert 0.5 < plain < 0.9
    assert separability(first * stretch, second * stretch, shrinkage=0.0) == pytest.approx(plain)


@pytest.mark.parametrize("width", [4, 100])  # 100: fewer samples than dimensions
@pytest.mark.parametrize("shrinkage", [0.1, 0.5])
def test_it_is_scikit_learns(width, shrinkage):
    first, second = normal(60, width, 1), normal(90, width, 2, 0.4)
    accuracies = []
    for held_out in (True, False):
        parts = [(x[half(len(x)) != held_out], x[half(len(x)) == held_out]) for x in (first, second)]
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.5, 0.5])
        theirs.fit(torch.cat([fit for fit, _ in parts]).numpy(), [0] * len(parts[0][0]) + [1] * len(parts[1][0]))
        accuracies.append([(theirs.predict(test.numpy()) == place).mean() for place, (_, test) in enumerate(parts)])
    expected = sum(map(sum, accuracies)) / 4
    assert separability(first, second, shrinkage=shrinkage) == pytest.approx(expected)


def test_both_modalities_count_alike():
    """All that is said is `second`: right for 900 of 1000, and no better than chance."""
    first, second = torch.zeros(100, 3), torch.zeros(900, 3)
    assert separability(first, second) == 0.5
    assert separability(second, first) == 0.5


def test_two_points_are_told_apart():
    assert separability(torch.zeros(10, 3), torch.ones(10, 3)) == 1


def test_embeddings_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="first modality are NaN or infinite"):
        separability(torch.full((4, 2), torch.inf), torch.ones(4, 2))
