"Seasons played event by event: rotations, clock, box scores against the obvious count, calibration, planted skills."
import numpy as np
import pandas as pd
import pytest

from sportsml.core import SportsmlError
from sportsml.nba.sim import simulate_league
from sportsml.nba.sim_games import BOX_COLUMNS, PLAY_AVERAGES, PlayLeagueConfig, play_averages, simulate_play_league, simulate_season
from sportsml.nba.sim_players import player_seasons

CONFIG = PlayLeagueConfig(seasons=2, first_season=2015)


@pytest.fixture(scope="module")
def league():
    return simulate_play_league(CONFIG, progress=False)


@pytest.fixture(scope="module")
def season(league):
    return league.plays[2016]


@pytest.fixture(scope="module")
def stints(season):
    "Start and end of every stretch with the same ten, as rows of events, and its seconds."
    e, floor = season.events, season.floor
    new = np.r_[True, (floor[1:] != floor[:-1]).any(axis=1) | (np.diff(e["game"]) != 0) | (np.diff(e["period"]) != 0)]
    first = np.flatnonzero(new)
    left, last = e["seconds_left"].to_numpy(), np.r_[first[1:], len(e)] - 1
    ends = np.r_[left[first[1:]], 0]
    ends[np.r_[e["period"].to_numpy()[first[1:]] != e["period"].to_numpy()[first[:-1]], True]] = 0
    ends[np.r_[e["game"].to_numpy()[first[1:]] != e["game"].to_numpy()[first[:-1]], True]] = 0
    return pd.DataFrame({"first": first, "last": last, "seconds": left[first] - ends}), np.cumsum(new) - 1


# ---- events

def test_clock_score_and_order(season):
    e = season.events
    same_game = np.diff(e["game"]) == 0
    assert (np.diff(e["game"]) >= 0).all() and (np.diff(e["order"])[same_game] == 1).all() and (e.groupby("game")["order"].min() == 0).all()
    same_period = same_game & (np.diff(e["period"]) == 0)
    assert (np.diff(e["seconds_left"])[same_period] <= 0).all()
    begins, ends = e[e["type"] == 12], e[e["type"] == 13]
    assert (begins["seconds_left"] == np.where(begins["period"] <= 4, 720, 300)).all() and (ends["seconds_left"] == 0).all()
    assert (begins.groupby("game").size() == season.games["periods"]).all()
    for side, name in enumerate(("home", "away")):
        running = e["points"].where(e["side"] == side, 0).groupby(e["game"]).cumsum()
        assert (running == e[f"{name}_score"]).all()
        assert (running.groupby(e["game"]).last() == season.games[f"{name}_points"]).all()
    assert (season.games["home_points"] != season.games["away_points"]).all()
    assert e["type"].isin(range(1, 14)).all() and e["points"].between(0, 3).all()


def test_actors_are_on_the_floor_and_on_the_right_side(season):
    e, floor = season.events, season.floor
    for column, types, other in (("p1", (1, 2, 3, 4, 5, 6, 7), False), ("p2", (1,), False), ("p2", (5, 6), True), ("p3", (2,), True)):
        rows = e["type"].isin(types) & (e[column] >= 0)
        side = e.loc[rows, "side"].to_numpy() ^ other
        fives = floor[rows.to_numpy()].reshape(-1, 2, 5)[np.arange(rows.sum()), side]
        assert (fives == e.loc[rows, column].to_numpy()[:, None]).any(axis=1).all(), (column, types)


def test_substitutions_explain_every_change_within_a_period(season):
    e, floor = season.events, season.floor
    inside = (np.diff(e["game"]) == 0) & (np.diff(e["period"]) == 0)
    changed = (np.sort(floor[1:]) != np.sort(floor[:-1])).any(axis=1) & inside
    subs = (e["type"] == 8).to_numpy()
    assert (changed == (subs[1:] & inside)).all()
    for row in np.flatnonzero(subs)[::97]:
        before, after = set(floor[row - 1]), set(floor[row])
        assert before - after == {e["p1"].iloc[row]} and after - before == {e["p2"].iloc[row]}
    alive = np.isin(e["type"].to_numpy(), (1, 2, 12, 13))  # after a shot or at the ends of a period the ball is not dead
    assert not (subs[1:] & alive[:-1] & inside).any()


def test_nobody_plays_after_six_fouls_or_when_listed_as_out(season):
    e, box = season.events, season.box
    assert box["fouls"].max() == 6
    for game, slot in box.loc[box["fouls"] == 6, ["game", "slot"]].head(60).to_numpy():
        rows = np.flatnonzero(e["game"] == game)
        fouls = rows[(e["type"].iloc[rows] == 6) & (e["p1"].iloc[rows] == slot) & ~e["action"].iloc[rows].isin([11, 17])]
        assert not (season.floor[rows[rows > fouls[-1] + 1]] == slot).any()
    played = box.merge(season.games[["game_id", "date"]], on="game_id")
    assert played.merge(season.out, on=["date", "player_id"]).empty and len(season.out) > 5000


