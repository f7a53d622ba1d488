import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import CrossEntropy, smoothed_cross_entropy

SCORES = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 2, 1, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_it_is_torchs(smoothing):
    expected = F.cross_entropy(SCORES, LABELS, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(smoothed_cross_entropy(SCORES, LABELS, smoothing), expected)


def test_samples_without_a_label_do_not_count():
    labels = torch.tensor([0, -1, 2, -1, 1])
    value = CrossEntropy()({"logits": SCORES}, {}, {"label": labels})
    torch.testing.assert_close(value, F.cross_entropy(SCORES, labels, ignore_index=-1))
    assert CrossEntropy()({"logits": SCORES}, {}, {"label": torch.full((5,), -1)}) == 0


def test_masked_classes_get_no_share_of_the_smoothing():
    masked = torch.cat([SCORES, torch.full((5, 3), -math.inf, dtype=torch.float64)], 1).requires_grad_()
    value = smoothed_cross_entropy(masked, LABELS, 0.2)
    torch.testing.assert_close(value, smoothed_cross_entropy(SCORES, LABELS, 0.2))
    value.sum().backward()
    assert masked.grad.isfinite().all()
    assert (masked.grad[:, 4:] == 0).all()


def test_labels_may_be_small_integers_or_a_list():
    expected = F.cross_entropy(SCORES, LABELS)
    for labels in (LABELS.int(), LABELS.tolist()):
        torch.testing.assert_close(CrossEntropy()({"logits": SCORES}, {}, {"label": labels}), expected)


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan])
def test_the_smoothing_is_a_share(smoothing):
    with pytest.raises(InputError, match="CrossEntropy: smoothing is"):
        CrossEntropy(smoothing=smoothing)


def test_what_is_missing_or_of_another_kind_is_named():
    with pytest.raises(InputError, match=r"label is 'digit', but the batch holds only digits.* Did you mean 'digits'"):
        CrossEntropy("digit")({"logits": SCORES}, {}, {"digits": LABELS})
    for labels in (LABELS + 1, LABELS - 2):
        with pytest.raises(InputError, match=r"holds labels from .* scores 4 classes\. Give 0 to 3, and -1"):
            CrossEntropy()({"logits": SCORES}, {}, {"label": labels})
    with pytest.raises(InputError, match="student gives only logits"):
        CrossEntropy(logits="scores")({"logits": SCORES}, {}, {"label": LABELS})
    with pytest.raises(InputError, match=r"has the shape \(5, 4, 1\).*For tokens"):
        CrossEntropy()({"logits": SCORES[..., None]}, {}, {"label": LABELS})
