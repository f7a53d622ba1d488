import pytest
import torch
import torch.nn.functional as F

from kdmm.errors import InputError
from kdmm.models.audio import LogMel, Waveform, WhisperLogMel
from kdmm.models.audio.mel_cnn import MelCNN
from kdmm.models.towers import AudioTower


def parameters(model):
    return sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize(
    ("channels", "separable", "millions"),
    [
        ((48, 96, 192, 384), True, 0.10),
        ((48, 96, 192, 384), False, 0.87),
        ((64, 128, 256, 512), True, 0.18),
        ((64, 128, 256, 512), False, 1.55),
    ],
)
def test_sizes_are_those_of_the_documentation(channels, separable, millions):
    assert parameters(MelCNN(channels, 1.0, separable=separable)) / 1e6 == pytest.approx(millions, abs=0.005)


def test_features_by_hand():
    """Block by block with plain functions, in the order that the documentation says."""
    tower = MelCNN([3, 5], 0.3, separable=False)
    for module in tower.modules():  # batch statistics that do something
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    tower.eval()
    audio = torch.randn(2, 4800)

    def norm(x, module):
        return F.batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias)

    x = norm(LogMel()(audio), tower.norm)[:, None]
    for convolution, bn, *_ in tower.blocks:
        x = F.max_pool2d(F.relu(norm(F.conv2d(x, convolution.weight, padding=1), bn)), 2)
    over_time = x.mean(2)
    expected = torch.stack([row.max(-1).values + row.mean(-1) for row in over_time])
    torch.testing.assert_close(tower(audio), expected, atol=1e-4, rtol=1e-4)


def test_separable_blocks_are_whole_ones_of_rank_one():
    separable, whole = MelCNN([4, 6], 0.2).eval(), MelCNN([4, 6], 0.2, separable=False).eval()
    depth, mix = separable.blocks[1][0].weight, separable.blocks[1][1].weight
    with torch.no_grad():
        whole.blocks[0].load_state_dict(separable.blocks[0].state_dict())
        whole.blocks[1][0].weight.copy_(mix * depth.transpose(0, 1))
    audio = torch.randn(2, 3200)
    torch.testing.assert_close(separable(audio), whole(audio), atol=1e-4, rtol=1e-4)


def test_it_hears_what_its_spectrogram_is_for():
    tower = MelCNN([4], 1.5, WhisperLogMel(), fill="pad")
    assert isinstance(tower, AudioTower)
    assert tower.preprocess == Waveform(16_000, 1.5, "pad")
    assert tower(torch.randn(2, 24_000)).shape == (2, 4)
    assert MelCNN([4], 1.5, LogMel(rate=32_000, n_fft=1024)).preprocess.rate == 32_000


def test_only_weights_are_kept():
    names = set(MelCNN([4], 1.0).state_dict())
    assert not any("log_mel" in name for name in names)


def test_it_runs_in_half_precision_and_trains():
    tower = MelCNN([4, 8], 0.2)
    audio = torch.randn(4, 3200)
    with torch.autocast("cpu", torch.bfloat16):
        tower(audio).float().square().sum().backward()
    assert all(torch.isfinite(each.grad).all() and each.grad.abs().max() > 0 for each in tower.parameters())
    assert tower.bfloat16()(audio).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 1.0), "MelCNN.channels: \\[\\] given"),
        (([4, 0], 1.0), "each at least 1"),
        (([4] * 7, 1.0), "64 bands by 101 frames are halved 7 times"),
        (([4] * 5, 0.1), "64 bands by 11 frames are halved 5 times"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        MelCNN(*arguments)
