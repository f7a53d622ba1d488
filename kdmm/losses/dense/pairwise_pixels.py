"""Pairs of regions that are alike to the teacher become alike to the student: the relations within a picture."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.losses.features.places import compared
from kdmm.losses.precision import full_precision
from kdmm.losses.relations.finite import unit
from kdmm.losses.term import SampleTerm, named
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["PairwisePixels", "pairwise_difference"]

pooled = full_precision(F.adaptive_avg_pool2d)


@full_precision
def pairwise_difference(
    student: Float[Tensor, "N C H W"], teacher: Float[Tensor, "N E H W"], places: Bool[Tensor, "N H W"]
) -> Float[Tensor, "N"]:
    """Mean squared difference of the cosines of all pairs of places of a picture, of each sample.

    With s_i and t_i the vectors of the P places that count::

        1/P² sum_ij (cos(s_i, s_j) - cos(t_i, t_j))²

    It lies within [0, 4]. The scale of each vector does not matter, nor do their widths, which may differ.

    Args:
        student: maps.
        teacher: of the same places; they get no gradient.
        places: which places count.
    """
    counted = places.flatten(1)[..., None]
    ours, theirs = (unit(x.flatten(2).mT.where(counted, 0.0)) for x in (student, teacher.detach()))
    apart = (ours @ ours.mT - theirs @ theirs.mT).square()  # 0 with a place that does not count: both vectors are 0
    return apart.sum((1, 2)) / counted.sum((1, 2)).clamp(min=1).square()


class PairwisePixels(SampleTerm):
    """Mean over samples of the `pairwise_difference` of regions: the pair-wise part of Liu et al. 2019.

    arXiv:1903.04197: each node of a picture's graph is the mean over ``patch`` x ``patch`` places, and is connected
    with all others. Models may differ in channels, without an adapter, and in resolution: both maps are averaged over
    the same regions, as many as the coarser one has patches. A region's mean is over its places that count
    (``valid/<name>``), and one without any is no node. The authors weight it by 10.

    Of P regions the cosines are P² numbers a picture.

    Args:
        student: what the student's map is called, such as a tap of the layer before its classifier.
        teacher: what the teacher's is called.
        patch: side of a region in places of the coarser map; 2 is best in the paper.
    """

    paper = "Liu et al. 2019, arXiv:1903.04197"

    def __init__(self, student: str, teacher: str, patch: int = 2) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        if patch < 1:
            raise InputError(f"PairwisePixels: patch is {patch}. Give the side of a region in places, 1 or more.")
        self.patch = patch

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Check that both are maps."""
        for name, outputs, whose in zip(self.layers[0], (student, teacher), ("student", "teacher"), strict=True):
            given = read(outputs, name, whose)
            if given.ndim != 4:
                raise InputError(
                    f"PairwisePixels: {whose}.{name} is {tuple(given.shape)}. Name maps (B, C, H, W); for how whole "
                    "samples stand to each other take SimilarityPreserving."
                )

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's mean over pairs of regions."""
        ((ours, theirs, places),), there = compared(student, teacher, self.layers)
        height, width = (min(side) for side in zip(ours.shape[2:], theirs.shape[2:], strict=True))
        grid = -(-height // self.patch), -(-width // self.patch)  # rounded up
        # what does not count is zero in the maps, so a mean points where that of the rest does
        nodes = pooled(places[:, None].float(), grid)[:, 0] > 0
        values = pairwise_difference(pooled(ours, grid), pooled(theirs, grid), nodes)
        return scatter_present(values, there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))
