"""A store refuses what it was not made for, and says what differs."""

import json
from importlib import metadata

import pytest
import torch
from torchvision.transforms import v2

from kdmm.data import PairTable
from kdmm.errors import InputError
from kdmm.models import Classifier, ConvImage, DualEncoder, Preprocess, TransformerText, untapped
from kdmm.teachers import Cached, Frozen, Hybrid, MovingAverage, Precomputed
from kdmm.teachers.cache.facts import facts_of_data, facts_of_model, facts_of_teacher
from kdmm.teachers.cache.files import write_json
from kdmm.teachers.cache.finishing import own_checksum
from kdmm.teachers.cache.members import members_of
from kdmm.teachers.cache.settings import Settings
from tests.data.files import Held, pairs, picture
from tests.models.tiny_bert import write_tiny_bert
from tests.teachers.cache import small
from tests.teachers.cache.small import AUGMENT, data, held, teacher, two_towers, write, write_table, writer

SPLITS = ("train", "val")


@pytest.fixture
def store(tmp_path):
    write(tmp_path / "store", teacher(), data(held()))
    return tmp_path / "store"


def prepare(store, source=None, of=None):
    Cached(str(store), of).prepare(data(held()) if source is None else source, SPLITS)


def test_the_same_data_are_taken(store):
    prepare(store, of=teacher())
    fewer = {"pairs": Held(train=pairs(4, captions=2), val=pairs(2, 30)), "texts": held()["texts"]}
    prepare(store, data(fewer, views=2))  # a part of what is stored


@pytest.mark.parametrize("file", ["teacher.image.train.00000.safetensors", "teacher.text.index.safetensors",
                                  "teacher.text.00000.safetensors", "samples.val.safetensors"])  # fmt: skip
def test_a_flipped_bit_is_named(store, file):
    path = store / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{file} is damaged: it does not have the checksum"):
        prepare(store)


def test_every_file_is_checked(store):
    for path in store.glob("*.safetensors"):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(InputError, match=rf"{path.name} is damaged"):
            prepare(store)
        path.write_bytes(whole)
    prepare(store)


def test_a_file_that_is_cut_off_or_gone_is_named(store):
    path = store / "teacher.image.train.00001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    for check in ("content", "size"):
        with pytest.raises(InputError, match=rf"00001.safetensors is cut off .* {len(whole) - 8} bytes where"):
            Cached(str(store), check=check).prepare(data(held()), SPLITS)
    path.unlink()
    with pytest.raises(InputError, match=r"00001.safetensors is missing.*run `kdmm cache`"):
        prepare(store)
    write(store, teacher(), data(held()))  # it alone is written again
    assert path.read_bytes() == whole


def test_a_changed_manifest_is_named(store):
    path = store / "manifest.json"
    content = json.loads(path.read_text())
    write_json(path, {**content, "views": 9})
    with pytest.raises(InputError, match=r"manifest.json is damaged"):
        prepare(store)
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match=r"manifest.json is damaged"):
        prepare(store)
    newer = {**content, "version": 99}
    write_json(path, {**newer, "checksum": own_checksum(newer)})
    with pytest.raises(InputError, match="has the version 99, and this kdmm reads and writes 3"):
        prepare(store)


def test_a_store_of_an_earlier_kdmm_is_written_again(store):
    path = store / "manifest.json"
    earlier = {**json.loads(path.read_text()), "version": 1}
    write_json(path, {**earlier, "checksum": own_checksum(earlier)})
    message = rf"The store {store} has the version 1, .* Delete the folder, and run `kdmm cache` again"
    with pytest.raises(InputError, match=message):
        prepare(store)
    plan = json.loads((store / "plan.json").read_text())
    del plan["version"]  # which it did not tell then
    write_json(store / "plan.json", plan)
    with pytest.raises(InputError, match=message):
        write(store, teacher(), data(held()))


def test_another_teacher_is_named(store):
    other = teacher()
    with torch.no_grad():
        next(other.model.parameters()).mul_(1.0001)
    with pytest.raises(InputError, match=r"teacher's weights \(stored: float32 \w+; here: float32 \w+\)"):
        prepare(store, of=other)
    with pytest.raises(InputError, match=r"teacher's preprocessing of image \(stored: .*size=8.*here: .*size=16"):
        prepare(store, of=teacher(image_size=16))
    with pytest.raises(InputError, match=r"teacher's taps \(stored: none"):
        prepare(store, of=teacher(taps={"s0": "towers.image.blocks.0"}))
    with pytest.raises(InputError, match=r"teacher's weights"):
        Hybrid(str(store), other).prepare(data(held()), SPLITS)
    shifted = two_towers()
    shifted.towers.text.preprocess = small.Letters(1)
    with pytest.raises(InputError, match=r"teacher's tokenizer of text \(stored: Letters\(shift=0\)"):
        prepare(store, of=Frozen(shifted))
    paused = teacher()
    paused.model.frames = 3
    with pytest.raises(InputError, match=r"teacher's settings"):
        prepare(store, of=paused)
    precise = Frozen(two_towers(), precision="bfloat16")
    with pytest.raises(InputError, match=r"teacher's precision \(stored: none; here: bfloat16\)"):
        prepare(store, of=precise)


