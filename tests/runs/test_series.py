import inspect
from pathlib import Path

import pytest

import kdmm
from kdmm.errors import InputError
from kdmm.runs.series import GENERATE_KEYS, Series

WHOLE = """
name: digits/few
folds: [0, 3]
baseline: alone
metrics: [test/top1]
rows:
  teacher: {config: teacher.yaml, overrides: [data.sources.fold=<fold>]}
  alone: {config: student.yaml}
  Soft labels, all of them:
    config: ../other/student.yaml
    overrides: ["module.source={_target_: x.Y, fold: <fold>, of: <teacher>}", seed=7]
    generate: {beams: 2}
"""


def read(tmp_path, text=WHOLE):
    path = tmp_path / "series.yaml"
    path.write_text(text, "utf-8")
    return Series.read(path)


def test_rows_are_read_and_named_by_fold(tmp_path):
    series = read(tmp_path)
    row = series.rows["Soft labels, all of them"]
    assert series.folds == (0, 3)
    assert row.config == tmp_path / "../other/student.yaml"
    assert row.generate == {"generated-train.jsonl": {"beams": 2}}
    assert series.rows["alone"].generate == {}
    assert series.run_name("Soft labels, all of them", 3) == "digits/few/soft-labels-all-of-them-fold3"


def test_places_stand_for_the_fold_and_for_the_run_of_another_row(tmp_path):
    series = read(tmp_path)
    found = series.overrides("Soft labels, all of them", 3, Path("elsewhere"))
    assert found == [
        "name=digits/few/soft-labels-all-of-them-fold3",
        "seed=3",
        "trainer.enable_progress_bar=false",
        "module.source={_target_: x.Y, fold: 3, of: elsewhere/digits/few/teacher-fold3}",
        "seed=7",  # the later one counts
    ]
    assert series.overrides("alone", 0, Path("runs"))[1:] == ["seed=0", "trainer.enable_progress_bar=false"]


def test_rows_of_one_config_share_overrides_before_their_own(tmp_path):
    shared = "overrides: {student.yaml: [a.fold=<fold>, a.run=<teacher>]}\nrows:"
    more = "  short: {config: student.yaml, overrides: [a.fold=9]}"
    series = read(tmp_path, WHOLE.replace("rows:", shared, 1) + more)
    assert series.overrides("alone", 3, Path("runs"))[3:] == ["a.fold=3", "a.run=runs/digits/few/teacher-fold3"]
    assert series.overrides("short", 3, Path("runs"))[3:] == [
        "a.fold=3",
        "a.run=runs/digits/few/teacher-fold3",
        "a.fold=9",
    ]
    assert series.rows["teacher"].overrides == ("data.sources.fold=<fold>",)
    assert list(series.chosen(["short"]).rows) == ["teacher", "short"]


def test_a_row_may_write_several_tables(tmp_path):
    tables = "[{beams: 2}, {output: near.jsonl, beams: 3, nearest: bleu}]"
    row = read(tmp_path, WHOLE.replace("{beams: 2}", tables)).rows["Soft labels, all of them"]
    assert row.generate == {"generated-train.jsonl": {"beams": 2}, "near.jsonl": {"beams": 3, "nearest": "bleu"}}
    assert set(GENERATE_KEYS) <= inspect.signature(kdmm.generate).parameters.keys()


def test_what_a_row_writes_may_name_other_rows_runs(tmp_path):
    tables = "[{overrides: [a.fold=<fold>], beams: 2}, {output: judged.jsonl, beams: 3, judge: <alone>}]"
    series = read(tmp_path, WHOLE.replace("{beams: 2}", tables))
    assert series.tables("Soft labels, all of them", 3, Path("runs")) == {
        "generated-train.jsonl": {"overrides": ["a.fold=3"], "beams": 2},
        "judged.jsonl": {"beams": 3, "judge": "runs/digits/few/alone-fold3"},
    }
    assert series.tables("alone", 3, Path("runs")) == {}
    assert list(series.chosen(["Soft labels, all of them"]).rows) == ["teacher", "alone", "Soft labels, all of them"]


