"""What is known of one thing: a picture, a sound, what is said of it; some or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

__all__ = ["BadSample", "MediaRef", "Sample"]


@runtime_checkable
class MediaRef(Protocol):
    """Where a picture or a sound is, or how it is made; read when it is needed."""

    @property
    def path(self) -> str:
        """Names it in messages."""

    def open(self) -> Any:
        """Read it: a picture as a PIL image, a sound as :class:`kdmm.models.audio.AudioClip`.

        Raises:
            InputError: it cannot be read; the message says why, without the path.
        """

    def identity(self) -> str:
        """Return what changes when its content does."""


@dataclass(frozen=True)
class Sample:
    """A picture or a sound, or both, and what is said of it.

    Args:
        id: unique in its source.
        image: ``None`` if there is no picture.
        captions: none if there is no text.
        group: the concept it shows; samples of one concept are on one side of a split. ``None``: it stands alone.
        labels: class numbers by the label's name.
        origin: the file and row it comes from, for messages.
        audio: ``None`` if there is no sound.
    """

    id: str
    image: MediaRef | None = None
    captions: tuple[str, ...] = ()
    group: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    origin: str = ""
    audio: MediaRef | None = None

    @property
    def media(self) -> dict[str, MediaRef]:
        """What it has besides text, by modality."""
        refs = {"image": self.image, "audio": self.audio}
        return {modality: ref for modality, ref in refs.items() if ref is not None}

    def has(self, modality: str) -> bool:
        """Return whether it has a modality."""
        return bool(self.captions) if modality == "text" else modality in self.media

    def only(self, modality: str) -> Sample:
        """Return the sample without its other modalities."""
        return replace(
            self,
            image=self.image if modality == "image" else None,
            captions=self.captions if modality == "text" else (),
            audio=self.audio if modality == "audio" else None,
        )


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be read.

    Args:
        id: the sample's.
        origin: the file and row it comes from.
        reason: what is wrong with it.
    """

    id: str
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"
