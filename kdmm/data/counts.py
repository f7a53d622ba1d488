"""How many samples of a batch each source gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kdmm.errors import InputError, nearest

__all__ = ["checked_batch_size", "shared_out"]


def checked_batch_size(
    batch_size: int | Mapping[str, int], sources: Sequence[str], temperature: float | None
) -> int | dict[str, int]:
    """Return the samples of the whole batch where there is a temperature, else those of each source.

    Raises:
        InputError: a size below 1, an unknown source or one without a size, or a temperature that says it twice.
    """
    if temperature is not None:
        if not temperature > 0:
            raise InputError(f"temperature: {temperature} given; give a number above 0, or null.")
        if isinstance(batch_size, Mapping) or batch_size < len(sources):
            raise InputError(
                f"batch_size: {batch_size} given with `temperature: {temperature}`, which shares a batch among the "
                f"sources; give the samples of the whole batch, {len(sources)} or more."
            )
        return batch_size
    counts = dict(batch_size) if isinstance(batch_size, Mapping) else dict.fromkeys(sources, batch_size)
    for name in (*counts, *sources):
        if name not in sources:
            raise InputError(
                f"batch_size: unknown source {name!r}. Sources: {', '.join(sources)}.{nearest(name, sources)}"
            )
        if name not in counts:
            raise InputError(f"batch_size: none given for the source {name!r}.")
        if counts[name] < 1:
            raise InputError(f"batch_size: {counts[name]} given for {name!r}; at least 1 sample is needed.")
    return {name: counts[name] for name in sources}


def shared_out(total: int, lengths: Mapping[str, int], temperature: float | int) -> dict[str, int]:
    """Share ``total`` samples out among sources in proportion to ``length ** (1 / temperature)``, at least one each.

    Beyond the one, whole numbers are met by largest remainders.

    Args:
        total: at least as many as there are sources.
        lengths: samples of each source.
        temperature: above 0.
    """
    logs = {name: math.log(length) / temperature for name, length in lengths.items()}  # powers could overflow
    powers = {name: math.exp(log - max(logs.values())) for name, log in logs.items()}
    wanted = {name: total * power / sum(powers.values()) for name, power in powers.items()}
    counts = {name: max(1, math.floor(share)) for name, share in wanted.items()}
    while sum(counts.values()) < total:
        counts[max(wanted, key=lambda name: wanted[name] - counts[name])] += 1
    while sum(counts.values()) > total:  # small sources were rounded up to one
        counts[min((name for name in counts if counts[name] > 1), key=lambda name: wanted[name] - counts[name])] -= 1
    return counts
