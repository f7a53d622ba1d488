"""Metrics of the texts that a model writes, over the samples of all ranks."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.metrics.model_metric import ModelMetric
from kdmm.metrics.sample_metric import gather_rows
from kdmm.metrics.samples import first_rows, hash_ids, read_batch
from kdmm.outputs import Batch, Outputs

__all__ = ["Writes", "WritingMetric", "Written", "WrittenMetric"]


@runtime_checkable
class Writes(Protocol):
    """What writes a text about what it reads."""

    modality: str

    def generate(self, inputs: Tensor, beams: int = 1, max_tokens: int | None = None) -> list[str]:
        """Return a text for each of N samples."""


class Written(NamedTuple):
    """What a model wrote about a sample.

    Args:
        id: the sample's.
        text: what was written; perhaps nothing.
        references: the sample's own texts, at least one.
    """

    id: str
    text: str
    references: tuple[str, ...]


class WritingMetric(ModelMetric):
    """Lets the model write about every sample that has references.

    Args:
        role: whose texts are measured.
        beams: 1 writes the best token each time; more search for a likelier text.
        max_tokens: the most that are written; ``None``: what the model was trained to read.
    """

    def __init__(
        self, role: Literal["student", "teacher"] = "student", beams: int = 1, max_tokens: int | None = None
    ) -> None:
        super().__init__(role)
        if beams < 1:
            raise InputError(f"{type(self).__name__}.beams: {beams} given; give at least 1.")
        self.beams = beams
        self.max_tokens = max_tokens
        self.dist_sync_fn = gather_rows

    def write(self, batch: Batch) -> list[Written]:
        """Let the model write about a batch's samples; a further caption's row has nothing to be read.

        Args:
            batch: ``id``, ``captions`` or else ``caption``, and the model's own part.

        Raises:
            InputError: the model does not write.
        """
        name, model = type(self).__name__, self.writer
        trained = "teacher" if self.role not in batch and "teacher" in batch else self.role  # a teacher in training
        ids, part = read_batch(batch, "id", name), read_batch(batch, trained, name)
        features = part.get(f"features/{model.modality}")
        inputs = part.get(model.modality, features)
        if inputs is None:
            return []
        captions = batch["captions"] if "captions" in batch else [_alone(each) for each in batch["caption"]]
        flag = part.get(f"present/{model.modality}")
        rows = range(len(ids)) if flag is None else flag.nonzero().squeeze(1).tolist()
        wanted = [place for place, row in enumerate(rows) if captions[row]]
        if not wanted:
            return []
        chosen_inputs = inputs[torch.tensor(wanted, device=inputs.device)]
        how = {"are_features": True} if inputs is features else {}  # of a model with locked towers alone
        texts = model.generate(chosen_inputs, self.beams, self.max_tokens, **how)
        chosen = [rows[place] for place in wanted]
        return [Written(ids[row], text, tuple(captions[row])) for row, text in zip(chosen, texts, strict=True)]

    @property
    def writer(self) -> Writes:
        """The model that writes; a wrapper such as Tapped holds it.

        Raises:
            InputError: the model does not write.
        """
        model: Any = self.measured
        while not isinstance(model, Writes):
            model = getattr(model, "model", None)
            if not isinstance(model, nn.Module):
                raise InputError(
                    f"{type(self).__name__}.role: the {self.role}, {type(self.measured).__name__}, does not write. "
                    "Take a model that does, such as kdmm.models.Seq2Seq, or leave this metric out."
                )
        return model

    def named(self, values: Mapping[str, float | Tensor]) -> dict[str, Tensor]:
        """Return values under names that tell whose texts they are of, and how these were found."""
        prefix = ("teacher/" if self.role == "teacher" else "") + ("" if self.beams == 1 else f"beam{self.beams}/")
        return {f"{prefix}{name}": torch.as_tensor(value) for name, value in values.items()}

    def nothing_seen(self) -> InputError:
        """Return the error of a split without a sample to write about."""
        return InputError(
            f"{type(self).__name__} has seen no sample that the {self.role} reads and that has a text to compare "
            "with. Evaluate on a split that has them."
        )

    def append(self, state: str, rows: Tensor) -> None:
        """Add the rows (N, ...) of a batch to a state."""
        getattr(self, state).append(rows.to(self.device))

    def stacked(self, state: str) -> Tensor:
        """Return all rows of a state: of batches in one process, or of all ranks once they are synchronized."""
        parts = getattr(self, state)
        if isinstance(parts, list):
            return torch.cat(parts) if parts else torch.empty(0, dtype=torch.long, device=self.device)
        rows: Tensor = parts
        return rows


class WrittenMetric(WritingMetric):
    """Keeps what the model writes until all samples have been seen. A sample that comes again is left out.

    Args:
        role: as for `WritingMetric`.
        beams: as for `WritingMetric`.
        max_tokens: as for `WritingMetric`.
    """

    def __init__(
        self, role: Literal["student", "teacher"] = "student", beams: int = 1, max_tokens: int | None = None
    ) -> None:
        super().__init__(role, beams, max_tokens)
        for state in ("sample", "length", "letters"):  # texts are gathered over ranks as bytes
            self.add_state(state, [], dist_reduce_fx="cat")

    @abstractmethod
    def scores(self, written: Sequence[str], references: Sequence[Sequence[str]]) -> Mapping[str, float]:
        """Return values by name.

        Args:
            written: a text of each of N samples, N at least 1.
            references: each one's, at least one.
        """

    def update(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Let the model write about a batch's samples.

        Args:
            student: not read.
            teacher: not read.
            batch: as for `write`.

        Raises:
            InputError: the model does not write.
        """
        written = self.write(batch)
        if written:
            lines = [json.dumps([each.text, each.references]).encode() for each in written]
            self.append("sample", hash_ids([each.id for each in written]))
            self.append("length", torch.tensor([len(line) for line in lines]))
            self.append("letters", torch.frombuffer(bytearray(b"".join(lines)), dtype=torch.uint8))

    def compute(self) -> dict[str, Tensor]:
        """Return the values.

        Raises:
            InputError: no sample was seen that could be written about and had a reference.
        """
        sample, length, letters = (self.stacked(state) for state in ("sample", "length", "letters"))
        if not len(sample):
            raise self.nothing_seen()
        content = letters.cpu().numpy().tobytes()
        ends = length.cumsum(0).tolist()
        lines = [content[end - size : end] for end, size in zip(ends, length.tolist(), strict=True)]
        pairs = [json.loads(lines[row]) for row in first_rows(sample[:, None]).tolist()]
        return self.named(self.scores([text for text, _ in pairs], [references for _, references in pairs]))


def _alone(caption: str | None) -> list[str]:
    return [] if caption is None else [caption]
