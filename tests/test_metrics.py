"Metrics against obvious code, invariances, polarity, the bugs of PITFALLS.md, and bootstrap coverage."

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml import metrics as m
from sportsml.core import rng

# 1: higher is better, -1: lower is better
LIST_METRICS = {"spearman": 1, "kendall": 1, "ndcg": 1, "precision_at_k": 1, "rank_mae": -1, "rank_rmse": -1}
GAME_METRICS = {"accuracy": 1, "auc": 1, "brier": -1, "log_loss": -1}
TRUTH = np.arange(1, 31)


def games(n=2000, seed=0, noise=0.0):
    g = rng(seed, "games")
    log_odds = g.normal(0.4, 1.0, n)
    outcome = (g.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    return outcome, 1 / (1 + np.exp(-(log_odds + noise * g.normal(size=n))))


# -- lists ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "sign"), LIST_METRICS.items())
def test_list_polarity_perfect_random_reversed(name, sign):
    metric = getattr(m, name)
    noise = rng(0, "noise").normal(size=(40, 30))
    means = [np.mean([sign * metric(TRUTH, w * -TRUTH + (1 - abs(w)) * 10 * e) for e in noise]) for w in (1, 0.5, 0, -0.5, -1)]
    assert all(a > b for a, b in zip(means, means[1:], strict=False)), means


@pytest.mark.parametrize("name", LIST_METRICS)
def test_list_metrics_see_only_the_order(name):
    metric = getattr(m, name)
    score = -TRUTH + rng(1, "noise").normal(0, 8, 30)
    value = metric(TRUTH, score)
    for changed in (score + 1e4, score - 1e4, 7 * score, np.tanh(score / 50)):  # common shift, scale, rising transformation
        assert metric(TRUTH, changed) == pytest.approx(value, abs=1e-12)
    assert metric(TRUTH + 100, score) == metric(TRUTH * 2, score) == value
    order = rng(2, "order").permutation(30)
    assert metric(TRUTH[order], score[order]) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", LIST_METRICS)
def test_league_ranks_of_a_conference_are_read_within_it(name):
    east = rng(3, "east").permutation(30)[:15] + 1
    score = rng(3, "score").normal(size=15)
    within = pd.Series(east).rank().to_numpy()
    assert getattr(m, name)(east, score) == getattr(m, name)(within, score)


def test_constant_score_is_what_guessing_gets_on_average():
    flat = np.full(30, 0.0322)
    guesses = [rng(i, "guess").permutation(30) for i in range(400)]
    for name in ("spearman", "kendall", "ndcg", "precision_at_k"):
        metric = getattr(m, name)
        assert metric(TRUTH, flat) == pytest.approx(np.mean([metric(TRUTH, g) for g in guesses]), abs=0.02), name
    assert m.rank_mae(TRUTH, flat) == 7.5 and m.rank_rmse(TRUTH, flat) == pytest.approx(np.sqrt((900 - 1) / 12))
    assert np.mean([m.rank_mae(TRUTH, g) for g in guesses]) == pytest.approx((900 - 1) / 90, abs=0.1)


@given(st.permutations(range(1, 9)), st.lists(st.integers(0, 5), min_size=8, max_size=8), st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_list_metrics_equal_obvious_loops(true_rank, score, k):
    true_rank, n = np.array(true_rank), 8
    place = np.array([sum(t > s for t in score) + (sum(t == s for t in score) + 1) / 2 for s in score])
    assert m.ranks(score).tolist() == place.tolist()
    assert m.rank_mae(true_rank, score) == pytest.approx(np.abs(place - true_rank).mean())
    pairs = [(i, j) for i in range(n) for j in range(i)]
    agree = [np.sign(true_rank[j] - true_rank[i]) * np.sign(score[i] - score[j]) for i, j in pairs]
    untied = sum(score[i] != score[j] for i, j in pairs)
    assert m.kendall(true_rank, score) == pytest.approx(sum(agree) / np.sqrt(len(pairs) * untied) if untied else 0)
    if untied:
        assert m.spearman(true_rank, score) == pytest.approx(np.corrcoef(true_rank, place)[0, 1])
    # ties: mean over many orders drawn by lot
    lots = [np.lexsort((rng(i, "lot").random(n), -np.array(score))) for i in range(300)]
    gain = n + 1 - true_rank
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = (np.sort(gain)[::-1][:k] * discount).sum()
    assert m.ndcg(true_rank, score, k) == pytest.approx(np.mean([(gain[o[:k]] * discount).sum() for o in lots]) / ideal, abs=0.07)
    hits = np.mean([(true_rank[o[:k]] <= k).mean() for o in lots])
    assert m.precision_at_k(true_rank, score, k) == pytest.approx(hits, abs=0.13)


def test_ndcg_gain_is_linear_not_exponential():
    swapped = -TRUTH.astype(float)
    swapped[0] = -10.5  # the champion is predicted tenth: with gain 2^rel this one team costs almost a third
    exponential = 2.0 ** (31 - TRUTH[np.argsort(-swapped)][:10]) / np.log2(np.arange(2, 12))
    ideal = 2.0 ** (31 - TRUTH[:10]) / np.log2(np.arange(2, 12))
    assert exponential.sum() / ideal.sum() < 0.7 < 0.9 < m.ndcg(TRUTH, swapped, 10) < 1


def test_precision_with_ties_at_the_border():
    assert m.precision_at_k([1, 2, 3, 4], [9, 5, 5, 5], k=2) == pytest.approx((1 + 1 / 3) / 2)
    assert m.precision_at_k([1, 2, 3, 4], [9, 9, 9, 9], k=4) == 1


def test_list_scores_equal_the_functions():
    rows = pd.DataFrame({"model": np.repeat(["a", "b"], 60), "season": np.tile(np.repeat([2015, 2016], 30), 2),
                         "target": np.tile(TRUTH, 4), "pred": rng(4, "pred").normal(size=120)})
    table = m.list_scores(rows.sample(frac=1, random_state=0), k=5, by=["model", "season"]).set_index(["model", "season"])
    part = rows[(rows["model"] == "b") & (rows["season"] == 2015)]
    for column, value in {"spearman": m.spearman, "rank_rmse": m.rank_rmse, "kendall": m.kendall, "rank_mae": m.rank_mae}.items():
        assert table.loc[("b", 2015), column] == pytest.approx(value(part["target"], part["pred"]))
    assert table.loc[("b", 2015), "ndcg_5"] == pytest.approx(m.ndcg(part["target"], part["pred"], 5))
    assert table.loc[("b", 2015), "precision_5"] == pytest.approx(m.precision_at_k(part["target"], part["pred"], 5))
    assert len(table) == 4 and (table["n"] == 30).all()


# -- games ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "sign"), GAME_METRICS.items())
def test_game_polarity(name, sign):
    outcome, p = games()
    metric = getattr(m, name)
    guess = rng(0, "guess").permutation(p)
    order = [sign * metric(outcome, f) for f in (outcome, p, guess, 1 - p, 1 - outcome)]
    assert all(a > b for a, b in zip(order, order[1:], strict=False)), order
    assert metric(outcome, p) == pytest.approx(metric(1 - outcome, 1 - p))  # home and away are only names


def test_constant_forecasts():
    outcome, _ = games()
    half, rate = np.full(len(outcome), 0.5), np.full(len(outcome), outcome.mean())
    assert m.accuracy(outcome, half) == m.auc(outcome, half) == m.auc(outcome, rate) == 0.5
    assert m.brier(outcome, half) == 0.25 and m.log_loss(outcome, half) == pytest.approx(np.log(2))
    assert m.brier(outcome, rate) == pytest.approx(outcome.mean() * (1 - outcome.mean()))


@given(st.floats(0, 1), st.lists(st.integers(0, 1), min_size=1, max_size=40), st.integers(1, 20))
@settings(max_examples=80, deadline=None)
def test_ece_of_a_constant_is_its_distance_from_the_base_rate(p, outcome, bins):
    forecast = np.full(len(outcome), p)
    assert len(m.reliability_table(outcome, forecast, bins)) == 1
    assert m.ece(outcome, forecast, bins) == pytest.approx(abs(p - np.mean(outcome)))


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.35, 0.5, 0.8])), min_size=1, max_size=60),
       st.integers(1, 12), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_bins_keep_ties_together_and_ignore_row_order(rows, bins, seed):
    outcome, p = map(np.array, zip(*rows, strict=True))
    table = m.reliability_table(outcome, p, bins)
    assert len(table) <= bins and table["n"].sum() == len(p)
    assert (table["p_low"].to_numpy()[1:] > table["p_high"].to_numpy()[:-1]).all()  # no value lies in two bins
    assert table["frequency"].between(table["low"] - 1e-12, table["high"] + 1e-12).all()
    gap = (table["forecast"] - table["frequency"]).abs()
    assert m.ece(outcome, p, bins) == pytest.approx(np.average(gap, weights=table["n"]), abs=1e-12)
    order = rng(seed, "order").permutation(len(p))
    pd.testing.assert_frame_equal(table, m.reliability_table(outcome[order], p[order], bins))


