"""Random entries of a store are answered again, and must be what their format promises."""

from dataclasses import replace

import pytest
import torch

from kdmm.errors import InputError
from kdmm.models import Classifier, ConvImage, DualEncoder, TransformerText
from kdmm.teachers import Ensemble, Frozen
from kdmm.teachers.cache.members import members_of
from kdmm.teachers.cache.verifying import SLACK, verify
from tests.data.files import Held, pairs
from tests.models.tiny_bert import write_tiny_bert
from tests.teachers.cache.small import data, held, teacher, two_towers, write


def classifier(folder):
    return Frozen(Classifier(ConvImage([4], 8), 10).eval()), held()


def tapped(folder):
    taps = {"s0": "towers.image.blocks.0", "s1": {"module": "towers.image.blocks.1", "modality": "image"}}
    return teacher(taps=taps), held()


def tapped_tokens(folder):
    text = TransformerText(write_tiny_bert(folder / "bert", layers=1))
    model = DualEncoder(ConvImage([4], 8), text, 5, weights_from="a run").eval()
    words = ["the film", "a good plot", "so long and dull", "bad"]
    samples = [replace(each, captions=(words[n % 4],)) for n, each in enumerate(pairs(6))]
    return Frozen(model, {"states": "towers.text.states.1"}), Held(train=samples, val=samples[:2])


def several(folder):
    return Ensemble({"a": teacher(1), "b": teacher(3, image_size=16)}, weights={"a": 1, "b": 3}), held()


KINDS = {
    "embeddings": (lambda folder: (teacher(), held()), "float16", {"image", "text"}),
    "logits": (classifier, "float32", {"logits", "features"}),
    "top-k": (classifier, {"": "float32", "logits": "top3"}, {"logits", "features"}),
    "top-k at 4": (classifier, {"": "float32", "logits": "top3@4"}, {"logits", "features"}),
    "maps in bfloat16": (tapped, "bfloat16", {"image", "text", "s0", "s1"}),
    "maps in int8": (tapped, "int8", {"image", "text", "s0", "s1"}),
    "tokens in int8": (tapped_tokens, "int8", {"image", "text", "states"}),
    "an ensemble": (several, "int8", {"image", "text"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_answer_is_compared(kind, tmp_path):
    torch.manual_seed(1)
    make, formats, outputs = KINDS[kind]
    online, sources = make(tmp_path)
    source, formats = data(sources), formats if isinstance(formats, dict) else {"": formats}
    store = write(tmp_path / "store", online, source, formats=formats)
    found = {each.output: each for each in verify(store, members_of(online), source, 7)}
    assert {name.rpartition(".")[2] for name in found} == outputs
    told = {f"{name}.{column}": about for name, table in store.manifest["tables"].items()
            for column, about in table["columns"].items()}  # fmt: skip
    for name, each in found.items():
        assert each.holds
        assert 0 <= each.beyond < 0.01  # the order of sums
        assert each.quantiles == tuple(sorted(each.quantiles))
        if "cosine_min" in told[name]["lost"]:
            assert each.quantiles[0] >= told[name]["lost"]["cosine_min"] - 1e-6
        else:
            assert each.quantiles[0] < 0.999  # the classes that are not kept


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8", "top3"])
@pytest.mark.parametrize(("share", "holds"), [(0.5 * SLACK, True), (2 * SLACK, False), (1.0, False)])
def test_answers_that_are_farther_than_the_format_loses_do_not_hold(form, share, holds, tmp_path):
    torch.manual_seed(1)
    online, source = Frozen(Classifier(ConvImage([4], 8), 10).eval()), data(held())
    store = write(tmp_path / "store", online, source, formats={"": form}, outputs=("logits",))
    with torch.no_grad():
        for name, x in online.model.named_parameters():
            if name.startswith("head"):
                x *= 1 / (1 + share)  # the stored logits are longer, and their cosines the same
    (found,) = verify(store, members_of(online), source, 5)
    assert found.holds == holds
    if form == "float32":
        assert found.beyond == pytest.approx(share, rel=1e-4)
        assert found.quantiles[0] == pytest.approx(1)


def test_an_answer_that_became_infinite_does_not_hold(tmp_path):
    online, source = teacher(), data(held())
    store = write(tmp_path / "store", online, source, formats={"": "float32"})
    with torch.no_grad():
        online.model.projections.image.weight.fill_(torch.inf)
    found = {each.output: each.holds for each in verify(store, members_of(online), source, 3)}
    assert found == {"teacher.image.image": False, "teacher.text.text": True}


def test_as_many_entries_as_asked_for_or_all(tmp_path):
    online, source = Frozen(two_towers()), data(held())
    store = write(tmp_path / "store", online, source, formats={"": "float16", "text": "int8"})
    found = {each.output: (each.entries, each.format) for each in verify(store, members_of(online), source, 12)}
    assert found == {"teacher.image.image": (12, "float16"), "teacher.text.text": (12, "int8")}
    assert [each.entries for each in verify(store, members_of(online), source, 1000)] == [12, 25]
    with pytest.raises(InputError, match="entries: 0 given"):
        verify(store, members_of(online), source, 0)
