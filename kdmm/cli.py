"""The command line. It parses, prints and chooses the exit status; the work is done by `kdmm.run`.

Nothing heavy is imported before a command needs it: ``kdmm --help`` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import kdmm
from kdmm import console
from kdmm.errors import FullDiskError, InputError, InterruptedRunError, NonFiniteLossError, nearest

__all__ = ["main"]

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
KINDS = ("losses", "models", "data", "metrics")
SPLITS = ("val", "test")
ALL_SPLITS = ("train", *SPLITS)
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

exit status: 0 done, 1 failed while running, 2 wrong input, 130 interrupted (state saved)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after ``kdmm``; None takes this process's.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    wants_traceback = "--traceback" in words or os.environ.get("KDMM_TRACEBACK") == "1"
    try:
        _run(words)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse has printed help or the version
        return int(leaving.code or DONE)
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Exception, KeyboardInterrupt) as error:
        if wants_traceback:
            traceback.print_exc()
        status, message = _verdict(error, wants_traceback)
        console.print_error(message)
        return status
    return DONE


def _run(words: list[str]) -> None:
    parser, commands = _parser()
    if words and not words[0].startswith("-") and words[0] not in commands:
        raise InputError(f"unknown command {words[0]!r}; accepted: {', '.join(commands)}.{nearest(words[0], commands)}")
    options, rest = parser.parse_known_args(words)
    if options.command is None:
        raise InputError(f"a command is missing; accepted: {', '.join(commands)} (`kdmm --help` tells more).")
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        known = [name for action in commands[options.command]._actions for name in action.option_strings]
        raise InputError(
            f"unknown option {unknown[0]!r} of `kdmm {options.command}`; accepted: {', '.join(known)}."
            + nearest(unknown[0].partition("=")[0], known)
        )
    if rest and "rest" not in options:
        raise InputError(f"`kdmm {options.command}` takes no {rest[0]!r}.")
    options.rest = [*getattr(options, "rest", []), *rest]  # words after an option, which argparse sets aside
    options.command_function(options)


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    parser = _Parser(
        prog="kdmm", description=kdmm.__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"kdmm {kdmm.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    common = _Parser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an error came from (or KDMM_TRACEBACK=1)")
    building = _Parser(add_help=False)
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
    fit.set_defaults(command_function=_fit)

    evaluate = commands.add_parser("evaluate", parents=[building, common], help="measure a run's model")
    evaluate.add_argument("run", metavar="RUN", help="the run's folder")
    evaluate.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    evaluate.add_argument(
        "--data", metavar="CONFIG", help="a YAML whose `data` is measured on instead of the run's own"
    )
    evaluate.add_argument("--split", default="test", help="val or test (default: test)")
    evaluate.set_defaults(command_function=_evaluate)

    check = commands.add_parser("check", parents=[building, common], help="say what is wrong in a YAML; build nothing")
    check.add_argument("config", metavar="CONFIG", help="the experiment's YAML")
    check.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    check.set_defaults(command_function=_check)

    report = commands.add_parser("report", parents=[building, common], help="compare runs in a table")
    report.add_argument("run", metavar="RUN", help="a run's folder")
    report.add_argument("rest", nargs="*", metavar="RUN", help="more of them")
    report.add_argument("--output", metavar="FILE.md", help="write the table as Markdown, too")
    report.add_argument("--no-speed", action="store_true", help="do not measure images/s, which takes some seconds")
    report.set_defaults(command_function=_report)

    planning = commands.add_parser("plan", parents=[building, common], help="say what a distillation will cost")
    planning.add_argument("config", metavar="CONFIG", help="the experiment's YAML")
    planning.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    planning.add_argument("--steps", type=int, default=20, help="to be measured beside the plan (default: 20)")
    planning.set_defaults(command_function=_plan)

    comparing = commands.add_parser("compare", parents=[building, common], help="run a series over folds, and compare")
    comparing.add_argument("series", metavar="SERIES", help="the series' YAML")
    comparing.add_argument("--folds", type=int, nargs="+", default=[], help="instead of the file's")
    comparing.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these, and what they stand on")
    comparing.add_argument("--check", action="store_true", help="check every experiment, and run none")
    comparing.add_argument("--no-speed", action="store_true", help="do not measure samples/s, which takes some seconds")
    comparing.set_defaults(command_function=_compare)

    listing = commands.add_parser("list", parents=[common], help="what a YAML can name: losses, models, data, metrics")
    listing.add_argument("kind", metavar="{" + ",".join(KINDS) + "}")
    listing.set_defaults(command_function=_list)

    fetching = commands.add_parser("fetch", parents=[common], help="get data that pip cannot install, or list it")
    fetching.add_argument("name", metavar="NAME", nargs="?", help="the set; without a name, all are listed")
    fetching.add_argument("--list", action="store_true", help="list the sets, their size and licence")
    fetching.add_argument("--any-version", action="store_true", help="take an unknown version, unchecked")
    fetching.set_defaults(command_function=_fetch)

    writing = commands.add_parser("generate", parents=[building, common], help="let a run's model write about data")
    writing.add_argument("run", metavar="RUN", help="the run's folder")
    writing.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    writing.add_argument("--data", metavar="CONFIG", help="a YAML whose `data` is read instead of the run's own")
    writing.add_argument("--split", default="train", help="train, val or test (default: train)")
    writing.add_argument("--beams", type=int, default=4, help="texts searched beside each other (default: 4)")
    writing.add_argument("--max-tokens", type=int, help="the most written for a sample (default: as the model reads)")
    writing.add_argument("--batch-size", type=int, default=64, help="samples at a time (default: 64)")
    writing.add_argument("--output", metavar="FILE.jsonl", help="default: generated-SPLIT.jsonl in the run's folder")
    writing.set_defaults(command_function=_generate)
    caching = commands.add_parser("cache", parents=[building, common], help="store what a teacher says of the data")
    caching.add_argument("config", metavar="CONFIG", help="an experiment's YAML")
    caching.add_argument("rest", nargs="*", metavar="key=value", help="settings changed")
    caching.add_argument("--store", metavar="FOLDER", help="default: what CONFIG names, or stores/NAME")
    caching.add_argument("--dtype", default="float16", help="float32, float16, bfloat16 or int8 (default: float16)")
    caching.add_argument(
        "--format", action="append", default=[], metavar="OUTPUT=FORMAT", help="of one output, such as logits=top16"
    )
    caching.add_argument("--outputs", nargs="+", default=[], metavar="OUTPUT", help="keep these alone")
    caching.add_argument("--splits", nargs="+", metavar="SPLIT", help="default: train, and val if there is one")
    caching.add_argument("--batch-size", type=int, default=64, help="samples at a time (default: 64)")
    caching.add_argument("--shard-rows", type=int, default=16384, help="answers of a file, about (default: 16384)")
    caching.add_argument("--verify", type=int, metavar="N", help="write nothing: answer N entries a table again")
    caching.set_defaults(command_function=_cache)
    return parser, commands.choices


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as the other errors are reported, and takes no shortened options."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (`{self.prog} --help` tells more).")


def _fit(options: argparse.Namespace) -> None:
    _existing([options.config])
    _use(options.allow)
    from kdmm import run

    done = run.fit(
        options.config, options.rest, resume=options.resume, overwrite=options.overwrite, allow=options.allow
    )
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the other processes of a run end here too
        _print_metrics(done.metrics)
        print(done.dir)


def _evaluate(options: argparse.Namespace) -> None:
    _one_of(options.split, SPLITS, "--split")
    _existing([options.run, *([options.data] if options.data else [])])
    _use(options.allow)
    from kdmm import run

    _print_metrics(
        run.evaluate(options.run, data=options.data, overrides=options.rest, split=options.split, allow=options.allow)
    )


def _check(options: argparse.Namespace) -> None:
    _use(options.allow)
    from kdmm.config import load

    load(options.config, options.rest, options.allow)
    print(f"{options.config}: no problems")


def _report(options: argparse.Namespace) -> None:
    runs = [options.run, *options.rest]
    _existing(runs)
    _use(options.allow)
    from kdmm import run

    table = run.report(runs, output=options.output, speed=not options.no_speed, allow=options.allow)
    if console.is_plain(sys.stdout):
        print(table.to_markdown())
    else:
        drawn = table.to_rich()
        console.print_rich(*(drawn if isinstance(drawn, list | tuple) else [drawn]))


def _plan(options: argparse.Namespace) -> None:
    _use(options.allow)
    from kdmm import run

    print(run.plan(options.config, options.rest, steps=options.steps, allow=options.allow).to_markdown())


def _compare(options: argparse.Namespace) -> None:
    _use(options.allow)
    from kdmm import comparison

    found = comparison.compare(
        options.series,
        folds=options.folds,
        rows=options.rows,
        only_check=options.check,
        speed=not options.no_speed,
        allow=options.allow,
    )
    if options.check:
        print(f"{options.series}: no problems")
        return
    print(found.to_markdown())
    print(f"written to {found.folder / comparison.TABLES}")


def _list(options: argparse.Namespace) -> None:
    _one_of(options.kind, KINDS, "kdmm list")
    from kdmm.targets import components

    found = components(options.kind)
    if options.kind == "losses":
        families = [(each.target, each.family, each.names, each.paper) for each in found]
        console.print_table(("_target_", "family", "reads", "paper"), families)
    else:
        columns = ("_target_", "gives" if options.kind == "models" else "reads", "what it is")
        console.print_table(columns, [(each.target, each.names, each.summary) for each in found])


def _fetch(options: argparse.Namespace) -> None:
    from kdmm import fetch

    if options.name and not options.list:
        print(fetch.fetch(options.name, any_version=options.any_version))
        return
    if options.name or options.any_version:
        raise InputError("kdmm fetch: give a name to fetch, or --list alone.")
    rows = []
    for each in fetch.CATALOGUE.values():
        record = fetch.present(each.name)
        fetched = f"fetched: {record.version}" if record else "not fetched"
        rows.append((each.name, f"{each.download_mb} MB", each.licence, fetched, each.holds))
    console.print_table(("name", "download", "licence", "here", "what it holds"), rows)


def _generate(options: argparse.Namespace) -> None:
    _one_of(options.split, ALL_SPLITS, "--split")
    _existing([options.run, *([options.data] if options.data else [])])
    _use(options.allow)
    from kdmm import run

    done = run.generate(
        options.run,
        data=options.data,
        overrides=options.rest,
        split=options.split,
        beams=options.beams,
        max_tokens=options.max_tokens,
        output=options.output,
        batch_size=options.batch_size,
        allow=options.allow,
    )
    console.print_table(("what", "count"), [("texts", str(done.texts)), ("empty, left out", str(done.empty))])
    print(done.path)


def _cache(options: argparse.Namespace) -> None:
    _existing([options.config])
    _use(options.allow)
    for written in options.format:
        if "=" not in written:
            raise InputError(f"--format: found {written!r}; give OUTPUT=FORMAT, such as logits=top16.")
    from kdmm import run

    if options.verify is not None:
        found = run.verify(options.config, options.verify, options.rest, store=options.store, allow=options.allow)
        console.print_table(
            ("output", "format", "entries", "cosine: least", "1%", "10%", "median", "largest difference"),
            [
                (each.output, each.format, str(each.entries), *(f"{x:.6f}" for x in each.quantiles),
                 f"{each.difference:.3g}")
                for each in found
            ],
        )  # fmt: skip
        return
    done = run.cache(
        options.config,
        options.rest,
        store=options.store,
        dtype=options.dtype,
        formats=dict(written.split("=", 1) for written in options.format),
        outputs=options.outputs,
        splits=options.splits,
        batch_size=options.batch_size,
        shard_rows=options.shard_rows,
        allow=options.allow,
    )
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the other processes of a run end here too
        lost = [", ".join(f"{name} {x:.3g}" for name, x in each.lost.items()) for each in done.kept]
        rows = [(each.output, each.format, str(each.entries), told)
                for each, told in zip(done.kept, lost, strict=True)]  # fmt: skip
        console.print_table(("output", "format", "entries", "lost by the format"), rows)
        print(f"{done.folder} ({done.size_bytes / 1e6:.1f} MB)")


def _use(packages: Sequence[str]) -> None:
    """Let packages that the caller allows be found in the current folder, after all others."""
    if packages and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def _one_of(value: str, accepted: Sequence[str], setting: str) -> None:
    if value not in accepted:
        raise InputError(f"{setting}: found {value!r}; accepted: {', '.join(accepted)}.{nearest(value, accepted)}")


def _existing(paths: Sequence[str]) -> None:
    """Refuse a misspelt path before anything slow is imported."""
    for path in paths:
        if not Path(path).exists():
            from kdmm.config import nearest_path

            raise InputError(f"{path} does not exist.{nearest_path(Path(path))}")


def _print_metrics(metrics: Mapping[str, float]) -> None:
    console.print_table(("metric", "value"), [(name, f"{value:.6g}") for name, value in metrics.items()])


def _verdict(error: BaseException, traceback_shown: bool) -> tuple[int, str]:
    """Return the exit status and the message for what ended a command."""
    if isinstance(error, InputError):
        return WRONG_INPUT, str(error)
    if isinstance(error, KeyboardInterrupt | InterruptedRunError):
        return INTERRUPTED, str(error) or "interrupted"
    full = _full_disk(error)
    if full:
        return FAILED, full
    if isinstance(error, NonFiniteLossError | FullDiskError):
        return FAILED, str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    message = f"{type(error).__name__}: {first}" if first else type(error).__name__
    if any(kind.__name__ == "MisconfigurationException" for kind in type(error).__mro__):  # Lightning's own InputError
        return WRONG_INPUT, first
    hint = "" if traceback_shown else "\n  The whole traceback: the same command with --traceback."
    return FAILED, message + hint


def _full_disk(error: BaseException) -> str:
    """Return a message if a full disk is the cause of an error, however often it was wrapped on its way."""
    cause: BaseException | None = error
    while cause is not None:
        is_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        if is_full or f"(os error {errno.ENOSPC})" in str(cause):  # safetensors tells it in words
            name = getattr(cause, "filename", None) or "a file"
            return f"the disk is full: {name} could not be written. Make room; `kdmm fit --resume` continues a run."
        cause = cause.__cause__ or cause.__context__
    return ""
