"""One teacher's answers, read where the teacher would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kdmm.errors import InputError
from kdmm.models import Preprocess
from kdmm.outputs import Outputs, scatter_present
from kdmm.teachers.cache.answering import answer, inputs_of
from kdmm.teachers.cache.keys import TEXTS, WRITTEN, keys_of
from kdmm.teachers.cache.precision import check_precision, under
from kdmm.teachers.cache.store import StoredTable, merge_rows
from kdmm.teachers.cache.table import VALID
from kdmm.teachers.teacher import Running, Teacher

__all__ = ["Reader"]

FIRST_VIEW = 0


class Reader(Teacher):
    """Looks a teacher's answers up, and lets it answer what is not there if it runs beside.

    Args:
        tables: the teacher's.
        scales: its ``logit_scale`` and so on.
        name: of the store, for messages.
        running: answers what is not there, from what it reads of the batch; ``None``: that is an error.
        example: the batch only shows shapes: the sample's first view, or anything, stands in for what is not there.
        precision: that the store was written in, and the running teacher answers in whatever the Trainer's is.

    Raises:
        InputError: a teacher runs, and cannot in this precision.
    """

    def __init__(
        self,
        tables: Sequence[StoredTable],
        scales: Mapping[str, float],
        name: str,
        running: Running | None = None,
        example: bool = False,
        precision: str = "32-true",
    ) -> None:
        super().__init__()
        self.tables = list(tables)
        self.scales = dict(scales)
        self.name = name
        self.example = example
        self.precision = precision
        self._running: tuple[Running, ...] = () if running is None else (running,)  # a tuple is no registered submodule
        self.preprocess = Preprocess() if running is None else running.preprocess
        if running is not None:
            check_precision(precision)

    def online(self) -> Reader:
        """Return itself."""
        return self

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Look the batch up.

        Args:
            batch: with ``id``, ``view``, ``caption``, ``present/<modality>`` and, where it is read, ``source_text``.

        Raises:
            InputError: an answer is not there, and no teacher runs.
        """
        outputs: dict[str, Tensor] = {}
        for table in self.tables:
            flags = [batch[name] for each in table.reads if (name := f"present/{each}") in batch]
            if len(flags) < len(table.reads):  # the DataModule speaks of other modalities alone
                continue
            flag = torch.stack(flags).all(0)
            here = flag.tolist()
            keys = keys_of(table.reads, batch, here)
            rows = table.find(keys)
            if self.example:
                rows = self._any(table, batch, here, rows)
            lacking = (rows < 0).nonzero().flatten()
            if not len(lacking):
                found = table.gather(rows)
            elif self._running:
                found = self._answered(table, batch, here, rows)
            else:
                raise InputError(self._lacks(table, batch, here, int(lacking[0]), len(lacking)))
            for name, x in found.items():
                kept = name.removeprefix(VALID)
                placed = scatter_present(x.to(flag.device), flag) if x.dtype != torch.bool else _placed(x, flag)
                outputs[name], outputs[f"present/{kept}"] = placed, flag
        device = next((x.device for x in outputs.values()), torch.device("cpu"))
        scales = {name: torch.tensor(x, dtype=torch.float32, device=device) for name, x in self.scales.items()}
        return {**scales, **outputs}

    def _answered(
        self, table: StoredTable, batch: Mapping[str, Any], here: Sequence[bool], rows: Tensor
    ) -> dict[str, Tensor]:
        """Return the answers, of the running teacher where there are none."""
        (running,) = self._running
        wanted = running.preprocess.only(*table.reads)
        inputs = {}
        for modality, x in inputs_of(batch, wanted).items():
            if isinstance(x, Tensor):  # of the samples that have this modality, those that have all and are not there
                own = torch.tensor(here)[batch[f"present/{modality}"].cpu()]
                x = x[own.to(x.device)][(rows < 0).to(x.device)]
            inputs[modality] = x
        with under(self.precision, [running]) as step, step.context():
            outputs = answer(running, step.moved(inputs))
        names = [each for name in table.columns for each in (name, f"{VALID}{name}") if each in outputs]
        fresh = {name: outputs[name] if name.startswith(VALID) else outputs[name].float() for name in names}
        device = next(iter(fresh.values())).device
        known = {name: x.to(device) for name, x in table.gather(rows[rows >= 0]).items()}
        if not bool((rows >= 0).any()):
            return fresh
        return merge_rows([known, fresh], [(rows >= 0).nonzero().flatten(), (rows < 0).nonzero().flatten()])

    def _any(self, table: StoredTable, batch: Mapping[str, Any], here: Sequence[bool], rows: Tensor) -> Tensor:
        """Return rows that are there: of the sample's first view, or any."""
        firsts = {**batch, "view": [FIRST_VIEW] * len(batch["view"])}
        return torch.where(rows < 0, table.find(keys_of(table.reads, firsts, here)), rows).clamp(min=0)

    def _lacks(self, table: StoredTable, batch: Mapping[str, Any], here: Sequence[bool], place: int, count: int) -> str:
        place = [row for row, has in enumerate(here) if has][place]
        texts = [repr(batch[WRITTEN[each]][place]) for each in table.reads if each in TEXTS]
        viewed = [] if len(texts) == len(table.reads) else [f"view {batch['view'][place]} of {batch['id'][place]!r}"]
        return (
            f"{self.name} holds no answer to {' with '.join([*viewed, *texts])} ({count} in this batch). Add what is "
            "missing with `fill: online` of kdmm.teachers.Cached, take kdmm.teachers.Hybrid, or write a store of these "
            "data with `kdmm cache`."
        )


def _placed(valid: Tensor, flag: Tensor) -> Tensor:
    return scatter_present(valid.to(flag.device).float(), flag).bool()