@pytest.mark.parametrize(("setting", "value"), [("stride", (2, 2)), ("padding_mode", "reflect"), ("count", [3, None])])
def test_a_part_with_another_setting_is_named(store, setting, value):
    other = teacher()
    setattr(other.model.towers.image.blocks[0][0], setting, value)
    with pytest.raises(InputError, match=r"this: teacher's settings \(stored: \w+; here: \w+\)\. Write"):
        prepare(store, of=other)


def test_facts_do_not_depend_on_where_a_model_lies(tmp_path):
    facts = []
    for folder, weights, pooling in (("a", "a run", "mean"), ("b", "another", "mean"), ("b", "another", "cls")):
        name = write_tiny_bert(tmp_path / folder / "bert", layers=1)
        torch.manual_seed(1)
        text = TransformerText(name, pooling)
        model = DualEncoder(ConvImage([4], 8), text, 5, weights_from=weights, freeze=["text"] if folder == "b" else [])
        model.device = f"cuda:{len(facts)}"
        facts.append(facts_of_teacher("teacher", Frozen(model.eval())))
    assert facts[0] == facts[1]
    assert "'...', context_length=64" in facts[0]["teacher's tokenizer of text"]
    assert {name for name, fact in facts[2].items() if fact != facts[1][name]} == {"teacher's settings"}


def test_the_version_of_what_resizes_pictures_is_named(tmp_path, monkeypatch):
    online = Frozen(Classifier(ConvImage([4], 8), 3).eval())
    write(tmp_path, online, data(held()))
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99.1" if name == "open_clip_torch" else real(name))
    with pytest.raises(InputError, match=r"this: version of open_clip_torch \(stored: [\d.]+; here: 99.1\)\. Write"):
        prepare(tmp_path)


def test_another_augmentation_is_named(store):
    others = {"image": [v2.RandomHorizontalFlip(0.4), AUGMENT["image"][1]]}
    with pytest.raises(InputError, match=r"augmentation of image \(stored: .*p=0.5.*here: .*p=0.4"):
        prepare(store, data(held(), others))
    with pytest.raises(InputError, match=r"augmentation of image \(stored: .*; here: none\)"):
        prepare(store, data(held(), {}))
    with pytest.raises(InputError, match=r"canvas \(stored: none; here: \(16, 16\)\)"):
        prepare(store, data(held(), canvas=(16, 16)))


def test_another_version_of_what_makes_pixels_is_named(store, monkeypatch):
    monkeypatch.setattr("kdmm.teachers.cache.facts.metadata.version", lambda name: "99.1")
    with pytest.raises(InputError, match=r"version of torch .*; version of pillow .* here: 99.1"):
        prepare(store)


def test_a_shuffled_table_without_ids_is_named(tmp_path):
    write(tmp_path / "store", teacher(), data(write_table(tmp_path / "data", ids=False)))
    shuffled = write_table(tmp_path / "data", order=[1, 0, *range(2, 9)], ids=False)
    with pytest.raises(InputError, match=r"the train sample '1' \(.*row 1\): its file has another content.*shuffled"):
        prepare(tmp_path / "store", data(shuffled))


def test_a_shuffled_table_with_ids_is_the_same(tmp_path):
    write(tmp_path / "store", teacher(), data(write_table(tmp_path / "data")))
    shuffled = write_table(tmp_path / "data", order=[4, 0, 8, *(n for n in range(9) if n not in (0, 4, 8))])
    prepare(tmp_path / "store", data(shuffled))


def test_a_picture_that_changed_is_named(tmp_path):
    table = write_table(tmp_path / "data")
    write(tmp_path / "store", teacher(), data(table))
    picture(77).save(tmp_path / "data" / "2.png")
    with pytest.raises(InputError, match=r"not made for the train sample 'row2'"):
        prepare(tmp_path / "store", data(PairTable(table.path, split="split", id="id")))


def test_another_shard_is_named(tmp_path):
    write(tmp_path / "store", teacher(), data(small.shards(tmp_path)))
    prepare(tmp_path / "store", data(small.shards_of(tmp_path)))
    (tmp_path / "0.tar").write_bytes((tmp_path / "1.tar").read_bytes())
    with pytest.raises(InputError, match=r"this: shard 0.tar of web \(stored: \w+; here: \w+\)\. Write"):
        prepare(tmp_path / "store", data(small.shards_of(tmp_path)))


def test_more_views_than_there_are_need_more_answers(store):
    for views in (4, None):
        with pytest.raises(InputError, match=rf"`views: {views or 'null'}`, and the store .* has 3"):
            prepare(store, data(held(), views=views))


def test_there_is_no_store(tmp_path):
    (tmp_path / "stores").mkdir()
    with pytest.raises(InputError, match=r"There is no store .*Write it with `kdmm cache`"):
        prepare(tmp_path / "stor")
    work = writer(tmp_path / "begun", teacher(), data(held()))
    work.begin()
    work.step(next(iter(work)))
    with pytest.raises(InputError, match=r"begun is not finished. Go on"):
        prepare(tmp_path / "begun")


