import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import CrossEntropy, LogitAdjusted, log_prior
from tests.losses.logits.unbalanced import CENTRES, COUNTS, fitted, points, recalls

SCORES = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 2, -1, 1, 1, 0])


def value(counts, **arguments):
    return LogitAdjusted(counts, **arguments)({"logits": SCORES}, {}, {"label": LABELS})


def test_the_prior_is_each_classs_share():
    assert [math.exp(each) for each in log_prior([6, 3, 1])] == pytest.approx([0.6, 0.3, 0.1])


def test_constant_scores_cost_the_entropy_of_the_labels():
    """The prior alone predicts labels that occur as counted as well as constants can."""
    counts = [6, 3, 1]
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    found = LogitAdjusted(counts)({"logits": torch.zeros(10, 3)}, {}, {"label": labels})
    assert found == pytest.approx(-sum(n / 10 * math.log(n / 10) for n in counts))


def test_it_is_cross_entropy_of_scores_plus_the_prior():
    added = 0.5 * torch.tensor([0.9, 0.09, 0.01], dtype=torch.float64).log()
    expected = F.cross_entropy(SCORES + added, LABELS, ignore_index=-1)
    torch.testing.assert_close(value([90, 9, 1], tau=0.5), expected)


def test_equal_counts_or_no_tau_are_cross_entropy():
    expected = CrossEntropy()({"logits": SCORES}, {}, {"label": LABELS})
    torch.testing.assert_close(value([8, 8, 8]), expected)
    torch.testing.assert_close(value([90, 9, 1], tau=0), expected)


def test_a_linear_model_learns_what_cross_entropy_learns_less_the_prior():
    """Its bias can take the prior over, so both have one minimum, in other coordinates."""
    plain, adjusted = fitted(CrossEntropy()), fitted(LogitAdjusted(COUNTS))

    def boundary(model):
        return model.weight[1] - model.weight[0], model.bias[1] - model.bias[0]

    (direction, bias), (other, other_bias) = boundary(plain), boundary(adjusted)
    torch.testing.assert_close(other, direction, rtol=1e-5, atol=1e-7)
    assert other_bias.item() == pytest.approx(bias.item() + math.log(COUNTS[0] / COUNTS[1]), rel=1e-5)


def test_the_rare_class_is_found_as_often_as_balanced_data_would_let():
    plain, adjusted = recalls(CrossEntropy()), recalls(LogitAdjusted(COUNTS))
    assert plain[1] < 0.5
    assert adjusted[1] > plain[1] + 0.2
    x, labels = points([4000, 4000], 1)
    nearest = torch.cdist(x, CENTRES).argmin(1) == labels  # no classifier has less balanced error
    best = nearest.double().mean().item()
    assert sum(plain) / 2 < best - 0.05
    assert sum(adjusted) / 2 == pytest.approx(best, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": []}, r"LogitAdjusted: counts is \[\]. Give the number"),
        ({"counts": [3, 2, 0]}, r"counts\[2\] is 0"),
        ({"counts": [3, 2], "tau": -1}, "LogitAdjusted: tau is -1. Give a finite number at least 0"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        LogitAdjusted(**arguments)


def test_counts_are_of_the_models_classes():
    with pytest.raises(InputError, match="counts are of 4 classes, and the model scores 3"):
        value([3, 4, 1, 1])
