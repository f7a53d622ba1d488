import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import PixelCrossEntropy
from tests.losses.cases.stages import randoms

B, C, H, W = 3, 4, 6, 8
LOGITS = randoms(1, B, C, H, W)
LABELS = torch.randint(0, C, (B, H, W), generator=torch.Generator().manual_seed(0))
LABELS[0, :2] = 255
LABELS[2] = 255  # nobody has marked this picture


def loss(logits=LOGITS, labels=LABELS, **settings):
    return PixelCrossEntropy(**settings)({"logits": logits}, {}, {"label_map": labels})


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_it_is_torchs_cross_entropy_over_the_pixels_that_count(smoothing):
    expected = F.cross_entropy(LOGITS, LABELS, ignore_index=255, label_smoothing=smoothing)
    torch.testing.assert_close(loss(smoothing=smoothing), expected)


def test_logits_are_interpolated_to_the_labels_and_no_label_is_lost():
    small = randoms(2, B, C, 3, 4)
    expected = F.cross_entropy(F.interpolate(small, size=(H, W), mode="bilinear"), LABELS, ignore_index=255)
    torch.testing.assert_close(loss(small), expected)
    one = torch.full((1, 32, 32), 255)
    one[0, 17, 3] = 2
    torch.testing.assert_close(loss(torch.zeros(1, 4, 8, 8).double(), one), torch.tensor(math.log(4)).double())


def test_pixels_that_do_not_count_get_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    loss(logits).backward()
    counts = (LABELS != 255)[:, None].expand_as(logits)
    assert (logits.grad[~counts] == 0).all()
    assert (logits.grad[counts] != 0).all()


def test_without_a_labelled_pixel_it_is_0_with_gradients_of_0():
    logits = LOGITS.clone().requires_grad_()
    value = loss(logits, torch.full_like(LABELS, 255))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_places_that_are_padding_do_not_count():
    flags = torch.ones(B, 3, 4, dtype=torch.bool)
    flags[:, :, 2:] = False
    value = PixelCrossEntropy()({"logits": LOGITS, "valid/logits": flags}, {}, {"label_map": LABELS})
    cut = torch.where(torch.arange(W) < 4, LABELS, 255)
    torch.testing.assert_close(value, loss(labels=cut))


def test_wrong_labels_and_logits_are_named():
    with pytest.raises(InputError, match=r"holds labels from 0 to 3, but the model scores 3 classes"):
        loss(LOGITS[:, :3])
    with pytest.raises(InputError, match=r"holds labels from -1 to 3"):
        loss(labels=torch.where(LABELS == 0, -1, LABELS))
    with pytest.raises(InputError, match=r"the batch holds only labelmap.*`canvas`.*Did you mean 'labelmap'"):
        PixelCrossEntropy()({"logits": LOGITS}, {}, {"labelmap": LABELS})
    with pytest.raises(InputError, match=r"student.logits has the shape \(3, 4\).*take CrossEntropy"):
        loss(LOGITS[:, :, 0, 0])
    with pytest.raises(InputError, match="PixelCrossEntropy: smoothing is 2"):
        PixelCrossEntropy(smoothing=2)
