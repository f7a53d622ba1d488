"""Captions of pictures where they are scarce: a teacher, and the same student alone and distilled (Kim and Rush 2016).

    python experiments/captioning/run.py               # three folds of held-out concepts, with intervals

Each run takes the same steps and batches; what differs is which pictures have captions, whose they are, and whether the
student follows the teacher's distributions. The quick start's image-text teacher of the same fold is the judge. A run
that is finished is not repeated.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import kdmm
from kdmm.analysis import against
from kdmm.data import Emoji
from kdmm.metrics import Captioning

HERE = Path(__file__).parent
METRICS = ("test/cider_d", "test/rouge_l", "test/beam4/cider_d", "test/own_caption/recall@5")
NO_TAUGHT = ["~data.sources.taught", "~data.batch_size.taught", "data.batch_size.pairs=32"]
NO_PAIRS = ["~data.sources.pairs", "~data.batch_size.pairs", "data.batch_size.taught=32"]
NO_WORD = ["~module.objective.terms.word"]
ROWS: Mapping[str, tuple[str, Sequence[str]]] = {  # the config of each, and what differs from it
    "alone": ("alone", []),
    "word level, pairs": ("student", NO_TAUGHT),
    "sequence level": ("student", [*NO_PAIRS, *NO_WORD]),
    "sequence and word level": ("student", NO_PAIRS),
    "interpolation": ("student", NO_WORD),
    "interpolation and word level": ("student", []),
    "alone, all pairs": ("alone", ["data.sources.pairs.fraction=1.0"]),
}


def fit(room: str, config: str, name: str, overrides: Sequence[str]) -> kdmm.Run:
    """Run one experiment and measure it on its test fold, unless that is done already."""
    overrides = [f"name={name}", *overrides]
    print(f"kdmm fit experiments/{room}/{config}.yaml {' '.join(overrides)}", flush=True)
    return kdmm.complete(HERE.parent / room / f"{config}.yaml", overrides)


def run_fold(fold: int) -> dict[str, kdmm.Run]:
    """Run a fold's judge, teacher and students; return the latter by row."""
    judge = fit("quickstart", "teacher", f"quickstart/teacher-fold{fold}", [f"data.sources.pairs.fold={fold}"])
    always = [
        f"seed={fold}",
        f"module.metrics.judged.judge.run={judge.dir}",
        "trainer.enable_progress_bar=false",
    ]
    name = f"captioning/teacher-fold{fold}"
    teacher = fit("captioning", "teacher", name, [*always, f"module.teacher.text.trained_on.fold={fold}"])
    table = teacher.dir / "generated-train.jsonl"
    if not table.is_file():
        print(f"kdmm generate {teacher.dir}", flush=True)
        kdmm.generate(teacher.dir)
    found = {"teacher": teacher}
    for row, (config, changes) in ROWS.items():
        here = [*always, f"module.student.text.trained_on.fold={fold}", *changes]
        if config == "student":
            here.append(f"module.teacher.run={teacher.dir}")
            if changes != NO_TAUGHT:
                here.append(f"data.sources.taught.path={table}")
        run = f"captioning/{row.replace(', ', '-').replace(' ', '-')}-fold{fold}"
        found[row] = fit("captioning", config, run, here)
    return found


def guessed(folds: Sequence[int]) -> str:
    """Return what the names of training pictures drawn at random reach, mean over the folds in percent."""
    scores: dict[str, list[float]] = {"cider_d": [], "rouge_l": []}
    for fold in folds:
        source = Emoji(fold=fold)
        known = [sample.captions[0] for sample in source.samples("train")]
        measured = source.samples("test")
        drawn = random.Random(fold).choices(known, k=len(measured))
        found = Captioning().scores(drawn, [sample.captions for sample in measured])
        for name, values in scores.items():
            values.append(found[name])
    means = ", ".join(f"{name} {100 * fmean(values):.1f}" for name, values in scores.items())
    return f"Names of training pictures drawn at random: {means}."


def main() -> None:
    """Run what the command line asks for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2], help="test parts, 0 to 4")
    arguments = parser.parse_args()
    runs = {fold: run_fold(fold) for fold in arguments.folds}
    tables = [guessed(arguments.folds)]
    for metric in METRICS:
        rows = ["teacher", *ROWS]
        found = {row: {fold: each[row].metrics[metric] for fold, each in runs.items()} for row in rows}
        tables.append(against(f"{metric} in %, mean of {len(runs)} folds", found, "alone").to_markdown())
    output = Path("runs/captioning/tables.md")
    output.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n\n".join(tables), f"\nwritten to {output}")


if __name__ == "__main__":
    main()
