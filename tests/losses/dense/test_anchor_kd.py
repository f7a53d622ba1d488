import math

import pytest
import torch
from torchvision.ops import generalized_box_iou_loss

from kdmm.errors import InputError
from kdmm.losses import AnchorKD, box_distance, score_divergence
from kdmm.losses.dense.anchor_kd import largest_gap
from kdmm.losses.dense.anchor_match import AnchorMatch
from tests.losses.cases.dense import ANCHORS, OTHER_ANCHORS, rectangles
from tests.losses.cases.stages import randoms

CELLS = torch.tensor([[x, y, x + 8, y + 8] for y in (0.0, 8.0, 16.0) for x in (0.0, 8.0, 16.0)])


def test_a_score_of_a_half_beside_certainty_costs_half_of_log_two():
    student, teacher = torch.zeros(1, 1, 2), torch.tensor([[[40.0, 0.0]]])
    assert score_divergence(student, teacher).item() == pytest.approx(0.5 * math.log(2), rel=1e-6)


def test_boxes_are_as_far_apart_as_torchvision_says():
    ours, theirs = rectangles(1, 200), rectangles(3, 200)
    expected = generalized_box_iou_loss(ours, theirs, eps=0.0)
    torch.testing.assert_close(box_distance(ours, theirs), expected, rtol=1e-12, atol=1e-12)


def test_closed_forms_of_the_distance_of_boxes():
    square = torch.tensor([0.0, 0.0, 2.0, 2.0])
    assert box_distance(square, square) == 0
    assert box_distance(square, square + 1).item() == pytest.approx(1 - 1 / 7 + 2 / 9)
    assert box_distance(square, square + torch.tensor([4.0, 0, 4, 0])).item() == pytest.approx(1 + 4 / 12)
    point = torch.tensor([1.0, 1.0, 1.0, 1.0], requires_grad=True)
    assert box_distance(point, square) == 1
    box_distance(point, point.detach()).backward()
    assert point.grad.isfinite().all()


def test_the_gradient_is_that_of_boxes_with_weights_held_fixed():
    term, (student, teacher) = AnchorKD(box_weight=2), ANCHORS
    logits = student["class_logits"].clone().requires_grad_()
    boxes = student["anchor_boxes"].clone().requires_grad_()
    term({**student, "class_logits": logits, "anchor_boxes": boxes}, teacher, {}).backward()
    weights = largest_gap(logits, teacher["class_logits"])
    mass = teacher["class_logits"].sigmoid().amax(2).sum()

    def held(our_logits, our_boxes):
        apart = score_divergence(our_logits, teacher["class_logits"])
        return (apart + 2 * weights * box_distance(our_boxes, teacher["anchor_boxes"])).sum() / mass

    inputs = [x.detach().clone().requires_grad_() for x in (logits, boxes)]
    assert torch.autograd.gradcheck(held, inputs, fast_mode=True)
    expected = torch.autograd.grad(held(*inputs), inputs)
    torch.testing.assert_close((logits.grad, boxes.grad), expected, rtol=1e-10, atol=1e-12)


def test_anchors_are_matched_with_the_teachers_that_overlap_most():
    match = AnchorMatch()
    larger = torch.tensor([[0.0, 0.0, 12.0, 12.0], [12.0, 0.0, 24.0, 24.0], [90.0, 90.0, 99.0, 99.0]])
    number, touches = match(CELLS, larger)
    assert number[:6].tolist() == [0, 0, 1, 0, 1, 1]
    assert touches.tolist() == [True] * 6 + [False, True, True]
    number, touches = match(larger, CELLS)
    assert (number[0].item(), touches.tolist()) == (0, [True, True, False])
    number, touches = match(CELLS, CELLS)
    assert number.tolist() == list(range(9))
    assert touches.all()


