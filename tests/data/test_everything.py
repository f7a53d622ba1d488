import pytest

from kdmm.data import MultimodalDataModule, WebDataset
from kdmm.errors import InputError
from kdmm.views import EVAL_VIEW
from tests.data.files import SMALL, Held, encoded, pairs, texts, write_shard
from tests.data.test_batches import bad


def module(sources, **settings):
    return MultimodalDataModule(sources, 2, views=3, **settings)


@pytest.fixture
def web(tmp_path):
    names = []
    for number in range(2):
        samples = {f"{number}{n}": {"png": encoded(n), "txt": f"text {n} of {number}"} for n in range(3)}
        names.append(write_shard(tmp_path / f"{number}.tar", {**samples, f"{number}t": {"txt": "no picture"}}))
    return WebDataset(names)


def test_sources_that_list_and_that_stream_are_walked_alike(web):
    every = module({"pairs": Held(train=pairs(70)), "web": web}).everything("train")
    assert every.counts == {"pairs": 70, "web": 8}
    places = list(every.walk())
    assert [(place.source, place.position) for place in places] == [
        *(("pairs", n) for n in range(70)),
        *(("web", n) for n in range(8)),
    ]
    assert places[69].name == "pairs/s69"
    assert [place.name for place in places[70:]] == [f"web/{n}.tar/{n}{key}" for n in "01" for key in "012t"]
    assert [place.sample.captions for place in places[70:72]] == [("text 0 of 0",), ("text 1 of 0",)]
    assert list(every.walk(listed=True)) == places
    assert every.unlisted == []
    assert {name: list(each) for name, each in every.identities().items()} == {"web": ["0.tar", "1.tar"]}
    assert [place for place, _ in every.identified(["image"])] == places[:70]
    assert len({identity for _, identity in every.identified(["image"])}) == 70


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_given_for_every_request(web, workers):
    every = module({"pairs": Held(train=[*pairs(3), *texts(2)]), "web": web}, workers=workers).everything("train")
    requests = [
        ("pairs", range(2), 0),
        ("pairs", range(2), 2),
        ("pairs", [2, 3], EVAL_VIEW),
        ("pairs", [3, 4], 0),
        ("web", range(1, 5), 1),
        ("web", [3], 0),
        ("web", [6], 0),
    ]
    found = list(every.batches(requests, SMALL.only("image")))
    assert [batch and list(zip(batch["id"], batch["view"], strict=True)) for batch in found] == [
        [("pairs/s0", 0), ("pairs/s1", 0)],
        [("pairs/s0", 2), ("pairs/s1", 2)],
        [("pairs/s2", EVAL_VIEW)],
        None,
        [("web/0.tar/01", 1), ("web/0.tar/02", 1), ("web/1.tar/10", 1)],
        None,
        [("web/1.tar/12", 0)],
    ]
    assert [len(batch["image"]) for batch in found if batch] == [2, 2, 1, 3, 1]


def test_bad_samples_are_as_in_training():
    samples = [*pairs(2), *bad(1)]
    requests = [("data", range(3), 0), ("data", [2], 0)]
    skipping = module(Held(train=samples), bad_samples="skip").everything("train")
    first, second = skipping.batches(requests, SMALL.only("image"))
    assert first["id"] == ["s0", "s1"]
    assert second is None
    with pytest.raises(InputError, match=r"table\.csv, row 0"):
        list(module(Held(train=samples)).everything("train").batches(requests, SMALL.only("image")))
