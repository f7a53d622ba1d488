import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from kdmm.analysis import DataRecord, ParameterCount, Report, RunRecord, Speeds, mean_interval
from kdmm.errors import InputError
from tests.analysis.records import record, write

CROSS = "test/student_image_to_teacher_text/recall@5"


def teacher(name: str = "teacher", recall: float = 0.25, **changes: object) -> RunRecord:
    return record(
        name, recall, role="teacher", parameters=ParameterCount(26_412_000, 400_000), size_bytes=105_600_000, **changes
    )


def printed(report: Report, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(report.to_rich())
    return console.file.getvalue()  # type: ignore[attr-defined]


def folds(name: str, recalls: list[float], **changes: object) -> list[RunRecord]:
    return [record(f"{name}-fold{fold}", recall, fold=fold, **changes) for fold, recall in enumerate(recalls)]


def cells(text: str) -> list[list[str]]:
    """The cells of all Markdown tables, without the lines of dashes."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [line for line in lines if line[0] != "---"]


def test_a_report_of_single_runs_reads_as_expected() -> None:
    student = record("distilled", 0.2, teacher="teacher", metrics={CROSS: 0.17})
    speeds = Speeds({"distilled": 1234.4}, ("teacher: samples/s was not measured: it is blind",), "2 at a time on cpu")
    text = Report([teacher(), student, record("alone", 0.1)], speeds=speeds).to_markdown()
    assert text.startswith(
        "Compared on the test split of emoji: 100 images and 300 captions. "
        "A random ranking has R@5 4.9% image→text and 5.0% text→image.\n\n"
        "- teacher: samples/s was not measured: it is blind\n\n**Runs**\n\n| run |"
    )
    columns = {header: column for header, *column in zip(*cells(text), strict=True)}
    assert columns == {
        "run": ["teacher", "distilled", "alone"],
        "parameters (M)": ["26.4", "2.45", "2.45"],
        "size (MB)": ["105.6", "9.8", "9.8"],
        "samples/s": ["-", "1,234", "-"],
        "R@5": ["25.0", "20.0", "10.0"],
        "image→text R@1 / 5 / 10": ["6.0 / 26.0 / 51.0", "5.0 / 21.0 / 41.0", "3.0 / 11.0 / 21.0"],
        "text→image R@1 / 5 / 10": ["4.0 / 24.0 / 49.0", "3.0 / 19.0 / 39.0", "1.0 / 9.0 / 19.0"],
        "median rank image→text / text→image": ["14.5 / 14.5"] * 3,
        "agreement@1 / 5": ["40.0 / -"] * 3,
        "student image→teacher text R@5": ["-", "17.0", "-"],
        "retention of R@5": ["-", "0.80", "0.40"],
    }
    assert text.endswith(
        "retention is over the teacher's R@5. samples/s: one model an experiment, side by side, 2 at a time on cpu."
    )


def test_a_report_without_speed_does_not_speak_of_it() -> None:
    assert "samples/s" not in Report([teacher(), record("alone", 0.1)]).to_markdown()
    some = Report([*folds("a", [0.1, 0.2]), *folds("b", [0.1, 0.2])], speeds=Speeds({"b": 50.0}))
    assert [row[3] for row in cells(some.to_markdown()) if row[0] in ("a", "b", "b-fold1")] == ["-", "50", "50"]


def test_descriptions_stand_below_once_an_experiment() -> None:
    runs = [*folds("a", [0.1, 0.2], description="no | teacher"), *folds("b", [0.1, 0.2])]
    assert Report(runs).to_markdown().endswith("R@5.\n\n- a: no | teacher")
    assert "a: no | teacher" in printed(Report(runs), 80)


def test_rows_hold_the_values_themselves() -> None:
    row = Report([teacher(), record("student-seed3", 0.2, seed=3, teacher="teacher")]).rows[1]
    expected = {"run": "student-seed3", "experiment": "student", "role": "student", "fold": None, "seed": 3}
    assert expected.items() <= row.items()
    assert row["parameters"] == 2_450_000
    assert row["image_to_text/recall@10"] == pytest.approx(0.41)
    assert row["retention/recall@5"] == pytest.approx(0.8)
    assert row["samples_per_s"] is None


def test_folds_are_averaged_with_an_interval_and_compared_in_pairs() -> None:
    hard, soft = [0.10, 0.20, 0.15, 0.12, 0.18], [0.13, 0.22, 0.19, 0.15, 0.21]
    report = Report(
        [
            *folds("teacher", [0.25] * 5, role="teacher"),
            *folds("hard", hard),
            *[
                record(f"soft-fold{fold}", recall, fold=fold, teacher=f"teacher-fold{fold}")
                for fold, recall in enumerate(soft)
            ],
        ]
    )
    assert report.experiments.intervals["soft"]["recall@5"] == mean_interval(soft)
    assert report.experiments.intervals["soft"]["retention/recall@5"].mean == pytest.approx(sum(soft) / 5 / 0.25)
    assert report.experiments.intervals["hard"]["retention/recall@5"].mean == pytest.approx(sum(hard) / 5 / 0.25)
    (difference,) = report.experiments.differences
    assert (difference.first, difference.second) == ("soft", "hard")
    expected = mean_interval([a - b for a, b in zip(soft, hard, strict=True)])
    assert difference.interval.low == pytest.approx(expected.low)
    assert difference.interval.count == 5
    text = report.to_markdown()
    assert text.startswith(
        "Compared on the test split of emoji, folds 0, 1, 2, 3 and 4: 100 images and 300 captions each."
    )
    assert "**Experiments: mean ± 95 % t-interval over 5 folds**" in text
    assert "| soft | 2.45 | 9.8 | 18.0±4.8 |" in text
    assert "| soft - hard | +3.0 | +2.1 to +3.9 | yes | 5 |" in text
    assert "**Each run**" in text
    assert not report.remarks


def test_seeds_of_a_fold_are_averaged_before_folds_are() -> None:
    runs = [
        record(f"{name}-fold{fold}-seed{seed}", base + 0.1 * fold + 0.01 * seed, fold=fold, seed=seed)
        for name, base in (("a", 0.1), ("b", 0.2))
        for fold in (0, 1)
        for seed in (0, 1, 2)
    ]
    report = Report(runs)
    found, expected = report.experiments.intervals["a"]["recall@5"], mean_interval([0.11, 0.21])
    assert (found.mean, found.low, found.count) == (pytest.approx(expected.mean), pytest.approx(expected.low), 2)
    assert report.experiments.differences[0].interval.mean == pytest.approx(0.1)


def test_seeds_are_paired_where_there_is_one_fold() -> None:
    runs = [
        record(f"{name}-seed{seed}", base + seed / 50, seed=seed)
        for name, base in (("a", 0.1), ("b", 0.2))
        for seed in (1, 2, 3)
    ]
    report = Report(runs)
    assert report.experiments.differences[0].interval.mean == pytest.approx(0.1)
    assert report.experiments.differences[0].interval.half_width == pytest.approx(0, abs=1e-12)
    assert "t-interval over 3 seeds" in report.to_markdown()


@pytest.mark.parametrize(
    "other",
    [
        record("b", data=DataRecord("stamps", 320)),
        record("b", split="val"),
        record("b", fold=1),
        record("b", metrics={"test/image_to_text/queries": 99.0}),
    ],
)
def test_runs_on_different_data_are_not_silently_compared(other: RunRecord) -> None:
    report = Report([record("a"), other])
    text = report.to_markdown()
    assert text.startswith(
        "These runs were NOT evaluated on the same data, so the table does not compare them:\n\n- a: the test"
    )
    assert "\n- b: the " in text
    assert "NOT evaluated on the same data" in printed(report, 200)


def test_a_missing_fold_is_said() -> None:
    report = Report([*folds("a", [0.1, 0.2, 0.3]), *folds("b", [0.2, 0.3])])
    assert "NOT" in report.opening
    assert report.remarks[1] == "b: the test split of emoji, folds 0 and 1: 100 images and 300 captions each."
    assert "over 2 to 3 folds" in report.to_markdown()
    assert report.experiments.differences[0].interval.count == 2


@pytest.mark.parametrize("named", ["teacher", "runs/teacher", "{folder}/elsewhere/teacher"])
def test_teachers_are_found_by_name_or_folder(tmp_path: Path, named: str) -> None:
    for folder in ("runs", "elsewhere"):
        (tmp_path / folder).mkdir()
    write(tmp_path / ("elsewhere" if "elsewhere" in named else "runs"), teacher())
    student = write(tmp_path / "runs", record("student", 0.2, teacher=named.format(folder=tmp_path)))
    report = Report.from_runs([student])
    assert [row["run"] for row in report.rows] == ["student"]
    assert report.rows[0]["retention/recall@5"] == pytest.approx(0.8)


def test_a_teachers_name_may_hold_slashes_and_ends_of_names_are_no_names() -> None:
    student = record("audio/student", 0.2, teacher="runs/audio/teacher")
    found = Report([teacher("audio/teacher"), student]).rows[1]
    assert found["retention/recall@5"] == pytest.approx(0.8)
    assert not Report([teacher("audio/teacher"), student]).remarks
    assert len(Report([teacher("other/teacher"), student]).remarks) == 1
    assert student.was_taught_by("audio/teacher")
    assert student.was_taught_by("teacher")
    assert not student.was_taught_by("eacher")
    assert not record("alone").was_taught_by("teacher")


def test_without_the_teachers_run_retention_is_what_the_student_measured() -> None:
    student = record("student", teacher="gone", metrics={"test/retention/recall@5": 0.7})
    assert Report([student]).rows[0]["retention/recall@5"] == 0.7
    assert not Report([student]).remarks
    assert Report([student], [teacher("gone")]).rows[0]["retention/recall@5"] == pytest.approx(0.8)


def test_a_teacher_that_is_missing_or_saw_other_data_is_said(tmp_path: Path) -> None:
    missing = Report.from_runs([write(tmp_path, record("student", teacher="gone"))])
    assert missing.remarks == ["student: no retention, since its teacher's run 'gone' was not found."]
    assert missing.rows[0].get("retention/recall@5") is None
    other = Report([record("student", teacher="teacher")], [teacher(fold=3)])
    assert other.remarks == [
        "student: no retention, since its teacher was evaluated on other data, "
        "the test split of emoji, fold 3: 100 images and 300 captions."
    ]


def test_a_teacher_without_recall_leaves_retention_empty() -> None:
    for value in (0.0, math.nan):
        report = Report([teacher(metrics={"test/recall@5": value}), record("student", teacher="teacher")])
        assert report.rows[1].get("retention/recall@5") is None
        assert "retention of R@5 |" not in report.to_markdown()


def test_a_student_without_a_teacher_is_held_against_the_only_one() -> None:
    two = Report([teacher("one"), teacher("two"), record("alone")])
    assert two.rows[2].get("retention/recall@5") is None


def test_the_terminal_has_a_row_a_value_in_80_characters() -> None:
    shown = printed(Report([teacher(), record("distilled", 0.2, teacher="teacher")]), 80)
    assert shown.startswith("Compared on the test split of emoji: 100 images and 300 captions.")
    lines = [line.split("  ") for line in shown.splitlines()]
    numbers = {
        words[0]: words[1:] for words in ([word.strip() for word in line if word.strip()] for line in lines) if words
    }
    assert numbers["run"] == ["teacher", "distilled"]
    assert numbers["image→text R@10"] == ["51.0", "41.0"]
    assert numbers["retention of R@5"] == ["-", "0.80"]


def test_the_terminal_shows_repeated_runs_as_experiments_with_their_differences() -> None:
    report = Report([*folds("a", [0.1, 0.2, 0.3]), *folds("b", [0.2, 0.3, 0.41])])
    shown = printed(report, 80)
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "t-interval over 3 folds" in shown
    assert "20.0±24.8" in shown
    assert "b - a" in shown
    assert "a-fold0" not in shown


def test_the_terminal_puts_many_runs_into_several_tables() -> None:
    shown = printed(Report([record(f"student-{number}x") for number in range(7)]), 120)
    assert all(f"student-{number}x" in shown for number in range(7))
    assert shown.count("images") == 1  # the opening; no speed was measured
    assert shown.count("median rank text→image") == 2


def of_task(name: str, metrics: dict[str, float], **changes: object) -> RunRecord:
    """A run without retrieval."""
    run = record(name, **changes)
    return replace(run, metrics={"test/loss": 1.5, **{f"test/{key}": value for key, value in metrics.items()}})


def test_a_report_of_another_task_has_its_metrics_by_their_names_in_the_logs() -> None:
    good = of_task("teacher", {"bleu": 0.4, "chrf": 0.6, "beam4/chrf": 0.62}, role="teacher")
    small = of_task("student", {"bleu": 0.2, "chrf": 0.45, "beam4/chrf": 0.5, "f1/dog": 0.1}, teacher="teacher")
    speeds = Speeds({"student": 50.0}, (), "8 at a time on cpu", {"student": 1234.0}, {"student": 400.0}, 4)
    report = Report([good, small], speeds=speeds)
    columns = {header: column for header, *column in zip(*cells(report.to_markdown()), strict=True)}
    assert {name: column for name, column in columns.items() if name not in ("parameters (M)", "size (MB)")} == {
        "run": ["teacher", "student"],
        "samples/s": ["-", "50"],
        "tokens/s greedy / with beams": ["-", "1,234 / 400"],
        "bleu": ["40.0", "20.0"],
        "chrf": ["60.0", "45.0"],
        "beam4/chrf": ["62.0", "50.0"],
        "retention of bleu": ["-", "0.50"],
    }
    assert "other metrics have their names in the logs and are times 100; retention is over the teacher's bleu. " in (
        report.to_markdown()
    )
    assert report.to_markdown().endswith("8 at a time on cpu, tokens/s with 4 beams.")
    assert ["chrf", "60.0", "45.0"] in [line.split() for line in printed(report, 80).splitlines()]


def test_differences_of_another_task_are_of_its_first_metric_that_all_runs_have() -> None:
    runs = [
        of_task(f"{name}-fold{fold}", {**own, "miou": value + fold / 10, "iou/cat": 0.3}, fold=fold)
        for name, value, own in (("a", 0.1, {"map": 0.9}), ("b", 0.3, {}))
        for fold in (0, 1)
    ]
    report = Report(runs)
    assert report.experiments.differences[0].interval.mean == pytest.approx(0.2)
    assert "| difference of miou, points |" in report.to_markdown()
    assert "iou/cat" not in report.to_markdown()


def test_clips_are_searched_for_as_pictures_are() -> None:
    found = {"recall@5": 0.3} | {f"video_to_text/recall@{k}": k / 20 for k in (1, 5, 10)}
    found |= {"video_to_text/queries": 20.0, "text_to_video/queries": 40.0, "zero_shot_video/top1": 0.7}
    text = Report([of_task("clips", found)]).to_markdown()
    assert text.startswith("Compared on the test split of emoji: 20 clips and 40 captions.")
    columns = dict(zip(*cells(text), strict=True))
    assert columns["video→text R@1 / 5 / 10"] == "5.0 / 25.0 / 50.0"
    assert columns["video zero-shot top-1 / 5"] == "70.0 / -"
    assert columns["R@5"] == "30.0"


def test_without_the_teachers_run_what_it_reached_beside_the_student_counts() -> None:
    student = of_task("student", {"map": 0.2, "teacher/map": 0.8}, teacher="gone")
    assert Report([student]).rows[0]["retention/map"] == pytest.approx(0.25)
    assert not Report([student]).remarks


def test_wrong_selections_are_named() -> None:
    with pytest.raises(InputError, match="There is no run to report"):
        Report([])
    with pytest.raises(InputError, match="'a' is given twice"):
        Report([record("a"), record("a")])
    with pytest.raises(InputError, match="'b' holds no evaluation"):
        Report([record("a"), record("b", data=None)])
