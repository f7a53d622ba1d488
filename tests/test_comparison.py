import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

import kdmm
from kdmm import comparison
from kdmm.analysis import ParameterCount, RunRecord, Speeds, mean_interval, paired_difference
from kdmm.cli import main
from kdmm.errors import InputError

TEACHER = """
name: any
data:
  _target_: kdmm.data.ImageTextDataModule
  sources: {_target_: kdmm.data.Digits, fold: 0}
  batch_size: 64
module:
  _target_: kdmm.modules.TeacherModule
  teacher:
    _target_: kdmm.models.Classifier
    tower: {_target_: kdmm.models.ConvImage, widths: [4, 8], image_size: 12}
    classes: 10
  objective:
    _target_: kdmm.losses.Objective
    terms: {hard: {_target_: kdmm.losses.CrossEntropy, label: digit}}
  optimization:
    _target_: kdmm.modules.Optimization
    optimizer: {_target_: torch.optim.AdamW, _partial_: true, lr: 0.01}
  metrics: {accuracy: {_target_: kdmm.metrics.Accuracy, label: digit}}
trainer: {accelerator: cpu, max_steps: 2}
"""
STUDENT = """
base: teacher.yaml
name: any
module:
  _target_: kdmm.modules.DistillationModule
  _keep_: [objective, optimization, metrics]
  student:
    _target_: kdmm.models.Classifier
    tower: {_target_: kdmm.models.ConvImage, widths: [4], image_size: 12}
    classes: 10
  teacher: {_target_: kdmm.teachers.FromRun, run: runs/none}
  objective:
    terms: {soft: {_target_: kdmm.losses.KD}}
"""
SERIES = """
name: few
folds: [0, 1]
baseline: small
metrics: [test/top1]
rows:
  teacher: {config: teacher.yaml, overrides: [data.sources.fold=<fold>]}
  small: {config: teacher.yaml, overrides: [data.sources.fold=<fold>, "module.teacher.tower.widths=[4]"]}
  distilled: {config: student.yaml, overrides: [data.sources.fold=<fold>, module.teacher.run=<teacher>]}
"""


@pytest.fixture
def series(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"teacher": TEACHER, "student": STUDENT, "series": SERIES}.items():
        Path(f"{name}.yaml").write_text(text, "utf-8")
    return Path("series.yaml")


@pytest.mark.slow
def test_a_real_series_is_run_once_and_its_numbers_are_those_of_its_runs(series, capsys):
    assert main(["compare", str(series)]) == 0
    printed = capsys.readouterr().out
    runs = {row: [kdmm.Run(Path(f"runs/few/{row}-fold{fold}")) for fold in (0, 1)] for row in ("small", "distilled")}
    values = {row: [each.metrics["test/top1"] for each in found] for row, found in runs.items()}
    gain = paired_difference(dict(enumerate(values["distilled"])), dict(enumerate(values["small"])))
    mean = 100 * mean_interval(values["distilled"]).mean
    line = f"| distilled | {mean:.1f} | {100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}) |"
    assert line in printed
    assert printed.count("kdmm fit teacher.yaml") == 4
    assert Path("runs/few/comparison.md").read_text() in printed + "\n"
    with Path("runs/few/comparison.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["row"] == "small"]
    assert [(row["metric"], row["fold"], float(row["value"])) for row in rows] == [
        ("test/top1", str(fold), value) for fold, value in enumerate(values["small"])
    ]
    assert [each.record.seed for each in runs["small"]] == [0, 1]
    assert str(runs["distilled"][1].record.teacher).endswith("few/teacher-fold1")
    times = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("metrics.json")}
    kdmm.compare(series, speed=False)
    assert {path: path.stat().st_mtime_ns for path in times} == times  # nothing was run again


@pytest.fixture
def counted(monkeypatch):
    """Stands in for training: counts the runs, whose accuracy is told by the length of their name."""
    names = []

    def complete(config, overrides=(), *, allow=()):
        name = next(each for each in overrides if each.startswith("name="))[5:]
        names.append(name)
        Path("runs/few").mkdir(parents=True, exist_ok=True)
        size = ParameterCount(1_234_567, 1_234_567)
        record = RunRecord(name, "student", "test", {}, size, 0, data=None, seed=0, steps=1200, wall_time_s=1.0)
        return SimpleNamespace(dir=Path("runs") / name, metrics={"test/top1": len(name) / 100}, record=record)

    monkeypatch.setattr(comparison.run, "complete", complete)
    speeds = Speeds({"few/teacher": 1234.6}, (), "8 at a time", {"few/teacher": 99.6}, {"few/distilled": 20.0}, beams=4)
    monkeypatch.setattr(comparison, "measure_speed", lambda folders, allow: speeds)
    return names


