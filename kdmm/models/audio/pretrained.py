"""Loading models of transformers, whole or not at all."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.models.files import locate

__all__ = ["load_pretrained", "unreadable"]


def unreadable(setting: str, name: str, kind: str, error: Exception) -> InputError:
    """Return the error for a name whose files cannot be had.

    Args:
        setting: such as ``Clap.name``.
        name: its value.
        kind: what was looked for, such as ``a CLAP model``.
        error: what the attempt raised.
    """
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(
        f"{setting}: {name!r} is neither a folder with {kind} nor a hub name that could be fetched ({first})."
    )


def load_pretrained(
    kind: Any, name: str, config: Any, weights: Literal["pretrained"] | None, setting: str
) -> nn.Module:
    """Build a model, with its weights in float32 or with random ones.

    Args:
        kind: transformers' class.
        name: a hub name, a folder, or ``package:<module>/<folder>``.
        config: its config.
        weights: ``pretrained``, or ``None`` for random ones.
        setting: for messages, such as ``Clap.name``.

    Raises:
        InputError: there are no weights, or they are not all there; transformers would make up the rest.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar of its own for reading one file
    if weights is None:
        random: nn.Module = kind(config)
        return random
    try:
        model, info = kind.from_pretrained(
            str(locate(name)), config=config, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise unreadable(setting, name, f"the weights of {kind.__name__}", error) from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise InputError(
            f"{setting}: the weights of {name!r} lack {len(missing)} tensors of {kind.__name__}, first {missing[0]!r}. "
            "Give the weights of this architecture."
        )
    loaded: nn.Module = model
    return loaded
