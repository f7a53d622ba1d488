"""Every source can be taught from stored answers, as by the running teacher."""

import inspect
import json
from dataclasses import replace

import pytest
from torchvision.transforms import v2

from kdmm import data
from kdmm.data.wrapped import Wrapped
from kdmm.losses import KD, FeatureMatch
from kdmm.models.audio import Gain
from kdmm.outputs import MODALITIES
from kdmm.teachers import Frozen
from tests.data import test_audio_caps as audio_caps
from tests.data import test_clotho as clotho
from tests.data import test_composite as composite
from tests.data import test_sound_folds as sound_folds
from tests.data.files import Held, pairs, picture, write_pictures
from tests.data.pictures import voc
from tests.teachers.cache import small
from tests.teachers.stored import assert_taught_alike

AUGMENT = {
    "image": [v2.RandomHorizontalFlip(), v2.ColorJitter(0.6, 0.6, 0.6)],
    "audio": [Gain(-12, 12)],
    "video": [v2.RandomHorizontalFlip()],
}
NAMES = ("a", "b", "c")
WORDS = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "koi", "lark", "mole", "newt", "owl")


class Few(Wrapped):
    """The first training samples of a large source."""

    splits = ("train",)

    def read(self, split):
        return self.source.samples(split)[:6]


class Classed(Held):
    classes = {"label": NAMES}  # noqa: RUF012  nobody changes it


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else "\n".join(map(json.dumps, content)), "utf-8")
    return path


def held(**settings):
    """Pictures in memory, of three classes."""
    samples = pairs(9, group=lambda n: f"g{n // 2}", **settings)
    return Classed(train=[replace(each, labels={"label": n % 3}) for n, each in enumerate(samples)], val=pairs(3, 30))


def played(folder):
    """Sounds of the classes."""
    sounds = small.sounds(folder)["sounds"].held
    return Classed(
        **{
            split: [replace(each, labels={"label": n % 3}) for n, each in enumerate(some)]
            for split, some in sounds.items()
        }
    )


def caps(folder):
    return data.AudioCaps(audio_caps.write_tables(folder), audio_caps.write_clips(folder / "audio", audio_caps.FILES))


def coco(folder):
    """Pictures with captions in one file and boxes in another."""
    write_pictures(folder, [f"{n}.png" for n in range(4)])
    images = [{"id": n, "file_name": f"{n}.png", "width": 12, "height": 10} for n in range(4)]
    captions = [{"id": n, "image_id": n, "caption": f"caption {n}"} for n in range(4)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 6, 6], "iscrowd": 0} for n in range(4)]
    objects = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]}
    written(folder / "captions.json", json.dumps({"images": images, "annotations": captions}))
    return written(folder / "objects.json", json.dumps(objects))


def marked(folder, size, *names):
    """Pictures with a box each, in the form of Pascal VOC."""
    for n in range(4):
        voc(folder, str(n), [(names[n % len(names)], (1, 1, 10, 5), "")], size, None)
        picture(n, size).save(folder / f"{n}.png")
    return folder


def masked(folder):
    write_pictures(folder / "images" / "train", [f"{n}.png" for n in range(4)])
    (folder / "masks" / "train").mkdir(parents=True)
    for n in range(4):
        picture(n, mode="L").point(lambda value: value % 3).save(folder / "masks" / "train" / f"{n}.png")
    return data.MaskFolder(folder, NAMES)


def scenes(folder):
    picture(1, (200, 100)).save(folder / "background.png")
    return composite.composite(str(folder / "background.png"), scenes={"train": 6, "val": 2})


def classes(folder):
    for name in NAMES:
        write_pictures(folder / name, ["1.png", "2.png"])
    return data.ImageFolder(folder)


def game(folder):
    for n in range(12):
        for language in ("de", "en"):
            german = 'dialogStr("Was ist {n}?")\n' if language == "de" else ""
            written(
                folder / f"script/level{n}/dialogs_{language}.lua", f'dialogId("{n}", "f", "What is {n}?")\n{german}'
            )
    return data.Fillets("de", folder=folder)


def mails(folder):
    kinds = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
    for n in range(15):
        written(folder / kinds[n % 5] / f"{n}.txt", f"Subject: mail {n}\n\n{' '.join(f'w{n}x{k}' for k in range(9))}\n")
    return data.Spam(folder)


def stamps(folder):
    for n, word in enumerate(WORDS):
        written(folder / "animals" / f"{word}.txt", f"A {word}.\n")
        picture(n, mode="RGBA").save(folder / "animals" / f"{word}.png")
    return data.TuxPaint(folder)


def rows(folder, **columns):
    return written(folder / "rows.jsonl", [{name: made(n) for name, made in columns.items()} for n in range(9)])


