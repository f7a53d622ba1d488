"""Loaders: from a plan to batches, made here or in workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from kdmm.data.batches import BatchMaker, Failure, map_tensors, start_worker
from kdmm.data.plans import Plan, TrainingPlan, ViewPlan
from kdmm.errors import InputError

__all__ = ["MODEL", "EvaluationLoader", "Loader", "TrainingLoader", "ViewLoader"]

MODEL = "model"
"""The one model's name in what makes the batches of a `ViewLoader`."""


class Loader(ABC):
    """Batches in the order of a plan.

    It is no DataLoader, so that Lightning puts no sampler of its own into it. Call `close` when it is done with: left
    to Python's garbage collector, the queues of workers may close their files twice, and others' with them.

    Args:
        maker: answers the requests.
        plan: what is asked for.
        workers: processes that answer; 0: this one.
        persistent: whether the workers wait for the next iteration.
    """

    def __init__(self, maker: BatchMaker, plan: Plan, workers: int, persistent: bool = True) -> None:
        self.plan = plan
        self._loader = DataLoader(
            maker,
            batch_size=None,
            sampler=plan,
            collate_fn=_Carried,
            num_workers=workers,
            worker_init_fn=start_worker if workers else None,
            persistent_workers=persistent and workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # a loader draws a seed for its workers: not from the run's generator
        )

    def __len__(self) -> int:
        return len(self.plan)

    @abstractmethod
    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield batches. Nothing is read before the first is asked for."""

    def batches(self, pass_over_skipped: bool = False) -> Iterator[dict[str, Any]]:
        """Yield batches in the order of the plan.

        Args:
            pass_over_skipped: leave a batch out of which every sample was skipped, where that is no error.

        Raises:
            InputError: a sample is bad, or a source cannot go on.
        """
        for carried in self._loader:
            batch = carried.content
            if not isinstance(batch, Failure):
                yield batch
            elif not (batch.all_skipped and pass_over_skipped):
                self.close()
                raise InputError(batch.message)

    def close(self) -> None:
        """End the workers; a new iteration starts others."""
        iterator, self._loader._iterator = self._loader._iterator, None
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            iterator._shutdown_workers()  # DataLoader has no public way to end workers that persist


class _Carried:
    """Carries a batch through DataLoader, which would make lists of its tuples and split the tensors that it shares."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def pin_memory(self) -> _Carried:
        return _Carried(map_tensors(self.content, torch.Tensor.pin_memory))


class TrainingLoader(Loader):
    """The training batches of this rank, endless over epochs: each iteration ends with the epoch.

    Lightning moves it by ``batch_sampler.sampler.set_epoch`` and by its checkpoints.

    Args:
        maker: answers the requests.
        plan: its position moves along.
        workers: processes that answer.
    """

    def __init__(self, maker: BatchMaker, plan: TrainingPlan, workers: int) -> None:
        super().__init__(maker, plan, workers)
        self.place = plan.place
        self.position = plan.position
        self.fixed = [name for name, feed in plan.feeds.items() if feed.depends_on_readers]
        self.batch_sampler = SimpleNamespace(sampler=plan.position)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rest of the epoch, and move the position along."""
        if self.position.batch >= len(self):
            self.position.move(self.position.epoch + 1, 0)
        epoch, first = self.position.epoch, self.position.batch
        for number, batch in enumerate(self.batches(), start=first + 1):
            self.position.move(*((epoch, number) if number < len(self) else (epoch + 1, 0)))
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands: Lightning keeps it in its checkpoints."""
        return {"epoch": self.position.epoch, "batch": self.position.batch, "readers": self.place.readers}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to where a checkpoint stood.

        Raises:
            InputError: the number of workers has changed, and a source's order depends on it.
        """
        if self.fixed and state["readers"] != self.place.readers:
            raise InputError(
                f"workers: the run was started with {state['readers']}, and the order of the source {self.fixed[0]!r} "
                "depends on it. Resume with the same number (0 and 1 are the same)."
            )
        self.position.move(state["epoch"], state["batch"])


class EvaluationLoader(Loader):
    """This rank's part of a split, in order."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield all batches."""
        return self.batches()


class ViewLoader(Loader):
    """Chosen views of every picture or sound, once, in a fixed order: what a precomputed teacher looks at.

    Args:
        maker: answers the requests, for one model called `MODEL`.
        plan: what is asked for.
        workers: processes that answer.
    """

    def __init__(self, maker: BatchMaker, plan: ViewPlan, workers: int) -> None:
        super().__init__(maker, plan, workers, persistent=False)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield batches with what the model reads on top; one of skipped samples alone is passed over."""
        for batch in self.batches(pass_over_skipped=True):
            yield {**batch, **batch.pop(MODEL)}
