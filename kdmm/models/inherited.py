"""A student that begins from parts of a larger model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.models.files import read_state

__all__ = ["Inherited"]

Select = Literal["magnitude", "first"]
FUSED = 3  # query, key and value in one matrix, one after the other


def Inherited(  # noqa: N802  a model to its users, who write it around another in YAML
    model: nn.Module,
    layers: Mapping[str, str],
    weights: str | None = None,
    select: Select = "magnitude",
) -> nn.Module:
    """Start layers of a model with those of a larger one, and return it.

    The manual weight inheritance of TinyCLIP (Wu et al. 2023, https://arxiv.org/abs/2309.12314, section 3.2), by a
    mapping that says which layer comes from which. Where a layer of the student is narrower, channels are selected: one
    choice for each pair of widths, the same in all layers, so that what one layer writes the next one reads. Channels
    are ranked by the magnitude of their weights over all layers that have the width; of three times a selected width,
    which is a fused query, key and value, each third keeps the same channels. A head of an attention is not kept whole.

    Args:
        model: the student.
        layers: prefixes of the student's tensors and of the larger model's: ``{towers.text: towers.text}``, or layer by
            layer, ``{blocks.1: blocks.3}``. The longest prefix that fits counts.
        weights: the larger model's: a run's folder, ``.safetensors``, ``.pth`` or ``package:<module>/<path>``; ``None``
            leaves the model as it is.
        select: ``magnitude``, or ``first`` for the first channels.

    Raises:
        InputError: a prefix that fits nothing, a tensor that is missing or smaller than the student's.
    """
    if weights is None:
        return model
    donor = read_state(_file(weights))
    state = model.state_dict()
    pairs = {name: _counterpart(name, layers) for name in state}
    for ours, theirs in layers.items():
        if not any(name.startswith(ours) for name in state):
            raise InputError(f"Inherited.layers: the student has no {ours!r}.{nearest(ours, _prefixes(state))}")
        if not any(name.startswith(theirs) for name in donor):
            raise InputError(f"Inherited.layers: {weights!r} has no {theirs!r}.{nearest(theirs, _prefixes(donor))}")
    wanted = {name: source for name, source in pairs.items() if source is not None}
    for name, source in wanted.items():
        _check(name, state[name], source, donor, weights)
    chosen = _choices(((donor[source], state[name]) for name, source in wanted.items()), select)
    inherited = {name: _cut(donor[source], state[name].shape, chosen) for name, source in wanted.items()}
    model.load_state_dict({**state, **inherited})
    return model


def _file(weights: str) -> str:
    """Return the model file where a run's folder is given."""
    for name in ("student.safetensors", "teacher.safetensors"):
        if (Path(weights) / name).is_file():
            return str(Path(weights) / name)
    return weights


def _prefixes(names: Iterable[str]) -> set[str]:
    parts = [name.split(".") for name in names]
    return {".".join(each[:length]) for each in parts for length in range(1, len(each) + 1)}


def _counterpart(name: str, layers: Mapping[str, str]) -> str | None:
    fitting = [prefix for prefix in layers if name == prefix or name.startswith(f"{prefix}.")]
    if not fitting:
        return None
    prefix = max(fitting, key=len)
    return layers[prefix] + name[len(prefix) :]


def _check(name: str, ours: Tensor, source: str, donor: Mapping[str, Tensor], weights: str) -> None:
    if source not in donor:
        raise InputError(
            f"Inherited.layers: the student's {name!r} would come from {source!r}, which {weights!r} does not hold."
            + nearest(source, donor)
        )
    theirs = donor[source]
    if theirs.ndim != ours.ndim or any(a < b for a, b in zip(theirs.shape, ours.shape, strict=True)):
        raise InputError(
            f"Inherited.layers: the student's {name!r} is {tuple(ours.shape)} and {source!r} of {weights!r} is "
            f"{tuple(theirs.shape)}. A layer is inherited from one at least as large in every dimension."
        )


def _choices(pairs: Iterable[tuple[Tensor, Tensor]], select: Select) -> dict[tuple[int, int], Int64[Tensor, "kept"]]:
    """Return for each (larger, smaller) width which channels are kept, in their order."""
    strength: dict[tuple[int, int], Tensor] = {}
    for theirs, ours in pairs:
        for place, widths in enumerate(zip(theirs.shape, ours.shape, strict=True)):
            if widths[0] > widths[1]:
                power = theirs.double().movedim(place, 0).reshape(widths[0], -1).square().mean(1)
                known = strength.get(widths, torch.zeros_like(power))
                strength[widths] = known + power / power.mean().clamp(min=torch.finfo(power.dtype).tiny)
    chosen: dict[tuple[int, int], Tensor] = {}
    for widths in sorted(strength):
        narrow = (widths[0] // FUSED, widths[1] // FUSED)
        if narrow in chosen and widths == (narrow[0] * FUSED, narrow[1] * FUSED):
            chosen[widths] = torch.cat([chosen[narrow] + part * narrow[0] for part in range(FUSED)])
        elif select == "first":
            chosen[widths] = torch.arange(widths[1])
        else:
            chosen[widths] = strength[widths].topk(widths[1]).indices.sort().values
    return chosen


def _cut(tensor: Tensor, shape: torch.Size, chosen: Mapping[tuple[int, int], Tensor]) -> Tensor:
    for place, (theirs, ours) in enumerate(zip(tensor.shape, shape, strict=True)):
        if theirs > ours:
            tensor = tensor.index_select(place, chosen[theirs, ours])
    return tensor
