"""How what went wrong is told: exit status and message."""

from __future__ import annotations

import errno

from kdmm.errors import FullDiskError, InputError, InterruptedRunError, NonFiniteLossError

__all__ = ["DONE", "FAILED", "verdict"]

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def verdict(error: BaseException, traceback_shown: bool) -> tuple[int, str]:
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
