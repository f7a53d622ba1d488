"""A model with activations of its inner layers among its outputs, without touching its code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdmm import targets
from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from kdmm.models.taps import Capture, Tap, as_tap, hook
from kdmm.outputs import MODALITIES, Outputs, scatter_present

__all__ = ["Tapped", "retapped", "untapped", "untapped_tree"]


class Tapped(nn.Module):
    """A model with activations of inner layers among its outputs, (N, ...) as the layers give them, by forward hooks.

    Where the model runs a layer only on the N samples that have a modality, the activation is placed among all B rows,
    with ``present/<tap>``. The modality is the one that N samples have; of several, the one that the layer's dotted
    name holds, or that alone was possible for an earlier batch. Rows of none, if there are B, are every sample's.
    A batch without any sample for the layer gives zeros, and before a first one with some it leaves the tap out.
    Where the model says which tokens count (`TapPoint`), that is ``valid/<tap>``.

    Activations are copied, so that an operation in place behind the layer (``nn.ReLU(inplace=True)``) does not change
    them. Comparing PyTorch's version counters would save the copy, but it finds the change when the values are lost,
    and neither compiled graphs nor inference mode have such counters.

    Gradients flow through taps, out of non-reentrant gradient checkpointing too. Compile a model after it is tapped. A
    run saves its model without the taps; in checkpoints and in ``lr_scale`` parameters' names begin with ``model.``.

    Args:
        model: any model that gives Outputs.
        taps: by the activation's name in Outputs: a submodule's dotted name, or a :class:`Tap` or its arguments.

    Raises:
        InputError: no taps, no such submodule, or a name that cannot stand in Outputs.
    """

    def __init__(self, model: nn.Module, taps: Mapping[str, str | Mapping[str, Any] | Tap]) -> None:
        super().__init__()
        if not taps:
            raise InputError("taps: none are given. Give at least one, or the model without them.")
        self.model = model
        self.taps = {name: as_tap(name, tap) for name, tap in taps.items()}
        self._capture = Capture()
        self._like: dict[str, tuple[torch.Size, torch.dtype]] = {}  # by tap, a sample's shape and type
        self._modality: dict[str, str] = {}  # by tap, once a batch has allowed only one
        self._handles = [hook(model, name, tap, self._capture) for name, tap in self.taps.items()]

    def remove(self) -> None:
        """Take the hooks off the model, which is then as it was; this wrapper serves no more."""
        for handle in self._handles:
            handle.remove()

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what the model gives and the taps' names; None if the model does not say."""
        given, taps = targets.gives(arguments.get("model")), arguments.get("taps")
        return None if given is None or not isinstance(taps, Mapping) else given | frozenset(taps)

    @property
    def preprocess(self) -> Preprocess:
        """The model's."""
        return cast(Preprocess, self.model.preprocess)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model.

        Args:
            batch: what the model reads.

        Raises:
            InputError: a layer did not run, or several times, or without gradient in a pass that has them; rows that
                are no modality's or may be several's; or a name that the model itself uses.
        """
        self._capture.found, self._capture.valid, self._capture.has_gradient = {}, {}, torch.is_grad_enabled()
        try:
            outputs: Outputs = self.model(batch)
            found = self._capture.found
        finally:
            self._capture.found = None  # what checkpointing computes again in the backward pass is not captured
        valid = self._capture.valid
        rows = _Rows(self.preprocess, batch, outputs)
        merged = dict(outputs)
        for name, tap in self.taps.items():
            if name in merged:
                raise InputError(f"taps: the model itself gives {name!r}. Give the tap of {tap.module!r} another name.")
            merged |= self._placed(name, tap, found.get(name, []), valid.get(name), rows)
        return merged

    def _placed(self, name: str, tap: Tap, found: list[Tensor], valid: Tensor | None, rows: _Rows) -> dict[str, Tensor]:
        if len(found) > 1:
            raise InputError(
                f"taps.{name}: {tap.module!r} ran {len(found)} times in one pass, and one activation is asked for. Tap "
                "a layer that runs once, such as one that holds it."
            )
        if not found:
            return self._absent(name, tap, rows)
        if name not in self._like:
            self._like[name] = found[0].shape[1:], found[0].dtype
        tokens = {} if valid is None else {f"valid/{name}": valid}
        if not rows.flags:
            return {name: found[0], **tokens}
        modality = self._modality_of(name, tap, found[0], rows)
        flag = torch.ones_like(rows.some_flag) if modality is None else rows.flags[modality]
        tokens = {each: scatter_present(x.float(), flag).bool() for each, x in tokens.items()}
        return {name: scatter_present(found[0], flag), f"present/{name}": flag, **tokens}

    def _absent(self, name: str, tap: Tap, rows: _Rows) -> dict[str, Tensor]:
        """Return zeros for a layer that had no sample to run on."""
        known = [each for each in rows.counts if self._is_named(name, tap, each)] or rows.counts
        if all(rows.counts[each] for each in known):
            raise InputError(
                f"taps.{name}: {tap.module!r} did not run in this pass. Tap another layer: containers (nn.ModuleList) "
                "and layers whose weights other code reads never run; and compile a model after it is tapped."
            )
        if name not in self._like or not rows.flags:
            return {}
        shape, dtype = self._like[name]
        flag = torch.zeros_like(rows.some_flag)
        return {name: torch.zeros((len(flag), *shape), dtype=dtype, device=flag.device), f"present/{name}": flag}

    def _modality_of(self, name: str, tap: Tap, activation: Tensor, rows: _Rows) -> str | None:
        """Return whose rows an activation has; None for every sample's."""
        count, total = len(activation), len(rows.some_flag)
        fitting = [each for each in rows.flags if rows.counts[each] == count]
        if tap.modality is not None:
            if tap.modality in rows.flags and (tap.modality in fitting or count == total):
                return tap.modality
        elif len(fitting) > 1:
            named = [each for each in fitting if self._is_named(name, tap, each)]
            if len(named) == 1 or all(torch.equal(rows.flags[fitting[0]], rows.flags[each]) for each in fitting):
                return (named or fitting)[0]
            as_many = " and as many ".join(fitting)
            raise InputError(
                f"taps.{name}: {tap.module!r} gives {count} rows, and as many samples have {as_many}. Say which these "
                f"are: `taps.{name}: {{module: {tap.module}, modality: {fitting[0]}}}`."
            )
        elif fitting:
            if len(rows.flags) > 1:
                self._modality[name] = fitting[0]
            return fitting[0]
        elif count == total:
            return None
        counts = ", ".join(f"{rows.counts[each]} with {each}" for each in rows.flags)
        mend = f", or correct the tap's modality {tap.modality!r}" if tap.modality else ""
        raise InputError(
            f"taps.{name}: {tap.module!r} gives {tuple(activation.shape)}, and the batch has {total} samples, {counts}."
            f" Tap a layer whose first dimension is the samples{mend}."
        )

    def _is_named(self, name: str, tap: Tap, modality: str) -> bool:
        """Whether a tap is known to be of a modality: as stated, from an earlier batch, or by its layer's name."""
        stated = tap.modality or self._modality.get(name)
        return modality == stated if stated else modality in tap.module.split(".")


