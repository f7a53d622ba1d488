import pickle

import pytest
from PIL import Image

from kdmm.data import ImageTextDataModule, PascalVOC
from kdmm.errors import InputError
from tests.data.pictures import picture, voc

DOG, CAT = ("dog", (1, 1, 10, 5), ""), ("cat", (31, 21, 40, 30), "")


def boxes(sample):
    marks = sample.marks.open()
    return marks.boxes.tolist(), marks.box_classes.tolist()


def test_voc_counts_pixels_from_1_and_others_from_0(tmp_path):
    voc(tmp_path, "a", [DOG, CAT])
    voc(tmp_path, "b", [])
    first, second = PascalVOC(tmp_path).samples("train")
    assert boxes(first) == ([[0, 0, 10, 5], [30, 20, 40, 30]], [1, 0])
    assert boxes(second) == ([], [])
    assert boxes(PascalVOC(tmp_path, first_pixel=0).samples("train")[0])[0] == [[1, 1, 10, 5], [31, 21, 40, 30]]
    assert PascalVOC(tmp_path).class_names("box_classes") == ("cat", "dog")


def test_lists_say_which_pictures_a_split_has(tmp_path):
    for name in "abc":
        voc(tmp_path / "Annotations", name, [DOG], picture_size=None, filename=f"{name}.jpg")
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
    (tmp_path / "train.txt").write_text("c\na  1\n\n")
    (tmp_path / "val.txt").write_text("b -1\n")
    lists = {"val": str(tmp_path / "val.txt"), "train": str(tmp_path / "train.txt")}
    source = PascalVOC(tmp_path / "Annotations", tmp_path / "JPEGImages", lists)
    assert source.splits == ("train", "val")
    assert [sample.id for sample in source.samples("train")] == ["c", "a"]
    assert [sample.id for sample in source.samples("val")] == ["b"]


def test_a_list_may_begin_with_a_byte_order_mark_and_must_be_utf_8(tmp_path):
    voc(tmp_path, "a", [DOG])
    path = tmp_path / "t.txt"
    path.write_text("\ufeffa\r\n", "utf-8")
    source = PascalVOC(tmp_path, lists={"train": str(path)})
    assert [sample.id for sample in source.samples("train")] == ["a"]
    path.write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(InputError, match=r"PascalVOC\.lists\.train: .*t\.txt is not UTF-8 .*at byte 3"):
        PascalVOC(tmp_path, lists={"train": str(path)}).samples("train")


def test_difficult_objects_are_left_out_unless_asked_for(tmp_path):
    voc(tmp_path, "a", [DOG, ("cat", (1, 1, 5, 5), "<difficult>1</difficult>")])
    assert boxes(PascalVOC(tmp_path).samples("train")[0]) == ([[0, 0, 10, 5]], [0])
    assert boxes(PascalVOC(tmp_path, difficult=True).samples("train")[0])[1] == [1, 0]


def test_classes_are_given_an_order_and_renamed(tmp_path):
    voc(tmp_path, "a", [DOG, CAT])
    source = PascalVOC(tmp_path, classes=["dog", "bird", "pet"], rename={"cat": "pet"})
    assert source.class_names("box_classes") == ("dog", "bird", "pet")
    assert boxes(source.samples("train")[0])[1] == [0, 2]


