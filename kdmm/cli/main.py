"""From words to an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from kdmm import console
from kdmm.cli.commands import COMMANDS, VERIFY
from kdmm.cli.parser import make_parser
from kdmm.cli.verdict import DONE, FAILED, verdict
from kdmm.errors import InputError, nearest

__all__ = ["main"]


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
        status, message = verdict(error, wants_traceback)
        console.print_error(message)
        return status
    return DONE


def _run(words: list[str]) -> None:
    parser, commands = make_parser()
    if words[:2] == VERIFY.split():
        words = [VERIFY, *words[2:]]
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
    COMMANDS[options.command](options)
