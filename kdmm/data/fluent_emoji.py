"""Microsoft's Fluent Emoji in motion, with their Unicode names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from kdmm import fetch
from kdmm.data.emoji_concepts import KINDS
from kdmm.data.files import existing_folder
from kdmm.data.frame_store import FrameStore
from kdmm.data.redrawn_emoji import RedrawnEmoji
from kdmm.data.sample import Sample
from kdmm.data.source import Split
from kdmm.data.video_ref import VideoRef
from kdmm.errors import InputError

__all__ = ["FluentEmoji"]

ASSETS = "package/assets"  # where the package has them
SELECTOR = "fe0f"  # says that an emoji is a picture; names of files have it here and there
STORE = "frames"  # below kdmm's cache folder


class FluentEmoji(RedrawnEmoji):
    """477 animated emoji, 256 x 256 pixels, 24 frames a second, 1 to 4 s long; ``kdmm fetch fluent-emoji``.

    Names, concepts, labels and splits are those of :class:`kdmm.data.Emoji`: variants of a concept, skin tones among
    them, are on one side, and a concept is on the same side as Twemoji's pictures of it. So a model of those pictures
    that was trained on a fold has not seen what this source tests in it.

    Clips: Microsoft (Fluent Emoji), packaged by LobeHub (MIT). Names: ``pip install "kdmm[samples]"``.

    Args:
        folder: with the WebP files, or what holds them in ``package/assets``; ``None`` takes what ``kdmm fetch
            fluent-emoji`` has fetched.
        languages: of the names; one caption a language, as for :class:`kdmm.data.Emoji`.
        stills: adds the 522 that do not move, as clips of one frame.
        skin_tones: adds the variants with skin tones.
        groups: categories to take, such as ``Animals & Nature``; ``None`` takes all.
        exclude: which of ``flags``, ``keycaps``, ``clock faces`` and ``families`` to leave out.
        fold: which fifth is for testing, 0 to 4.
        frames: as for :class:`kdmm.data.VideoRef`.
        size: as for :class:`kdmm.data.VideoRef`.
        keep: keeps decoded frames in kdmm's cache folder (see ``KDMM_CACHE``), about 0.4 MB a clip: from there they are
            read in an eighth of the time.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        languages: Sequence[str] = ("en",),
        stills: bool = False,
        skin_tones: bool = False,
        groups: Sequence[str] | None = None,
        exclude: Sequence[str] = KINDS,
        fold: int = 0,
        frames: int = 32,
        size: int = 128,
        keep: bool = True,
    ) -> None:
        super().__init__(languages, skin_tones, groups, exclude, fold)
        self.folder = None if folder is None else Path(folder)
        self.stills = stills
        self.frames = frames
        self.size = size
        self.keep = keep

    def read(self, split: Split) -> list[Sample]:
        """Choose the clips of a split."""
        store = FrameStore(str(fetch.cache_folder() / STORE)) if self.keep else None
        return [
            replace(
                sample,
                image=None,
                video=VideoRef(str(self._clips[sample.id]), frames=self.frames, size=self.size, store=store),
                origin=str(self._clips[sample.id]),
            )
            for sample in self.named.samples(split)
            if sample.id in self._clips
        ]

    @cached_property
    def _clips(self) -> dict[str, Path]:
        """The files by the emoji's code points, as :class:`kdmm.data.Emoji` writes them."""
        setting = "FluentEmoji.folder"
        folder = fetch.folder("fluent-emoji", setting) if self.folder is None else existing_folder(self.folder, setting)
        root = folder / ASSETS if (folder / ASSETS).is_dir() else folder
        found = {_code(path.stem): path for path in sorted(root.glob("*.webp"))}
        if not found:
            raise InputError(
                f"{setting}: {str(folder)!r} holds no WebP files named by code points. Give the folder that the "
                "package calls `assets`, or null after `kdmm fetch fluent-emoji`."
            )
        return found if self.stills else {code: path for code, path in found.items() if _moves(path)}


def _code(stem: str) -> str:
    """Return a file's code points as they are written elsewhere: without zeros before them and selectors."""
    points = stem.lower().replace("_", "-").split("-")
    return "-".join(point.lstrip("0") for point in points if point != SELECTOR)


def _moves(path: Path) -> bool:
    """Return whether a file has several frames; a broken one counts, so that it is found when it is read."""
    try:
        with Image.open(path) as image:
            return int(getattr(image, "n_frames", 1)) > 1
    except Exception:  # Pillow's decoders raise errors of any class on broken files
        return True
