import pytest
import torch

from kdmm.models.token_masks import mask_draws, mask_tokens, masked_counts

MASK, PAD = 4, 0
ORDINARY = torch.arange(5, 105)  # 0 to 4 are special


def texts(count, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(5, 105, (count, length), generator=generator)
    lengths = torch.randint(0, length - 1, (count,), generator=generator)
    places = torch.arange(length)
    rows[places[None] >= (lengths + 1)[:, None]] = PAD
    rows[:, 0] = 2
    return rows.scatter(1, lengths[:, None] + 1, 3)


def masked(text, view=0, seed=0, ratio=0.15, ids=None):
    names = [str(number) for number in range(len(text))] if ids is None else ids
    draws = mask_draws(names, [view] * len(text), text.shape[1], seed)
    return mask_tokens(text, draws, ORDINARY, MASK, ratio)


def test_the_rule_is_that_of_a_loop():
    """One text after the other, token by token."""
    text = texts(60, 23)
    read, labels = masked(text, ratio=0.3)
    draws = mask_draws([str(number) for number in range(60)], [0] * 60, 23, 0)
    for row in range(60):
        places = [place for place in range(23) if text[row, place] > 4]
        count = max(1, round(0.3 * len(places))) if places else 0
        chosen = sorted(range(len(places)), key=lambda at: float(draws[row, at, 0]))[:count]
        expected, wanted = text[row].tolist(), [-100] * 23
        for at in chosen:
            wanted[places[at]] = expected[places[at]]
            fate = float(draws[row, at, 1])
            if fate < 0.8:
                expected[places[at]] = MASK
            elif fate < 0.9:
                expected[places[at]] = 5 + int(float(draws[row, at, 2]) * 100)
        assert read[row].tolist() == expected
        assert labels[row].tolist() == wanted


def test_rates_are_those_of_bert():
    text = torch.randint(5, 105, (2000, 40), generator=torch.Generator().manual_seed(1))
    read, labels = masked(text)
    chosen = labels != -100
    assert (chosen.sum(1) == 6).all()
    is_mask, is_same = (read[chosen] == MASK).float(), (read[chosen] == labels[chosen]).float()
    assert is_mask.mean() == pytest.approx(0.8, abs=0.01)
    assert is_same.mean() == pytest.approx(0.1 + 0.1 / 100, abs=0.01)
    assert torch.equal(read[~chosen], text[~chosen])
    assert torch.equal(labels[chosen], text[chosen])
    where = chosen.float().mean(0)  # every place alike
    assert where.min() > 0.12
    assert where.max() < 0.18
    other = read[chosen][(read[chosen] != MASK) & (read[chosen] != labels[chosen])]
    assert len(other.unique()) > 95
    assert other.min() >= 5


def test_special_tokens_are_never_chosen_and_an_empty_text_has_nothing_to_guess():
    text = texts(300, 12)
    read, labels = masked(text, ratio=1.0)
    special = text < 5
    assert torch.equal(read[special], text[special])
    assert torch.equal(labels, torch.where(special, -100, text))
    few = torch.tensor([[2, 3, PAD], [2, 50, 3]])
    _, labels = masked(few)
    assert labels.tolist() == [[-100] * 3, [-100, 50, -100]]  # a text of one token hides it
    read, labels = masked(few[:0])
    assert read.shape == labels.shape == (0, 3)


def test_masks_depend_on_the_sample_the_view_and_the_seed_alone():
    text = texts(8, 30).repeat(2, 1)
    names = [f"sample {number}" for number in range(8)] * 2
    read, _ = masked(text, ids=names)
    assert torch.equal(read[:8], read[8:])
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    again, _ = masked(text[order], ids=[names[at] for at in order])
    assert torch.equal(again, read[order])
    for change in ({"view": 1}, {"seed": 1}, {"ids": [f"other {name}" for name in names]}):
        assert not torch.equal(masked(text, **{"ids": names, **change})[0], read)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(side):
    text = torch.randint(5, 105, (20, 18), generator=torch.Generator().manual_seed(2))
    pad = torch.full((20, 5), PAD)
    read, labels = masked(text)
    longer = masked(torch.cat([pad, text] if side == "left" else [text, pad], 1))
    part = slice(5, None) if side == "left" else slice(18)
    assert torch.equal(longer[0][:, part], read)
    assert torch.equal(longer[1][:, part], labels)


def test_counts_round_and_are_at_least_one():
    assert masked_counts(20, 0.15) == [0, *[1] * 9, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3]
    assert masked_counts(0, 0.15) == [0]
