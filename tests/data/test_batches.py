import dataclasses
import pickle
from dataclasses import dataclass

import torch
from torchvision.transforms import v2

from kdmm.data import ImageRef, Sample
from kdmm.data.batches import BatchMaker, Failure, caption_hash, map_tensors
from kdmm.data.feed import EVAL_PASS, Indexed
from kdmm.data.rows import Recipe
from kdmm.models.audio.clip import AudioClip
from kdmm.models.preprocess import ImageTransform, Preprocess
from kdmm.views import EVAL_VIEW, seeded
from tests.data.files import BROKEN_PNG, OTHER, SMALL, Letters, encoded, pairs, texts

AUGMENT = (v2.RandomHorizontalFlip(), v2.RandomAffine(20, translate=(0.2, 0.2)), v2.ColorJitter(0.4, 0.4, 0.4, 0.2))


def maker(samples, prefixed=False, **recipe):
    recipe = {"preprocess": {"student": SMALL}, "modalities": ("image", "text"), **recipe}
    return BatchMaker({"data": Indexed(samples, "data", 0)}, Recipe(**recipe), prefixed)


def batch_of(samples, number=0, **recipe):
    made = maker(samples, **recipe)[{"data": [(row, number) for row in range(len(samples))]}]
    assert isinstance(made, dict), made
    return made


def test_a_batch_of_pairs():
    samples = pairs(3)
    batch = batch_of(samples, 4)
    assert batch["id"] == ["s0", "s1", "s2"]
    assert batch["view"] == [4, 4, 4]
    assert batch["caption"] == [sample.captions[0] for sample in samples]
    assert "captions" not in batch
    assert "skipped" not in batch
    part = batch["student"]
    assert torch.equal(part["image"], torch.stack([SMALL.image(sample.image.open()) for sample in samples]))
    assert torch.equal(part["text"], SMALL.text(batch["caption"]))
    for name in ("id", "view", "caption"):
        assert part[name] is batch[name]
    assert part["present/image"].tolist() == part["present/text"].tolist() == [True] * 3


def test_rows_that_lack_a_modality_are_left_out_of_its_tensor():
    some = pairs(2)
    samples = [texts(1)[0], some[0], dataclasses.replace(some[1], captions=())]
    batch = batch_of(samples)
    part = batch["student"]
    assert batch["caption"] == ["text 0", "caption 0 of 0", None]
    assert part["present/image"].tolist() == [False, True, True]
    assert part["present/text"].tolist() == [True, True, False]
    assert torch.equal(part["image"], torch.stack([SMALL.image(sample.image.open()) for sample in some]))
    assert torch.equal(part["text"], SMALL.text(["text 0", "caption 0 of 0"]))


def test_a_modality_that_no_sample_has_is_no_tensor():
    part = batch_of(texts(3))["student"]
    assert "image" not in part
    assert part["present/image"].tolist() == [False] * 3
    part = batch_of([dataclasses.replace(sample, captions=()) for sample in pairs(3)])["student"]
    assert "text" not in part
    assert part["present/text"].tolist() == [False] * 3


def test_a_model_that_does_not_read_images_gets_none_but_knows_of_them():
    part = batch_of(pairs(2), preprocess={"student": SMALL, "teacher": Preprocess()})["teacher"]
    assert set(part) == {"id", "view", "caption", "present/image", "present/text"}
    assert part["present/image"].tolist() == [True, True]


def test_each_model_has_its_own_preprocessing_of_the_same_view():
    """Pitfall 27: one transform for both silently degrades one of them."""
    samples = pairs(4)
    batch = batch_of(samples, 2, preprocess={"student": SMALL, "teacher": OTHER}, augment={"image": AUGMENT})
    for row, sample in enumerate(samples):
        with seeded(sample.id, 2):
            view = sample.image.open()
            for transform in AUGMENT:
                view = transform(view)
        assert torch.equal(batch["student"]["image"][row], SMALL.image(view))
        assert torch.equal(batch["teacher"]["image"][row], OTHER.image(view))
        unlike = Preprocess(ImageTransform(8, mean=(0.5,) * 3, std=(0.5,) * 3))
        assert not torch.allclose(batch["student"]["image"][row], unlike.image(view))
    assert torch.equal(batch["teacher"]["text"], batch["student"]["text"] + 1)


