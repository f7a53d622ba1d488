"""Under every precision of a Trainer, stored answers are the running teacher's."""

from functools import partial

import lightning.pytorch as pl
import pytest
import torch

from kdmm.modules import DistillationModule, Optimization
from kdmm.runs import caching
from kdmm.runs.quiet import quiet
from kdmm.teachers import Cached, Hybrid, Precomputed
from kdmm.teachers.cache.settings import Settings
from tests.teachers.cache import small

TRAINER = {"accelerator": "cpu", "enable_progress_bar": False}
QUIETLY = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "limit_val_batches": 0}


def said_in_training(teacher, precision):
    """What a teacher says of two batches in training."""
    found = []
    still = Optimization(partial(torch.optim.SGD, lr=0.0))
    module = DistillationModule(small.two_towers(2), teacher, small.objective(), still, metrics={})
    outputs = module.outputs

    def noted(batch):
        student, answer = outputs(batch)
        found.append({name: answer[name].float() for name in ("image", "text", "logit_scale")})
        return student, answer

    module.outputs = noted
    data = small.data(small.held())
    data.use(module.preprocess)
    module.dry_run(data.dry_batch(module.online_preprocess))
    trainer = pl.Trainer(
        **TRAINER, **QUIETLY, precision=precision, max_epochs=1, limit_train_batches=2, use_distributed_sampler=False
    )
    trainer.fit(module, datamodule=data)
    return found


@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")  # bfloat16 is taken in its place
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"])
def test_stored_answers_are_the_running_teachers_under_its_precision(precision, tmp_path):
    how = Settings(formats={"": "float32"}, batch_size=4, shard_rows=8, precision=precision)
    store = tmp_path / "store"
    with quiet():
        caching.write(small.teacher(), small.data(small.held()), store, how, {**TRAINER, "precision": precision})
        expected, exact = (said_in_training(small.teacher(), each) for each in (precision, "32-true"))
        mixed = "bfloat16" if precision.endswith("mixed") else "float32"  # a CPU has no other
        stored = (Cached(str(store), small.teacher()), Hybrid(str(store), small.teacher()))
        found = [said_in_training(of, precision) for of in (*stored, Precomputed(small.teacher(), 3, precision=mixed))]
    for name in ("image", "text"):
        rounded = sum(float((x[name] - y[name]).abs().mean()) for x, y in zip(expected, exact, strict=True))
        assert (rounded > 1e-4) == ("16" in precision)
        for each in found:
            differs = sum(float((x[name] - y[name]).abs().mean()) for x, y in zip(expected, each, strict=True))
            assert differs <= 0.1 * rounded + 1e-6  # other batches are added up in another order
    for each in found:
        torch.testing.assert_close(each[0]["logit_scale"], expected[0]["logit_scale"], atol=0, rtol=4e-3)
