"""The DataModule: sources of any modality in, batches for several models out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar, cast

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from kdmm.data.batches import ENTRIES, BatchMaker, Failure, map_tensors
from kdmm.data.counts import checked_batch_size, shared_out
from kdmm.data.everything import Everything
from kdmm.data.feed import Feed, Place
from kdmm.data.loader import MODEL, EvaluationLoader, Loader, TrainingLoader, ViewLoader
from kdmm.data.media_files import check_files
from kdmm.data.mixture import Mixture
from kdmm.data.plans import EvaluationPlan, Position, TrainingPlan, ViewPlan
from kdmm.data.rows import KINDS, Recipe, Transform
from kdmm.data.source import SPLITS, Source, Split
from kdmm.distributed import rank, world_size
from kdmm.errors import InputError, nearest
from kdmm.models.description import described
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import MODALITIES

__all__ = ["MultimodalDataModule"]

SomeLoader = TypeVar("SomeLoader", bound=Loader)


class MultimodalDataModule(pl.LightningDataModule):
    """Batches for a student and its teacher from one or several sources, whose samples may lack modalities.

    An epoch is one pass over the first source; the other sources go round beside it, each with passes of its own, so
    that the batch sizes state the ratio in which they are mixed. The first source is validated and tested on.

    Which samples training batch n of an epoch holds is a pure function of (seed, epoch, n, rank, number of ranks), and
    a view's augmentation and caption of (sample id, view): neither workers nor resuming change them.
    (:class:`kdmm.data.WebDataset` adds the number of workers.) Set ``use_distributed_sampler=False`` in the Trainer:
    ranks share the samples out here.

    Args:
        sources: one, or several by name.
        batch_size: samples a process takes from each source for a batch: one number a source, or one number for all;
            with ``temperature``, the samples of the whole batch, which the sources share.
        augment: transforms drawn for each view, before each model's own preprocessing, by modality: of a PIL image
            (``torchvision.transforms.v2``), or of an AudioClip (``kdmm.models.audio``). A list alone is for the one
            medium of an ImageTextDataModule or AudioTextDataModule.
        views: K, so that a sample's view in pass p is p modulo K; ``null`` draws a new view each pass.
        workers: processes that read; 0 reads in the training process.
        bad_samples: whether a picture, sound or caption that cannot be read stops the run or is left out and listed.
        seed: of the data order.
        eval_batch_size: samples a process takes for a batch of validation and testing; ``null``: as the first source
            in training.
        caption: which of several captions a training batch takes. Evaluation takes them all: the first beside its
            picture or sound, and each other one in a row of text alone with its id, after the batch's samples.
        remember: keep the preprocessed media of all ``views`` in memory, once they are made; each worker keeps its
            own.
        canvas: (height, width) in pixels that every picture is resized to after the augmentation, with what is marked
            in it. Without it, batches hold no boxes, masks or maps; a ``label_map`` they hold where a source names its
            classes (``Source.classes``).
        temperature: of the mixture: a source with n training samples gets a share of the batch in proportion to
            ``n ** (1 / temperature)`` (Arivazhagan et al. 2019, https://arxiv.org/abs/1907.05019), one sample at least.
            1 mixes as the data are, a large number takes from all alike; ``null``: ``batch_size`` states it.
    """

    medium: ClassVar[str | None] = None
    """What a list in ``augment`` is for."""
    modalities: ClassVar[tuple[str, ...]] = MODALITIES
    """What the batches speak of."""

    def __init__(
        self,
        sources: Source | Mapping[str, Source],
        batch_size: int | Mapping[str, int],
        augment: Sequence[Callable[[Any], Any]] | Mapping[str, Sequence[Callable[[Any], Any]]] | None = None,
        views: int | None = None,
        workers: int = 0,
        bad_samples: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        eval_batch_size: int | None = None,
        caption: Literal["random", "first"] = "random",
        remember: bool = False,
        temperature: float | None = None,
        canvas: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.mixture = Mixture(sources, seed)
        self.batch_size = checked_batch_size(batch_size, self.mixture.names("train"), temperature)
        self.temperature = temperature
        self.eval_batch_size = eval_batch_size
        self.augment = self._augment(augment)
        self.views = views
        self.workers = workers
        self.bad_samples = bad_samples
        self.seed = seed
        self.caption = caption
        self.remember = remember
        self.canvas = None if canvas is None else _checked_canvas(canvas)
        if remember and views is None:
            raise InputError("remember: true keeps the media of `views`, and `views` is null; set how many there are.")
        for setting, value, least in (
            ("eval_batch_size", 1 if eval_batch_size is None else eval_batch_size, 1),
            ("views", 1 if views is None else views, 1),
            ("workers", workers, 0),
        ):
            if value < least:
                raise InputError(f"{setting}: {value} given; it is at least {least}.")
        self._preprocess: dict[str, Preprocess] | None = None
        self._start = (0, 0)
        self._training: TrainingLoader | None = None
        self._resumed: dict[str, Any] = {}
        self._positions: list[Position] = []
        self._loaders: list[Loader] = []
        self._looked_at: set[Split] = set()

    def use(self, preprocess: Mapping[str, Preprocess]) -> None:
        """Set what each model reads.

        Args:
            preprocess: by the model's name in a batch, such as ``student`` and ``teacher``.
        """
        for name in preprocess:
            if name in ENTRIES:
                raise InputError(f"A model cannot be called {name!r}: a batch has an entry of that name.")
            for modality in preprocess[name].modalities:
                if modality not in self.modalities:
                    raise InputError(
                        f"data: the {name} reads {modality}, and {type(self).__name__} has "
                        f"{' and '.join(self.modalities)} alone. Take kdmm.data.MultimodalDataModule."
                    )
        self._preprocess = dict(preprocess)

    def position(self, epoch: int, batch: int) -> None:
        """Let training begin, or go on, with a batch of an epoch. Lightning's checkpoints do this by themselves."""
        self._start = (epoch, batch)
        for position in self._positions:
            position.move(epoch, batch)

    def setup(self, stage: str) -> None:
        """Read the sources of a stage, so that what is wrong with them shows before anything else is begun.

        For ``fit`` they are all that there are, the test split's too: its faults should not show after the training.
        Unless bad samples are skipped, the files that the models read must be there; none is opened, but for the heads
        of pictures whose size an annotation file states.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.
        """
        splits: dict[str, tuple[Split, ...]] = {"fit": SPLITS, "validate": ("val",), "test": ("test",)}
        for split in splits.get(stage, ()):
            if split in ("train", stage) or self.has(split):
                self._look_at(split)

    def has(self, split: Split) -> bool:
        """Return whether the first source has a split."""
        return self.mixture.has(split)

    def train_dataloader(self) -> TrainingLoader:
        """Return this rank's training batches, from `position` on."""
        feeds = self.mixture.feeds("train")
        maker = self._maker(feeds, self._models(), self.views, self.remember)
        position = Position(*self._start)
        self._positions.append(position)
        plan = TrainingPlan(feeds, self.counts(), self._place(), position)
        self._training = TrainingLoader(maker, plan, self.workers)
        if self._resumed:
            self._training.load_state_dict(self._resumed)
            self._resumed = {}
        return self._opened(self._training)

    def state_dict(self) -> dict[str, Any]:
        """Return where training stands, for a checkpoint.

        Lightning also keeps the loader's own state, but does not give it back where something asked for the length of
        training (``estimated_stepping_batches``) before the checkpoint was read.
        """
        return {} if self._training is None else self._training.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader go on where a checkpoint stood."""
        self._resumed = dict(state_dict)

    def val_dataloader(self) -> Loader | list[Any]:
        """Return this rank's part of the first source's val split; an empty list if it has none."""
        return self._evaluation("val") if self.has("val") else []

    def test_dataloader(self) -> Loader:
        """Return this rank's part of the first source's test split."""
        return self._evaluation("test")

    def views_loader(
        self, split: Split, views: Iterable[int], preprocess: Preprocess, batch_size: int
    ) -> Iterable[Mapping[str, Any]]:
        """Return every sample that has a medium under each of the views, in a fixed order, on every rank all of them.

        A batch holds ``id``, ``view`` and ``caption`` as in training, and what one model reads, such as ``image``
        (B, 3, H, W).

        Args:
            split: of ``train``, all sources; else the first.
            views: their numbers; ``EVAL_VIEW`` is the one without augmentation.
            preprocess: the model's, of one medium alone.
            batch_size: of these batches.

        Raises:
            InputError: a source gives no list of its samples.
        """
        feeds = self.mixture.feeds(split)
        samples = {name: feed.samples for name, feed in feeds.items()}
        (modality,) = preprocess.media
        alone = {MODEL: preprocess.only(modality)}
        maker = self._maker(feeds, alone, views=None)  # the numbers given are views, not passes
        return self._opened(ViewLoader(maker, ViewPlan(samples, modality, tuple(views), batch_size), self.workers))

    def everything(self, split: Split) -> Everything:
        """Return all samples of a split at their positions: of ``train`` those of all sources, else of the first.

        Args:
            split: one that the first source has.
        """
        return Everything(
            self.mixture.feeds(split),
            lambda feeds, preprocess: self._maker(feeds, preprocess, views=None),  # the numbers given are views
            len(self.mixture.sources) > 1,
            self.canvas,
            self.workers,
            self._opened,
        )

    def dry_batch(self, preprocess: Mapping[str, Preprocess], count: int = 2) -> dict[str, Any]:
        """Return a batch of the first ``count`` training samples of each source, without augmentation.

        Args:
            preprocess: what each model reads, by its name in the batch.
            count: samples of each source, or all where it has fewer.

        Raises:
            InputError: one of them cannot be read.
        """
        feeds = self.mixture.feeds("train")
        requests = {name: feed.evaluation_request(range(min(count, len(feed)))) for name, feed in feeds.items()}
        batch = self._maker(feeds, preprocess, self.views)[requests]
        if isinstance(batch, Failure):
            raise InputError(batch.message)
        return batch

    def texts(self, splits: Iterable[Split]) -> list[str]:
        """Return every caption of these splits once, in a fixed order."""
        return self.mixture.texts(splits)

    def examples(self, split: Split, count: int, modality: str = "image") -> list[tuple[Any, str]]:
        """Return up to ``count`` media with their first captions, spread evenly over a split of the first source."""
        return self.mixture.examples(split, count, modality)

    def describe(self, split: Split) -> dict[str, Any]:
        """Return what a split of the first source holds, for reports."""
        return self.mixture.describe(split)

    @property
    def fingerprint(self) -> str:
        """Names what decides every view: the files' content, the augmentation, versions."""
        return self.mixture.fingerprint(self.facts, marked=self.canvas is not None)

    @property
    def facts(self) -> dict[str, str]:
        """What is done to every view before a model's own preprocessing, by name.

        Raises:
            InputError: a transform that cannot be told from another with other settings.
        """
        augment = {
            f"augmentation of {name}": f"[{', '.join(described(f'augment.{name}', each) for each in transforms)}]"
            for name, transforms in self.augment.items()
            if transforms
        }
        return {**augment, **({} if self.canvas is None else {"canvas": repr(self.canvas)})}

    def counts(self) -> dict[str, int]:
        """Return how many samples a process takes from each source for a training batch."""
        if isinstance(self.batch_size, dict):
            return self.batch_size
        lengths = {name: len(feed) for name, feed in self.mixture.feeds("train").items()}
        return shared_out(self.batch_size, lengths, cast(float, self.temperature))

    def _augment(self, augment: Any) -> dict[str, tuple[Transform, ...]]:
        if augment is None:
            return {}
        if not isinstance(augment, Mapping):
            if self.medium is None:
                raise InputError(f"augment: a list given; give lists by modality: {', '.join(KINDS)}.")
            augment = {self.medium: augment}
        for modality in augment:
            if modality not in KINDS or modality not in self.modalities:
                accepted = [each for each in KINDS if each in self.modalities]
                raise InputError(
                    f"augment: {modality!r} is nothing that is augmented here; give {' or '.join(accepted)}."
                    + nearest(modality, accepted)
                )
        return {modality: tuple(transforms) for modality, transforms in augment.items()}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; a tensor that models share is moved once.

        Args:
            batch: from one of the loaders.
            device: where to.
            dataloader_idx: the loader's number.
        """
        return map_tensors(batch, lambda tensor: move_data_to_device(tensor, device))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_loaders": [], "_positions": [], "_training": None}

    def teardown(self, stage: str) -> None:
        """End the workers of the stage's loaders.

        Args:
            stage: that has ended.
        """
        for loader in self._loaders:
            loader.close()
        self._loaders.clear()
        self._positions.clear()

    def on_exception(self, exception: BaseException) -> None:
        """End the workers of a run that failed.

        Args:
            exception: that ended it.
        """
        self.teardown("")

    def _evaluation(self, split: Split) -> Loader:
        feeds = self.mixture.feeds(split)
        ((name, feed),) = feeds.items()
        maker = self._maker(feeds, self._models(), self.views, every_caption=True)
        size = self.counts()[name] if self.eval_batch_size is None else self.eval_batch_size
        plan = EvaluationPlan(name, feed, size, self._place())
        return self._opened(EvaluationLoader(maker, plan, self.workers))

    def _look_at(self, split: Split) -> None:
        feeds = self.mixture.feeds(split).values()
        if self.bad_samples == "stop" and split not in self._looked_at:
            models = self._preprocess
            read = self.modalities if models is None else {name for each in models.values() for name in each.media}
            check_files((sample for feed in feeds if not feed.shards for sample in feed.samples), read)
            self._looked_at.add(split)

    def _models(self) -> dict[str, Preprocess]:
        if self._preprocess is None:
            raise InputError("The DataModule does not know the models: call `use` with each one's `preprocess` first.")
        return self._preprocess

    def _maker(
        self,
        feeds: Mapping[str, Feed],
        preprocess: Mapping[str, Preprocess],
        views: int | None,
        remember: bool = False,
        every_caption: bool = False,
    ) -> BatchMaker:
        recipe = Recipe(
            preprocess,
            self.augment,
            views,
            self.caption,
            self.bad_samples,
            rank(),
            remember,
            every_caption,
            self.modalities,
            self.canvas,
            self.canvas is not None and self.mixture.has_maps,
        )
        return BatchMaker(feeds, recipe, prefixed=len(self.mixture.sources) > 1)

    def _opened(self, loader: SomeLoader) -> SomeLoader:
        self._loaders.append(loader)
        return loader

    def _place(self) -> Place:
        return Place(rank(), world_size(), max(1, self.workers))


def _checked_canvas(canvas: Sequence[int]) -> tuple[int, int]:
    if len(canvas) != 2 or min(canvas) < 1:
        raise InputError(f"canvas: {list(canvas)} given; give the height and the width in pixels, such as [128, 128].")
    return canvas[0], canvas[1]
