"""Sounds that learn from pictures, and one student of pictures, texts and sounds; over several folds, with intervals.

    python experiments/shared-space/run.py             # needs `kdmm fetch tuxpaint`

A run that is finished is not repeated, and the teachers are shared with experiments/quickstart and experiments/audio.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import kdmm
from kdmm.analysis import against

HERE = Path(__file__).parent
TERMS = ("hard", "image_to_audio", "image_to_text_to_audio")  # what rows differ in; all have the term on texts
ROWS = {  # the terms of each, beside the one on texts
    "captions": ("hard",),
    "pictures": ("image_to_audio",),
    "captions and pictures": ("hard", "image_to_audio"),
    "captions and pictures through texts": ("hard", "image_to_text_to_audio"),
    "all": TERMS,
}
STAMPS = (
    "data.sources.pairs.source={_target_: kdmm.data.Having, source: {_target_: kdmm.data.TuxPaint, sound: effect, "
    "fold: FOLD}, modalities: [audio]}"
)
DATA = {  # what a fold changes, and what is measured
    "notes": (["data.sources.pairs.source.source.fold=FOLD"], ["recall@5", "zero_shot_audio/top1"]),
    # 94 sounds for training: half of them captioned, fewer steps
    "stamps": (
        [STAMPS, "~module.metrics.zero_shot", "data.sources.pairs.fraction=0.5", "trainer.max_steps=150"],
        ["recall@5"],
    ),
}
DIRECTIONS = [f"{a}_to_{b}/recall@5" for a in ("image", "text", "audio") for b in ("image", "text", "audio") if a != b]


def fit(config: str, name: str, overrides: Sequence[str]) -> kdmm.Run:
    """Run one experiment and measure it on its test fold, unless that is done already."""
    overrides = [f"name={name}", "trainer.enable_progress_bar=false", *overrides]
    print(f"kdmm fit {config} {' '.join(overrides)}", flush=True)
    return kdmm.complete(HERE / config, overrides)


def seeing(fold: int) -> Path:
    """Return the run of the image-text teacher."""
    return fit("../quickstart/teacher.yaml", f"quickstart/teacher-fold{fold}", [f"data.sources.pairs.fold={fold}"]).dir


def hearing(fold: int) -> Path:
    """Return the run of the audio-text teacher."""
    changes = [f"seed={fold}", f"data.sources.pairs.fold={fold}"]
    return fit("../audio/teacher.yaml", f"audio/teacher-fold{fold}", changes).dir


def transfer(data: str, folds: Sequence[int]) -> list[str]:
    """Let sounds learn from captions, from pictures and from both; return a table a metric."""
    changes, metrics = DATA[data]
    found: dict[str, dict[str, dict[int, float]]] = {metric: {row: {} for row in ROWS} for metric in metrics}
    for fold in folds:
        here = [f"seed={fold}", f"module.teacher.teacher.run={seeing(fold)}"]
        here += [change.replace("FOLD", str(fold)) for change in changes]
        for row, terms in ROWS.items():
            dropped = [term for term in TERMS if term not in terms]
            drop = [f"~module.objective.{what}.{term}" for term in dropped for what in ("terms", "weights")]
            name = f"shared-space/{data}-{row.replace(' ', '-')}-fold{fold}"
            values = fit("transfer.yaml", name, [*here, *drop, f"description={row}"]).metrics
            for metric in metrics:
                found[metric][row][fold] = values[f"test/{metric}"]
    return [
        against(f"{data}, test/{metric} in %, mean of {len(folds)} folds", rows, "captions").to_markdown()
        for metric, rows in found.items()
    ]


def three(folds: Sequence[int]) -> list[str]:
    """Train the student of three modalities with and without teachers; return a table a direction."""
    found: dict[str, dict[str, dict[int, float]]] = {each: {} for each in DIRECTIONS}
    for fold in folds:
        here = [f"seed={fold}", f"data.sources.stamps.fold={fold}"]
        taught = [f"module.teacher.teachers.seeing.teacher.run={seeing(fold)}"]
        taught.append(f"module.teacher.teachers.hearing.teacher.run={hearing(fold)}")
        for row, more in {"alone": here, "student": [*here, *taught]}.items():
            values = fit(f"{row}.yaml", f"shared-space/{row}-fold{fold}", more).metrics
            for each in DIRECTIONS:
                found[each].setdefault(row, {})[fold] = values[f"test/{each}"]
    return [
        against(f"{each} in %, mean of {len(folds)} folds", rows, "alone").to_markdown() for each, rows in found.items()
    ]


def main() -> None:
    """Run what the command line asks for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=[*DATA, "three"], default=[*DATA, "three"])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="test parts, 0 to 4")
    arguments = parser.parse_args()
    tables: list[str] = []
    for part in arguments.parts:
        tables += three(arguments.folds) if part == "three" else transfer(part, arguments.folds)
    output = Path("runs/shared-space/tables.md")
    output.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n\n".join(tables), f"\nwritten to {output}")


if __name__ == "__main__":
    main()
