"""The command line: what is called, what is printed, and the exit status."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import kdmm
from kdmm import console, losses
from kdmm.cli import main
from kdmm.errors import FullDiskError, InputError, InterruptedRunError, NonFiniteLossError

YAML = """\
name: toy
data: {_target_: toybox.Data}
module:
  _target_: toybox.Alone
  student: {_target_: toybox.Net, width: 3}
  objective: {_target_: toybox.Objective, terms: {hard: {_target_: toybox.Hard}}}
"""


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "packages"))
    monkeypatch.delenv("KDMM_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("experiments/quickstart").mkdir(parents=True)
    Path("experiments/quickstart/student.yaml").write_text(YAML)
    Path("runs/toy").mkdir(parents=True)


@pytest.fixture
def calls(monkeypatch):
    """Stands in for `kdmm.run`: remembers how it was called, and raises or returns what it is told to."""
    table = SimpleNamespace(to_markdown=lambda: "| run | R@5 |", to_rich=lambda: ["drawn"])
    told = SimpleNamespace(made=[], error=None)

    def stub(name, result):
        def function(*arguments, **named):
            told.made.append((name, arguments, named))
            if told.error is not None:
                raise told.error
            return result

        return function

    done = SimpleNamespace(dir=Path("runs/toy"), metrics={"test/recall@5": 0.123456789, "val/loss": 2.0})
    written = SimpleNamespace(path=Path("runs/toy/generated-train.jsonl"), texts=12, empty=1)
    functions = {"fit": done, "evaluate": {"test/recall@1": 0.5}, "report": table, "generate": written, "verify": []}
    module = SimpleNamespace(**{name: stub(name, result) for name, result in functions.items()})
    monkeypatch.setitem(sys.modules, "kdmm.run", module)
    monkeypatch.setattr(kdmm, "run", module, raising=False)
    return told


STUDENT = "experiments/quickstart/student.yaml"
NO_SETTINGS = {"resume": False, "overwrite": False, "allow": []}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit", STUDENT], ("fit", (STUDENT, []), NO_SETTINGS)),
        (["fit", STUDENT, "seed=1", "~logger"], ("fit", (STUDENT, ["seed=1", "~logger"]), NO_SETTINGS)),
        (
            ["fit", STUDENT, "a=-1", "--resume", "b=2"],
            ("fit", (STUDENT, ["a=-1", "b=2"]), NO_SETTINGS | {"resume": True}),
        ),
        (["fit", "--overwrite", STUDENT, "a=1"], ("fit", (STUDENT, ["a=1"]), NO_SETTINGS | {"overwrite": True})),
        (
            ["fit", "--allow", "one", STUDENT, "--allow=two", "--traceback"],
            ("fit", (STUDENT, []), NO_SETTINGS | {"allow": ["one", "two"]}),
        ),
        (
            ["evaluate", "runs/toy", "seed=1", "--split", "val", "--data", STUDENT],
            ("evaluate", ("runs/toy",), {"data": STUDENT, "overrides": ["seed=1"], "split": "val", "allow": []}),
        ),
        (
            ["evaluate", "runs/toy"],
            ("evaluate", ("runs/toy",), {"data": None, "overrides": [], "split": "test", "allow": []}),
        ),
        (
            ["generate", "runs/toy"],
            (
                "generate",
                ("runs/toy",),
                {
                    "data": None,
                    "overrides": [],
                    "split": "train",
                    "beams": 4,
                    "max_tokens": None,
                    "output": None,
                    "batch_size": 64,
                    "nearest": None,
                    "judge": None,
                    "allow": [],
                },
            ),
        ),
        (
            [
                *["generate", "runs/toy", "--split", "val", "--beams", "1", "data.batch_size=2", "--output", "a.jsonl"],
                *["--data", STUDENT, "--max-tokens", "9", "--batch-size=3", "--nearest", "chrf", "--allow", "one"],
                *["--judge", "runs/toy"],
            ],
            (
                "generate",
                ("runs/toy",),
                {
                    "data": STUDENT,
                    "overrides": ["data.batch_size=2"],
                    "split": "val",
                    "beams": 1,
                    "max_tokens": 9,
                    "output": "a.jsonl",
                    "batch_size": 3,
                    "nearest": "chrf",
                    "judge": "runs/toy",
                    "allow": ["one"],
                },
            ),
        ),
        (["cache", "verify", STUDENT], ("verify", (STUDENT, 100, []), {"store": None, "allow": []})),
        (
            ["cache", "verify", STUDENT, "--entries", "7", "seed=1", "--store", "s", "--allow", "one"],
            ("verify", (STUDENT, 7, ["seed=1"]), {"store": "s", "allow": ["one"]}),
        ),
        (["report", "runs/toy"], ("report", (["runs/toy"],), {"output": None, "speed": True, "allow": []})),
        (
            ["report", "runs/toy", "--output", "table.md", "runs/toy", "--no-speed", "--allow", "one"],
            ("report", (["runs/toy", "runs/toy"],), {"output": "table.md", "speed": False, "allow": ["one"]}),
        ),
    ],
)
def test_commands_pass_their_arguments(calls, words, expected, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(words) == 0
    assert calls.made == [expected]


def test_results_are_plain_lines_in_a_pipe(calls, capsys):
    assert main(["fit", STUDENT]) == 0
    assert capsys.readouterr() == ("test/recall@5\t0.123457\nval/loss\t2\nruns/toy\n", "")
    assert main(["evaluate", "runs/toy"]) == 0
    assert capsys.readouterr() == ("test/recall@1\t0.5\n", "")
    assert main(["report", "runs/toy"]) == 0
    assert capsys.readouterr() == ("| run | R@5 |\n", "")
    assert main(["generate", "runs/toy"]) == 0
    assert capsys.readouterr() == ("texts\t12\nempty, left out\t1\nruns/toy/generated-train.jsonl\n", "")


def test_only_one_process_of_a_run_prints(calls, capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["fit", STUDENT]) == 0
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_table(calls, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["evaluate", "runs/toy"]) == 0
    coloured = sys.stdout.getvalue()
    assert "metric" in coloured
    assert "0.5" in coloured
    assert "\033[" in coloured
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["report", "runs/toy"]) == 0
    assert sys.stdout.getvalue() == "drawn\n"


def test_no_color_is_respected(calls, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["evaluate", "runs/toy"]) == 0
    assert main(["evaluate", "runs/no"]) == 2
    assert "metric" in sys.stdout.getvalue()
    assert "\033" not in sys.stdout.getvalue() + sys.stderr.getvalue()
    monkeypatch.delenv("NO_COLOR")
    console.print_error("x")
    assert sys.stderr.getvalue().endswith("\033[1;31merror:\033[0m x\n")


WRONG = [
    ([], ["a command is missing; accepted: fit, evaluate, check, report, plan, compare, list"]),
    (
        ["fti", STUDENT],
        ["unknown command 'fti'; accepted: fit, evaluate, check, report, plan, compare, list,", "Did you mean 'fit'?"],
    ),
    (["fit"], ["the following arguments are required: CONFIG", "`kdmm fit --help` tells more"]),
    (["fit", STUDENT, "--resum"], ["unknown option '--resum' of `kdmm fit`", "Did you mean '--resume'?"]),
    (["fit", STUDENT, "--resume", "--overwrite"], ["argument --overwrite: not allowed with argument --resume"]),
    (
        ["fit", "experiments/quikstart/student.yaml"],
        ["does not exist. Did you mean 'experiments/quickstart/student.yaml'?"],
    ),
    (["check", "experiments/quikstart/studnt.yaml"], ["Did you mean 'experiments/quickstart/student.yaml'?"]),
    (["check", "experiments"], ["experiments is a folder. Give one YAML file in it."]),
    (["evaluate", "runs/tyo"], ["runs/tyo does not exist. Did you mean 'runs/toy'?"]),
    (["evaluate", "runs/toy", "--data", "no.yaml"], ["no.yaml does not exist."]),
    (
        ["evaluate", "runs/toy", "--split", "tset"],
        ["--split: found 'tset'; accepted: val, test. Did you mean 'test'?"],
    ),
    (["generate", "runs/tyo"], ["runs/tyo does not exist. Did you mean 'runs/toy'?"]),
    (["generate", "runs/toy", "--data", "no.yaml"], ["no.yaml does not exist."]),
    (
        ["generate", "runs/toy", "--split", "tran"],
        ["--split: found 'tran'; accepted: train, val, test. Did you mean 'train'?"],
    ),
    (["generate", "runs/toy", "--beams", "many"], ["argument --beams: invalid int value: 'many'"]),
    (["generate", "runs/toy", "--beam", "4"], ["unknown option '--beam' of `kdmm generate`", "'--beams'?"]),
    (["report", "runs/toy", "runs/toi"], ["runs/toi does not exist. Did you mean 'runs/toy'?"]),
    (["list", "lossess"], ["found 'lossess'; accepted: losses, models, data, metrics. Did you mean 'losses'?"]),
    (["list", "losses", "more"], ["`kdmm list` takes no 'more'."]),
    (["list"], ["the following arguments are required"]),
    (
        ["check", STUDENT],
        ["toybox.Data' is not in an allowed namespace", "--allow PACKAGE", "5 problems:\n  data._target_"],
    ),
    (["check", STUDENT, "--allow", "toybox", "sed=1", "module.student.widht=2"], ["2 problems:\n  sed: ", "'width'?"]),
    (
        ["check", STUDENT, "--allow", "toybox", "name=../up", "data.batch_size=x"],
        ["  name: found", "  data.batch_size: "],
    ),
]


@pytest.mark.parametrize(("words", "fragments"), WRONG)
def test_wrong_input_is_one_message_and_status_2(calls, capsys, words, fragments):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert "\033" not in err
    for fragment in fragments:
        assert fragment in err
    assert calls.made == []


def test_a_good_experiment_passes_its_check(capsys):
    assert main(["check", STUDENT, "--allow", "toybox"]) == 0
    assert capsys.readouterr() == (f"{STUDENT}: no problems\n", "")


def test_an_allowed_package_may_lie_in_the_current_folder(capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("lying_here.py").write_text("import lightning.pytorch as pl\nclass Data(pl.LightningDataModule):\n    pass\n")
    words = ["check", STUDENT, "data._target_=lying_here.Data", "--allow", "toybox"]
    assert main(words) == 2
    assert main([*words, "--allow", "lying_here"]) == 0


def wrapped():
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/toy/checkpoints/last.ckpt")
    except OSError as error:
        failure = RuntimeError("writing failed")
        failure.__cause__ = error
        return failure


class MisconfigurationException(Exception):  # noqa: N818  Lightning's own name
    """Lightning raises one of this name for wrong settings."""


HINT = "\n  The whole traceback: the same command with --traceback.\n"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("data.path: no such file."), 2, "error: data.path: no such file.\n"),
        (MisconfigurationException("No GPU.\nMore."), 2, "error: No GPU.\n"),
        (NonFiniteLossError("hard is nan at step 3."), 1, "error: hard is nan at step 3.\n"),
        (FullDiskError("no room for last.ckpt."), 1, "error: no room for last.ckpt.\n"),
        (
            wrapped(),
            1,
            "error: the disk is full: runs/toy/checkpoints/last.ckpt could not be written. "
            "Make room; `kdmm fit --resume` continues a run.\n",
        ),
        (OSError(errno.ENOSPC, "No space"), 1, "error: the disk is full: a file could not be written. Make room;"),
        (
            InterruptedRunError("stopped at step 7; the state is saved."),
            130,
            "error: stopped at step 7; the state is saved.\n",
        ),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (RuntimeError("shapes differ\n(3) and (4)"), 1, f"error: RuntimeError: shapes differ{HINT}"),
        (AssertionError(), 1, f"error: AssertionError{HINT}"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, "error: PermissionError: [Errno 13]"),
    ],
)
def test_failures_have_a_status_and_one_message(calls, capsys, error, status, message):
    calls.error = error
    assert main(["fit", STUDENT]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert "Traceback" not in err


def test_a_traceback_is_shown_on_request(calls, capsys, monkeypatch):
    calls.error = RuntimeError("shapes differ")
    assert main(["fit", STUDENT, "--traceback"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.endswith("error: RuntimeError: shapes differ\n")
    monkeypatch.setenv("KDMM_TRACEBACK", "1")
    assert main(["fit", STUDENT]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_list_says_what_can_be_named(capsys):
    assert main(["list", "losses"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in rows} == {4}
    named = {row[0]: row[1:] for row in rows}
    assert len(named) == len(rows)
    family, reads, paper = named["kdmm.losses.Affinity"]
    assert family == "pairs"
    assert reads == "student.<pair>, student.logit_scale, teacher.<pair>, teacher.logit_scale"
    assert "arXiv:2307.12732" in paper
    assert named["kdmm.losses.FeatureMatch"][0] == "features"
    assert named["kdmm.losses.Fit"] == ["adapters", "", ""]
    terms = [issubclass(getattr(losses, name.rpartition(".")[2]), losses.Term) for name in named]
    assert terms == sorted(terms, reverse=True)  # then what belongs to them
    families = dict.fromkeys(row[1] for row, is_term in zip(rows, terms, strict=True) if is_term)
    assert list(families)[:2] == ["logits", "features"]
    assert all(row[3] for row, is_term in zip(rows, terms, strict=True) if is_term)
    assert main(["list", "models"]) == 0
    assert "kdmm.models.DualEncoder\timage, logit_bias, logit_scale, text\t" in capsys.readouterr().out


def python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)


HEAVY = {"torch", "lightning", "omegaconf", "rich", "numpy", "PIL", "wandb", "transformers", "open_clip", "timm"}


def imported(*words):
    """Run Python and return what it did, and the names of the packages that it imported."""
    done = python("-X", "importtime", *words)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done, {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["--version"], []])
def test_help_answers_without_importing_anything_heavy(words):
    done, packages = imported("-m", "kdmm", *words)
    assert done.returncode == (0 if words else 2)
    assert "kdmm" in packages
    assert not packages & HEAVY
    if words == ["--help"]:
        assert "experiments/quickstart/student.yaml" in done.stdout


def test_the_version_is_printed():
    done = python("-m", "kdmm", "--version")
    assert (done.returncode, done.stdout) == (0, f"kdmm {kdmm.__version__}\n")


def test_a_misspelt_path_is_found_before_torch_is_imported():
    done, packages = imported("-m", "kdmm", "fit", "experiments/quikstart/student.yaml")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("Did you mean 'experiments/quickstart/student.yaml'?")
    assert "torch" not in packages


def test_a_reader_that_leaves_is_no_error():
    script = (
        "import sys, types; run = types.ModuleType('kdmm.run')\n"
        "run.evaluate = lambda *a, **k: {f'metric/{i}': 0.5 for i in range(100_000)}\n"
        "sys.modules['kdmm.run'] = run\n"
        "from kdmm.cli import main; sys.exit(main(['evaluate', 'runs/toy']))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"metric/0\t0.5\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 1
    process.stderr.close()
