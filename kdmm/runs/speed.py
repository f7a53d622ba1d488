"""How fast the models of several runs are, measured side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from kdmm.analysis import RunRecord, Speeds, samples_per_second
from kdmm.models.artifact import architecture, load_model
from kdmm.teachers import model_file

__all__ = ["measure_speed"]

SECONDS = 10.0  # for all models together
BATCH_SIZE = 32  # or fewer where models are slow
BEAMS = re.compile(r"beam(\d+)/")  # in the names of metrics
CALLS = 5  # of each slow model, one before the first of two rounds: what the number of samples is chosen for


def measure_speed(folders: Sequence[Path], seconds: float = SECONDS, allow: tuple[str, ...] = ()) -> Speeds:
    """Measure one model of each experiment, in turns in this process, on the accelerator if there is one.

    Experiments whose models have equal trees (`architecture`) share a figure, that of the first: such models compute
    alike, whatever they have learned. Models that write do so greedily, and once more with beams where a run measured
    them: the most of any run. A model that cannot be loaded or fed is remarked on and left out.

    Args:
        folders: of finished runs; the first of each experiment is measured.
        seconds: for all of them together, about.
        allow: packages of the user's own that the models are built from.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = torch.device("cpu") if accelerator is None else accelerator
    where = f"{device.type} with {torch.get_num_threads()} threads" if accelerator is None else device.type
    models: dict[str, nn.Module] = {}  # by the tree that builds them, as are the speeds
    one_sample_s: dict[str, float] = {}
    trees: dict[str, str] = {}
    remarks: dict[str, str] = {}
    beams = 1
    for folder in folders:
        record = RunRecord.read(folder)
        beams = max([beams, *(int(number) for name in record.metrics for number in BEAMS.findall(name))])
        group = record.group
        if group in trees or group in remarks:
            continue
        try:
            file = model_file(folder)
            tree = json.dumps(architecture(file), sort_keys=True)
            if tree not in models:
                model = load_model(file, allow=allow).to(device)
                one_sample_s[tree] = 1 / samples_per_second({tree: model}, batch_size=1, repeats=1).samples_per_s[tree]
                models[tree] = model
            trees[group] = tree
        except Exception as error:  # a model of the user's own may fail with anything, and others are to be measured
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            remarks[group] = f"{group}: samples/s was not measured: {reason}"
    if not models:
        return Speeds({}, tuple(remarks.values()), "")
    fitting = int(seconds / (CALLS * sum(one_sample_s.values())))
    batch_size = max(1, min(BATCH_SIZE, fitting))
    found = samples_per_second(models, batch_size, seconds=seconds)
    how = f"{batch_size} samples at a time on {where}, each architecture once"
    searched: Mapping[str, float] = {}
    if found.tokens:
        how += f", texts of {found.tokens} tokens whether or not they would end before"
        writers = {tree: models[tree] for tree in found.tokens_per_s}
        if beams > 1:
            searched = samples_per_second(writers, batch_size, seconds=seconds, beams=beams).tokens_per_s

    def by_group(speeds: Mapping[str, float]) -> dict[str, float]:
        return {group: speeds[tree] for group, tree in trees.items() if tree in speeds}

    samples, greedy, with_beams = map(by_group, (found.samples_per_s, found.tokens_per_s, searched))
    return Speeds(samples, tuple(remarks.values()), how, greedy, with_beams, beams)
