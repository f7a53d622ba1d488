import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.losses import KD, LogitMSE, score_distance


def scores(seed, rows=6, classes=5):
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = scores(1), scores(2)


def test_it_is_torchs():
    found = LogitMSE()({"logits": STUDENT}, {"logits": TEACHER}, {})
    torch.testing.assert_close(found, F.mse_loss(STUDENT, TEACHER))


def test_kds_gradient_nears_half_of_its_gradient_at_high_temperatures_where_means_agree():
    gradients = []
    for term in (KD(1e4), LogitMSE()):
        student = (STUDENT - STUDENT.mean(1, keepdim=True)).requires_grad_()
        term({"logits": student}, {"logits": TEACHER - TEACHER.mean(1, keepdim=True)}, {}).backward()
        gradients.append(student.grad)
    torch.testing.assert_close(gradients[0], gradients[1] / 2, rtol=1e-3, atol=1e-5)


def test_classes_that_both_mask_are_left_out_and_those_that_one_masks_are_infinitely_far():
    masked = [torch.cat([x, torch.full((6, 2), -math.inf, dtype=x.dtype)], 1) for x in (STUDENT, TEACHER)]
    masked[0].requires_grad_()
    value = score_distance(*masked)
    torch.testing.assert_close(value, score_distance(STUDENT, TEACHER))
    value.sum().backward()
    assert masked[0].grad.isfinite().all()
    assert (score_distance(masked[0].detach(), torch.cat([TEACHER, TEACHER[:, :2]], 1)) == math.inf).all()


def test_scores_at_which_float16_overflows():
    far = score_distance(torch.tensor([[300.0, 0.0]]).half(), torch.tensor([[-300.0, 0.0]]).half())
    assert far.item() == pytest.approx(180_000)
