import pytest
import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.losses import FeatureMatch
from kdmm.models import Masked, Preprocess
from kdmm.models.masked import hide_patches


class Pixels(nn.Module):
    """Gives the picture itself as its embedding."""

    preprocess = Preprocess()

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, batch):
        self.calls.append(set(batch))
        return {"image": batch["image"].flatten(1), "present/image": batch["present/image"], "text": torch.ones(1, 1)}


def batch(count=3, side=8):
    flag = torch.ones(count, dtype=torch.bool)
    return {"id": list("abc")[:count], "image": torch.ones(count, 3, side, side), "text": 0, "present/image": flag}


@pytest.mark.parametrize(("patch", "ratio", "hidden"), [(2, 0.75, 12), (4, 0.5, 2), (2, 0.25, 4)])
def test_exactly_the_asked_part_is_hidden_in_whole_patches(patch, ratio, hidden):
    found = hide_patches(torch.ones(5, 3, 8, 8), patch, ratio)
    assert (found[:, :1] == found).all()  # alike in all channels
    patches = found[:, 0].unfold(1, patch, patch).unfold(2, patch, patch).flatten(3)
    assert (patches == patches[..., :1]).all()
    assert (patches[..., 0] == 0).sum((1, 2)).tolist() == [hidden] * 5


def test_pictures_have_masks_of_their_own_and_a_side_need_not_divide():
    found = hide_patches(torch.ones(64, 3, 10, 7), 4, 0.5)
    assert found.shape == (64, 3, 10, 7)
    assert len(found.flatten(1).unique(dim=0)) > 1


def test_the_second_answer_is_of_masked_pictures_alone_and_trains():
    model = Masked(Pixels(), patch=4, ratio=0.5).train()
    outputs = model(batch())
    assert outputs["image"].sum() == 3 * 3 * 64
    assert outputs["image_masked"].sum() == 3 * 3 * 32
    assert "text_masked" not in outputs
    assert model.model.calls == [{"id", "image", "text", "present/image"}, {"id", "image", "present/image"}]
    term = FeatureMatch(student="image_masked", teacher="image", distance="mse")
    assert term(outputs, {"image": outputs["image"], "present/image": outputs["present/image"]}, {}) > 0


def test_in_evaluation_the_whole_picture_is_seen_once():
    model = Masked(Pixels()).eval()
    outputs = model(batch())
    assert outputs["image_masked"] is outputs["image"]
    assert len(model.model.calls) == 1


@pytest.mark.parametrize(("setting", "value"), [("ratio", 0.0), ("ratio", 1.0), ("patch", 0)])
def test_settings_that_hide_nothing_or_everything_are_refused(setting, value):
    with pytest.raises(InputError, match=f"Masked.{setting}: {value} given"):
        Masked(Pixels(), **{setting: value})
