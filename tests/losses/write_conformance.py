"""Run every cell of the conformance table and write it: ``python -m tests.losses.write_conformance``."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

from tests import two_processes
from tests.losses.cases import CASES
from tests.losses.conformance import CHECKS
from tests.losses.test_conformance import ranks_work

OUTPUT = Path(__file__).parents[2] / "experiments" / "losses" / "CONFORMANCE.md"
PASSED, FAILED = "yes", "**NO**"
HEAD = """# Conformance of the losses

Written by `make conformance`; `tests/losses/test_conformance.py` asserts the same cells. A number is a footnote: why
the check does not apply.

"""


def cells() -> list[list[str]]:
    """Return a row a case: its name and, for each check, whether it holds or why it does not apply."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = two_processes.run(ranks_work, Path(folder))
    return [[case.name, *(cell(case, check, ranks) for check in CHECKS)] for case in CASES]


def cell(case, check, ranks) -> str:
    if check in case.exempt:
        return case.exempt[check]
    try:
        CHECKS[check](case, ranks) if check == "two processes" else CHECKS[check](case)
    except Exception as error:
        print(f"{case.name}, {check}: {error}", file=sys.stderr)
        return FAILED
    return PASSED


def table(rows: list[list[str]]) -> str:
    notes: dict[str, int] = {}
    lines = [["loss", *CHECKS], ["---", *(":---:" for _ in CHECKS)]]
    for name, *found in rows:
        marks = [each if each in (PASSED, FAILED) else str(notes.setdefault(each, len(notes) + 1)) for each in found]
        lines.append([name, *marks])
    what = [f"- **{name}**: {check.__doc__}" for name, check in CHECKS.items()]
    footnotes = [f"{number}. {note}" for note, number in notes.items()]
    written = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return HEAD + "\n".join(what) + "\n\n" + written + "\n\n" + "\n".join(footnotes) + "\n"


def main() -> int:
    warnings.simplefilter("ignore")
    rows = cells()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(table(rows), encoding="utf-8")
    failed = sum(each == FAILED for row in rows for each in row)
    print(f"{len(rows)} cases, {len(CHECKS)} checks, {failed} cells fail; written to {OUTPUT.name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
