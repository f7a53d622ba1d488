"""Losses on all pairs in tiles against the whole matrix: time where both fit, memory where only tiles do.

Embeddings of width 512, forward and backward. The two forms take turns, so that what slows the machine slows both.
Memory is what the process, or the GPU, needs at its peak beyond the embeddings, in a process of its own, so that no
memory is left over from what ran before.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdmm.losses import Affinity, Contrastive, InteractiveContrastive, Term
from tests.bench.device import DEVICE, now, peak_mib

WIDTH, TILE, ROUNDS = 512, 1024, 5
PAIR = ["image", "text"]
TERMS: dict[str, Callable[[int | None], Term]] = {
    "Affinity": lambda tile: Affinity(PAIR, tile=tile),
    "Contrastive": lambda tile: Contrastive(PAIR, tile=tile),
    "Contrastive, sigmoid": lambda tile: Contrastive(PAIR, form="sigmoid", tile=tile),
    "InteractiveContrastive": lambda tile: InteractiveContrastive(PAIR, tile=tile),
}
MATRIX, LARGE = 8192, (16384, 32768)  # rows for which the matrix fits everywhere, and more


def embeddings(rows: int, seed: int, grad: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {name: F.normalize(torch.randn(rows, WIDTH, generator=generator), dim=1) for name in PAIR}
    found |= {"logit_scale": torch.tensor(20.0), "logit_bias": torch.tensor(-10.0)}
    return {name: x.to(DEVICE).requires_grad_(grad) for name, x in found.items()}


def step(term: Term, student: dict[str, Tensor], teacher: dict[str, Tensor]) -> float:
    """Return the seconds of one step."""
    began = now()
    term(student, teacher, {}).backward()
    taken = now() - began
    for x in student.values():
        x.grad = None
    return taken


def memory(name: str, rows: int, tile: int | None) -> float:
    """Return the MiB of one step. Run in a process of its own."""
    term = TERMS[name](tile)
    step(term, embeddings(256, 1, True), embeddings(256, 2, False))  # allocates what is needed once
    student, teacher = embeddings(rows, 1, True), embeddings(rows, 2, False)
    return peak_mib(lambda: step(term, student, teacher))


def ratio(name: str, tile: int) -> tuple[float, float, list[float]]:
    """Return the seconds of the plain step and of the tiled one, and their ratios, sorted."""
    student, teacher = embeddings(MATRIX, 1, True), embeddings(MATRIX, 2, False)
    forms = {each: TERMS[name](each) for each in (None, tile)}
    seconds: dict[int | None, list[float]] = {None: [], tile: []}
    for n in range(ROUNDS + 1):
        for each, term in forms.items():
            taken = step(term, student, teacher)
            if n:  # the first round allocates and chooses kernels
                seconds[each].append(taken)
    found = sorted(ours / plain for ours, plain in zip(seconds[tile], seconds[None], strict=True))
    return statistics.median(seconds[None]), statistics.median(seconds[tile]), found


def main() -> None:
    print(f"{MATRIX} rows, tiles of {TILE}: seconds a step, and the median ratio of {ROUNDS} pairs")
    for name in TERMS:
        plain, tiled, found = ratio(name, TILE)
        middle = statistics.median(found)
        print(f"{name:24}{plain:8.2f}{tiled:8.2f}{middle:8.2f}  ({found[0]:.2f} to {found[-1]:.2f})")
    print("MiB at the peak beyond the embeddings")
    cells = [(MATRIX, None), *((rows, TILE) for rows in (MATRIX, *LARGE))]
    print(f"{'':24}" + "".join(f"{f'{rows}, ' + ('whole' if tile is None else 'tiles'):>16}" for rows, tile in cells))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in TERMS:
            found = [pool.apply(memory, (name, rows, tile)) for rows, tile in cells]
            print(f"{name:24}" + "".join(f"{mib:16.0f}" for mib in found))
