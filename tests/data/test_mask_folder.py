import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from kdmm.data import ImageTextDataModule, MaskFolder
from kdmm.errors import InputError
from kdmm.models.preprocess import ImageTransform, Preprocess
from tests.data.files import picture

CLASSES = ["ground", "tree", "house"]
NUMBERS = np.arange(10 * 12).reshape(10, 12) % 3
NUMBERS[0] = 255


def mask(numbers=NUMBERS, mode="L"):
    image = Image.fromarray(numbers.astype(np.uint8))
    if mode == "P":
        image = image.convert("L")
        image.putpalette([value for number in range(256) for value in (255 - number, number, 7)])
    return image if mode == "P" else image.convert(mode)


def write(path, image, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **settings)


@pytest.fixture
def folder(tmp_path):
    """Two training pictures, one of them in a folder of its own, and one to validate on."""
    write(tmp_path / "images/train/a.jpg", picture(1))
    write(tmp_path / "images/train/deeper/b.png", picture(2, mode="P"))
    write(tmp_path / "images/val/c.JPEG", picture(3), format="JPEG")
    write(tmp_path / "masks/train/a.png", mask())
    write(tmp_path / "masks/train/deeper/b.png", mask(mode="P"))
    write(tmp_path / "masks/val/c.png", mask(np.where(NUMBERS == 2, 0, NUMBERS)))
    return tmp_path


def test_pixels_are_class_numbers_in_grey_and_by_a_palette(folder):
    source = MaskFolder(folder, CLASSES)
    assert source.splits == ("train", "val")
    assert source.class_names("label_map") == tuple(CLASSES)
    first, second = source.samples("train")
    assert [first.id, second.id] == ["train/a", "train/deeper/b"]
    for sample in (first, second):
        marks = sample.marks.open()
        assert torch.equal(marks.label_map, torch.from_numpy(NUMBERS))
        assert marks.boxes.shape == (0, 4)
        assert sample.image.open().size == (12, 10)
    assert pickle.loads(pickle.dumps(source)).samples("train") == [first, second]
    assert first.origin == str(folder / "images/train/a.jpg")


@pytest.mark.parametrize("ignore", [0, 1, 3, 200, 255])
def test_the_ignored_number_does_not_count_and_the_others_are_the_classes_in_their_order(folder, ignore):
    numbers = [number for number in range(256) if number != ignore]
    others, classes = np.asarray(numbers)[NUMBERS % 255], NUMBERS.copy()
    others[0] = ignore
    for path in ("masks/train/a.png", "masks/train/deeper/b.png"):
        write(folder / path, mask(others))
    first = MaskFolder(folder, CLASSES, ignore=ignore).samples("train")[0]
    assert torch.equal(first.marks.open().label_map, torch.from_numpy(classes))
    other = MaskFolder(folder, CLASSES, ignore=99, check=False).samples("train")[0]
    assert other.marks.identity() != first.marks.identity()
    others[1, 0] = numbers[3]
    write(folder / "masks/train/a.png", mask(others))
    said = rf"number {numbers[3]}, and `classes` names 3, {numbers[0]} to {numbers[2]}\. .* these pixels {ignore},"
    with pytest.raises(InputError, match=said):
        first.marks.open()


def test_a_list_says_which_pictures_a_split_has(folder):
    (folder / "lists").mkdir()
    (folder / "lists/train.txt").write_text("\ufeffdeeper/b\r\n\r\n")
    (folder / "lists/testing.txt").write_text("a\n")
    settings = {"images": "images/train", "masks": "masks/train", "names": "lists/{split}.txt"}
    source = MaskFolder(folder, CLASSES, splits={"test": "testing"}, **settings)
    assert source.splits == ("train", "test")
    assert [sample.id for sample in source.samples("train")] == ["train/deeper/b"]
    assert [sample.id for sample in source.samples("test")] == ["test/a"]
    (folder / "lists/train.txt").write_text("a\ndeper/b\n")
    with pytest.raises(InputError, match=r"train\.txt, line 2: .*has no picture 'deper/b'.*mean 'deeper/b'"):
        source.samples("train")
    (folder / "lists/train.txt").write_bytes("caf\u00e9\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"MaskFolder\.names: .*train\.txt is not UTF-8 .*at byte 3"):
        source.samples("train")


def test_folders_may_have_other_names_and_pictures_no_masks(folder):
    (folder / "images/val").rename(folder / "images/validation")
    source = MaskFolder(folder, CLASSES, masks=None, splits={"val": "validation"})
    assert [(sample.id, sample.marks) for sample in source.samples("val")] == [("val/c", None)]
    assert source.classes == {}


def test_pictures_without_masks_have_a_map_beside_those_that_have_masks_and_none_alone(folder):
    def batch(sources):
        data = ImageTextDataModule(sources, 1, canvas=[10, 12])
        data.use({"student": Preprocess(image=ImageTransform(8))})
        return next(iter(data.train_dataloader()))

    alone = MaskFolder(folder, CLASSES, masks=None)
    assert "label_map" not in batch(alone)
    both = batch({"marked": MaskFolder(folder, CLASSES), "others": alone})["label_map"]
    assert (both[0] != 255).any()
    assert (both[1] == 255).all()


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "RGB"])
def test_pictures_of_every_kind_are_read(folder, mode):
    write(folder / "images/train/a.tif", picture(1, mode=mode))
    (folder / "images/train/a.jpg").unlink()
    sample = MaskFolder(folder, CLASSES).samples("train")[0]
    assert sample.image.open().mode == "RGB"
    sample.marks.open()


