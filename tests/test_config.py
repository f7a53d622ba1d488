"""Experiments: read, put over a base, overridden, resolved, checked, written."""

from pathlib import Path

import pytest
import yaml

from kdmm import config as configuration
from kdmm.config import Config, differences, load, nearest_path, save, to_dict
from kdmm.config.overrides import merged
from kdmm.errors import InputError

ALLOW = ["toybox"]
GOOD = """\
name: toy
data: {_target_: toybox.Data, batch_size: 8}
module:
  _target_: toybox.Module
  student: {_target_: toybox.Net, width: 3}
  teacher: {_target_: toybox.Net, width: 30}
  objective:
    _target_: toybox.Objective
    terms:
      soft: {_target_: toybox.Term, pair: [image, text]}
    weights: {soft: 1.0}
  optimizer: {_target_: torch.optim.AdamW, _partial_: true, lr: 1e-3}
"""


@pytest.fixture(autouse=True)
def _toybox(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "packages"))
    monkeypatch.chdir(tmp_path)


def write(text, name="toy.yaml"):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text, encoding="utf-8")
    return path


def refusal(text, *overrides):
    with pytest.raises(InputError) as caught:
        load(write(text), overrides, ALLOW)
    return str(caught.value)


def test_a_good_experiment_gets_its_defaults():
    config = load(write(GOOD), (), ALLOW)
    assert (config.name, config.seed, config.description) == ("toy", 0, "")
    assert config.trainer == {"accelerator": "auto", "devices": 1, "precision": "32-true", "max_epochs": 10}
    assert config.logger is None
    assert config.callbacks == {}
    assert config.module["optimizer"]["lr"] == 0.001  # YAML 1.1 itself reads 1e-3 as text
    configuration.check(config, ALLOW)


def test_a_mapping_serves_as_a_file_does():
    assert load(yaml.safe_load(GOOD.replace("1e-3", "0.001")), (), ALLOW) == load(write(GOOD), (), ALLOW)


