"""A student taught from a store is taught as by the running teacher."""

from dataclasses import replace

import pytest
import torch

from kdmm.data import MultimodalDataModule, Sample
from kdmm.errors import InputError
from kdmm.models import Classifier, ConvImage, DualEncoder, TransformerText
from kdmm.outputs import present
from kdmm.teachers import Cached, Ensemble, Frozen, Hybrid
from kdmm.views import EVAL_VIEW
from tests.data.files import Held, pairs
from tests.models.tiny_bert import write_tiny_bert
from tests.teachers.cache import small
from tests.teachers.cache.small import data, four_towers, held, teacher, two_towers, write


def gradients(student, objective, answer, batch):
    student.zero_grad()
    loss, _ = objective(student(batch["student"]), answer, batch)
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in student.parameters() if p.grad is not None]


def assert_same(found, expected, atol=1e-6):
    """Nothing is said of a modality that the data lack, where a running teacher says that nobody has it."""
    for name, x in expected.items():
        if name in found:
            torch.testing.assert_close(found[name], x.to(found[name].dtype), atol=atol, rtol=1e-5)
        else:
            assert not expected[f"present/{name.removeprefix('present/')}"].any()


def batches(source, student, of, passes=3):
    source.use({"student": student.preprocess, **of.preprocesses})
    for epoch in range(passes):
        source.position(epoch, 0)
        yield from source.train_dataloader()
    yield from source.val_dataloader()


SOURCES = {
    "map": (small.held, ("image", "text")),
    "table": (small.write_table, ("image", "text")),
    "web": (small.shards, ("image", "text")),
    "sounds": (small.sounds, ("audio", "text")),
    "clips": (small.clips, ("video", "text")),
}


