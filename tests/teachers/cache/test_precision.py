"""A store is added to and verified in the precision that it was written in."""

import pytest
import torch

from kdmm.errors import InputError
from kdmm.runs import caching
from kdmm.runs.quiet import quiet
from kdmm.teachers import Cached, Hybrid, Precomputed
from kdmm.teachers.cache.precision import under
from kdmm.teachers.cache.settings import Settings
from kdmm.teachers.cache.store import Store
from kdmm.teachers.cache.verifying import verify
from kdmm.teachers.teacher import Frozen
from tests.data.files import Held, pairs
from tests.teachers.cache.small import data, held, teacher, two_towers, write

HOW = {"formats": {"": "float32"}, "batch_size": 4, "shard_rows": 8}
TRAINER = {"accelerator": "cpu", "enable_progress_bar": False}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_a_store_is_added_to_and_verified_in_its_own_precision(precision, tmp_path):
    few = {"pairs": Held(train=pairs(4, captions=2), val=pairs(3, 30)), "texts": held()["texts"]}
    how = Settings(**HOW, precision=precision)
    with quiet():
        caching.write(teacher(), data(few), tmp_path / "few", how, {**TRAINER, "precision": precision})
        caching.write(teacher(), data(held()), tmp_path / "whole", how, {**TRAINER, "precision": precision})
    online = teacher()
    before = {name: x.clone() for name, x in online.model.state_dict().items()}
    Cached(str(tmp_path / "few"), online, fill="online").prepare(data(held()), ("train", "val"))
    assert all(torch.equal(before[name], x) for name, x in online.model.state_dict().items())
    assert torch.get_default_dtype() == torch.float32
    write(tmp_path / "exact", online, data(held()))
    filled = Store(tmp_path / "few")
    tables = [Store(tmp_path / name).tables["teacher.image"] for name in ("few", "whole", "exact")]
    keys = tables[2].tables[0].index.keys
    found, expected, exact = (each.gather(each.find(keys))["image"] for each in tables)
    rounded = float((exact - expected).abs().mean())
    assert (rounded > 1e-4) == precision.startswith("bf16")
    assert (found - expected).abs().mean() <= 0.1 * rounded + 1e-6  # other batches are added up in another order
    again = verify(filled, {"teacher": online}, data(held()), 1000)[0]
    assert again.entries == 9 + 3  # a view of each sample
    assert again.difference <= 0.1 * (exact - expected).abs().max() + 1e-6


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_not_stored_is_answered_in_the_precision_of_the_store(precision, mixed, tmp_path):
    """Whatever the Trainer's own is: all answers are those of a store of everything."""
    few = {"pairs": Held(train=pairs(4, captions=2), val=pairs(3, 30)), "texts": held()["texts"]}
    how = Settings(**HOW, precision=precision)
    with quiet():
        for name, sources in (("few", few), ("whole", held())):
            caching.write(teacher(), data(sources), tmp_path / name, how, {**TRAINER, "precision": precision})
    hybrid, cached, source = Hybrid(str(tmp_path / "few"), teacher()), Cached(str(tmp_path / "whole")), data(held())
    source.use(hybrid.preprocesses)
    rounded, off = 0.0, 0.0
    for batch in source.train_dataloader():
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found = hybrid.answer(batch)
        for name in ("image", "text"):
            assert found[name].dtype == torch.float32
            expected = cached.answer(batch)[name]
            off = max(off, float((found[name] - expected).abs().mean()))
            rounded = max(rounded, float((teacher().answer(batch)[name] - expected).abs().mean()))
    assert (rounded > 1e-4) == precision.startswith("bf16")
    assert off <= 0.1 * rounded + 1e-6


def test_a_precision_of_other_hardware_is_named():
    with pytest.raises(InputError, match=r"written under 'transformer-engine'"), under("transformer-engine", []):
        pass


def test_precomputed_answers_are_found_by_the_precision_of_the_teacher_itself(tmp_path):
    files = []
    for own, given in (("bfloat16", "float32"), ("float32", "bfloat16"), (None, "bfloat16"), (None, "float32")):
        of = Precomputed(Frozen(two_towers(), precision=own), 2, str(tmp_path / "answers"), precision=given)
        of.prepare(data(held(), views=2), ("train",))
        files.append(sorted(path.name for path in (tmp_path / "answers").iterdir()))
    assert [len(each) for each in files] == [1, 2, 2, 2]
