"""Parameters that several layers share, such as the table of tokens that is read and written by."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["keep_tied_once"]


def keep_tied_once(module: nn.Module) -> None:
    """Let the states of a module hold each shared parameter once: a file would hold it several times.

    Args:
        module: that has all of its layers.
    """
    module._tied = _tied(module)  # type: ignore[assignment]  # no module: the names
    module.register_state_dict_post_hook(_leave_out)  # type: ignore[no-untyped-call]  # torch's own
    module.register_load_state_dict_pre_hook(_put_in)  # type: ignore[no-untyped-call]  # torch's own


def _tied(module: nn.Module) -> dict[str, str]:
    """Return the further names of parameters that several layers share, with their first name."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            names[name] = first[id(parameter)]
    return names


def _leave_out(module: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in module._tied:
        state.pop(f"{prefix}{name}", None)


def _put_in(module: Any, state: dict[str, Any], prefix: str, *others: Any) -> None:
    """Give a state its shared parameters' further names back."""
    for name, first in module._tied.items():
        if f"{prefix}{first}" in state:
            state.setdefault(f"{prefix}{name}", state[f"{prefix}{first}"])
