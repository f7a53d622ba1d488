import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.models import Classifier, ConvImage
from tests.losses.data import flags

torch.manual_seed(0)
IMAGES = torch.randn(3, 3, 8, 8)


def classifier():
    return Classifier(ConvImage([4, 6], 8), 5).eval()


def test_logits_are_the_linear_layer_of_the_features():
    model = classifier()
    outputs = model({"image": IMAGES})
    assert outputs["logits"].shape == (3, 5)
    torch.testing.assert_close(outputs["logits"], F.linear(outputs["features"], model.head.weight, model.head.bias))
    torch.testing.assert_close(outputs["features"], model.tower(IMAGES))


def test_samples_without_a_picture_have_zero_rows_and_are_marked():
    model, flag = classifier(), flags("10110")
    outputs = model({"image": IMAGES, "present/image": flag})
    torch.testing.assert_close(outputs["logits"][flag], model({"image": IMAGES})["logits"])
    assert (outputs["logits"][~flag] == 0).all()
    assert torch.equal(outputs["present/logits"], flag)
    nothing = model({"present/image": flags("00")})
    assert nothing["logits"].shape == (2, 5)
    assert not nothing["present/logits"].any()


def test_conv_image_is_convolution_norm_relu_pool_and_mean():
    tower = ConvImage([4], 8).eval()
    conv, norm = tower.blocks[0][0], tower.blocks[0][1]
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
    expected = norm(F.conv2d(IMAGES, conv.weight, padding=1)).relu()
    torch.testing.assert_close(tower(IMAGES), F.max_pool2d(expected, 2).mean((2, 3)))
    assert tower.width == 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvImage([]), "ConvImage.widths"),
        (lambda: ConvImage([8, 0]), "ConvImage.widths"),
        (lambda: ConvImage([8] * 4, 8), "16 pixels or more"),
        (lambda: Classifier(ConvImage([4], 8), 1), "Classifier.classes: 1"),
    ],
)
def test_wrong_settings_are_named(build, message):
    with pytest.raises(InputError, match=message):
        build()
