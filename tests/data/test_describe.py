from kdmm.data import Captioned, Emoji, Only, Without


def test_evaluation_names_the_data_that_is_measured_on():
    emoji = Emoji(fold=2)
    for changed in (Captioned(emoji, 0.2), Without(emoji, emoji), Captioned(Without(emoji, emoji), 0.5)):
        assert changed.describe("test") == emoji.describe("test") == {"source": str(emoji), "fold": 2}
        assert changed.describe("train") != emoji.describe("train")
    assert Only(emoji, "image").describe("test") != emoji.describe("test")