def test_folds_and_rows_may_be_chosen(series, counted):
    found = kdmm.compare(series, folds=[4], rows=["distilled"])
    assert counted == ["few/teacher-fold4", "few/distilled-fold4"]
    assert found.values == {"test/top1": {"teacher": {4: 0.17}, "distilled": {4: 0.19}}}
    assert found.tables[0].title == "models (samples/s: 8 at a time)"
    assert found.tables[0].headers[3:] == ("samples/s", "tokens/s greedy", "tokens/s with 4 beams")
    teacher, distilled = found.tables[0].rows
    assert teacher == ("teacher", "1.23 M", "1,200", "1,235", "100", "-")
    assert distilled == ("distilled", "1.23 M", "1,200", "-", "-", "20")


def test_every_experiment_is_checked_before_any_is_run(series, counted):
    text = series.read_text()
    series.write_text(text.replace("module.teacher.run=<teacher>", "module.techer.run=<teacher>"))
    for only_check in (True, False):
        with pytest.raises(InputError, match=r"module.techer"):
            kdmm.compare(series, only_check=only_check)
    series.write_text(text)
    assert kdmm.compare(series, only_check=True).tables == ()
    assert counted == []
    assert not Path("runs").exists()


def test_a_metric_that_is_not_measured_is_said_after_the_first_run(series, counted):
    series.write_text(SERIES.replace("[test/top1]", "[test/top2]"))
    with pytest.raises(InputError, match=r"series.yaml: metrics: .* has no 'test/top2'; .*Did you mean 'test/top1'"):
        kdmm.compare(series)
    assert len(counted) == 1


def test_what_a_row_writes_is_written_once(series, counted, monkeypatch):
    asked = []

    def generate(run, *, output, allow, **settings):
        asked.append((str(run), str(output), settings))
        run.mkdir(parents=True, exist_ok=True)
        output.write_text("{}\n")

    monkeypatch.setattr(comparison.run, "generate", generate)
    for tables in ("{beams: 2}", "[{beams: 2}, {output: judged.jsonl, beams: 3, judge: <teacher>}]"):
        series.write_text(SERIES.replace("small: {config", f"small: {{generate: {tables}, config"))
        for _ in range(2):
            kdmm.compare(series, folds=[1])
    folder = "runs/few/small-fold1"
    assert asked == [
        (folder, f"{folder}/generated-train.jsonl", {"beams": 2}),
        (
            folder,
            f"{folder}/judged.jsonl",
            {"beams": 3, "judge": "runs/few/teacher-fold1"},
        ),  # which leaves the other as it was
    ]


def test_of_one_fold_there_is_a_difference_without_an_interval(series, counted):
    (table,) = kdmm.compare(series, folds=[1]).tables[1:]
    rows = {row: cells for row, *cells in table.rows}
    assert rows["distilled"] == ["19.0", "+4.0"]  # names of runs that are 19 and 15 letters long
    assert rows["small"] == ["15.0", "-"]


def test_a_row_that_others_stand_on_need_not_be_compared(series, counted):
    series.write_text(SERIES.replace("teacher: {config", "teacher: {compared: false, config"))
    found = kdmm.compare(series, folds=[1])
    assert counted == ["few/teacher-fold1", "few/small-fold1", "few/distilled-fold1"]
    assert list(found.values["test/top1"]) == ["small", "distilled"]
    assert "teacher" not in found.to_markdown()


def test_further_differences_are_of_the_rows_that_are_named(series, counted):
    series.write_text(SERIES + "differences: [[distilled, teacher], [teacher, small]]\n")
    table = kdmm.compare(series, folds=[0, 1]).tables[-1]
    assert table.title == "test/top1, further differences"
    assert [row[0] for row in table.rows] == ["distilled minus teacher", "teacher minus small"]
    assert table.rows[0][1].startswith("+2.0 (+2.0 to +2.0)")  # names of runs that are two letters longer
    assert len(kdmm.compare(series, folds=[0, 1], rows=["small", "teacher"]).tables[-1].rows) == 1


def test_a_row_that_does_not_measure_everything_says_by_what_it_is_compared(series, counted):
    text = SERIES.replace("[test/top1]", "[test/top2, test/top1]") + "differences: [[distilled, small]]\n"
    assert text.count("{config: ") == 3
    series.write_text(text.replace("{config: ", "{metrics: [test/top1], config: "))
    found = kdmm.compare(series, folds=[1])
    assert {metric: list(rows) for metric, rows in found.values.items()} == {
        "test/top2": [],
        "test/top1": ["teacher", "small", "distilled"],
    }
    assert [table.title for table in found.tables[1:]] == [
        "test/top2 in %, mean of 1", "test/top1 in %, mean of 1", "test/top1, further differences",
    ]  # fmt: skip
    series.write_text(text.replace("{config: ", "{metrics: [test/top1], config: ", 2))
    with pytest.raises(InputError, match=r"few/distilled-fold1 has no 'test/top2'"):
        kdmm.compare(series, folds=[1])


def test_a_wrong_series_has_exit_status_2(series, capsys):
    series.write_text(SERIES.replace("baseline: small", "baseline: smal"))
    assert main(["compare", str(series)]) == 2
    assert "Did you mean 'small'" in capsys.readouterr().err
