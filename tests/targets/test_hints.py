"""Which YAML values fit which hints."""

import collections.abc
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar

import pytest
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from kdmm.targets import UNKNOWN, Made, describe, mismatches
from kdmm.targets.hints import convert

T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)
Either = TypeVar("Either", int, str)
UserId = NewType("UserId", int)
OLD_OPTIONAL = Optional[int]  # noqa: UP045  the old way to write it is another kind of hint

LINEAR = Made(nn.Linear)
OPTIMIZER = Made(SGD, partial=True)

FITS = [
    (1, int), (-1, int), (1, float), (1.5, float), ("a", str), (True, bool), (None, None), (None, type(None)),
    (None, int | None), (1, int | None), (None, OLD_OPTIONAL), (1, OLD_OPTIONAL), ("a", int | str),
    ("mean", Literal["mean", "sum"]), (3, Literal["mean", 3]),
    (["a"], Sequence[str]), ([], Sequence[str]), (["a"], list), (["a"], typing.List[str]), (["a"], Iterable[str]),  # noqa: UP006
    ([1, 2], tuple[int, int]), ([1, 2, 3], tuple[int, ...]), ([1, "a"], tuple[int, str]), ([1], tuple), ([1], set[int]),
    ({"a": 1}, dict[str, float]), ({"a": 1}, Mapping[str, Any]), ({}, dict), ({"a": [1]}, dict[str, list[int]]),
    ("a/b", Path), ("a/b", str | Path), (Path(), Path),
    (LINEAR, nn.Module), (LINEAR, nn.Linear), (LINEAR, nn.Module | None), (LINEAR, Any), (LINEAR, object),
    (LINEAR, Callable[..., Tensor]), ([LINEAR], Sequence[nn.Module]), ({"a": LINEAR}, Mapping[str, nn.Module | float]),
    (Made(nn.ModuleList), Sequence[nn.Module]),
    (OPTIMIZER, Callable[..., Optimizer]), (OPTIMIZER, Callable), (OPTIMIZER, collections.abc.Callable[[list], SGD]),
    (Made(nn.Module, exact=False), nn.Linear), (UNKNOWN, int), (UNKNOWN, Literal["a"]), ([UNKNOWN], list[int]),
    (nn.Linear(1, 1), nn.Module),
    (1, Annotated[int, "a note"]), (1, UserId), (1, Bounded), ("a", Either), (["x"], list[T]),
    (1, Float[Tensor, "B D"]), ("cpu", "not resolved"), (3, type[int]), (3, typing.Hashable),
]  # fmt: skip

FAILS = [
    ("1", int, "found '1' (text); accepted: integer"),
    (1.0, int, "found 1.0 (number); accepted: integer"),
    (True, int, "found true (boolean); accepted: integer"),
    (True, float, "found true (boolean); accepted: number"),
    ("1e-3", float, "found '1e-3' (text); accepted: number"),
    (1, str, "found 1 (integer); accepted: text"),
    (1, bool, "found 1 (integer); accepted: true or false"),
    ("yes", bool, "found 'yes' (text); accepted: true or false"),
    (None, int, "found null; accepted: integer"),
    ("a", int | None, "found 'a' (text); accepted: integer or null"),
    ([1], int | str, "found [1] (list); accepted: integer or text"),
    ("median", Literal["mean", "sum"], "found 'median' (text); accepted: 'mean' or 'sum'"),
    (True, Literal[1], "found true (boolean); accepted: 1"),
    ("image", Sequence[str], "found 'image' (text); accepted: list of text"),
    ({"a": 1}, Sequence[str], "found {'a': 1} (mapping); accepted: list of text"),
    ([1], tuple[int, int], "found [1] (list); accepted: list of 2 (integer, integer)"),
    ([1], dict[str, int], "found [1] (list); accepted: mapping of text to integer"),
    (1, Path, "found 1 (integer); accepted: path"),
    (1, nn.Module, "found 1 (integer); accepted: a `_target_` that makes torch.nn.modules.module.Module"),
    (LINEAR, int, "found a `_target_` that makes torch.nn.modules.linear.Linear; accepted: integer"),
    (LINEAR, nn.Conv2d, "accepted: a `_target_` that makes torch.nn.modules.conv.Conv2d"),
    (LINEAR, Literal["a"], "accepted: 'a'"),
    (LINEAR, list[int], "accepted: list of integer"),
    (Made(SGD), Callable[..., Optimizer], "a node with `_partial_: true` for torch.optim.optimizer.Optimizer"),
    (OPTIMIZER, Optimizer, "found a node with `_partial_: true` for torch.optim.sgd.SGD"),
    (Made(nn.Linear, partial=True), Callable[..., Optimizer], "`_partial_: true` for torch.nn.modules.linear.Linear"),
    (Made(None, partial=True), int, "found a node with `_partial_: true` for an object; accepted: integer"),
    ("f", Callable[..., int], "accepted: a node with `_partial_: true`"),
    (1.5, Annotated[int, "a note"], "accepted: integer"),
    (1.5, UserId, "accepted: integer"),
    (1.5, Bounded, "accepted: integer"),
    (1.5, Either, "accepted: integer or text"),
    (list(range(99)), int, "..."),
]  # fmt: skip


