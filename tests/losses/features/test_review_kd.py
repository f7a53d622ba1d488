import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import ReviewKD, hierarchical_context
from tests.losses.cases.stages import STAGES, randoms


def test_a_constant_difference_is_its_square_at_every_level():
    x = randoms(1, 2, 3, 8, 8)
    torch.testing.assert_close(hierarchical_context(x + 0.5, x), torch.full((2,), 0.25, dtype=torch.float64))


def test_what_cancels_in_every_window_counts_at_the_finest_level_alone():
    board = (-1.0) ** (torch.arange(8)[:, None] + torch.arange(8)).expand(1, 1, 8, 8)
    weights = [1, 1 / 2, 1 / 4, 1 / 8]  # the map itself, 4 x 4, 2 x 2, 1 x 1
    found = hierarchical_context(board, torch.zeros(1, 1, 8, 8))
    assert found.item() == pytest.approx(1 / sum(weights))


def test_a_map_of_one_place_has_one_level():
    assert hierarchical_context(torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)).item() == 1


def test_the_width_is_the_deepest_stages_unless_set():
    for width, expected in ((None, 3), (5, 5)):
        term = ReviewKD({"map": "map", "deep": "deep"}, width)
        term.build(*STAGES, {})
        assert [fusion.narrow.out_channels for fusion in term.fusions] == [expected, expected]
        assert [fusion.attend is None for fusion in term.fusions] == [False, True]


def test_a_deeper_stage_reaches_the_loss_of_the_first():
    student = {name: x.clone().requires_grad_() for name, x in STAGES[0].items()}
    term = ReviewKD({"map": "map", "deep": "deep"})
    term.build(*STAGES, {})
    term.double()
    _, handed_on = term.fusions[1](student["deep"], None, (2, 2))
    first, _ = term.fusions[0](student["map"], handed_on, (4, 3))
    first.sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in student.values())


def test_one_layer_is_refused():
    with pytest.raises(InputError, match="ReviewKD: layers has one entry"):
        ReviewKD({"map": "map"})


def test_tokens_are_refused():
    tokens = {"map": randoms(1, 2, 5, 3), "deep": randoms(1, 2, 5, 3)}
    with pytest.raises(InputError, match=r"ReviewKD: student\.map is \(2, 5, 3\)"):
        ReviewKD({"map": "map", "deep": "deep"}).build(tokens, tokens, {})


def test_a_width_below_1_is_refused():
    with pytest.raises(InputError, match="ReviewKD: width is 0"):
        ReviewKD({"map": "map", "deep": "deep"}, width=0)
