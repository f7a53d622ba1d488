"""Where what was fetched is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kdmm.errors import InputError

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return kdmm's cache folder, which need not exist yet.

    It is what the environment variable ``KDMM_CACHE`` names, else ``kdmm`` in ``XDG_CACHE_HOME`` or, without that, in
    the folder that the platform has for caches (``~/.cache`` on Linux).

    Raises:
        InputError: the user has no home folder that it could be in.
    """
    given = os.environ.get("KDMM_CACHE")
    try:
        return Path(given).expanduser().absolute() if given else _platforms() / "kdmm"
    except RuntimeError as error:  # containers run under users that have no home
        raise InputError(f"KDMM_CACHE: no folder for the cache is known ({error}); set it to one.") from error


def _platforms() -> Path:
    """Return the folder for the caches of all programs."""
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # the XDG base directory specification has relative ones ignored
        return xdg
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser()
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
