"""Forecasts from ratings: nothing of the future, the fast path equals the obvious one, and unfinished data is not scored."""
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from sportsml.config import load_experiment
from sportsml.core import SportsmlError
from sportsml.metrics import verdict
from sportsml.nba.forecasts import (
    GAME_MODELS,
    RatingConfigs,
    forecast_day,
    forecast_games,
    forecast_ranks,
    game_features,
    rank_signals,
    rating_panels,
    season_projection,
)
from sportsml.nba.rapm import RapmConfig
from sportsml.nba.results import build_results
from sportsml.nba.season import projected_wins
from sportsml.nba.sim import LeagueConfig, simulate_league, write_league
from sportsml.nba.sim_games import PlayLeagueConfig
from sportsml.nba.teams import final_ranks, finished_seasons, rest_days, standings
from sportsml.plots import interval_table
from sportsml.ratings.massey import win_probability
from sportsml.warehouse import Warehouse


@pytest.fixture(scope="module")
def league(tmp_path_factory):
    folder = tmp_path_factory.mktemp("league")
    write_league(simulate_league(LeagueConfig(seasons=3, seed=11), progress=False), folder)
    with Warehouse(folder / "league.duckdb") as warehouse:
        build_results(folder, warehouse, "simulated", progress=False)
        return {name: warehouse.read(name) for name in ("games", "teams", "team_records", "playoff_series")}


def with_other_future(games, day):
    """Every score on or after a day is replaced: winners, margins and totals."""
    late, rng = games["date"] >= day, np.random.default_rng(5)
    home = rng.integers(70, 140, len(games))
    away = home + rng.choice([-1, 1], len(games)) * rng.integers(1, 40, len(games))
    return games.assign(home_points=games["home_points"].where(~late, home), away_points=games["away_points"].where(~late, away))


@pytest.mark.parametrize("month_day", ["11-20", "12-31", "01-20", "03-30"])
def test_no_forecast_sees_its_own_day_or_a_later_one(league, month_day):
    games, day = league["games"], forecast_day(2012, month_day)
    other = with_other_future(games, day)
    assert not other.equals(games)
    panels, other_panels = rating_panels(games), rating_panels(other)
    now = rank_signals(games, league["team_records"], panels, 2012, day)
    assert now.equals(rank_signals(other, league["team_records"], other_panels, 2012, day))
    assert now["projected_wins"].equals(season_projection(other, other_panels["srs"], 2012, day))
    upto = games["date"] <= day  # games of the day itself are forecast from the morning
    assert game_features(games, panels)[upto].equals(game_features(other, other_panels)[upto])
    a, b = (forecast_games(g, p, warm_up=1) for g, p in ((games, panels), (other, other_panels)))
    known = a["as_of"] <= day
    assert known.sum() > 1000 * len(GAME_MODELS) and a.loc[known, "pred"].equals(b.loc[known, "pred"])


def test_projected_wins_are_the_sum_over_the_schedule(league):
    games, day = league["games"], forecast_day(2012, "01-20")
    rating = pd.Series(np.linspace(-8, 8, 30), index=sorted(games["home_id"].unique()))
    fast = projected_wins(games, 2012, day, rating, home_edge=3, sigma=12)["projected"]
    slow = standings(games, 2012, day)["wins"].astype(float)
    for g in games[(games["season"] == 2012) & (games["date"] >= day)].itertuples():
        p = win_probability(rating[g.home_id] - rating[g.away_id] + 3, 12)
        slow[g.home_id] += p
        slow[g.away_id] += 1 - p
    np.testing.assert_allclose(fast, slow)
    assert fast.sum() == pytest.approx(1230)


@pytest.mark.parametrize("day", [None, "2012-01-20", "2011-08-01"])
def test_standings_are_a_count_over_the_games(league, day):
    games = league["games"]
    record = {team: [0, 0, 0.0] for team in games["home_id"].unique()}
    for g in games[games["season"].eq(2012) & (games["date"] < pd.Timestamp(day or "2013-01-01"))].itertuples():
        for team, margin in ((g.home_id, g.home_points - g.away_points), (g.away_id, g.away_points - g.home_points)):
            record[team] = [record[team][0] + (margin > 0), record[team][1] + (margin < 0), record[team][2] + margin]
    expected = pd.DataFrame(record, index=["wins", "losses", "margin"]).T.sort_index()
    played = expected["wins"] + expected["losses"]
    expected["margin"] = (expected["margin"] / played).fillna(0)
    table = standings(games, 2012, day)
    np.testing.assert_allclose(table[["wins", "losses", "margin"]], expected)
    np.testing.assert_allclose(table["win_pct"], (expected["wins"] / played).fillna(0.5))
    assert (table["games"] == played).all()


def test_the_first_season_is_projected_without_a_season_to_learn_from(league):
    games = league["games"]
    srs, first = rating_panels(games)["srs"], int(games["season"].min())
    wins = season_projection(games, srs, first, f"{first - 1}-12-31", first=(3.0, 12.0))
    expected = projected_wins(games, first, f"{first - 1}-12-31", srs.as_of(f"{first - 1}-12-31"), 3.0, 12.0)["projected"]
    assert wins.equals(expected) and wins.sum() == pytest.approx(1230)


