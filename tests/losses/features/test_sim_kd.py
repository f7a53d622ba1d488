import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import SimKD
from tests.losses.cases.stages import randoms


def built(ours, theirs, *arguments):
    term = SimKD("x", "y", *arguments)
    term.build({"x": randoms(1, *ours)}, {"y": randoms(2, *theirs)}, {})
    return term.double()


@pytest.mark.parametrize("ours", [(2, 4, 6, 4), (2, 8, 3, 2), (2, 3, 1, 1)])
def test_the_projector_gives_what_the_teachers_classifier_reads(ours):
    projector = built(ours, (2, 8, 3, 2)).projector
    assert projector(randoms(1, *ours), randoms(2, 2, 8, 3, 2)).shape == (2, 8, 3, 2)
    assert [tuple(p.shape) for p in projector.parameters()] == [
        (4, ours[1], 1, 1), (4,), (4, 4, 3, 3), (4,), (8, 4, 1, 1), (8,)
    ]  # fmt: skip


def test_a_larger_map_is_pooled():
    projector = built((2, 4, 6, 4), (2, 8, 3, 2)).projector
    x, target = randoms(1, 2, 4, 6, 4), randoms(2, 2, 8, 3, 2)
    torch.testing.assert_close(projector(x, target), projector(F.avg_pool2d(x, 2), target))


def test_only_maps_are_projected():
    with pytest.raises(InputError, match="Projector cannot map"):
        built((2, 4), (2, 8))


def test_the_middle_has_at_least_one_channel():
    assert built((2, 4, 3, 2), (2, 8, 3, 2), 100).projector.mix.in_channels == 1
    with pytest.raises(InputError, match="SimKD: reduction is 0"):
        SimKD("x", "y", 0)


def test_equal_shapes_are_projected_too_and_need_a_dry_batch():
    x = {"x": torch.randn(2, 4, 3, 2), "y": torch.randn(2, 4, 3, 2)}
    with pytest.raises(InputError, match="Show the objective one batch before training"):
        SimKD("x", "y")(x, x, {})
