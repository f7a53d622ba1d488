import copy
import math

import pytest
import torch

from kdmm.errors import InputError
from kdmm.losses import CRD, noise_contrast
from kdmm.losses.relations.bank import Bank
from tests.losses.data import flags, unit
from tests.oracles import relations as oracle

B, D, E = 6, 5, 7


def step(seed, ids, dtype=torch.float64, **more):
    """A batch of samples: outputs of both models, and ids."""
    return (
        {"image": unit(len(ids), D, seed, dtype)},
        {"image": unit(len(ids), E, seed + 100, dtype)},
        {"id": ids, **more},
    )


def built(**settings):
    torch.manual_seed(0)
    term = CRD("image", "image", **{"width": 4, "bank": 8, "temperature": 0.5, **settings})
    term.build(*step(0, list("abc")))
    return term.double()


def maps(term, student, teacher):
    ours = torch.nn.functional.normalize(term.student_map(student["image"]), dim=1)
    theirs = torch.nn.functional.normalize(term.teacher_map(teacher["image"]), dim=1)
    return ours.tolist(), theirs.tolist()


def test_equal_scores_have_the_closed_form():
    """r is 1 for all, so h is 1 / (1 + n) for partners and negatives."""
    scores, negative = torch.zeros(3, 3), ~torch.eye(3, dtype=torch.bool)
    found = noise_contrast(scores, negative, torch.tensor(0.0), (3,))
    expected = -math.log(1 / 3) - 2 * math.log(2 / 3)
    assert found.tolist() == pytest.approx([expected] * 3)


def test_the_bank_serves_as_negatives_and_the_first_batch_sets_the_constants():
    term = built()
    first, second = step(1, list("abcd")), step(2, list("efg"))
    term(*first)
    constants = term.log_means.clone()
    value = term(*second)
    assert torch.equal(term.log_means, constants)
    ours, theirs = maps(term, *second[:2])
    held = maps(term, *first[:2])
    same = [[i == j for j in range(7)] for i in range(3)]
    # the oracle takes the mean of this step's negatives: here the constants are put to that for the comparison
    with torch.no_grad():
        for at, (anchors, candidates) in enumerate(((ours, theirs + held[1]), (theirs, ours + held[0]))):
            scores = torch.tensor(anchors) @ torch.tensor(candidates).T / 0.5
            term.log_means[at] = scores[~torch.tensor(same)].logsumexp(0) - math.log(3 * 6)
    again = term(*second)  # what the bank now holds of this batch is not compared with
    assert again.item() == pytest.approx(oracle.noise_contrast(ours, theirs, held, 0.5, same), rel=1e-6)
    assert again != value


def test_a_sample_counts_once_in_its_newest_form():
    term = built()
    first, second = step(1, list("abcd")), step(2, list("cdab"))
    alone = built()
    alone.log_means.copy_(torch.tensor([0.5, 0.5]))
    alone.has_begun.fill_(True)
    expected = alone(*second)
    term(*first)
    term.log_means.copy_(alone.log_means)
    assert term(*second) == expected  # nothing in the bank is of another sample
    assert (term.bank.keys >= 0).sum() == 4


def test_labels_keep_samples_of_one_class_apart_from_negatives_in_the_bank_too():
    term = built(label="label")
    term(*step(1, list("abcd"), label=torch.tensor([0, 1, -1, 1])))
    negative = term._negatives(
        torch.tensor([10, 11, 12]), torch.tensor([1, 0, -1]), (3,)
    )  # three of other classes; four held; four places empty
    assert negative[:, :3].tolist() == [[False, True, True], [True, False, True], [True, True, False]]
    assert negative[:, 3:].tolist() == [
        [True, False, True, False, *[False] * 4],
        [False, True, True, True, *[False] * 4],
        [True, True, True, True, *[False] * 4],
    ]


