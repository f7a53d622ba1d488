import pytest
import torch
from transformers import ASTFeatureExtractor, ASTForAudioClassification

from kdmm.errors import InputError
from kdmm.models.audio import AudioClip, Waveform
from kdmm.models.audio.transformers_audio import TransformersAudio
from tests.models.audio import tiny

SETTINGS = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_length": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("ast")
    tiny.ast(made)
    return made


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")  # Kaldi's lowest
def test_features_are_those_of_transformers(folder):
    """Of sounds that fill the frames, are longer, shorter, and of no more than a frame."""
    model = ASTForAudioClassification.from_pretrained(folder).eval()
    extractor = ASTFeatureExtractor.from_pretrained(folder)
    tower = TransformersAudio(str(folder)).eval()
    clips = [AudioClip(0.2 * torch.randn(1, length), 16_000) for length in (10_480, 20_000, 3333, 7000, 400)]
    read = extractor([clip.samples[0].numpy() for clip in clips], sampling_rate=16_000, return_tensors="pt")
    waves = torch.stack([tower.preprocess(clip) for clip in clips])
    with torch.no_grad():
        expected = model.audio_spectrogram_transformer(read.input_values).pooler_output
        got = tower(waves)
    torch.testing.assert_close(tower._frames(waves), read.input_values, atol=1e-4, rtol=0)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert torch.pdist(expected).min() > 1e-4  # sounds that embed alike would prove nothing
    assert tower.width == 16
    assert tower.preprocess == Waveform(16_000, 10_480 / 16_000, "pad")


def test_settings_make_a_network_of_their_own():
    tower = TransformersAudio(settings=SETTINGS).eval()
    waves = torch.stack([tower.preprocess(AudioClip(torch.randn(1, 8000), 16_000)) for _ in range(2)])
    assert tower(waves).shape == (2, 16)
    assert tower.log_mel.mels == 128
    assert len(tower.trunk.layers) == 1
    assert torch.isfinite(tower(torch.zeros(1, tower.preprocess.length))).all()


def test_every_weight_gets_a_gradient():
    tower = TransformersAudio(settings=SETTINGS)
    tower(torch.randn(2, tower.preprocess.length)).square().sum().backward()
    assert all(each.grad is not None for each in tower.parameters())


def test_random_weights_on_request(folder):
    pretrained = TransformersAudio(str(folder))
    torch.manual_seed(1)  # another than the folder's
    random = TransformersAudio(str(folder), weights=None)
    assert pretrained.trunk.state_dict().keys() == random.trunk.state_dict().keys()
    projection = "embeddings.patch_embeddings.projection.weight"
    assert not torch.equal(pretrained.trunk.state_dict()[projection], random.trunk.state_dict()[projection])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of the two"),
        ({"name": "x", "settings": {}}, "one of the two"),
        ({"settings": {"hidden_sise": 16}}, "ASTConfig has no 'hidden_sise'. Did you mean 'hidden_size'"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        TransformersAudio(**arguments)


def test_other_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"neither a folder with an AST"):
        TransformersAudio(str(tmp_path))
    tiny.clap(tmp_path)
    with pytest.raises(InputError, match=r"'clap'; it reads 'audio-spectrogram-transformer'.*kdmm.models.ClapAudio"):
        TransformersAudio(str(tmp_path))
