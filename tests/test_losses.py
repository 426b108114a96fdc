"Losses for lists against double loops, gradients, invariances, ties and short lists."

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml import losses as m

NAMES = sorted(m.LOSSES)
NAN = float("nan")


def batch(b=4, t=7, seed=0, ties=False):
    """Scores, targets and a mask with lists of different length, padding full of NaN."""
    g = torch.Generator().manual_seed(seed)
    scores = torch.randn(b, t, generator=g, dtype=torch.float64)
    target = torch.stack([torch.randperm(t, generator=g) for _ in range(b)]).double()
    if ties:
        target = target // 2
    mask = torch.arange(t)[None] < torch.randint(3, t + 1, (b, 1), generator=g)
    return scores.masked_fill(~mask, NAN), target.masked_fill(~mask, NAN), mask


def listmle_by_loops(scores, target, mask):
    """The definition, one item after the other, with Breslow's rule for ties."""
    lists = []
    for s, t, real in zip(scores.tolist(), target.tolist(), mask.tolist(), strict=True):
        items = [(x, y) for x, y, r in zip(s, t, real, strict=True) if r]
        if len({y for _, y in items}) < 2:
            continue
        lost = 0.0
        for x, y in items:
            lost += math.log(sum(math.exp(other) for other, place in items if place <= y)) - x
        lists.append(lost / len(items))
    return sum(lists) / len(lists) if lists else 0.0


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_listmle_equals_a_double_loop(seed, ties):
    parts = batch(seed=seed, ties=ties)
    assert m.listmle(*parts).item() == pytest.approx(listmle_by_loops(*parts), abs=1e-12)


def test_likelihoods_of_all_orders_sum_to_one():
    scores = torch.tensor([[0.3, -1.0, 2.0, 0.5]], dtype=torch.float64)
    mask = torch.ones(1, 4, dtype=torch.bool)
    orders = [torch.tensor([p], dtype=torch.float64) for p in permutations(range(4))]
    assert sum(math.exp(-4 * m.listmle(scores, t, mask).item()) for t in orders) == pytest.approx(1)


