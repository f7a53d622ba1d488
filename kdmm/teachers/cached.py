"""Teachers that are read from a store that `kdmm cache` wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models import Preprocess
from kdmm.outputs import Batch, Outputs
from kdmm.teachers.cache.adding import add
from kdmm.teachers.cache.data import CacheSource
from kdmm.teachers.cache.fitness import check_data, check_files, check_samples, check_teacher, check_views
from kdmm.teachers.cache.lacking import lacks
from kdmm.teachers.cache.members import joined, members_of, recipe_of
from kdmm.teachers.cache.reader import Reader
from kdmm.teachers.cache.store import Store
from kdmm.teachers.teacher import Running, Teacher
from kdmm.teachers.view_source import ViewSource

__all__ = ["Cached", "Hybrid", "StoredTeacher"]


class StoredTeacher(Teacher):
    """A teacher, or an ensemble, whose answers are in a store.

    Args:
        store: its folder.
        teacher: the running one, if any. How its teachers are one, if it is an `Ensemble`, then counts, and not what
            the store was written with.
        check: whether the files' ``content`` is compared with their checksums before training, which reads each once,
            or their ``size`` alone.
    """

    runs_beside: ClassVar[bool] = False
    """Whether the running teacher answers what is not there, batch by batch."""

    def __init__(self, store: str, teacher: Teacher | None, check: Literal["content", "size"]) -> None:
        super().__init__()
        self.folder = Path(store)
        self.check = check
        self._held: tuple[Teacher, ...] = () if teacher is None else (teacher,)  # a tuple is no registered submodule
        self._device = torch.device("cpu")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StoredTeacher:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        self._device = fn(torch.zeros(0, device=self._device)).device
        for teacher in self._held:
            teacher.to(self._device)  # and not the type: it answers in the store's precision, whatever the Trainer's is
        return self

    @cached_property
    def store(self) -> Store:
        """The store, opened when it is first asked for: measuring a finished run needs none."""
        return Store(self.folder)

    @property
    def running(self) -> dict[str, Running]:
        """The running teachers, by their names in a batch."""
        return members_of(self._held[0]) if self._held else {}

    @cached_property
    def looked_up(self) -> Teacher:
        """What reads the store."""
        return self.reading()

    def reading(self, example: bool = False) -> Teacher:
        """Return what reads the store.

        Args:
            example: as for :class:`kdmm.teachers.cache.reader.Reader`.
        """
        running, name, parts = self.running, f"The store {self.folder}", self.store.parts
        precision = self.store.facts["precision"]
        members = {
            part: Reader(
                self.store.tables_of(part),
                parts[part],
                name,
                running.get(part) if self.runs_beside else None,
                example,
                precision,
            )
            for part in running or parts  # an ensemble's embeddings stand side by side in the order of its teachers
        }
        return joined(members, recipe_of(self._held[0]) if self._held else self.store.manifest["ensemble"])

    def check_made_for(self, data: CacheSource) -> None:
        """Refuse a store that is damaged, or made from another teacher or for other data.

        Raises:
            InputError: the message names what differs.
        """
        check_files(self.store, self.check == "content", self._device)
        check_data(self.store, data)
        if self._held:
            check_teacher(self.store, self.running)

    def answer(self, batch: Batch) -> Outputs:
        """Return what the store holds for a batch."""
        return self.looked_up.answer(batch)

    def forward(self, batch: Any) -> Outputs:
        """Return what the store holds for a teacher's part of a batch."""
        outputs: Outputs = self.looked_up(batch)
        return outputs