def test_bins_have_equal_mass_without_ties():
    outcome, p = games(1003)
    assert np.ptp(m.reliability_table(outcome, p, 10)["n"]) <= 1
    crowded = p / 100  # equal-width bins would put all of these into one and call the forecast calibrated or not at all
    assert len(m.reliability_table(outcome, crowded, 10)) == 10
    assert m.ece(outcome, crowded) == pytest.approx((outcome.mean() - crowded.mean()), abs=1e-12)


def test_ece_sees_over_and_underconfidence_and_wilson_covers():
    outcome, p = games(20_000)
    log_odds = np.log(p / (1 - p))
    ece = {scale: m.ece(outcome, 1 / (1 + np.exp(-scale * log_odds))) for scale in (0.5, 1, 2)}
    assert ece[1] < 0.02 < min(ece[0.5], ece[2])
    hits = rng(0, "wilson").binomial(50, 0.9, size=2000)
    low, high = m.wilson(hits, 50)
    assert ((low <= 0.9) & (0.9 <= high)).mean() == pytest.approx(0.95, abs=0.03)
    assert m.wilson(0, 10)[0] == 0 and m.wilson(10, 10)[1] == 1


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.5, 0.8])), min_size=2, max_size=40)
       .filter(lambda r: len({y for y, _ in r}) == 2))
