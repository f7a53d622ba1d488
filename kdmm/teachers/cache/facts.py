"""What a store was made from, fact by fact, so that what differs can be named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.models import Preprocess, Tapped, untapped
from kdmm.teachers.cache.keys import TEXTS

__all__ = ["differences", "facts_of_data", "facts_of_teacher", "weights_of"]

VERSIONS = {
    "image": ("pillow", "torchvision", "resvg-py"),
    "audio": ("soundfile", "soxr", "torchaudio"),
    "video": ("pillow", "torchvision", "av"),
    "text": ("tokenizers", "open_clip_torch"),
    "source": ("tokenizers", "open_clip_torch"),
}
"""Packages that decide what a teacher reads, by modality. Those that are not installed decide nothing."""
PROBE = ("A dog, running.", "Élan — 漢字 🙂 e=mc² 1,024", "a photo of two red\nbicycles")
"""Texts whose tokens tell tokenizers apart, since a tokenizer of one name can have other content."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
SHOWN = 120  # letters of a fact in a message


def weights_of(network: nn.Module, digest: Any = None) -> Any:
    """Return a digest that a network's tensors have gone into, by name.

    Args:
        network: any.
        digest: to go on with; ``None`` begins one.
    """
    digest = hashlib.blake2b(digest_size=16) if digest is None else digest
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest


def facts_of_teacher(part: str, model: nn.Module, preprocess: Preprocess) -> dict[str, str]:
    """Return what decides a running teacher's answer to what it reads.

    Args:
        part: the teacher's name in a batch, before the names of facts where it is one of several.
        model: that runs.
        preprocess: of the model.
    """
    plain = untapped(model)
    found = {"model": f"{type(plain).__module__}.{type(plain).__qualname__}", "weights": weights_of(plain).hexdigest()}
    found["settings"] = _settings(plain)
    if isinstance(model, Tapped):
        found["taps"] = repr(model.taps)
    for modality, medium in preprocess.media.items():
        found[f"preprocessing of {modality}"] = _told(f"preprocess.{modality}", medium)
    for modality, tokenize in preprocess.written.items():
        digest = hashlib.blake2b(digest_size=8)
        for text in PROBE:
            digest.update(repr(tokenize([text]).tolist()).encode())
        found[f"tokenizer of {modality}"] = f"{_told(f'preprocess.{modality}', tokenize)} {digest.hexdigest()}"
    return {f"teacher's {name}" if part == "teacher" else f"{part}'s {name}": fact for name, fact in found.items()}


def facts_of_data(facts: Mapping[str, str], modalities: Iterable[str]) -> dict[str, str]:
    """Return what decides what teachers read, before their own preprocessing, and the versions of what computes it.

    Args:
        facts: the DataModule's own, of all modalities.
        modalities: that are read.
    """
    modalities = sorted(set(modalities))
    media = [each for each in modalities if each not in TEXTS]
    found = {f"augmentation of {each}": facts.get(f"augmentation of {each}", "none") for each in media}
    if "image" in modalities:
        found["canvas"] = facts.get("canvas", "none")
    for name, fact in found.items():
        if ADDRESS.search(fact):
            raise InputError(
                f"{name}: {ADDRESS.sub(' at ...', fact)} does not say what it does, so a store could not tell it from "
                "another. Give its class a `__repr__` that names its settings."
            )
    packages = dict.fromkeys(("torch", *(name for each in modalities for name in VERSIONS[each])))
    versions = {name: _version(name) for name in packages}
    return {**found, **{f"version of {name}": version for name, version in versions.items() if version}}


def differences(stored: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what differs among the facts that are known here, each named, with both values."""
    return [
        f"{name} (stored: {_shown(stored.get(name, 'none'))}; here: {_shown(fact)})"
        for name, fact in here.items()
        if stored.get(name, "none") != fact
    ]


def _settings(model: nn.Module) -> str:
    """Return a digest of the numbers that a model's parts keep beside their tensors, such as a count of frames."""
    digest = hashlib.blake2b(digest_size=8)
    for name, part in model.named_modules():
        own = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "training"}
        numbers = {key: value for key, value in own.items() if isinstance(value, bool | int | float)}
        digest.update(f"{name} {type(part).__qualname__} {sorted(numbers.items())}\n".encode())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _told(setting: str, value: Any) -> str:
    """Return what a value says of itself.

    Raises:
        InputError: it says where it is in memory, which is no two processes' same.
    """
    told = repr(value)
    if ADDRESS.search(told):
        raise InputError(
            f"{setting}: {ADDRESS.sub(' at ...', told)} does not say what it does, so a store could not tell it from "
            "another. Make it a dataclass, or give it a `__repr__` that names its settings."
        )
    return told


def _shown(fact: Any) -> str:
    told = str(fact)
    return told if len(told) <= SHOWN else f"{told[: SHOWN // 2]} ... {told[-SHOWN // 2 :]}"
