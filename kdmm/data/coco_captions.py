"""COCO captions, in COCO's own JSON or in Karpathy's (COCO, Flickr30k)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdmm.data.by_split import BySplit
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Split
from kdmm.data.tables import existing_file
from kdmm.errors import InputError, nearest

__all__ = ["CocoCaptions"]

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
        existing_file(path, "CocoCaptions.annotations")
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise InputError(f"CocoCaptions.annotations: {path} is not JSON: {error}.") from error
        rows = content.get("images") if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"CocoCaptions.annotations: {path} holds no list of `images`.")
        try:
            if "annotations" in content:
                return {split: self._coco(content, path, split)}
            if rows and "sentences" in rows[0]:
                return self._karpathy(rows, path)
        except KeyError as error:
            raise InputError(f"CocoCaptions.annotations: {path}: an entry lacks the key {error}.") from error
        raise InputError(
            f"CocoCaptions.annotations: {path} has neither COCO's `annotations` nor Karpathy's `sentences`."
        )

    def _coco(self, content: Mapping[str, Any], path: Path, split: Split) -> list[Sample]:
        captions: dict[Any, list[str]] = {row["id"]: [] for row in content["images"]}
        for annotation in content["annotations"]:
            if annotation["image_id"] not in captions:
                raise InputError(
                    f"CocoCaptions.annotations: {path}: the annotation {annotation['id']} is of the image "
                    f"{annotation['image_id']}, which is not among `images`."
                )
            captions[annotation["image_id"]].append(annotation["caption"])
        return [
            Sample(
                id=str(row["id"]),
                image=ImageRef(str(self._folder(split) / row["file_name"])),
                captions=_texts(captions[row["id"]]),
                origin=f"{path}, image {row['id']}",
            )
            for row in content["images"]
        ]

    def _karpathy(self, rows: Sequence[Mapping[str, Any]], path: Path) -> dict[Split, list[Sample]]:
        found: dict[Split, list[Sample]] = {}
        for row in rows:
            if row["split"] not in KARPATHY_SPLITS:
                raise InputError(
                    f"CocoCaptions.annotations: {path}: {row['filename']!r} has the split {row['split']!r}."
                )
            split = KARPATHY_SPLITS[row["split"]]
            name = str(row.get("cocoid", row.get("imgid", row["filename"])))
            found.setdefault(split, []).append(
                Sample(
                    id=name,
                    image=ImageRef(str(self._folder(split) / row.get("filepath", "") / row["filename"])),
                    captions=_texts([sentence["raw"] for sentence in row["sentences"]]),
                    origin=f"{path}, image {name}",
                )
            )
        return found

    def _folder(self, split: Split) -> Path:
        if not isinstance(self.images, Mapping):
            return Path(self.images)
        if split not in self.images:
            raise InputError(f"CocoCaptions.images: no folder for the {split} split; it has {', '.join(self.images)}.")
        return Path(self.images[split])


def _texts(captions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in (" ".join(caption.split()) for caption in captions) if text))
