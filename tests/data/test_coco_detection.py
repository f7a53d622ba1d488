import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from kdmm.data import CocoDetection, ImageTextDataModule
from kdmm.data.run_lengths import check_run_lengths
from kdmm.errors import InputError
from kdmm.losses import PixelCrossEntropy
from kdmm.metrics import MeanIoU
from kdmm.models import ImageTransform, Preprocess
from tests.data.pictures import coco, picture

DOG, CAT = (7, 5, [2, 3, 10, 5], {}), (7, 2, [0, 0, 40, 30], {})
SQUARE = [[4, 6, 12, 6, 12, 20, 4, 20]]


def boxes(sample):
    marks = sample.marks.open()
    return marks.boxes.tolist(), marks.box_classes.tolist()


def test_objects_have_corners_and_numbers_in_the_order_of_the_categories_ids(tmp_path):
    source = CocoDetection(coco(tmp_path, [DOG, CAT]), tmp_path)
    assert source.splits == ("train",)
    assert source.class_names("box_classes") == ("cat", "dog")
    first, second = source.samples("train")
    assert (first.id, second.id) == ("7", "3")
    assert first.image.open().size == (40, 30)
    assert boxes(first) == ([[2, 3, 12, 8], [0, 0, 40, 30]], [1, 0])
    assert boxes(second) == ([], [])  # a picture without objects is kept, and marked
    assert second.marks.open().boxes.shape == (0, 4)


def test_crowds_are_left_out_and_a_pixel_of_rounding_is_cut_off(tmp_path):
    crowd, over = (7, 5, [0, 0, 20, 20], {"iscrowd": 1}), (7, 5, [35.5, -0.5, 5, 10], {})
    (sample, _) = CocoDetection(coco(tmp_path, [crowd, over]), tmp_path).samples("train")
    assert boxes(sample) == ([[35.5, 0, 40, 9.5]], [1])


def test_each_split_has_its_file_and_its_folder(tmp_path):
    files = {split: str(coco(tmp_path / split, [DOG])) for split in ("train", "val")}
    source = CocoDetection(files, {split: str(tmp_path / split) for split in files})
    assert source.splits == ("train", "val")
    assert source.samples("val")[0].image.path == str(tmp_path / "val" / "a.png")


def test_the_identity_of_marks_changes_with_them(tmp_path):
    one = CocoDetection(coco(tmp_path / "1", [DOG]), tmp_path / "1").samples("train")[0]
    other = CocoDetection(coco(tmp_path / "2", [CAT]), tmp_path / "2").samples("train")[0]
    assert one.marks.identity() != other.marks.identity()


def test_a_picture_without_a_stated_size_is_measured(tmp_path):
    path = coco(tmp_path, [DOG])
    content = json.loads(path.read_text())
    del content["images"][0]["width"]
    path.write_text(json.dumps(content))
    picture(tmp_path / "a.png", 13, 9)
    source = CocoDetection(path, tmp_path)
    assert boxes(source.samples("train")[0]) == ([[2, 3, 12, 8]], [1])


def test_a_turned_picture_is_measured_as_it_is_seen_and_one_of_the_stored_size_refused(tmp_path):
    path, exif = coco(tmp_path, [(7, 5, [2, 3, 10, 30], {})]), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png", exif=exif)
    (sample, _) = CocoDetection(coco(tmp_path / "same", [DOG]), tmp_path).samples("train")
    with pytest.raises(InputError, match=r"30 x 40 pixels, .*of one of 40 x 30: its EXIF data turn the picture"):
        sample.image.open()
    changed(path, lambda content: content["images"][0].pop("width"))
    (sample, _) = CocoDetection(path, tmp_path).samples("train")
    assert boxes(sample) == ([[2, 3, 12, 33]], [1])
    assert sample.image.open().size == (30, 40)


