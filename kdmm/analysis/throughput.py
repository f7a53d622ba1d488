"""Samples and tokens a second, of several models under the same conditions."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from PIL import Image
from torch import nn

from kdmm.errors import InputError
from kdmm.metrics.written import Writes
from kdmm.outputs import MODALITIES
from kdmm.views import EVAL_VIEW

if TYPE_CHECKING:
    from kdmm.models import Preprocess  # imports open_clip, which takes seconds

__all__ = ["Speeds", "Throughput", "random_batch", "samples_per_second"]

SECOND = 16_000  # samples of the silent sound, at as many a second
FRAMES = 32  # of the blank clip: as many as any model of ours reads
SENTENCE = "the quick brown fox jumps over the lazy dog and runs on into the wood before night falls"
WARM_UP = 2  # calls before the clock runs: the first ones allocate memory and choose kernels


@dataclass(frozen=True)
class Throughput:
    """Speeds of models that were measured side by side.

    Args:
        samples_per_s: by model, from its median time.
        ratio: by model, how many times as fast as the first: the median over rounds of the ratio within a round.
        tokens_per_s: by model that writes, in the same time: those of its texts, their ends among them.
    """

    samples_per_s: dict[str, float]
    ratio: dict[str, float]
    tokens_per_s: dict[str, float]


@dataclass(frozen=True)
class Speeds:
    """What a report says of speed.

    Args:
        samples_per_s: by experiment, measured side by side.
        remarks: a sentence for each experiment that could not be measured.
        how: the conditions, such as ``32 samples at a time on cpu``.
        tokens_per_s: by experiment whose model writes, greedily.
        beam_tokens_per_s: the same with beams.
        beams: how many; 1 if none were measured.
    """

    samples_per_s: Mapping[str, float]
    remarks: tuple[str, ...] = ()
    how: str = ""
    tokens_per_s: Mapping[str, float] = field(default_factory=dict)
    beam_tokens_per_s: Mapping[str, float] = field(default_factory=dict)
    beams: int = 1

    def of(self, experiment: str) -> dict[str, float | None]:
        """Return an experiment's speeds by their names here."""
        names = ("samples_per_s", "tokens_per_s", "beam_tokens_per_s")
        return {name: getattr(self, name).get(experiment) for name in names}

    @property
    def legend(self) -> str:
        """How they were measured, as a sentence."""
        beams = f", tokens/s with {self.beams} beams" if self.beam_tokens_per_s else ""
        return f"samples/s: one model an experiment, side by side, {self.how}{beams}."


def samples_per_second(
    models: Mapping[str, nn.Module],
    batch_size: int = 32,
    repeats: int = 15,
    seconds: float = math.inf,
    beams: int = 1,
) -> Throughput:
    """Measure how many samples each model embeds a second, in evaluation mode and without gradients.

    A model that writes, such as a translator, writes about each sample.

    The models take turns in one process, one batch each a round, in an order that rotates: what slows the machine for a
    while slows all of them, and the ratio within a round hardly moves. Each model runs on the device and in the
    precision that it is in, on random pictures of the size that it asks for; on random sounds or clips if it reads no
    pictures, and on one sentence if it reads texts alone.

    Args:
        models: by name, each with ``preprocess``.
        batch_size: samples a call.
        repeats: rounds.
        seconds: no further round begins that would end later than this, in which there is at least one.
        beams: of models that write; 1 takes the best token each time.

    Raises:
        InputError: no model, a model that reads nothing of that, or a setting below 1.
    """
    for setting, value in (("batch_size", batch_size), ("repeats", repeats), ("beams", beams)):
        if value < 1:
            raise InputError(f"samples_per_second.{setting}: {value} given; give at least 1.")
    names = list(models)
    if not names:
        raise InputError("samples_per_second.models: none given; give at least one.")
    batches = {name: random_batch(model, batch_size) for name, model in models.items()}
    modes = {name: model.training for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    texts: dict[str, list[str]] = {}
    began = time.perf_counter()
    try:
        for name, model in models.items():
            model.eval()
            for _ in range(WARM_UP):
                _, texts[name] = _timed(model, batches[name], beams)
        for turn in range(repeats):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(_timed(models[name], batches[name], beams)[0])
            round_s = sum(times[name][-1] for name in names)
            if time.perf_counter() - began + round_s > seconds:
                break
    finally:
        for name, model in models.items():
            model.train(modes[name])
    tokens = {name: _tokens(models[name], texts[name]) for name in names}
    middle = {name: statistics.median(times[name]) for name in names}
    return Throughput(
        {name: batch_size / middle[name] for name in names},
        {name: statistics.median(a / b for a, b in zip(times[names[0]], times[name], strict=True)) for name in names},
        {name: count / middle[name] for name, count in tokens.items() if count},
    )


def random_batch(model: nn.Module, batch_size: int) -> dict[str, Any]:
    """Return a model's part of a batch of random pictures, sounds or clips, or of texts, on the model's device.

    Args:
        model: with ``preprocess``; it is asked for the size of its input with a blank picture, clip or silent sound.
        batch_size: B.

    Raises:
        InputError: the model reads nothing of that.
    """
    preprocess = cast("Preprocess", model.preprocess)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if preprocess.media:
        modality, transform = next(iter(preprocess.media.items()))
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(batch_size, *transform(_blank(modality)).shape, generator=generator)
    elif preprocess.written:
        modality = "source" if preprocess.source is not None else "text"  # what is written is no input
        inputs = preprocess.written[modality]([SENTENCE] * batch_size)
    else:
        raise InputError(f"{type(model).__name__} reads no pictures, sounds, clips or texts: it embeds none a second.")
    flags = {f"present/{each}": torch.full((batch_size,), each == modality, device=device) for each in MODALITIES}
    return {
        "id": [str(number) for number in range(batch_size)],
        "view": [EVAL_VIEW] * batch_size,
        "caption": [None] * batch_size,
        modality: inputs.to(device),
        **flags,
    }


def _blank(modality: str) -> Any:
    if modality == "image":
        return Image.new("RGB", (64, 64))
    if modality == "video":
        from kdmm.models.video import VideoClip

        return VideoClip((Image.new("RGB", (64, 64)),) * FRAMES)
    from kdmm.models.audio import AudioClip

    return AudioClip(torch.zeros(1, SECOND), SECOND)


@torch.inference_mode()
def _timed(model: nn.Module, batch: Mapping[str, Any], beams: int) -> tuple[float, list[str]]:
    """Return the seconds of a call, and what was written in it, if anything."""
    device, texts = batch["present/image"].device, []
    _wait(device)
    start = time.perf_counter()
    if isinstance(model, Writes):
        texts = model.generate(batch[model.modality], beams)
    else:
        model(batch)
    _wait(device)
    return time.perf_counter() - start, texts


def _tokens(model: nn.Module, texts: list[str]) -> int:
    """Return how many tokens texts have for the model that wrote them, their ends among them; 0 if it cannot tell."""
    from kdmm.models.tokens import TextTokens

    text = cast("Preprocess", model.preprocess).text
    return int((text(texts) != text.pad).sum()) if texts and isinstance(text, TextTokens) else 0


def _wait(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
