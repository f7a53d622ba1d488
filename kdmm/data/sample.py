"""What is known of one thing: pictures, sounds, what is said of it; some or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from kdmm.data.marks import MarksRef

__all__ = ["BadSample", "MediaRef", "Sample"]


@runtime_checkable
class MediaRef(Protocol):
    """Where a picture or a sound is, or how it is made; read when it is needed."""

    @property
    def path(self) -> str:
        """Names it in messages."""

    def open(self) -> Any:
        """Read it: a PIL image, a :class:`kdmm.models.audio.AudioClip` or a :class:`kdmm.models.VideoClip`.

        Raises:
            InputError: it cannot be read; the message says why, without the path.
        """

    def identity(self) -> str:
        """Return what changes when its content does, and is the same of the same content wherever that lies."""


@dataclass(frozen=True)
class Sample:
    """A picture, a sound, moving pictures, and what is said of them.

    Args:
        id: unique in its source.
        image: ``None`` if there is no picture.
        captions: none if there is no text.
        group: the concept it shows; samples of one concept are on one side of a split. ``None``: it stands alone.
        labels: class numbers by the label's name.
        origin: the file and row it comes from, for messages.
        audio: ``None`` if there is no sound.
        video: ``None`` if there are no moving pictures.
        source: the text that is read to write a caption, such as the one that captions translate; ``None``: none.
        marks: what is marked in the picture; ``None``: nobody has marked anything.
    """

    id: str
    image: MediaRef | None = None
    captions: tuple[str, ...] = ()
    group: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    origin: str = ""
    audio: MediaRef | None = None
    video: MediaRef | None = None
    source: str | None = None
    marks: MarksRef | None = None

    @property
    def media(self) -> dict[str, MediaRef]:
        """What it has besides text, by modality."""
        refs = {"image": self.image, "audio": self.audio, "video": self.video}
        return {modality: ref for modality, ref in refs.items() if ref is not None}

    def has(self, modality: str) -> bool:
        """Return whether it has a modality."""
        texts = {"text": bool(self.captions), "source": self.source is not None}
        return texts.get(modality, modality in self.media)

    def only(self, modality: str) -> Sample:
        """Return the sample without its other modalities."""
        return replace(
            self,
            image=self.image if modality == "image" else None,
            captions=self.captions if modality == "text" else (),
            audio=self.audio if modality == "audio" else None,
            video=self.video if modality == "video" else None,
            source=self.source if modality == "source" else None,
            marks=self.marks if modality == "image" else None,
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
