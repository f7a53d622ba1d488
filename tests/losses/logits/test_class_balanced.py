import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import ClassBalanced, CrossEntropy, effective_weights
from tests.losses.logits.unbalanced import COUNTS, recalls

SCORES = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 2, -1, 1, 1, 0])


def value(counts, beta=0.999, scores=SCORES, batch=None):
    return ClassBalanced(counts, beta)({"logits": scores}, {}, batch or {"label": LABELS})


def test_weights_are_the_papers():
    """Effective numbers by their sum 1 + beta + beta^2 + ..., of which the closed form is the result."""
    counts, beta = [1, 5, 40], 0.9
    effective = [sum(beta**n for n in range(count)) for count in counts]
    total = sum(1 / each for each in effective)
    assert effective_weights(counts, beta) == pytest.approx([3 / each / total for each in effective])


def test_weights_go_from_all_alike_to_the_inverse_of_the_counts():
    assert effective_weights([1, 10, 1000], 0) == [1, 1, 1]
    inverse = [1, 0.1, 0.001]
    expected = [3 * each / sum(inverse) for each in inverse]
    # 1 - beta^n computed as such would have lost every digit: beta^1000 is 1 - 1e-12
    assert effective_weights([1, 10, 1000], 1 - 1e-15) == pytest.approx(expected, rel=1e-6)
    assert sum(effective_weights([7, 9000, 31, 2], 0.9999)) == pytest.approx(4)


def test_the_reduction_is_the_mean_over_samples_with_a_label():
    weights = torch.tensor(effective_weights([100, 10, 1], 0.999), dtype=torch.float64)
    known = LABELS >= 0
    each = F.cross_entropy(SCORES[known], LABELS[known], reduction="none")
    torch.testing.assert_close(value([100, 10, 1]), (weights[LABELS[known]] * each).sum() / 5)


def test_equal_counts_are_cross_entropy():
    expected = CrossEntropy()({"logits": SCORES}, {}, {"label": LABELS})
    torch.testing.assert_close(value([8, 8, 8]), expected)
    torch.testing.assert_close(value([1, 20, 300], beta=0), expected)


def test_a_mixed_sample_has_each_labels_weight():
    partners = torch.tensor([2, 2, 0, 1, -1, 1])
    batch = {"label": LABELS, "mixed/label": partners, "mixed/share": 0.7}
    counted = (LABELS >= 0) & (partners >= 0)
    weights = torch.tensor(effective_weights([100, 10, 1], 0.999), dtype=torch.float64)
    parts = [
        weights[each[counted]] * F.cross_entropy(SCORES[counted], each[counted], reduction="none")
        for each in (LABELS, partners)
    ]
    expected = (0.7 * parts[0] + 0.3 * parts[1]).sum() / counted.sum()
    torch.testing.assert_close(value([100, 10, 1], batch=batch), expected)


def test_the_rare_class_is_found_more_often():
    plain, balanced = recalls(CrossEntropy()), recalls(ClassBalanced(COUNTS, 0.999))
    assert plain[1] < 0.5
    assert balanced[1] > plain[1] + 0.2
    assert sum(balanced) / 2 > sum(plain) / 2 + 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": [3]}, r"ClassBalanced: counts is \[3\]. Give the number of training samples of each class"),
        ({"counts": [3, 0, 2]}, r"counts\[1\] is 0. .* leave out classes"),
        ({"counts": [3, 2], "beta": 1.0}, r"beta is 1.0. Give a number below 1"),
        ({"counts": [3, 2], "beta": -0.1}, r"ClassBalanced: beta is -0.1. Give a finite number at least 0"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        ClassBalanced(**arguments)


def test_counts_are_of_the_models_classes():
    with pytest.raises(InputError, match="counts are of 2 classes, and the model scores 3"):
        value([3, 4])