def test_going_on_with_something_else_is_refused(tmp_path):
    folder = tmp_path / "store"
    writer(folder, teacher(), data(held())).begin()
    for other, name in (
        ({"batch_size": 2}, "batch size"),
        ({"formats": {"": "int8"}}, "format of teacher.image.image"),
        ({"splits": ("train",)}, "splits"),
    ):
        with pytest.raises(InputError, match=rf"was begun with something else: .*{name} \(stored"):
            writer(folder, teacher(), data(held()), **other).begin()
    with pytest.raises(InputError, match=r"begun with something else: teacher's weights"):
        writer(folder, teacher(5), data(held())).begin()
    with pytest.raises(InputError, match=r"begun with something else: .*samples of train"):
        writer(folder, teacher(), data({**held(), "pairs": Held(train=pairs(8), val=pairs(3, 30))})).begin()
    with pytest.raises(InputError, match=r"something else: precision \(stored: 32-true; here: bf16-mixed\)\. Take"):
        writer(folder, teacher(), data(held()), precision="bf16").begin()
    writer(folder, teacher(), data(held()), precision="32").begin()
    with pytest.raises(InputError, match=r"something else: teacher's precision \(stored: none; here: float32\)\. Take"):
        writer(folder, Frozen(two_towers(), precision="float32"), data(held())).begin()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="holds other files"):
        writer(tmp_path / "other", teacher(), data(held())).begin()


def test_what_cannot_be_kept_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gives no 'imag', but image, text\. Did you mean 'image'"):
        writer(tmp_path, teacher(), data(held()), outputs=("imag",))
    with pytest.raises(InputError, match=r"views: the DataModule has `views: null`"):
        writer(tmp_path, teacher(), data(held(), views=None))
    with pytest.raises(InputError, match=r"splits: the data have no test split"):
        writer(tmp_path, teacher(), data(held()), splits=("train", "test"))
    with pytest.raises(InputError, match=r"splits: 'vall' given.*Did you mean 'val'"):
        Settings(splits=("vall",))
    with pytest.raises(InputError, match="format: 'float8' given"):
        Settings(formats={"": "float8"})
    with pytest.raises(InputError, match="MovingAverage cannot be kept"):
        members_of(MovingAverage())
    twice = {"pairs": Held(train=pairs(2), val=pairs(2, 30), test=pairs(2, 31))}
    with pytest.raises(InputError, match=r"1 of the 10 entries of the table teacher.image have the key of another"):
        write(tmp_path / "twice", teacher(), data(twice), splits=("train", "val", "test"))


@pytest.mark.parametrize("factor", [1e6, -1e6])
def test_numbers_that_a_format_cannot_hold_are_named(tmp_path, factor):
    online = teacher(taps={"s1": {"module": "towers.image.blocks.1", "modality": "image"}})
    with torch.no_grad():
        untapped(online.model).towers.image.blocks[1][1].weight *= factor
    with pytest.raises(InputError, match=r"format of teacher.image.s1: .*beyond 65504"):
        write(tmp_path, online, data(held()), formats={"": "float16"})


class Shade:
    """A transform that says nothing of its settings, and is a preprocessing as well."""

    def __init__(self, amount):
        self._amount = amount

    def __call__(self, image):
        return image.point(lambda x: x * self._amount)


def test_a_setting_that_a_transform_does_not_say_is_named(tmp_path):
    def source(p=0.1, amount=0.5):
        long = [v2.AutoAugment(), *(v2.ColorJitter(0.1 * n, hue=0.01 * n) for n in range(5))]
        return data(held(), {"image": [*long, v2.RandomApply([v2.RandomResizedCrop(12)], p=p), Shade(amount), *long]})

    write(tmp_path, teacher(), source())
    prepare(tmp_path, source())
    for other, message in (
        (source(p=1.0), r"augmentation of image \(stored: \.\.\. .* p=0\.1\).*; here: .* p=1\.0\)"),
        (source(amount=0.6), r"augmentation of image \(stored: .*Shade\(_amount=0\.5\).*; here: .*amount=0\.6\)"),
    ):
        with pytest.raises(InputError, match=message) as refusal:
            prepare(tmp_path, other)
        assert len(str(refusal.value)) < 700  # a part of each fact, about what differs


def test_a_preprocessing_that_says_nothing_of_its_settings_is_told_by_them():
    facts = [facts_of_model(two_towers(), Preprocess(image=Shade(amount))) for amount in (0.5, 0.5, 0.6)]
    assert facts[0] == facts[1] != facts[2]


def test_no_augmentation_is_none():
    nothing = [facts_of_data(data(held(), augment).facts, ["image"]) for augment in ({}, {"image": []})]
    assert nothing[0] == nothing[1]
    assert nothing[0]["augmentation of image"] == "none"


def test_a_precomputed_teacher_is_cached_by_what_runs_behind_it():
    online = teacher()
    assert members_of(Precomputed(online, views=2)) == {"teacher": online}
