"""The modules train any model by any terms: none of them knows a task."""

from pathlib import Path

import pytest

import kdmm.modules

TASKS = ("detect", "segment", "caption", "translat", "video", "sentiment")
SOURCES = sorted(Path(kdmm.modules.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_names_a_task(path):
    text = path.read_text("utf-8").lower()
    assert [word for word in TASKS if word in text] == []


def test_the_modules_are_found():
    assert {"base", "alone", "distillation", "mutual"} <= {path.stem for path in SOURCES}