def test_validation_leaves_no_trace():
    term = built()
    before = copy.deepcopy(term.state_dict())
    term.eval()
    value = term(*step(1, list("abcd")))
    assert value > 0
    for name, held in term.state_dict().items():
        assert torch.equal(held, before[name]), name


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit():
    steps = [step(seed, [f"{(3 * seed + at) % 11}" for at in range(4)]) for seed in range(6)]
    term = built()
    for each in steps[:3]:
        term(*each)
    resumed = built(bank=8)
    torch.nn.init.zeros_(resumed.student_map.weight)
    resumed.load_state_dict(copy.deepcopy(term.state_dict()))
    for each in steps[3:]:
        assert term(*each) == resumed(*each)
    for name, held in term.state_dict().items():
        assert torch.equal(held, resumed.state_dict()[name]), name


def test_gradients_reach_partners_and_maps_but_not_the_bank():
    term = built()
    term(*step(1, list("abcd")))
    student, teacher, batch = step(2, list("efg"))
    student["image"].requires_grad_()
    teacher["image"].requires_grad_()
    term(student, teacher, batch).backward()
    assert student["image"].grad.abs().sum() > 0
    assert teacher["image"].grad is None
    assert term.teacher_map.weight.grad.abs().sum() > 0
    assert not any(buffer.requires_grad for buffer in term.buffers())


def test_absent_samples_are_not_remembered():
    term = built()
    student, teacher, batch = step(1, list("abcd"))
    term({**student, "present/image": flags("1011")}, {**teacher, "present/image": flags("1101")}, batch)
    assert (term.bank.keys >= 0).sum() == 2


def test_one_sample_alone_has_nothing_to_be_told_from():
    student, teacher, batch = step(1, ["a"])
    student["image"].requires_grad_()
    value = built()(student, teacher, batch)
    value.backward()
    assert value == 0
    assert (student["image"].grad == 0).all()


def test_ids_may_be_numbers():
    by_list, by_tensor = built(), built()
    by_list(*step(1, [5, 6, 7]))
    by_tensor(*step(1, torch.tensor([5, 6, 7])))
    assert torch.equal(by_list.bank.keys, by_tensor.bank.keys)


def test_what_is_missing_is_named():
    student, teacher, _ = step(1, list("abc"))
    with pytest.raises(InputError, match=r"batch\['id'\], but the batch holds only view"):
        built()(student, teacher, {"view": [0, 0, 0]})
    with pytest.raises(InputError, match=r"CRD: label is 'label', but the batch holds only id, labels"):
        built(label="label")(student, teacher, {"id": list("abc"), "labels": torch.zeros(3)})
    with pytest.raises(InputError, match="Show the objective one batch before training"):
        CRD("image", "image")(student, teacher, {"id": list("abc")})
    with pytest.raises(InputError, match="CRD: bank is 0"):
        CRD("image", "image", bank=0)


def pushed(bank, *keys):
    rows = torch.tensor([[float(key)] for key in keys])
    bank.push(rows, -rows, torch.tensor(keys), torch.tensor(keys) + 50)


def test_the_bank_replaces_the_oldest_and_drops_older_forms():
    bank = Bank(4, 1)
    pushed(bank, 1, 2, 3)
    assert bank.keys.tolist() == [1, 2, 3, -1]
    pushed(bank, 2, 4)
    assert bank.keys.tolist() == [4, -1, 3, 2]
    assert bank.student.squeeze(1).tolist() == [4, 2, 3, 2]
    assert bank.teacher.squeeze(1).tolist() == [-4, -2, -3, -2]
    assert bank.labels.tolist() == [54, 52, 53, 52]
    assert bank.place == 1


def test_of_more_samples_than_it_holds_it_takes_the_last():
    bank = Bank(3, 1)
    pushed(bank, 9)
    pushed(bank, 1, 2, 3, 4, 5)
    assert sorted(bank.keys.tolist()) == [3, 4, 5]
    pushed(bank, 6)  # in place of the oldest
    assert sorted(bank.keys.tolist()) == [4, 5, 6]