SOURCES = {
    "AudioCaps": caps,
    "Balanced": lambda folder: data.Balanced(held()),
    "Captioned": lambda folder: data.Captioned(held(captions=2), 0.5),
    "Clotho": lambda folder: data.Clotho(clotho.write(folder)),
    "CocoCaptions": lambda folder: data.CocoCaptions(str(coco(folder).with_name("captions.json")), str(folder)),
    "CocoDetection": lambda folder: data.CocoDetection(str(coco(folder)), str(folder)),
    "Composite": scenes,
    "DeepForest": lambda folder: data.DeepForest(marked(folder, (60, 12), "Alive", "Dead"), tiles=12),
    "DomainShift": lambda folder: data.DomainShift(held(), small.write_table(folder), whole=True),
    "Esc50": lambda folder: Few(data.Esc50(sound_folds.write_esc50(folder, sound_folds.esc50_rows()))),
    "Fillets": game,
    "Having": lambda folder: data.Having(held(), ["image", "text"]),
    "Illustrated": lambda folder: data.Illustrated(
        played(folder),
        held(),
        dict(zip(NAMES, ("caption 0 of 0", "caption 0 of 1", "caption 0 of 2"), strict=True)),
        "label",
    ),
    "ImageFolder": classes,
    "Labelled": lambda folder: data.Labelled(held(), 0.5),
    "LongTailed": lambda folder: data.LongTailed(held(), 2),
    "Marked": lambda folder: data.Marked(scenes(folder), 0.5),
    "MaskFolder": masked,
    "Mislabelled": lambda folder: data.Mislabelled(held(), 0.5),
    "Only": lambda folder: data.Only(held(), "image"),
    "PairTable": small.write_table,
    "ParallelTable": lambda folder: data.ParallelTable(rows(folder, source="s {}".format, target="t {}".format)),
    "PascalVOC": lambda folder: data.PascalVOC(marked(folder, (12, 10), "dog")),
    "SoundFont": lambda folder: Few(data.SoundFont(families=["strings"], lengths=[0.4], seconds=1)),
    "Spam": mails,
    "StillClips": lambda folder: data.StillClips(held()),
    "Taught": lambda folder: data.Taught(held(), rows(folder, id="s{}".format, target="t {}".format), beside=True),
    "TextTable": lambda folder: data.TextTable(rows(folder, text="text {}".format, label=lambda n: n % 3)),
    "Texts": lambda folder: data.Texts(written(folder / "a.txt", "\n".join(WORDS))),
    "TuxPaint": stamps,
    "UrbanSound8K": lambda folder: Few(data.UrbanSound8K(sound_folds.write_urban(folder, sound_folds.urban_rows()))),
    "Vocabulary": lambda folder: data.Vocabulary(str(written(folder / "vocab.txt", "\n".join(WORDS)).parent)),
    "WebDataset": lambda folder: small.shards(folder)["web"],
    "Without": lambda folder: data.Without(held(captions=2), Held(val=pairs(2), test=pairs(2, 3))),
}
LIKE = {  # packages that take seconds to read, and a source of the table with samples of the same kind
    "Digits": "Labelled",
    "Emoji": "ImageFolder",
    "EmojiNames": "ParallelTable",
    "FluentEmoji": "StillClips",
    "MovieReviews": "Texts",
    "NotoEmoji": "Labelled",
    "Sentiment": "TextTable",
}
PACKAGES = {"SoundFont": "pretty_midi"}


def test_no_source_is_forgotten():
    exported = {name: kind for name in data.__all__ if inspect.isclass(kind := getattr(data, name))}
    sources = {
        name for name, kind in exported.items() if issubclass(kind, data.Source) and not inspect.isabstract(kind)
    }
    assert sources == {*SOURCES, *LIKE}
    assert set(LIKE.values()) <= set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_can_be_taught_from_stored_answers(name, tmp_path):
    pytest.importorskip(PACKAGES.get(name, "torch"))
    source = SOURCES[name](tmp_path)
    places = data.MultimodalDataModule(source, 1).everything("train").walk()
    samples = [place.sample for place in places]
    has = [each for each in MODALITIES if any(sample.has(each) for sample in samples)]
    settings = {"augment": AUGMENT, "canvas": [12, 12] if any(sample.marks for sample in samples) else None}
    if "source" in has:
        online, student, terms, outputs = small.Pair(), small.Pair(), {"kd": KD()}, None
    else:
        online, student, outputs = small.four_towers(), small.four_towers(2), () if name != "WebDataset" else None
        terms = {each: FeatureMatch(student=each, teacher=each) for each in has}
    assert_taught_alike(tmp_path / "store", source, Frozen(online.eval()), student, terms, outputs, **settings)
