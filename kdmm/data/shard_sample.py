"""From the files of one name in a shard to a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdmm.data.audio_ref import AudioRef
from kdmm.data.class_values import NONE, is_none, whole_number
from kdmm.data.distinct import distinct
from kdmm.data.image_ref import ImageRef
from kdmm.data.json_text import parsed_json
from kdmm.data.sample import BadSample, Sample
from kdmm.data.video_file import FILM_ENDINGS
from kdmm.data.video_ref import VideoRef

__all__ = ["sample_of"]

IMAGES = ("jpg", "jpeg", "png", "webp")
SOUNDS = ("flac", "wav", "ogg", "mp3")
CLIPS = (*(ending[1:] for ending in FILM_ENDINGS), "gif", "clip.webp", "clip.png")
"""A ``.webp`` and a ``.png`` may be a picture or a clip; the name says which."""


def sample_of(
    found: Mapping[str, Any], shard: str, caption: str, labels: Sequence[str], unlabelled: bool
) -> Sample | BadSample:
    """Return a sample, or what is wrong with it.

    Args:
        found: the bytes of each file by its ending, beside WebDataset's own ``__key__`` and ``__url__``.
        shard: what the shard is called in its samples' ids.
        caption: the key of the caption in JSON files.
        labels: endings of files with class numbers, or keys in JSON files.
        unlabelled: whether it may be without one of them.
    """
    key = found["__key__"]
    name, origin = f"{shard}/{key}", f"{found['__url__']}, sample {key!r}"
    try:
        content = _object(found)
        captions = _captions(found, content, caption)
    except (ValueError, TypeError) as error:
        return BadSample(name, origin, f"the caption cannot be read: {error}")
    try:
        numbers = {label: _label(found, content, label, unlabelled) for label in labels}
    except ValueError as error:
        return BadSample(name, origin, str(error))
    image = next((ImageRef(f"{key}.{ending}", found[ending]) for ending in IMAGES if ending in found), None)
    audio = next((AudioRef(f"{key}.{ending}", found[ending]) for ending in SOUNDS if ending in found), None)
    video = next((VideoRef(f"{key}.{ending}", found[ending]) for ending in CLIPS if ending in found), None)
    if image is None and audio is None and video is None and not captions:
        endings = ", ".join(ending for ending in found if not ending.startswith("__"))
        reason = f"there is neither an image nor a sound nor a clip nor a caption, only files ending in {endings}"
        return BadSample(name, origin, reason)
    return Sample(name, image, captions, labels=numbers, origin=origin, audio=audio, video=video)


def _object(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a sample's JSON file holds; nothing where there is none."""
    content = parsed_json(found.get("json", b"{}"))
    if not isinstance(content, dict):
        raise TypeError(f"the .json file holds no object but {type(content).__name__}")
    return content


def _captions(found: Mapping[str, Any], content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = [found["txt"].decode("utf-8")] if "txt" in found else []
    value = content.get(key) or []
    texts += value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{key!r} is neither text nor a list of texts")
    return distinct(texts)


def _label(found: Mapping[str, Any], content: Mapping[str, Any], label: str, unlabelled: bool) -> int:
    value = found[label].decode("utf-8", "replace") if label in found else content.get(label)
    if unlabelled and is_none(value):
        return NONE
    if value is None:
        raise ValueError(
            f"there is neither a file ending in .{label} nor a key {label!r} in a .json file; give either, or set "
            "`unlabelled: true`"
        )
    number = whole_number(value)
    if number is None:
        remedy = ", or `unlabelled: true`" if is_none(value) else ""
        raise ValueError(f"the label {label!r} is {value!r}; a class number, 0 or more, is needed{remedy}")
    return number
