"""What every loss must hold, as one table: each case, a loss in one setting, against each check.

A case is data; the checks are functions below. `tests/losses/test_conformance.py` runs every cell. A check that does
not apply to a case stands in `Case.exempt` with its reason, so no cell is empty. `tests/losses/write_conformance.py`
writes the table.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kdmm.distributed import rank, world_size
from kdmm.losses import Term

Named = Mapping[str, Any]
Changed = Callable[[Named, Named, Named], tuple[Named, Named, Named]]


@dataclass(frozen=True)
class Case:
    """A loss in one setting.

    Args:
        name: the row's.
        kind: the term's class.
        arguments: for it, as in a YAML.
        student: float64 outputs of the student for at least 6 samples; scalars, flags and masks among them.
        teacher: the teacher's for the same samples.
        oracle: the value, computed another way: loops over Python floats, or an independent implementation. Gets the
            term, for its adapters' weights, and the outputs and batch.
        batch: labels and the like.
        agrees: from (student, teacher, batch) to a student that agrees with the teacher.
        least: the value then; a number, or computed like the oracle.
        invariances: what may be done to (student, teacher, batch) without changing the value, by its name.
        absent: names of outputs that rows may lack (``present/<name>``), of both models.
        learns: how many of 20 steps' gains are asked for: the last value is below this part of the first one's
            distance from `least`, added to it.
        rtol: between half-precision inputs and float64 of the same numbers.
        exempt: by check, why it does not apply.
    """

    name: str
    kind: type[Term]
    arguments: Named
    student: Named
    teacher: Named
    oracle: Callable[[Any, Named, Named, Named], float]
    batch: Named = field(default_factory=dict)
    agrees: Changed | None = None
    least: float | Callable[[Any, Named, Named, Named], float] = 0.0
    invariances: Mapping[str, Changed] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    learns: float = 0.8
    rtol: float = 1e-4
    exempt: Mapping[str, str] = field(default_factory=dict)

    def term(self, dtype: torch.dtype = torch.float64) -> Term:
        """The term with its adapters made, the same each time."""
        torch.manual_seed(0)
        term = self.kind(**copy.deepcopy(dict(self.arguments)))  # an adapter among them is built once
        term.build(self.student, self.teacher, self.batch)
        return term.to(dtype)


def leaves(outputs: Named, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """The outputs with every floating-point tensor a leaf that wants a gradient."""
    return {
        name: x.detach().to(dtype).clone().requires_grad_() if isinstance(x, Tensor) and x.is_floating_point() else x
        for name, x in outputs.items()
    }


def wanting(outputs: Named) -> list[Tensor]:
    return [x for x in outputs.values() if isinstance(x, Tensor) and x.requires_grad]


def close(value: Tensor, expected: Any, rtol: float, atol: float, what: str = "") -> None:
    expected = torch.as_tensor(expected, dtype=value.dtype)
    torch.testing.assert_close(
        value.detach(), expected.detach(), rtol=rtol, atol=atol, msg=lambda text: f"{what}: {text}"
    )


def oracle(case: Case) -> None:
    """The value equals an independent computation in float64."""
    term = case.term()
    with torch.no_grad():
        expected = case.oracle(term, case.student, case.teacher, case.batch)
    close(term(case.student, case.teacher, case.batch), expected, 1e-9, 1e-12)


def gradcheck(case: Case) -> None:
    """The gradient to the student and to the term's own parameters is numerically right."""
    term, student = case.term(), leaves(case.student)
    names = [name for name, x in student.items() if isinstance(x, Tensor) and x.requires_grad]
    own = [p for p in term.parameters() if p.requires_grad]

    def value(*tensors: Tensor) -> Tensor:
        return term({**student, **dict(zip(names, tensors, strict=False))}, case.teacher, case.batch)

    # fast mode compares one random projection of the Jacobian: seconds instead of minutes over all cases
    inputs = (*(student[name] for name in names), *own)
    assert torch.autograd.gradcheck(value, inputs, atol=1e-6, rtol=1e-4, fast_mode=True)


def agreement(case: Case) -> None:
    """A student that agrees with the teacher has the least value, and no gradient from the term."""
    assert case.agrees is not None, "give `agrees`, or say in `exempt` why there is no such student"
    term = case.term()
    student, teacher, batch = case.agrees(case.student, case.teacher, case.batch)
    student = leaves(student)
    value = term(student, teacher, batch)
    least = case.least(term, student, teacher, batch) if callable(case.least) else case.least
    close(value, least, 1e-8, 1e-10)
    away = term(case.student, case.teacher, case.batch)
    assert away > value + 1e-6, "and others have more"


def invariance(case: Case) -> None:
    """The value does not change under what the paper says it is invariant to."""
    assert case.invariances, "give `invariances`, or say in `exempt` why there are none"
    term = case.term()
    expected = term(case.student, case.teacher, case.batch)
    for name, change in case.invariances.items():
        close(term(*change(case.student, case.teacher, case.batch)), expected, 1e-8, 1e-10, name)


