"""Small image files and data sets, made when a test needs them."""

import io
import json
import tarfile
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from kdmm.data import ImageRef, Sample, Source
from kdmm.models.preprocess import ImageTransform, Preprocess

BROKEN_PNG = b"\x89PNG\r\n\x1a\n" + b"no picture follows"


def picture(seed=0, size=(12, 10), mode="RGB"):
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(seed=0, form="PNG"):
    file = io.BytesIO()
    picture(seed).save(file, form)
    return file.getvalue()


def write_pictures(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        picture(seed).save(folder / name)


def write_shard(path, samples):
    """Write a tar from ``{key: {extension: bytes | str | object}}``; objects become JSON."""
    with tarfile.open(path, "w") as tar:
        for key, files in samples.items():
            for extension, content in files.items():
                data = content if isinstance(content, bytes | str) else json.dumps(content)
                data = data.encode() if isinstance(data, str) else data
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return str(path)


@dataclass(frozen=True)
class Letters:
    """Reads a caption letter by letter: token ids (N, T)."""

    shift: int = 0

    def __call__(self, texts):
        longest = max(map(len, texts))
        return torch.tensor([[ord(letter) + self.shift for letter in text.ljust(longest)] for text in texts])


SMALL = Preprocess(ImageTransform(8), Letters())
OTHER = Preprocess(ImageTransform(12, mean=(0.5,) * 3, std=(0.5,) * 3), Letters(1))


class Held(Source):
    """A source of given samples."""

    def __init__(self, **samples):
        self.held = samples

    @property
    def splits(self):
        return tuple(self.held)

    def read(self, split):
        return self.held[split]


def pairs(count, start=0, captions=1, group=lambda n: None):
    """Return samples with pictures in memory."""
    return [
        Sample(
            id=f"s{n}",
            image=ImageRef(f"{n}.png", encoded(n)),
            captions=tuple(f"caption {k} of {n}" for k in range(captions)),
            group=group(n),
            origin=f"row {n}",
        )
        for n in range(start, start + count)
    ]


def texts(count):
    return [Sample(id=f"t{n}", image=None, captions=(f"text {n}",), origin=f"line {n}") for n in range(count)]