class Counted:
    """Preprocessing that counts its calls and equals every other of its kind."""

    calls = 0

    def __call__(self, given):
        Counted.calls += 1
        return torch.zeros(3, 2, 2) if not isinstance(given, list) else torch.zeros(len(given), 2, dtype=torch.long)

    def __eq__(self, other):
        return isinstance(other, Counted)

    def __hash__(self):
        return 1


def test_equal_preprocessing_is_computed_once_and_shared():
    Counted.calls = 0
    preprocess = {name: Preprocess(Counted(), Counted()) for name in ("student", "teacher", "assistant")}
    batch = batch_of(pairs(5), preprocess=preprocess)
    assert Counted.calls == 5 + 1
    for name in ("image", "text"):
        assert batch["student"][name] is batch["teacher"][name] is batch["assistant"][name]
    again = pickle.loads(pickle.dumps(batch))  # as it comes out of a worker
    assert again["student"]["image"] is again["teacher"]["image"]


def test_a_view_is_replayed_exactly_in_any_batch_and_order():
    samples = pairs(6)
    made = maker(samples, augment={"image": AUGMENT})
    whole = made[{"data": [(row, 3) for row in range(6)]}]["student"]["image"]
    torch.rand(5)
    part = made[{"data": [(row, 3) for row in (5, 2, 0)]}]["student"]["image"]
    assert torch.equal(part, whole[[5, 2, 0]])
    other = made[{"data": [(row, 4) for row in range(6)]}]["student"]["image"]
    assert all(not torch.equal(a, b) for a, b in zip(whole, other, strict=True))


def test_views_repeat_after_k_passes():
    made = maker(pairs(2), augment={"image": AUGMENT}, views=3)
    batches = [made[{"data": [(0, number), (1, number)]}] for number in range(6)]
    assert [batch["view"] for batch in batches] == [[n % 3] * 2 for n in range(6)]
    for n in range(3):
        assert torch.equal(batches[n]["student"]["image"], batches[n + 3]["student"]["image"])


def test_evaluation_is_not_augmented_and_has_all_captions():
    samples = pairs(3, captions=4)
    batch = batch_of(samples, EVAL_PASS, augment={"image": AUGMENT}, views=2)
    assert batch["view"] == [EVAL_VIEW] * 3
    assert torch.equal(batch["student"]["image"], torch.stack([SMALL.image(each.image.open()) for each in samples]))
    assert batch["caption"] == [sample.captions[0] for sample in samples]
    assert batch["captions"] == [sample.captions for sample in samples]


def test_further_captions_are_rows_of_text_alone_with_the_images_id():
    some = pairs(2, captions=3)
    samples = [dataclasses.replace(some[0], labels={"kind": 7}), *texts(1), some[1]]
    batch = batch_of(samples, EVAL_PASS, every_caption=True)
    assert batch["id"] == ["s0", "t0", "s1", "s0", "s0", "s1", "s1"]
    assert batch["caption"] == [
        *("caption 0 of 0", "text 0", "caption 0 of 1"),
        *(f"caption {k} of {n}" for n in (0, 1) for k in (1, 2)),
    ]
    assert batch["captions"] == [samples[row].captions for row in (0, 1, 2, 0, 0, 2, 2)]
    assert batch["caption_id"].tolist() == [caption_hash(caption) for caption in batch["caption"]]
    assert batch["kind"].tolist() == [7, -1, -1, -1, -1, -1, -1]  # a label is its picture's
    part = batch["student"]
    assert part["present/image"].tolist() == [True, False, True, False, False, False, False]
    assert part["present/text"].tolist() == [True] * 7
    assert torch.equal(part["image"], torch.stack([SMALL.image(sample.image.open()) for sample in some]))
    assert torch.equal(part["text"], SMALL.text(batch["caption"]))


def test_the_global_generators_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    batch_of(pairs(3), augment={"image": AUGMENT})
    assert torch.equal(torch.rand(2), expected)


