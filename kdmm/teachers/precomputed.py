"""A teacher that answers every view and caption of a data set once, before training, and is looked up afterwards.

The idea is MobileCLIP's data set reinforcement (https://arxiv.org/abs/2311.17049): a few stored augmentations an image.
Here a view is replayed from (sample id, view), so no augmentation is stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models import Preprocess
from kdmm.outputs import Outputs, scatter_present
from kdmm.teachers.teacher import Frozen, Teacher, ViewSource
from kdmm.views import EVAL_VIEW

__all__ = ["Precomputed"]

KEYS = "keys"  # the name of the table of keys, JSON as bytes, beside the embeddings


class Precomputed(Teacher):
    """A running teacher's embeddings, computed once for ``views`` views of every training image and every caption.

    The key is (sample id, view) for a picture and the text itself for a caption, never a position. Use the same number
    of ``views`` in the DataModule.

    Args:
        teacher: the running teacher.
        views: K, how many views of each training image.
        store: a folder that keeps the embeddings for later runs, in a file named by a fingerprint of the teacher's
            weights and preprocessing, the augmentation, the sample ids and the captions; ``None`` keeps them in memory.
        batch_size: pictures, or captions, at a time.
        precision: that the teacher runs in; embeddings are float32.
    """

    def __init__(
        self,
        teacher: Frozen,
        views: int,
        store: str | None = None,
        batch_size: int = 64,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__()
        if views < 1:
            raise InputError(f"Precomputed.views: {views} given, at least 1 view is needed.")
        self._held = (teacher,)
        self.views = views
        self.store = None if store is None else Path(store)
        self.batch_size = batch_size
        self.precision = precision
        self.preprocess = Preprocess()  # reads ids, views and captions, which every batch holds
        self._rows: dict[str, dict[Any, int]] = {"image": {}, "text": {}}
        self._tables: dict[str, Tensor] = {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Precomputed:
        super()._apply(fn, recurse)
        self.online()._apply(fn, recurse)
        self._tables = {name: fn(table) for name, table in self._tables.items()}
        return self

    def online(self) -> Frozen:
        """Return the running teacher."""
        return self._held[0]

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Embed, or read from ``store``, every view of the train split, the plain view of others, and all captions."""
        splits = list(splits)
        texts = data.texts(splits)
        views = {split: tuple(range(self.views)) if split == "train" else (EVAL_VIEW,) for split in splits}
        path = None
        if self.store is not None:
            path = self.store / f"{self._fingerprint(data, texts, views)}.safetensors"
        if path is None or not path.is_file():
            self._compute(data, texts, views)
            if path is not None:
                self._write(path)
        else:
            self._read(path)
        device = next(self.online().model.parameters()).device
        self._tables = {name: table.to(device) for name, table in self._tables.items()}

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Look the batch up.

        Raises:
            InputError: a view or caption that was not computed.
        """
        outputs = {name: self._tables[name] for name in ("logit_scale", "logit_bias") if name in self._tables}
        keys = {"image": list(zip(batch["id"], batch["view"], strict=True)), "text": batch["caption"]}
        for modality, wanted in keys.items():
            flag = batch[f"present/{modality}"]
            here = [key for key, is_present in zip(wanted, flag.tolist(), strict=True) if is_present]
            rows = [self._rows[modality].get(key, -1) for key in here]
            if -1 in rows:
                raise InputError(
                    f"The teacher's precomputed answers hold no {modality} {here[rows.index(-1)]!r}. Give the DataModule "
                    f"`views: {self.views}`, the number that the teacher was asked for."
                )
            table = self._tables[modality]
            outputs[modality] = scatter_present(table[torch.tensor(rows, dtype=torch.long, device=table.device)], flag)
            outputs[f"present/{modality}"] = flag
        return outputs

    def _compute(self, data: ViewSource, texts: list[str], views: Mapping[str, tuple[int, ...]]) -> None:
        preprocess = self.online().preprocess
        parts: dict[str, list[Tensor]] = {"image": [], "text": []}
        self._rows = {"image": {}, "text": {text: row for row, text in enumerate(texts)}}
        for split in views:
            for batch in data.views_loader(split, views[split], preprocess, self.batch_size):
                outputs = self._answer({"image": batch["image"]})
                parts["image"].append(outputs["image"])
                for key in zip(batch["id"], batch["view"], strict=True):
                    self._rows["image"][key] = len(self._rows["image"])
        by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # less padding
        tokenize = preprocess.text
        if tokenize is not None and texts:
            for start in range(0, len(texts), self.batch_size):
                chosen = by_length[start : start + self.batch_size]
                outputs = self._answer({"text": tokenize([texts[row] for row in chosen])})
                parts["text"].append(outputs["text"])
            parts["text"] = [torch.cat(parts["text"])[torch.tensor(by_length).argsort()]]
        self._tables = {name: torch.cat(rows).clone() for name, rows in parts.items() if rows}
        for name in ("logit_scale", "logit_bias"):
            if name in outputs:
                self._tables[name] = outputs[name].clone()

    def _answer(self, inputs: dict[str, Tensor]) -> Outputs:
        model = self.online().model
        device = next(model.parameters()).device
        context = nullcontext() if self.precision == "float32" else torch.autocast(device.type, torch.bfloat16)
        with context:
            answered = self.online()({name: value.to(device) for name, value in inputs.items()})
        return {name: value.cpu() for name, value in answered.items()}

    def _fingerprint(self, data: ViewSource, texts: list[str], views: Mapping[str, tuple[int, ...]]) -> str:
        teacher = self.online()
        digest = hashlib.blake2b(digest_size=16)
        for name, value in teacher.model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        facts = [repr(teacher.preprocess), self.precision, data.fingerprint, sorted(views.items()), texts, torch.__version__]
        digest.update(json.dumps(facts).encode())
        return digest.hexdigest()

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = json.dumps({name: list(rows) for name, rows in self._rows.items()}).encode()
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # several ranks may write the same file
        try:
            save_file({**self._tables, KEYS: torch.frombuffer(bytearray(keys), dtype=torch.uint8)}, partial)
            os.replace(partial, path)
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
            "image": {(sample, view): row for row, (sample, view) in enumerate(keys["image"])},
            "text": {text: row for row, text in enumerate(keys["text"])},
        }
