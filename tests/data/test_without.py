from kdmm.data import Emoji, Source, Vocabulary, Without
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample


class Fixed(Source):
    def __init__(self, **captions):
        self.captions = captions

    @property
    def splits(self):
        return tuple(self.captions)

    def read(self, split):
        return [
            Sample(id=str(n), image=ImageRef("x.png") if "+" in text else None, captions=tuple(text.split("+")))
            for n, text in enumerate(self.captions[split])
        ]


def test_captions_that_hold_a_measured_one_are_left_out():
    held_out = Fixed(train=["sun"], val=["Red Car"], test=["moon", "sun"])
    texts = Fixed(
        train=["a red car!", "red sports car", "moon", "moonlight", "the sun", "my MOON+a cat", "moon+the moon"]
    )
    kept = Without(texts, held_out).samples("train")
    assert [sample.captions for sample in kept] == [("red sports car",), ("moonlight",), ("the sun",), ("a cat",), ()]
    assert [sample.image is not None for sample in kept] == [False, False, False, True, True]


def test_other_splits_are_the_sources_own():
    held_out = Fixed(val=["moon"])
    assert [s.captions for s in Without(Fixed(val=["moon"], train=["x"]), held_out).samples("val")] == [("moon",)]


def test_no_word_of_the_vocabulary_names_a_held_out_emoji_alone():
    emoji = Emoji()
    words = {sample.captions[0] for sample in Without(Vocabulary(), emoji).samples("train")}
    trained = {caption.lower() for sample in emoji.samples("train") for caption in sample.captions}
    for split in ("val", "test"):
        names = {caption.lower() for sample in emoji.samples(split) for caption in sample.captions}
        assert not (names - trained) & words
    assert len(words) > 20_000