def test_captions_are_drawn_by_view_and_all_of_them_come():
    samples = [dataclasses.replace(sample, image=None) for sample in pairs(40, captions=5)]
    drawn = [batch_of(samples, number)["caption"] for number in range(40)]
    assert drawn[3] == batch_of(samples, 3)["caption"]
    counts = [sum(caption.startswith(f"caption {k}") for view in drawn for caption in view) for k in range(5)]
    assert all(abs(count - 320) < 5 * 320**0.5 for count in counts)
    first = batch_of(samples, 7, caption="first")["caption"]
    assert first == [sample.captions[0] for sample in samples]


def test_caption_ids_are_equal_where_captions_are():
    captions = ["A red  car", " a RED car", "a blue car", "A red-car", None, None, "Straße", "STRASSE"]
    samples = [
        Sample(f"s{n}", ImageRef("a", encoded(0)), () if text is None else (text,)) for n, text in enumerate(captions)
    ]
    ids = batch_of(samples)["caption_id"]
    assert ids.dtype == torch.int64
    known = ids.tolist()
    assert known[0] == known[1] == caption_hash("a red car")
    assert known[6] == known[7]
    assert len(set(known)) == 6
    assert [number < 0 for number in known] == [text is None for text in captions]


def test_missing_captions_differ_even_for_one_image_in_one_batch_and_over_ranks():
    samples = [dataclasses.replace(sample, captions=()) for sample in pairs(2)]
    numbers = []
    for rank in (0, 1):
        made = maker(samples, rank=rank, views=1)[{"data": [(0, 0), (0, 1), (1, 0)]}]
        numbers += made["caption_id"].tolist()
    assert len(set(numbers)) == 6


def test_shared_tensors_are_moved_once_and_stay_shared():
    batch = batch_of(pairs(2, captions=2), EVAL_PASS, preprocess={"student": SMALL, "teacher": SMALL})
    moved = []

    def move(tensor):
        moved.append(tensor)
        return tensor.clone()

    other = map_tensors(batch, move)
    assert len(moved) == len({id(tensor) for tensor in moved}) == 5  # image, text, two flags, caption_id
    assert other["student"]["image"] is other["teacher"]["image"]
    assert other["student"]["image"] is not batch["student"]["image"]
    assert torch.equal(other["student"]["image"], batch["student"]["image"])
    assert other["captions"] == batch["captions"]


def test_labels_are_entries_of_the_batch():
    samples = [dataclasses.replace(sample, labels={"kind": n}) for n, sample in enumerate(pairs(2))]
    batch = batch_of([*samples, *texts(1)])
    assert batch["kind"].tolist() == [0, 1, -1]
    for name in ("id", "student"):
        clash = [dataclasses.replace(samples[0], labels={name: 0})]
        assert "A label cannot be called" in maker(clash)[{"data": [(0, 0)]}].message


def bad(count, origin="table.csv, row"):
    return [
        Sample(f"b{n}", ImageRef(f"folder/{n}.png", BROKEN_PNG), ("text",), origin=f"{origin} {n}")
        for n in range(count)
    ]


def test_a_bad_sample_stops_the_run_with_path_row_and_reason():
    found = maker([*pairs(2), *bad(1)])[{"data": [(0, 0), (1, 0), (2, 0)]}]
    assert isinstance(found, Failure)
    for part in ("table.csv, row 0", "folder/0.png", "broken", "bad_samples: skip"):
        assert part in found.message
    assert pickle.loads(pickle.dumps(found)) == found


def test_bad_samples_are_skipped_and_listed():
    samples = [*bad(1), *pairs(2), *bad(2)[1:]]
    batch = batch_of(samples, bad_samples="skip")
    assert batch["id"] == ["s0", "s1"]
    assert len(batch["student"]["image"]) == len(batch["caption_id"]) == 2
    assert [(each["id"], each["origin"]) for each in batch["skipped"]] == [
        ("b0", "table.csv, row 0"),
        ("b1", "table.csv, row 1"),
    ]
    assert all("broken" in each["reason"] and "folder/" in each["reason"] for each in batch["skipped"])
    assert batch_of(pairs(2), bad_samples="skip")["skipped"] == []


def test_a_batch_of_bad_samples_alone_fails_clearly():
    found = maker(bad(4), bad_samples="skip")[{"data": [(row, 0) for row in range(4)]}]
    assert found.all_skipped
    assert "No sample of a batch can be read: table.csv, row 0" in found.message


