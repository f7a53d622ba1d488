"""What is public in the library of losses."""

import kdmm.losses


def test_everything_public_is_documented_and_listed_once():
    names = kdmm.losses.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(kdmm.losses, name).__doc__, name