def test_tiles_cover_a_picture_and_split_it_by_region(tmp_path):
    path = picture(tmp_path / "a.png", 205, 52)
    pixels = Image.open(path).copy()
    pixels.putpixel((103, 27), (255, 0, 0))
    pixels.save(path)
    objects = [
        ("tree", (1, 1, 20, 20), ""),  # in the first tile
        ("tree", (15, 5, 25, 15), ""),  # half in the first, half in the second column
        ("tree", (17, 5, 35, 15), ""),  # mostly in the second column
        ("tree", (191, 31, 205, 52), ""),  # in the last tile
    ]
    voc(tmp_path, "a", objects, (205, 52), None)
    source = PascalVOC(tmp_path, first_pixel=0, tiles=20)
    assert source.splits == ("train", "val", "test")
    samples = {split: source.samples(split) for split in source.splits}
    assert [len(each) for each in samples.values()] == [18, 6, 6]  # 10 columns of 3
    everything = [sample for each in samples.values() for sample in each]
    area = 0
    for sample in everything:
        image = sample.image.open()
        area += image.width * image.height
        assert {image.width} <= {20, 21}
        assert {image.height} <= {17, 18}
    assert area == 205 * 52
    right = {split: {sample.image.cell[0] for sample in each} for split, each in samples.items()}
    assert max(right["train"]) < min(right["val"]) <= max(right["val"]) < min(right["test"])
    assert boxes(samples["train"][0])[0] == [[1, 1, 20, 17], [15, 5, 20, 15]]
    assert boxes(samples["train"][3])[0] == [[0, 5, 5, 15], [0, 5, 15, 15]]
    assert boxes(samples["test"][-1])[0] == [[7, 0, 21, 17]]
    (red,) = (sample for sample in everything if (1, (255, 0, 0)) in sample.image.open().getcolors())
    assert (red.image.cell[0], red.image.cell[1]) == (102, 17)
    assert red.image.open().getpixel((1, 10)) == (255, 0, 0)
    assert source.describe("val")["tiles"] == 20


def turned(path, orientation=6):
    """Store a picture of 40 x 30 pixels, whose EXIF data turn it, with a red pixel where (3, 5) is seen."""
    image, exif = Image.new("RGB", (30, 40)), Image.Exif()
    image.putpixel((3, 5), (255, 0, 0))
    exif[0x0112] = orientation
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def test_the_size_of_a_picture_is_that_which_is_seen(tmp_path):
    voc(tmp_path, "a", [("dog", (3, 5, 4, 6), "")], (30, 40), None)
    turned(tmp_path / "a.png")
    (sample,) = PascalVOC(tmp_path, first_pixel=0).samples("train")
    image = sample.image.open()
    assert image.size == (30, 40)
    assert boxes(sample)[0] == [[3, 5, 4, 6]]
    assert image.getpixel((3, 5)) == (255, 0, 0)
    tiles = PascalVOC(tmp_path, first_pixel=0, tiles=10)
    assert [len(tiles.samples(split)) for split in tiles.splits] == [7, 3, 2]
    assert tiles.samples("test")[-1].image.cell == (20, 30, 30, 40)
    assert tiles.samples("train")[0].image.open().getpixel((3, 5)) == (255, 0, 0)


def test_annotations_of_a_picture_as_it_is_stored_are_refused(tmp_path):
    voc(tmp_path, "a", [DOG], (40, 30), None)
    turned(tmp_path / "a.png")
    said = r"of 40 x 30 pixels, and .*a\.png has 30 x 40: its EXIF data turn the picture.* Turn the annotations alike\."
    with pytest.raises(InputError, match=said):
        PascalVOC(tmp_path).samples("train")
    Image.new("RGB", (30, 40)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"has 30 x 40\. Give the picture that was annotated\."):
        PascalVOC(tmp_path).samples("train")


def test_tiles_of_listed_pictures_stay_in_their_split(tmp_path):
    voc(tmp_path, "a", [DOG], (40, 30))
    (tmp_path / "t.txt").write_text("a")
    source = PascalVOC(tmp_path, lists={"val": str(tmp_path / "t.txt")}, tiles=10)
    assert source.splits == ("val",)
    assert len(source.samples("val")) == 12
    assert [sample.id for sample in source.samples("val")][:2] == ["a@0,0", "a@0,10"]


def test_a_source_that_has_read_its_files_is_pickled_without_them(tmp_path):
    voc(tmp_path, "a", [DOG])
    source = PascalVOC(tmp_path)
    source.samples("train")
    copy = pickle.loads(pickle.dumps(source))
    assert set(vars(copy)) < set(vars(source))
    assert [boxes(sample) for sample in copy.samples("train")] == [boxes(sample) for sample in source.samples("train")]


