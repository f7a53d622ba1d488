import pytest
import timm
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.models import TimmImage
from kdmm.models.audio import LogMel, Waveform
from kdmm.models.audio.timm_audio import TimmAudio
from tests.conftest import LITE0


def test_it_sees_the_normalized_spectrogram_three_times():
    tower = TimmAudio("tf_efficientnet_lite0", 1.0, weights=LITE0).eval()
    torch.nn.init.uniform_(tower.norm.running_mean, -50, 0)
    audio = torch.randn(2, 16_000)
    mel = LogMel()(audio) - tower.norm.running_mean[:, None]
    picture = (mel / (1 + 1e-5) ** 0.5).unsqueeze(1).repeat(1, 3, 1, 1)
    image = TimmImage("tf_efficientnet_lite0", weights=LITE0).eval()
    torch.testing.assert_close(tower(audio), image(picture), atol=1e-4, rtol=1e-3)
    assert tower.width == 1280
    assert tower.preprocess == Waveform(16_000, 1.0)


def test_networks_of_one_size_get_it():
    with pytest.raises(InputError, match=r"image_size.*224 x 224 alone.*64 x 101; give \[224, 224\]"):
        TimmAudio("vit_tiny_patch16_224", 1.0)
    tower = TimmAudio("vit_tiny_patch16_224", 1.0, image_size=(224, 224)).eval()
    audio = torch.randn(1, 16_000)
    picture = F.interpolate(LogMel()(audio)[:, None] / (1 + 1e-5) ** 0.5, (224, 224), mode="bilinear")
    torch.testing.assert_close(tower(audio), tower.trunk(picture.repeat(1, 3, 1, 1)), atol=1e-4, rtol=1e-3)


def test_first_stages_a_head_and_frozen_modules():
    tower = TimmAudio("tf_efficientnet_lite0", 0.5, stages=2, head_width=8, weights=LITE0, frozen=["conv_stem", "bn1"])
    stem, statistics = tower.trunk.conv_stem.weight.clone(), tower.trunk.bn1.running_mean.clone()
    assert tower.width == 8
    features = tower.train()(torch.randn(4, 8000))
    assert features.shape == (4, 8)
    features.sum().backward()
    assert tower.trunk.conv_stem.weight.grad is None
    assert tower.norm.weight.grad is not None
    assert torch.equal(tower.trunk.conv_stem.weight, stem)
    assert torch.equal(tower.trunk.bn1.running_mean, statistics)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tf_efficientnet_lite00"}, "TimmAudio.name.*Did you mean 'tf_efficientnet_lite0'"),
        ({"name": "tf_efficientnet_lite0", "stages": 9}, "TimmAudio.stages: 9"),
        ({"name": "tf_efficientnet_lite0", "head_width": 8}, "TimmAudio.head_width"),
        ({"name": "tf_efficientnet_lite0", "frozen": ["bn1"]}, "TimmAudio.frozen"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        TimmAudio(seconds=1.0, **arguments)


def test_any_network_of_timm_will_do():
    for name in ("resnet18", "mobilenetv4_conv_small"):
        assert timm.is_model(name)
        tower = TimmAudio(name, 0.5).eval()
        assert tower(torch.randn(1, 8000)).shape == (1, tower.width)
