"""Translation where pairs are scarce: a teacher, and the same student alone and distilled (Kim and Rush 2016).

    python experiments/translation/run.py              # three folds of held-out concepts, with intervals

Each run takes the same steps and batches; what differs is which texts the student sees and whether it follows the
teacher's distributions. A run that is finished is not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import kdmm
from kdmm.analysis import against
from kdmm.data import EmojiNames
from kdmm.metrics import Translation

HERE = Path(__file__).parent
METRICS = ("test/chrf", "test/bleu", "test/beam4/chrf")
NO_TAUGHT = ["~data.sources.taught", "~data.batch_size.taught", "data.batch_size.pairs=64"]
NO_PAIRS = ["~data.sources.pairs", "~data.batch_size.pairs", "data.batch_size.taught=64"]
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


def fit(config: str, name: str, overrides: Sequence[str]) -> kdmm.Run:
    """Run one experiment and measure it on its test fold, unless that is done already."""
    overrides = [f"name={name}", "trainer.enable_progress_bar=false", *overrides]
    print(f"kdmm fit experiments/translation/{config}.yaml {' '.join(overrides)}", flush=True)
    return kdmm.complete(HERE / f"{config}.yaml", overrides)


def run_fold(fold: int) -> dict[str, kdmm.Run]:
    """Run a fold's teacher and students; return them by row."""
    seed = f"seed={fold}"
    name = f"translation/teacher-fold{fold}"
    teacher = fit("teacher", name, [seed, f"module.teacher.source.trained_on.fold={fold}"])
    table = teacher.dir / "generated-train.jsonl"
    if not table.is_file():
        print(f"kdmm generate {teacher.dir}", flush=True)
        kdmm.generate(teacher.dir)
    found = {"teacher": teacher}
    for row, (config, changes) in ROWS.items():
        here = [seed, f"module.student.source.trained_on.fold={fold}", *changes]
        if config == "student":
            here.append(f"module.teacher.run={teacher.dir}")
            if changes != NO_TAUGHT:
                here.append(f"data.sources.taught.path={table}")
        found[row] = fit(config, f"translation/{row.replace(', ', '-').replace(' ', '-')}-fold{fold}", here)
    return found


def copied(folds: Sequence[int]) -> str:
    """Return what the Spanish names reach as they stand, mean over the folds in percent."""
    scores: dict[str, list[float]] = {"chrf": [], "bleu": []}
    for fold in folds:
        samples = EmojiNames("es", "pt", exclude=(), fold=fold).samples("test")
        found = Translation().scores([str(each.source) for each in samples], [each.captions for each in samples])
        for name, values in scores.items():
            values.append(found[name])
    means = ", ".join(f"{name} {100 * fmean(values):.1f}" for name, values in scores.items())
    return f"The Spanish names as they stand: {means}."


def main() -> None:
    """Run what the command line asks for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2], help="test parts, 0 to 4")
    arguments = parser.parse_args()
    runs = {fold: run_fold(fold) for fold in arguments.folds}
    tables = [copied(arguments.folds)]
    for metric in METRICS:
        rows = ["teacher", *ROWS]
        found = {row: {fold: each[row].metrics[metric] for fold, each in runs.items()} for row in rows}
        tables.append(against(f"{metric} in %, mean of {len(runs)} folds", found, "alone").to_markdown())
    output = Path("runs/translation/tables.md")
    output.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n\n".join(tables), f"\nwritten to {output}")


if __name__ == "__main__":
    main()