def test_no_anchor_is_matched_with_one_without_an_area_or_with_none():
    match = AnchorMatch()
    flat = torch.cat([torch.zeros(1, 4), CELLS[1:]])
    assert match(CELLS[:1], flat)[1].tolist() == [False]
    assert match(flat, flat)[1].tolist() == [False] + [True] * 8
    assert match(CELLS, torch.zeros(0, 4))[1].tolist() == [False] * 9


def test_many_anchors_are_matched_in_parts_as_in_one(monkeypatch):
    student, teacher = rectangles(5, 50), rectangles(7, 40)
    whole = AnchorMatch()(student, teacher)
    monkeypatch.setattr("kdmm.losses.dense.anchor_match.ROWS", 7)
    assert all(torch.equal(a, b) for a, b in zip(AnchorMatch()(student, teacher), whole, strict=True))


def test_a_match_is_kept_only_for_the_same_anchors():
    match = AnchorMatch()
    match(CELLS, CELLS)
    assert match(CELLS + 8, CELLS)[0][:2].tolist() == [4, 5]
    assert match(CELLS, CELLS.flip(0))[0].tolist() == list(range(8, -1, -1))


def test_a_student_that_reads_pictures_of_another_size_learns_to_agree():
    """Both are in pixels of the canvas: a coarser grid follows the cells that it overlaps."""
    coarse = torch.tensor([[x, y, x + 12, y + 12] for y in (0.0, 12.0) for x in (0.0, 12.0)])
    teacher = {"class_logits": torch.full((1, 9, 2), -6.0), "anchors": CELLS[None]}
    teacher["class_logits"][0, 4] = torch.tensor([5.0, -5.0])  # the middle cell, from 8 to 16
    teacher["class_logits"][0, 0] = torch.tensor([-5.0, 4.0])  # lies in the first one of the coarse grid alone
    logits = torch.zeros(1, 4, 2, requires_grad=True)
    student = {"class_logits": logits, "anchors": coarse[None]}
    term = AnchorKD(boxes=None)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        value = term(student, teacher, {})
        value.backward()
        optimizer.step()
    assert value < 1e-3
    assert logits[0, 0].sigmoid().tolist() == pytest.approx([0.0, 1.0], abs=0.05)
    assert logits[0, 1:].sigmoid().max() < 0.05


def test_pictures_without_labels_count_as_others_do():
    term, (student, teacher) = AnchorKD(), OTHER_ANCHORS
    marked = torch.tensor([True, False, True, False, False, True])
    assert term(student, teacher, {"marked": marked, "boxes": []}) == term(student, teacher, {})


def test_a_teacher_that_sees_nothing_divides_by_no_less_than_one():
    student, teacher = ANCHORS
    teacher = {**teacher, "class_logits": torch.full((6, 9, 3), -30.0, dtype=torch.float64)}
    expected = score_divergence(student["class_logits"], teacher["class_logits"]).sum()
    torch.testing.assert_close(AnchorKD(boxes=None)(student, teacher, {}), expected)


@pytest.mark.parametrize(
    ("settings", "student", "teacher", "words"),
    [
        ({}, {"class_logits": randoms(1, 2, 5, 3)}, {"class_logits": randoms(1, 2, 5, 4)}, "as many classes"),
        ({}, {"class_logits": randoms(1, 2, 3)}, {"class_logits": randoms(1, 2, 3)}, r"\(B, A, C\)"),
        ({"anchors": None}, {"class_logits": randoms(1, 2, 5, 3)}, {"class_logits": randoms(1, 2, 6, 3)}, "5 anchors"),
        ({"classes": "logits"}, {"class_logits": randoms(1, 2, 5, 3)}, {}, r"student\.logits"),
    ],
)
def test_what_does_not_fit_is_refused(settings, student, teacher, words):
    with pytest.raises(InputError, match=words):
        AnchorKD(**settings)(student, teacher, {})


def test_the_weight_of_boxes_is_at_least_zero():
    with pytest.raises(InputError, match="box_weight is -1"):
        AnchorKD(box_weight=-1)
