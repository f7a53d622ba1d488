"""A trained model as one file: its tensors, and how to build what holds them. No pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from kdmm import targets
from kdmm.errors import InputError, nearest
from kdmm.models.shared_space import SharedSpace

__all__ = ["architecture", "load_model", "save_model"]

KEY = "kdmm.model"
WEIGHT_ARGUMENTS = frozenset({"weights", "trained_on"})  # where a start comes from: not needed once a model is trained


def save_model(path: Path, model: nn.Module, tree: Mapping[str, Any]) -> None:
    """Write a model's tensors and the ``_target_`` tree that builds it to one file, whole or not at all.

    Args:
        path: the ``.safetensors`` file; an existing one is replaced.
        model: the model.
        tree: the ``_target_`` tree it was built from.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(tensors, partial, metadata={KEY: json.dumps(tree)})
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load_model(path: Path, allow: tuple[str, ...] = (), changes: Mapping[str, Any] | None = None) -> nn.Module:
    """Build the model that :func:`save_model` wrote, in evaluation mode.

    Args:
        path: the file.
        allow: packages outside the allow-list that the model may be built from.
        changes: arguments of the model, and nested those of its parts, that are to be others than in training. The
            tensors must still fit.

    Raises:
        InputError: the file is missing, damaged, or not one of ours; or the model has no such part or argument.
    """
    with _opened(path) as file:
        tree = _changed(_tree(file, path), changes or {}, "changes")
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safe_open is no mapping
    # Frozen parts ask for weights when they are built: the trained tensors below are these weights.
    model = cast(nn.Module, targets.build(_untrained(tree), allow=allow))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit the model it describes ({error}).") from error
    for part in model.modules():  # the model itself, or one within `Chunked` and its like
        if isinstance(part, SharedSpace):
            part.weights_from = str(path)
    model.requires_grad_(False)
    return model.eval()


def architecture(path: Path) -> dict[str, Any]:
    """Return the ``_target_`` tree of a saved model, without where its weights and its tokenizers' words came from.

    Models of equal trees compute alike, whatever they have learned.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, damaged, or not one of ours.
    """
    with _opened(path) as file:
        return cast(dict[str, Any], _untrained(_tree(file, path), leave_out=True))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a model file; what goes wrong in reading it is an `InputError`."""
    if not path.is_file():
        raise InputError(f"{path} is no file. Give a run's model file, which `kdmm fit` writes when it is done.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged and cannot be read ({error}). Write it again with `kdmm fit`.") from error


def _tree(file: Any, path: Path) -> Any:
    """Return the ``_target_`` tree that an open file was built from."""
    metadata = file.metadata() or {}
    if KEY not in metadata:
        raise InputError(
            f"{path} holds tensors but does not say which model they are of. Give a file that kdmm wrote, or build the "
            "model in YAML and name this file as its `weights`."
        )
    return json.loads(metadata[KEY])


def _changed(tree: Mapping[str, Any], changes: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the tree with some arguments changed."""
    changed = dict(tree)
    for key, value in changes.items():
        below, here = tree.get(key), f"{path}.{key}"
        if not isinstance(value, Mapping):
            changed[key] = value
        elif isinstance(below, Mapping):
            changed[key] = _changed(below, value, here)
        else:
            parts = [name for name, each in tree.items() if isinstance(each, Mapping)]
            raise InputError(
                f"{here}: the model has no such part; it has {', '.join(parts) or 'none'}.{nearest(key, parts)}"
            )
    return changed


def _untrained(tree: Any, leave_out: bool = False) -> Any:
    """Return the tree with the arguments that fetch initial weights null, since their defaults may fetch some.

    Args:
        tree: the tree.
        leave_out: leave them out instead.
    """
    if isinstance(tree, Mapping):
        return {
            key: None if key in WEIGHT_ARGUMENTS else _untrained(value, leave_out)
            for key, value in tree.items()
            if key != "frozen"  # needs weights to be built; the trained ones follow
            and not (leave_out and key in WEIGHT_ARGUMENTS)
        }
    return [_untrained(value, leave_out) for value in tree] if isinstance(tree, list) else tree
