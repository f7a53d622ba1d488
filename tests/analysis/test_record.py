import json
import math
from pathlib import Path
from typing import Any

import pytest

from kdmm.analysis import DataRecord, RunRecord
from kdmm.errors import InputError
from tests.analysis.records import record, write


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = record(
        "student-fold2",
        teacher="teacher-fold2",
        fold=2,
        description="a | b",
        versions={"torch": "2.6"},
    )
    folder = write(tmp_path, run)
    assert RunRecord.read(folder) == run
    assert [path.name for path in folder.iterdir()] == ["metrics.json"]


def test_values_that_are_not_finite_are_null_in_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path, record("a", metrics={"test/recall@5": math.nan}))
    assert json.loads((folder / "metrics.json").read_text())["metrics"]["test/recall@5"] is None
    assert RunRecord.read(folder).value("recall@5") is None
    assert RunRecord.read(folder).value("image_to_text/recall@5") == pytest.approx(0.21)


@pytest.mark.parametrize(
    ("name", "group", "fold"),
    [
        ("quickstart-student", "quickstart-student", None),
        ("quickstart-student-fold3", "quickstart-student", 3),
        ("quickstart-fold3-seed21", "quickstart", 3),
        ("student-seed2", "student", None),
        ("manifold5-x", "manifold5-x", None),
    ],
)
def test_repetitions_are_told_by_the_end_of_the_name(name: str, group: str, fold: int | None) -> None:
    assert record(name).group == group
    assert record(name).fold == fold
    assert record(name, experiment="mine", fold=7).group == "mine"
    assert record(name, fold=7).fold == 7


def without(tree: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: without(tree, "split"), "it has no 'split'"),
        (lambda tree: tree | {"parameters": {"total": 3}}, "it has no 'parameters.trained'"),
        (lambda tree: tree | {"parameters": 3}, "parameters is 3, not an object"),
        (lambda tree: tree | {"seed": "0"}, "seed is '0', not a whole number"),
        (lambda tree: tree | {"seed": 0.5}, "seed is 0.5, not a whole number"),
        (lambda tree: tree | {"steps": True}, "steps is True, not a whole number"),
        (lambda tree: tree | {"wall_time_s": None}, "wall_time_s is null, not a number"),
        (lambda tree: tree | {"teacher": 3}, "teacher is 3, not text"),
        (lambda tree: tree | {"versions": ["torch"]}, "versions is ['torch'], not an object"),
        (lambda tree: tree | {"role": "pupil"}, "role is 'pupil', not one of teacher, student"),
        (lambda tree: tree | {"metrics": {"test/recall@5": "0.3"}}, "metrics.test/recall@5 is '0.3', not a number"),
        (lambda tree: [1, 2], "the file is [1, 2], not an object"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path: Path, change: Any, message: str) -> None:
    path = write(tmp_path, record("a")) / "metrics.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError) as caught:
        RunRecord.read(path.parent)
    assert str(caught.value) == f"{path} is damaged: {message}. Run it again with `--overwrite`, or leave this run out."


@pytest.mark.parametrize("text", ["", "{", "\x00\x01", '{"name": "a",}'])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, record("a")) / "metrics.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a/metrics.json is damaged: .*line 1 column"):
        RunRecord.read(path.parent)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, record("a")) / "metrics.json"
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match=r"a/metrics.json is damaged"):
        RunRecord.read(path.parent)


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics.json is missing: the run has not finished"):
        RunRecord.read(tmp_path)
    with pytest.raises(InputError, match="absent is no folder"):
        RunRecord.read(tmp_path / "absent")


def test_a_run_that_was_never_evaluated_is_named(tmp_path: Path) -> None:
    run = RunRecord.read(write(tmp_path, record("a", data=None)))
    assert run.data is None
    with pytest.raises(InputError, match=r"The run 'a' holds no evaluation, .* `kdmm evaluate runs/a`"):
        _ = run.evaluated


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, record("a")) / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"energy_j": 3.5}))
    assert RunRecord.read(path.parent) == record("a")


def test_data_are_taken_from_a_datamodules_description() -> None:
    description = {"source": "Emoji", "fold": 2, "split": "val", "samples": 9, "images": 8, "captions": 40}
    assert DataRecord.of(description) == DataRecord("Emoji", 9, 2, {"images": 8, "captions": 40})
    assert DataRecord.of({"source": "Shards", "samples": 5, "shards": 2}) == DataRecord(
        "Shards", 5, None, {"shards": 2}
    )


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, record("a"))
    before = (folder / "metrics.json").read_bytes()

    def fail(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        record("a", recall=0.5).write(folder)
    assert [path.name for path in folder.iterdir()] == ["metrics.json"]
    assert (folder / "metrics.json").read_bytes() == before
