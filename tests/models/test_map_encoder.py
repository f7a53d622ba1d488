import pytest
import timm
import torch

from kdmm.errors import InputError
from kdmm.models import TimmMaps
from tests.conftest import LITE0

torch.manual_seed(0)
IMAGES = torch.randn(2, 3, 64, 64)


def test_maps_are_those_of_the_network_from_the_finest_stride_on():
    encoder = TimmMaps("test_efficientnet", 64).eval()
    assert encoder.strides == (4, 8, 16, 32)
    assert encoder.channels == (24, 32, 48, 64)
    maps = encoder(IMAGES)
    assert [tuple(each.shape) for each in maps] == [
        (2, channels, 64 // stride, 64 // stride)
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    whole = timm.create_model("test_efficientnet", features_only=True).eval()
    whole.load_state_dict(encoder.trunk.state_dict(), strict=False)
    for found, expected in zip(maps, whole(IMAGES)[1:], strict=True):
        torch.testing.assert_close(found, expected)


def test_fewer_stages_and_other_strides():
    encoder = TimmMaps("test_efficientnet", 64, stages=3, finest=8)
    assert (encoder.strides, encoder.channels) == ((8,), (32,))
    assert TimmMaps("test_efficientnet", stages=1).strides == (2,)  # there is none of 4
    assert {name.split(".")[2] for name, _ in encoder.named_parameters() if ".blocks." in name} == {"0", "1", "2"}


def test_of_equal_strides_the_last_map_is_taken():
    encoder = TimmMaps("test_vit", 160).eval()
    assert encoder.strides == (16,)
    image = torch.randn(1, 3, 160, 160)
    (found,) = encoder(image)
    torch.testing.assert_close(found, encoder.trunk.forward_intermediates(image, intermediates_only=True)[-1])


def test_weights_of_the_whole_network_are_taken_and_frozen_parts_rest():
    encoder = TimmMaps("tf_efficientnet_lite0", 32, stages=2, weights=LITE0, frozen=["conv_stem", "bn1"])
    state = torch.load(timm_file(), weights_only=True)
    torch.testing.assert_close(encoder.trunk.conv_stem.weight, next(iter(state.values())))
    assert not encoder.trunk.conv_stem.weight.requires_grad
    assert encoder.trunk.blocks[1][0].conv_pw.weight.requires_grad
    encoder.train()
    assert not encoder.trunk.bn1.training
    assert encoder.trunk.blocks[0][0].bn1.training


def timm_file():
    from kdmm.models.files import locate

    return locate(LITE0)


def test_pictures_are_squashed_so_that_maps_are_of_the_whole():
    transform = TimmMaps("test_efficientnet", 48).preprocess
    assert (transform.size, transform.resize_mode) == (48, "squash")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "test_eficientnet"}, "TimmMaps.name: timm has no model .*test_efficientnet"),
        ({"name": "test_efficientnet", "stages": 9}, "TimmMaps.stages: 9 given.*1 to 5"),
        ({"name": "test_efficientnet", "frozen": ["conv_stem"]}, "TimmMaps.frozen.*need `weights`"),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(InputError, match=said):
        TimmMaps(**settings)