@pytest.mark.parametrize(("kind", "workers"), [*((kind, 0) for kind in SOURCES), ("map", 2), ("web", 2)])
def test_losses_and_gradients_are_those_of_the_running_teacher(kind, workers, tmp_path):
    make, pair = SOURCES[kind]
    sources = make(tmp_path / "data")
    online = teacher() if pair[0] == "image" else Frozen(four_towers())
    write(tmp_path / "store", online, data(sources, workers=workers))
    cached = Cached(str(tmp_path / "store"))
    source = data(sources, workers=workers)
    cached.prepare(source, ("train", "val"))
    student = two_towers(2) if pair[0] == "image" else four_towers(2)
    objective = small.objective(pair)
    seen = set()
    for batch in batches(source, student, online):
        expected, found = online.answer(batch), cached.answer(batch)
        assert_same(found, expected)
        if not seen:
            objective.build(student(batch["student"]), expected, batch)
        loss, theirs = gradients(student, objective, expected, batch)
        again, ours = gradients(student, objective, found, batch)
        torch.testing.assert_close(again, loss, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        seen |= set(batch["view"])
    assert seen == {EVAL_VIEW, 0, 1, 2}
    source.teardown("fit")


def test_what_is_cached_needs_no_pixels(tmp_path):
    write(tmp_path / "store", teacher(), data(held()))
    cached, source = Cached(str(tmp_path / "store")), data(held())
    cached.prepare(source, ("train",))
    assert cached.preprocesses["teacher"].modalities == ()
    source.use({"student": two_towers().preprocess, **cached.preprocesses})
    batch = next(iter(source.train_dataloader()))
    assert "image" not in batch["teacher"]
    assert cached.answer(batch)["image"].shape == (4, 5)
    assert not list(cached.parameters())
    assert not cached.state_dict()


@pytest.mark.parametrize(("form", "bound"), [("float32", 1e-7), ("float16", 1e-3), ("bfloat16", 8e-3), ("int8", 8e-3)])
def test_the_manifest_states_what_a_format_loses(form, bound, tmp_path):
    online, source = teacher(), data(held())
    store = write(tmp_path / "store", online, source, formats={"": form})
    cached = Cached(str(tmp_path / "store"))
    cached.prepare(source, ("train", "val"))
    worst = 0.0
    for batch in batches(source, two_towers(2), online):
        expected, found = online.answer(batch)["image"], cached.answer(batch)["image"]
        worst = max(worst, float((found - expected).abs().max()))
    told = store.manifest["tables"]["teacher.image"]["columns"]["image"]
    assert told["format"] == form
    assert worst <= told["lost"]["difference_max"] + 1e-6
    assert told["lost"]["difference_max"] <= bound
    assert told["lost"]["cosine_min"] > 0.999


def test_logits_of_the_likeliest_classes(tmp_path):
    torch.manual_seed(1)
    online = Frozen(Classifier(ConvImage([4], 8), 10).eval())
    source = data(held())
    write(tmp_path / "store", online, source, formats={"": "float32", "logits": "top3"})
    cached = Cached(str(tmp_path / "store"))
    cached.prepare(source, ("train", "val"))
    for batch in batches(source, two_towers(2), online):
        expected, found = online.answer(batch), cached.answer(batch)
        torch.testing.assert_close(found["features"], expected["features"], atol=1e-6, rtol=1e-5)
        here = present(expected, "logits")
        assert torch.equal(present(found, "logits"), here)
        p, q = expected["logits"][here].softmax(1), found["logits"][here].softmax(1)
        best = p.topk(3).indices
        torch.testing.assert_close(q.gather(1, best), p.gather(1, best), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(q.sum(1), torch.ones(len(q)))


def test_taps_of_pictures(tmp_path):
    taps = {"s0": "towers.image.blocks.0", "s1": {"module": "towers.image.blocks.1", "modality": "image"}}
    online, source = teacher(taps=taps), data(held())
    store = write(tmp_path / "store", online, source)
    assert set(store.tables["teacher.image"].columns) == {"image", "s0", "s1"}
    cached = Cached(str(tmp_path / "store"))
    cached.prepare(source, ("train", "val"))
    for batch in batches(source, two_towers(2), online):
        expected, found = online.answer(batch), cached.answer(batch)
        assert set(expected) <= set(found)
        assert_same(found, expected)


def test_taps_of_tokens_are_as_many_as_the_batch_has(tmp_path):
    folder = write_tiny_bert(tmp_path / "bert", layers=2)
    model = DualEncoder(ConvImage([4], 8), TransformerText(folder), 5, weights_from="a run").eval()
    words = ["the film", "a good plot", "so long and dull", "bad", "the movie was not very good"]
    samples = [replace(each, captions=(words[n % 5],)) for n, each in enumerate(pairs(10))]
    online = Frozen(model, {"states": "towers.text.states.1"})
    source = data(Held(train=samples, val=samples[:2]))
    write(tmp_path / "store", online, source, batch_size=1, shard_rows=8)
    cached = Cached(str(tmp_path / "store"))
    cached.prepare(source, ("train", "val"))
    widths = set()
    for batch in batches(source, two_towers(2), online):
        expected, found = online.answer(batch), cached.answer(batch)
        assert found["states"].shape == expected["states"].shape
        counts = expected["valid/states"]
        assert torch.equal(found["valid/states"], counts)
        torch.testing.assert_close(found["states"][counts], expected["states"][counts], atol=1e-5, rtol=1e-5)
        widths.add(found["states"].shape[1])
    assert len(widths) > 1


def test_attention_between_tokens_is_not_kept(tmp_path):
    folder = write_tiny_bert(tmp_path / "bert", layers=2)
    model = DualEncoder(ConvImage([4], 8), TransformerText(folder), 5, weights_from="a run").eval()
    online = Frozen(model, {"scores": "towers.text.scores.1"})
    with pytest.raises(InputError, match="teacher's 'scores' is attention"):
        write(tmp_path / "store", online, data(held()))
    store = write(tmp_path / "store", online, data(held()), outputs=("image", "text"))
    assert "scores" not in store.tables["teacher.text"].columns


@pytest.mark.parametrize(
    ("first", "entries"), [("source", {"teacher.text+source": 12}), ("image", {"teacher.image+text": 9 * 3 + 3})]
)
def test_what_depends_on_two_modalities_together(first, entries, tmp_path):
    torch.manual_seed(1)
    online = Frozen(small.Pair(first).eval())
    samples = [Sample(f"p{n}", captions=(f"a {n}", f"b {n}"), source=f"s {n % 2}") for n in range(6)]
    sources = Held(train=samples, val=samples[:2]) if first == "source" else held()
    source = MultimodalDataModule(sources, 2) if first == "source" else data(sources)
    store = write(tmp_path / "store", online, source)
    assert {name: len(table) for name, table in store.tables.items()} == entries
    cached = Cached(str(tmp_path / "store"))
    cached.prepare(source, ("train", "val"))
    for batch in batches(source, small.Pair(first), online):
        expected, found = online.answer(batch), cached.answer(batch)
        assert torch.equal(found["present/logits"], expected["present/logits"])
        torch.testing.assert_close(found["logits"], expected["logits"], atol=1e-6, rtol=1e-5)
    hybrid = Hybrid(str(tmp_path / "store"), online)
    new = (
        [replace(each, id=f"new {each.id}", captions=("c",)) for each in samples] if first == "source" else pairs(9, 60)
    )
    other = MultimodalDataModule(Held(train=new), 2)
    other.use({"student": small.Pair(first).preprocess, **hybrid.preprocesses})
    batch = next(iter(other.train_dataloader()))
    torch.testing.assert_close(hybrid.answer(batch)["logits"], online.answer(batch)["logits"])


def test_an_ensemble_is_kept_teacher_by_teacher(tmp_path):
    recipe = {"weights": {"a": 1, "b": 3}, "temperatures": {"a": 2.0, "b": 0.5}}
    both = Ensemble({"a": teacher(1), "b": teacher(3, image_size=16)}, **recipe)
    source = data(held())
    write(tmp_path / "store", both, source)
    cached = Cached(str(tmp_path / "store"))
    assert set(cached.preprocesses) == {"a", "b"}
    cached.prepare(source, ("train", "val"))
    for batch in batches(source, two_towers(2), both):
        expected, found = both.answer(batch), cached.answer(batch)
        assert set(found) == set(expected)
        assert_same(found, expected)


@pytest.mark.parametrize("kind", [Cached, Hybrid])
def test_the_running_ensemble_says_how_its_teachers_are_one(kind, tmp_path):
    few = {"pairs": Held(train=pairs(5, captions=2), val=pairs(3, 30)), "texts": held()["texts"]}
    written, source = few if kind is Hybrid else held(), data(held())
    equal = Ensemble({"a": teacher(1), "b": teacher(3, image_size=16)})
    write(tmp_path / "store", equal, data(written))
    other = {"weights": {"a": 9, "b": 1}, "temperatures": {"a": 3, "b": 1}}
    online = Ensemble({"b": teacher(3, image_size=16), "a": teacher(1)}, **other)
    stored = kind(str(tmp_path / "store"), online)
    stored.prepare(source, ("train", "val"))
    for batch in batches(source, two_towers(2), online):
        expected, found = online.answer(batch), stored.answer(batch)
        assert set(found) == set(expected)
        assert_same(found, expected)
    if kind is Cached:  # without a running one, the store does
        assert_same(Cached(str(tmp_path / "store")).answer(batch), equal.answer(batch))


def test_hybrid_runs_where_nothing_is_stored(tmp_path):
    online = teacher()
    few = {"pairs": Held(train=pairs(5, captions=2), val=pairs(2, 30)), "texts": held()["texts"]}
    write(tmp_path / "store", online, data(few, views=2))
    hybrid, source = Hybrid(str(tmp_path / "store"), online), data(held(), views=None)
    hybrid.prepare(source, ("train", "val"))
    calls = []
    online.model.register_forward_hook(lambda module, inputs, outputs: calls.append(len(inputs[0].get("image", ()))))
    for batch in batches(source, two_towers(2), hybrid):
        stored = {f"pairs/s{n}" for n in (0, 1, 2, 3, 4, 30, 31)}
        of_pictures = [
            not (name in stored and view < 2)
            for name, view, here in zip(batch["id"], batch["view"], batch["teacher"]["present/image"], strict=True)
            if here
        ]
        calls.clear()
        found = hybrid.answer(batch)
        assert sum(calls) == sum(of_pictures)
        expected = online.answer(batch)
        assert_same(found, expected)


def test_what_is_missing_is_added(tmp_path):
    online = teacher()
    few = {"pairs": Held(train=pairs(5), val=pairs(2, 30)), "texts": Held(train=held()["texts"].held["train"][:1])}
    write(tmp_path / "store", online, data(few, views=2))
    source = data(held())
    with pytest.raises(InputError, match=r"views: the DataModule has `views: 3`, and the store .* has 2"):
        Cached(str(tmp_path / "store")).prepare(source, ("train", "val"))
    fewer_views = data(held(), views=2)
    with pytest.raises(InputError, match=r"lacks 4 of 9 train samples, such as 'pairs/s5'; 16 of 22 train texts"):
        Cached(str(tmp_path / "store")).prepare(fewer_views, ("train", "val"))
    filled = Cached(str(tmp_path / "store"), online, fill="online")
    filled.prepare(source, ("train", "val"))
    for cached in (filled, Cached(str(tmp_path / "store"), online, fill="online")):
        before = sorted(each.name for each in (tmp_path / "store").rglob("*"))
        cached.prepare(source, ("train", "val"))  # nothing is missing any more
        assert sorted(each.name for each in (tmp_path / "store").rglob("*")) == before
        for batch in batches(source, two_towers(2), online, passes=2):
            expected, found = online.answer(batch), cached.answer(batch)
            assert_same(found, expected)
    with pytest.raises(InputError, match="online needs the running `teacher`"):
        Cached(str(tmp_path / "store"), fill="online")


def test_a_view_that_is_not_there_is_named(tmp_path):
    write(tmp_path / "store", teacher(), data(held(), views=2))
    cached, source = Cached(str(tmp_path / "store")), data(held(), views=4)
    source.use({"student": two_towers().preprocess, **cached.preprocesses})
    source.position(3, 0)
    with pytest.raises(InputError, match=r"store holds no answer to view 3 of 'pairs/s\d' \(2 in this batch\)"):
        cached.answer(next(iter(source.train_dataloader())))