class _Rows:
    """How many of a batch's samples have each of the modalities that a model reads, and which."""

    def __init__(self, preprocess: Preprocess, batch: Mapping[str, Any], outputs: Outputs) -> None:
        given = {each: outputs.get(f"present/{each}", batch.get(f"present/{each}")) for each in MODALITIES}
        read = [each for each in MODALITIES if getattr(preprocess, each, None) is not None]
        self.flags: dict[str, Tensor] = {
            each: flag for each, flag in given.items() if flag is not None and (each in read or not read)
        }
        self.counts = {each: _count(each, self.flags.get(each), batch) for each in read or self.flags}

    @property
    def some_flag(self) -> Tensor:
        return next(iter(self.flags.values()))


def _count(modality: str, flag: Tensor | None, batch: Mapping[str, Any]) -> int:
    rows = batch.get(modality, batch.get(f"features/{modality}"))
    if isinstance(rows, Tensor):
        return len(rows)
    return 0 if flag is None else int(flag.sum())  # waits for the GPU, in batches without the modality alone


def untapped(model: nn.Module) -> nn.Module:
    """Return the model without its taps, the one to be saved; a model without taps itself."""
    return untapped(model.model) if isinstance(model, Tapped) else model


def untapped_tree(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``_target_`` tree that builds the model without its taps; that of a model without taps itself."""
    return untapped_tree(tree["model"]) if _is_tapped(tree) else tree


def retapped(model: nn.Module, tree: Mapping[str, Any]) -> nn.Module:
    """Return a model that was saved without its taps with those that its ``_target_`` tree has."""
    return Tapped(retapped(model, tree["model"]), tree["taps"]) if _is_tapped(tree) else model


def _is_tapped(tree: Mapping[str, Any]) -> bool:
    return tree.get("_target_") in (f"{__name__}.Tapped", f"{__name__.rpartition('.')[0]}.Tapped")
