import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.metrics import TokenAccuracy

TOKENS = torch.tensor([[2, 0, -100], [1, -100, -100], [-100, -100, -100]])
SCORES = torch.tensor([[[0, 0, 2.0], [0, 1, 0], [9, 0, 0]], [[0, 3, 0], [0, 0, 9], [0, 0, 9]], [[1, 0, 0.0]] * 3])
OUTPUTS = {"logits": SCORES, "tokens": TOKENS}


def measured(metric, *batches):
    for outputs, ids in batches:
        metric.update(*((outputs, {}) if metric.role == "student" else ({}, outputs)), {"id": ids})
    return {name: float(value) for name, value in metric.compute().items()}


def test_counts_by_hand_over_tokens_and_not_over_texts():
    found = measured(TokenAccuracy(), (OUTPUTS, list("abc")))
    assert found["top1"] == pytest.approx(2 / 3)
    surprises = [math.log(2 + math.e**2) - 2, math.log(2 + math.e), math.log(2 + math.e**3) - 3]
    assert found["cross_entropy"] == pytest.approx(sum(surprises) / 3)


def test_batches_of_other_lengths_add_up_and_a_sample_that_comes_again_counts_once():
    first = {"logits": SCORES[:1, :2], "tokens": TOKENS[:1, :2]}
    again = {"logits": SCORES[:2].flip(0) * 0, "tokens": TOKENS[:2].flip(0) * 0}
    whole = measured(TokenAccuracy("teacher"), (first, ["a"]), ({k: x[1:] for k, x in OUTPUTS.items()}, ["b", "c"]))
    assert whole == measured(TokenAccuracy("teacher"), (OUTPUTS, list("abc")), (again, ["b", "a"]))
    assert whole["teacher/top1"] == pytest.approx(2 / 3)


def test_no_token_is_an_error():
    nothing = {"logits": torch.zeros(2, 0, 3), "tokens": torch.zeros(2, 0, dtype=torch.long)}
    with pytest.raises(InputError, match=r"TokenAccuracy has seen no token"):
        measured(TokenAccuracy(), (nothing, ["a", "b"]))
    with pytest.raises(InputError, match=r"reads student.tokens"):
        measured(TokenAccuracy(), ({"logits": SCORES}, list("abc")))
