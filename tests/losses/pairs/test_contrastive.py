import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss

from kdmm.errors import InputError
from kdmm.losses import Contrastive, sigmoid_contrast, softmax_contrast
from tests.losses.data import flags, rotation, scalar, unit
from tests.oracles import losses as oracle

B, D = 6, 5
FIRST, SECOND = unit(B, D, 1), unit(B, D, 2)
LABELS = {
    "distinct": None,
    "duplicates": torch.tensor([7, 3, 7, 1, 3, 7]),
    "all alike": torch.zeros(B, dtype=torch.long),
}
MASKS = {"all": None, "some": flags("110101"), "one": flags("000100"), "none": flags("000000")}


def loss(form, first=FIRST, second=SECOND, labels=None, valid=None, scale=9.0, bias=-3.0):
    if form == "sigmoid":
        return sigmoid_contrast(first, second, scale, bias, labels, valid)
    return softmax_contrast(first, second, scale, labels, valid)


both_forms = pytest.mark.parametrize("form", ["softmax", "sigmoid"])


@both_forms
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("mask", MASKS)
def test_equals_the_loop(form, labels, mask):
    groups = torch.arange(B) if LABELS[labels] is None else LABELS[labels]
    valid = torch.ones(B, dtype=torch.bool) if MASKS[mask] is None else MASKS[mask]
    if form == "sigmoid":
        expected = oracle.sigmoid_contrast(FIRST, SECOND, 9.0, -3.0, groups, valid)
    else:
        expected = oracle.softmax_contrast(FIRST, SECOND, 9.0, groups, valid)
    assert loss(form, labels=LABELS[labels], valid=MASKS[mask]).item() == pytest.approx(expected, abs=1e-8)


@both_forms
def test_equals_open_clip_without_duplicates_in_value_and_gradient(form):
    ours = [FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_(), scalar(9.0, True), scalar(-3.0, True)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    if form == "sigmoid":
        value, expected = sigmoid_contrast(*ours), SigLipLoss()(*theirs)
    else:
        value, expected = softmax_contrast(*ours[:3]), ClipLoss()(*theirs[:3])
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=0)
    for a, b in list(zip(ours, theirs, strict=True))[: 4 if form == "sigmoid" else 3]:
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-9)


def test_softmax_of_equal_logits_is_log_b():
    assert softmax_contrast(FIRST, SECOND, 0.0).item() == pytest.approx(math.log(B))


def test_softmax_of_orthogonal_pairs_has_its_closed_form():
    same = torch.eye(B, dtype=torch.float64)
    assert softmax_contrast(same, same, 4.0).item() == pytest.approx(math.log(1 + (B - 1) * math.exp(-4)))


