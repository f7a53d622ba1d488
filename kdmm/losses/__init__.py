"""Terms of the objective: what a student may learn from, one concept a file, a folder a family."""

from kdmm.losses import adapters, dense, features, logits, pairs, relations, sequences, weighting
from kdmm.losses.adapters import *  # noqa: F403  each room lists its own names; listed once more they would drift
from kdmm.losses.dense import *  # noqa: F403
from kdmm.losses.features import *  # noqa: F403
from kdmm.losses.logits import *  # noqa: F403
from kdmm.losses.objective import Objective
from kdmm.losses.pairs import *  # noqa: F403
from kdmm.losses.relations import *  # noqa: F403
from kdmm.losses.sequences import *  # noqa: F403
from kdmm.losses.term import SampleTerm, Term
from kdmm.losses.weighting import *  # noqa: F403

FAMILIES = (logits, features, relations, pairs, dense, sequences)

__all__ = [
    "Objective",
    "SampleTerm",
    "Term",
    *(name for room in (*FAMILIES, adapters, weighting) for name in room.__all__),
]
