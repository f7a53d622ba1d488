import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from kdmm import fetch
from kdmm.data import Composite, ImageRef, ImageTextDataModule, Marked, Sample, TuxPaint
from kdmm.data.scenes import Scenery
from kdmm.errors import InputError
from kdmm.models.preprocess import ImageTransform, Preprocess
from tests.data.files import BROKEN_PNG, Held

SIZE = (48, 64)
COLOURS = {  # of a stamp, by (split, category, number): all different, and not those of the background
    (split, category, number): (40 + 40 * s, 40 + 60 * c, 200 - 20 * number)
    for s, split in enumerate(("train", "val", "test"))
    for c, category in enumerate(("cats", "dogs", "cups"))
    for number in range(3)
}


def png(colour, alpha=255, size=(20, 20)):
    file = io.BytesIO()
    Image.new("RGBA", size, (*colour, alpha)).save(file, "PNG")
    return file.getvalue()


class Stamps(Held):
    """Squares of one colour each."""

    @property
    def classes(self):
        return {"category": ("cats", "dogs", "cups")}

    def describe(self, split):
        return {**super().describe(split), "fold": 2}


def stamps(**changed):
    made = {}
    for (split, category, number), colour in COLOURS.items():
        label = ("cats", "dogs", "cups").index(category)
        name = f"{split}-{category}-{number}"
        image = ImageRef(name, png(colour, **changed))
        made.setdefault(split, []).append(Sample(name, image, labels={"category": label}, origin=name))
    return Stamps(**made)


@pytest.fixture
def background(tmp_path):
    """Red in the left three fifths, blue beyond."""
    image = Image.new("RGB", (200, 100), (255, 0, 0))
    image.paste((0, 0, 255), (120, 0, 200, 100))
    image.save(tmp_path / "background.png")
    return str(tmp_path / "background.png")


def composite(background, source=None, **settings):
    settings = {"scenes": {"train": 30, "val": 10, "test": 20}, "size": SIZE, "objects": (1, 5), **settings}
    return Composite(stamps() if source is None else source, [background], **settings)


def opened(source, split):
    return [(np.asarray(sample.image.open()), sample.marks.open()) for sample in source.samples(split)]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_marks_say_what_the_pixels_show(background, split):
    own = [(category, colour) for (of, category, _), colour in COLOURS.items() if of == split]
    source = composite(background)
    objects = 0
    for pixels, marks in opened(source, split):
        expected = np.zeros(SIZE, dtype=int)
        for category, colour in own:
            expected[(pixels == colour).all(-1)] = 1 + ("cats", "dogs", "cups").index(category)
        assert np.array_equal(marks.label_map.numpy(), expected)
        plain = (255, 0, 0) if split == "train" else (0, 0, 255)  # of the part that is this split's
        assert (pixels[expected == 0] == plain).all()
        assert not (marks.masks.sum(0) > 1).any()  # a pixel is one object's
        assert torch.equal(marks.masks.any(0), marks.label_map > 0)
        for mask, number, box in zip(marks.masks, marks.box_classes, marks.boxes.tolist(), strict=True):
            assert (marks.label_map[mask] == number + 1).all()
            assert len(np.unique(pixels[mask.numpy()], axis=0)) == 1  # one colour: one object
            rows, columns = mask.nonzero().T
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            objects += 1
    assert objects > 1.5 * len(source.samples(split))


def test_a_scene_is_a_function_of_seed_split_and_number_alone(background):
    source = composite(background)
    first = [(sample.image.open().tobytes(), sample.marks.open()) for sample in source.samples("train")]
    again = pickle.loads(pickle.dumps(composite(background, scenes={"train": 20}).samples("train")))
    for number in (19, 0, 7, 7):
        marks = again[number].marks.open()  # before its picture
        assert again[number].image.open().tobytes() == first[number][0]
        assert torch.equal(marks.label_map, first[number][1].label_map)
        assert torch.equal(marks.boxes, first[number][1].boxes)
    assert len({image for image, _ in first}) == len(first)
    other = composite(background, seed=1).samples("train")
    assert all(sample.image.open().tobytes() != image for sample, (image, _) in zip(other, first, strict=True))


def test_a_picture_that_is_changed_does_not_change_the_scene(background):
    sample = composite(background).samples("train")[0]
    image = sample.image.open()
    before = image.tobytes()
    image.paste((0, 0, 0), (0, 0, *image.size))
    assert sample.image.open().tobytes() == before


def test_picture_and_marks_are_composed_once(background, monkeypatch):
    composed, numbers = Scenery._composed, []
    monkeypatch.setattr(Scenery, "_composed", lambda self, draw: numbers.append(1) or composed(self, draw))
    samples = composite(background).samples("train")
    for sample in samples:
        sample.image.open()
        sample.marks.open()
    assert len(numbers) == len(samples)
    assert len(samples[0].image.scenery._scenes) <= 4


