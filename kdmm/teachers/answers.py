"""What a frozen network answers to a data set, computed once before training and looked up afterwards.

The idea is MobileCLIP's data set reinforcement (https://arxiv.org/abs/2311.17049): a few stored augmentations an image.
Here a view is replayed from (sample id, view), so no augmentation is stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models import Preprocess
from kdmm.teachers.cache.facts import facts_of_model
from kdmm.teachers.cache.files import mapped, to_cpu, write_tensors
from kdmm.teachers.cache.formats import parse_format
from kdmm.teachers.cache.keys import Index, keys_of, text_key, view_key
from kdmm.teachers.cache.table import KEY, Column, Table
from kdmm.teachers.view_source import ViewSource
from kdmm.views import EVAL_VIEW

__all__ = ["Answers", "Encode"]

TEXTS_A_MEDIUM = 8  # a caption costs far less memory than a picture or sound: so many more are answered at a time
ANSWER = "answer"  # the one column of a table

Encode = Callable[[str, Tensor], Tensor]
"""A modality and N inputs to N answers (N, W)."""


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
        self._tables: dict[str, Table] = {}

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
                sorted(facts_of_model(network, preprocess).items()),
                self.precision,
                data.fingerprint,
                sorted(views.items()),
                texts,
                torch.__version__,
                list(names),
            ]
            digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
            path = self.store / f"{digest.hexdigest()}.safetensors"
        weights = next(network.parameters())
        if path is not None and path.is_file():
            self._read(path)
        else:
            device, mixed = weights.device.type, self.precision == "bfloat16"
            with torch.no_grad(), torch.autocast(device, torch.bfloat16) if mixed else nullcontext():
                for modality in preprocess.media:
                    self._compute_media(modality, data, views, preprocess.only(modality), encode, weights)
                if preprocess.text is not None:
                    self._compute_texts(texts, preprocess, encode, weights.device)
            if path is not None:
                self._write(path)
        self._tables = {name: table.to(weights.device) for name, table in self._tables.items()}

    @property
    def widths(self) -> dict[str, int]:
        """W of the answers, by modality; nothing of one that the data lack."""
        return {name: table.columns[ANSWER].shape[0] for name, table in self._tables.items()}

    def rows(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the answers (N, W) to the N samples of a batch that have a modality, by modality.

        Raises:
            InputError: a view or caption that was not asked for beforehand.
        """
        found = {}
        for modality, table in self._tables.items():
            here = batch[f"present/{modality}"].tolist()
            rows = table.find(keys_of((modality,), batch, here))
            if bool((rows < 0).any()):
                asked = batch["caption"] if modality == "text" else list(zip(batch["id"], batch["view"], strict=True))
                lacking = [each for each, has in zip(asked, here, strict=True) if has][int((rows < 0).nonzero()[0])]
                raise InputError(
                    f"The precomputed answers hold no {modality} {lacking!r}. Give the DataModule "
                    f"`views: {self.views}`, the number that was asked for."
                )
            if len(rows):
                found[modality] = table.gather(rows)[ANSWER]
        return found

    def _compute_media(
        self,
        modality: str,
        data: ViewSource,
        views: Mapping[str, tuple[int, ...]],
        preprocess: Preprocess,
        encode: Encode,
        like: Tensor,
    ) -> None:
        keys: list[int] = []
        parts: list[Tensor] = []
        for split, wanted in views.items():
            for batch in data.views_loader(split, wanted, preprocess, self.batch_size):
                parts.append(encode(modality, batch[modality].to(like)).float())
                keys += map(view_key, batch["id"], batch["view"])
        if parts:
            self._tables[modality] = _table(keys, torch.cat(parts))

    def _compute_texts(self, texts: list[str], preprocess: Preprocess, encode: Encode, device: torch.device) -> None:
        assert preprocess.text is not None
        by_length = sorted(texts, key=len)  # less padding
        parts = []
        size = self.batch_size * TEXTS_A_MEDIUM
        for start in range(0, len(texts), size):
            tokens = preprocess.text(by_length[start : start + size])
            parts.append(encode("text", tokens.to(device)).float())
        if parts:
            self._tables["text"] = _table([text_key(text) for text in by_length], torch.cat(parts))

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for modality, table in self._tables.items():
            tensors[modality] = table.parts[0][ANSWER]
            tensors[f"{modality}.{KEY}"] = table.index.keys
            tensors[f"{modality}.row"] = table.index.rows
        write_tensors(path, to_cpu(tensors))

    def _read(self, path: Path) -> None:
        tensors = mapped(path)
        modalities = [name for name in tensors if "." not in name]
        try:
            self._tables = {
                name: _of_index(Index(tensors[f"{name}.{KEY}"], tensors[f"{name}.row"]), tensors[name])
                for name in modalities
            }
        except KeyError as error:
            raise InputError(f"{path} is damaged (no {error}). Delete it; it is computed again.") from error


def _table(keys: Sequence[int], answers: Tensor) -> Table:
    return _of_index(Index.of(torch.tensor(keys, dtype=torch.long)), answers)


def _of_index(index: Index, answers: Tensor) -> Table:
    return Table(
        [{ANSWER: answers}], {ANSWER: Column(ANSWER, parse_format("float32"), tuple(answers.shape[1:]))}, index
    )
