"""Which activation is tapped, and the forward hook that captures it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointFunction
from torch.utils.hooks import RemovableHandle

from kdmm.errors import InputError, nearest
from kdmm.outputs import MODALITIES

__all__ = ["Capture", "Tap", "TapPoint", "as_tap", "hook"]


@dataclass(frozen=True)
class Tap:
    """Which activation is tapped.

    Args:
        module: the submodule's dotted name in the model, such as ``towers.image.trunk.blocks.4``.
        output: where the submodule gives several tensors: the number of one in a tuple, or its key or attribute, such
            as ``last_hidden_state``.
        modality: whose rows these are, such as ``image``, where their number does not say it.

    Raises:
        InputError: a modality that does not exist.
    """

    module: str
    output: int | str = 0
    modality: str | None = None

    def __post_init__(self) -> None:
        if self.modality is not None and self.modality not in MODALITIES:
            raise InputError(
                f"taps: the modality of {self.module!r} is {self.modality!r}. Give {', '.join(MODALITIES)} or null."
                + nearest(self.modality, MODALITIES)
            )


def as_tap(name: str, tap: str | Mapping[str, Any] | Tap) -> Tap:
    """Return the tap of this name that a YAML describes.

    Raises:
        InputError: a name with '/', which Outputs keep for themselves, or arguments that a tap does not have.
    """
    if not name or "/" in name:
        raise InputError(f"taps: a tap is called {name!r}. Give it a name without '/', such as 's4'.")
    if isinstance(tap, Mapping):
        known = [each.name for each in fields(Tap)]
        for key in tap:
            if key not in known:
                raise InputError(
                    f"taps.{name}: unknown argument {key!r}. Give {', '.join(known)}.{nearest(str(key), known)}"
                )
        if "module" not in tap:
            raise InputError(f"taps.{name}: no `module` is given. Give the submodule's dotted name.")
        return Tap(**tap)
    return Tap(tap) if isinstance(tap, str) else tap


@dataclass(eq=False)
class Capture:
    """What the hooks find in one forward pass, by tap; ``found`` is None between passes."""

    found: dict[str, list[Tensor]] | None = None
    valid: dict[str, Tensor] = field(default_factory=dict)
    has_gradient: bool = False


class TapPoint(nn.Module):
    """Hands on what it is given, in a model that does not give it otherwise, so that it can be tapped.

    A tap on it also gives which of its tokens count, as ``valid/<tap>``.
    """

    @property
    def is_tapped(self) -> bool:
        """Whether anything looks at it, so that a model can spare itself what costs time."""
        return bool(self._forward_hooks)

    def forward(self, activation: Tensor, valid: Bool[Tensor, "N T"]) -> Tensor:
        """Return the activation.

        Args:
            activation: (N, T, D), or attention (N, heads, T, T).
            valid: which tokens are no padding.
        """
        return activation


@dataclass(frozen=True, eq=False)
class _Hook:
    """Keeps a copy of what its module gives, while a pass is on. An object, so that a deep copy has its own capture."""

    name: str
    tap: Tap
    capture: Capture

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> None:
        found = self.capture.found
        if found is None:
            return
        if self.capture.has_gradient and not torch.is_grad_enabled():
            self._check_gradient(module)
        found.setdefault(self.name, []).append(_chosen(output, self.name, self.tap).clone())
        if isinstance(module, TapPoint):
            self.capture.valid[self.name] = arguments[1]

    def _check_gradient(self, module: nn.Module) -> None:
        """Refuse a tap that would silently have no gradient; layers that are not trained need none."""
        trained = any(parameter.requires_grad for parameter in module.parameters())
        if trained or (not torch.compiler.is_compiling() and _in_reentrant_checkpoint()):
            raise InputError(
                f"taps.{self.name}: {self.tap.module!r} runs without gradient in a pass that has gradients, as in "
                "reentrant checkpointing. Checkpoint with `use_reentrant=False`; transformers' models take it in "
                "`gradient_checkpointing_kwargs`. If the model itself shuts the gradient off "
                "because the layer is not trained, set its parameters' `requires_grad` to False."
            )


def hook(model: nn.Module, name: str, tap: Tap, capture: Capture) -> RemovableHandle:
    """Hook a tap into the model, and return what takes it off again.

    Raises:
        InputError: there is no such submodule.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if not tap.module or tap.module not in modules:
        raise InputError(f"taps.{name}: the model has no submodule {tap.module!r}.{nearest(tap.module, modules)}")
    handle: RemovableHandle = modules[tap.module].register_forward_hook(_Hook(name, tap, capture))
    return handle


def _chosen(output: Any, name: str, tap: Tap) -> Tensor:
    """Return the tensor that a tap names among what its module gives."""
    if isinstance(output, Tensor):
        chosen: Any = output if tap.output == 0 else None
    elif isinstance(tap.output, str):
        chosen = output.get(tap.output) if isinstance(output, Mapping) else getattr(output, tap.output, None)
    else:
        parts = tuple(output.values()) if isinstance(output, Mapping) else output
        chosen = parts[tap.output] if isinstance(parts, tuple | list) and 0 <= tap.output < len(parts) else None
    if isinstance(chosen, Tensor) and chosen.is_floating_point() and chosen.ndim > 0:
        return chosen
    if isinstance(output, Mapping):
        held = [f"{key}: {type(value).__name__}" for key, value in output.items()]
    else:
        held = [type(value).__name__ for value in output] if isinstance(output, tuple | list) else []
    listed = f" ({', '.join(held)})" if held else ""
    raise InputError(
        f"taps.{name}: {tap.module!r} gives {type(output).__name__}{listed}, of "
        f"which `output` {tap.output!r} is no tensor of floating-point numbers. Set the tap's `output` to the place or "
        "key of one, or tap another layer."
    )


def _in_reentrant_checkpoint() -> bool:
    frame = sys._getframe()
    while frame.f_back is not None:
        if frame.f_code is CheckpointFunction.forward.__code__:
            return True
        frame = frame.f_back
    return False