@settings(max_examples=60, deadline=None)
def test_auc_equals_the_double_loop(rows):
    wins, losses = ([p for y, p in rows if y == side] for side in (1, 0))
    pairs = [(w > x) + 0.5 * (w == x) for w in wins for x in losses]
    outcome, p = zip(*rows, strict=True)
    assert m.auc(outcome, p) == pytest.approx(np.mean(pairs))


def test_log_loss_is_finite_and_equals_sklearn():
    from sklearn.metrics import log_loss

    outcome, p = games()
    assert m.log_loss(outcome, p) == pytest.approx(log_loss(outcome, p))
    assert m.log_loss([1, 0], [0, 1]) == pytest.approx(-np.log(m.LOG_LOSS_CLIP))
    assert m.log_loss([1, 0], [1, 0]) == pytest.approx(0, abs=2 * m.LOG_LOSS_CLIP)


@pytest.mark.parametrize("n", [2, 16, 30])
def test_brier_of_a_champion_is_summed_over_teams(n):
    winner = np.eye(n)[0]
    season = np.full(n, 2016)
    cases = {"perfect": (winner, 0), "uniform": (np.full(n, 1 / n), 1 - 1 / n), "wrong": (np.eye(n)[1], 2)}
    for forecast, value in cases.values():
        assert m.multi_brier(winner, forecast, season)[2016] == pytest.approx(value)
    random = rng(n, "dirichlet").dirichlet(np.ones(n), size=50)
    assert np.mean([m.multi_brier(winner, p, season)[2016] for p in random]) > 1 - 1 / n
    two = m.multi_brier(np.tile(winner, 2), np.concatenate([winner, np.full(n, 1 / n)]), np.repeat([2015, 2016], n))
    assert two.tolist() == pytest.approx([0, 1 - 1 / n])


def test_game_scores_by_season():
    outcome, p = games(400)
    rows = pd.DataFrame({"model": "a", "season": np.repeat([2015, 2016], 200), "target": outcome, "pred": p})
    table = m.game_scores(rows, by=["model", "season"]).set_index("season")
    for name in ("accuracy", "brier", "log_loss", "ece", "auc"):
        assert table.loc[2016, name] == pytest.approx(getattr(m, name)(outcome[200:], p[200:]))


