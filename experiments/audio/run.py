"""Audio and text: a teacher, then the same student alone, distilled, and distilled from sounds without a caption.

    python experiments/audio/run.py                    # five folds of held-out pitches, with intervals

A run that is finished is not repeated. Every row is one `kdmm fit`, `kdmm evaluate` and `kdmm report` with overrides;
each is printed before it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import kdmm
from kdmm.analysis import accuracy_floor, retrieval_floor
from kdmm.data import SoundFont

HERE = Path(__file__).parent
HEARD = ("register", "duration", "loudness")  # what a guesser without an ear for instruments may hear of a note
FLOORS: Mapping[str, Sequence[str]] = {"chance": (), "guessing from pitch band, length and loudness": HEARD}
FULL = {  # every training note with its captions
    "alone": ["data.sources.pairs.fraction=1.0"],
    "student": [
        "data.sources.pairs.fraction=1.0",
        "~data.sources.sounds",
        "~data.batch_size.sounds",
        "data.batch_size.pairs=96",
    ],
}


def fit(config: str, name: str, overrides: Sequence[str]) -> Path:
    """Run one experiment and measure it on its test fold, unless that is done already."""
    overrides = [f"name={name}", "trainer.enable_progress_bar=false", *overrides]
    print(f"kdmm fit experiments/audio/{config}.yaml {' '.join(overrides)}", flush=True)
    return kdmm.complete(HERE / f"{config}.yaml", overrides).dir


def run_fold(fold: int) -> dict[str, list[Path]]:
    """Run a fold's teacher and students; return their folders by setting."""
    seed = f"seed={fold}"
    teacher = fit("teacher", f"audio/teacher-fold{fold}", [seed, f"data.sources.pairs.fold={fold}"])
    here = [seed, f"data.sources.pairs.source.fold={fold}"]
    taught = f"module.teacher.teacher.run={teacher}"
    sounds = [seed, f"data.sources.pairs.fold={fold}", taught]
    alone = fit("audio_only", f"audio/audio_only-fold{fold}", sounds)
    found = {}
    for setting, changes in {"scarce": {}, "full": FULL}.items():
        rows = {"alone": here, "student": [*here, taught]}
        students = [
            fit(row, f"audio/{setting}-{row}-fold{fold}", [*more, *changes.get(row, ())]) for row, more in rows.items()
        ]
        found[setting] = [teacher, *students, alone]
    return found


def floors(folds: Sequence[int]) -> str:
    """Return what guessers reach on the test notes, means over the folds in percent."""
    lines = ["| without listening for the instrument | R@5 | top-1 of 128 instruments |", "| --- | ---: | ---: |"]
    sources = [SoundFont(held_out="pitch", fold=fold, seconds=1) for fold in folds]
    for name, known in FLOORS.items():
        recall, top1 = [], []
        for source in sources:
            attributes = source.attributes("test")
            captions = [sample.captions for sample in source.samples("test")]
            recall.append(retrieval_floor(captions, attributes, known)["recall@5"])
            top1.append(accuracy_floor(attributes["instrument"], attributes, known)["top1"])
        lines.append(f"| {name} | {100 * fmean(recall):.1f} | {100 * fmean(top1):.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="test parts, 0 to 4")
    arguments = parser.parse_args()
    folders: dict[str, list[Path]] = {}
    for fold in arguments.folds:
        for setting, runs in run_fold(fold).items():
            folders.setdefault(setting, []).extend(runs)
    print(floors(arguments.folds))
    for setting, runs in folders.items():
        output = Path("runs/audio") / f"{setting}.md"
        print(kdmm.report(runs, output).to_markdown())
        print(f"written to {output}")


if __name__ == "__main__":
    main()
