import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import PairwisePixels, pairwise_difference
from tests.losses.cases.stages import randoms

STUDENT, TEACHER = randoms(1, 2, 3, 4, 5), randoms(2, 2, 6, 4, 5)
ALL = torch.ones(2, 4, 5, dtype=torch.bool)


def test_a_closed_form():
    """Two places: the teacher's vectors are 60 degrees apart, the student's at right angles; 2 pairs of 4 differ."""
    teacher = torch.tensor([[1.0, 0.5], [0.0, math.sqrt(0.75)]]).reshape(1, 2, 1, 2).double()
    student = torch.eye(2).reshape(1, 2, 1, 2).double()
    assert pairwise_difference(student, teacher, ALL[:1, :1, :2]).item() == pytest.approx(2 * 0.5**2 / 4)
    assert pairwise_difference(-student, student, ALL[:1, :1, :2]).item() == 0


def test_pairs_that_are_opposite_to_the_one_and_alike_to_the_other_come_to_4_each():
    teacher = torch.ones(1, 1, 1, 2).double()
    student = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2).double()
    assert pairwise_difference(student, teacher, ALL[:1, :1, :2]).item() == 2 * 2**2 / 4


def test_of_single_channels_it_is_the_share_of_pairs_whose_signs_differ():
    ours, theirs = STUDENT[:, :1], TEACHER[:, :1]
    differ = [
        (a.flatten().sign().outer(a.flatten().sign()) != b.flatten().sign().outer(b.flatten().sign())).double().mean()
        for a, b in zip(ours, theirs, strict=True)
    ]
    torch.testing.assert_close(pairwise_difference(ours, theirs, ALL), 4 * torch.stack(differ))


def test_places_that_do_not_count_are_as_if_they_were_not_there():
    keep = ALL.clone()
    keep[:, :, 3:] = False
    found = pairwise_difference(STUDENT, TEACHER, keep)
    torch.testing.assert_close(found, pairwise_difference(STUDENT[..., :3], TEACHER[..., :3], ALL[..., :3]))


def test_a_place_of_zeros_is_like_no_other_and_has_a_finite_gradient():
    student = STUDENT.clone()
    student[:, :, 0, 0] = 0
    student.requires_grad_()
    pairwise_difference(student, TEACHER, ALL).sum().backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(("size", "patch", "nodes"), [((4, 6), 2, 6), ((5, 6), 2, 9), ((8, 12), 1, 24), ((4, 6), 9, 1)])
def test_regions_are_patches_of_the_coarser_map(size, patch, nodes, monkeypatch):
    seen = []
    real = pairwise_difference
    module = "kdmm.losses.dense.pairwise_pixels.pairwise_difference"
    monkeypatch.setattr(module, lambda *given: seen.append([x.shape[-2:].numel() for x in given]) or real(*given))
    term = PairwisePixels("s", "t", patch=patch)
    term({"s": randoms(1, 2, 3, *size)}, {"t": randoms(2, 2, 5, 4, 6) if patch != 2 else randoms(2, 2, 5, 9, 9)}, {})
    assert seen == [[nodes] * 3]


def test_it_is_named_what_is_not_a_map_and_what_is_no_patch():
    with pytest.raises(InputError, match="PairwisePixels: patch is 0"):
        PairwisePixels("s", "t", patch=0)
    with pytest.raises(InputError, match=r"PairwisePixels: teacher\.t is \(2, 5\).*take SimilarityPreserving"):
        PairwisePixels("s", "t").build({"s": STUDENT}, {"t": torch.zeros(2, 5)}, {})
