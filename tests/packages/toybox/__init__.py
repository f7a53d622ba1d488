"""A package of somebody else's: what a user allows with `--allow toybox`."""

import os.path
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict

import lightning.pytorch as pl
from torch import nn
from torch.optim import Optimizer

join = os.path.join  # a re-export: it is defined elsewhere
answer = 42
shortcut = partial(int, base=2)


class Colour(Enum):
    RED = "red"


class Size(TypedDict):
    height: int


class Net(nn.Module):
    """A model that gives what two towers give.

    More about it.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"image", "text", "logit_scale"})

    def __init__(self, width: int, rate: float = 0.5, name: str = "net", inner: nn.Module | None = None) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width is {width}, but a net is at least 1 wide.")
        self.width, self.rate, self.called, self.inner = width, rate, name, inner


class Pruned(nn.Module):
    """What it gives depends on its arguments."""

    def __init__(self, only: str) -> None:
        super().__init__()
        self.only = only

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str]:
        return frozenset({arguments["only"]})


def make_net(width: int = 3) -> Net:
    """A net by a function."""
    return Net(width)


make_net.gives = Net.gives


def make_something(width: int = 3):
    return Net(width)


class Shape:
    """Takes one of everything."""

    def __init__(
        self,
        flag: bool = False,
        count: int = 1,
        share: float = 1.0,
        text: str = "a",
        maybe: int | None = None,
        mode: Literal["mean", "sum", 3] = "mean",
        names: Sequence[str] = (),
        box: tuple[int, int] = (1, 1),
        sides: tuple[float, ...] = (),
        weights: Mapping[str, float] | None = None,
        path: Path = Path(),
        net: nn.Module | None = None,
        nets: Mapping[str, Net] | None = None,
        factory: Callable[..., Optimizer] | None = None,
        colour: Colour = Colour.RED,
        size: Size | None = None,
        unresolved: "NoSuchName" = None,
        sloppy: int = None,  # noqa: RUF013  a hint that its own default contradicts
        either: int | list[int] = 1,
    ) -> None:
        self.given = dict(locals())


class Greedy:
    """Takes whatever it is given."""

    def __init__(self, first: int, **others: Any) -> None:
        self.first, self.others = first, others


class Abstract(ABC):
    @abstractmethod
    def answer(self) -> int: ...


class Term(nn.Module):
    """Reads a pair from both models."""

    def __init__(self, pair: Sequence[str], other: str = "image") -> None:
        super().__init__()

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(arguments["pair"]), frozenset({arguments["other"], "present/image"})


class Hard(nn.Module):
    """Reads the student alone."""

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset({"text"}), frozenset()


class Objective(nn.Module):
    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()


class Module(pl.LightningModule):
    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        objective: Objective,
        optimizer: Callable[..., Optimizer] | None = None,
    ) -> None:
        super().__init__()


class Alone(pl.LightningModule):
    def __init__(self, student: nn.Module, objective: Objective) -> None:
        super().__init__()


class TrainsTeacher(pl.LightningModule):
    role = "teacher"

    def __init__(self, teacher: nn.Module, objective: Objective) -> None:
        super().__init__()


class Data(pl.LightningDataModule):
    def __init__(self, path: Path = Path(), batch_size: int = 4, splits: Sequence[str] = ()) -> None:
        super().__init__()
