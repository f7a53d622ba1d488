"""Every applicable loss at equal budget, on real data, over several folds, with paired intervals.

    python experiments/losses/run.py                    # classification of digits and of emoji, three folds
    python experiments/losses/run.py --data emoji --only hard kd dkd

Each run takes the same steps, pictures and learning rate; what differs is the objective. Weights are those that the
papers recommend, or 1, and were not tuned here. A run that is finished is not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml

import kdmm
from kdmm.analysis import mean_interval, paired_difference

HERE = Path(__file__).parent
DATA = {  # label, and what differs from the YAML files
    "digits": ("digit", [], []),
    "emoji": (
        "category",
        ["data.sources._target_=kdmm.data.Emoji", "module.teacher.tower.image_size=48", "trainer.max_epochs=20"],
        [
            "data.sources.source._target_=kdmm.data.Emoji",
            "data.sources.fraction=0.2",
            "module.student.model.tower.image_size=48",
            "trainer.max_epochs=20",
        ],
    ),
}
FEATURES = {"student": "features", "teacher": "features"}
MAP = {"student": "map", "teacher": "map"}
LAYERS = {"layers": {"early": "early", "map": "map"}}
# by row: the term (its class, arguments, weight); None: the loss on labels alone
TERMS: Mapping[str, tuple[str, Mapping[str, object], float] | None] = {
    "hard": None,
    "kd": ("KD", {"temperature": 4.0}, 1.0),
    "kd_reverse": ("KD", {"temperature": 4.0, "divergence": "reverse"}, 1.0),
    "jensen_shannon": ("KD", {"temperature": 4.0, "divergence": "jensen_shannon"}, 1.0),
    "kd_standardized": ("KD", {"temperature": 2.0, "standardize": True}, 9.0),
    "dkd": ("DKD", {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "label": "LABEL"}, 1.0),
    "nkd": ("NKD", {"label": "LABEL"}, 1.0),
    "dist": ("DIST", {"temperature": 4.0}, 1.0),
    "multi_level": ("MultiLevelLogits", {}, 1.0),
    "logit_mse": ("LogitMSE", {}, 0.1),
    "teacher_free": ("TeacherFree", {"label": "LABEL"}, 1.0),
    "hint": ("Hint", MAP, 100.0),
    "feature": ("FeatureMatch", {**FEATURES, "distance": "cosine"}, 10.0),
    "attention": ("AttentionTransfer", LAYERS, 1000.0),
    "ofd": ("OFD", LAYERS, 1.0),
    "review": ("ReviewKD", LAYERS, 1.0),
    "vid": ("VID", LAYERS, 1.0),
    "sim_kd": ("SimKD", MAP, 1.0),
    "masked": ("MaskedFeature", MAP, 100.0),
    "rkd": ("RKD", FEATURES, 25.0),
    "pkt": ("PKT", FEATURES, 30000.0),
    "similarity": ("SimilarityPreserving", FEATURES, 3000.0),
    "congruence": ("CorrelationCongruence", FEATURES, 0.02),
    "cka": ("CKA", FEATURES, 1.0),
    "crd": ("CRD", FEATURES, 0.8),
    "cwd": ("CWD", MAP, 3.0),
    "pkd": ("PKD", MAP, 1.0),
}


def overrides(row: str, label: str) -> list[str]:
    """Return what adds a row's term to the objective."""
    if TERMS[row] is None:
        return []
    kind, arguments, weight = TERMS[row]
    arguments = {name: label if value == "LABEL" else value for name, value in arguments.items()}
    term = yaml.safe_dump({"_target_": f"kdmm.losses.{kind}", **arguments}, default_flow_style=True, width=10**6)
    return [f"module.objective.terms.{row}={term.strip()}", f"module.objective.weights={{hard: 1.0, {row}: {weight}}}"]


def fit(config: str, name: str, changes: Sequence[str]) -> dict[str, float]:
    """Run one experiment, measure it on its test fold unless that is done, and return its metrics."""
    folder = Path("runs") / name
    if not (folder / "metrics.json").is_file():
        settings = [f"name={name}", "trainer.enable_progress_bar=false", *changes]
        kdmm.fit(HERE / f"{config}.yaml", settings, overwrite=True)
    summary = json.loads((folder / "metrics.json").read_text("utf-8"))
    return summary["metrics"] if summary["split"] == "test" else kdmm.evaluate(folder)


def compare(data: str, rows: Sequence[str], folds: Sequence[int]) -> str:
    """Run every row on every fold and return the table."""
    label, of_teacher, of_student = DATA[data]
    named = [f"module.metrics.accuracy.label={label}", f"module.objective.terms.hard.label={label}"]
    top1: dict[str, dict[int, float]] = {row: {} for row in rows}
    teacher: dict[int, float] = {}
    for fold in folds:
        run = f"losses/{data}-teacher-fold{fold}"
        common = [*named, f"seed={fold}"]
        teacher[fold] = fit("teacher", run, [*common, *of_teacher, f"data.sources.fold={fold}"])["test/top1"]
        student = [*of_student, f"data.sources.label={label}", f"data.sources.source.fold={fold}"]
        student += [f"module.teacher.run=runs/{run}", f"module.metrics.teacher.label={label}"]
        for row in rows:
            began = time.monotonic()
            found = fit("student", f"losses/{data}-{row}-fold{fold}", [*common, *student, *overrides(row, label)])
            top1[row][fold] = found["test/top1"]
            seconds = time.monotonic() - began
            print(f"{data} fold {fold} {row}: {100 * top1[row][fold]:.1f} ({seconds:.0f} s)", flush=True)
    return table(data, top1, teacher)


def table(data: str, top1: Mapping[str, Mapping[int, float]], teacher: Mapping[int, float]) -> str:
    """Return the rows with their mean accuracy and the paired difference from the loss on labels alone."""
    mean = mean_interval(list(teacher.values()))
    lines = [
        f"**{data}**, test accuracy in %, mean of {len(teacher)} folds; teacher {100 * mean.mean:.1f}",
        "",
        "| term beside the loss on labels | accuracy | minus labels alone, 95 % interval | clear of zero |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row, by_fold in sorted(top1.items(), key=lambda item: -sum(item[1].values())):
        found = mean_interval(list(by_fold.values()))
        cells = ["-", "-"]
        if row != "hard" and "hard" in top1:
            gain = paired_difference(by_fold, top1["hard"])
            interval = f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
            cells = [interval, "yes" if gain.clear_of_zero else "no"]
        lines.append(f"| {row} | {100 * found.mean:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--only", nargs="+", choices=TERMS, default=list(TERMS))
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # networks this small lose by more
    tables = [compare(data, arguments.only, arguments.folds) for data in arguments.data]
    output = Path("runs/losses/comparison.md")
    output.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n\n".join(tables), f"\nwritten to {output}")


if __name__ == "__main__":
    main()