@pytest.mark.parametrize(("value", "hint"), FITS)
def test_what_fits(value, hint):
    assert mismatches(value, hint, "a.b") == []


@pytest.mark.parametrize(("value", "hint", "message"), FAILS)
def test_what_does_not(value, hint, message):
    (problem,) = mismatches(value, hint, "a.b")
    assert str(problem).startswith("a.b: found ")
    assert message in str(problem)


@pytest.mark.parametrize(
    ("value", "hint", "path"),
    [
        (["a", 2], Sequence[str], "x.1"),
        ({"a": 1, "b": "2"}, dict[str, float], "x.b"),
        ({"a": {"b": [1, "2"]}}, dict[str, dict[str, list[int]]], "x.a.b.1"),
        ([1, "b"], tuple[int, int], "x.1"),
        (
            {"hard": "1"},
            Mapping[str, float | nn.Linear] | nn.Conv2d | None,
            "x.hard",
        ),  # inside the option that has the form
        ({1: 2}, dict[str, int], "x"),
    ],
)
def test_the_path_leads_to_the_value(value, hint, path):
    assert [problem.path for problem in mismatches(value, hint, "x")] == [path]


def test_all_wrong_values_are_reported():
    problems = mismatches({"a": "1", "b": 2, "c": None}, dict[str, int], "x")
    assert [problem.path for problem in problems] == ["x.a", "x.c"]


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, 1.0),
        (1, float | None, 1.0),
        (1, int | float, 1),
        (1, float | int, 1),
        (True, bool | float, True),
        ([1, 2], tuple[int, int], (1, 2)),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ([1, 2], Sequence[int], [1, 2]),
        ([1, 2], list[float], [1.0, 2.0]),
        ([1, 1], set[int], {1}),
        ([[1, 2]], list[tuple[int, int]], [(1, 2)]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": 1}, Mapping[str, float | nn.Module] | None, {"a": 1.0}),
        ("a", Path, Path("a")),
        ("a", str | Path, "a"),
        ("a", Path | None, Path("a")),
        ("a", int, "a"),  # does not fit: left as it is
        ([1], tuple[int, int], [1]),
    ],
)
def test_conversion_keeps_the_value(value, hint, expected):
    converted = convert(value, hint)
    assert converted == expected
    assert type(converted) is type(expected)
    if isinstance(expected, tuple | list):
        assert [type(item) for item in converted] == [type(item) for item in expected]


def test_a_value_that_fits_is_not_copied():
    value = {"a": [1, 2]}
    assert convert(value, dict[str, list[int]]) is value
    assert convert(value, dict[str, list[int]] | None) is value


def test_hints_in_words():
    assert describe(Mapping[str, float | None]) == "mapping of text to number or null"
    assert describe(Any) == "anything"
    assert describe(Callable[..., int]) == "a node with `_partial_: true`"
