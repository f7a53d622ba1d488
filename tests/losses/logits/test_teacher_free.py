import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import TeacherFree, virtual_teacher_divergence

SCORES = 2 * torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 3, 2, 1, 1])


def test_at_temperature_1_it_is_label_smoothing_less_the_entropy_of_its_target():
    smoothing = 0.1 * 4 / 3  # the label gets 0.9, each other class 0.1 / 3
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1 / 3))
    expected = F.cross_entropy(SCORES, LABELS, reduction="none", label_smoothing=smoothing) - entropy
    torch.testing.assert_close(virtual_teacher_divergence(SCORES, LABELS, 0.9, 1.0), expected)


def test_a_teacher_that_is_certain_is_the_label():
    expected = F.cross_entropy(SCORES / 2, LABELS, reduction="none") * 4
    torch.testing.assert_close(virtual_teacher_divergence(SCORES, LABELS, 1, 2.0), expected)


def test_a_teacher_that_guesses_is_uniform():
    equal = virtual_teacher_divergence(torch.zeros(5, 4), LABELS, 0.25, 20.0)
    torch.testing.assert_close(equal, torch.zeros(5), atol=1e-4, rtol=0)  # 400 times a float32's rounding of log 4


@pytest.mark.parametrize(("setting", "value"), [("correct", 0), ("correct", 1.5), ("temperature", 0)])
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(InputError, match=f"TeacherFree: {setting} is {value}"):
        TeacherFree(**{setting: value})
