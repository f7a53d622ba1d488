import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import FGD, attention_gap, focal_error
from kdmm.losses.dense.box_weights import box_weights
from kdmm.losses.dense.global_context import GlobalContext
from tests.losses.cases.stages import MAPS, randoms

IMAGE = (40, 60)  # a map of 4 x 6: ten pixels a place


def weights(*boxes):
    inside, outside = box_weights([torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)], IMAGE, (4, 6))
    return inside[0], outside[0]


def test_a_box_weighs_1_in_all_and_so_does_the_background():
    inside, outside = weights([10, 10, 30, 20])
    expected = torch.zeros(4, 6, dtype=torch.float64)
    expected[1, 1:3] = 1 / 2
    assert torch.equal(inside, expected)
    assert torch.equal(outside, (expected == 0) / torch.tensor(22.0, dtype=torch.float64))


def test_a_box_covers_what_it_touches_and_at_least_one_place():
    assert weights([9, 0, 31, 10])[0].nonzero().tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert weights([25, 25, 25, 25])[0].nonzero().tolist() == [[2, 2]]
    assert weights([60, 40, 60, 40])[0].nonzero().tolist() == [[3, 5]]
    assert weights([-5, -5, 5, 5])[0].nonzero().tolist() == [[0, 0]]
    assert (weights([-5, -5, 100, 100])[0] == 1 / 24).all()


@pytest.mark.parametrize("order", [1, -1])
def test_where_boxes_overlap_the_smallest_counts(order):
    boxes = [[0, 0, 60, 40], [0, 0, 20, 20]][::order]
    inside, outside = weights(*boxes)
    assert inside[0, 0] == inside[1, 1] == 1 / 4
    assert inside[3, 5] == 1 / 24
    assert (outside == 0).all()


def test_without_boxes_all_is_background():
    inside, outside = weights()
    assert (inside == 0).all()
    assert (outside == 1 / 24).all()


def test_attention_is_even_where_activations_are():
    """Then the focal error is the weighted sum of squares, and the gap is 0."""
    teacher = torch.ones(2, 3, 4, 5, dtype=torch.float64)
    student, of_places = randoms(1, 2, 3, 4, 5), randoms(2, 2, 4, 5).abs()
    expected = (of_places[:, None] * (student - 1).square()).sum((1, 2, 3))
    torch.testing.assert_close(focal_error(student, teacher, of_places), expected)
    assert (attention_gap(-teacher, teacher) == 0).all()


def test_attention_gap_of_a_place_that_one_sees_alone():
    """At a low temperature all of the teacher's attention is on one of 4 places, the student's is even."""
    teacher = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    teacher[0, 0, 0, 0] = 1.0
    student = torch.full((1, 1, 2, 2), 0.25, dtype=torch.float64)
    assert attention_gap(student, teacher, 1e-3).item() == pytest.approx((4 - 1) + 3 * 1)


def test_the_context_begins_as_nothing_and_is_the_same_at_all_places():
    block, x = GlobalContext(4).double(), randoms(1, 2, 4, 3, 3)
    assert torch.equal(block(x), x)
    torch.nn.init.normal_(block.widen.weight)
    added = block(x) - x
    torch.testing.assert_close(added, added[:, :, :1, :1].expand_as(added))
    assert (added.abs().sum() > 0).all()
    assert GlobalContext(1)(torch.randn(2, 1, 3, 3)).shape == (2, 1, 3, 3)


def built(**settings):
    term = FGD("map", "map", **settings)
    term.build(*MAPS, {})
    return term.double()


def batch(boxes):
    return {"boxes": boxes, "image_size": IMAGE}


def test_each_part_has_its_weight():
    boxes = [torch.tensor([[0.0, 0.0, 20.0, 20.0]])] * 6
    off = {"foreground": 0.0, "background": 0.0, "attention": 0.0, "relation": 0.0}
    parts = [built(**{**off, name: 2.0})(*MAPS, batch(boxes)) for name in off]
    whole = built(foreground=2.0, background=2.0, attention=2.0, relation=2.0)(*MAPS, batch(boxes))
    torch.testing.assert_close(sum(parts), whole)
    assert all(part > 0 for part in parts)


