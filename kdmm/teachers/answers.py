"""What a frozen network answers to a data set, computed once before training and looked up afterwards.

The idea is MobileCLIP's data set reinforcement (https://arxiv.org/abs/2311.17049): a few stored augmentations an image.
Here a view is replayed from (sample id, view), so no augmentation is stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models import Preprocess
from kdmm.views import EVAL_VIEW

__all__ = ["Answers", "Encode", "ViewSource"]

TEXTS_A_MEDIUM = 8  # a caption costs far less memory than a picture or sound: so many more are answered at a time
KEYS = "keys"  # the name of the table of keys, JSON as bytes, beside the answers

Encode = Callable[[str, Tensor], Tensor]
"""A modality and N inputs to N answers (N, W)."""


@runtime_checkable
class ViewSource(Protocol):
    """What looking ahead needs of a DataModule."""

    @property
    def views(self) -> int | None:
        """K, so that a sample's view in pass p is p modulo K; ``None`` if each pass has a new view."""

    @property
    def fingerprint(self) -> str:
        """Names everything that decides the pixels of every view."""

    def texts(self, splits: Iterable[str]) -> list[str]:
        """Every caption of these splits, once, in a fixed order."""

    def views_loader(
        self, split: str, views: Iterable[int], preprocess: Preprocess, batch_size: int
    ) -> Iterable[Mapping[str, Any]]:
        """Every sample that has the one medium of ``preprocess``, under each view, in a fixed order."""


class Answers:
    """Tables of answers, by (sample id, view) for pictures and sounds and by the text itself for captions.

    Args:
        views: K, how many views of each training picture or sound; the DataModule's own ``views``.
        store: a folder that keeps the answers for later runs, in a file named by a fingerprint of the network's weights
            and preprocessing, the augmentation, the sample ids and the captions; ``None`` keeps them in memory.
        batch_size: pictures or sounds at a time, and eighths of the captions.
        precision: that the network runs in; answers are float32.
    """

    def __init__(
        self,
        views: int,
        store: str | None = None,
        batch_size: int = 64,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        if views < 1:
            raise InputError(f"views: {views} given; at least 1 view is needed.")
        self.views = views
        self.store = None if store is None else Path(store)
        self.batch_size = batch_size
        self.precision = precision
        self._rows: dict[str, dict[Any, int]] = {}
        self._tables: dict[str, Tensor] = {}

    def prepare(
        self,
        data: ViewSource,
        splits: Iterable[str],
        network: nn.Module,
        preprocess: Preprocess,
        encode: Encode,
        names: Sequence[str] = (),
    ) -> None:
        """Compute, or read from ``store``: all views of the train split, the plain view of others, and all captions.

        Args:
            data: the DataModule.
            splits: which of its splits.
            network: whose weights the answers depend on; its device is used.
            preprocess: what the network reads; a modality that is ``None`` is left out.
            encode: the network's answers.
            names: what they are called, where the network gives others than embeddings.

        Raises:
            InputError: the DataModule has another number of views.
        """
        splits = list(splits)
        if "train" in splits and preprocess.media and data.views != self.views:
            raise InputError(
                f"views: the DataModule has `views: {'null' if data.views is None else data.views}`, and what is "
                f"answered beforehand (by Precomputed, or by the `features` of TeacherModule) has `views: {self.views}`"
                ". Set both to the same number."
            )
        texts = [] if preprocess.text is None else data.texts(splits)
        views = {split: tuple(range(self.views)) if split == "train" else (EVAL_VIEW,) for split in splits}
        path = None
        if self.store is not None:
            facts = [
                repr(preprocess),
                self.precision,
                data.fingerprint,
                sorted(views.items()),
                texts,
                torch.__version__,
                *([list(names)] if names else []),  # so that files of embeddings keep their names
            ]
            path = self.store / f"{_fingerprint(network, facts)}.safetensors"
        device = next(network.parameters()).device
        if path is not None and path.is_file():
            self._read(path)
        else:
            context = nullcontext() if self.precision == "float32" else torch.autocast(device.type, torch.bfloat16)
            with torch.no_grad(), context:
                for modality in preprocess.media:
                    self._compute_media(modality, data, views, preprocess.only(modality), encode, device)
                if preprocess.text is not None:
                    self._compute_texts(texts, preprocess, encode, device)
            if path is not None:
                self._write(path)
        self._tables = {name: table.to(device) for name, table in self._tables.items()}

    def rows(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the answers (N, W) to the N samples of a batch that have a modality, by modality.

        Raises:
            InputError: a view or caption that was not asked for beforehand.
        """
        views = list(zip(batch["id"], batch["view"], strict=True))
        found = {}
        for modality, table in self._tables.items():
            flags = batch[f"present/{modality}"].tolist()
            keys = batch["caption"] if modality == "text" else views
            here = [key for key, is_present in zip(keys, flags, strict=True) if is_present]
            rows = [self._rows[modality].get(key, -1) for key in here]
            if -1 in rows:
                raise InputError(
                    f"The precomputed answers hold no {modality} {here[rows.index(-1)]!r}. Give the DataModule "
                    f"`views: {self.views}`, the number that was asked for."
                )
            if rows:
                found[modality] = table[torch.tensor(rows, dtype=torch.long, device=table.device)]
        return found

    def _compute_media(
        self,
        modality: str,
        data: ViewSource,
        views: Mapping[str, tuple[int, ...]],
        preprocess: Preprocess,
        encode: Encode,
        device: torch.device,
    ) -> None:
        rows: dict[Any, int] = {}
        parts: list[Tensor] = []
        for split, wanted in views.items():
            for batch in data.views_loader(split, wanted, preprocess, self.batch_size):
                parts.append(encode(modality, batch[modality].to(device)).float())
                for key in zip(batch["id"], batch["view"], strict=True):
                    rows[key] = len(rows)
        if parts:
            self._rows[modality] = rows
            self._tables[modality] = torch.cat(parts)

    def _compute_texts(self, texts: list[str], preprocess: Preprocess, encode: Encode, device: torch.device) -> None:
        assert preprocess.text is not None
        by_length = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))  # less padding
        parts = []
        size = self.batch_size * TEXTS_A_MEDIUM
        for start in range(0, len(texts), size):
            tokens = preprocess.text([texts[row] for row in by_length[start : start + size]])
            parts.append(encode("text", tokens.to(device)).float())
        self._rows["text"] = {texts[row]: place for place, row in enumerate(by_length)}
        if parts:
            self._tables["text"] = torch.cat(parts)

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = json.dumps({name: list(rows) for name, rows in self._rows.items()}).encode()
        tables = {name: table.cpu() for name, table in self._tables.items()}
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # several ranks may write the same file
        try:
            save_file({**tables, KEYS: torch.frombuffer(bytearray(keys), dtype=torch.uint8)}, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        try:
            tables = load_file(path)
            keys = json.loads(tables.pop(KEYS).numpy().tobytes())
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}). Delete it; it is computed again.") from error
        self._tables = tables
        self._rows = {
            modality: {key if modality == "text" else tuple(key): row for row, key in enumerate(listed)}
            for modality, listed in keys.items()
        }


def _fingerprint(network: nn.Module, facts: list[Any]) -> str:
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
