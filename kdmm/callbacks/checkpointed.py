"""Activations computed again in the backward pass instead of kept."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from torch import nn

from kdmm.errors import InputError

__all__ = ["GradientCheckpointing"]

SWITCHES = (
    "set_grad_checkpointing",  # timm's and open_clip's
    "activation_checkpointing_enable",  # transformers'
    "gradient_checkpointing_enable",  # its name before
)


class GradientCheckpointing(pl.Callback):
    """Lets the networks in training compute activations twice instead of keeping them: less memory, more time.

    Gradients are the same (Chen et al. 2016, https://arxiv.org/abs/1604.06174). It is what timm, open_clip and
    transformers have for their networks; other layers keep their activations. Batch normalization sees each batch
    twice, so its statistics follow the data as with 1 - (1 - m)^2 for the momentum m.

    Raises:
        InputError: when training begins and no network of the student's can.
    """

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Switch it on."""
        switched = sum(_switch(module) for module in pl_module.model.modules())
        if not switched:
            raise InputError(
                f"GradientCheckpointing: no network in {type(pl_module.model).__name__} can; those of timm, open_clip "
                "and transformers can. Leave this callback out, or take smaller batches with `Chunked`."
            )


def _switch(module: nn.Module) -> bool:
    for name in SWITCHES:
        switch = getattr(module, name, None)
        if callable(switch) and getattr(module, "supports_gradient_checkpointing", True):
            try:
                switch()
            except (AssertionError, ValueError):  # timm's networks have the method whether they can or not
                continue
            return True
    return False