def visible(background, hidden):
    source = composite(background, hidden=hidden, scale=(0.5, 0.5), objects=(9, 9), scenes={"train": 40})
    return torch.cat([marks.masks.flatten(1).sum(1) for _, marks in opened(source, "train")])


def test_no_object_hides_more_of_another_than_is_allowed(background):
    inside = (24 // 2) ** 2  # of a square of 24 pixels whose centre is in the scene, a quarter is
    assert visible(background, 0.0).min() >= inside
    assert 0.7 * inside <= visible(background, 0.3).min() < inside
    assert visible(background, 0.95).min() < 0.7 * inside


def test_without_overlap_every_square_is_a_whole_one(background):
    source = composite(background, hidden=0, scale=(0.25, 0.5))
    for _, marks in opened(source, "train"):
        width, height = (marks.boxes[:, 2:] - marks.boxes[:, :2]).T
        assert torch.equal(marks.masks.flatten(1).sum(1).float(), width * height)
        inside = (marks.boxes[:, 0] > 0) & (marks.boxes[:, 1] > 0)
        inside &= (marks.boxes[:, 2] < SIZE[1]) & (marks.boxes[:, 3] < SIZE[0])
        assert torch.equal(width[inside], height[inside])
        assert ((width[inside] >= 12) & (width[inside] <= 24)).all()


def test_half_transparent_pixels_are_blended_and_less_is_no_object(background):
    for alpha, seen in ((128, True), (127, False)):
        (pixels, marks), *_ = opened(composite(background, stamps(alpha=alpha)), "train")
        assert (len(marks.boxes) > 0) == seen
        assert marks.label_map.any() == seen
        if seen:
            (number,) = {int(each) for each in marks.box_classes[:1]}
            own = [
                c for (s, name, _), c in COLOURS.items() if s == "train" and name == ("cats", "dogs", "cups")[number]
            ]
            blended = [(np.array(colour) + np.array([255, 0, 0])) / 2 for colour in own]
            found = pixels[marks.masks[0].numpy()].astype(float)
            assert min(np.abs(found - each).max() for each in blended) <= 2


def test_classes_are_groups_of_categories(background):
    groups = {"pet": ["dogs", "cats"], "thing": ["cups"]}
    plain, grouped = composite(background), composite(background, classes=groups)
    assert plain.class_names("box_classes") == ("cats", "dogs", "cups")
    assert plain.class_names("label_map") == ("background", "cats", "dogs", "cups")
    assert grouped.class_names("label_map") == ("background", "pet", "thing")
    for pixels, marks in opened(grouped, "train"):
        for mask, number in zip(marks.masks, marks.box_classes, strict=True):
            colour = tuple(pixels[mask.numpy()][0].tolist())
            category = next(category for (_, category, _), each in COLOURS.items() if each == colour)
            assert category in list(groups.values())[number]
    cups = opened(composite(background, classes=["cups"]), "train")
    assert {number for _, marks in cups for number in marks.box_classes.tolist()} == {0}
    assert {number for _, marks in cups for number in marks.label_map.unique().tolist()} == {0, 1}


def test_every_class_is_drawn_as_often_whatever_it_has(background):
    source = composite(background, scenes={"train": 120}, classes={"pet": ["dogs", "cats"], "thing": ["cups"]})
    counts = np.bincount([number for _, marks in opened(source, "train") for number in marks.box_classes])
    assert 0.75 < counts[0] / counts[1] < 1.33


def test_without_photographs_backgrounds_run_from_one_colour_to_another():
    source = Composite(stamps(), [], scenes={"train": 5}, size=(16, 16), scale=(0.1, 0.1), objects=(1, 1))
    for pixels, marks in opened(source, "train"):
        free = pixels[(marks.label_map == 0).numpy()].astype(int)
        assert len(np.unique(free, axis=0)) > 20
        centred = free - free.mean(0)
        strengths = np.linalg.svd(centred, compute_uv=False)
        assert strengths[1] < 0.1 * strengths[0]  # on one line


def test_the_identity_tells_what_the_scene_depends_on(background, tmp_path):
    def identity(number=0, **settings):
        sample = composite(background, **settings).samples("train")[number]
        assert sample.marks.identity() == sample.image.identity()
        return sample.image.identity()

    different = [{}, {"number": 1}, {"seed": 1}, {"scale": (0.1, 0.2)}, {"source": stamps(size=(9, 9))}]
    assert len({identity(**each) for each in different}) == len(different)
    assert identity() == identity(scenes={"train": 5, "test": 5})
    before = identity()
    Image.new("RGB", (200, 101)).save(background)
    assert identity() != before


def test_scenes_become_batches_with_marks_and_can_be_scarce(background):
    source = composite(background, scenes={"train": 10})
    data = ImageTextDataModule(
        {
            "marked": Marked(source, 0.3, keep="marked"),
            "others": Marked(source, 0.3, keep="unmarked"),
        },
        batch_size={"marked": 2, "others": 4},
        canvas=(24, 32),
    )
    data.use({"student": Preprocess(image=ImageTransform(16, resize_mode="squash"))})
    batch = next(iter(data.train_dataloader()))
    assert batch["marked"].tolist() == [True] * 2 + [False] * 4
    assert batch["label_map"].shape == (6, 24, 32)
    assert (batch["label_map"][2:] == 255).all()
    assert batch["label_map"][:2].max() <= 3
    assert [len(boxes) == len(masks) for boxes, masks in zip(batch["boxes"], batch["masks"], strict=True)] == [True] * 6
    assert len(batch["boxes"][0]) > 0
    assert batch["student"]["image"].shape == (6, 3, 16, 16)


def test_it_is_described_with_the_fold_of_its_stamps(background):
    described = composite(background).describe("test")
    assert described == {"source": "Composite(Stamps)", "fold": 2, "classes": 3}
    assert composite(background, scenes={"train": 3, "test": 0}).splits == ("train",)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes": ["cat"]}, "Composite.classes: the stamps have no category 'cat'.*cats, dogs, cups.*mean 'cats'"),
        ({"classes": {"a": ["cats"], "b": ["cats"]}}, "Composite.classes: 'cats' belongs to two classes"),
        ({"classes": []}, "has no stamp of no class in its train split"),
        ({"objects": (3, 2)}, r"Composite.objects: \[3, 2\]"),
        ({"objects": (0, 2)}, r"Composite.objects: \[0, 2\].*at least 1"),
        ({"scale": (0, 1)}, r"Composite.scale: \[0, 1\]"),
        ({"size": (4, 64)}, r"Composite.size: \[4, 64\]"),
        ({"hidden": 1}, "Composite.hidden: 1"),
        ({"scenes": {"training": 5}}, "Composite.scenes: training: 5.*mean 'train'"),
        ({"label": "kind"}, "no classes of a label 'kind'"),
    ],
)
def test_wrong_settings_are_named(background, settings, said):
    with pytest.raises(InputError, match=said):
        composite(background, **settings).samples("train")


