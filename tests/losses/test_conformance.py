"""Every loss in every setting against every check; see `tests.losses.conformance`."""

from pathlib import Path

import pytest

import kdmm.losses
from kdmm.losses import Term
from tests import two_processes
from tests.losses.cases import CASES
from tests.losses.conformance import CHECKS, on_each_rank


def ranks_work():
    return on_each_rank(CASES)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return two_processes.run(ranks_work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("check", [name for name in CHECKS if name != "two processes"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cell(case, check):
    if check in case.exempt:
        assert case.exempt[check]
    else:
        CHECKS[check](case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes(case, ranks):
    if "two processes" not in case.exempt:
        CHECKS["two processes"](case, ranks)


def test_every_term_has_a_case():
    public = {name for name in kdmm.losses.__all__ if isinstance(getattr(kdmm.losses, name), type)}
    terms = {name for name in public if issubclass(getattr(kdmm.losses, name), Term)} - {"Term", "SampleTerm"}
    assert {getattr(kdmm.losses, name) for name in terms} <= {case.kind for case in CASES}


def test_names_are_unique_and_exemptions_are_of_checks():
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(set(case.exempt) <= set(CHECKS) for case in CASES)


def test_the_written_table_has_these_rows_and_columns_and_no_failure():
    text = (Path(__file__).parents[2] / "experiments" / "losses" / "CONFORMANCE.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == ["loss", *CHECKS]
    assert [row[0] for row in rows[2:]] == [case.name for case in CASES]
    for row, case in zip(rows[2:], CASES, strict=True):
        assert [cell == "yes" for cell in row[1:]] == [check not in case.exempt for check in CHECKS], case.name
