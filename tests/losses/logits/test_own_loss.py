import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import Objective, OwnLoss

GIVEN = {"logits": torch.zeros(2, 3), "loss/class": torch.tensor(2.0), "loss/box": torch.tensor(0.5)}


@pytest.mark.parametrize(("parts", "expected"), [(None, 2.5), (["box"], 0.5), (["class", "box"], 2.5)])
def test_the_parts_that_are_named_are_summed_and_all_if_none_is(parts, expected):
    assert OwnLoss(parts)(GIVEN, {}, {}) == expected


def test_it_is_weighted_beside_other_terms():
    total, parts = Objective({"own": OwnLoss()}, {"own": 2.0})(GIVEN, {}, {})
    assert (total, parts["own"]) == (5.0, 2.5)


@pytest.mark.parametrize(
    ("parts", "given", "message"),
    [
        (None, {"logits": torch.zeros(1)}, "OwnLoss: the student gives no `loss/<part>`, only logits"),
        (["bx"], GIVEN, "OwnLoss.parts: the student computes no 'bx'; it computes class, box.*box"),
    ],
)
def test_what_is_not_computed_is_refused(parts, given, message):
    with pytest.raises(InputError, match=message):
        OwnLoss(parts)(given, {}, {})