class Cached(StoredTeacher):
    """A teacher whose answers `kdmm cache` has stored; neither its weights nor what it reads are needed.

    It refuses a store that was made for something else: another augmentation, number of views, versions of what
    makes pixels, other samples, or another ``teacher`` where one is given. A store may hold more samples and views
    than are asked for. Rows of a table may come in another order where they have ids. Every sample, view and caption
    that is missing is named before training, those of a `WebDataset` too, but for shards behind URLs: there the first
    one stops the run. The data may lie elsewhere than they did: their content is compared, not their paths and times.

    Data set reinforcement (Faghri et al. 2023, https://arxiv.org/abs/2303.08983; Vasu et al. 2024,
    https://arxiv.org/abs/2311.17049) is such a store of several views under a strong augmentation, all captions, and an
    `Ensemble`, whose members' answers are stored one by one and combined when they are read, as the ``teacher`` says,
    or without one as the store was written; their affinities can be given a temperature each, by a term on ``a/image``
    and ``a/text`` for each.

    Args:
        store: the folder.
        teacher: the running teacher, such as ``FromRun``, with which a finished run is measured, and ``fill`` adds;
            without it the student is measured alone.
        fill: what samples, views and captions that the store lacks are: an ``error``, or answered by the ``teacher``
            before training, in the precision of the store, and added to it (``online``).
        check: as for :class:`StoredTeacher`.

    Raises:
        InputError: ``fill: online`` without a teacher.
    """

    def __init__(
        self,
        store: str,
        teacher: Teacher | None = None,
        fill: Literal["error", "online"] = "error",
        check: Literal["content", "size"] = "content",
    ) -> None:
        super().__init__(store, teacher, check)
        if fill == "online" and teacher is None:
            raise InputError("Cached.fill: online needs the running `teacher`, such as kdmm.teachers.FromRun.")
        self.fill = fill

    @property
    def preprocess(self) -> Preprocess:  # type: ignore[override]  # computed where others keep it
        """Nothing: ids, views and captions are in every batch."""
        return Preprocess()

    @property
    def preprocesses(self) -> dict[str, Preprocess]:
        """Nothing, under the name of each teacher."""
        return {part: Preprocess() for part in self.store.parts}

    @property
    def outlasts_training(self) -> bool:
        """Whether there is a running teacher to measure a finished run with."""
        return bool(self._held)

    def online(self) -> Teacher:
        """Return the running teacher; without one, what shows the shapes of its answers."""
        return self._held[0].online() if self._held else _Example(self)

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Check that the store is whole and was made for these data; add what is missing, if that is asked for.

        Raises:
            InputError: it is not; the message names what differs.
        """
        source, splits = cast(CacheSource, data), tuple(splits)
        self.check_made_for(source)
        check_samples(self.store, source, splits)
        if self.fill == "online":
            if add(self.store, self.running, source, splits):
                self.__dict__.pop("store", None)
                self.__dict__.pop("looked_up", None)
            return
        check_views(self.store, source, splits)
        if absent := lacks(self.store, source, splits):
            raise InputError(
                f"The store {self.folder} lacks {'; '.join(absent)}. Add them with `fill: online` and the running "
                "`teacher`, take kdmm.teachers.Hybrid, or write a store of these data with `kdmm cache`."
            )


class Hybrid(StoredTeacher):
    """A teacher that is read where its answer is stored, and runs elsewhere: new samples, captions or views.

    It reads what the running teacher reads, of all samples, since batches are made before it is known what is stored.
    What runs answers in the precision that the store was written in, as what is stored did, whatever the Trainer's is.

    Args:
        store: the folder.
        teacher: the running teacher.
        check: as for :class:`StoredTeacher`.
    """

    runs_beside: ClassVar[bool] = True

    def __init__(self, store: str, teacher: Teacher, check: Literal["content", "size"] = "content") -> None:
        super().__init__(store, teacher, check)

    @property
    def preprocess(self) -> Preprocess:  # type: ignore[override]  # computed where others keep it
        """The running teacher's."""
        return self._held[0].online().preprocess

    @property
    def preprocesses(self) -> dict[str, Preprocess]:
        """The running teachers', by name."""
        return self._held[0].online().preprocesses

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """The running teacher's."""
        return self._held[0].models

    def online(self) -> Teacher:
        """Return the running teacher."""
        return self._held[0].online()

    def prepare(self, data: ViewSource, splits: Iterable[str]) -> None:
        """Check that what the store holds was made with this teacher, for these data.

        Raises:
            InputError: it was not; the message names what differs.
        """
        source, splits = cast(CacheSource, data), tuple(splits)
        self.check_made_for(source)
        check_samples(self.store, source, splits)


class _Example(Teacher):
    """Shows the shapes of a store's answers to a batch that is of no view it holds."""

    def __init__(self, cached: Cached) -> None:
        super().__init__()
        self._cached = (cached,)
        self.preprocess = Preprocess()

    @property
    def preprocesses(self) -> dict[str, Preprocess]:
        """Nothing, under the name of each teacher."""
        return self._cached[0].preprocesses

    def online(self) -> _Example:
        """Return itself."""
        return self

    def answer(self, batch: Batch) -> Outputs:
        """Return the answers, to another view where there are none to this one."""
        return self._cached[0].reading(example=True).answer(batch)

    def forward(self, batch: Any) -> Outputs:
        """Return the answers to a teacher's part of a batch."""
        outputs: Outputs = self._cached[0].reading(example=True)(batch)
        return outputs
