import math

import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.losses import PixelKL, pixel_divergence
from tests.losses.cases.stages import randoms

B, C, H, W = 3, 5, 4, 6
STUDENT, TEACHER = randoms(1, B, C, H, W), randoms(2, B, C, H, W)
OUTPUTS = {"logits": STUDENT}, {"logits": TEACHER}


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_torchs_batchmean_is_as_many_times_more_as_there_are_pixels(temperature):
    ours, theirs = ((x / temperature).log_softmax(1) for x in (STUDENT, TEACHER))
    batchmean = temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    torch.testing.assert_close(pixel_divergence(STUDENT, TEACHER, temperature).mean() * H * W, batchmean)


def test_a_closed_form():
    teacher = torch.tensor([math.log(3.0), 0.0]).reshape(1, 2, 1, 1).double()
    found = pixel_divergence(torch.zeros_like(teacher), teacher)
    assert found.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_at_high_temperatures_it_is_half_the_squared_difference_of_centred_logits_per_class():
    ours, theirs = (x - x.mean(1, keepdim=True) for x in (STUDENT, TEACHER))
    expected = (ours - theirs).square().mean(1) / 2
    torch.testing.assert_close(pixel_divergence(STUDENT, TEACHER, 1e4), expected, rtol=1e-3, atol=1e-4)


def test_ignored_pixels_have_no_value_and_no_gradient():
    label = torch.zeros(B, H, W, dtype=torch.int64)
    label[:, :2] = 255
    student = {"logits": STUDENT.clone().requires_grad_()}
    value = PixelKL()(student, OUTPUTS[1], {"label_map": label})
    value.backward()
    torch.testing.assert_close(value, pixel_divergence(STUDENT, TEACHER)[:, 2:].mean())
    assert (student["logits"].grad[:, :, :2] == 0).all()
    assert (student["logits"].grad[:, :, 2:] != 0).all()


def test_images_with_fewer_pixels_that_count_weigh_less():
    label = torch.zeros(B, H, W, dtype=torch.uint8)
    label[0] = 255
    label[1, 1:] = 255
    counts = label != 255
    value = PixelKL()(*OUTPUTS, {"label_map": label})
    torch.testing.assert_close(value, pixel_divergence(STUDENT, TEACHER)[counts].mean())


@pytest.mark.parametrize("index", [255, 0])
def test_with_every_pixel_ignored_it_is_0_with_gradients_of_0(index):
    student = {"logits": STUDENT.clone().requires_grad_()}
    value = PixelKL(ignore_index=index)(student, OUTPUTS[1], {"label_map": torch.full((B, H, W), index)})
    value.backward()
    assert value == 0
    assert (student["logits"].grad == 0).all()


def test_logits_are_resized_and_not_probabilities():
    student = {"logits": 5 * randoms(3, B, C, 2, 3)}
    term = PixelKL(label=None)
    term.build(student, OUTPUTS[1], {})
    resized = F.interpolate(student["logits"], size=(H, W), mode="bilinear", align_corners=False)
    torch.testing.assert_close(term(student, OUTPUTS[1], {}), pixel_divergence(resized, TEACHER).mean())
    probabilities = F.interpolate(student["logits"].softmax(1), size=(H, W), mode="bilinear", align_corners=False)
    other = pixel_divergence(probabilities.log(), TEACHER).mean()
    assert abs(term(student, OUTPUTS[1], {}) - other) > 0.01


def test_of_labels_the_nearest_is_taken():
    label = torch.zeros(B, 2 * H, 2 * W, dtype=torch.int64)
    label[:, :H] = 255
    value = PixelKL()(*OUTPUTS, {"label_map": label})
    torch.testing.assert_close(value, pixel_divergence(STUDENT, TEACHER)[:, H // 2 :].mean())


def test_a_missing_label_is_named():
    with pytest.raises(InputError, match=r"no 'label_map', only label_maps.*Did you mean 'label_maps'"):
        PixelKL()(*OUTPUTS, {"label_maps": torch.zeros(B, H, W)})


def test_other_classes_are_refused():
    with pytest.raises(InputError, match=r"student\.logits is \(3, 5, 4, 6\) and teacher\.logits is \(3, 4, 4, 6\)"):
        PixelKL().build(OUTPUTS[0], {"logits": TEACHER[:, :4]}, {})


def test_temperatures_are_above_zero():
    with pytest.raises(InputError, match="PixelKL: temperature is 0"):
        PixelKL(temperature=0)
