import importlib
import sys

import numpy as np
import pytest

from kdmm.data.svg_ref import SvgRef
from kdmm.errors import InputError

pytest.importorskip("resvg_py", reason="SVG drawings need the package resvg-py")

HALVES = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 20 10">
<rect x="0" y="0" width="10" height="10" fill="#ff0000"/>
<rect x="10" y="0" width="5" height="10" fill="#0000ff" fill-opacity="0.5"/></svg>"""


def halves(path, width="20", height="10"):
    path.write_text(HALVES.format(width=width, height=height))
    return SvgRef(str(path))


def test_a_drawing_is_drawn_on_white(tmp_path):
    image = halves(tmp_path / "a.svg").open()
    assert (image.mode, image.size) == ("RGB", (20, 10))
    pixels = np.asarray(image).astype(int)
    assert (pixels[:, :10] == (255, 0, 0)).all()
    assert np.abs(pixels[:, 10:15] - (127.5, 127.5, 255)).max() <= 1
    assert (pixels[:, 15:] == 255).all()


def test_another_background_shows_through(tmp_path):
    halves(tmp_path / "a.svg")
    image = SvgRef(str(tmp_path / "a.svg"), background=(0, 9, 0)).open()
    assert image.getpixel((19, 5)) == (0, 9, 0)


def test_its_transparency_is_kept_where_it_is_asked_for(tmp_path):
    pixels = np.asarray(halves(tmp_path / "a.svg").open_rgba()).astype(int)
    assert (pixels[:, :10] == (255, 0, 0, 255)).all()
    assert np.abs(pixels[:, 10:15] - (0, 0, 255, 127.5)).max() <= 1
    assert (pixels[:, 15:, 3] == 0).all()


@pytest.mark.parametrize(("unit", "pixels"), [("px", (20, 10)), ("in", (1920, 960)), ("pt", (27, 13))])
def test_an_inch_has_96_pixels(tmp_path, unit, pixels):
    assert halves(tmp_path / "a.svg", f"20{unit}", f"10{unit}").open().size == pytest.approx(pixels, abs=1)


def test_a_changed_file_is_drawn_anew(tmp_path):
    ref = halves(tmp_path / "a.svg")
    before = ref.identity()
    assert ref.open().size == (20, 10)
    halves(tmp_path / "a.svg", "200", "100")
    assert ref.identity() != before
    assert ref.open().size == (200, 100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (b"<svg", "this is no SVG drawing that can be read"),
        (b"\x89PNG\r\n\x1a\n", "this is no SVG drawing that can be read"),
    ],
)
def test_what_is_no_drawing_is_said_without_the_path(tmp_path, content, said):
    path = tmp_path / "a.svg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        SvgRef(str(path)).open()
    assert str(tmp_path) not in str(error.value)


def test_the_missing_package_is_named_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(InputError, match=r"pip install 'kdmm\[svg\]'"):
        SvgRef("a.svg")
    monkeypatch.undo()
    assert importlib.import_module("resvg_py")
