"""A timm network with its weights, for towers that see pictures: of things or of sounds."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.models.files import by_order, load_matching, read_state

__all__ = ["TimmTrunk", "check_name"]


class TimmTrunk(nn.Module, ABC):
    """Any timm network, whole or its first stages, pooled to a vector: a base of towers, which describe the arguments.

    Raises:
        InputError: unknown name, or weights that are missing or do not fit. The message names the tower.
    """

    width: int

    def __init__(
        self, name: str, stages: int | None, head_width: int | None, weights: str | None, frozen: Sequence[str]
    ) -> None:
        super().__init__()
        tower = type(self).__name__
        check_name(type(self), {"name": name})
        if stages is None and head_width is not None:
            raise InputError(f"{tower}.head_width: {head_width} given, but a head needs `stages`, the number to keep.")
        if frozen and weights is None:
            raise InputError(f"{tower}.frozen: {list(frozen)} need `weights`; random layers must be trained.")
        self.trunk = timm.create_model(name, pretrained=False, num_classes=0)
        self.width = int(self.trunk.head_hidden_size)  # some networks widen what they pool
        self.indices: list[int] | None = None
        if stages is not None:
            known = len(self.trunk.feature_info)
            if not 1 <= stages <= known:
                raise InputError(f"{tower}.stages: {stages} given, {name!r} has 1 to {known} stages.")
            self.width = int(self.trunk.feature_info[stages - 1]["num_chs"])
            self.indices = list(self.trunk.prune_intermediate_layers([stages - 1], prune_norm=True, prune_head=True))
        if weights is not None:
            self._load(name, weights)
        self.frozen = tuple(frozen)
        modules = dict(self.trunk.named_modules())
        for part in self.frozen:
            if part not in modules:
                raise InputError(f"{tower}.frozen: {name!r} has no module {part!r}." + nearest(part, modules))
            modules[part].requires_grad_(False)
        self.head: nn.Module = nn.Identity()
        if stages is not None:
            layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(1)]
            if head_width is not None:
                conv = nn.Conv2d(self.width, head_width, 1, bias=False)
                layers = [conv, nn.BatchNorm2d(head_width), nn.ReLU(), *layers]
                self.width = head_width
            self.head = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)  # twice as fast as the default on CPUs, and what tensor cores want

    def _load(self, name: str, weights: str) -> None:
        if weights == "timm" or weights.startswith("timm:"):
            tag = weights.partition(":")[2]
            try:
                whole = timm.create_model(f"{name}.{tag}" if tag else name, pretrained=True)
            except (RuntimeError, OSError, ValueError) as error:
                raise InputError(
                    f"{type(self).__name__}.weights: {weights!r} of {name!r} could not be fetched ({error}). "
                    "Give the path of a downloaded file instead."
                ) from error
            state = whole.state_dict()
        else:
            state = read_state(weights)
            whole = timm.create_model(name, pretrained=False)
            if not set(state) & set(whole.state_dict()):
                state = by_order(state, whole) or state
        load_matching(self.trunk, state, weights)

    def train(self, mode: bool = True) -> TimmTrunk:
        """Set the mode; frozen modules stay in evaluation mode, so that their batch statistics do not move."""
        super().train(mode)
        for part in self.frozen:
            self.trunk.get_submodule(part).eval()
        return self

    def encode(self, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N width"]:
        """Return the pooled features of pictures."""
        image = image.contiguous(memory_format=torch.channels_last)
        if self.indices is None:
            features = self.trunk(image)
        else:
            features = self.trunk.forward_intermediates(image, indices=self.indices, intermediates_only=True)[-1]
        encoded: Tensor = self.head(features)
        return encoded


def check_name(tower: type[TimmTrunk], arguments: Mapping[str, Any]) -> None:
    """Refuse a name that timm does not have; as a class method it is a tower's ``check_arguments``.

    Args:
        tower: whose ``name`` it is.
        arguments: of the tower, or of a ``_target_`` node, of which a name that is a node itself is not judged.

    Raises:
        InputError: as when it is made.
    """
    name = arguments["name"]
    if isinstance(name, str) and not timm.is_model(name):
        raise InputError(f"{tower.__name__}.name: timm has no model {name!r}." + nearest(name, timm.list_models()))