def test_mae_and_rmse():
    target = rng(0, "target").normal(0, 12, 5000)
    assert m.mae(target, target) == m.rmse(target, target) == 0
    for metric in (m.mae, m.rmse):
        assert metric(target, 0.5 * target) < metric(target, np.zeros(5000)) < metric(target, rng(1, "guess").permutation(target))
        assert metric(target, np.zeros(5000)) < metric(target, -target)  # a flipped spread
        assert metric(target + 100, target + 99) == pytest.approx(1)
    assert m.rmse(target, np.zeros(5000)) == pytest.approx(12, abs=0.4)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: m.brier([1, 0], [0.5]), "one length"),
    (lambda: m.brier([], []), "at least one row"),
    (lambda: m.brier([1, 0], [0.5, np.nan]), "probability: nan in row 1"),
    (lambda: m.brier([1, 2], [0.5, 0.5]), "outcome is 2.0 in row 1"),
    (lambda: m.brier([1, 0], [65, 35]), "divide percentages"),
    (lambda: m.brier(["home", "away"], [0.5, 0.5]), "not numbers"),
    (lambda: m.auc([1, 1], [0.5, 0.6]), "needs wins and losses"),
    (lambda: m.ece([1, 0], [0.5, 0.6], bins=0), "at least 1"),
    (lambda: m.ndcg([1, 2], [3, 4], k=3), "k is 3 in a list of 2"),
    (lambda: m.precision_at_k([1, 2], [3, 4], k=0), "k is 0"),
    (lambda: m.spearman([1, 1], [3, 4]), "two different places"),
    (lambda: m.spearman([1, np.inf], [3, 4]), "true_rank: inf"),
    (lambda: m.multi_brier([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [1, 1, 2, 2]), "group 2: 0 winners"),
    (lambda: m.multi_brier([1, 0], [0.5, 0.4], [2016, 2016]), "sum to 0.9"),
    (lambda: m.list_scores(pd.DataFrame({"model": ["a"], "group": [1], "target": [1], "pred": [1]})), "did you mean group"),
    (lambda: m.game_scores(pd.DataFrame({"model": [], "target": [], "pred": []})), "no rows"),
    (lambda: m.bootstrap_mean([1, 2], unit=["a", None]), "1 of them missing"),
    (lambda: m.bootstrap_mean([1, 2], unit=["a"]), "1 entries"),
    (lambda: m.bootstrap_mean([1, 2], level=95), "level is 95"),
    (lambda: m.paired_difference([1, 2], [1]), "one length"),
])
def test_bad_input(call, says):
    with pytest.raises(m.MetricError, match=says):
        call()


# -- bootstrap --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("units", "per_unit"), [(10, 1), (40, 1), (10, 30)])
def test_coverage_is_near_nominal(units, per_unit):
    "Ten seasons are few; plain percentiles would cover about 90 % there."
    unit = np.repeat(np.arange(units), per_unit)
    g = rng(0, "coverage", units, per_unit)
    covered, plain = [], []
    for i in range(800):
        values = g.normal(size=units)[unit] + g.normal(size=len(unit))
        interval = m.bootstrap_mean(values, unit=unit, draws=500, seed=i)
        covered.append(interval.low <= 0 <= interval.high)
        low, high = np.quantile(m._mean_draws(values[:, None], unit, units, 500, i), [0.025, 0.975])
        plain.append(low <= 0 <= high)
    assert 0.92 <= np.mean(covered) <= 0.97
    assert np.mean(plain) < np.mean(covered)


def test_clustered_rows_give_wider_intervals():
    unit = np.repeat(np.arange(20), 30)
    g = rng(0, "clustered")
    values = g.normal(size=20)[unit] + g.normal(size=600)
    by_unit, by_row = m.bootstrap_mean(values, unit=unit), m.bootstrap_mean(values)
    assert by_unit.value == by_row.value and (by_unit.units, by_row.units) == (20, 600)
    assert by_unit.high - by_unit.low > 2.5 * (by_row.high - by_row.low)
    alike = g.normal(size=600)  # no common part: the unit does not matter
    ratio = np.ptp([m.bootstrap_mean(alike, unit=unit).low, m.bootstrap_mean(alike, unit=unit).high]) / np.ptp(
        [m.bootstrap_mean(alike).low, m.bootstrap_mean(alike).high])
    assert 0.6 < ratio < 1.6


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 6)), min_size=1, max_size=40), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_vectorised_mean_equals_the_loop(rows, seed):
    values, unit = map(np.array, zip(*rows, strict=True))
    fast = m.bootstrap_mean(values, unit=unit, draws=60, seed=seed)
    loop = m.bootstrap(np.mean, values, unit=unit, draws=60, seed=seed)
    np.testing.assert_allclose([fast.value, fast.low, fast.high], [loop.value, loop.low, loop.high], atol=1e-12)
    assert (fast.n, fast.units) == (loop.n, loop.units)


def test_bootstrap_draws_whole_units_together():
    unit = np.repeat(["x", "y", "z"], [1, 5, 20])
    seen = []

    def sizes(a, b):
        seen.append((len(a), np.array_equal(a * 2, b)))
        return 0.0

    m.bootstrap(sizes, np.arange(26.0), np.arange(26.0) * 2, unit=unit, draws=50)
    assert all(size in {i + 5 * j + 20 * (3 - i - j) for i in range(4) for j in range(4 - i)} for size, _ in seen)
    assert all(together for _, together in seen)


