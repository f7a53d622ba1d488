import enum
import functools
import math
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.transforms import InterpolationMode, v2

from kdmm.errors import InputError
from kdmm.models.audio import Gain
from kdmm.models.description import described

CROP = v2.RandomResizedCrop(8)


class Kind(enum.Enum):
    SOFT = 1
    HARD = 2


class Own:
    """Says nothing of itself."""

    def __init__(self, setting=None, _hidden=0):
        self.setting, self._hidden = setting, _hidden

    def __call__(self, image):
        return image

    @functools.cached_property
    def found(self):
        return object()


class Module(nn.Module):
    """Says nothing of itself but its parts."""

    def __init__(self, amount=1, **parts):
        super().__init__()
        self.amount = amount
        self.register_buffer("kernel", torch.arange(amount))
        for name, part in parts.items():
            self.add_module(name, part)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


@dataclass(frozen=True)
class Itself:
    """Holds a method of its own."""

    strength: float
    ways: tuple = ()

    def __post_init__(self):
        object.__setattr__(self, "ways", (self.blur, math.sqrt))

    def blur(self, image):
        return image


class Pickled(Own):
    """Leaves a lock out when it is pickled."""

    def __init__(self, setting):
        super().__init__(setting)
        self.lock = threading.Lock()

    def __getstate__(self):
        return {"setting": self.setting}


def power(image, by):
    return image


def inner(by):
    return lambda image: image**by


DIFFERENT = [
    v2.RandomApply([CROP], p=0.1),
    v2.RandomApply([CROP], p=1.0),
    v2.RandomApply([CROP], p=1),
    v2.RandomApply([v2.RandomResizedCrop(9)], p=0.1),
    v2.RandomApply(nn.ModuleList([CROP]), p=0.1),
    v2.RandomApply(nn.ModuleList([CROP]), p=0.2),
    v2.Compose([v2.RandomApply([CROP], p=0.1)]),
    v2.Compose([v2.RandomApply([CROP], p=0.2)]),
    v2.Compose([v2.Compose([v2.RandomApply([CROP], p=0.1)])]),
    v2.RandomChoice([CROP, v2.RandomApply([CROP], p=0.1)], p=[0.5, 0.5]),
    v2.RandomChoice([CROP, v2.RandomApply([CROP], p=0.2)], p=[0.5, 0.5]),
    v2.RandomChoice([CROP, v2.RandomApply([CROP], p=0.1)], p=[0.4, 0.6]),
    v2.RandomOrder([v2.RandomApply([CROP], p=0.1)]),
    v2.RandomResizedCrop(8, interpolation=InterpolationMode.NEAREST),
    v2.Pad(2, fill={"others": 1}),
    v2.Pad(2, fill=1),
    v2.Lambda(power),
    v2.Lambda(functools.partial(power, by=2)),
    v2.Lambda(functools.partial(power, by=3)),
    v2.Lambda(lambda image: image),
    v2.Lambda(lambda image: -image),
    inner(2),
    inner(3),
    power,
    math.sqrt,
    torch.relu,
    Gain(-6, 6),
    Gain(-6, 7),
    *(None, True, 1, 1.0, "1", b"1", b"2", Path("1"), [1], [1, 2], {1: 2}, {1: 3}, {1}, 1j, math.nan),
    *(Kind.SOFT, Kind.HARD, torch.float32, torch.float16, torch.device("cpu"), math, Own, Own(), Own(Own(2))),
    *(torch.zeros(2), torch.zeros(2, 1), torch.ones(2), torch.zeros(2, dtype=torch.int32), torch.zeros(())),
    Own(_hidden=1),
    Own("'1', _hidden=1"),
    Module(),
    Module(2),
    Module(a=nn.Identity()),
    Module(a=nn.ReLU()),
    Module(a=nn.ReLU(), b=nn.Identity()),
    Module(b=nn.Identity(), a=nn.ReLU()),
    Slots(1),
    Slots(2),
    Itself(0.5),
    Itself(0.6),
    Own([]).__call__,
    Own([0]).__call__,
    Pickled(1),
    Pickled(2),
]


def told():
    return [described("augment", Own(each)) for each in DIFFERENT]


def test_settings_are_told_apart_however_deep_they_are():
    found = told()
    assert len(set(found)) == len(found)


def test_equal_settings_are_told_alike():
    assert described("augment", Own([1, (2, "a")])) == described("augment", Own((1, [2, "a"])))
    assert described("augment", Own({"a", "b", None})) == described("augment", Own({None, "b", "a"}))
    assert described("augment", Module().eval()) == described("augment", Module())
    used = Own(3)
    assert used.found is used.found
    assert described("augment", used) == described("augment", Own(3)) == f"{__name__}.Own(setting=3, _hidden=0)"
    assert described("augment", v2.RandomApply([v2.RandomGrayscale(0.2)], 0.1)) == (
        "torchvision.transforms.v2._container.RandomApply("
        "transforms=[torchvision.transforms.v2._color.RandomGrayscale(p=0.2)], p=0.1)"
    )


def test_another_process_tells_the_same():
    program = f"import {__name__} as t; print('\\n'.join(t.told()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == told()
    for each in DIFFERENT[:17]:
        assert described("augment", pickle.loads(pickle.dumps(each))) == described("augment", each)


def test_what_cannot_be_told_is_refused():
    lock = threading.Lock()
    for name, transform in {
        "Own": Own(lock),
        "Compose": v2.Compose([Own([lock])]),
        r"Own\.__call__": Own(lock).__call__,
    }.items():
        with pytest.raises(InputError, match=rf"augment\.image: {name} cannot be told .*lock.*`__getstate__`"):
            described("augment.image", transform)


def test_what_torchvision_derives_does_not_count():
    crop = v2.RandomResizedCrop(8)
    assert "_log_ratio" in vars(crop)
    before = described("augment.image", crop)
    crop._log_ratio = crop._log_ratio * (1 + 1e-7)  # as another machine may round it
    assert described("augment.image", crop) == before
