"""What each command does with its options."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kdmm import console
from kdmm.errors import InputError, nearest

__all__ = ["COMMANDS", "KINDS", "VERIFY"]

VERIFY = "cache verify"  # a command of two words
KINDS = ("losses", "models", "data", "metrics")
SPLITS = ("val", "test")
ALL_SPLITS = ("train", *SPLITS)
WRITING = ("dtype", "outputs", "splits", "batch_size", "shard_rows")
"""Options of `kdmm cache` that say how a store is written; those not given are left to :func:`kdmm.run.cache`."""


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

    settings = load(options.config, options.rest, options.allow)
    if options.data:
        from kdmm.runs.build import check_data

        check_data(settings, tuple(options.allow))
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

    ask = run.tune if options.tune else run.plan
    print(ask(options.config, options.rest, steps=options.steps, allow=options.allow).to_markdown())


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
    _existing([options.run, *(each for each in (options.data, options.judge) if each)])
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
        nearest=options.nearest,
        judge=options.judge,
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
    given = {name: value for name in WRITING if (value := getattr(options, name)) is not None}
    from kdmm import run

    done = run.cache(
        options.config,
        options.rest,
        store=options.store,
        formats=dict(written.split("=", 1) for written in options.format),
        allow=options.allow,
        **given,
    )
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the other processes of a run end here too
        lost = [", ".join(f"{name} {x:.6g}" for name, x in each.lost.items()) for each in done.kept]
        rows = [(each.output, each.format, str(each.entries), told)
                for each, told in zip(done.kept, lost, strict=True)]  # fmt: skip
        console.print_table(("output", "format", "entries", "lost by the format"), rows)
        print(f"{done.folder} ({done.size_bytes / 1e6:.1f} MB)")


def _verify(options: argparse.Namespace) -> None:
    _existing([options.config])
    _use(options.allow)
    from kdmm import run

    found = run.verify(options.config, options.entries, options.rest, store=options.store, allow=options.allow)
    console.print_table(
        ("output", "format", "entries", "cosine: least", "1%", "10%", "median", "largest difference"),
        [
            (
                each.output,
                each.format,
                str(each.entries),
                *(f"{x:.6f}" for x in each.quantiles),
                f"{each.difference:.3g}",
            )
            for each in found
        ],
    )
    if wrong := [f"{each.output} by {each.beyond:.2g}" for each in found if not each.holds]:
        raise InputError(
            "The store does not hold what the teacher says now. Beyond what the format loses, in parts of an "
            f"answer's length, these are off: {', '.join(wrong)}. Write the store again with `kdmm cache`."
        )


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


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "fit": _fit,
    "evaluate": _evaluate,
    "check": _check,
    "report": _report,
    "plan": _plan,
    "compare": _compare,
    "list": _list,
    "fetch": _fetch,
    "generate": _generate,
    "cache": _cache,
    VERIFY: _verify,
}