BROKEN = {
    # the file
    "empty": ("", [], ["toy.yaml is empty. An experiment needs name, data and module."]),
    "only comments": ("# nothing yet\n", [], ["toy.yaml is empty"]),
    "a list": (
        "- name\n- data\n",
        [],
        ["toy.yaml holds a list. An experiment is a mapping with name, data and module."],
    ),
    "a number": ("3\n", [], ["toy.yaml cannot be read"]),
    "a word": ("hello\n", [], ["hello: unknown setting; accepted: name, data, module"]),
    "syntax": ("name: a\ndata: {_target_: x\nmodule: 3\n", [], ["toy.yaml, line 3, column 7: ", "expected ',' or '}'"]),
    "indentation": ("name: a\n data: 3\n", [], ["toy.yaml, line 2, column 6: mapping values are not allowed in this"]),
    "a tab": ("name:\n\t- 3\n", [], ["toy.yaml, line 2, column 1: found character that cannot start any"]),
    "a key twice": (GOOD + "name: other\n", [], ["toy.yaml, line 13, column 1: found duplicate key name."]),
    "a key twice inside": (
        "name: a\ndata:\n  b: 1\n  b: 2\n",
        [],
        ["toy.yaml, line 4, column 3: found duplicate key b."],
    ),
    "no text": (b"\xff\xfe\x00\x01", [], ["toy.yaml is no text in UTF-8"]),
    "a python object": (
        "name: !!python/object/apply:os.system [echo]\n",
        [],
        ["line 1, column 7: could not determine a"],
    ),
    "a circle": ("name: &a [*a]\n", [], ["toy.yaml"]),
    "many aliases": (
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{chr(ord(n) - 1)}'] * 9)}]\n" for n in "bcdefghi"),
        [],
        ["toy.yaml"],
    ),
    # the shell
    "an unknown setting": (
        GOOD + "sed: 3\n",
        [],
        ["sed: unknown setting; accepted: name, data, module, descri", "'seed'?"],
    ),
    "no name": (GOOD.replace("name: toy\n", ""), [], ["name: missing setting; accepted: text."]),
    "no module": ("name: a\ndata: {_target_: toybox.Data}\n", [], ["module: missing setting; accepted: mapping"]),
    "a name that leaves": (GOOD, ["name=../../home"], ["name: found '../../home'; accepted: letters, digits"]),
    "a name from the root": (GOOD, ["name=/etc/kdmm"], ["name: found '/etc/kdmm'"]),
    "a name of dots": (GOOD, ["name=a/../../b"], ["name: found 'a/../../b'"]),
    "a text for a seed": (GOOD, ["seed=one"], ["seed: found 'one' (text); accepted: integer."]),
    "a negative seed": (GOOD, ["seed=-1"], ["seed: found -1; accepted: 0 to 4294967295."]),
    "a boolean for a seed": (GOOD, ["seed=true"], ["seed: found true (boolean); accepted: integer."]),
    "a list for a module": (GOOD, ["module=[1]"], ["module: found [1] (list); accepted: mapping of text to anything."]),
    "no target": (
        GOOD,
        ["~module._target_"],
        ["module: found {'student'", "accepted: a `_target_` that makes lightning"],
    ),
    "data that is none": (
        GOOD,
        ["data={_target_: torch.nn.Identity}"],
        ["data: found a `_target_` that makes torch.nn"],
    ),
    # base and references
    "a base that is not there": (GOOD + "base: basis.yaml\n", [], ["basis.yaml does not exist."]),
    "a base that is no path": (GOOD + "base: [a, b]\n", [], ["toy.yaml: base: found ['a', 'b']; accepted: one path"]),
    "a reference to nothing": (
        GOOD,
        ["name=a-${sede}"],
        ["name: refers to 'sede', which is not set. Did you mean 'seed'?"],
    ),
    "the environment": (
        GOOD,
        ["name=${oc.env:HOME}"],
        ["name: found '${oc.env:HOME}'; accepted: ${key} of this config"],
    ),
    "a resolver inside": (GOOD, ["name=a${oc.decode:${oc.env:HOME}}"], ["accepted: ${key} of this config only"]),
    "a resolver by reference": (GOOD, ["name=${${description}:HOME}"], ["accepted: ${key} of this config only"]),
    "an open reference in the file": (GOOD + "description: ${seed\n", [], ["toy.yaml cannot be read"]),
    "an open reference": (GOOD, ["description=${seed"], ["override 'description=${seed': the value is no YAML"]),
    "itself": (GOOD, ["name=${name}"], ["name: cannot be resolved"]),
    "its own holder": (GOOD, ["module.student.inner=${module}"], ["module.student.inner: cannot be resolved"]),
    "a circle of holders": (GOOD + "x: {a: '${y}'}\ny: {b: '${x}'}\n", [], ["the settings contain themselves"]),
    "a value to be given": (
        GOOD,
        ["data.batch_size=???"],
        ["data.batch_size: a value must be given; accepted: data.bat"],
    ),
    # overrides
    "no equals sign": (GOOD, ["seed"], ["override 'seed'; accepted: key=value to set a key, ~key to remove one."]),
    "nothing": (GOOD, ["=3"], ["override '=3'; accepted: key=value"]),
    "an unknown key": (GOOD, ["sed=3"], ["sed: unknown setting", "Did you mean 'seed'?"]),
    "an unknown room": (
        GOOD,
        ["modul.student.width=3"],
        ["override 'modul.student.width=3': there is no 'modul'", "'module'?"],
    ),
    "an unknown part": (GOOD, ["module.studnt.width=3"], ["there is no 'module.studnt'", "Did you mean 'student'?"]),
    "an unknown argument": (GOOD, ["module.student.widht=3"], ["module.student.widht: unknown argument", "'width'?"]),
    "below a value": (GOOD, ["seed.a=3"], ["override 'seed.a=3': there is no 'seed.a'"]),
    "an index too far": (GOOD, ["module.objective.terms.soft.pair.2=a"], ["there is no", "accepted: 0 to 1."]),
    "removing what is not there": (GOOD, ["~module.teach"], ["there is no 'module.teach'", "Did you mean 'teacher'?"]),
    "removing with a value": (
        GOOD,
        ["~seed=3"],
        ["override '~seed=3'; accepted: key=value to set a key, ~key to remove"],
    ),
    "a mapping by mistake": (GOOD, ["description=a: b"], ["description: found {'a': 'b'} (mapping); accepted: text."]),
    "half a list": (GOOD, ["seed=[1"], ["override 'seed=[1': the value is no YAML"]),
    # targets and arguments
    "an unknown target": (
        GOOD,
        ["data._target_=toybox.Dato"],
        ["data._target_: unknown target 'toybox.Dato'", "toybox.Data"],
    ),
    "a forbidden target": (
        GOOD,
        ["data._target_=os.system"],
        ["data._target_: 'os.system' is not in an allowed namespace"],
    ),
    "an argument missing": (GOOD, ["~module.student.width"], ["module.student.width: missing argument of toybox.Net"]),
    "a number as text": (
        GOOD,
        ["module.student.width='3'"],
        ["module.student.width: found '3' (text); accepted: integer."],
    ),
    "one text for a pair": (
        GOOD,
        ["module.objective.terms.soft.pair=image"],
        ["module.objective.terms.soft.pair: found 'image' (text); accepted: list of text."],
    ),
    "an optimizer at once": (
        GOOD,
        ["~module.optimizer._partial_"],
        ["module.optimizer: found a `_target_` that makes torch"],
    ),
    "a layer as optimizer": (
        GOOD,
        ["module.optimizer._target_=torch.nn.Linear"],
        ["module.optimizer: found a node with"],
    ),
    "what nobody gives": (
        GOOD,
        ["module.objective.terms.soft.other=audio"],
        ["module.objective.terms.soft: reads teacher.audio; the teacher gives image, logit_scale, text."],
    ),
    # trainer, callbacks, logger
    "a trainer's argument": (GOOD, ["trainer.max_epohcs=3"], ["trainer.max_epohcs: unknown argument", "'max_epochs'?"]),
    "a trainer's value": (
        GOOD,
        ["trainer.max_epochs=many"],
        ["trainer.max_epochs: found 'many' (text); accepted: integer"],
    ),
    "a precision": (
        GOOD,
        ["trainer.precision=bf17-mixed"],
        ["trainer.precision: found 'bf17-mixed' (text); accepted: 64"],
    ),
    "an accelerator": (
        GOOD,
        ["trainer.accelerator=gpuu"],
        ["trainer.accelerator: found 'gpuu'", "Did you mean 'gpu'?"],
    ),
    "a strategy": (GOOD, ["trainer.strategy=dpp"], ["trainer.strategy: found 'dpp'", "Did you mean 'ddp'?"]),
    "a logger there": (
        GOOD,
        ["trainer.logger=true"],
        ["trainer.logger: is not set here: set `logger` at the top level."],
    ),
    "no trainer": (GOOD, ["trainer=null"], ["trainer: found null; accepted: mapping of text to anything."]),
    "a callback that is none": (
        GOOD,
        ["callbacks.stop={_target_: torch.nn.Identity}"],
        ["callbacks.stop: found a `_target_` that makes torch.nn.modules.linear.Identity; accepted: a `_target_` that"],
    ),
    "a callback's argument": (
        GOOD,
        ["callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitr: a}"],
        ["callbacks.stop.monitr: unknown argument", "'monitor'?", "callbacks.stop.monitor: missing argument"],
    ),
    "a logger that is text": (
        GOOD,
        ["logger.wandb=true"],
        ["logger.wandb: found true (boolean); accepted: a `_target_`"],
    ),
    "callbacks in a list": (GOOD, ["callbacks=[1]"], ["callbacks: found [1] (list); accepted: mapping"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_experiment_ends_in_one_message(case):
    text, overrides, fragments = BROKEN[case]
    message = refusal(text, *overrides)
    for fragment in fragments:
        assert fragment in message
    assert "toy.yaml" in message


def test_all_problems_are_reported_together():
    message = refusal(
        GOOD + "sed: 1\n",
        "name=${nam}",
        "module.student.widht=3",
        "module.objective.terms.soft.pair=[image, audio]",
        "trainer.max_epohcs=1",
        "data.batch_size='8'",
        "modul.x.y=3",
    )
    lines = message.splitlines()
    assert lines[0] == "toy.yaml: 7 problems:"
    starts = ["  override 'modul.x.y=3'", "  name:", "  sed:", "  data.batch_size:", "  module.student.widht:"]
    starts += ["  module.objective.terms.soft: reads student.audio", "  trainer.max_epohcs:"]
    assert len(lines) == 8
    for line, start in zip(lines[1:], starts, strict=True):
        assert line.startswith(start)


def test_targets_are_left_alone_until_packages_are_given():
    path = write(GOOD.replace("toybox.Data", "nowhere.Data"))
    assert load(path).data["_target_"] == "nowhere.Data"
    with pytest.raises(InputError, match="sed: unknown setting"):
        load(path, ["sed=1"])
    with pytest.raises(InputError, match=r"'nowhere.Data' is not in an allowed namespace"):
        load(path, (), [])


def test_an_experiment_made_in_python_can_be_checked():
    config = load(write(GOOD), (), ALLOW)
    config.seed, config.data = -3, {"_target_": "toybox.Dato"}
    with pytest.raises(InputError) as caught:
        configuration.check(config, ALLOW)
    assert str(caught.value).startswith("2 problems:\n  seed: found -3; accepted: 0 to")


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("seed=7", ["seed"], 7),
        ("description='a b: c'", ["description"], "a b: c"),
        ("description=a=b", ["description"], "a=b"),
        ("trainer.limit_train_batches=0.5", ["trainer", "limit_train_batches"], 0.5),
        ("module.optimizer.lr=1e-4", ["module", "optimizer", "lr"], 1e-4),
        ("module.optimizer.betas=[0.9, 0.98]", ["module", "optimizer", "betas"], [0.9, 0.98]),
        (
            "module.objective.terms.soft.pair.1=image",
            ["module", "objective", "terms", "soft", "pair"],
            ["image", "image"],
        ),
        ("module.objective.terms.soft.pair[1]=image", ["module", "objective", "terms", "soft", "pair"], ["image"] * 2),
        ("module.student.inner=null", ["module", "student", "inner"], None),
        ("module.student={rate: 0.1}", ["module", "student"], {"_target_": "toybox.Net", "width": 3, "rate": 0.1}),
        ("module.student={_target_: toybox.make_net}", ["module", "student"], {"_target_": "toybox.make_net"}),
        ("name=toy-${seed}", ["name"], "toy-0"),
        ("seed=${module.student.width}", ["seed"], 3),
        ("module.teacher=${module.student}", ["module", "teacher"], {"_target_": "toybox.Net", "width": 3}),
        (
            "logger.csv={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: '${name}'}",
            ["logger", "csv", "save_dir"],
            "toy",
        ),
        ("callbacks=null", ["callbacks"], {}),
    ],
)
def test_overrides_are_yaml_values(override, path, expected):
    found = to_dict(load(write(GOOD), [override], ALLOW))
    for key in path:
        found = found[key]
    assert found == expected
    assert type(found) is type(expected)


def test_overrides_apply_in_order():
    config = load(write(GOOD), ["seed=1", "seed=2", "~module.optimizer", "trainer.max_steps=5"])
    assert config.seed == 2
    assert "optimizer" not in config.module
    assert config.trainer["max_epochs"] == -1  # steps end the run, so epochs do not


def test_a_file_changes_its_base():
    write(
        GOOD + "callbacks:\n  stop: {_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss}\n",
        "shared/base.yaml",
    )
    write(
        "base: ../shared/base.yaml\nname: child-${seed}\nseed: 4\ncallbacks: {stop: null}\n"
        "module:\n  teacher: {_target_: toybox.make_net}\n  student: {rate: 0.25}\n"
        "  objective: {terms: {hard: {_target_: toybox.Hard}}}\n",
        "children/child.yaml",
    )
    config = load("children/child.yaml", (), ALLOW)
    assert config.name == "child-4"
    assert config.callbacks == {}
    assert config.module["teacher"] == {
        "_target_": "toybox.make_net"
    }  # another target: the base's width is not its own
    assert config.module["student"] == {"_target_": "toybox.Net", "width": 3, "rate": 0.25}
    assert list(config.module["objective"]["terms"]) == ["soft", "hard"]
    assert config.data["batch_size"] == 8


def test_a_base_has_no_base():
    write(GOOD, "a.yaml")
    write("base: a.yaml\n", "b.yaml")
    write("base: b.yaml\n", "c.yaml")
    assert load("b.yaml", (), ALLOW).name == "toy"
    with pytest.raises(
        InputError, match=r"c.yaml: base: b.yaml has a base itself. Only one is allowed: merge the two."
    ):
        load("c.yaml")


def test_what_is_saved_is_read_back():
    config = load(write(GOOD), ["description='yes: \"1e-3\" # no'", "name=toy-${seed}"], ALLOW)
    save(config, Path("config.yaml"))
    assert load("config.yaml", (), ALLOW) == config
    assert [path.name for path in Path().iterdir()].count("config.yaml.partial") == 0
    assert "${" not in Path("config.yaml").read_text()


def test_a_file_that_cannot_be_written_leaves_the_old_one(monkeypatch):
    config = load(write(GOOD), (), ALLOW)
    save(config, Path("config.yaml"))
    before = Path("config.yaml").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save(Config("new", {}, {}), Path("config.yaml"))
    assert Path("config.yaml").read_bytes() == before
    assert sorted(path.name for path in Path().glob("config*")) == ["config.yaml"]


def test_differences_are_named_by_path():
    first = load(write(GOOD), (), ALLOW)
    second = load(
        write(GOOD), ["seed=1", "module.student.rate=0.5", "~module.optimizer.lr", "data.batch_size=9"], ALLOW
    )
    assert differences(first, second) == ["data.batch_size", "module.student.rate", "module.optimizer.lr", "seed"]
    assert differences(first, first) == []


def test_a_missing_file_gets_the_nearest_name():
    write(GOOD, "experiments/quickstart/student.yaml")
    typo = Path("experiments/quikstart/studnet.yaml")
    assert nearest_path(typo) == " Did you mean 'experiments/quickstart/student.yaml'?"
    with pytest.raises(InputError, match=r"does not exist. Did you mean 'experiments/quickstart/student.yaml'?"):
        load(typo)
    assert (
        nearest_path(typo.absolute()) == f" Did you mean {str(Path.cwd() / 'experiments/quickstart/student.yaml')!r}?"
    )
    assert nearest_path(Path("zzz/qqq.yaml")) == ""
    assert nearest_path(Path("experiments/quickstart/student.yaml/more")) == ""
    with pytest.raises(InputError, match=r"experiments is a folder. Give one YAML file in it."):
        load("experiments")


def test_doubling_references_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("kdmm.config.references.MAX_VALUES", 500)
    doubling = "".join(f"  k{i}: ['${{module.k{i - 1}}}', '${{module.k{i - 1}}}']\n" for i in range(1, 40))
    message = refusal(f"name: a\ndata: {{_target_: toybox.Data}}\nmodule:\n  k0: [1]\n{doubling}")
    assert "repeat each other without end" in message


def test_a_node_keeps_and_drops_what_it_names(tmp_path):
    below = {"_target_": "a", "student": {"x": 1}, "teacher": 2, "sources": {"first": 1, "second": 2, "third": 3}}
    above = {"_target_": "b", "_keep_": ["student", "sources"], "sources": {"_drop_": ["second"], "fourth": 4}}
    expected = {"_target_": "b", "student": {"x": 1}, "sources": {"first": 1, "third": 3, "fourth": 4}}
    assert merged(below, above) == expected
    assert merged(below, {"sources": {"_drop_": ["first", "second"]}})["sources"] == {"third": 3}
    assert below["sources"] == {"first": 1, "second": 2, "third": 3}
