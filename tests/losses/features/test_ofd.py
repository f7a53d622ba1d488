import math

import pytest
import torch

from kdmm.losses import OFD, partial_error
from tests.losses.cases.stages import randoms
from tests.losses.data import flags

ZERO = torch.zeros(1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("student", "teacher", "margin", "expected"),
    [
        (0.5, 2.0, -1.0, 2.25),  # on in the teacher: follow it
        (-3.0, 2.0, -1.0, 25.0),
        (0.5, -0.4, -1.0, 0.81),  # off, but above the margin
        (-3.0, -0.4, -1.0, 0.0),  # off in both
        (0.5, -7.0, -1.0, 2.25),  # only down to the margin
        (-0.5, -7.0, -1.0, 0.25),
        (-1.5, -7.0, -1.0, 0.0),
        (-2.0, -7.0, 0.0, 0.0),  # nothing negative was seen: a plain ReLU
    ],
)
def test_closed_forms(student, teacher, margin, expected):
    found = partial_error(*(torch.full((1, 1), x, dtype=torch.float64) for x in (student, teacher)), ZERO + margin)
    assert found.item() == pytest.approx(expected)


def term_for(teacher):
    term = OFD({"x": "x"})
    term.build({"x": teacher}, {"x": teacher}, {})
    return term.double()


def test_margins_are_the_means_of_all_negative_values_that_passed_in_training():
    batches = [randoms(seed, 6, 4, 3, 2) + torch.tensor([0.0, 1.0, -1.0, 9.0]).reshape(-1, 1, 1) for seed in (1, 2, 3)]
    term = term_for(batches[0])
    for x in batches:
        term({"x": x}, {"x": x}, {})
    term.eval()({"x": batches[0]}, {"x": batches[0] - 100}, {})  # evaluation learns nothing
    with torch.no_grad():
        term.train()({"x": batches[0]}, {"x": batches[0] - 100}, {})
    values = torch.cat(batches).movedim(1, 0).flatten(1)
    expected = torch.stack([v[v < 0].mean() if (v < 0).any() else v.new_zeros(()) for v in values])
    torch.testing.assert_close(term.margins[0].mean, expected)
    assert expected[3] == 0
    assert term.margins[0].count.tolist() == [(v < 0).sum() for v in values]


def test_margins_of_normal_channels_are_what_the_paper_takes_from_batchnorm():
    mean, deviation = 0.3, 2.0
    teacher = mean + deviation * randoms(1, 200_000, 1)
    term = term_for(teacher)
    term({"x": teacher}, {"x": teacher}, {})
    z = mean / deviation
    density, tail = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), math.erfc(z / math.sqrt(2)) / 2
    assert term.margins[0].mean.item() == pytest.approx(mean - deviation * density / tail, rel=5e-3)


def test_absent_samples_have_no_part_in_the_margins():
    teacher = torch.where(flags("1011")[:, None], randoms(1, 4, 2), torch.nan)
    outputs = {"x": teacher, "present/x": flags("1011")}
    term = term_for(teacher)
    assert term(outputs, outputs, {}) == 0
    kept = teacher[flags("1011")]
    expected = torch.stack([v[v < 0].mean() if (v < 0).any() else v.new_zeros(()) for v in kept.T])
    torch.testing.assert_close(term.margins[0].mean, expected)


def test_a_checkpoint_keeps_the_margins():
    teacher = {"x": randoms(1, 6, 4)}
    term, resumed = term_for(teacher["x"]), term_for(teacher["x"])
    value = term({"x": randoms(2, 6, 4)}, teacher, {})
    resumed.load_state_dict(term.state_dict())
    assert resumed.eval()({"x": randoms(2, 6, 4)}, teacher, {}) == value
