import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kdmm.errors import InputError
from kdmm.models.audio import AudioClip, Waveform
from kdmm.models.audio.aisfx import AiSfx, convert

CHECKPOINT = "package:aisfx/models/checkpoint.pth"


@pytest.fixture(scope="module")
def aisfx():
    return pytest.importorskip("aisfx", reason="aisfx is not installed: pip install --no-deps aisfx==0.1.2")


@pytest.fixture(scope="module")
def weights(aisfx, tmp_path_factory):
    target = tmp_path_factory.mktemp("aisfx") / "aisfx.safetensors"
    convert(Path(CHECKPOINT), target)
    return str(target)


def reference(aisfx):
    """The package's own model, its file read without running what is in it."""
    import importlib.util

    file = Path(importlib.util.find_spec("aisfx").submodule_search_locations[0]) / "models/checkpoint.pth"
    number = (np.int64(0).__reduce__()[0], "numpy.core.multiarray.scalar")
    with torch.serialization.safe_globals([number, np.dtype, np.dtypes.Int64DType]):
        state, sets = torch.load(file, weights_only=True)
    return aisfx.inference.load_bestModel(state, sets, "cpu")


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")  # librosa's reader of files imports them
def test_embeddings_are_those_of_the_package(aisfx, weights, tmp_path):
    from aisfx.spectrogram.spectrogram_librosa import compute_spectrogram

    time = torch.arange(44_100 * 6) / 44_100
    wave = 0.2 * (2 * torch.pi * 300 * time * (1 + time)).sin() * (-time).exp() + 0.01 * torch.randn(len(time))
    soundfile.write(tmp_path / "sound.wav", wave.numpy(), 44_100, subtype="FLOAT")
    spectrogram = compute_spectrogram(tmp_path / "sound.wav", 44_100.0, 2048, 1024, 96, 0.0, 22_050.0)
    scaled = aisfx.inference.spectrogram_normalize(spectrogram.T)  # its blocks go along the first axis: frames
    expected = aisfx.inference.model_get_embedding(scaled, 0.5, True, reference(aisfx), "cpu")
    tower = AiSfx(6, weights).eval()
    with torch.no_grad():
        got = tower(tower.preprocess(AudioClip(wave[None], 44_100))[None])[0]
    assert len(expected) == 4
    torch.testing.assert_close(got, torch.as_tensor(expected).mean(0), atol=1e-4, rtol=1e-4)
    assert got.abs().max() > 0.1


def test_short_sounds_are_one_block(aisfx, weights):
    tower, model = AiSfx(1.5, weights).eval(), reference(aisfx)
    wave = torch.randn(1, 66_150)
    frames = tower.log_mel(wave / wave.abs().max())[0].T
    block = torch.cat([frames, torch.zeros(100 - len(frames), 96)])
    with torch.no_grad():
        torch.testing.assert_close(tower(wave), model.get_embedding(block[None]), atol=1e-4, rtol=1e-4)


def test_it_hears_at_its_own_rate_and_no_louder():
    tower = AiSfx(2.5).eval()
    assert tower.preprocess == Waveform(44_100, 2.5)
    assert tower.width == 512
    wave = torch.randn(2, tower.preprocess.length) * 0.1
    torch.testing.assert_close(tower(wave), tower(wave * torch.tensor([[8.0], [0.25]])))
    assert torch.isfinite(tower(torch.zeros(1, tower.preprocess.length))).all()


def test_its_size_is_the_documentations():
    assert sum(each.numel() for each in AiSfx(1.0).parameters()) / 1e6 == pytest.approx(4.7, abs=0.05)


class Mischief:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_other_files_are_refused_and_leave_nothing(tmp_path, capsys):
    target = tmp_path / "target.safetensors"
    with pytest.raises(InputError, match="is no file"):
        convert(tmp_path / "none.pth", target)
    torch.save(({"embedding_net.conv_block1.conv1.weight": torch.zeros(64, 1, 3, 3)}, {}), tmp_path / "part.pth")
    with pytest.raises(InputError, match="tensors are missing"):
        convert(tmp_path / "part.pth", target)
    torch.save(torch.zeros(2), tmp_path / "tensor.pth")
    with pytest.raises(InputError, match="cannot be read as aiSFX's"):
        convert(tmp_path / "tensor.pth", target)
    torch.save(({}, Mischief()), tmp_path / "mischief.pth", pickle_module=pickle)
    with pytest.raises(InputError, match="cannot be read as aiSFX's"):
        convert(tmp_path / "mischief.pth", target)
    assert "this must not run" not in capsys.readouterr().out
    assert not target.exists()
