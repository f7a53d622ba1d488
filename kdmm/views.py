"""Views: randomness drawn from (sample id, view), so that an augmentation is replayed anywhere and stored nowhere."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["EVAL_VIEW", "MIXED_VIEW", "preserved_randomness", "seed_view", "seeded", "stable_hash"]

EVAL_VIEW = -1
"""The view without augmentation."""
MIXED_VIEW = -2
"""Stands for the view of a medium that was mixed with another: no answer to it can be stored."""

SEPARATOR = "\x1f"  # the unit separator, which neither ids nor numbers hold


def stable_hash(*parts: str | int) -> int:
    """Return a hash in [0, 2**63) of the parts in their order, the same on every machine and in every process."""
    key = SEPARATOR.join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


@contextmanager
def preserved_randomness() -> Iterator[None]:
    """Restore the states of PyTorch's (CPU), NumPy's and Python's global generators on leaving (about 0.1 ms)."""
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002  transforms draw from the global generator, so it is kept
        random.setstate(python_state)


def seed_view(sample_id: str, view: int, salt: str = "") -> None:
    """Seed the three global generators by one view of one sample (about 10 us), for use in `preserved_randomness`."""
    seed = stable_hash(sample_id, view, salt)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
    np.random.seed(seed % 2**32)  # noqa: NPY002  transforms draw from the global generator
    random.seed(seed)


@contextmanager
def seeded(sample_id: str, view: int, salt: str = "") -> Iterator[None]:
    """Seed PyTorch's (CPU), NumPy's and Python's global generators inside, and restore their states on leaving.

    Around a whole batch, `preserved_randomness` with one `seed_view` a sample does the same at a tenth of the cost.

    Args:
        sample_id: the sample's id, over all sources.
        view: the number of the view.
        salt: tells apart what is drawn for one view.
    """
    with preserved_randomness():
        seed_view(sample_id, view, salt)
        yield
