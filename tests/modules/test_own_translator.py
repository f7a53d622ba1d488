"""A user's own network that translates, distilled by the YAML that CONTRIBUTING.md shows."""

import json
from pathlib import Path

import pytest
import torch

import kdmm
from kdmm import targets
from kdmm.losses import SequenceCrossEntropy
from kdmm.models import save_model
from tests.contributing import shown
from tests.parallel import PAIRS, batch
from tests.small_runs import logged

pytest.importorskip("sacrebleu")

TOKENS = {"_target_": "kdmm.data.TrainedTokens", "vocab_size": 270}
OWN = ("scribe",)


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    """A teacher that has learned of the pairs, as a finished run; the pairs lie in a table beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages"))
    rows = [{"source": a, "target": b, "split": split} for split in ("train", "val", "test") for a, b in PAIRS]
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    source = {"_target_": "kdmm.data.ParallelTable", "path": "pairs.jsonl", "split": "split"}
    tokens = {**TOKENS, "trained_on": source}
    network = {"_target_": "scribe.Recurrent", "source_size": 270, "text_size": 270, "width": 24}
    tree = {"_target_": "kdmm.models.Seq2Seq", "network": network, "source": tokens, "text": tokens}
    torch.manual_seed(1)
    model = targets.build(tree, allow=OWN)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)
    made, loss = batch(model, PAIRS), SequenceCrossEntropy("student.tokens")
    for _ in range(30):
        optimizer.zero_grad()
        loss(model(made), {}, {}).backward()
        optimizer.step()
    Path("runs/teacher").mkdir(parents=True)
    save_model(Path("runs/teacher/teacher.safetensors"), model.eval(), tree)
    return model


def values(run, name):
    return [float(row[name]) for row in logged(run.dir) if row.get(name)]


def test_it_learns_of_its_teacher_and_is_measured(teacher):
    run = kdmm.fit(shown("own/translator"), allow=OWN)
    for term in ("hard", "word"):
        found = values(run, f"train/{term}")
        assert found[-1] < 0.7 * found[0], term
    assert 0 < kdmm.evaluate(run.dir, allow=OWN)["test/chrf"] <= 1
    assert type(kdmm.load(run.dir, allow=OWN).network).__name__ == "Recurrent"


def test_its_first_step_is_the_one_by_hand(teacher):
    """Two runs of one seed: of a step of length 0, which leaves the initial weights, and of the step shown."""
    path, one, rate = shown("own/translator"), "trainer.max_steps=1", "module.optimization.optimizer.lr"
    still = kdmm.fit(path, ["name=still", one, f"{rate}=0"], allow=OWN)
    moved = kdmm.fit(path, ["name=moved", one, f"{rate}=0.5"], allow=OWN)
    student = kdmm.load(still.dir, allow=OWN).requires_grad_(True)
    made = batch(student, PAIRS)
    ours, theirs = student(made)["logits"].log_softmax(2), teacher(made)["logits"].log_softmax(2).detach()
    hard, word = [], []
    for row, (_, text) in enumerate(PAIRS):
        for place, token in enumerate(student.text([text])[0].tolist()):
            hard.append(-ours[row, place, token])
            word.append((theirs[row, place].exp() * (theirs[row, place] - ours[row, place])).sum())
    hard, word = torch.stack(hard).mean(), torch.stack(word).mean()
    loss = hard + 2 * word
    for run in (still, moved):
        for name, value in {"hard": hard, "word": word, "loss": loss}.items():
            assert values(run, f"train/{name}") == [pytest.approx(value.item(), rel=1e-5)]
    gradients = torch.autograd.grad(loss, list(student.parameters()))
    found = kdmm.load(moved.dir, allow=OWN).state_dict()
    for (name, parameter), gradient in zip(student.named_parameters(), gradients, strict=True):
        assert gradient.abs().max() > 1e-3, name
        torch.testing.assert_close(found[name], parameter.detach() - 0.5 * gradient, rtol=1e-4, atol=1e-6)