# ---- box score

def test_box_scores_equal_a_count_of_the_events(season, stints):
    e, box = season.events, season.box.set_index(["game", "slot"]).sort_index()
    three = np.hypot(e["x"], e["y"]).ge(237.5) | (e["x"].abs().ge(220) & e["y"].le(90))
    shot, personal = e["type"].isin([1, 2]), (e["type"] == 6) & ~e["action"].isin([11, 17])
    assert (three[e["type"] == 1] == (e["points"][e["type"] == 1] == 3)).all()
    side = (e["type"] == 4) & (e["p1"] >= 0)
    shooter_side = e["side"].where(shot | (e["type"] == 3)).ffill()
    count = {"field_goals": ("p1", e["type"] == 1), "field_goal_attempts": ("p1", shot), "three_pointers": ("p1", (e["type"] == 1) & three),
             "three_point_attempts": ("p1", shot & three), "free_throws": ("p1", (e["type"] == 3) & (e["points"] == 1)),
             "free_throw_attempts": ("p1", e["type"] == 3), "offensive_rebounds": ("p1", side & (e["side"] == shooter_side)),
             "defensive_rebounds": ("p1", side & (e["side"] != shooter_side)), "assists": ("p2", e["type"] == 1),
             "steals": ("p2", e["type"] == 5), "blocks": ("p3", e["type"] == 2), "turnovers": ("p1", e["type"] == 5),
             "fouls": ("p1", personal)}
    for name, (column, rows) in count.items():
        rows = rows & (e[column] >= 0)
        want = e[rows].groupby(["game", column]).size().reindex(box.index, fill_value=0)
        assert (want == box[name]).all(), name
    assert set(count) | {"points", "seconds", "plus_minus"} == set(BOX_COLUMNS)


def test_seconds_and_plus_minus_equal_a_sum_over_stints(season, stints):
    rows, stint = stints
    e, floor = season.events, season.floor
    margin = np.bincount(stint, e["points"].to_numpy() * np.where(e["side"] == 0, 1, -1))
    ten = floor[rows["first"]]
    sums = pd.DataFrame({"game": np.repeat(e["game"].to_numpy()[rows["first"]], 10), "slot": ten.ravel(),
                         "seconds": np.repeat(rows["seconds"].to_numpy(), 10),
                         "plus_minus": (margin[:, None] * np.repeat([1, -1], 5)).ravel()})
    sums = sums.groupby(["game", "slot"])[["seconds", "plus_minus"]].sum()
    box = season.box.set_index(["game", "slot"]).sort_index()
    want = sums.loc[box.index]
    assert (want["seconds"] == box["seconds"]).all() and (want["plus_minus"] == box["plus_minus"]).all()
    assert (sums.drop(box.index)["seconds"] == 0).all()


def test_possessions_alternate(season):
    apart = (season.games["home_possessions"] - season.games["away_possessions"]).abs()
    assert apart.max() <= 5 and apart.mean() < 1


# ---- calibration and truth

def test_league_averages(season):
    figures = play_averages(season)
    assert list(figures.index) == list(PLAY_AVERAGES.index)
    wrong = (figures - PLAY_AVERAGES["published"]).abs() > PLAY_AVERAGES["tolerance"]
    assert not wrong.any(), figures[wrong]


def test_expected_margins_come_true(league, season):
    truth = league.truth_games[league.truth_games["season"] == 2016].reset_index(drop=True)
    margin = season.games["home_points"] - season.games["away_points"]
    slope, level = np.polyfit(truth["expected_margin"], margin, 1)
    assert 0.85 < slope < 1.15 and abs(level) < 1.0 and 10.5 < (margin - truth["expected_margin"]).std() < 12.8
    p, won = truth["home_win_probability"], margin > 0
    assert abs(p.mean() - won.mean()) < 0.04 and ((p - won) ** 2).mean() < 0.235


def ridge(rows, points, weights, penalty):
    "Ridge estimate of offence and defence of everyone: rows of five and five slots, points per 100 possessions."
    n = 900
    gram, right = np.zeros((n, n)), np.zeros(n)
    columns = np.hstack([rows[:, :5], 450 + rows[:, 5:]])
    signs = np.repeat([1.0, -1.0], 5)
    for i in range(10):
        np.add.at(right, columns[:, i], signs[i] * weights * points)
        for j in range(10):
            np.add.at(gram, (columns[:, i], columns[:, j]), signs[i] * signs[j] * weights)
    return np.linalg.solve(gram + penalty * np.eye(n), right).reshape(2, 450)


