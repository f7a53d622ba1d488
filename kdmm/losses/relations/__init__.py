"""How samples stand to each other."""

from kdmm.losses.relations.cka import CKA, cka_distance
from kdmm.losses.relations.correlation_congruence import CorrelationCongruence, correlation_difference
from kdmm.losses.relations.crd import CRD
from kdmm.losses.relations.noise_contrast import noise_contrast
from kdmm.losses.relations.pkt import PKT, pkt_divergence
from kdmm.losses.relations.rkd import RKD, rkd_angle, rkd_distance
from kdmm.losses.relations.similarity_preserving import SimilarityPreserving, similarity_difference

__all__ = [
    "CKA",
    "CRD",
    "PKT",
    "RKD",
    "CorrelationCongruence",
    "SimilarityPreserving",
    "cka_distance",
    "correlation_difference",
    "noise_contrast",
    "pkt_divergence",
    "rkd_angle",
    "rkd_distance",
    "similarity_difference",
]
