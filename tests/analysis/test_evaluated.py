import math
import random

import pytest

from kdmm.analysis.evaluated import Evaluated, chance_recall, describe
from tests.analysis.records import record


@pytest.mark.parametrize(("k", "gallery", "positives"), [(5, 321, 1), (1, 50, 5), (10, 30, 5), (5, 8, 4), (5, 4, 1)])
def test_chance_is_the_share_of_subsets_with_a_positive(k: int, gallery: int, positives: int) -> None:
    misses = math.comb(gallery - positives, k) / math.comb(gallery, k) if k <= gallery else 0
    assert chance_recall(k, float(gallery), float(positives)) == pytest.approx(1 - misses)


def test_chance_is_what_random_rankings_reach() -> None:
    generator = random.Random(0)
    hits = sum(min(generator.sample(range(40), 40)[:3]) < 2 for _ in range(20_000))
    assert chance_recall(3, 40.0, 2.0) == pytest.approx(hits / 20_000, abs=0.01)


def test_descriptions_name_split_source_folds_and_sizes() -> None:
    one = Evaluated.of(record("a"))
    assert describe([one]) == "the test split of emoji: 100 images and 300 captions"
    folds = [
        Evaluated.of(record("a", fold=fold, metrics={"test/image_to_text/queries": 1100.0 + fold}))
        for fold in (2, 0, 1)
    ]
    assert describe(folds) == "the test split of emoji, folds 0, 1 and 2: 1,100 to 1,102 images and 300 captions each"
    no_retrieval = record("a", metrics={"test/image_to_text/queries": math.nan})
    assert describe([Evaluated.of(no_retrieval)]) == "the test split of emoji: 320 samples"


def test_sounds_are_called_so_and_mixed_media_items() -> None:
    nothing = {"test/image_to_text/queries": math.nan, "test/text_to_image/queries": math.nan}
    audio = {**nothing, "test/audio_to_text/queries": 40.0, "test/text_to_audio/queries": 120.0}
    sounds = Evaluated.of(record("a", metrics=audio))
    assert (sounds.medium, sounds.media, sounds.captions) == ("audio", 40, 120)
    assert describe([sounds]) == "the test split of emoji: 40 sounds and 120 captions"
    both = describe([sounds, Evaluated.of(record("b"))])
    assert both == "the test split of emoji: 40 to 100 items and 120 to 300 captions each"
