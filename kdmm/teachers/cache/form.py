"""The form of stores: what stands where in their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdmm.errors import InputError

__all__ = ["FORM", "check_form"]

FORM = 2  # one more with every change


def check_form(folder: Path, form: Any) -> None:
    """Refuse a store of another form.

    Raises:
        InputError: it has one.
    """
    if form != FORM:
        raise InputError(
            f"The store {folder} has the form {form}, and this kdmm reads and writes {FORM}. Delete the folder, and "
            "run `kdmm cache` again."
        )