def test_images_may_have_different_numbers_of_objects():
    ragged = [torch.tensor([[0.0, 0.0, 10.0, 10.0]] * n).reshape(n, 4) for n in (0, 1, 2, 3, 0, 1)]
    padded = [boxes[:1] for boxes in ragged]
    assert built()(*MAPS, batch(ragged)) == built()(*MAPS, batch(padded))


SCORES = torch.tensor([0.9, 0.5, 0.49])
FOUND = torch.tensor([[0.0, 0.0, 20.0, 20.0], [30.0, 10.0, 60.0, 40.0], [5.0, 5.0, 9.0, 9.0]])


def finding(count=6, **others):
    """The teacher with three detections a picture, of which the last falls short of a score of a half."""
    rows = torch.cat([FOUND, SCORES[:, None], torch.zeros(3, 1)], 1)
    return {**MAPS[1], "detections": rows.expand(count, -1, -1), **others}


def test_what_the_teacher_finds_stands_for_the_boxes_of_pictures_that_are_not_marked():
    drawn = [torch.tensor([[10.0, 0.0, 30.0, 10.0]])] * 6
    marked = torch.tensor([True, False, True, True, False, True])
    given = [mine if known else torch.empty(0, 4) for mine, known in zip(drawn, marked.tolist(), strict=True)]
    found = built(least_score=0.5)(MAPS[0], finding(), {**batch(given), "marked": marked})
    by_hand = [mine if known else FOUND[:2] for mine, known in zip(drawn, marked.tolist(), strict=True)]
    assert found == built()(*MAPS, batch(by_hand))
    assert found != built()(MAPS[0], finding(), {**batch(given), "marked": marked})


def test_rows_of_detections_that_are_none_are_no_boxes():
    nothing = batch([torch.empty(0, 4)] * 6)
    there = torch.tensor([True, False, True]).expand(6, 3)
    found = built(least_score=0)(
        MAPS[0], finding(**{"valid/detections": there}), {**nothing, "marked": torch.zeros(6, dtype=torch.bool)}
    )
    assert found == built()(*MAPS, batch([FOUND[[0, 2]]] * 6))
    assert built(least_score=0)(MAPS[0], finding(), nothing) == built()(*MAPS, nothing)  # where all are marked


@pytest.mark.parametrize("missing", ["boxes", "image_size"])
def test_what_the_batch_lacks_is_named(missing):
    given = {name: x for name, x in batch([torch.empty(0, 4)] * 6).items() if name != missing}
    with pytest.raises(InputError, match=f"FGD: the batch has no '{missing}'"):
        built()(*MAPS, given)


@pytest.mark.parametrize("boxes", [[torch.empty(0, 4)] * 5, [torch.empty(2, 5)] * 6, [torch.empty(4)] * 6])
def test_boxes_that_do_not_fit_are_refused(boxes):
    with pytest.raises(InputError, match="FGD: boxes has the shapes"):
        built()(*MAPS, batch(boxes))


def test_settings_and_layers_are_checked():
    with pytest.raises(InputError, match="FGD: foreground is -1"):
        FGD("map", "map", foreground=-1)
    with pytest.raises(InputError, match="FGD: relation is nan"):
        FGD("map", "map", relation=math.nan)
    with pytest.raises(InputError, match=r"FGD: least_score is 1.5"):
        FGD("map", "map", least_score=1.5)
    with pytest.raises(InputError, match=r"A term reads teacher.detections"):
        built(least_score=0.5)(*MAPS, batch([torch.empty(0, 4)] * 6))
    with pytest.raises(InputError, match=r"FGD: teacher\.map is \(3, 5\)"):
        FGD("map", "map").build({"map": torch.randn(3, 5)}, {"map": torch.randn(3, 5)}, {})