def test_a_picture_that_is_turned_has_a_mask_of_what_is_seen(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(folder / "images/train/a.jpg", picture(1, size=(10, 12)), exif=exif)
    sample = MaskFolder(folder, CLASSES).samples("train")[0]
    assert sample.image.open().size == (12, 10)
    assert sample.marks.open().label_map.shape == (10, 12)
    write(folder / "masks/train/a.png", mask(NUMBERS.T))
    with pytest.raises(InputError, match=r"a\.png is 10 x 12 pixels and the picture 12 x 10\. The picture's EXIF data"):
        MaskFolder(folder, CLASSES).samples("train")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (mask(NUMBERS[:-1]), r"is 12 x 9 pixels and the picture 12 x 10\. Give both the same size"),
        (mask(np.where(NUMBERS == 2, 3, NUMBERS)), "holds the number 3, and `classes` names 3, 0 to 2"),
        (mask(mode="RGB"), r"is in colour \(RGB\)\. Save class numbers"),
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "is no picture that can be read"),
    ],
)
def test_a_broken_mask_is_refused_before_training_and_named(folder, broken, said):
    path = folder / "masks/train/deeper/b.png"
    unchecked = MaskFolder(folder, CLASSES, check=False).samples("train")[1]
    path.unlink()
    if isinstance(broken, bytes):
        path.write_bytes(broken)
    elif broken is not None:
        broken.save(path)
        with pytest.raises(InputError, match=rf"images/train/deeper/b\.png: the mask .*deeper/b\.png.*{said}"):
            MaskFolder(folder, CLASSES).samples("train")
    with pytest.raises(InputError, match=said):
        unchecked.marks.open()


def test_a_picture_without_a_mask_is_refused(folder):
    (folder / "masks/train/a.png").unlink()
    with pytest.raises(InputError, match=r"train/a\.jpg has no mask .*masks/train/a\.png.*`masks: null`"):
        MaskFolder(folder, CLASSES, check=False).samples("train")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes": ["one"]}, "MaskFolder.classes: .*2 to 255 different names"),
        ({"classes": ["one", "one"]}, "MaskFolder.classes"),
        ({"ignore": 256}, "MaskFolder.ignore: 256 given; .*0 to 255"),
        ({"ignore": -1}, "MaskFolder.ignore: -1 given"),
        ({"images": "images"}, "MaskFolder.images: 'images' is the same for every split"),
        ({"names": "train.txt"}, "MaskFolder.names: 'train.txt' is the same for every split"),
        ({"splits": {"valid": "val"}}, "MaskFolder.splits: 'valid'.*mean 'val'"),
        ({"folder": "nowhere"}, "MaskFolder.folder: .*no such folder"),
        ({"masks": "mask/{split}"}, "MaskFolder.masks: .*no such folder"),
    ],
)
def test_wrong_settings_are_named(folder, settings, said):
    with pytest.raises(InputError, match=said):
        MaskFolder(**{"folder": folder, "classes": CLASSES, **settings}).samples("train")


def test_two_pictures_of_one_name_are_refused(folder):
    write(folder / "images/train/a.png", picture(1))
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png have one name"):
        MaskFolder(folder, CLASSES).samples("train")


def test_maps_come_into_batches_at_the_size_of_the_canvas(folder):
    data = ImageTextDataModule(MaskFolder(folder, CLASSES), batch_size=2, canvas=(20, 24))
    data.use({"student": Preprocess(image=ImageTransform(16, resize_mode="squash"))})
    batch = next(iter(data.val_dataloader()))
    doubled = np.where(NUMBERS == 2, 0, NUMBERS).repeat(2, 0).repeat(2, 1)
    assert torch.equal(batch["label_map"], torch.from_numpy(doubled)[None])
    assert batch["student"]["image"].shape == (1, 3, 16, 16)
