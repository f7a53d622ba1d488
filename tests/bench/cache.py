"""Writing a store against the teacher's own inference on the same data, and reading one on one core."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device

from kdmm import targets
from kdmm.models import save_model
from kdmm.runs import caching
from kdmm.runs.quiet import quiet
from kdmm.teachers import FromRun
from kdmm.teachers.cache.answering import inputs_of
from kdmm.teachers.cache.files import mapped, write_tensors
from kdmm.teachers.cache.formats import parse_format
from kdmm.teachers.cache.keys import Index, view_key
from kdmm.teachers.cache.reader import Reader
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.store import StoredTable
from kdmm.teachers.cache.table import Column, Table
from tests.bench.device import CUDA, DEVICE, TRAINER, mixed, now
from tests.bench.trainer import TEACHER

BATCH, ROUNDS = 64, 8
ROWS, WIDTH, FILES = 200_000, 512, 16
READ = 512  # samples of a batch
SECONDS = 3.0


def seconds() -> tuple[float, float]:
    """Return the time on the clock and that of this process on its cores, which other programs do not lengthen."""
    return now(), time.process_time()


def since(began: tuple[float, float]) -> tuple[float, float]:
    return tuple(now - then for now, then in zip(seconds(), began, strict=True))


def inference(teacher, data) -> tuple[float, float]:
    """Return the seconds in which the teacher reads and answers all pictures and captions, and keeps nothing."""
    teacher.to(DEVICE)  # Lightning moves it off after a store is written
    began = seconds()
    with torch.no_grad(), mixed():
        preprocess = teacher.preprocess.only("image")
        for split in ("train", "val"):
            samples = data.everything(split)
            views = range(data.views) if split == "train" else (-1,)
            requests = [
                (name, range(start, min(start + BATCH, count)), view)
                for name, count in samples.counts.items()
                for start in range(0, count, BATCH)
                for view in views
            ]
            for batch in samples.batches(requests, preprocess):
                if batch is not None:
                    teacher(move_data_to_device(inputs_of(batch, preprocess), DEVICE))
        texts = sorted(data.texts(("train", "val")), key=len)
        for start in range(0, len(texts), 8 * BATCH):
            teacher({"text": teacher.preprocess.text(texts[start : start + 8 * BATCH]).to(DEVICE)})
    return since(began)


def writing(teacher, data, folder: Path) -> tuple[float, float]:
    """Return the seconds in which a store is written, from the plan to the manifest."""
    began = seconds()
    settings = Settings(batch_size=BATCH, precision=TRAINER.get("precision", "32-true"))
    with quiet():
        caching.write(teacher, data, folder, settings, {**TRAINER, "enable_progress_bar": False})
    return since(began)


def write_speed() -> None:
    with tempfile.TemporaryDirectory() as name:
        save_model(Path(name) / "teacher.safetensors", targets.build(TEACHER), TEACHER)
        teacher = FromRun(name)
        data = targets.build(
            {
                "_target_": "kdmm.data.ImageTextDataModule",
                "sources": {"_target_": "kdmm.data.Emoji"},
                "batch_size": BATCH,
                "views": 4,
                "augment": [{"_target_": "torchvision.transforms.v2.RandomHorizontalFlip"}],
            }
        )
        pairs = []
        for n in range(ROUNDS + 1):
            folder = Path(name) / f"store {n}"
            if n % 2:  # in turns, so that a machine that slows down favours neither
                alone, written = inference(teacher, data), writing(teacher, data, folder)
            else:
                written, alone = writing(teacher, data, folder), inference(teacher, data)
            if n:  # the first round warms up
                pairs.append((alone, written))
    for place, kind in enumerate(("on the clock", "of the cores")):
        ratios = sorted(alone[place] / written[place] for alone, written in pairs)
        print(
            f"seconds {kind}: inference {statistics.median(alone[place] for alone, _ in pairs):.2f}, writing "
            f"{statistics.median(written[place] for _, written in pairs):.2f}; ratio, median of {ROUNDS} pairs: "
            f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


def read_speed(form: str) -> float:
    """Return the samples a second of one core that are looked up by id and view in random batches.

    On a GPU they are moved there within the time, which is then that on the clock.
    """
    clock = now if CUDA else time.process_time
    column = Column("image", parse_format(form), (WIDTH,))
    with tempfile.TemporaryDirectory() as name:
        parts = []
        for number in range(FILES):
            path = Path(name) / f"{number}.safetensors"
            kept = column.format.encode(torch.randn(ROWS // FILES, WIDTH))
            write_tensors(path, {f"image{suffix}": x for suffix, x in kept.items()})
            parts.append(mapped(path))
        index = Index.of(torch.tensor([view_key(f"sample {row}", 0) for row in range(ROWS)]))
        reader = Reader([StoredTable(("image",), [Table(parts, {"image": column}, index)])], {}, "the store")
        draw = np.random.Generator(np.random.PCG64(0))
        batches = [
            {
                "id": [f"sample {row}" for row in draw.integers(ROWS, size=READ)],
                "view": [0] * READ,
                "caption": [None] * READ,
                "present/image": torch.ones(READ, dtype=torch.bool, device=DEVICE),
            }
            for _ in range(200)
        ]
        for batch in batches:  # so that the files' pages are in memory
            reader(batch)
        count, began = 0, clock()
        while clock() - began < SECONDS:
            reader(batches[count % len(batches)])
            count += 1
        return count * READ / (clock() - began)


def main() -> None:
    warnings.simplefilter("ignore")
    write_speed()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for form in ("float16", "float32", "int8"):
        print(f"reading {WIDTH}-d {form}, {ROWS} rows in {FILES} files: {read_speed(form):,.0f} samples/s on one core")
    torch.set_num_threads(threads)
