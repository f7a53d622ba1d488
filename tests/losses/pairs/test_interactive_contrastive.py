import math

import pytest
import torch
from open_clip.loss import ClipLoss

from kdmm.losses import InteractiveContrastive, anchored_contrast
from tests.losses.data import flags, rotation, scalar, unit
from tests.oracles import losses as oracle

B, D = 6, 5
STUDENT, TEACHER = (unit(B, D, 1), unit(B, D, 2)), (unit(B, D, 3), unit(B, D, 4))
ALL = flags("111111")
LABELS = {"distinct": None, "duplicates": torch.tensor([7, 3, 7, 1, 3, 7])}
MASKS = {"all": ALL, "some": flags("110101"), "one": flags("000100"), "none": flags("000000")}


def loss(student=STUDENT[0], teacher=TEACHER[1], scale=9.0, valid=ALL, labels=None):
    return anchored_contrast(student, teacher, scale, valid, labels)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("mask", MASKS)
def test_equals_the_loop(labels, mask):
    groups = torch.arange(B) if LABELS[labels] is None else LABELS[labels]
    expected = oracle.anchored_contrast(STUDENT[0], TEACHER[1], 9.0, groups, MASKS[mask])
    assert loss(valid=MASKS[mask], labels=LABELS[labels]).item() == pytest.approx(expected, rel=1e-10)


def test_both_directions_of_the_same_two_towers_are_open_clips_loss():
    both = (loss(STUDENT[0], TEACHER[1]) + loss(TEACHER[1], STUDENT[0])) / 2
    torch.testing.assert_close(both, ClipLoss()(STUDENT[0], TEACHER[1], 9.0))


def test_equal_logits_give_log_b():
    assert loss(scale=0.0).item() == pytest.approx(math.log(B))


def test_orthogonal_pairs_have_their_closed_form():
    same = torch.eye(B, dtype=torch.float64)
    assert loss(same, same, 4.0).item() == pytest.approx(math.log(1 + (B - 1) * math.exp(-4)))


def test_order_rotation_and_student_length_change_nothing():
    order, turn = torch.tensor([3, 0, 5, 1, 4, 2]), rotation(D, 3)
    torch.testing.assert_close(loss(STUDENT[0][order], TEACHER[1][order]), loss())
    torch.testing.assert_close(loss(STUDENT[0] @ turn, TEACHER[1] @ turn), loss())
    torch.testing.assert_close(loss(3 * STUDENT[0]), loss())


def test_absent_rows_may_hold_anything():
    valid = MASKS["some"]
    for junk in (0.0, torch.inf, torch.nan):
        student = torch.where(valid[:, None], STUDENT[0], junk).requires_grad_()
        value = loss(student, torch.where(valid[:, None], TEACHER[1], junk), valid=valid)
        value.backward()
        torch.testing.assert_close(value, loss(STUDENT[0][valid], TEACHER[1][valid], valid=valid[valid]))
        assert student.grad.isfinite().all()
        assert (student.grad[~valid] == 0).all()


@pytest.mark.parametrize("mask", ["all", "some"])
def test_gradients_are_numerically_right(mask):
    inputs = STUDENT[0].clone().requires_grad_(), scalar(3.0, True)
    groups = LABELS["duplicates"]
    assert torch.autograd.gradcheck(lambda x, s: loss(x, TEACHER[1], s, MASKS[mask], groups), inputs)


def outputs(pair, **extra):
    return {"image": pair[0], "text": pair[1], **extra}


@pytest.mark.parametrize("labels", LABELS)
def test_term_is_the_mean_of_the_two_directions(labels):
    batch = {} if LABELS[labels] is None else {"caption_id": LABELS[labels]}
    value = InteractiveContrastive(["image", "text"])(
        outputs(STUDENT, logit_scale=scalar(9.0)), outputs(TEACHER), batch
    )
    expected = loss(labels=LABELS[labels]) + loss(STUDENT[1], TEACHER[0], labels=LABELS[labels])
    assert value == expected / 2


def test_term_with_its_own_temperature_and_duplicates_as_negatives():
    term = InteractiveContrastive(["image", "text"], temperature=0.5, duplicates="negative")
    value = term(outputs(STUDENT), outputs(TEACHER), {"caption_id": LABELS["duplicates"]})
    assert value == (loss(scale=2.0) + loss(STUDENT[1], TEACHER[0], 2.0)) / 2


def test_each_direction_counts_what_it_compares():
    student = outputs(STUDENT, logit_scale=scalar(9.0), **{"present/image": flags("110111")})
    teacher = outputs(TEACHER, **{"present/text": flags("111101"), "present/image": flags("111000")})
    expected = loss(valid=flags("110101")) + loss(STUDENT[1], TEACHER[0], valid=flags("111000"))
    assert InteractiveContrastive(["image", "text"])(student, teacher, {}) == expected / 2


def test_each_modality_has_its_own_map_where_widths_differ():
    term = InteractiveContrastive(["image", "text"], temperature=1)
    wide = unit(B, 8, 5), unit(B, 8, 6)
    term.build(outputs(STUDENT), outputs(wide), {})
    term.double()
    value = term(outputs(STUDENT), outputs(wide), {})
    first, second = term.adapter("image").map, term.adapter("text").map
    assert value == (loss(first(STUDENT[0]), wide[1], 1.0) + loss(second(STUDENT[1]), wide[0], 1.0)) / 2
    value.backward()
    assert first.weight.grad.abs().sum() > 0
    assert second.weight.grad.abs().sum() > 0
    assert not torch.equal(first.weight, second.weight)
