"""Every way of teaching is the same from stored answers, whatever is augmented."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from kdmm import losses
from kdmm.models import Classifier, ConvImage, RandomFrames, Tapped
from kdmm.models.audio import FrequencyMask, Gain, Noise, RandomCrop, TimeMask
from kdmm.teachers import Ensemble, Frozen, SeenOverFrames
from tests.data.files import Held, pairs, texts
from tests.models.test_captioner import captioner
from tests.models.test_segmenter import segmenter
from tests.packages.eyes import Spots
from tests.parallel import Phrases, translator
from tests.teachers.cache import small
from tests.teachers.stored import assert_taught_alike
from tests.teachers.test_every_source import scenes

CROPS = [v2.RandomResizedCrop(10, scale=(0.4, 1.0)), v2.RandomHorizontalFlip()]
STRONG = {"image": [*CROPS, v2.RandAugment()]}
SOUND = {"audio": [RandomCrop(0.015), Gain(-6, 6), Noise(0, 20), TimeMask(0.004), FrequencyMask(0.3)]}
SIZED = {"image": [v2.RandomResizedCrop(32, scale=(0.4, 1.0)), v2.RandomHorizontalFlip()]}
SCENES = {"augment": SIZED, "canvas": [32, 32]}


def labelled(samples):
    return [replace(each, labels={"label": n % 5}) for n, each in enumerate(samples)]


def classifier(tower, seed=1):
    torch.manual_seed(seed)
    return Classifier(tower(), 5).eval()


def spots(width, seed=1):
    torch.manual_seed(seed)
    return Tapped(Spots(3, width).eval(), {"maps": "trunk"})


def pixels(width):
    return Tapped(segmenter(4, width), {"maps": "decoder.smooth"})


@dataclass(frozen=True)
class Way:
    sources: Any  # of a folder
    teacher: Any
    student: Any
    terms: Any
    outputs: Any = None
    settings: Any = field(default_factory=dict)


WAYS = {
    "pictures and captions": Way(
        lambda folder: {"pairs": Held(train=pairs(7, captions=3), val=pairs(3, 30)), "texts": Held(train=texts(4))},
        small.teacher,
        lambda: small.two_towers(2),
        lambda: {
            "hard": losses.Contrastive(["image", "text"]),
            "affinity": losses.Affinity(["image", "text"], teacher_temperature=0.1),
            "crossed": losses.InteractiveContrastive(["image", "text"]),
        },
        (),
        {"augment": STRONG, "views": 4},
    ),
    "a picture with its caption": Way(
        lambda folder: Held(train=pairs(7, captions=3), val=pairs(3, 30)),
        lambda: Frozen(small.Pair("image").eval()),
        lambda: small.Pair("image"),
        lambda: {"kd": losses.KD()},
        None,
        {"augment": STRONG, "views": 4},
    ),
    "classes of pictures": Way(
        lambda folder: Held(train=labelled(pairs(7))),
        lambda: Frozen(classifier(lambda: ConvImage([6], 8))),
        lambda: classifier(lambda: ConvImage([4], 8), 2).train(),
        lambda: {"dkd": losses.DKD(), "rkd": losses.RKD("features", "features")},
        ("logits", "features"),
        {"augment": STRONG},
    ),
    "classes of sentences": Way(
        lambda folder: Held(train=labelled(texts(7)), val=labelled(texts(3))),
        lambda: Frozen(classifier(small.LetterText)),
        lambda: classifier(small.LetterText, 2),
        lambda: {"hard": losses.CrossEntropy(), "kd": losses.KD(2.0), "f": losses.FeatureMatch("features", "features")},
        ("logits", "features"),
        {"views": None},
    ),
    "translation": Way(
        lambda folder: Phrases(),
        lambda: Frozen(translator()),
        lambda: translator(seed=2),
        lambda: {
            "hard": losses.SequenceCrossEntropy(label="student.tokens"),
            "word": losses.TokenKL(2.0),
            "states": losses.HiddenStates({"encoder.1": "encoder.2", "decoder.1": "decoder.1"}),
        },
        None,
        {"views": None},
    ),
    "captions of pictures": Way(
        lambda folder: Held(train=pairs(6, captions=2)),
        lambda: Frozen(captioner()),
        lambda: captioner(seed=2),
        lambda: {"word": losses.TokenKL(), "places": losses.Hint("places", "places")},
        None,
        {"augment": STRONG},
    ),
    "segmentation": Way(
        scenes,
        lambda: Frozen(pixels(8)),
        lambda: pixels(6),
        lambda: {
            "hard": losses.PixelCrossEntropy(),
            "kl": losses.PixelKL(),
            "cwd": losses.CWD("maps", "maps"),
            "pkd": losses.PKD("maps", "maps"),
        },
        None,
        SCENES,
    ),
    "detection": Way(
        scenes,
        lambda: Frozen(spots(8)),
        lambda: spots(6, 2),
        lambda: {
            "hard": losses.OwnLoss(),
            "anchors": losses.AnchorKD(anchors=None),
            "pkd": losses.PKD("maps", "maps"),
            "fgd": losses.FGD("maps", "maps"),
            "mgd": losses.MGD("maps", "maps"),
        },
        None,
        SCENES,
    ),
    "sounds": Way(
        small.sounds,
        lambda: Frozen(small.four_towers()),
        lambda: small.four_towers(2),
        lambda: {"affinity": losses.Affinity(["audio", "text"]), "f": losses.FeatureMatch("audio", "audio")},
        (),
        {"augment": SOUND},
    ),
    "clips": Way(
        small.clips,
        lambda: Frozen(small.four_towers()),
        lambda: small.four_towers(2),
        lambda: {"affinity": losses.Affinity(["video", "text"]), "f": losses.FeatureMatch("video", "video")},
        (),
        {"augment": {"video": [RandomFrames(3), *CROPS]}},
    ),
    "clips by a teacher of pictures": Way(
        small.clips,
        lambda: SeenOverFrames(small.teacher(), 2),
        lambda: small.four_towers(2),
        lambda: {"f": losses.FeatureMatch("video", "video")},
        (),
        {"augment": {"video": [RandomFrames(3), *CROPS]}},
    ),
    "an ensemble": Way(
        lambda folder: Held(train=pairs(7, captions=2)),
        lambda: Ensemble({"a": small.teacher(1), "b": small.teacher(3, 16)}, temperatures={"a": 2.0, "b": 0.5}),
        lambda: small.two_towers(2),
        lambda: {"both": losses.Affinity(["image", "text"]), "one": losses.FeatureMatch("image", "b/image")},
        None,
        {"augment": STRONG},
    ),
    "a teacher's own precision": Way(
        lambda folder: Held(train=pairs(7)),
        lambda: Frozen(small.two_towers(), precision="bfloat16"),
        lambda: small.two_towers(2),
        lambda: {"f": losses.FeatureMatch("image", "image")},
        (),
        {"augment": STRONG},
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_teaching_is_the_same_from_stored_answers(name, tmp_path):
    way = WAYS[name]
    (tmp_path / "data").mkdir()
    sources = way.sources(tmp_path / "data")
    assert_taught_alike(tmp_path / "s", sources, way.teacher(), way.student(), way.terms(), way.outputs, **way.settings)