def test_images_that_no_model_reads_are_not_opened():
    batch = batch_of(bad(2), preprocess={"student": Preprocess(text=Letters())})
    assert batch["student"]["present/image"].tolist() == [True, True]


def test_an_augmentation_that_makes_tensors_is_named():
    found = maker(pairs(1), augment={"image": (v2.ToImage(),)})[{"data": [(0, 0)]}]
    assert "augment: ToImage returns Image, and a PIL image is needed" in found.message


def test_ids_are_prefixed_where_there_are_several_sources():
    feeds = {"pairs": Indexed(pairs(1), "pairs", 0), "texts": Indexed(texts(1), "texts", 0)}
    batch = BatchMaker(feeds, Recipe({"student": SMALL}), prefixed=True)[{"pairs": [(0, 1)], "texts": [(0, 5)]}]
    assert batch["id"] == ["pairs/s0", "texts/t0"]
    assert batch["view"] == [1, 5]


@dataclass(frozen=True)
class Tone:
    """A sound whose samples all have one value."""

    value: float
    path: str = "tone"

    def open(self):
        return AudioClip(torch.full((1, 8), self.value), 8)

    def identity(self):
        return str(self.value)


@dataclass(frozen=True)
class First:
    """The first channel's first samples."""

    count: int

    def __call__(self, clip):
        return clip.samples[0, : self.count]


def noisy(clip):
    return AudioClip(clip.samples + torch.rand(()), clip.rate)


def test_pictures_sounds_and_texts_in_one_batch_each_where_it_is():
    (picture,) = pairs(1)
    samples = [
        picture,
        Sample("sound", audio=Tone(0.25), captions=("a tone",)),
        Sample("alone", audio=Tone(0.5)),
        dataclasses.replace(picture, id="all", audio=Tone(0.75)),
    ]
    models = {
        "student": Preprocess(SMALL.image, SMALL.text, First(4)),
        "teacher": Preprocess(audio=First(2)),
        "same": Preprocess(audio=First(2)),
    }
    batch = batch_of(samples, EVAL_PASS, preprocess=models, modalities=("image", "text", "audio"))
    part = batch["student"]
    assert part["present/image"].tolist() == [True, False, False, True]
    assert part["present/audio"].tolist() == [False, True, True, True]
    assert part["present/text"].tolist() == [True, True, False, True]
    assert part["audio"].tolist() == [[0.25] * 4, [0.5] * 4, [0.75] * 4]
    assert batch["teacher"]["audio"].tolist() == [[0.25] * 2, [0.5] * 2, [0.75] * 2]
    assert batch["teacher"]["audio"] is batch["same"]["audio"]
    assert len(part["image"]) == 2
    assert "image" not in batch["teacher"]


def test_a_sound_that_is_not_spoken_of_is_not_read():
    batch = batch_of([dataclasses.replace(pairs(1)[0], audio=Tone(0.25))])
    assert "present/audio" not in batch["student"]
    assert "audio" not in batch["student"]


def test_the_sound_of_a_view_is_replayed_and_the_picture_does_not_depend_on_it():
    (picture,) = pairs(1)
    both = dataclasses.replace(picture, audio=Tone(0.0))
    settings = {
        "preprocess": {"student": Preprocess(image=SMALL.image, audio=First(1))},
        "augment": {"image": AUGMENT, "audio": (noisy,)},
        "modalities": ("image", "audio"),
    }
    first, again, other = (batch_of([both], number, **settings)["student"] for number in (1, 1, 2))
    with seeded(both.id, 1, "audio"):
        assert first["audio"].item() == torch.rand(()).item()
    assert torch.equal(first["audio"], again["audio"])
    assert not torch.equal(first["audio"], other["audio"])
    assert torch.equal(first["image"], batch_of([picture], 1, **settings)["student"]["image"])


def test_an_augmentation_that_makes_no_sound_is_named():
    settings = {"preprocess": {"student": Preprocess(audio=First(1))}, "augment": {"audio": (First(1),)}}
    found = maker([Sample("s", audio=Tone(0.0))], modalities=("audio",), **settings)[{"data": [(0, 0)]}]
    assert "augment: First returns Tensor, and an AudioClip is needed" in found.message
