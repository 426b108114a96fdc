"Calibrators against sklearn and direct maximisation, walk-forward without a leak, comparisons against plain metrics."

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier

from sportsml import calibration as m
from sportsml.core import rng
from sportsml.metrics import MetricError, brier, ece, log_loss


def drawn(n=300, seed=0, slope=0.7):
    g = rng(seed, "drawn")
    score = g.normal(2, 3, n)
    return score, (g.random(n) < expit(slope * (score - 2))).astype(int)


def predictions(seasons=6, teams=12, seed=0, days=("12-31",)):
    out = []
    for season in range(2001, 2001 + seasons):
        g = rng(seed, "rows", season)
        skill = g.normal(0, 3, teams)
        made = (skill + g.normal(0, 2, teams) > 0).astype(float)
        for day in days:
            for model, noise in {"a": 1, "b": 3, "stack": 0.5}.items():
                out.append(pd.DataFrame({"model": model, "season": season, "group_id": f"{season} {day}", "target": made, "day": day,
                                         "entity_id": [str(t) for t in range(teams)], "pred": skill + noise * g.normal(size=teams)}))
    return pd.concat(out, ignore_index=True)


def test_platt_maximises_his_own_likelihood():
    score, outcome = drawn(80)
    ones, zeros = outcome.sum(), (1 - outcome).sum()
    soft = np.where(outcome == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(ab):
        p = expit(ab[0] * score + ab[1])
        return -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).sum()

    a, b = minimize(loss, [0.0, 0.0], tol=1e-12).x
    assert m.Platt().fit(score, outcome).predict(score) == pytest.approx(expit(a * score + b), abs=1e-5)


def test_platt_equals_the_sigmoid_of_sklearn():
    """sklearn calibrates a frozen classifier with the same smoothed targets."""

    class Given(DummyClassifier):
        def decision_function(self, x):
            return x[:, 0]

    score, outcome = drawn(200)
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator(Given().fit(score[:, None], outcome))
    theirs = CalibratedClassifierCV(frozen, method="sigmoid").fit(score[:, None], outcome)
    # their internal folds are all the data when the estimator is frozen
    assert m.Platt().fit(score, outcome).predict(score) == pytest.approx(theirs.predict_proba(score[:, None])[:, 1], abs=2e-3)


@pytest.mark.parametrize("kind", m.CALIBRATORS.values())
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_calibrators_on_any_rows(kind, data):
    n = data.draw(st.integers(1, 25))
    score = np.array(data.draw(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=n, max_size=n)))
    outcome = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    p = kind().fit(score, outcome).predict(np.concatenate([score, [-1e7, 1e7]]))
    assert ((p >= 0) & (p <= 1)).all() and np.isfinite(p).all()
    if kind is m.Isotonic:
        assert (p > 0).all() and (p < 1).all()
        inside = p[:-2][np.argsort(score, kind="stable")]
        assert (np.diff(inside) >= -1e-12).all()


@pytest.mark.parametrize("kind", m.CALIBRATORS.values())
def test_units_of_the_score_do_not_matter(kind):
    score, outcome = drawn()
    p = kind().fit(score, outcome).predict(score)
    assert kind().fit(1000 * score - 7, outcome).predict(1000 * score - 7) == pytest.approx(p, abs=1e-6)
    order = rng(0, "order").permutation(len(score))
    assert kind().fit(score[order], outcome[order]).predict(score) == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize("kind", m.CALIBRATORS.values())
def test_calibrators_make_loud_forecasts_honest(kind):
    score, outcome = drawn(4000)
    test_score, test_outcome = drawn(4000, seed=1)
    loud = expit(3 * 0.7 * (test_score - 2))
    honest = kind().fit(logit(np.clip(expit(3 * 0.7 * (score - 2)), 1e-9, 1 - 1e-9)), outcome)
    p = honest.predict(logit(np.clip(loud, 1e-9, 1 - 1e-9)))
    assert log_loss(test_outcome, p) < log_loss(test_outcome, loud) and brier(test_outcome, p) < brier(test_outcome, loud)
    assert ece(test_outcome, p) < 0.03 < ece(test_outcome, loud)


@pytest.mark.parametrize("kind", m.CALIBRATORS.values())
@pytest.mark.parametrize(("score", "outcome", "says"), [
    ([1.0, 2.0], [0.0, 3.0], "outcome is 3.0"), ([1.0, np.nan], [0, 1], "score is nan"), ([1.0], [0, 1], "one length"),
    ([], [], "not empty")])
def test_bad_rows_are_named(kind, score, outcome, says):
    with pytest.raises(m.CalibrationError, match=says):
        kind().fit(score, outcome)
    with pytest.raises(m.CalibrationError, match="fit"):
        kind().predict([1.0])


WAYS = {"platt": lambda r: m.platt_stacked(r), "isotonic": lambda r: m.isotonic_stacked(r), "each": lambda r: m.platt_each(r, ["a", "b"])}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_sees_its_own_or_a_later_season(way):
    rows = predictions()
    before = WAYS[way](rows)
    assert sorted(before["season"].unique()) == [2002, 2003, 2004, 2005, 2006]
    for season in (2003, 2006):
        changed = rows.assign(target=np.where(rows["season"] >= season, 1 - rows["target"], rows["target"]))
        after = WAYS[way](changed)
        untouched = before["season"] <= season
        assert np.array_equal(before.loc[untouched, "pred"], after.loc[untouched, "pred"])
        if season < 2006:
            assert not np.allclose(before.loc[~untouched, "pred"], after.loc[~untouched, "pred"])


