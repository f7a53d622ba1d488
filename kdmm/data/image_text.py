"""The DataModule of image-text training: sources in, batches for several models out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import lightning.pytorch as pl
import PIL
import torch
import torchvision
from lightning.fabric.utilities.apply_func import move_data_to_device
from PIL.Image import Image

from kdmm.data.batches import ENTRIES, BatchMaker, Failure, Recipe, map_tensors
from kdmm.data.feed import Feed, Place
from kdmm.data.loader import MODEL, EvaluationLoader, Loader, TrainingLoader, ViewLoader
from kdmm.data.plans import EvaluationPlan, Position, TrainingPlan, ViewPlan
from kdmm.data.source import SPLITS, Source, Split
from kdmm.distributed import rank, world_size
from kdmm.errors import InputError, nearest
from kdmm.models.preprocess import Preprocess

__all__ = ["ImageTextDataModule"]

ONLY_SOURCE = "data"
SomeLoader = TypeVar("SomeLoader", bound=Loader)


class ImageTextDataModule(pl.LightningDataModule):
    """Batches of images and captions for a student and its teacher, from one or several sources.

    An epoch is one pass over the first source; the other sources go round beside it, each with passes of its own, so
    that the batch sizes state the ratio of paired and unpaired samples. The first source is validated and tested on.

    Which samples training batch n of an epoch holds is a pure function of (seed, epoch, n, rank, number of ranks), and
    a view's augmentation and caption of (sample id, view): neither workers nor resuming change them.
    (:class:`kdmm.data.WebDataset` adds the number of workers.) Set ``use_distributed_sampler=False`` in the Trainer:
    ranks share the samples out here.

    Args:
        sources: one, or several by name.
        batch_size: samples a process takes from each source for a batch; one number for all, or one a source.
        augment: transforms of a PIL image (``torchvision.transforms.v2``), drawn for each view, before each model's own
            preprocessing.
        views: K, so that a sample's view in pass p is p modulo K; ``null`` draws a new view each pass.
        workers: processes that read; 0 reads in the training process.
        bad_samples: whether an image or caption that cannot be read stops the run or is left out and listed.
        seed: of the data order.
        eval_batch_size: samples a process takes for a batch of validation and testing; ``null``: as the first source
            in training.
        caption: which of several captions a training batch takes. Evaluation takes them all: the first beside its
            image, and each other one in a row of text alone with the image's id, after the batch's images.
        remember: keep the preprocessed images of all ``views`` in memory, once they are made; each worker keeps its
            own.
    """

    def __init__(
        self,
        sources: Source | Mapping[str, Source],
        batch_size: int | Mapping[str, int],
        augment: Sequence[Callable[[Any], Any]] | None = None,
        views: int | None = None,
        workers: int = 0,
        bad_samples: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        eval_batch_size: int | None = None,
        caption: Literal["random", "first"] = "random",
        remember: bool = False,
    ) -> None:
        super().__init__()
        self.sources = dict(sources) if isinstance(sources, Mapping) else {ONLY_SOURCE: sources}
        if not self.sources:
            raise InputError("sources: none given; give at least one.")
        self.first = next(iter(self.sources))
        self.counts = _counts(batch_size, list(self.sources))
        self.eval_batch_size = self.counts[self.first] if eval_batch_size is None else eval_batch_size
        self.augment = tuple(augment or ())
        self.views = views
        self.workers = workers
        self.bad_samples = bad_samples
        self.seed = seed
        self.caption = caption
        self.remember = remember
        if remember and views is None:
            raise InputError(
                "remember: true keeps the pictures of `views`, and `views` is null; set how many there are."
            )
        for setting, value, least in (
            ("eval_batch_size", self.eval_batch_size, 1),
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
        self._feeds: dict[tuple[str, Split], Feed] = {}
        self._loaders: list[Loader] = []

    def use(self, preprocess: Mapping[str, Preprocess]) -> None:
        """Set what each model reads.

        Args:
            preprocess: by the model's name in a batch, such as ``student`` and ``teacher``.
        """
        for name in preprocess:
            if name in ENTRIES:
                raise InputError(f"A model cannot be called {name!r}: a batch has an entry of that name.")
        self._preprocess = dict(preprocess)

    def position(self, epoch: int, batch: int) -> None:
        """Let training begin, or go on, with a batch of an epoch. Lightning's checkpoints do this by themselves."""
        self._start = (epoch, batch)
        for position in self._positions:
            position.move(epoch, batch)

    def setup(self, stage: str) -> None:
        """Read the sources of a stage, so that what is wrong with them shows before anything else is begun.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.
        """
        if stage == "fit":
            for name in self.sources:
                self._feed(name, "train")
        if stage in ("fit", "validate") and self.has("val"):
            self._feed(self.first, "val")
        if stage == "test":
            self._feed(self.first, "test")

    def has(self, split: Split) -> bool:
        """Return whether the first source has a split."""
        return split in self.sources[self.first].splits

    def train_dataloader(self) -> TrainingLoader:
        """Return this rank's training batches, from `position` on."""
        feeds = {name: self._feed(name, "train") for name in self.sources}
        maker = self._maker(feeds, self._models(), self.views, self.remember)
        position = Position(*self._start)
        self._positions.append(position)
        plan = TrainingPlan(feeds, self.counts, self._place(), position)
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
        """Return every sample that has an image under each of the views, in a fixed order, on every rank all of them.

        A batch holds ``id``, ``view`` and ``caption`` as in training, and one model's ``image`` (B, 3, H, W).

        Args:
            split: of ``train``, all sources; else the first.
            views: their numbers; ``EVAL_VIEW`` is the one without augmentation.
            preprocess: the model's.
            batch_size: of these batches.

        Raises:
            InputError: a source gives no list of its samples.
        """
        feeds = {name: self._feed(name, split) for name in self._names(split)}
        samples = {name: feed.samples for name, feed in feeds.items()}
        image_alone = {MODEL: Preprocess(image=preprocess.image)}
        maker = self._maker(feeds, image_alone, views=None)  # the numbers given are views, not passes
        return self._opened(ViewLoader(maker, ViewPlan(samples, tuple(views), batch_size), self.workers))

    def texts(self, splits: Iterable[Split]) -> list[str]:
        """Return every caption of these splits once, in a fixed order.

        Raises:
            InputError: a source gives no list of its samples.
        """
        return list(
            dict.fromkeys(
                caption
                for split in splits
                for name in self._names(split)
                for sample in self._feed(name, split).samples
                for caption in sample.captions
            )
        )

    def dry_batch(self, preprocess: Mapping[str, Preprocess], count: int = 2) -> dict[str, Any]:
        """Return a batch of the first ``count`` training samples of each source, without augmentation.

        Args:
            preprocess: what each model reads, by its name in the batch.
            count: samples of each source, or all where it has fewer.

        Raises:
            InputError: one of them cannot be read.
        """
        feeds = {name: self._feed(name, "train") for name in self.sources}
        requests = {name: feed.evaluation_request(range(min(count, len(feed)))) for name, feed in feeds.items()}
        batch = self._maker(feeds, preprocess, self.views)[requests]
        if isinstance(batch, Failure):
            raise InputError(batch.message)
        return batch

    def examples(self, split: Split, count: int) -> list[tuple[Image, str]]:
        """Return up to ``count`` images with their first captions, spread evenly over a split of the first source."""
        pairs = [each for each in self._feed(self.first, split).samples if each.image is not None and each.captions]
        chosen = [pairs[n * len(pairs) // count] for n in range(count)] if count < len(pairs) else pairs
        return [(each.image.open(), each.captions[0]) for each in chosen if each.image is not None]

    def describe(self, split: Split) -> dict[str, Any]:
        """Return what a split of the first source holds, for reports."""
        feed = self._feed(self.first, split)
        return {**self.sources[self.first].describe(split), "split": split, **feed.describe()}

    @property
    def fingerprint(self) -> str:
        """Names what decides the pixels of every view: images (path, size, time), augmentation, versions."""
        digest = hashlib.blake2b(digest_size=16)
        facts = [
            [repr(transform) for transform in self.augment],
            PIL.__version__,
            torchvision.__version__,
            torch.__version__,
        ]
        digest.update(json.dumps(facts).encode())
        for split in SPLITS:
            for name in self._names(split):
                if split in self.sources[name].splits:
                    for sample in self._feed(name, split).samples:
                        image = "" if sample.image is None else sample.image.identity()
                        digest.update(f"{split} {name} {sample.id} {image}\n".encode())
        return digest.hexdigest()

    def _names(self, split: Split) -> list[str]:
        return list(self.sources) if split == "train" else [self.first]

    def _feed(self, name: str, split: Split) -> Feed:
        key = (name, split)
        if key not in self._feeds:
            self._feeds[key] = self.sources[name].feed(split, name, self.seed)
        return self._feeds[key]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; a tensor that models share is moved once.

        Args:
            batch: from one of the loaders.
            device: where to.
            dataloader_idx: the loader's number.
        """
        return map_tensors(batch, lambda tensor: move_data_to_device(tensor, device))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_feeds": {}, "_loaders": [], "_positions": [], "_training": None}  # read again

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
        feed = self._feed(self.first, split)
        maker = self._maker({self.first: feed}, self._models(), self.views, every_caption=True)
        plan = EvaluationPlan(self.first, feed, self.eval_batch_size, self._place())
        return self._opened(EvaluationLoader(maker, plan, self.workers))

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
            preprocess, self.augment, views, self.caption, self.bad_samples, rank(), remember, every_caption
        )
        return BatchMaker(feeds, recipe, prefixed=len(self.sources) > 1)

    def _opened(self, loader: SomeLoader) -> SomeLoader:
        self._loaders.append(loader)
        return loader

    def _place(self) -> Place:
        return Place(rank(), world_size(), max(1, self.workers))


def _counts(batch_size: int | Mapping[str, int], sources: Sequence[str]) -> dict[str, int]:
    counts = dict(batch_size) if isinstance(batch_size, Mapping) else dict.fromkeys(sources, batch_size)
    for name in (*counts, *sources):
        if name not in sources:
            raise InputError(
                f"batch_size: unknown source {name!r}. Sources: {', '.join(sources)}.{nearest(name, sources)}"
            )
        if name not in counts:
            raise InputError(f"batch_size: none given for the source {name!r}.")
        if counts[name] < 1:
            raise InputError(f"batch_size: {counts[name]} given for {name!r}; at least 1 sample is needed.")
    return {name: counts[name] for name in sources}
