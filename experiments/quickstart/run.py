"""The quick start: a teacher, then the same student alone, distilled, and distilled with inherited weights, compared.

    python experiments/quickstart/run.py                          # one fold, minutes on two cores
    python experiments/quickstart/run.py --folds 0 1 2 3 4        # all five, with intervals

A run that is finished is not repeated, so an interrupted command goes on where it was. Nothing here is more than a
sequence of ``kdmm fit``, ``kdmm evaluate`` and ``kdmm report`` with overrides; each is printed before it runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

import kdmm

HERE = Path(__file__).parent
SETTINGS = {
    "scarce": [],
    # Every training picture with its caption: no picture is left without one.
    "full": ["data.sources.pairs.fraction=1.0"],
}

CONTROLS = ("transfer", "equal", "longer")


def fit(config: str, name: str, overrides: Sequence[str]) -> Path:
    """Run one experiment and measure it on its test fold, unless that is done already."""
    overrides = [f"name={name}", *overrides]
    print(f"\nkdmm fit {HERE.name}/{config}.yaml {' '.join(overrides)}", flush=True)
    return kdmm.complete(HERE / f"{config}.yaml", overrides).dir


def run_fold(fold: int, setting: str, controls: Sequence[str]) -> list[Path]:
    """Run the teacher and all students of one fold in one setting; return their folders."""
    teacher = fit("teacher", f"quickstart/teacher-fold{fold}", [f"data.sources.pairs.fold={fold}"])
    data = [f"data.sources.pairs.source.fold={fold}", *SETTINGS[setting]]
    distilled = [*data, f"module.teacher.teacher.run={teacher}"]
    if setting == "full":
        distilled += ["~data.sources.images", "~data.batch_size.images", "data.batch_size.pairs=96"]
    rows = {"alone": ("alone", data), "student": ("student", distilled), "inherited": ("inherited", distilled)}
    rows |= {name: row for name, row in control_rows(data).items() if name in controls}
    students = [fit(config, f"quickstart/{setting}-{row}-fold{fold}", more) for row, (config, more) in rows.items()]
    return [teacher, *students]


def control_rows(data: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Return runs without a teacher that distillation is held against; compute.py counts 308 and 2,849 steps."""
    parts = OmegaConf.load(HERE / "inherited.yaml").module.student
    inherited = [f"module.student.{tower}.{key}={value}" for tower in parts for key, value in parts[tower].items()]
    rarely = "trainer.check_val_every_n_epoch=400"
    return {
        "transfer": ("alone", [*data, *inherited, "description=without a teacher, with inherited weights"]),
        "equal": (
            "alone",
            [*data, "trainer.max_steps=308", "description=without a teacher, the same training compute"],
        ),
        "longer": (
            "alone",
            [*data, rarely, "trainer.max_steps=2849", "description=without a teacher, its compute in further steps"],
        ),
    }


def main() -> None:
    """Run what the command line asks for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folds", type=int, nargs="+", default=[0], help="test fifths, 0 to 4")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--controls", nargs="+", choices=CONTROLS, default=[], help="further rows without a teacher")
    arguments = parser.parse_args()
    began = time.monotonic()
    for setting in arguments.settings:
        folders = [folder for fold in arguments.folds for folder in run_fold(fold, setting, arguments.controls)]
        output = Path("runs/quickstart") / f"{setting}.md"
        print(kdmm.report(folders, output).to_markdown())
        print(f"written to {output}")
    print(f"{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
