"""What those reach who do not listen for the instrument, on the test notes of the series.

python experiments/audio/floors.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from kdmm.analysis import accuracy_floor, retrieval_floor
from kdmm.data import SoundFont

FOLDS = range(5)
HEARD = ("register", "duration", "loudness")  # what a guesser without an ear for instruments may hear of a note
FLOORS: Mapping[str, Sequence[str]] = {"chance": (), "guessing from pitch band, length and loudness": HEARD}


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


if __name__ == "__main__":
    print(floors(FOLDS))