def test_seed_and_blocks():
    values = rng(0, "values").normal(size=3000)
    assert m.bootstrap_mean(values, seed=1) == m.bootstrap_mean(values, seed=1) != m.bootstrap_mean(values, seed=2)
    many = np.concatenate(list(m._weights(50, 4000, 0)))
    assert many.shape == (4000, 50) and (many.sum(axis=1) == 50).all()
    assert many.mean() == 1 and many.var() == pytest.approx(1 - 1 / 50, rel=0.02)  # multinomial variance
    assert np.corrcoef(many[:, 0], many[:, 1])[0, 1] == pytest.approx(-1 / 49, abs=0.05)


def test_rows_may_stand_in_any_order():
    values, unit = rng(0, "v").normal(size=200), np.arange(200) % 7
    order = np.argsort(unit, kind="stable")  # units keep their order of first appearance
    a, b = m.bootstrap_mean(values, unit=unit), m.bootstrap_mean(values[order], unit=unit[order])
    np.testing.assert_allclose([a.value, a.low, a.high], [b.value, b.low, b.high])


def test_one_unit_has_no_interval():
    interval = m.bootstrap_mean([1.0, 2.0, 3.0], unit=[2016] * 3)
    assert interval.value == 2 and np.isnan([interval.low, interval.high]).all() and interval.units == 1


def test_paired_difference():
    outcome, good = games(3000)
    _, poor = games(3000, noise=0.5)
    a, b = m.brier_rows(outcome, good), m.brier_rows(outcome, poor)
    same = m.paired_difference(a, a.copy(), unit=np.arange(3000) // 100)
    assert same.value == same.low == same.high == 0
    d, back = m.paired_difference(a, b), m.paired_difference(b, a)
    assert d.high < 0 < back.low and d.value == pytest.approx(a.mean() - b.mean())
    assert d.high - d.low < (m.bootstrap_mean(a).high - m.bootstrap_mean(a).low) / 1.5  # pairing removes the games' own luck
    np.testing.assert_allclose([d.low, d.high], [-back.high, -back.low], atol=1e-12)


def make_rows(n=300):
    outcome, good = games(n)
    _, poor = games(n, noise=1.0)
    frame = pd.DataFrame({"season": np.arange(n) // 50, "game_id": np.arange(n)})
    forecasts = {"good": good, "poor": poor, "twin": poor.copy()}
    frames = [frame.assign(model=name, value=m.brier_rows(outcome, p)) for name, p in forecasts.items()]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("unit", [None, "season"])
def test_compare_equals_the_single_calls(unit):
    rows = make_rows()
    table = m.compare(rows, "poor", ["season", "game_id"], unit=unit, draws=300).set_index("model")
    assert list(table.index) == ["good", "poor", "twin"] and (table["left_out"] == 0).all()
    parts = {name: part["value"].to_numpy() for name, part in rows.groupby("model")}
    units = None if unit is None else np.arange(300) // 50
    for name in parts:
        alone = m.bootstrap_mean(parts[name], units, draws=300)
        pair = m.paired_difference(parts[name], parts["poor"], units, draws=300)
        expected = [alone.value, alone.low, alone.high, pair.value, pair.low, pair.high, alone.n, alone.units]
        np.testing.assert_allclose(table.loc[name].drop("left_out").astype(float), expected, atol=1e-12)
    assert (table.loc[["poor", "twin"], ["difference", "diff_low", "diff_high"]] == 0).all(axis=None)


def test_compare_uses_the_intersection_and_says_so():
    rows = make_rows()
    short = rows.drop(rows.index[(rows["model"] == "good") & (rows["game_id"] < 10)])
    short.loc[(short["model"] == "twin") & (short["game_id"] == 299), "value"] = np.nan
    table = m.compare(short.sample(frac=1, random_state=1), "poor", ["game_id"]).set_index("model")
    assert (table["n"] == 289).all() and table["left_out"].to_dict() == {"good": 1, "poor": 11, "twin": 11}
    common = rows[rows["game_id"].between(10, 298)]
    assert table.loc["good", "value"] == pytest.approx(common.loc[common["model"] == "good", "value"].mean())


@pytest.mark.parametrize(("change", "says"), [
    ({"baseline": "por"}, "did you mean poor"),
    ({"unit": "season"}, "add it to key"),
    ({"key": ["gameid"]}, "did you mean game_id"),
    ({"key": ["season"]}, "several rows"),
    ({"value": "brier"}, "no column 'brier'"),
])
def test_compare_bad_input(change, says):
    with pytest.raises(m.MetricError, match=says):
        m.compare(make_rows(), **{"baseline": "poor", "key": ["game_id"], **change})


def test_compare_without_shared_rows():
    rows = make_rows()
    rows.loc[rows["model"] == "good", "game_id"] += 1000
    with pytest.raises(m.MetricError, match="no row is shared"):
        m.compare(rows, "poor", ["game_id"])
