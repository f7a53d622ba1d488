"""What a store is to hold: which tables, made from what. Every process plans the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.teachers.cache.answering import columns_of
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.facts import facts_of_data, facts_of_teacher
from kdmm.teachers.cache.keys import TEXTS
from kdmm.teachers.cache.precision import full_name
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.table_plan import Missing, TablePlan, table_name
from kdmm.teachers.cache.version import VERSION
from kdmm.teachers.teacher import Running

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """A store.

    Args:
        facts: what it is made from, by name.
        views: K of the training samples.
        settings: how it is written.
        tables: by name.
        scales: each teacher's ``logit_scale`` and so on, by its name in a batch.
        ensemble: how several teachers are one; none of a single one.
    """

    facts: Mapping[str, str]
    views: int
    settings: Settings
    tables: Mapping[str, TablePlan]
    scales: Mapping[str, Mapping[str, Tensor]]
    ensemble: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        teachers: Mapping[str, Running],
        data: CacheSource,
        settings: Settings,
        ensemble: Mapping[str, Any],
        positions: Missing | None = None,
    ) -> Plan:
        """Plan a store.

        Args:
            teachers: that run, by their names in a batch.
            data: the DataModule.
            settings: how it is written.
            ensemble: how several teachers are one.
            positions: what is answered, where it is not everything.

        Raises:
            InputError: the data have no fixed views or no such split, or an output cannot be kept.
        """
        for split in settings.splits:
            if not data.has(split):
                raise InputError(f"splits: the data have no {split} split. Leave it out of --splits.")
        read = {each for teacher in teachers.values() for each in teacher.preprocess.modalities}
        if data.views is None and "train" in settings.splits and any(each not in TEXTS for each in read):
            raise InputError(
                "views: the DataModule has `views: null`, a new view of a sample in every pass, and a store holds a "
                "fixed number. Set `data.views`, such as 8."
            )
        tables, scales, said = {}, {}, set[str]()
        facts: dict[str, str] = facts_of_data(data.facts, read)
        facts |= facts_of_samples(data, settings.splits, tuple(sorted(read)))
        for part, teacher in teachers.items():
            facts |= facts_of_teacher(part, teacher)
            found, scales[part], names = columns_of(part, teacher, data, settings)
            said |= names
            for reads, columns in found.items():
                name, preprocess = table_name(part, reads), teacher.preprocess.only(*reads)
                missing = None if positions is None else positions[name]
                tables[name] = TablePlan.of(part, reads, preprocess, columns, data, settings, missing)
        asked = {"outputs": settings.outputs, "format": tuple(filter(None, settings.formats))}
        for setting, wanted in asked.items():
            for name in wanted:
                if name not in said:
                    known = ", ".join(sorted(said)) or "nothing"
                    raise InputError(f"{setting}: the teacher gives no {name!r}, but {known}.{nearest(name, said)}")
                if settings.outputs and name not in settings.outputs:
                    raise InputError(f"format: {name!r} is not kept, but {', '.join(settings.outputs)}. Leave it out.")
        return cls(facts, data.views or 1, settings, tables, scales, ensemble)

    @property
    def described(self) -> dict[str, str]:
        """The facts and settings that the files depend on, by name."""
        own = self.settings
        return {
            "version": str(VERSION),
            **self.facts,
            "views": str(self.views),
            "splits": ", ".join(own.splits),
            "batch size": str(own.batch_size),
            "rows of a shard": str(own.shard_rows),
            "precision": full_name(own.precision),
            "ensemble": repr(dict(self.ensemble)),
            **{
                f"format of {name}.{column.name}": column.format.name
                for name, table in self.tables.items()
                for column in table.columns.values()
            },
        }


def facts_of_samples(data: CacheSource, splits: Sequence[str], read: Sequence[str]) -> dict[str, str]:
    """Return what changes with the samples of each split, and with each source's shards.

    Args:
        data: the DataModule.
        splits: which of its splits.
        read: modalities whose media count.
    """
    found = {}
    for split in splits:
        samples, digest, count = data.everything(split), hashlib.blake2b(digest_size=8), 0
        for place, identity in samples.identified(read):
            texts = (*place.sample.captions, place.sample.source)
            digest.update(repr((place.name, identity, texts)).encode("utf-8", "replace"))
            count += 1
        found[f"samples of {split}"] = f"{count}, {digest.hexdigest()}"
        found |= {f"{split} shards of {name}": repr(each) for name, each in samples.identities().items()}
    return found
