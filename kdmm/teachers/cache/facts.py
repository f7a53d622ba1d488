"""What a store was made from, fact by fact, so that what differs can be named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from itertools import zip_longest
from typing import Any

import torch
from torch import nn

from kdmm.errors import InputError
from kdmm.models import Preprocess, Tapped, untapped
from kdmm.models.description import described
from kdmm.teachers.cache.keys import TEXTS
from kdmm.teachers.teacher import Running

__all__ = ["differences", "facts_of_data", "facts_of_model", "facts_of_teacher"]

VERSIONS = {
    "image": ("pillow", "torchvision", "resvg-py", "open_clip_torch"),
    "audio": ("soundfile", "soxr", "torchaudio"),
    "video": ("pillow", "torchvision", "av", "open_clip_torch"),
    "text": ("tokenizers", "open_clip_torch"),
    "source": ("tokenizers", "open_clip_torch"),
}
"""Packages that decide what a teacher reads, by modality. Those that are not installed decide nothing."""
PROBE = ("A dog, running.", "Élan — 漢字 🙂 e=mc² 1,024", "a photo of two red\nbicycles")
"""Texts whose tokens tell tokenizers apart, since a tokenizer of one name can have other content."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
PLACE = re.compile(r"[^'\"{}\n]*[/\\][^'\"{}\n]*")
"""A folder, a file or a name on the hub: one model may lie in several places."""
DEVICE = re.compile(r"(cpu|cuda|mps|xpu|meta)(:\d+)?")
UNTOLD = ("training", "weights_from", "name_or_path", "freeze", "frozen")
"""What parts of a model keep that moves no answer: where their weights came from, and what is not to be trained."""
SHOWN = 120  # letters of a fact in a message


def facts_of_teacher(part: str, teacher: Running) -> dict[str, str]:
    """Return what decides a running teacher's answer to what it reads; nothing of where its files lie.

    Args:
        part: the teacher's name in a batch, before the names of facts where it is one of several.
        teacher: that runs.
    """
    found = facts_of_model(teacher.model, teacher.preprocess)
    found["precision"] = teacher.precision or "none"
    return {f"teacher's {name}" if part == "teacher" else f"{part}'s {name}": fact for name, fact in found.items()}


def facts_of_model(model: nn.Module, preprocess: Preprocess) -> dict[str, str]:
    """Return what decides a model's answer to what it reads; nothing of where its files lie.

    Args:
        model: the model, or those parts of it that answer.
        preprocess: of what it reads.
    """
    plain = untapped(model)
    found = {"model": f"{type(plain).__module__}.{type(plain).__qualname__}"}
    types = {str(x.dtype).removeprefix("torch.") for x in plain.parameters()}
    found["weights"] = " ".join((*sorted(types), _weights(plain)))  # a Trainer may round them
    found["settings"] = _settings(plain)
    if isinstance(model, Tapped):
        found["taps"] = repr(model.taps)
    for modality, medium in preprocess.media.items():
        found[f"preprocessing of {modality}"] = described(f"preprocess.{modality}", medium)
    for modality, tokenize in preprocess.written.items():
        digest = hashlib.blake2b(digest_size=8)
        for text in PROBE:
            digest.update(repr(tokenize([text]).tolist()).encode())
        told = re.sub(f"'{PLACE.pattern}'", "'...'", _told(f"preprocess.{modality}", tokenize))
        found[f"tokenizer of {modality}"] = f"{told} {digest.hexdigest()}"
    return found


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
    packages = dict.fromkeys(("torch", *(name for each in modalities for name in VERSIONS[each])))
    versions = {name: _version(name) for name in packages}
    return {**found, **{f"version of {name}": version for name, version in versions.items() if version}}


def differences(stored: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what differs among the facts that are known here, each named, with both values."""
    found = []
    for name, fact in here.items():
        known = stored.get(name, "none")
        if known != fact:
            letters = enumerate(zip_longest(str(known), str(fact)))
            place = next((n for n, (one, other) in letters if one != other), 0)
            found.append(f"{name} (stored: {_shown(known, place)}; here: {_shown(fact, place)})")
    return found


def _weights(model: nn.Module) -> str:
    """Return a digest of a model's tensors and their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _settings(model: nn.Module) -> str:
    """Return a digest of what a model's parts keep beside their tensors, such as a stride or how tokens are pooled."""
    digest = hashlib.blake2b(digest_size=8)
    for name, part in model.named_modules():
        own = {key: value for key, value in vars(part).items() if not key.startswith("_") and key not in UNTOLD}
        told = {key: _value(value) for key, value in own.items() if _is_told(value)}
        digest.update(f"{name} {type(part).__qualname__} {sorted(told.items())}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def _is_told(value: Any) -> bool:
    """Whether a value is a number, a word that names no place or device, or several of these."""
    if isinstance(value, tuple | list):
        return bool(value) and all(each is None or _is_told(each) for each in value)
    if isinstance(value, str):
        return not (PLACE.fullmatch(value) or DEVICE.fullmatch(value) or ADDRESS.search(value))
    return isinstance(value, bool | int | float)


def _value(value: Any) -> Any:
    """Return lists and the subclasses of tuples as plain tuples, which say the same of the same values."""
    return tuple(map(_value, value)) if isinstance(value, tuple | list) else value


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


def _shown(fact: Any, place: int) -> str:
    """Return a fact, or of a long one the part about a place."""
    told = str(fact)
    begin = max(0, min(place - SHOWN * 2 // 3, len(told) - SHOWN))
    end = begin + SHOWN
    return f"{'... ' if begin else ''}{told[begin:end]}{' ...' if end < len(told) else ''}"
