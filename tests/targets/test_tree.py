"""Whole trees: checked with all problems at once, then built."""

import functools
from pathlib import Path

import pytest
from torch import nn
from torch.optim import AdamW, Optimizer

from kdmm.errors import InputError
from kdmm.targets import build, call, check, check_call


@pytest.fixture(autouse=True)
def _toybox(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages"))


def lines(tree, path="m", hint=None):
    return [str(problem) for problem in check(tree, path, ["toybox"], *([hint] if hint else []))]


GOOD = [
    {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3},
    {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3, "bias": False, "device": None},
    {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": [3, 3]},
    {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-3, "betas": [0.9, 0.98]},
    {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "step_size": 3},
    {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss", "patience": 3},
    {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "logs"},
    {"_target_": "torchvision.transforms.v2.RandomResizedCrop", "size": [32, 32], "scale": [0.5, 1]},
    {"_target_": "torchmetrics.Accuracy", "task": "multiclass", "num_classes": 3},
    {"_target_": "timm.create_model", "model_name": "resnet18", "anything": 3},
    {"_target_": "toybox.Greedy", "first": 1, "second": 2},
    {"_target_": "toybox.Shape", "unresolved": 3, "sloppy": None, "colour": "red", "size": {"height": 3}},
    {"_target_": "toybox.Shape", "nets": {"a": {"_target_": "toybox.make_net"}}},
    {"_target_": "toybox.Net", "width": 3, "inner": {"_target_": "toybox.make_something"}},
    {"plain": [1, {"_target_": "torch.nn.Identity", "whatever": 1}]},
    [1, "a", None],
    "text",
]


@pytest.mark.parametrize("tree", GOOD)
def test_good_trees_have_no_problems(tree):
    assert check(tree, "m", ["toybox"]) == []


BAD = [
    ({"_target_": "toybox.Net"}, ["m.width: missing argument of toybox.Net; accepted: integer."]),
    (
        {"_target_": "toybox.Net", "widht": 3},
        [
            "m.widht: unknown argument of toybox.Net; accepted: width, rate, name, inner. Did you mean 'width'?",
            "m.width: missing argument of toybox.Net; accepted: integer.",
        ],
    ),
    ({"_target_": "toybox.Net", "width": "3"}, ["m.width: found '3' (text); accepted: integer."]),
    (
        {"_target_": "toybox.Net", "width": 3, "inner": {"width": 3}},
        [
            "m.inner: found {'width': 3} (mapping); "
            "accepted: a `_target_` that makes torch.nn.modules.module.Module or null."
        ],
    ),
    (
        {"_target_": "toybox.Net", "width": 3, "inner": {"_target_": "toybox.Shape"}},
        ["m.inner: found a `_target_` that makes toybox.Shape; accepted: a `_target_` that makes torch.nn.modu"],
    ),
    (
        {"_target_": "toybox.Net", "width": 3, "inner": {"_target_": "toybox.Net", "width": 3, "_partial_": True}},
        ["m.inner: found a node with `_partial_: true` for toybox.Net"],
    ),
    ({"_target_": "toybox.Shape", "nets": {"a": {"_target_": "torch.nn.Identity"}}}, ["m.nets.a: found a `_target_`"]),
    ({"_target_": "toybox.Shape", "box": [1]}, ["m.box: found [1] (list); accepted: list of 2 (integer, integer)."]),
    ({"_target_": "toybox.Shape", "either": [1, "2"]}, ["m.either.1: found '2' (text); accepted: integer."]),
    ({"_target_": "toybox.Net", "width": 3, "_partial_": "yes"}, ["m._partial_: found 'yes' (text)"]),
    (
        {"_target_": "toybox.Net", "width": 3, "_partal_": True},
        ["m._partal_: unknown key; accepted: _target_, _partial_. Did you mean '_partial_'?", "m._partal_: unkn"],
    ),
    ({"_traget_": "toybox.Net"}, ["m._traget_: unknown key; accepted: _target_, _partial_. Did you mean '_target_'?"]),
    ({"_target_": "toybox.Abstract"}, ["m._target_: 'toybox.Abstract' is abstract"]),
    ({"_target_": "toybox.Net", "width": 3, 7: 1}, ["m.7: unknown argument"]),
    ({"_target_": "toybox.Greedy", "first": 3, 7: 1}, ["m.7: unknown argument"]),
    ({"_target_": "timm.create_model", "model_name": 3}, ["m.model_name: found 3 (integer); accepted: text."]),
    ({"_target_": "torch.nn.Flatten", "start_dims": 1}, ["m.start_dims: unknown argument of torch.nn"]),
    ({"_target_": "torch.optim.AdamW", "lr": 0.1}, ["m.params: missing argument of torch.optim.AdamW"]),
    (
        {"_target_": "timm.create_model", "model_name": "a", "trust_remote_code": True},
        ["m.trust_remote_code: is refused: kdmm runs no code from model repositories; remove it."],
    ),
    ({"_target_": "toybox.Greedy", "first": 1, "deep": {"text": [{"trust_remote_code": False}]}}, ["m.deep.text.0"]),
    ({"_target_": "open_clip.create_model", "model_name": "a", "weights_only": False}, ["m.weights_only: is refused"]),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "expected"), BAD)
def test_problems_name_their_path(tree, expected):
    found = lines(tree)
    assert len(found) == len(expected)
    for line, fragment in zip(found, expected, strict=True):
        assert line.startswith(fragment)


def test_all_problems_of_a_tree_come_together():
    tree = {
        "_target_": "toybox.Modul",
        "student": {"_target_": "toybox.Net", "width": True},
        "rest": [{"_target_": "os.system", "command": {"_target_": "toybox.Net"}}],
    }
    assert [problem.path for problem in check(tree, "m", ["toybox"])] == [
        "m._target_",
        "m.student.width",
        "m.rest.0._target_",
        "m.rest.0.command.width",
    ]
    with pytest.raises(InputError) as caught:
        build(tree, "m", ["toybox"])
    assert str(caught.value).startswith("4 problems:\n  m._target_: unknown target 'toybox.Modul'")
    assert len(str(caught.value).splitlines()) == 5


def test_the_root_has_a_hint_too():
    node = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    assert lines(node, hint=nn.Module) == []
    assert lines(node, hint=Optimizer)[0].startswith("m: found a `_target_` that makes torch.nn.modules.linear.Linear")
    assert lines({"a": 1}, hint=Optimizer)[0].startswith("m: found {'a': 1} (mapping); accepted: a `_target_`")


def test_nothing_is_built_by_a_check():
    assert lines({"_target_": "toybox.Net", "width": -1}) == []  # its constructor would refuse


def test_building_goes_from_the_inside_out():
    net = build(
        {"_target_": "toybox.Net", "width": 3, "rate": 1, "inner": {"_target_": "toybox.make_net", "width": 5}},
        allow=["toybox"],
    )
    assert (net.width, net.rate, type(net.rate), net.inner.width) == (3, 1.0, float, 5)


def test_values_are_passed_in_the_form_of_the_hint():
    given = build(
        {"_target_": "toybox.Shape", "box": [1, 2], "path": "a/b", "weights": {"a": 1}, "names": ["x"]},
        allow=["toybox"],
    ).given
    assert given["box"] == (1, 2)
    assert given["path"] == Path("a/b")
    assert type(given["weights"]["a"]) is float
    assert given["names"] == ["x"]


def test_a_partial_node_waits_for_its_call():
    made = build({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.5, "betas": [0, 0.98]})
    assert isinstance(made, functools.partial)
    assert made.func is AdamW
    optimizer = made([nn.Parameter(nn.Linear(1, 1).weight)])
    assert optimizer.defaults["lr"] == 0.5
    assert optimizer.defaults["betas"] == (0.0, 0.98)


def test_containers_keep_their_order_and_kind():
    built = build({"b": [1, {"_target_": "toybox.make_net"}], "a": None}, allow=["toybox"])
    assert list(built) == ["b", "a"]
    assert built["b"][1].width == 3


def test_built_objects_may_stand_in_a_tree():
    inner = nn.Identity()
    assert build({"_target_": "toybox.Net", "width": 1, "inner": inner}, allow=["toybox"]).inner is inner
    assert lines({"_target_": "toybox.Net", "width": inner})[0].startswith("m.width: found Identity() (Identity)")


def test_what_a_constructor_refuses_is_the_users_input():
    tree = {"_target_": "toybox.Net", "width": 1, "inner": {"_target_": "toybox.Net", "width": 0}}
    with pytest.raises(InputError) as caught:
        build(tree, "module.student", ["toybox"])
    assert str(caught.value) == "module.student.inner: width is 0, but a net is at least 1 wide."
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("error", ["RuntimeError", "KeyError", "OSError", "ZeroDivisionError"])
def test_other_failures_pass_unchanged(error, tmp_path, monkeypatch):
    name = f"failing_{error.lower()}"
    (tmp_path / f"{name}.py").write_text(f"def fail() -> int:\n    raise {error}('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Exception, match="no") as caught:
        build({"_target_": f"{name}.fail"}, "m", [name])
    assert type(caught.value).__name__ == error


def test_a_missing_file_is_the_users_input(tmp_path, monkeypatch):
    (tmp_path / "reader.py").write_text("def read(path: str) -> str:\n    return open(path).read()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"^data\.source: .*No such file.*absent\.csv"):
        build({"source": {"_target_": "reader.read", "path": str(tmp_path / "absent.csv")}}, "data", ["reader"])


def test_a_target_of_ones_own_is_checked_and_called_alike():
    assert call(nn.Linear, {"in_features": 2, "out_features": 3}, "x").out_features == 3
    assert [problem.path for problem in check_call(nn.Linear, {"in_features": "2"}, "x")] == [
        "x.in_features",
        "x.out_features",
    ]
    with pytest.raises(InputError, match="2 problems"):
        call(nn.Linear, {"in_features": "2"}, "x")
