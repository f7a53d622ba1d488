import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import HiddenStates, state_distance
from kdmm.losses.adapters import Width

B, T, D, E = 3, 4, 5, 6


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER, WIDE = normal(B, T, D, seed=1), normal(B, T, D, seed=2), normal(B, T, E, seed=3)


def test_distances_are_torchs():
    ours, theirs = STUDENT.flatten(0, 1), TEACHER.flatten(0, 1)
    torch.testing.assert_close(state_distance(ours, theirs).mean(), F.mse_loss(ours, theirs))
    expected = F.cosine_embedding_loss(ours, theirs, torch.ones(B * T))
    torch.testing.assert_close(state_distance(ours, theirs, "cosine").mean(), expected)


def test_layers_are_summed():
    student, teacher = {"a": STUDENT, "b.0": TEACHER}, {"x": TEACHER, "y": 2 * TEACHER}
    value = HiddenStates({"a": "x", "b.0": "y"})(student, teacher, {})
    torch.testing.assert_close(value, F.mse_loss(STUDENT, TEACHER) + F.mse_loss(TEACHER, 2 * TEACHER))


def test_maps_are_made_where_widths_differ_or_where_asked_for_and_get_gradients():
    student, teacher = {"a": STUDENT, "b": STUDENT}, {"x": WIDE, "y": TEACHER}
    assert not list(HiddenStates({"b": "y"}).parameters())
    term = HiddenStates({"a": "x", "b": "y"}, adapters={"b": Width(always=True)})
    term.build(student, teacher, {})
    term.double()
    assert [tuple(p.shape) for p in term.parameters()] == [(E, D), (E,), (D, D), (D,)]
    value = term(student, teacher, {})
    value.backward()
    assert all(p.grad.abs().sum() > 0 for p in term.parameters())


def test_large_states_do_not_overflow_in_float16():
    student, teacher = (1000 * STUDENT).half(), (1000 * TEACHER).half()
    for distance in ("mse", "cosine"):
        value = HiddenStates({"a": "x"}, distance)({"a": student}, {"x": teacher}, {})
        expected = HiddenStates({"a": "x"}, distance)({"a": student.double()}, {"x": teacher.double()}, {})
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match="layers is empty"):
        HiddenStates({})
    with pytest.raises(InputError, match=r"adapters names 'layer\.2'.* layer\.1\. Did you mean"):
        HiddenStates({"layer.1": "x"}, adapters={"layer.2": Width()})
    with pytest.raises(InputError, match=r"student\.a has 3 tokens a sequence, and teacher\.x 4"):
        HiddenStates({"a": "x"})({"a": STUDENT[:, 1:]}, {"x": TEACHER}, {})
    with pytest.raises(InputError, match=r"teacher\.x has the shape \(3, 5\)\. Give or tap a \(B, T, D\)"):
        HiddenStates({"a": "x"}).build({"a": STUDENT}, {"x": TEACHER[:, 0]}, {})
    with pytest.raises(InputError, match="Show the objective one batch before training"):
        HiddenStates({"a": "x"})({"a": STUDENT}, {"x": WIDE}, {})
