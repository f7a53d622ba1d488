import io
import pickle
import warnings

import numpy as np
import pyarrow
import pytest
from PIL import Image

from kdmm.data import ImageRef, Sample
from kdmm.errors import InputError
from tests.data.files import BROKEN_PNG, encoded, picture


def test_a_file_and_its_bytes_give_the_same_image(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(3))
    expected = np.asarray(picture(3))
    for reference in (
        ImageRef(str(path)),
        ImageRef("a", encoded(3)),
        ImageRef("a", pyarrow.py_buffer(encoded(3))),
        pickle.loads(pickle.dumps(ImageRef("a", pyarrow.py_buffer(encoded(3))))),
    ):
        image = reference.open()
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 20, 30)])
def test_transparent_parts_show_the_background(tmp_path, background):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 51)])
    image.save(tmp_path / "a.png")
    found = np.asarray(ImageRef(str(tmp_path / "a.png"), background=background).open())[0]
    front, back = np.array([200, 100, 0]), np.array(background)
    expected = [front, back, 0.2 * front + 0.8 * back]
    assert np.abs(found - np.array(expected)).max() <= 1


GREYS = np.array([[0, 100, 255]], dtype=np.uint8)
COLOURS = np.array([[[200, 100, 0], [0, 0, 255], [10, 20, 30]]], dtype=np.uint8)
INKS = np.array([[[255, 0, 0, 0], [0, 51, 102, 51], [0, 0, 0, 255]]], dtype=np.uint8)  # cyan, magenta, yellow, black
MODES = {  # by mode: the picture, and what is seen of it
    "L": (Image.fromarray(GREYS), [[0] * 3, [100] * 3, [255] * 3]),
    "1": (Image.fromarray(GREYS > 127), [[0] * 3, [0] * 3, [255] * 3]),
    "P": (Image.fromarray(COLOURS).quantize(3), COLOURS[0].tolist()),
    "CMYK": (Image.fromarray(INKS, "CMYK"), [[0, 255, 255], [204, 163, 122], [0, 0, 0]]),
    "LA": (Image.merge("LA", [Image.fromarray(GREYS), Image.new("L", (3, 1), 102)]), [[153] * 3, [193] * 3, [255] * 3]),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(tmp_path, mode):
    image, expected = MODES[mode]
    assert image.mode == mode
    image.save(tmp_path / "a.tif")
    found = ImageRef(str(tmp_path / "a.tif")).open()
    assert found.mode == "RGB"
    assert np.abs(np.asarray(found)[0].astype(int) - expected).max() <= 1  # Pillow rounds


def test_a_transparent_colour_shows_the_background(tmp_path):
    image = Image.fromarray(COLOURS).quantize(3)
    (place,) = (place for place in range(3) if image.getpalette()[3 * place : 3 * place + 3] == [0, 0, 255])
    image.save(tmp_path / "a.gif", transparency=place)
    found = np.asarray(ImageRef(str(tmp_path / "a.gif"), background=(1, 2, 3)).open())
    assert found[0].tolist() == [[200, 100, 0], [1, 2, 3], [10, 20, 30]]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_to_8(form):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 2
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(file, form, exif=exif)
    expected = [0, 128, 255] if form == "PPM" else [255, 128, 0]  # which has no EXIF data
    assert np.asarray(ImageRef("a", file.getvalue()).open()).tolist() == [[[x] * 3 for x in expected]]
    assert np.asarray(ImageRef("a", file.getvalue()).open_rgba())[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("kind", "said"), [(np.int32, "integers of 32 bits"), (np.float32, "floating-point numbers")])
def test_numbers_of_which_nobody_knows_which_is_white_are_refused(kind, said):
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 1, 65535]], dtype=kind)).save(file, "TIFF")
    for read in (ImageRef("a", file.getvalue()).open, ImageRef("a", file.getvalue()).open_rgba):
        with pytest.raises(InputError, match=rf"^its pixels are {said}.*Save the picture with 8 or 16 bits"):
            read()


LANDSCAPE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
TURNED = {  # by EXIF orientation: what is seen of the rows and columns that are stored
    1: LANDSCAPE,
    2: LANDSCAPE[:, ::-1],
    3: LANDSCAPE[::-1, ::-1],
    4: LANDSCAPE[::-1],
    5: LANDSCAPE.swapaxes(0, 1),
    6: LANDSCAPE[::-1].swapaxes(0, 1),
    7: LANDSCAPE[::-1, ::-1].swapaxes(0, 1),
    8: LANDSCAPE[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_is_seen_as_its_exif_data_turn_it(form, orientation):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(LANDSCAPE).save(file, form, exif=exif)
    ref = ImageRef("a", file.getvalue())
    expected = TURNED[orientation]
    assert np.array_equal(np.asarray(ref.open()), expected)
    assert np.array_equal(np.asarray(ref.open_rgba())[..., :3], expected)
    assert ref.size() == expected.shape[1::-1]


def test_exif_data_that_cannot_be_read_turn_nothing():
    whole = Image.Exif()
    whole[0x0112] = 6
    for data in (b"Exif\0\0nothing of the kind", whole.tobytes()[:20]):
        cut = io.BytesIO()
        picture(1).save(cut, "JPEG", exif=data)
        ref = ImageRef("a", cut.getvalue())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow says so too
            assert ref.open().size == ref.size() == picture(1).size


def test_transparency_is_kept_where_it_is_asked_for():
    file = io.BytesIO()
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 51)])
    image.save(file, "PNG")
    assert ImageRef("a", file.getvalue()).open_rgba().tobytes() == image.tobytes()
    assert ImageRef("a", encoded(1)).open_rgba().getchannel("A").getextrema() == (255, 255)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"<html>not found</html>", "no image"),
        (encoded(0)[:60], "broken"),
        (encoded(0, "JPEG")[:-200], "broken"),
        (BROKEN_PNG, "broken"),
    ],
)
def test_a_broken_file_is_an_input_error(tmp_path, content, said):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        ImageRef(str(path)).open()
    if content is not None:
        with pytest.raises(InputError, match=said):
            ImageRef("a.png", content).open()


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(InputError, match="folder"):
        ImageRef(str(tmp_path)).open()


def test_the_identity_changes_with_the_image(tmp_path):
    path = tmp_path / "a.png"
    found = {ImageRef(str(path)).identity()}
    for seed in (0, 1):
        path.write_bytes(encoded(seed))
        found.add(ImageRef(str(path)).identity())
        assert ImageRef(str(path)).identity() == ImageRef("in a table", encoded(seed)).identity()
    found.add(ImageRef(str(path), background=(0, 0, 0)).identity())
    assert len(found) == 4


def test_samples_are_pickled_with_their_labels():
    sample = Sample("a", None, ("text",), labels={"kind": 3})
    assert pickle.loads(pickle.dumps(sample)) == sample
