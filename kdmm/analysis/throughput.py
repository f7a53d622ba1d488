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
from kdmm.outputs import MODALITIES
from kdmm.views import EVAL_VIEW

if TYPE_CHECKING:
    from kdmm.models import Preprocess  # imports open_clip, which takes seconds

__all__ = ["Speeds", "Throughput", "random_batch", "samples_per_second"]

SECOND = 16_000  # samples of the silent sound, at as many a second
FRAMES = 32  # of the blank clip: as many as any model of ours reads
SENTENCE = "the quick brown fox jumps over the lazy dog and runs on into the wood before night falls"
TURN_S = 0.05  # of a model's turn at least: short calls one by one fall between other programs' or into them
MOST_CALLS = 50  # of a turn
TOKENS = 16  # that a model writes about a sample: a long name's, a short caption's


@dataclass(frozen=True)
class Throughput:
    """Speeds of models that were measured side by side.

    Args:
        samples_per_s: by model, from its median time.
        ratio: by model, how many times as fast as the first: the median over rounds of the ratio within a round.
        tokens_per_s: by model that writes, in the same time.
        tokens: that were written about each sample; 0 if no model writes.
    """

    samples_per_s: dict[str, float]
    ratio: dict[str, float]
    tokens_per_s: dict[str, float]
    tokens: int


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

    A model that writes, such as a translator, writes about each sample. Every one writes as many tokens, since none of
    its texts may end: 16, or as many as the shortest ``context_length`` among them. So what a model has learned to
    write makes it neither faster nor slower. Turning tokens into letters is not measured.

    The models take turns in one process, in an order that rotates: what slows the machine for a while slows all of
    them, and the ratio within a round hardly moves. A turn is calls of one batch: one that is not measured, since it
    finds the processor's caches full of the model before, and the mean of those that 50 ms hold, at least one. Each
    model runs on the device and in the precision that it is in, on random pictures of the size that it asks for; on
    random sounds or clips if it reads no pictures, and on one sentence if it reads texts alone.

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
    from kdmm.models import Writer

    writers = {name: model for name, model in models.items() if isinstance(model, Writer)}
    tokens = min([TOKENS, *(model.text.context_length for model in writers.values())])
    batches = {name: random_batch(model, batch_size) for name, model in models.items()}
    modes = {name: model.training for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    began = time.perf_counter()
    try:
        for name, model in models.items():
            model.eval()
            _timed(model, batches[name], beams, tokens)  # the first call allocates memory and chooses kernels
        for turn in range(repeats):
            first = turn % len(names)
            round_began = time.perf_counter()
            for name in names[first:] + names[:first]:
                times[name].append(_turn(models[name], batches[name], beams, tokens))
            now = time.perf_counter()
            if now - began + now - round_began > seconds:
                break
    finally:
        for name, model in models.items():
            model.train(modes[name])
    middle = {name: statistics.median(times[name]) for name in names}
    return Throughput(
        {name: batch_size / middle[name] for name in names},
        {name: statistics.median(a / b for a, b in zip(times[names[0]], times[name], strict=True)) for name in names},
        {name: batch_size * tokens / middle[name] for name in writers},
        tokens if writers else 0,
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


def _turn(model: nn.Module, batch: Mapping[str, Any], beams: int, tokens: int) -> float:
    """Return the seconds of a call: the mean of a turn."""
    _timed(model, batch, beams, tokens)  # after it the caches hold this model
    calls_s = [_timed(model, batch, beams, tokens)]
    while sum(calls_s) < TURN_S and len(calls_s) < MOST_CALLS:
        calls_s.append(_timed(model, batch, beams, tokens))
    return statistics.fmean(calls_s)


@torch.inference_mode()
def _timed(model: nn.Module, batch: Mapping[str, Any], beams: int, tokens: int) -> float:
    """Return the seconds of a call."""
    from kdmm.models import Writer
    from kdmm.models.writing import Endless

    device = batch["present/image"].device
    _wait(device)
    start = time.perf_counter()
    if isinstance(model, Writer):
        model.decoder.write(model.read(batch[model.modality]), Endless(model.text), beams, tokens)
    else:
        model(batch)
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