def test_projected_wins_after_the_last_game_are_the_wins(league):
    games = league["games"]
    table = projected_wins(games, 2012, "2012-07-01", pd.Series(0.0, index=games["home_id"].unique()), 3, 12)
    assert (table["projected"] == standings(games, 2012)["wins"]).all() and (table["remaining"] == 0).all()


def test_rest_equals_a_walk_through_the_season(league):
    games = league["games"].query("season == 2012").sort_values("date")
    last, expected = {}, []
    for g in games.itertuples():
        rest = [min((g.date - last[t]).days - 1, 3) if t in last else 3 for t in (g.home_id, g.away_id)]
        expected.append(rest)
        last[g.home_id] = last[g.away_id] = g.date
    assert (rest_days(games).to_numpy() == np.array(expected)).all()
    shuffled = games.sample(frac=1, random_state=1)
    assert rest_days(shuffled).reindex(games.index).equals(rest_days(games))


def test_only_finished_seasons_have_ranks_and_the_warm_up_is_no_test(league):
    games, series, records = league["games"], league["playoff_series"], league["team_records"]
    cut = games[games["date"] < "2012-01-25"]
    known = finished_seasons(cut, series[series["season"] < 2012], records[records["season"] < 2012])
    assert known == [2010, 2011]
    rows = forecast_ranks(cut, league["teams"], records, rating_panels(cut), known, warm_up=1)
    assert set(rows["season"]) == {2011} and set(rows["split"]) == {"test"}
    everything = forecast_ranks(games, league["teams"], records, rating_panels(games), [2010, 2011, 2012], warm_up=2)
    assert everything.groupby("season")["split"].first().to_dict() == {2011: "validation", 2012: "test"}


def test_a_snapshot_is_not_last_seasons_record(league):
    games, records, day = league["games"], league["team_records"], forecast_day(2012, "12-31")
    panels = rating_panels(games)
    snapshot = records.assign(complete=records["season"] != 2011, srs=records["srs"].where(records["season"] != 2011, 0.0))
    ours = rank_signals(games, snapshot, panels, 2012, day)["previous_srs"]
    published = rank_signals(games, records, panels, 2012, day)["previous_srs"]
    assert ours.std() > 1 and ours.corr(published, method="spearman") > 0.9  # our own SRS steps in, never zeros


def test_league_ranks_share_ties_and_count_rivals_only(league):
    ranks = final_ranks(league["games"], league["teams"], 2012)
    assert ranks["rank"].sum() == 30 * 31 / 2 and ranks.groupby("conference")["conference_rank"].sum().eq(15 * 16 / 2).all()
    assert ranks["win_pct"].corr(-ranks["rank"], method="spearman") == pytest.approx(1)


@pytest.mark.parametrize("warm_up", [0, 3, 9])
def test_a_warm_up_that_leaves_nothing_is_refused(league, warm_up):
    with pytest.raises(SportsmlError, match="allowed are 1 to 2"):
        forecast_games(league["games"], rating_panels(league["games"]), warm_up)


def test_a_game_without_a_rating_is_refused(league):
    games = league["games"]
    panels = rating_panels(games)
    broken = panels["srs"]
    values = broken.values.copy()
    values[:, 3] = np.nan
    holes = type(broken)(broken.system, broken.days, broken.seasons, broken.entities, values)
    with pytest.raises(SportsmlError, match="has no srs rating"):
        game_features(games, {**panels, "srs": holes})


@pytest.mark.parametrize("day", ["1-20", "31-12-2015", "Dec 31"])
def test_a_day_of_another_form_is_refused(day):
    with pytest.raises(SportsmlError, match="MM-DD"):
        forecast_day(2016, day)


def test_verdict_needs_the_whole_interval():
    row = {"metric": "brier", "difference_low": -0.002, "difference_high": -0.001}
    assert verdict(pd.Series(row)) == "better" and verdict(pd.Series(row | {"metric": "spearman"})) == "worse"
    assert verdict(pd.Series(row | {"difference_high": 0.001})) == "not distinguishable"


def test_interval_table_keeps_the_order_of_models():
    rows = pd.DataFrame({"model": ["b", "a"] * 2, "metric": ["brier"] * 2 + ["ece"] * 2, "value": [0.2, 0.3, 0.01, 0.02],
                         "low": [0.1, 0.2, None, None], "high": [0.3, 0.4, None, None]})
    table = interval_table(rows, digits=2)
    assert table["model"].tolist() == ["b", "a"] and table["brier"].tolist() == ["0.20 [0.10, 0.30]", "0.30 [0.20, 0.40]"]
    assert table["ece"].tolist() == ["0.01", "0.02"]


def test_the_experiments_config_lists_every_setting_at_its_default():
    config = load_experiment("nba_strength")
    defaults = {name: asdict(value) for name, value in vars(RatingConfigs()).items()}
    assert {name: config.parameters[name] for name in defaults} == defaults
    more = {"seed", "playbyplay_seasons"}  # another league, and enough play-by-play for a model that learns from it
    assert config.simulation == asdict(PlayLeagueConfig()) | {name: config.simulation[name] for name in more}
    rapm = config.parameters["rapm"]
    assert RapmConfig(**{**rapm, "penalties": tuple(rapm["penalties"])}) == RapmConfig()