def test_sigmoid_of_equal_logits_has_its_closed_form():
    expected = math.log1p(math.exp(2)) + (B - 1) * math.log1p(math.exp(-2))
    assert sigmoid_contrast(FIRST, SECOND, 0.0, -2.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("labels", ["duplicates", "all alike"])
def test_least_softmax_value_with_duplicates_is_mean_log_of_their_number(labels):
    groups = LABELS[labels]
    same = F.one_hot(groups, 8).double()  # pairs with one label coincide, others are orthogonal
    numbers = torch.tensor([(groups == g).sum() for g in groups])
    assert softmax_contrast(same, same, 100.0, groups).item() == pytest.approx(numbers.log().mean().item())


def test_duplicate_captions_attract_each_other_and_only_as_positives():
    groups = torch.tensor([0, 0, 1, 2, 3, 4])
    first = FIRST.clone().requires_grad_()
    softmax_contrast(first, SECOND, 9.0, groups).backward()
    together = -(first.grad[0] @ SECOND[1])
    first.grad = None
    softmax_contrast(first, SECOND, 9.0).backward()
    apart = -(first.grad[0] @ SECOND[1])
    assert together > apart


@both_forms
def test_swapping_the_modalities_changes_nothing(form):
    torch.testing.assert_close(loss(form, SECOND, FIRST), loss(form), rtol=1e-12, atol=0)


@both_forms
def test_order_of_samples_changes_nothing(form):
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    groups, valid = LABELS["duplicates"], MASKS["some"]
    shuffled = loss(form, FIRST[order], SECOND[order], groups[order], valid[order])
    torch.testing.assert_close(shuffled, loss(form, labels=groups, valid=valid), rtol=1e-12, atol=0)


@both_forms
def test_rotating_both_modalities_changes_nothing(form):
    turn = rotation(D, 3)
    torch.testing.assert_close(loss(form, FIRST @ turn, SECOND @ turn), loss(form), rtol=1e-12, atol=0)


@both_forms
def test_renaming_labels_changes_nothing(form):
    groups = LABELS["duplicates"]
    torch.testing.assert_close(loss(form, labels=groups * -1000 + 5), loss(form, labels=groups))


@both_forms
def test_absent_rows_may_hold_anything(form):
    valid = MASKS["some"]
    expected = loss(form, FIRST[valid], SECOND[valid], LABELS["duplicates"][valid])
    for junk in (7.0, math.inf, math.nan):
        first = torch.where(valid[:, None], FIRST, junk).requires_grad_()
        second = torch.where(valid[:, None], SECOND, junk).requires_grad_()
        value = loss(form, first, second, LABELS["duplicates"], valid)
        value.backward()
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
        for x in (first, second):
            assert x.grad.isfinite().all()
            assert (x.grad[~valid] == 0).all()
            assert (x.grad[valid] != 0).any()


@both_forms
def test_without_pairs_it_is_zero_with_zero_gradient(form):
    first, scale = FIRST.clone().requires_grad_(), scalar(9.0, True)
    value = loss(form, first, valid=MASKS["none"], scale=scale)
    value.backward()
    assert value == 0
    assert (first.grad == 0).all()
    assert scale.grad == 0


@both_forms
@pytest.mark.parametrize("mask", ["all", "some"])
def test_gradients_are_numerically_right(form, mask):
    inputs = (FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_(), scalar(3.0, True), scalar(-1.0, True))

    def function(first, second, scale, bias):
        return loss(form, first, second, LABELS["duplicates"], MASKS[mask], scale, bias)

    assert torch.autograd.gradcheck(function, inputs if form == "sigmoid" else (*inputs[:3], -1.0))


@both_forms
def test_far_apart_logits_stay_finite(form):
    first, second = FIRST.float().requires_grad_(), SECOND.float().requires_grad_()
    value = loss(form, first, second, scale=1e6)
    value.backward()
    assert value.isfinite()
    assert first.grad.isfinite().all()


def outputs(**extra):
    return {"image": FIRST, "text": SECOND, "logit_scale": scalar(9.0), **extra}


@pytest.mark.parametrize("labels", ["duplicates", "all alike"])
def test_term_takes_labels_from_caption_id(labels):
    batch = {"caption_id": LABELS[labels]}
    term = Contrastive(["image", "text"])
    assert term(outputs(), {}, batch) == softmax_contrast(FIRST, SECOND, 9.0, LABELS[labels])
    assert term(outputs(), {}, {}) == softmax_contrast(FIRST, SECOND, 9.0)


@both_forms
def test_term_can_take_duplicates_as_negatives_like_open_clip(form):
    term = Contrastive(["image", "text"], form=form, duplicates="negative")
    batch = {"caption_id": LABELS["duplicates"]}
    assert term(outputs(logit_bias=scalar(-3.0)), {}, batch) == loss(form)


@both_forms
def test_term_counts_samples_that_have_both_modalities(form):
    flag = {"present/image": flags("110111"), "present/text": flags("111101")}
    term = Contrastive(["text", "image"], form=form)
    expected = loss(form, SECOND, FIRST, valid=MASKS["some"])
    assert term(outputs(logit_bias=scalar(-3.0), **flag), {}, {}) == expected


def test_term_multiplies_with_the_scale_and_does_not_exponentiate_it_again():
    cold = Contrastive(["image", "text"])({**outputs(), "logit_scale": scalar(0.0)}, {}, {})
    assert cold.item() == pytest.approx(math.log(B))


def test_softmax_form_ignores_a_bias_that_the_model_has():
    term = Contrastive(["image", "text"])
    assert term(outputs(logit_bias=scalar(-10.0)), {}, {}) == term(outputs(), {}, {})


def test_sigmoid_form_needs_a_bias():
    with pytest.raises(InputError, match=r"student\.logit_bias"):
        Contrastive(["image", "text"], form="sigmoid")(outputs(), {}, {})
