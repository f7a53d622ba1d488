import pickle
import random as python_random

import pytest
import torch

from kdmm.errors import InputError
from kdmm.teachers.cache.files import file_checksum, mapped, write_tensors
from kdmm.teachers.cache.formats import parse_format
from kdmm.teachers.cache.keys import Index, keys_of, text_key, view_key
from kdmm.teachers.cache.requests import Grid
from kdmm.teachers.cache.table import Column, Table, encoded, fitted


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def column(name, form="float32", shape=(4,), ragged=False):
    return {name: Column(name, parse_format(form), shape, ragged)}


def test_keys_tell_samples_views_and_texts_apart():
    batch = {"id": ["a", "b", "a"], "view": [0, 1, 1], "caption": ["x", None, "y"], "source_text": ["s", "s", "s"]}
    assert keys_of(("image",), batch, [True, False, True]).tolist() == [view_key("a", 0), view_key("a", 1)]
    assert keys_of(("text",), batch, [True, False, True]).tolist() == [text_key("x"), text_key("y")]
    assert keys_of(("text", "source"), batch, [True, False, False]).tolist() == [text_key("x", "s")]
    assert keys_of(("image", "text"), batch, [True, False, False]).tolist() == [view_key("a", 0, "x")]
    every = [view_key("a", 0), view_key("a", 1), view_key("b", 0), text_key("a"), text_key("a", "0x")]
    assert len(set(every)) == 5


def test_an_index_finds_what_a_dict_finds():
    draw = python_random.Random(0)
    keys = [draw.getrandbits(62) for _ in range(500)]
    index = Index.of(torch.tensor(keys))
    asked = [*draw.sample(keys, 100), *(draw.getrandbits(62) for _ in range(50)), 0, 2**63 - 1]
    places = {key: row for row, key in enumerate(keys)}
    assert index.find(torch.tensor(asked)).tolist() == [places.get(key, -1) for key in asked]
    assert Index.of(torch.zeros(0, dtype=torch.long)).find(torch.tensor([3])).tolist() == [-1]
    assert Index.of(torch.tensor([7, 5, 7])).find(torch.tensor([7, 5])).tolist() == [0, 1]


@pytest.mark.parametrize("form", ["float32", "float16", "bfloat16", "int8", "top2"])
def test_rows_of_several_files_come_in_the_order_they_are_asked_for(form, tmp_path):
    x = random(10, 4).half().float()
    parts = []
    columns = column("image", form)
    for number, rows in enumerate((x[:3], x[3:4], x[4:])):
        write_tensors(tmp_path / f"{number}.safetensors", {**encoded({"image": rows}, columns), "key": torch.arange(1)})
        parts.append({n: t for n, t in mapped(tmp_path / f"{number}.safetensors").items() if n != "key"})
    table = Table(parts, columns, Index.of(torch.arange(10)))
    rows = torch.tensor([9, 0, 3, 3, 5, 2, 4])
    expected = columns["image"].format
    torch.testing.assert_close(table.gather(rows)["image"], expected.decode(expected.encode(x[rows])), rtol=0, atol=0)
    assert table.gather(rows[:0])["image"].shape == (0, 4)
    assert len(table) == 10


def test_names_that_begin_alike_are_different_columns():
    columns = {**column("s", "int8"), **column("s4", "int8")}
    answers = {"s": random(3, 4), "s4": random(3, 4, seed=1)}
    table = Table([encoded(answers, columns)], columns, Index.of(torch.arange(3)))
    found = table.gather(torch.tensor([2, 0]))
    for name, x in answers.items():
        torch.testing.assert_close(found[name], x[[2, 0]], atol=0.02, rtol=0)


def test_tokens_are_as_many_as_the_longest_of_those_asked_for():
    columns = column("t", shape=(2,), ragged=True)
    batches = []
    for lengths in ([3, 1], [5, 4]):
        valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        x = random(2, max(lengths), 2, seed=max(lengths)) * valid.unsqueeze(2)
        batches.append({"t": x, "valid/t": valid})
    parts = [encoded(each, columns) for each in batches]
    joined = [{name: fitted([part[name] for part in parts]) for name in parts[0]}]
    for stored in (parts, joined):
        table = Table(stored, columns, Index.of(torch.arange(4)))
        found = table.gather(torch.tensor([3, 1]))
        assert found["t"].shape == (2, 4, 2)
        assert found["valid/t"].tolist() == [[True] * 4, [True, False, False, False]]
        assert torch.equal(found["t"][0], batches[1]["t"][1, :4])
        assert torch.equal(found["t"][1, :1], batches[0]["t"][1, :1])


def test_files_are_mapped_and_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    size, _ = write_tensors(path, {"x": torch.arange(1000, dtype=torch.float32)})
    assert path.stat().st_size == size
    before = file_checksum(path)
    found = mapped(path)["x"]
    with path.open("r+b") as file:  # what is mapped and not yet looked at changes with the file
        file.seek(size - 4)
        file.write(torch.tensor([7.0]).numpy().tobytes())
    assert found[999] == 7
    assert file_checksum(path) != before
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"no tensors follow")
    with pytest.raises(InputError, match=r"a\.safetensors is damaged"):
        mapped(path)
    with pytest.raises(InputError, match=r"b\.safetensors is damaged"):
        mapped(tmp_path / "b.safetensors")


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_a_grid_is_every_position_under_every_view(batch_size):
    positions = [("a", range(7)), ("b", range(0)), ("c", [4, 8, 9])]
    grid = Grid(positions, (0, 2), batch_size)
    expected = [
        (source, list(some[start : start + batch_size]), view)
        for source, some in positions
        for start in range(0, len(some), batch_size)
        for view in (0, 2)
    ]
    assert len(grid) == len(expected)
    assert [(source, list(some), view) for source, some, view in grid] == expected
    assert [(s, list(some), v) for s, some, v in pickle.loads(pickle.dumps(grid))[1:]] == expected[1:]
    with pytest.raises(IndexError):
        grid[len(grid)]