def test_soft_ranks_equal_a_double_loop():
    scores, _, mask = batch(seed=3)
    for temperature in (0.3, 1.0, 4.0):
        got = m.soft_ranks(scores, mask, temperature)
        for b in range(len(scores)):
            for i in range(scores.shape[1]):
                others = [j for j in range(scores.shape[1]) if mask[b, j] and j != i]
                expected = 1 + sum(1 / (1 + math.exp((scores[b, i] - scores[b, j]) / temperature)) for j in others)
                assert got[b, i].item() == pytest.approx(expected if mask[b, i] else 0, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right_and_sum_to_zero(name, ties):
    scores, target, mask = batch(b=3, t=5, seed=1, ties=ties)
    free = torch.nan_to_num(scores, nan=0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: m.LOSSES[name](s, target, mask), free)
    m.LOSSES[name](free, target, mask).backward()
    assert free.grad.sum(1).abs().max() < 1e-12  # a common shift of a list is not a direction to learn in
    assert (free.grad[~mask] == 0).all() and (free.grad[mask] != 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_stay_finite_where_scores_are_equal_or_far_apart(name):
    target, mask = -torch.arange(15.0)[None], torch.ones(1, 15, dtype=torch.bool)
    for start in (torch.zeros(1, 15), 1e4 * target, -1e4 * target):
        free = start.clone().requires_grad_()
        loss = m.LOSSES[name](free, target, mask)
        loss.backward()
        assert loss.isfinite() and free.grad.isfinite().all(), name


@pytest.mark.parametrize("name", NAMES)
def test_shift_order_of_items_and_rising_targets_change_nothing(name):
    scores, target, mask = batch(seed=2, ties=True)
    loss = m.LOSSES[name]
    value = loss(scores, target, mask).item()
    shifts = torch.tensor([[1e3], [-50.0], [0.0], [7.0]], dtype=torch.float64)
    assert loss(scores + shifts, target, mask).item() == pytest.approx(value, abs=1e-9)
    assert loss(scores, target**3 + 5, mask).item() == pytest.approx(value, abs=1e-12)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(5))
    assert loss(scores[:, order], target[:, order], mask[:, order]).item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rubbish", [NAN, math.inf, -1e9, 0.0])
def test_padding_and_lists_that_order_nothing_change_nothing(name, rubbish):
    scores, target, mask = batch(seed=4)
    value = m.LOSSES[name](scores, target, mask).item()
    wide = torch.full((7, 12), rubbish, dtype=torch.float64)
    padded = [torch.full_like(wide, False, dtype=torch.bool) if p.dtype == torch.bool else wide.clone() for p in (scores, target, mask)]
    for new, old in zip(padded, (scores, target, mask), strict=True):
        new[:4, 3:10] = old.masked_fill(~mask, rubbish) if old.dtype != torch.bool else old
    padded[0][4, 0], padded[1][4, 0], padded[2][4, 0] = 3.0, 1.0, True  # alone
    padded[0][5, :2], padded[1][5, :2], padded[2][5, :2] = torch.tensor([3.0, 1.0]), 2.0, True  # tied; the last one is empty
    free = padded[0].requires_grad_()
    loss = m.LOSSES[name](free, padded[1], padded[2])
    loss.backward()
    assert loss.item() == pytest.approx(value, abs=1e-12)
    assert free.grad.isfinite().all() and (free.grad[4:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("t", [0, 1, 3])
def test_batches_without_anything_to_order_are_zero(name, t):
    free = torch.full((2, t), NAN).requires_grad_()
    mask = torch.zeros(2, t, dtype=torch.bool)
    if t:
        mask[0, 0] = True
    loss = m.LOSSES[name](free, torch.zeros(2, t), mask)
    loss.backward()
    assert loss.item() == 0 and (free.grad == 0).all()
    assert m.LOSSES[name](torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)).item() == 0


def test_short_lists_weigh_as_much_as_long_ones():
    scores, target, mask = batch(seed=6)
    for name in NAMES:
        alone = [m.LOSSES[name](scores[[b]], target[[b]], mask[[b]]).item() for b in range(4)]
        assert m.LOSSES[name](scores, target, mask).item() == pytest.approx(sum(alone) / 4)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_ties_do_not_depend_on_the_order_of_the_table(values, seed):
    g = torch.Generator().manual_seed(seed)
    target = torch.tensor([values], dtype=torch.float64)
    scores, mask = torch.randn(1, len(values), generator=g, dtype=torch.float64), torch.ones(1, len(values), dtype=torch.bool)
    order = torch.randperm(len(values), generator=g)
    for name in NAMES:
        assert m.LOSSES[name](scores, target, mask).item() == pytest.approx(
            m.LOSSES[name](scores[:, order], target[:, order], mask[:, order]).item(), abs=1e-12)
    tied = target == target[0, 0]
    if tied.sum() > 1 and not tied.all():  # moving tied items together, their sum unchanged, never raises ListMLE
        together = torch.where(tied, scores[tied].mean(), scores)
        assert m.listmle(together, target, mask) <= m.listmle(scores, target, mask) + 1e-12


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_perfect_beats_random_beats_reversed(name, spread):
    g = torch.Generator().manual_seed(0)
    truth = -torch.arange(1.0, 16).expand(100, 15)
    noise = torch.stack([truth[0, torch.randperm(15, generator=g)] for _ in range(100)])
    mask = torch.ones_like(truth, dtype=torch.bool)
    half_right, half_wrong = ((noise + sign * truth).argsort(1).argsort(1).float() for sign in (1, -1))  # spread as the others
    values = [m.LOSSES[name](spread * s, truth, mask).item() for s in (truth, half_right, noise, half_wrong, -truth)]
    assert values == sorted(values) and len({round(v, 6) for v in values}) == 5, values


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_single(name):
    scores, target, mask = batch(seed=8)
    half = scores.to(torch.bfloat16)
    loss = m.LOSSES[name](half, target.float(), mask)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(m.LOSSES[name](half.double(), target, mask).item(), rel=1e-5)


def test_errors_name_what_is_wrong():
    scores, target, mask = batch()
    with pytest.raises(m.LossError, match=r"\(4, 6\)"):
        m.listmle(scores[:, :6], target, mask)
    with pytest.raises(m.LossError, match="booleans"):
        m.listmle(scores, target, mask.float())
    with pytest.raises(m.LossError, match="list 1, item 6"):
        m.soft_spearman_loss(scores, target, torch.ones_like(mask))
    with pytest.raises(m.LossError, match="temperature is 0"):
        m.soft_ranks(scores, mask, 0)
    with pytest.raises(m.LossError, match="listmle"):
        m.ranking_loss("list_mle")