def test_polygons_and_run_lengths_become_the_same_masks(tmp_path):
    pytest.importorskip("pycocotools")
    inside = torch.zeros(30, 40, dtype=torch.bool)
    inside[6:20, 4:12] = True
    by_column = inside.T.flatten().int().tolist()
    counts, last, length = [], 0, 0
    for x in by_column:
        if x != last:
            counts, last, length = [*counts, length], x, 0
        length += 1
    runs = {"size": [30, 40], "counts": [*counts, length]}
    annotations = [(7, 5, [4, 6, 8, 14], {"segmentation": SQUARE}), (7, 2, [4, 6, 8, 14], {"segmentation": runs})]
    marks = CocoDetection(coco(tmp_path, annotations), tmp_path, masks=True).samples("train")[0].marks.open()
    assert torch.equal(marks.masks, torch.stack([inside, inside]))
    assert marks.boxes.tolist() == [[4, 6, 12, 20]] * 2
    assert marks.box_classes.tolist() == [1, 0]


def test_a_picture_of_two_polygons_is_their_union_and_one_without_objects_has_no_mask(tmp_path):
    pytest.importorskip("pycocotools")
    two = [*SQUARE, [20, 0, 30, 0, 30, 10, 20, 10]]
    path = coco(tmp_path, [(7, 5, [4, 0, 26, 20], {"segmentation": two})])
    first, second = CocoDetection(path, tmp_path, masks=True).samples("train")
    marks = first.marks.open()
    assert marks.masks.sum().item() == 8 * 14 + 10 * 10
    assert marks.boxes.tolist() == [[4, 0, 30, 20]]
    assert second.marks.open().masks.shape == (0, 30, 40)


def of(x1, y1, x2, y2):
    return {"segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]]}


CROWD = {"iscrowd": 1, "segmentation": {"size": [30, 40], "counts": [0, 600, 600]}}  # the left half
OVERLAPPING = [
    (7, 5, [10, 10, 4, 4], of(10, 10, 14, 14)),  # a dog before the cat
    (7, 2, [10, 10, 20, 10], of(10, 10, 30, 20)),
    (7, 5, [26, 10, 14, 16], of(26, 10, 40, 26)),  # a larger dog behind it
    (7, 2, [32, 0, 8, 8], of(32, 0, 40, 8)),
    (7, 5, [32, 0, 8, 8], of(32, 0, 40, 8)),  # as large as the cat there, and later
    (7, 5, [0, 0, 20, 30], CROWD),
]


@pytest.mark.parametrize(("elsewhere", "cat", "nothing"), [("background", 1, 0), ("unlabelled", 0, 255)])
def test_the_map_has_the_smallest_objects_class(tmp_path, elsewhere, cat, nothing):
    pytest.importorskip("pycocotools")
    source = CocoDetection(coco(tmp_path, OVERLAPPING), tmp_path, masks=True, label_map=elsewhere)
    expected = torch.full((30, 40), nothing)
    expected[:, :20] = 255
    expected[10:26, 26:40] = cat + 1
    expected[10:20, 10:30] = cat
    expected[10:14, 10:14] = cat + 1
    expected[0:8, 32:40] = cat + 1
    first, second = (sample.marks.open() for sample in source.samples("train"))
    assert torch.equal(first.label_map, expected)
    assert first.box_classes.tolist() == [1, 0, 1, 0, 1]
    assert second.label_map.unique().tolist() == [nothing]  # of a picture without objects
    names = source.class_names("label_map")
    assert [names[cat], names[cat + 1]] == ["cat", "dog"]
    assert len(names) == cat + 2


def test_a_segmenter_learns_from_masks(tmp_path):
    pytest.importorskip("pycocotools")
    path = coco(tmp_path, [(7, 2, [4, 6, 8, 14], {"segmentation": SQUARE})])
    data = ImageTextDataModule(CocoDetection(path, tmp_path, masks=True), 2, canvas=[30, 40])
    data.use({"student": Preprocess(image=ImageTransform(16), marks=True)})
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    labels = batch["label_map"][batch["id"].index("7")]
    assert (labels == 1).sum() == 8 * 14
    assert (labels == 0).sum() == 30 * 40 - 8 * 14
    logits = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None].expand(2, 3, 30, 40)
    share = 8 * 14 / (2 * 30 * 40)
    found = PixelCrossEntropy()({"logits": logits}, {}, batch)
    assert found.item() == pytest.approx(math.log(2 + math.e) - share)


def test_without_masks_or_where_none_is_wanted_there_is_no_map(tmp_path):
    pytest.importorskip("pycocotools")
    path = coco(tmp_path, [(7, 2, [4, 6, 8, 14], {"segmentation": SQUARE})])
    for settings in ({}, {"masks": True, "label_map": None}):
        source = CocoDetection(path, tmp_path, **settings)
        assert source.samples("train")[0].marks.open().label_map is None
        with pytest.raises(InputError, match="label_map"):
            source.class_names("label_map")


