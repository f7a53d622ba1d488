"""Every applicable loss at equal budget, on real data, over several folds, with paired intervals.

    python experiments/losses/run.py                    # digits, emoji categories and emoji with their names
    python experiments/losses/run.py --data emoji --only hard kd dkd

Each run takes the same steps, samples and learning rate; what differs is the objective (objectives.yaml). A run that is
finished is not repeated.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

import kdmm
from kdmm.analysis import against, mean_interval

HERE = Path(__file__).parent
OBJECTIVES = yaml.safe_load((HERE / "objectives.yaml").read_text("utf-8"))


@dataclass(frozen=True)
class Comparison:
    """One data set, on which objectives are compared.

    Args:
        objectives: which rows of objectives.yaml.
        metric: that is compared.
        teacher: the config, name and overrides of a fold's teacher.
        student: the config of the students, and what a fold changes in it.
        stands_for: what is put in the place of the capital words of objectives.yaml.
    """

    objectives: str
    metric: str
    teacher: Callable[[int], tuple[Path, str, list[str]]]
    student: Callable[[int], tuple[Path, list[str]]]
    stands_for: Mapping[str, str]


def in_line(value: Any) -> str:
    """Return a value as one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False).strip()


def classes(data: str, label: str, of_teacher: Sequence[str] = (), of_student: Sequence[str] = ()) -> Comparison:
    """Return the comparison on labelled pictures.

    Args:
        data: its name.
        label: the classes' name.
        of_teacher: what differs from teacher.yaml.
        of_student: what differs from student.yaml.
    """
    named = [f"module.metrics.accuracy.label={label}", f"module.objective.terms.hard.label={label}"]

    def teacher(fold: int) -> tuple[Path, str, list[str]]:
        name = f"losses/{data}-teacher-fold{fold}"
        return HERE / "teacher.yaml", name, [*named, *of_teacher, f"data.sources.fold={fold}", f"seed={fold}"]

    def student(fold: int) -> tuple[Path, list[str]]:
        changes = [*named, f"seed={fold}", *of_student, f"data.sources.label={label}"]
        changes += [f"data.sources.source.fold={fold}", f"module.teacher.run=runs/{teacher(fold)[1]}"]
        return HERE / "student.yaml", [*changes, f"module.metrics.teacher.label={label}"]

    return Comparison("classes", "test/top1", teacher, student, {"LABEL": label})


def pairs() -> Comparison:
    """Return the comparison on the quick start's pairs, whose teachers it shares."""

    def teacher(fold: int) -> tuple[Path, str, list[str]]:
        config = HERE.parent / "quickstart" / "teacher.yaml"
        return config, f"quickstart/teacher-fold{fold}", [f"data.sources.pairs.fold={fold}"]

    def student(fold: int) -> tuple[Path, list[str]]:
        run = f"module.teacher.teacher.run=runs/{teacher(fold)[1]}"
        return HERE / "pairs.yaml", [f"data.sources.pairs.source.fold={fold}", run, f"seed={fold}"]

    model = yaml.safe_load((HERE.parent / "quickstart" / "student.yaml").read_text("utf-8"))["module"]["student"]
    return Comparison("pairs", "test/recall@5", teacher, student, {"STUDENT": in_line(model)})


COMPARISONS = {
    "digits": classes("digits", "digit"),
    "emoji": classes(
        "emoji",
        "category",
        ["data.sources._target_=kdmm.data.Emoji", "module.teacher.tower.image_size=48", "trainer.max_epochs=20"],
        [
            "data.sources.source._target_=kdmm.data.Emoji",
            "data.sources.fraction=0.2",
            "module.student.model.tower.image_size=48",
            "trainer.max_epochs=20",
        ],
    ),
    "pairs": pairs(),
}


def overrides(objective: Mapping[str, Any], stands_for: Mapping[str, str]) -> list[str]:
    """Return what adds an objective's terms to the hard one.

    Args:
        objective: a row of objectives.yaml.
        stands_for: what is put in the place of its capital words.
    """
    terms = {name: term for name, term in objective.items() if name not in ("weight", "overrides")}
    if not terms:
        return []
    weights = {"hard": 1.0, **dict.fromkeys(terms, float(objective.get("weight", 1.0)))}
    lines = [f"module.objective.terms.{name}={in_line(term)}" for name, term in terms.items()]
    lines += [f"module.objective.weights={in_line(weights)}", *objective.get("overrides", ())]
    for word, value in stands_for.items():
        lines = [line.replace(word, value) for line in lines]
    return lines


def fit(config: Path, name: str, changes: Sequence[str]) -> dict[str, float]:
    """Run one experiment, measure it on its test fold unless that is done, and return its metrics."""
    return kdmm.complete(config, [f"name={name}", "trainer.enable_progress_bar=false", *changes]).metrics


def compare(data: str, only: Sequence[str], folds: Sequence[int]) -> str:
    """Run every row on every fold and return the table."""
    comparison = COMPARISONS[data]
    rows = {row: terms for row, terms in OBJECTIVES[comparison.objectives].items() if not only or row in only}
    found: dict[str, dict[int, float]] = {row: {} for row in rows}
    teacher: dict[int, float] = {}
    for fold in folds:
        teacher[fold] = fit(*comparison.teacher(fold))[comparison.metric]
        config, changes = comparison.student(fold)
        for row, objective in rows.items():
            began = time.monotonic()
            added = overrides(objective, comparison.stands_for)
            metrics = fit(config, f"losses/{data}-{row}-fold{fold}", [*changes, *added])
            found[row][fold] = metrics[comparison.metric]
            seconds = time.monotonic() - began
            print(f"{data} fold {fold} {row}: {100 * found[row][fold]:.1f} ({seconds:.0f} s)", flush=True)
    return table(data, comparison.metric, found, teacher)


def table(data: str, metric: str, found: Mapping[str, Mapping[int, float]], teacher: Mapping[int, float]) -> str:
    """Return the rows with their means and the paired differences from the hard loss alone, in percent."""
    mean = 100 * mean_interval(list(teacher.values())).mean
    title = f"{data}, {metric} in %, mean of {len(teacher)} folds; teacher {mean:.1f}"
    return against(title, found, "hard").to_markdown()


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--only", nargs="+", default=[], help="rows of objectives.yaml; all if none is named")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # networks this small lose by more
    tables = [compare(data, arguments.only, arguments.folds) for data in arguments.data]
    output = Path("runs/losses/comparison.md")
    output.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n\n".join(tables), f"\nwritten to {output}")


if __name__ == "__main__":
    main()
