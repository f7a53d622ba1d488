"""COCO captions, in COCO's own JSON or in Karpathy's (COCO, Flickr30k)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdmm.data.by_split import BySplit
from kdmm.data.distinct import distinct
from kdmm.data.image_ref import ImageRef
from kdmm.data.json_text import parsed_json
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Split
from kdmm.data.table_source import shown
from kdmm.data.tables import existing_file
from kdmm.errors import InputError, nearest

__all__ = ["CocoCaptions"]

SETTING = "CocoCaptions.annotations"
EXAMPLES = "Give a file such as captions_train2017.json, dataset_coco.json or dataset_flickr30k.json."
KARPATHY_SPLITS: dict[str, Split] = {"train": "train", "restval": "train", "val": "val", "test": "test"}


class CocoCaptions(BySplit):
    """Images with all their captions, in one of two forms that the file itself tells apart.

    COCO's own (``captions_train2017.json``) holds ``images`` and ``annotations`` of one split. Karpathy's
    (``dataset_coco.json``, ``dataset_flickr30k.json``; https://arxiv.org/abs/1412.2306) holds ``images`` with
    ``sentences`` and ``split``; its ``restval`` images are for training.

    Args:
        annotations: the JSON file, or one a split. A single file in COCO's form is the train split.
        images: the folder of the images, or one a split.
    """

    def __init__(self, annotations: str | Path | Mapping[str, str], images: str | Path | Mapping[str, str]) -> None:
        self.annotations = annotations
        self.images = images
        for setting, value in (("annotations", annotations), ("images", images)):
            for split in value if isinstance(value, Mapping) else ():
                if split not in SPLITS:
                    raise InputError(
                        f"CocoCaptions.{setting}: unknown split {split!r}. Accepted: {', '.join(SPLITS)}."
                        + nearest(split, SPLITS)
                    )

    def __str__(self) -> str:
        named = self.annotations if isinstance(self.annotations, Mapping) else str(self.annotations)
        return f"CocoCaptions({named!r})"

    def read_all(self) -> dict[Split, list[Sample]]:
        """Read the files."""
        if not isinstance(self.annotations, Mapping):
            return self._from_file(Path(self.annotations), "train")
        found: dict[Split, list[Sample]] = {}
        for split in SPLITS:
            if split in self.annotations:
                found[split] = self._from_file(Path(self.annotations[split]), split).get(split, [])
        return found

    def _from_file(self, path: Path, split: Split) -> dict[Split, list[Sample]]:
        """Read a file; ``split`` is what COCO's own form holds, Karpathy's says it itself."""
        existing_file(path, SETTING)
        try:
            content = parsed_json(path.read_bytes())
        except ValueError as error:
            raise InputError(f"{SETTING}: {path} is not JSON: {error}. {EXAMPLES}") from error
        if not isinstance(content, dict) or "images" not in content:
            raise InputError(f"{SETTING}: {path} holds no list of `images`. {EXAMPLES}")
        rows = _list(content, "images", str(path))
        if "annotations" in content:
            return {split: self._coco(rows, _list(content, "annotations", str(path)), path, split)}
        if rows and isinstance(rows[0], dict) and "sentences" in rows[0]:
            return self._karpathy(rows, path)
        raise InputError(f"{SETTING}: {path} has neither COCO's `annotations` nor Karpathy's `sentences`. {EXAMPLES}")

    def _coco(self, rows: Sequence[Any], annotations: Sequence[Any], path: Path, split: Split) -> list[Sample]:
        captions: dict[int | str, list[str]] = {}
        images = []
        for place, row in enumerate(rows, start=1):
            image = _get(row, "id", int | str, f"{path}, image at place {place}")
            origin = f"{path}, image {image}"
            captions[image] = []
            images.append((image, self._folder(split) / _get(row, "file_name", str, origin), origin))
        for place, row in enumerate(annotations, start=1):
            origin = f"{path}, annotation at place {place}"
            image = _get(row, "image_id", int | str, origin)
            if image not in captions:
                raise InputError(
                    f"{SETTING}: {origin} is of the image {image!r}, which is not among `images`. Correct it, or take "
                    "it out."
                )
            captions[image].append(_get(row, "caption", str, origin))
        return [
            Sample(id=str(image), image=ImageRef(str(file)), captions=_texts(captions[image]), origin=origin)
            for image, file, origin in images
        ]

    def _karpathy(self, rows: Sequence[Any], path: Path) -> dict[Split, list[Sample]]:
        found: dict[Split, list[Sample]] = {}
        for place, row in enumerate(rows, start=1):
            file = _get(row, "filename", str, f"{path}, image at place {place}")
            given = _get(row, "split", str, f"{path}, image {file}")
            if given not in KARPATHY_SPLITS:
                raise InputError(
                    f"{SETTING}: {path}, image {file}: the split is {given!r}; it is one of "
                    f"{', '.join(KARPATHY_SPLITS)}. Correct it.{nearest(given, KARPATHY_SPLITS)}"
                )
            split = KARPATHY_SPLITS[given]
            name = str(row.get("cocoid", row.get("imgid", file)))
            origin = f"{path}, image {name}"
            below = _get(row, "filepath", str, origin) if "filepath" in row else ""
            sentences = _list(row, "sentences", origin)
            found.setdefault(split, []).append(
                Sample(
                    id=name,
                    image=ImageRef(str(self._folder(split) / below / file)),
                    captions=_texts(_get(sentence, "raw", str, f"{origin}, a sentence") for sentence in sentences),
                    origin=origin,
                )
            )
        return found

    def _folder(self, split: Split) -> Path:
        if not isinstance(self.images, Mapping):
            return Path(self.images)
        if split not in self.images:
            raise InputError(
                f"CocoCaptions.images: no folder for the {split} split; it has {', '.join(self.images)}. Add it."
            )
        return Path(self.images[split])


def _texts(captions: Iterable[str]) -> tuple[str, ...]:
    return distinct(" ".join(caption.split()) for caption in captions)


def _list(row: Any, key: str, origin: str) -> Sequence[Any]:
    found: Sequence[Any] = _get(row, key, list, origin)
    return found


def _get(row: Any, key: str, kind: Any, origin: str) -> Any:
    """Return what an entry has under a key, of the kind that is needed."""
    if not isinstance(row, dict):
        raise InputError(f"{SETTING}: {origin} is {shown(row)} and no object. Write an object {{...}}, or take it out.")
    if key not in row:
        raise InputError(
            f"{SETTING}: {origin} has no {key!r}; it has {', '.join(row) or 'nothing'}. Add it.{nearest(key, row)}"
        )
    if not isinstance(row[key], kind):
        needed = "a list" if kind is list else "a text" if kind is str else "a number or a text"
        raise InputError(
            f"{SETTING}: {origin}: {key!r} is {shown(row[key])}; {needed} is needed. Correct it, or take the entry out."
        )
    return row[key]