def masks(case: Case) -> None:
    """What is absent may hold anything; with nothing present the value is 0, with gradients of 0."""
    assert case.absent, "give `absent`, or say in `exempt` why nothing can be absent"
    rows = len(case.student[case.absent[0]] if case.absent[0] in case.student else case.teacher[case.absent[0]])
    term = case.term()
    values = []
    for junk in (0.0, 7.0, torch.inf, torch.nan):
        both = []
        for outputs in (case.student, case.teacher):
            changed = leaves(outputs)
            for place, name in enumerate(case.absent):
                flag = torch.arange(rows) != 1 + place
                if name in changed:
                    keep = flag.reshape(-1, *[1] * (changed[name].ndim - 1))
                    changed[name] = torch.where(keep, changed[name].detach(), junk).requires_grad_()
                changed[f"present/{name}"] = flag
            both.append(changed)
        value = term(*both, case.batch)
        value.backward()
        values.append(value)
        assert value.isfinite(), f"{junk} in absent rows"
        assert all(x.grad is None or x.grad.isfinite().all() for x in wanting(both[0])), f"{junk} in absent rows"
        close(value, values[0], 1e-12, 0.0, f"{junk} in absent rows")
        term.zero_grad()
    nothing = {f"present/{name}": torch.zeros(rows, dtype=torch.bool) for name in case.absent}
    student = {**leaves(case.student), **nothing}
    value = term(student, {**case.teacher, **nothing}, case.batch)
    assert value == 0
    value.backward()
    assert all(x.grad is None or (x.grad == 0).all() for x in wanting(student))
    # None would stall DDP, which waits for every parameter
    assert all(p.grad is not None and (p.grad == 0).all() for p in term.parameters() if p.requires_grad)


def teacher_rests(case: Case) -> None:
    """The teacher gets no gradient; the student does."""
    student, teacher = leaves(case.student), leaves(case.teacher)
    case.term()(student, teacher, case.batch).backward()
    assert all(x.grad is None for x in wanting(teacher))
    assert any(x.grad is not None and x.grad.abs().sum() > 0 for x in wanting(student))


def half(case: Case) -> None:
    """From half-precision inputs, inside autocast too, the value is float32 and that of float64 on the same numbers."""
    for dtype in (torch.bfloat16, torch.float16):
        low = leaves(case.student, dtype), leaves(case.teacher, dtype)
        high = [
            {k: x.detach().double() if isinstance(x, Tensor) and x.is_floating_point() else x for k, x in o.items()}
            for o in low
        ]
        expected = case.term()(*high, case.batch)
        for autocast in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                value = case.term(torch.float32)(*low, case.batch)
            assert value.dtype is torch.float32
            close(value.double(), expected, case.rtol, 1e-6, f"{dtype}, autocast {autocast}")
        value.backward()
        assert all(x.grad is None or x.grad.isfinite().all() for x in wanting(low[0]))


def learning(case: Case) -> None:
    """Twenty steps of Adam on the student's outputs and the term's parameters lower it."""
    term, student = case.term(), leaves(case.student)
    parameters = [*wanting(student), *(p for p in term.parameters() if p.requires_grad)]
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    values = []
    for _ in range(21):
        value = term(student, case.teacher, case.batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    least = case.least(term, student, case.teacher, case.batch) if callable(case.least) else case.least
    assert values[-1] - least < case.learns * (values[0] - least), values


class Recorded(Mapping):  # type: ignore[type-arg]
    """Outputs that note which names were read; the first is a dummy, which the type checker reads."""

    def __init__(self, outputs: Named) -> None:
        self.outputs = {"present/nothing": torch.zeros(1, dtype=torch.bool), **outputs}
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return self.outputs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.outputs

    def __iter__(self) -> Any:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def reads(case: Case) -> None:
    """It reads from the models what it says beforehand, given its arguments, and says so for wrong ones too."""
    student, teacher = Recorded(case.student), Recorded(case.teacher)
    case.term()(student, teacher, case.batch)
    told = case.kind.reads(case.arguments)
    for outputs, names in zip((student, teacher), told, strict=True):
        assert {name for name in outputs.read if "/" not in name} == names
    for wrong in ({}, dict.fromkeys(case.arguments, 3), {name: [None] for name in case.arguments}):
        case.kind.reads(wrong)


def one_step(case: Case, here: slice) -> dict[str, Any]:
    """The value and every gradient of one rank's rows."""
    whole = next((len(x) for x in case.student.values() if isinstance(x, Tensor) and x.ndim), 0)

    def rows(outputs: Named) -> dict[str, Any]:
        return {k: x[here] if isinstance(x, Tensor) and x.ndim and len(x) == whole else x for k, x in outputs.items()}

    term, student = case.term(), leaves(rows(case.student))
    value = term(student, rows(case.teacher), rows(case.batch))
    value.backward()
    gradients = {
        f"student.{name}": x.grad if x.grad is not None else torch.zeros_like(x)
        for name, x in student.items()
        if isinstance(x, Tensor) and x.requires_grad
    }
    own = {f"term.{name}": p.grad for name, p in term.named_parameters() if p.requires_grad}
    return {"value": value.detach(), **gradients, **own}


FIRST_OF_RANK_1 = 4  # unequal parts


def on_each_rank(cases: list[Case]) -> dict[str, Any]:
    """What one process of two computes for all cases."""
    assert world_size() == 2
    here = slice(0, FIRST_OF_RANK_1) if rank() == 0 else slice(FIRST_OF_RANK_1, None)
    return {case.name: one_step(case, here) for case in cases if "two processes" not in case.exempt}


def two_processes(case: Case, ranks: list[dict[str, Any]]) -> None:
    """Two processes with unequal parts of the batch give the value and every gradient of one."""
    alone = one_step(case, slice(None))
    first, second = (each[case.name] for each in ranks)
    for entry, expected in alone.items():
        if entry.startswith("student.") and expected.ndim:  # each rank has its rows; DDP takes the mean over ranks
            found = torch.cat([first[entry], second[entry]]) / 2
        else:
            found = (first[entry] + second[entry]) / 2
        close(found, expected, 1e-8, 1e-11, entry)


CHECKS: dict[str, Callable[..., None]] = {
    "oracle": oracle,
    "gradcheck": gradcheck,
    "agreement": agreement,
    "invariance": invariance,
    "masks": masks,
    "teacher rests": teacher_rests,
    "half precision": half,
    "20 steps": learning,
    "reads": reads,
    "two processes": two_processes,
}
