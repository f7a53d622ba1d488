"""Two processes of which one has no sample that counts give the value and gradients of one."""

import pytest
import torch

from tests import two_processes
from tests.losses.cases import dense, features
from tests.losses.conformance import Case, on_each_rank
from tests.losses.conformance import two_processes as as_one

NAMES = (
    "Hint",
    "Hint, tokens with padding",
    "Hint, standardize=PHIS",
    "AttentionTransfer",
    "OFD, layers of other widths",
    "VID",
    "ReviewKD",
    "SimKD",
    "MaskedFeature, ratio=0, map",
    "CWD, other channels",
    "PixelKL",
    "PKD, other channels",
    "FGD",
)
FLAG = torch.arange(6) < 4  # rank 1 has the others


def lacking(case):
    flags = {f"present/{name}": FLAG for name in case.absent}
    sides = ({**outputs, **flags} for outputs in (case.student, case.teacher))
    return Case(case.name, case.kind, case.arguments, *sides, case.oracle, case.batch)


CASES = [lacking(case) for case in [*features.CASES, *dense.CASES] if case.name in NAMES]


def ranks_work():
    return on_each_rank(CASES)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return two_processes.run(ranks_work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_are_one(case, ranks):
    as_one(case, ranks)
    rows = len(next(iter(case.student.values())))
    assert rows == len(FLAG)


def test_every_name_is_a_case():
    assert {case.name for case in CASES} == set(NAMES)
