import pytest

from kdmm.data.counts import checked_batch_size, shared_out
from kdmm.errors import InputError


def test_temperature_1_mixes_as_the_data_are_and_a_large_one_alike():
    lengths = {"many": 900, "few": 100}
    assert shared_out(50, lengths, 1) == {"many": 45, "few": 5}
    assert shared_out(50, lengths, 1e9) == {"many": 25, "few": 25}


def test_temperature_2_mixes_by_square_roots():
    assert shared_out(40, {"many": 900, "few": 100}, 2) == {"many": 30, "few": 10}


def test_every_source_gives_a_sample_and_the_whole_is_kept():
    assert shared_out(8, {"a": 10**6, "b": 1, "c": 1}, 1) == {"a": 6, "b": 1, "c": 1}
    for total in range(3, 40):
        counts = shared_out(total, {"a": 7, "b": 11, "c": 13}, 0.7)
        assert sum(counts.values()) == total
        assert min(counts.values()) >= 1


@pytest.mark.parametrize(
    ("size", "temperature", "message"),
    [
        (8, 0.0, "temperature: 0.0 given"),
        ({"a": 4, "b": 4}, 1.0, "give the samples of the whole batch, 2 or more"),
        (1, 1.0, "give the samples of the whole batch, 2 or more"),
        ({"a": 4}, None, "none given for the source 'b'"),
        ({"a": 4, "b": 0}, None, "at least 1 sample"),
        ({"a": 4, "b": 4, "c": 4}, None, "unknown source 'c'"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(size, temperature, message):
    with pytest.raises(InputError, match=message):
        checked_batch_size(size, ["a", "b"], temperature)
