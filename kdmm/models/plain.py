"""A model that knows nothing of kdmm: it takes tensors and returns tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.preprocess import ImageTransform, Preprocess
from kdmm.outputs import Outputs, scatter_present

__all__ = ["Plain"]

INPUTS = "inputs"
"""What `kdmm.distill` calls what a loader gives besides labels."""


class Plain(nn.Module):
    """Any ``nn.Module`` as a teacher or student.

    Gives what the model returns: a tensor under the name ``output``; of a mapping, such as the outputs of transformers'
    models, every tensor under its own name, and the elements of tuples of tensors as ``hidden_states.0`` and so on.

    Args:
        model: called with the batch's pictures (N, 3, H, W) if ``image`` is given; else with the batch's ``inputs``: a
            tensor or tuple by position, a mapping by name.
        output: the name of the one tensor that the model returns.
        image: how the pictures are prepared for it.
    """

    def __init__(self, model: nn.Module, output: str = "logits", image: ImageTransform | None = None) -> None:
        super().__init__()
        self.model = model
        self.output = output
        self.preprocess = Preprocess(image=image)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model on the batch.

        Raises:
            InputError: it returns neither a tensor nor a mapping with tensors.
        """
        flag = batch.get("present/image") if self.preprocess.image is not None else None
        outputs = self._named(self._called(batch["image" if self.preprocess.image is not None else INPUTS]))
        if flag is None or bool(flag.all()):
            return outputs
        rows = {name: scatter_present(x, flag) if x.ndim else x for name, x in outputs.items()}
        return {**rows, **{f"present/{name}": flag for name, x in outputs.items() if x.ndim}}

    def _called(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        return self.model(*inputs) if isinstance(inputs, list | tuple) else self.model(inputs)

    def _named(self, returned: Any) -> dict[str, Tensor]:
        if isinstance(returned, Tensor):
            return {self.output: returned}
        outputs: dict[str, Tensor] = {}
        for name, value in returned.items() if isinstance(returned, Mapping) else ():
            if isinstance(value, Tensor):
                outputs[name] = value
            elif isinstance(value, tuple) and all(isinstance(each, Tensor) for each in value):
                outputs.update({f"{name}.{place}": each for place, each in enumerate(value)})
        if not outputs:
            raise InputError(
                f"{type(self.model).__name__} returns {type(returned).__name__}. A plain model returns one tensor or a "
                "mapping with tensors; for any other, write a module whose forward(batch) returns named tensors."
            )
        return outputs


def preserved_training(model: nn.Module) -> dict[str, Any]:
    """Return what `restore_training` needs: each module's mode and each parameter's wish for a gradient."""
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "gradients": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
    }


def restore_training(model: nn.Module, kept: Mapping[str, Any]) -> None:
    """Set the modes and gradients back."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name, mode in kept["modes"].items():
        modules[name].training = mode
    with torch.no_grad():
        for name, wanted in kept["gradients"].items():
            parameters[name].requires_grad_(wanted)
