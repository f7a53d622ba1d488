"""What the LightningModules share: one trained model, an objective, an optimizer, metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric

from kdmm.errors import NonFiniteLossError
from kdmm.losses import Objective
from kdmm.metrics import ModelMetric, Retrieval, SampleMetric
from kdmm.models import embed_texts
from kdmm.modules.optim import Optimization
from kdmm.outputs import Batch, Outputs

__all__ = ["TrainingModule"]


class TrainingModule(pl.LightningModule, ABC):
    """Trains one model by an objective; a subclass says which model, and beside which teacher.

    Args:
        objective: the terms and their weights.
        optimization: the optimizer and its schedule.
        metrics: by name, each updated with ``(student, teacher, batch)`` on validation and test batches; ``None`` takes
            the module's own.
    """

    role: ClassVar[str]
    """The trained model's name in a batch and as a file: ``student`` or ``teacher``."""

    def __init__(
        self, objective: Objective, optimization: Optimization, metrics: Mapping[str, Metric] | None = None
    ) -> None:
        super().__init__()
        self.objective = objective
        self.optimization = optimization
        self.metrics = nn.ModuleDict(dict(self.default_metrics() if metrics is None else metrics))
        self.has_trained_terms = True
        """False where a finished run is measured: its terms' own parameters are gone, and validation has no loss."""

    def default_metrics(self) -> dict[str, Metric]:
        """Return the metrics of a module that is given none."""
        return {"retrieval": Retrieval()}

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The model that is trained."""

    @classmethod
    def model_tree(cls, tree: Mapping[str, Any]) -> Any:
        """Return the trained model's node in the ``_target_`` tree that builds the module."""
        return tree[cls.role]

    @classmethod
    def with_model(cls, tree: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
        """Return the ``_target_`` tree with a model in the place of the trained model's node."""
        return {**tree, cls.role: model}

    @property
    def preprocess(self) -> dict[str, Any]:
        """Each model's preprocessing, by its name in a batch."""
        return {self.role: self.model.preprocess}

    @property
    def reader(self) -> nn.Module:
        """The model whose text tower makes a classifier of class names."""
        return self.model

    @property
    def running_teacher(self) -> nn.Module | None:
        """The teacher's model, if there is a single one that runs."""
        return None

    @property
    def online_preprocess(self) -> dict[str, Any]:
        """What each model reads when none of them has answered beforehand, by its name in a batch."""
        return self.preprocess

    def online_outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the trained model's and the running teacher's answer to a batch of `online_preprocess`."""
        return self.outputs(batch)

    @torch.no_grad()
    def dry_run(self, batch: Batch) -> None:
        """Let the objective make what depends on the models' shapes. Once, before the optimizer is made.

        Args:
            batch: of `online_preprocess`; a few samples are enough.
        """
        training = self.training
        self.eval()
        self.build_terms(batch)
        self.train(training)

    def build_terms(self, batch: Batch) -> None:
        """Build the terms of the objective from one batch, of which the models are in evaluation mode."""
        self.objective.build(*self.online_outputs(batch), batch)

    @property
    def dynamic_trainer(self) -> Any:
        """The trainer, for the attributes that Lightning sets without declaring them."""
        return self.trainer

    def online(self) -> TrainingModule:
        """Return the module with everything that was answered beforehand replaced by what answers any batch."""
        return self

    @abstractmethod
    def outputs(self, batch: Batch) -> tuple[Outputs, Outputs]:
        """Return the trained model's and the teacher's answer to the batch."""

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its schedule for the length of the run."""
        return self.optimization.configure(self, int(self.trainer.estimated_stepping_batches))

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch."""
        self.objective.progress = self.progress()
        student, teacher = self.outputs(batch)
        loss, parts = self.objective(student, teacher, batch)
        self.check_loss(loss, parts, batch)
        self.log_parts("train", loss, parts, self.objective)
        total: Tensor = loss
        return total

    def progress(self) -> float:
        """Return how much of training is done, in [0, 1]."""
        steps = self.trainer.estimated_stepping_batches
        return self.global_step / steps if steps > 0 else 0.0  # -1: Lightning cannot tell

    def check_loss(self, loss: Tensor, parts: Mapping[str, Tensor], batch: Batch) -> None:
        """Stop at a loss that trains nothing any more.

        Raises:
            NonFiniteLossError: it is NaN or infinite.
        """
        if not torch.isfinite(loss):
            raise NonFiniteLossError(_not_finite(parts, batch, self.global_step))

    def log_parts(self, stage: str, loss: Tensor, parts: Mapping[str, Tensor], objective: Objective) -> None:
        """Log a loss, its terms and their weights, if this step is logged, under names that dashboards rely on."""
        if (self.global_step + 1) % self.dynamic_trainer.log_every_n_steps:
            return
        values = {f"{stage}/loss": loss.detach(), **{f"{stage}/{name}": value for name, value in parts.items()}}
        self.log_dict(values, prog_bar=False, on_step=True, on_epoch=False, sync_dist=True)
        weights = {f"{stage}/weight/{name}": value for name, value in objective.weights().items()}
        self.log_dict(weights, on_step=True, on_epoch=False)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with a validation batch, and log its loss."""
        student, teacher = self.outputs(batch)
        if self.has_trained_terms:
            loss, _ = self.objective(student, teacher, batch)
            self.log("val/loss", loss, on_epoch=True, batch_size=len(batch["id"]), sync_dist=True)
        self.update_metrics(student, teacher, batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with a test batch. The loss is left out: a term's own parameters ended with training."""
        self.update_metrics(*self.outputs(batch), batch)

    def update_metrics(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Update the metrics with what the models say of a batch."""
        for metric in self._metrics():
            metric.update(student, teacher, batch)

    def _metrics(self) -> Iterable[Metric]:
        return cast(Iterable[Metric], self.metrics.values())

    def _prepare_metrics(self) -> None:
        """Let the metrics look at the models as they are now; one of another package looks at nothing."""
        for metric in self._metrics():
            if isinstance(metric, ModelMetric):
                metric.look_at(self.model, self.running_teacher)
            if isinstance(metric, SampleMetric):
                metric.prepare(lambda texts: embed_texts(self.reader, texts))

    def on_validation_epoch_start(self) -> None:
        """Prepare the metrics."""
        self._prepare_metrics()

    def on_test_epoch_start(self) -> None:
        """Prepare the metrics."""
        self._prepare_metrics()

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        for metric in self._metrics():
            if not self.dynamic_trainer.sanity_checking:  # a few batches need not hold what a metric counts
                self.log_dict({f"{stage}/{name}": value for name, value in metric.compute().items()})
            metric.reset()


def _not_finite(parts: Mapping[str, Tensor], batch: Batch, step: int) -> str:
    found = [f"{name} ({value.item()})" for name, value in parts.items() if not torch.isfinite(value)]
    ids = list(batch["id"])
    shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
    return (
        f"The loss is not finite at step {step}: {', '.join(found) or 'the weighted sum'}. "
        f"The batch holds the samples {shown}. "
        "Lower the learning rate, lengthen the warm-up, set `trainer.gradient_clip_val`, or look at these samples."
    )
