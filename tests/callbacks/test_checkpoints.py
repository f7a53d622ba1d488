import math
from types import SimpleNamespace
from unittest.mock import Mock

import lightning.pytorch as pl
import torch

from kdmm.callbacks import Checkpoints


def saved(values, mode="max"):
    """The places of the validations after which the best state was written."""
    ready = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(total=SimpleNamespace(ready=1))))
    best, places = Checkpoints(monitor="val/map", mode=mode), []
    best._save = lambda trainer, path: places.append(trainer.place)
    for place, value in enumerate(values):
        found = {"val/map": torch.tensor(value)}
        trainer = Mock(pl.Trainer, sanity_checking=False, fit_loop=ready, callback_metrics=found, place=place)
        best.on_validation_end(trainer, pl.LightningModule())
    return places


def test_the_best_state_is_replaced_by_a_better_one_alone():
    assert saved([0.2, 0.1, 0.2, 0.3]) == [0, 3]
    assert saved([0.2, 0.1, 0.2, 0.3], "min") == [0, 1]


def test_a_number_is_better_than_none_and_without_any_the_last_state_is_taken():
    for mode in ("max", "min"):
        assert saved([math.nan, 0.2, math.nan], mode) == [0, 1]
        assert saved([math.nan, math.nan], mode) == [0, 1]
