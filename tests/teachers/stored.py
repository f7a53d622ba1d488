"""Teaching from stored answers beside teaching by the running teacher."""

from itertools import islice

import torch

from kdmm.data import MultimodalDataModule
from kdmm.losses import Objective
from kdmm.teachers import Cached, Precomputed
from tests.teachers.cache.small import write

EPOCHS, BATCHES = 2, 2


def taught(student, objective, answer, batch):
    """The loss of a batch, and every gradient of the student and of the terms' own parameters."""
    torch.manual_seed(0)
    parameters = {**dict(student.named_parameters()), **dict(objective.named_parameters())}
    for parameter in parameters.values():
        parameter.grad = None
    loss, _ = objective(student(batch["student"]), answer, batch)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in parameters.items() if p.grad is not None}


def rolled(answer):
    """What the teacher said, of another sample."""
    return {name: x.roll(1, 0) if x.ndim else x for name, x in answer.items()}


def assert_taught_alike(folder, sources, online, student, terms, outputs=None, **settings):
    """Compare batches of two epochs; where ``outputs`` says what a Precomputed one keeps, with its answers too.

    A student that is taught from stored answers has batches without anything that the teacher reads.
    """

    def made(preprocesses):
        data = MultimodalDataModule(sources, **{"batch_size": 3, "views": 2, **settings})
        data.use({"student": student.preprocess, **preprocesses})
        return data

    running = made(online.preprocesses)
    splits = ("train", "val") if running.has("val") else ("train",)
    write(folder, online, running, splits=splits)
    stored = [Cached(str(folder))]
    if outputs is not None:
        stored.append(Precomputed(online, running.views or 1, outputs=outputs))
    lean = made(stored[0].preprocesses)
    for teacher in stored:
        teacher.prepare(lean, splits)
    objective, differs = Objective(terms), 0.0
    objective.build(*built_from(student, online, running))
    for epoch in range(EPOCHS):
        for data in (running, lean):
            data.position(epoch, 0)
        loaders = [islice(data.train_dataloader(), BATCHES) for data in (running, lean)]
        for batch, lean_batch in zip(*loaders, strict=True):
            assert lean_batch["id"] == batch["id"]
            assert not any(each.modalities for each in stored[0].preprocesses.values())
            answer = online.answer(batch)
            expected = taught(student, objective, answer, batch)
            assert expected[1]
            for teacher in stored:
                found = taught(student, objective, teacher.answer(lean_batch), lean_batch)
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
            another, _ = taught(student, objective, rolled(answer), batch)
            differs = max(differs, float((another - expected[0]).abs()))
    assert differs > 1e-4  # what the teacher says of a sample matters


def built_from(student, online, data):
    """What the terms are built from."""
    batch = data.dry_batch({"student": student.preprocess, **online.preprocesses})
    with torch.no_grad():
        return student(batch["student"]), online.answer(batch), batch