def test_chosen_rows_bring_those_that_they_stand_on(tmp_path):
    series = read(tmp_path)
    assert list(series.chosen(["Soft labels, all of them"]).rows) == ["teacher", "Soft labels, all of them"]
    assert list(series.chosen(["alone"]).rows) == ["alone"]
    with pytest.raises(InputError, match=r"--rows: found 'alon'; .*Did you mean 'alone'"):
        series.chosen(["alon"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("baseline: alone", "baseline: alonee", r"baseline: found 'alonee'; accepted: teacher, .*Did you mean 'alone'"),
        ("baseline: alone", "", r"baseline is missing; a series has name, folds"),
        ("baseline", "base_line", r"found 'base_line'; accepted: .*Did you mean 'baseline'"),
        ("folds: [0, 3]", "folds: [0, a]", r"folds: found \[0, 'a'\]; accepted: a list of whole numbers"),
        ("folds: [0, 3]", "folds: 0", r"folds: found 0; accepted: a list of whole numbers"),
        ("of: <teacher>", "of: <techer>", r"rows.Soft.*overrides: <techer>: found 'techer'.*Did you mean 'teacher'"),
        ("data.sources.fold=<fold>", "x=<alone>", r"rows.teacher.overrides: <alone>"),  # a row that comes later
        ("{config: student.yaml}", "student.yaml", r"rows.alone: found 'student.yaml'; give its config"),
        ("{config: student.yaml}", "{config: s.yaml, seed: 1}", r"rows.alone.found 'seed'; accepted: config"),
        ("{beams: 2}", "{judge: <alon>}", r"rows.Soft.*generate: <alon>: found 'alon'.*Did you mean 'alone'"),
        ("{beams: 2}", "true", r"generate: found True; give its arguments"),
        ("{beams: 2}", "[{beams: 2}, 4]", r"generate: found 4; give its arguments"),
        ("{beams: 2}", "{beam: 2}", r"generate.found 'beam'; accepted: .*Did you mean 'beams'"),
        ("{beams: 2}", "[{beams: 2}, {beams: 3}]", r"generate: two tables are called 'generated-train.jsonl'"),
        ("{beams: 2}", "{beams: 2}\n    compared: 1", r"compared: found 1; accepted: true or false"),
        ("alone: {config: student.yaml}", "alone: {config: s.yaml, compared: false}", r"baseline: found 'alone'"),
        ("student.yaml}", "s.yaml, metrics: [test/top]}", r"rows.alone.metrics: found 'test/top'; accepted: test/top1"),
        ("student.yaml}", "s.yaml, metrics: test/top1}", r"rows.alone.metrics: found 'test/top1'; accepted: a list"),
        ("rows:", "differences: [[alone, pupil]]\nrows:", r"differences: found 'pupil'; accepted: teacher, alone"),
        ("rows:", "differences: [alone]\nrows:", r"differences: found \['alone'\]; accepted: a list of pairs"),
        (
            "rows:",
            "overrides: [a=1]\nrows:",
            r"overrides: found \['a=1'\]; give lists of overrides by the rows' configs",
        ),
        ("rows:", "overrides: {student.yaml: a=1}\nrows:", r"overrides.student.yaml: found 'a=1'; accepted: a list"),
        ("rows:", "overrides: {pupil.yaml: [a=1]}\nrows:", r"overrides: found 'pupil.yaml'; accepted: teacher.yaml"),
        ("rows:", "overrides: {teacher.yaml: [a=<alone>]}\nrows:", r"rows.teacher.overrides: <alone>: found 'alone'"),
        ("  teacher: ", "  fold: ", r"rows.fold: <fold> stands for the fold's number"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, old, new, said):
    assert old in WHOLE
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, WHOLE.replace(old, new, 1))
    assert str(caught.value).startswith(str(tmp_path / "series.yaml"))