def test_planted_skills_are_recovered_by_a_ridge(season, stints):
    rows, stint = stints
    e, floor = season.events, season.floor[stints[0]["first"]].astype(int)
    scored = [np.bincount(stint, e["points"].where(e["side"] == side, 0)) for side in (0, 1)]
    weight = rows["seconds"].to_numpy() / 29.7  # possessions of each team
    use = weight > 0.5
    both = np.vstack([floor[use], np.roll(floor[use], 5, axis=1)])
    weights, points = np.tile(weight[use], 2), np.concatenate([s[use] for s in scored]) / np.tile(weight[use], 2) * 100
    estimate = ridge(both, points - np.average(points, weights=weights), weights, 5000.0)
    used = season.box.groupby("slot")["seconds"].sum().reindex(range(450), fill_value=0).to_numpy() > 60 * 700
    skill = season.players[["offense", "defense"]].to_numpy().T
    assert np.corrcoef(estimate[0, used], skill[0, used])[0, 1] > 0.4 and np.corrcoef(estimate[1, used], skill[1, used])[0, 1] > 0.3


def test_skills_add_up(season, stints):
    "A point of skill on the floor is a point of margin per 100 possessions, whoever has it."
    rows, stint = stints
    skill = season.players.eval("offense + defense").to_numpy()[season.floor[rows["first"]]]
    margin = np.bincount(stint, season.events["points"].to_numpy() * np.where(season.events["side"] == 0, 1, -1))
    share = rows["seconds"].to_numpy() * CONFIG.game_pace / 2880 / 100  # hundreds of possessions of each team
    use = share > 0
    planted, margin, share = (skill[:, :5].sum(axis=1) - skill[:, 5:].sum(axis=1))[use] * share[use], margin[use], share[use]
    slope, edge = np.linalg.lstsq(np.stack([planted, share], axis=1) / np.sqrt(share)[:, None], margin / np.sqrt(share), rcond=None)[0]
    assert 0.88 < slope < 1.12 and 1.5 < edge < 4.5


# ---- the league

def test_what_was_played_is_what_the_league_says(league, season):
    games = league.games[league.games["season"] == 2016].reset_index(drop=True)
    pd.testing.assert_frame_equal(games, season.games[games.columns])
    records = league.records[league.records["season"] == 2016]
    wins = pd.Series(np.where(games["home_points"] > games["away_points"], games["home_id"], games["away_id"])).value_counts()
    assert (records.set_index("team_id")["wins"].sort_index() == wins.sort_index()).all() and records["pace"].between(88, 106).all()
    series = league.series[league.series["season"] == 2016]
    assert series.groupby("round").size().tolist() == [8, 4, 2, 1] and (series[["home_wins", "away_wins"]].max(axis=1) == 4).all()
    before = simulate_league(CONFIG, progress=False)
    for name in ("games", "series", "records", "truth_games"):  # seasons of the margin model stay as they are
        old, new = getattr(before, name), getattr(league, name)
        assert len(old) == len(new)
        pd.testing.assert_frame_equal(old[old["season"] == 2015], new[new["season"] == 2015])


def test_same_seed_same_season_whatever_else_is_simulated(season):
    config = PlayLeagueConfig(seasons=3, first_season=2015)
    longer = simulate_league(config, progress=False)
    again, _ = simulate_season(longer, player_seasons(longer), 2016, config)
    pd.testing.assert_frame_equal(again.events, season.events)
    assert (again.floor == season.floor).all()
    for name in ("players", "box", "games", "out"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(season, name))
    other = simulate_league(PlayLeagueConfig(seasons=2, first_season=2015, seed=1), progress=False)
    assert not simulate_season(other, player_seasons(other), 2016, CONFIG)[0].games["home_points"].equals(season.games["home_points"])


def test_minutes_weighted_skills_sum_to_the_strength(league):
    total = league.players.eval("stamina / 48 * (offense + defense)").groupby([league.players["season"], league.players["team_id"]]).sum()
    strength = league.truth_strength.groupby(["season", "team_id"])["strength"].mean()
    assert np.allclose(total * CONFIG.game_pace / 100, strength)


@pytest.mark.parametrize("wrong", [{"playbyplay_seasons": 3}, {"playbyplay_seasons": -1}, {"playbyplay_games": 1231}])
def test_impossible_configurations(wrong):
    with pytest.raises(SportsmlError):
        PlayLeagueConfig(**{"seasons": 2, **wrong})
