"""The words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NoReturn

import kdmm
from kdmm.cli.commands import KINDS, VERIFY
from kdmm.errors import InputError

__all__ = ["make_parser"]

EPILOG = """\
examples:
  kdmm check experiments/quickstart/student.yaml
  kdmm fit experiments/quickstart/student.yaml trainer.max_epochs=2 seed=1
  kdmm plan experiments/quickstart/student.yaml
  kdmm evaluate runs/quickstart-student
  kdmm report runs/quickstart-teacher runs/quickstart-student --output table.md
  kdmm compare experiments/text/series.yaml --folds 0 1 2
  kdmm fetch tuxpaint
  kdmm generate runs/translation/teacher --beams 4
  kdmm cache experiments/quickstart/student.yaml --store stores/quickstart
  kdmm cache verify experiments/quickstart/student.yaml --store stores/quickstart

exit status: 0 done, 1 failed while running, 2 wrong input, 130 interrupted (state saved)
"""


def make_parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return the parser of all commands, and that of each command by name."""
    parser = Parser(
        prog="kdmm", description=kdmm.__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"kdmm {kdmm.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    common = Parser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an error came from (or KDMM_TRACEBACK=1)")
    building = Parser(add_help=False)
    building.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package of yours that the YAML may name; also looked for in the current folder",
    )

    fit = commands.add_parser("fit", parents=[building, common], help="train what a YAML describes")
    fit.add_argument("config", metavar="CONFIG", help="the experiment's YAML")
    fit.add_argument("rest", nargs="*", metavar="key=value", help="settings changed; ~key removes one")
    existing = fit.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue an interrupted run")
    existing.add_argument("--overwrite", action="store_true", help="replace an existing run")

    evaluate = commands.add_parser("evaluate", parents=[building, common], help="measure a run's model")
    evaluate.add_argument("run", metavar="RUN", help="the run's folder")
    evaluate.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    evaluate.add_argument(
        "--data", metavar="CONFIG", help="a YAML whose `data` is measured on instead of the run's own"
    )
    evaluate.add_argument("--split", default="test", help="val or test (default: test)")

    check = commands.add_parser("check", parents=[building, common], help="say what is wrong in a YAML; build no model")
    check.add_argument("config", metavar="CONFIG", help="the experiment's YAML")
    check.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    check.add_argument("--data", action="store_true", help="also read the data, as `kdmm fit` does before training")

    report = commands.add_parser("report", parents=[building, common], help="compare runs in a table")
    report.add_argument("run", metavar="RUN", help="a run's folder")
    report.add_argument("rest", nargs="*", metavar="RUN", help="more of them")
    report.add_argument("--output", metavar="FILE.md", help="write the table as Markdown, too")
    report.add_argument("--no-speed", action="store_true", help="do not measure images/s, which takes some seconds")

    planning = commands.add_parser("plan", parents=[building, common], help="say what a distillation will cost")
    planning.add_argument("config", metavar="CONFIG", help="the experiment's YAML")
    planning.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    planning.add_argument("--steps", type=int, default=20, help="to be measured (default: 20)")
    planning.add_argument("--tune", action="store_true", help="measure the speed by workers and threads instead")

    comparing = commands.add_parser("compare", parents=[building, common], help="run a series over folds, and compare")
    comparing.add_argument("series", metavar="SERIES", help="the series' YAML")
    comparing.add_argument("--folds", type=int, nargs="+", default=[], help="instead of the file's")
    comparing.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these, and what they stand on")
    comparing.add_argument("--check", action="store_true", help="check every experiment, and run none")
    comparing.add_argument("--no-speed", action="store_true", help="do not measure samples/s, which takes some seconds")

    listing = commands.add_parser("list", parents=[common], help="what a YAML can name: losses, models, data, metrics")
    listing.add_argument("kind", metavar="{" + ",".join(KINDS) + "}")

    fetching = commands.add_parser("fetch", parents=[common], help="get data that pip cannot install, or list it")
    fetching.add_argument("name", metavar="NAME", nargs="?", help="the set; without a name, all are listed")
    fetching.add_argument("--list", action="store_true", help="list the sets, their size and licence")
    fetching.add_argument("--any-version", action="store_true", help="take an unknown version, unchecked")

    writing = commands.add_parser("generate", parents=[building, common], help="let a run's model write about data")
    writing.add_argument("run", metavar="RUN", help="the run's folder")
    writing.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    writing.add_argument("--data", metavar="CONFIG", help="a YAML whose `data` is read instead of the run's own")
    writing.add_argument("--split", default="train", help="train, val or test (default: train)")
    writing.add_argument("--beams", type=int, default=4, help="texts searched beside each other (default: 4)")
    writing.add_argument(
        "--nearest", metavar="bleu|chrf", help="keep, of the beams' texts, the nearest to the sample's own"
    )
    writing.add_argument(
        "--judge", metavar="RUN", help="keep, of the beams' texts, the one that this image-text run finds to fit best"
    )
    writing.add_argument("--max-tokens", type=int, help="the most written for a sample (default: as the model reads)")
    writing.add_argument("--batch-size", type=int, default=64, help="samples at a time (default: 64)")
    writing.add_argument("--output", metavar="FILE.jsonl", help="default: generated-SPLIT.jsonl in the run's folder")

    caching = commands.add_parser("cache", parents=[building, common], help="store what a teacher says of the data")
    caching.add_argument("config", metavar="CONFIG", help="an experiment's YAML")
    caching.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    caching.add_argument(
        "--store",
        metavar="FOLDER",
        help="where to write; several machines share it (default: what CONFIG names, or stores/NAME)",
    )
    caching.add_argument("--dtype", help="float32, float16, bfloat16 or int8 (default: float16)")
    caching.add_argument(
        "--format", action="append", default=[], metavar="OUTPUT=FORMAT", help="of one output, such as logits=top16"
    )
    caching.add_argument("--outputs", nargs="+", metavar="OUTPUT", help="keep these alone")
    caching.add_argument("--splits", nargs="+", metavar="SPLIT", help="default: train, and val if there is one")
    caching.add_argument("--batch-size", type=int, help="samples at a time (default: 64)")
    caching.add_argument("--shard-rows", type=int, help="answers of a file, about (default: 16384)")

    verifying = commands.add_parser(VERIFY, parents=[building, common], help="ask the teacher again, and compare")
    verifying.add_argument("config", metavar="CONFIG", help="the experiment's YAML")
    verifying.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    verifying.add_argument("--store", metavar="FOLDER", help="default: what CONFIG names, or stores/NAME")
    verifying.add_argument(
        "--entries", type=int, default=100, metavar="N", help="drawn at random from each table (default: 100)"
    )
    return parser, commands.choices


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as the other errors are reported, and takes no shortened options."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise InputError(f"{message} (`{self.prog} --help` tells more).")