def test_walk_forward_equals_a_loop_over_seasons():
    rows = predictions(days=("12-31", "01-20"))
    got = m.platt_stacked(rows, by=["day"], min_seasons=2)
    assert sorted(got["season"].unique()) == [2003, 2004, 2005, 2006]
    own = rows[rows["model"] == "stack"]
    for (season, day), part in got.groupby(["season", "day"]):
        train = own[(own["season"] < season) & (own["day"] == day)]
        test = own[(own["season"] == season) & (own["day"] == day)]
        assert part["pred"].to_numpy() == pytest.approx(m.Platt().fit(train["pred"], train["target"]).predict(test["pred"]))


def test_each_is_the_mean_of_log_odds():
    rows = predictions()
    a, b = (m.platt_stacked(rows, name) for name in ("a", "b"))
    both = m.platt_each(rows, ["a", "b"])
    key = ["season", "entity_id"]
    wide = a.merge(b, on=key, suffixes=("_a", "_b")).merge(both, on=key)
    assert wide["pred"].to_numpy() == pytest.approx(expit((logit(wide["pred_a"]) + logit(wide["pred_b"])) / 2))
    assert m.platt_each(rows, ["a"])["pred"].to_numpy() == pytest.approx(a["pred"].to_numpy())
    short = rows[~((rows["model"] == "b") & (rows["season"] < 2004))]  # b begins later: its first forecast is for 2005
    late = m.platt_each(short, ["a", "b"])
    early = late["season"] < 2005
    assert late.loc[early, "pred"].to_numpy() == pytest.approx(a.loc[a["season"] < 2005, "pred"].to_numpy())
    assert len(late) == len(a)


def test_outcomes_are_matched_by_season_and_team():
    rows = predictions(2).drop(columns="target").assign(target=99.0)
    outcomes = predictions(2)[["season", "entity_id", "target"]].drop_duplicates()
    got = m.with_outcome(rows, outcomes[outcomes["season"] == 2001])
    assert set(got["season"]) == {2001} and set(got["target"]) <= {0, 1} and len(got) == 36
    with pytest.raises(m.CalibrationError, match="none of 72"):
        m.with_outcome(rows, outcomes.assign(entity_id="t" + outcomes["entity_id"]))
    with pytest.raises(m.CalibrationError, match="two different outcomes"):
        m.with_outcome(rows, pd.concat([outcomes, outcomes.assign(target=1 - outcomes["target"])]))


def test_errors_of_the_ways():
    rows = predictions(3)
    with pytest.raises(m.CalibrationError, match="stack"):
        m.platt_stacked(rows, "stac")
    with pytest.raises(m.CalibrationError, match="platt"):
        m.calibrated(rows[rows["model"] == "a"], "plat")
    with pytest.raises(m.CalibrationError, match="twice"):
        m.calibrated(rows, "platt")
    with pytest.raises(m.CalibrationError, match="entity_id"):
        m.platt_stacked(rows.drop(columns="entity_id"))


def test_comparison_agrees_with_the_metrics():
    rows = predictions(days=("12-31", "01-20"))
    ways = pd.concat([m.platt_stacked(rows, by=["day"]), m.isotonic_stacked(rows, by=["day"])])
    table = m.compare_calibrators(ways, "isotonic_stacked", draws=50).set_index(["metric", "model"])
    for metric, function in {"brier": brier, "log_loss": log_loss, "ece": ece}.items():
        value = {name: function(w["target"], w["pred"]) for name, w in ways.groupby("model")}
        for name, expected in value.items():
            assert table.loc[(metric, name), "value"] == pytest.approx(expected)
        row = table.loc[(metric, "platt_stacked")]
        assert row["difference"] == pytest.approx(value["platt_stacked"] - value["isotonic_stacked"])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"] and row["n"] == 120 and row["unit"] == "season"
        assert table.loc[(metric, "isotonic_stacked"), ["baseline", "difference"]].isna().all()
    again = m.compare_calibrators(ways.sample(frac=1, random_state=0), "isotonic_stacked", draws=50).set_index(["metric", "model"])
    assert again.loc[("ece", "platt_stacked"), "value"] == pytest.approx(table.loc[("ece", "platt_stacked"), "value"])
    with pytest.raises(MetricError, match="baseline"):
        m.compare_calibrators(ways, "stack")


def test_the_best_way_is_chosen_on_earlier_seasons():
    rows = predictions()
    ways = pd.concat([m.platt_stacked(rows), m.platt_stacked(rows, "b", name="poor")], ignore_index=True)
    got = m.follow_best(ways, default="poor")
    assert got.groupby("season")["chosen"].first().tolist() == ["poor", *["platt_stacked"] * 4]
    changed = ways.assign(target=np.where(ways["season"] == 2006, 1 - ways["target"], ways["target"]))
    assert m.follow_best(changed, default="poor")["chosen"].tolist() == got["chosen"].tolist()
    with pytest.raises(m.CalibrationError, match="poor"):
        m.follow_best(ways, default="best")