def test_files_that_cannot_be_read_are_named(background):
    broken = Stamps(train=[Sample("x", ImageRef("x.png", BROKEN_PNG), labels={"category": 0}, origin="x.png")])
    sample = composite(background, broken).samples("train")[0]
    with pytest.raises(InputError, match=r"the stamp x\.png: "):
        sample.image.open()
    with pytest.raises(InputError, match=r"holds no 'datasets/images/no\.jpg'"):
        Composite(stamps(), ["package:sklearn/datasets/images/no.jpg"]).samples("train")
    sample = Composite(stamps(), ["no.jpg"]).samples("train")[0]
    with pytest.raises(InputError, match=r"the background no\.jpg: there is no such file"):
        sample.marks.open()


def test_pictures_without_transparency_are_refused(background):
    opaque = composite(background).samples("train")[0].image
    source = Stamps(train=[Sample("x", opaque, labels={"category": 0}, origin="row 1")])
    with pytest.raises(InputError, match=r"Composite.stamps: row 1 gives pictures without transparency"):
        composite(background, source).samples("train")


@pytest.fixture(scope="module")
def real():
    if fetch.present("tuxpaint") is None:
        pytest.skip("the set is not here; `kdmm fetch tuxpaint` gets it")
    pytest.importorskip("sklearn")
    return TuxPaint(svg=False)


@pytest.mark.slow
def test_real_scenes_hold_stamps_of_their_own_split_and_nearly_all_objects(real):
    classes = ["animals", "food", "town", "vehicles"]
    source = Composite(real, classes=classes, scenes={"train": 300, "test": 100}, objects=(3, 3))
    stamp_files = {}
    for split in ("train", "test"):
        samples = source.samples(split)
        marks = [sample.marks.open() for sample in samples]
        assert np.mean([len(each.boxes) for each in marks]) > 2.9
        assert {number for each in marks for number in each.box_classes.tolist()} == {0, 1, 2, 3}
        stamp_files[split] = {
            ref.path for each in samples[0].image.scenery.stamps.values() for refs in each for ref in refs
        }
    assert not stamp_files["train"] & stamp_files["test"]
