import pytest

from kdmm.data.tux_paint_concepts import concepts, mirrored


def together(*stamps):
    """Return whether the stamps, each a name and an English text, are one concept."""
    return len(set(concepts(dict(stamps)).values())) == 1


@pytest.mark.parametrize(
    "stamps",
    [
        [("a/frog", "A frog."), ("b/other", "A FROG!")],
        [("a/dumper", "A dumper. It carries its load."), ("a/dumper_mirror", "")],
        [("a/x1", "A red apple."), ("b/y", "Green apples")],
        [("a/x", "Some cherries."), ("b/y", "A pair of cherries")],
        [("a/eye_left", "Left eye."), ("b/z", "An eye.")],
        [("a/glasses1", "Spectacles."), ("a/glasses2", "Something else.")],
        [("a/green-flag", "Go!"), ("a/red_flag", "Stop!")],
        [("a/bunny", "A floppy-eared rabbit."), ("a/bunny-egg", "Easter.")],
        [("a/camera", "A camera.  Say cheese!"), ("b/c", "A camera")],
        [("a/coin1", "A European coin of 1 cent (0.01 €)."), ("b/z", "A European coin of 50 cents (0.50 €).")],
        [("a/x", "The letter b."), ("a/y", "The letter D.")],
        [("a/x", "Another tombstone."), ("a/y", "A gravestone.")],
        [("a/tower", "x y"), ("a/tower_round", "z y"), ("a/tower_round_flag", "w y")],
    ],
)
def test_variants_are_one_concept(stamps):
    assert together(*stamps)


@pytest.mark.parametrize(
    "stamps",
    [
        [("a/mouse", "A mouse."), ("b/mouse", "A computer mouse. Squeak!")],
        [("a/x", "A fly."), ("b/y", "A fire.")],
        [("a/x", "The letter a."), ("a/y", "The letter b.")],
        [("a/1", "One."), ("a/2", "Two.")],
        [("a/hot", "A dog."), ("a/hotdog", "A sausage.")],
        [("a/x", ""), ("a/y", "")],
        [("a/bee", "A bee."), ("b/bee-hive", "A hive.")],
        [("a/x", "A tie."), ("a/y", "A toe.")],
    ],
)
def test_other_things_are_other_concepts(stamps):
    assert not together(*stamps)


def test_concepts_join_over_others():
    found = concepts({"a/p": "A pig.", "b/q1": "A pig.", "b/q2": "A boar.", "c/r": "A boar.", "c/s": "An elk."})
    assert found == {"a/p": "a/p", "b/q1": "a/p", "b/q2": "a/p", "c/r": "a/p", "c/s": "c/s"}


def test_a_mirrored_name_is_told_by_its_end():
    assert mirrored("a/bus_mirror") == "a/bus"
    assert mirrored("a/mirror") == "a/mirror"
    assert mirrored("a_mirror/bus") == "a_mirror/bus"
