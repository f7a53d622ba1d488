"""The shipped experiments: every YAML is checked, and the series run what they say, without training anything."""

import json
import runpy
import sys
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest

import kdmm
from kdmm import config
from kdmm.analysis import mean_interval, paired_difference
from kdmm.data import SoundFont

EXPERIMENTS = Path("experiments").resolve()


SERIES = sorted(EXPERIMENTS.rglob("*series.yaml"))  # checked below
OTHER = {*SERIES, EXPERIMENTS / "losses" / "objectives.yaml"}  # rows of losses/run.py


@pytest.mark.parametrize("path", sorted(set(EXPERIMENTS.rglob("*.yaml")) - OTHER), ids=lambda path: path.stem)
def test_every_yaml_is_right(path):
    config.load(path)


@pytest.mark.parametrize("path", SERIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_experiment_of_a_series_is_right(path):
    kdmm.compare(path, only_check=True)


class Series:
    """Stands in for training: checks every experiment and gives numbers that its name decides."""

    def __init__(self, metrics):
        self.metrics, self.names = metrics, []

    def complete(self, path, overrides=(), *, allow=()):
        settings = config.load(path, overrides, tuple(allow))
        self.names.append(settings.name)
        values = {metric: self.value(settings.name, metric) for metric in self.metrics}
        return SimpleNamespace(dir=Path("runs") / settings.name, metrics=values)

    @staticmethod
    def value(name, metric):
        return (sum(map(ord, name + metric)) % 97) / 100

    def report(self, runs, output=None, **_):
        self.reported = [str(run) for run in runs]
        return SimpleNamespace(to_markdown=lambda: "")


@pytest.fixture
def series(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(script, metrics, *arguments):
        made = Series(metrics)
        monkeypatch.setattr(kdmm, "complete", made.complete)
        monkeypatch.setattr(kdmm, "report", made.report)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        (Path("runs") / Path(script).parent.name).mkdir(parents=True, exist_ok=True)
        runpy.run_path(str(EXPERIMENTS / script), run_name="__main__")
        return made

    return run


def cells(text, title, row):
    table = next(part for part in text.split("**") if part.startswith("\n\n|") and title in text.split(part)[0][-200:])
    line = next(line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("data", "metric"), [("digits", "test/top1"), ("emoji", "test/top1"), ("pairs", "test/recall@5")]
)
def test_losses_are_compared_by_paired_differences_from_the_hard_loss(series, data, metric):
    made = series(
        "losses/run.py", [metric], "--data", data, "--folds", "0", "1", "--only", "hard", "feature_masked", "kd"
    )
    text = Path("runs/losses/comparison.md").read_text()
    row = "feature_masked" if data == "pairs" else "kd"
    names = {each: [f"losses/{data}-{each}-fold{fold}" for fold in (0, 1)] for each in ("hard", row)}
    assert len(set(made.names)) == len(made.names) == 2 * (1 + 2)
    ours, hard = ([Series.value(name, metric) for name in names[each]] for each in (row, "hard"))
    gain = paired_difference(dict(enumerate(ours)), dict(enumerate(hard)))
    found = cells(text, data, row)
    assert found[1] == f"{100 * mean_interval(ours).mean:.1f}"
    assert found[2] == f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    assert cells(text, data, "hard")[2:] == ["-", "-"]


def test_every_objective_that_is_compared_can_be_built_from_its_row(series):
    for data, metric in (("emoji", "test/top1"), ("pairs", "test/recall@5")):
        made = series("losses/run.py", [metric], "--data", data, "--folds", "0")
        assert len(made.names) == len(set(made.names)) > 15


@pytest.mark.slow
def test_who_does_not_listen_names_the_most_frequent_instrument():
    floors = runpy.run_path(str(EXPERIMENTS / "audio/floors.py"))["floors"]
    lines = [line.strip("| ").split(" | ") for line in floors([0, 3]).splitlines()[2:]]
    assert [line[0] for line in lines] == ["chance", "guessing from pitch band, length and loudness"]
    instruments = [
        SoundFont(held_out="pitch", fold=fold, seconds=1).attributes("test")["instrument"] for fold in (0, 3)
    ]
    most = fmean(max(map(each.count, set(each))) / len(each) for each in map(list, instruments))
    assert lines[0][2] == f"{100 * most:.1f}"
    assert float(lines[1][1]) > float(lines[0][1])


def test_the_series_of_one_space_shares_its_teachers(series):
    metrics = ["test/recall@5", "test/zero_shot_audio/top1"]
    metrics += [f"test/{a}_to_{b}/recall@5" for a in ("image", "text", "audio") for b in ("image", "text", "audio")]
    made = series("shared-space/run.py", metrics, "--folds", "0", "1")
    own = [name for name in made.names if name.startswith("shared-space/")]
    assert len(own) == len(set(own)) == 2 * (5 + 5 + 2)
    text = Path("runs/shared-space/tables.md").read_text()
    assert text.count("**") == 2 * (2 + 1 + 6)
    names = [f"shared-space/notes-captions-and-pictures-fold{fold}" for fold in (0, 1)]
    values = [Series.value(name, "test/zero_shot_audio/top1") for name in names]
    assert cells(text, "notes, test/zero_shot", "captions and pictures")[1] == f"{50 * sum(values):.1f}"


def test_what_answers_imbalance_is_held_against_what_does_not(monkeypatch):
    metrics = ["test/mean_per_class", "test/top1", "test/recall@5"]
    metrics += [f"test/image_text_gap/{name}" for name in ("centroid_distance", "separability")]
    classes = runpy.run_path(str(EXPERIMENTS / "imbalance/run.py"))
    made = Series(metrics)
    monkeypatch.setattr(kdmm, "complete", made.complete)
    (table, _) = classes["compare"]("classes", classes["CLASSES"], [0, 1])
    monkeypatch.setitem(classes["compare"].__globals__, "shifted", lambda run: dict.fromkeys(metrics, 0.5))
    assert len(classes["compare"]("gap", classes["GAP"], [0])) == 3
    assert len(made.names) == len(set(made.names)) == 2 * 4 + 4
    rows = [Series.value(f"imbalance/classes-balanced-sampling-fold{fold}", metrics[0]) for fold in (0, 1)]
    assert cells(table, "test/mean_per_class", "balanced sampling")[1] == f"{50 * sum(rows):.1f}"


def test_the_notebooks_are_stored_without_outputs():
    for path in Path(EXPERIMENTS.parent / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), path.name