def test_a_picture_of_another_size_than_is_stated_is_refused_before_training(tmp_path):
    path = coco(tmp_path, [DOG])
    picture(tmp_path / "b.png", 40, 31)
    with pytest.raises(InputError, match=r"objects.json, image 3: .*b.png: the picture is 40 x 31 .* one of 40 x 30"):
        ImageTextDataModule(CocoDetection(path, tmp_path), 1, canvas=[8, 8]).setup("fit")


@pytest.mark.parametrize("label_map", ["background", None])
def test_a_batch_of_boxes_alone_has_no_map_and_a_segmenter_learns_nothing_of_it(tmp_path, label_map):
    source = CocoDetection(coco(tmp_path, [DOG]), tmp_path, label_map=label_map)
    data = ImageTextDataModule(source, 2, canvas=[30, 40])
    data.use({"student": Preprocess(image=ImageTransform(16), marks=True)})
    batch = next(iter(data.train_dataloader()))
    assert batch["boxes"][batch["id"].index("7")].tolist() == [[2, 3, 12, 8]]
    assert "label_map" not in batch
    assert "label_map" not in batch["student"]
    logits = {"logits": torch.zeros(2, 3, 30, 40)}
    with pytest.raises(InputError, match=r"label is 'label_map', .*holds only .*boxes.*with `masks: true`"):
        PixelCrossEntropy()(logits, {}, batch)
    with pytest.raises(InputError, match=r"MeanIoU reads 'label_map' from the batch, which holds only .*box_classes"):
        MeanIoU().update(logits, {}, batch)


def test_a_map_without_room_for_its_classes_is_refused(tmp_path):
    pytest.importorskip("pycocotools")
    path = coco(tmp_path, [], categories=[(number, f"c{number}") for number in range(255)])
    assert len(CocoDetection(path, tmp_path, masks=True, label_map="unlabelled").class_names("label_map")) == 255
    with pytest.raises(InputError, match=r"room for 255 classes, and there are 255\. Set it to null"):
        CocoDetection(path, tmp_path, masks=True).samples("train")
    path = coco(tmp_path, [], categories=((5, "background"), (2, "cat")))
    with pytest.raises(InputError, match=r"called 'background' too\. Rename it, or set `label_map: unlabelled`"):
        CocoDetection(path, tmp_path, masks=True).samples("train")


def test_the_identity_of_a_map_changes_with_what_makes_it(tmp_path):
    pytest.importorskip("pycocotools")
    found = {
        CocoDetection(coco(tmp_path, rows), tmp_path, masks=True, label_map=kind).samples("train")[0].marks.identity()
        for rows in (OVERLAPPING, OVERLAPPING[:-1])
        for kind in ("background", "unlabelled", None)
    }
    assert len(found) == 5  # without a map a crowd changes nothing


def test_batches_hold_the_boxes_on_the_canvas(tmp_path):
    path = coco(tmp_path, [DOG, CAT])
    data = ImageTextDataModule(CocoDetection(path, tmp_path), 2, canvas=[60, 20])
    data.use({"student": Preprocess(image=ImageTransform(16), marks=True)})
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    row = batch["id"].index("7")
    assert batch["boxes"][row].tolist() == [[1, 6, 6, 16], [0, 0, 20, 60]]
    assert batch["marked"].tolist() == [True, True]
    assert batch["student"]["image_size"] == (60, 20)