BROKEN = {
    "outside": (
        {"objects": [DOG, ("cat", (30, 20, 48, 30), "")]},
        r"object 2 \(cat\) .*outside the picture of 40 x 30",
    ),
    "no area": ({"objects": [("cat", (9, 5, 8, 9), "")]}, r"object 1 \(cat\) .*has no area. .*`bad_boxes: skip`"),
    "a word": ({"objects": [("cat", ("x", 5, 8, 9), "")]}, r"bndbox/xmin of object 1 is 'x'. Give a number"),
    "no name": ({"objects": [("", (1, 1, 8, 9), "")]}, r"object 1 has no `name`"),
    "another size": ({"objects": [DOG], "size": (400, 300)}, r"of 400 x 300 pixels, and .*a.png has 40 x 30"),
    "no picture": ({"objects": [DOG], "picture_size": None}, r"of the picture 'a', which is not in .*Set `images`"),
    "no named picture": (
        {"objects": [DOG], "picture_size": None, "filename": "q.jpg"},
        r"of the picture 'q.jpg', which is not in",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_by_name_before_training(tmp_path, case):
    settings, words = BROKEN[case]
    path = voc(tmp_path, "a", **settings)
    with pytest.raises(InputError, match=words) as caught:
        ImageTextDataModule(PascalVOC(tmp_path), 1, canvas=[8, 8]).setup("fit")
    assert str(path) in str(caught.value)


def test_bad_xml_and_missing_nodes_are_refused(tmp_path):
    path = voc(tmp_path, "a", [DOG])
    whole = path.read_text()
    path.write_text(whole[:-5])
    with pytest.raises(InputError, match=r"a\.xml is not XML"):
        PascalVOC(tmp_path).samples("train")
    path.write_text(whole.replace("<xmax>10</xmax>", ""))
    with pytest.raises(InputError, match="bndbox/xmax of object 1 is missing"):
        PascalVOC(tmp_path).samples("train")
    path.write_text(whole.replace("<width>40</width>", ""))
    with pytest.raises(InputError, match="size/width of the picture is missing"):
        PascalVOC(tmp_path).samples("train")
    path.write_text(whole)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png: this is no image that can be read"):
        PascalVOC(tmp_path).samples("train")


def test_unknown_classes_are_refused_with_the_file_that_has_them(tmp_path):
    voc(tmp_path, "a", [DOG, CAT])
    with pytest.raises(InputError, match=r"a\.xml has an object of the class 'cat', .*Did you mean 'cats'"):
        PascalVOC(tmp_path, classes=["dog", "cats"]).samples("train")
    with pytest.raises(InputError, match=r"rename: no object is of the class 'dogs'; .*Did you mean 'dog'"):
        PascalVOC(tmp_path, rename={"dogs": "dog"}).samples("train")


def test_bad_boxes_are_left_out_and_counted_where_that_is_asked_for(tmp_path):
    voc(tmp_path, "a", [("cat", (9, 5, 8, 9), ""), DOG])
    source = PascalVOC(tmp_path, bad_boxes="skip")
    assert boxes(source.samples("train")[0]) == ([[0, 0, 10, 5]], [0])
    assert source.describe("train")["bad_boxes_left_out"] == 1


def test_folders_lists_and_settings_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        PascalVOC(tmp_path / "x").samples("train")
    with pytest.raises(InputError, match="holds no XML file"):
        PascalVOC(tmp_path).samples("train")
    voc(tmp_path, "a", [DOG])
    (tmp_path / "t.txt").write_text("a\nz\n")
    with pytest.raises(InputError, match=r"t\.txt lists 'z', and .* has no z\.xml"):
        PascalVOC(tmp_path, lists={"train": str(tmp_path / "t.txt")}).samples("train")
    with pytest.raises(InputError, match="unknown split 'trian'"):
        PascalVOC(tmp_path, lists={"trian": "x"})
    with pytest.raises(InputError, match=r"PascalVOC\.classes: \['dog', 'cat', 'dog'\] names a class twice"):
        PascalVOC(tmp_path, classes=["dog", "cat", "dog"])
    with pytest.raises(InputError, match="tiles: 4 given"):
        PascalVOC(tmp_path, tiles=4)
