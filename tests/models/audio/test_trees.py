"""Audio towers as a YAML names them: checked, built, trained, kept in one file and loaded."""

import pytest
import torch

from kdmm import targets
from kdmm.errors import InputError
from kdmm.models.artifact import load_model, save_model
from tests.conftest import MINILM
from tests.models.audio import tiny

LOG_MEL = {"_target_": "kdmm.models.LogMel", "rate": 8000, "n_fft": 256, "mels": 32}
TOWERS = {
    "mel_cnn": {"_target_": "kdmm.models.MelCNN", "channels": [4, 8], "seconds": 1, "log_mel": LOG_MEL},
    "front_end": {
        "_target_": "kdmm.models.MelCNN",
        "channels": [4, 8],
        "seconds": 0.5,
        "log_mel": {"_target_": "kdmm.models.WhisperLogMel"},
    },
    "timm": {
        "_target_": "kdmm.models.TimmAudio",
        "name": "resnet10t",
        "seconds": 1,
        "image_size": [64, 64],
        "log_mel": LOG_MEL,
        "stages": 2,
    },
    "ast": {
        "_target_": "kdmm.models.TransformersAudio",
        "settings": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "max_length": 32},
    },
    "aisfx": {"_target_": "kdmm.models.AiSfx", "seconds": 0.5},
    "clap": {"_target_": "kdmm.models.ClapAudio", "name": "???"},
}


def space(audio):
    text = {"_target_": "kdmm.models.BagOfTokens", "tokenizer": MINILM, "embedding_width": 4}
    return {"_target_": "kdmm.models.SharedSpace", "towers": {"audio": audio, "text": text}, "embed_dim": 6}


@pytest.mark.parametrize("tower", TOWERS)
def test_a_trained_space_is_one_file(tower, tmp_path):
    tree = space(TOWERS[tower])
    if tower == "clap":
        tiny.clap(tmp_path)
        tree["towers"]["audio"] = {**TOWERS[tower], "name": str(tmp_path)}
    assert not targets.check(tree)
    model = targets.build(tree).train()
    batch = {
        "audio": torch.randn(3, model.preprocess.audio.length),
        "present/audio": torch.tensor([True, True, False, True]),
        "text": model.preprocess.text(["a", "b", "c", "d"]),
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(batch)["audio"] @ model(batch)["text"].T).square().sum().backward()
    optimizer.step()
    save_model(tmp_path / "one.safetensors", model, tree)
    loaded = load_model(tmp_path / "one.safetensors")
    expected, got = model.eval()(batch), loaded(batch)
    for name in expected:
        assert torch.equal(got[name], expected[name]), name
    torch.testing.assert_close(got["audio"].norm(dim=1), torch.tensor([1.0, 1, 0, 1]))
    assert got["audio"].dtype == torch.float32


def test_what_does_not_fit_is_found_before_anything_is_built():
    assert "rates" in str(targets.check(space({**TOWERS["mel_cnn"], "log_mel": {**LOG_MEL, "rates": 1}})))
    assert "fill" in str(targets.check(space({**TOWERS["mel_cnn"], "fill": "loop"})))
    with pytest.raises(InputError, match="AudioClip"):
        targets.build({"_target_": "kdmm.models.AudioClip"})
