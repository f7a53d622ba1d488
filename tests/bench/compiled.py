"""A step of some losses compiled by ``torch.compile`` against the same as it is written, in turns, as in ``losses``."""

from __future__ import annotations

import copy
import statistics
import warnings

from tests.bench.losses import objective_of, outputs, step

LOSSES = ("Contrastive", "Affinity", "FeatureMatch", "KD", "DKD", "TokenKL", "CWD")
ROUNDS = 5


def main() -> None:
    warnings.simplefilter("ignore")  # of what torch.compile itself calls
    student, teacher = outputs(1, True), outputs(2, False)
    print(f"{'loss':16}{'ms':>8}{'compiled':>10}{'times as fast':>16}")
    for name in LOSSES:
        plain = objective_of(name, student, teacher)
        compiled = copy.deepcopy(plain)
        compiled.terms["term"].compile()
        seconds: list[list[float]] = [[], []]
        for n in range(ROUNDS + 2):
            for place, objective in enumerate((plain, compiled)):
                taken = step(objective, student, teacher)
                if n > 1:  # the first two compile, allocate and choose kernels
                    seconds[place].append(taken)
        ratios = sorted(written / own for written, own in zip(*seconds, strict=True))
        milliseconds = [1000 * statistics.median(times) for times in seconds]
        print(
            f"{name:16}{milliseconds[0]:8.0f}{milliseconds[1]:10.0f}"
            f"{statistics.median(ratios):16.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