BROKEN = {
    "an unknown image": ([(8, 5, [0, 0, 4, 4], {})], r"annotation 100 is of the image 8, which is not among `images`"),
    "an image of another kind": ([([7], 5, [0, 0, 4, 4], {})], r"annotation 100 is of the image \[7\]"),
    "an unknown class": ([(7, 6, [0, 0, 4, 4], {})], r"annotation 100 has the category 6, which is not among"),
    "a box beside the picture": ([(7, 5, [38, 0, 6, 4], {})], r"annotation 100 .*outside the picture of 40 x 30"),
    "a box before the picture": ([(7, 5, [-8, 0, 6, 4], {})], r"annotation 100 .*outside the picture"),
    "a box without an area": ([DOG, (3, 5, [4, 4, 5, 0], {})], r"annotation 101 .*no area. .*`bad_boxes: skip`"),
    "a box that is not finite": ([(7, 5, [0, 0, float("nan"), 4], {})], r"annotation 100 .*not of finite numbers"),
    "a box of words": ([(7, 5, ["0", 0, 3, 4], {})], r"annotation 100 .*not of finite numbers"),
    "a box of three numbers": ([(7, 5, [0, 0, 3], {})], r"annotation 100 has the bbox .*Give \[x, y, width, height\]"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_annotations_are_refused_by_name_before_training(tmp_path, case):
    annotations, words = BROKEN[case]
    path = coco(tmp_path, annotations)
    with pytest.raises(InputError, match=words) as caught:
        ImageTextDataModule(CocoDetection(path, tmp_path), 1, canvas=[8, 8]).setup("fit")
    assert str(path) in str(caught.value)


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


FILES = {
    "no list of images": (lambda c: c.pop("images"), "holds no list of `images`"),
    "no categories": (lambda c: c.update(categories="dog"), "holds no list of `categories`"),
    "an image twice": (lambda c: c["images"].append(c["images"][0]), "images: the id 7 stands twice"),
    "an id of words": (lambda c: c["images"][0].update(id="x"), "has the id 'x'. Give a number"),
    "two classes of one name": (
        lambda c: c["categories"].append({"id": 9, "name": "dog"}),
        "objects.json: categories: the ids 5 and 9 are both called 'dog'. Rename one, or give",
    ),
    "no file name": (lambda c: c["images"][1].pop("file_name"), "image 3 has no 'file_name'"),
    "no category": (lambda c: c["annotations"][0].pop("category_id"), "annotation 100 has no 'category_id'"),
    "an annotation twice": (
        lambda c: c["annotations"].append(c["annotations"][0]),
        "annotation 100 stands twice. Take one out, or give each its own id",
    ),
    "no bbox": (lambda c: c["annotations"][0].pop("bbox"), "annotation 100 has no 'bbox'"),
    "no picture": (
        lambda c: c["images"][0].update(file_name="z.png"),
        "image 7 is .*z.png.*no such file. Set `images`",
    ),
}


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("case", FILES)
def test_a_file_of_another_form_is_refused(tmp_path, case, masks):
    if masks:
        pytest.importorskip("pycocotools")
    change, words = FILES[case]
    path = coco(tmp_path, [(*DOG[:3], {"segmentation": SQUARE})])
    changed(path, change)
    with pytest.raises(InputError, match=words):
        CocoDetection(path, tmp_path, masks).samples("train")


def test_what_is_not_json_or_not_there_is_refused(tmp_path):
    path = tmp_path / "objects.json"
    with pytest.raises(InputError, match="no such file"):
        CocoDetection(path, tmp_path).samples("train")
    for content in ('{"images": [', "[" * 200_000):
        path.write_text(content)
        with pytest.raises(InputError, match="is not JSON"):
            CocoDetection(path, tmp_path).samples("train")
    path.write_text("[]")
    with pytest.raises(InputError, match="no list of `images`"):
        CocoDetection(path, tmp_path).samples("train")


def test_bad_boxes_are_left_out_and_counted_where_that_is_asked_for(tmp_path):
    path = coco(tmp_path, [(7, 5, [4, 4, 5, 0], {}), DOG, (3, 2, [60, 0, 5, 5], {})])
    source = CocoDetection(path, tmp_path, bad_boxes="skip")
    assert [boxes(sample) for sample in source.samples("train")] == [([[2, 3, 12, 8]], [1]), ([], [])]
    assert source.describe("train")["bad_boxes_left_out"] == 2


def runs(counts):
    return {"size": [30, 40], "counts": counts}


NAN = float("nan")
BAD_MASKS = {
    "none": (None, "has no `segmentation`"),
    "too short": ([[1, 2, 3, 4]], "three or more pairs"),
    "an odd number": ([[1, 2, 3, 4, 5, 6, 7]], "three or more pairs"),
    "words": ([["1", 2, 3, 4, 5, 6]], "three or more pairs"),
    "not finite": ([[1, 2, NAN, 4, 5, 6]], "a polygon that is not of finite numbers"),
    "beside": ([[50, 2, 60, 2, 60, 9]], "a polygon that is outside the picture of 40 x 30 pixels"),
    "partly above": ([*SQUARE, [4, -9, 12, 6, 12, 20]], "a polygon that is outside"),
    "another size": ({"size": [40, 30], "counts": [1200]}, r"run lengths of the size \[40, 30\]"),
    "no size": ({"counts": [0, 1200]}, "run lengths of the size None"),
    "no counts": ({"size": [30, 40]}, "no `counts`"),
    "a wrong sum": (runs([6, 20]), "do not add up to the picture's 1200 pixels"),
    "a negative run": (runs([6, -20, 1214]), "do not add up"),
    "fractions": (runs([0.5, 1199.5]), "run lengths that are no whole numbers"),
    "words as runs": (runs(["1", 1199]), "run lengths that are no whole numbers"),
    "no runs": (runs([]), "do not add up"),
    "no pixel": (runs([1200]), "without a pixel of the object"),
    "no pixel, written": (runs("`U1"), "without a pixel of the object"),
    "a wrong sum, written": (runs("06"), "do not add up"),
    "a negative run, written": (runs("O`U1"), "do not add up"),
    "cut off": (runs("0`U"), "no string of pycocotools"),
    "nothing written": (runs(""), "no string of pycocotools"),
    "garbage": (runs("~~ garbage ~~"), "no string of pycocotools"),
    "another script": (runs("\u3042"), "no string of pycocotools"),
    "endless": (runs("P" * 30 + "0"), "no string of pycocotools"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
@pytest.mark.parametrize("crowd", [0, 1])
def test_broken_masks_are_refused_before_training(tmp_path, case, crowd):
    pytest.importorskip("pycocotools")
    given, words = BAD_MASKS[case]
    path = coco(tmp_path, [(7, 5, [4, 6, 8, 14], {"segmentation": given, "iscrowd": crowd})])
    said = rf"objects\.json: annotation 100 .*{words}.*\. Correct it, or set `masks: false`\."
    with pytest.raises(InputError, match=said):
        CocoDetection(path, tmp_path, masks=True).samples("train")
    assert len(CocoDetection(path, tmp_path).samples("train")) == 2  # boxes alone need none


def test_run_lengths_as_pycocotools_writes_them_are_read(tmp_path):
    tool = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(0)
    for share in (0.01, 0.3, 0.99, 1.0):
        mask = generator.random((30, 40)) < share
        counts = tool.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        check_run_lengths(runs(counts), 40, 30)
        path = coco(tmp_path, [(7, 5, [0, 0, 40, 30], {"segmentation": runs(counts)})])
        marks = CocoDetection(path, tmp_path, masks=True).samples("train")[0].marks.open()
        assert np.array_equal(marks.masks[0].numpy(), mask)


def test_masks_without_pycocotools_are_refused_at_once(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=re.escape("pip install 'kdmm[detection]'")):
        CocoDetection("objects.json", ".", masks=True)


def test_a_picture_of_another_size_than_stated_is_refused_when_it_is_read(tmp_path):
    path = coco(tmp_path, [DOG])
    Image.new("RGB", (20, 15)).save(tmp_path / "a.png")
    sample = CocoDetection(path, tmp_path).samples("train")[0]
    with pytest.raises(InputError, match="20 x 15 pixels, and its annotations are of one of 40 x 30"):
        sample.image.open()


def test_splits_of_other_classes_and_splits_without_a_folder_are_refused(tmp_path):
    train, val = coco(tmp_path / "t", [DOG]), coco(tmp_path / "v", [], categories=((5, "dog"), (2, "cow")))
    files = {"train": str(train), "val": str(val)}
    with pytest.raises(InputError, match=r"categories cow, dog, and .* has cat, dog"):
        CocoDetection(files, {"train": str(tmp_path / "t"), "val": str(tmp_path / "v")}).samples("train")
    with pytest.raises(InputError, match="no folder for the val split"):
        CocoDetection(files, {"train": str(tmp_path / "t")}).samples("train")
    with pytest.raises(InputError, match=r"unknown split 'valid'. .*Did you mean 'val'"):
        CocoDetection({"valid": "x"}, ".")
