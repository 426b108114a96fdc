"The simulated league: the 82-game formula, calibration, determinism, raw files, what methods can recover."
import csv
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from sportsml.core import SportsmlError, rng
from sportsml.nba import sim
from sportsml.nba.franchises import team_ids, teams_table
from sportsml.nba.results import read_game_results, read_playoff_series, read_team_records
from sportsml.nba.sim import REAL_AVERAGES, LeagueConfig, ensure_league, league_averages, simulate_league, write_league


@pytest.fixture(scope="module")
def league():
    return simulate_league(LeagueConfig(), progress=False)


@pytest.fixture(scope="module")
def raw(league, tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    write_league(league, folder)
    return folder


def read(path):
    "Reads a CSV as the standard library sees it."
    with open(path, encoding="utf-8-sig", newline="") as f:
        return pd.DataFrame(csv.DictReader(f))


# ---- schedule

@pytest.mark.parametrize("season", [2005, 2011, 2016, 2030])
def test_formula_of_82_games(season):
    teams = teams_table([season]).set_index("team_id")
    games = sim.season_schedule(season, LeagueConfig(seed=season))
    hosted = pd.crosstab(games["home_id"], games["away_id"])
    assert len(games) == 1230 and (hosted.sum() == 41).all() and (hosted.sum(axis=1) == 41).all()
    threes = pd.Series(0, teams.index)
    for a, b in itertools.combinations(teams.index, 2):
        here, there = hosted.loc[a, b], hosted.loc[b, a]
        same = [teams.loc[a, c] == teams.loc[b, c] for c in ("division", "conference")]
        if same == [True, True]:
            assert (here, there) == (2, 2)
        elif same == [False, True]:
            assert (here, there) in [(2, 2), (1, 2), (2, 1)]
            threes[[a, b]] += here + there == 3
        else:
            assert (here, there) == (1, 1)
    assert (threes == 4).all()


def test_days(league):
    rows = sim._team_days(league.games)
    assert not rows.duplicated(["season", "team_id", "date"]).any()
    assert (sim._gaps(rows, 2).dropna() > 2).all()  # never three nights running
    second = (sim._gaps(rows, 1) == 1).groupby([rows["season"], rows["team_id"]]).sum()
    assert second.between(14, 24).all()
    days = league.games.groupby("season")["date"].agg(["min", "max", "nunique"])
    assert ((days["max"] - days["min"]).dt.days == sim._DAYS - 1).all() and days["nunique"].between(160, 165).all()
    assert (days["min"].dt.strftime("%m-%d").between("10-25", "10-31")).all() and (days["min"].dt.day_name() == "Tuesday").all()
    assert not ((league.games["date"].dt.month == 12) & (league.games["date"].dt.day == 24)).any()
    assert sim._gaps(rows, 1).groupby([rows["season"], rows["team_id"]]).max().min() >= 5  # the All-Star gap, for everyone


def test_kernel_counts_what_a_recount_finds():
    "The cost changes add up to the cost computed from scratch."
    stream, prices, wish = rng(3, "kernel"), sim._stretch_prices(), np.array([0.0, 6.0, 13.0])

    def cost(row):  # of one team's days
        stretches = [sum(int(row[end - k] > 0) << k for k in range(5)) for end in range(5, len(row))]
        second = [sum(row[d] == v and row[d - 1] > 0 for d in range(1, len(row))) for v in (1, 2)]
        return sum(prices[s] for s in stretches) + 2 * ((np.array(second) - wish[1:]) ** 2).sum()

    state, stretch, nights = np.zeros((1, 60), np.int64), np.zeros((1, 60), np.int64), np.zeros((1, 3), np.int64)
    start, total = cost(state[0]), 0.0
    for day in stream.integers(5, 50, size=200):
        venue = state[0, day] or stream.integers(1, 3)
        total += sim._toggle(state, stretch, nights, 0, day, venue, prices, wish)
        assert total == pytest.approx(cost(state[0]) - start)


# ---- calibration and truth

def test_averages_are_the_nbas():
    leagues = [simulate_league(LeagueConfig(seed=seed), progress=False) for seed in (1, 2, 3)]
    found = pd.concat([league_averages(x.games, x.series) for x in leagues], axis=1).mean(axis=1)
    off = (found - REAL_AVERAGES["real"]).abs() / REAL_AVERAGES["tolerance"]
    assert list(found.index) == list(REAL_AVERAGES.index) and (off <= 1).all(), off[off > 1]


def test_truth_is_calibrated(league):
    games, truth = league.games, league.truth_games
    assert games[["season", "date", "home_id", "away_id"]].equals(truth[["season", "date", "home_id", "away_id"]])
    won, p = games["home_points"] > games["away_points"], truth["home_win_probability"]
    for _, rows in truth.assign(won=won).groupby(pd.qcut(p, 10), observed=True):
        mean = rows["home_win_probability"].mean()
        assert abs(rows["won"].mean() - mean) < 4 * np.sqrt(mean * (1 - mean) / len(rows))
    assert abs(((p - won) ** 2).mean() - (p * (1 - p)).mean()) < 0.006  # the oracle's Brier score is what it expects
    error = games["home_points"] - games["away_points"] - truth["expected_margin"]
    assert abs(error.mean()) < 0.35 and 11 < error.std() < 12
    assert 0.188 < (p * (1 - p)).mean() < 0.208  # room below the real NBA's best Elo (.2066), none for miracles


def test_truth_strength_explains_the_probabilities(league):
    config = league.config
    strength = league.truth_strength.set_index(["season", "date", "team_id"])["strength"]
    assert np.allclose(strength.groupby(["season", "date"]).mean(), 0)
    truth = league.truth_games
    home, away = (strength.loc[pd.MultiIndex.from_frame(truth[["season", "date", side]])].to_numpy()
                  for side in ("home_id", "away_id"))
    tired = truth["away_back_to_back"].astype(int) - truth["home_back_to_back"].astype(int)
    mean = home - away + config.home_edge + config.tired * tired
    assert np.allclose(truth["home_win_probability"], sim.ndtr(mean / config.win_sd))
    assert (mean - truth["expected_margin"]).abs().max() < 1.0  # strengths are points of margin


def test_plain_margins_recover_strengths(league):
    mean = league.truth_strength.groupby(["season", "team_id"])["strength"].mean()
    records = league.records.set_index(["season", "team_id"])
    for column, least in {"margin": 0.92, "srs": 0.92, "wins": 0.88}.items():
        assert records[column].corr(mean) > least
    halves = pd.DataFrame({"srs": records["srs"], "truth": mean}).groupby("season").corr().loc[(slice(None), "srs"), "truth"]
    assert halves.min() > 0.85


def test_home_edge_and_fatigue_come_back():
    "A league without noise between teams shows the configured effects."
    config = LeagueConfig(strength_sd=0.01, drift=0.001, seasons=4, seed=5)
    league = simulate_league(config, progress=False)
    margin, truth = league.games["home_points"] - league.games["away_points"], league.truth_games
    design = np.column_stack([np.ones(len(truth)), truth["home_back_to_back"], truth["away_back_to_back"]]).astype(float)
    edge, home_tired, away_tired = np.linalg.lstsq(design, margin.to_numpy(float), rcond=None)[0]
    assert abs(edge - config.home_edge) < 0.7 and abs(home_tired + config.tired) < 1.5 and abs(away_tired - config.tired) < 1.2


# ---- playoffs and records

def test_playoffs_follow_the_records(league):
    teams = teams_table(league.config.years).set_index(["season", "team_id"])["conference"]
    for season, series in league.series.groupby("season"):
        records = league.records[league.records["season"] == season].set_index("team_id")
        assert series.groupby("round").size().tolist() == [8, 4, 2, 1]
        wins = series[["home_wins", "away_wins"]]
        assert (wins.max(axis=1) == 4).all() and (wins.min(axis=1) < 4).all()
        assert (series["winner_id"] == np.where(series["home_wins"] == 4, series["home_id"], series["away_id"])).all()
        assert (records.loc[series["home_id"], "wins"].to_numpy() >= records.loc[series["away_id"], "wins"].to_numpy()).all()
        for side in "EW":
            wins = records.loc[[t for t in records.index if teams[(season, t)] == side], ["wins", "made_playoffs"]]
            assert wins["made_playoffs"].sum() == 8
            assert wins.loc[wins["made_playoffs"], "wins"].min() >= wins.loc[~wins["made_playoffs"], "wins"].max()
        last = series.iloc[-1]
        champion = league.champions.set_index("season").loc[season, "team_id"]
        assert last["round"] == 4 and champion == last["winner_id"]
        assert records.loc[champion, "playoff_result"] == "Won Finals" and (records["playoff_result"] == "Won Finals").sum() == 1


def test_records_sum_up_the_games(league):
    rows = sim._team_days(league.games).assign(won=lambda f: f["margin"] > 0)
    wins = rows.groupby(["season", "team_id"])["won"].sum()
    records = league.records.set_index(["season", "team_id"])
    assert (records["wins"] == wins).all() and (records["wins"] + records["losses"] == records["games"]).all()
    net = (records["offensive_rating"] - records["defensive_rating"]) * records["pace"] / 100
    assert np.allclose(net, records["margin"])
    assert records.groupby("season")["finish"].apply(lambda f: sorted(f) == sorted([1, 2, 3, 4, 5] * 6)).all()


# ---- determinism

def test_same_seed_same_league_and_more_seasons_change_nothing(league):
    config = LeagueConfig(seasons=2)
    short = simulate_league(config, progress=False)
    for name in ("games", "series", "records", "truth_strength", "truth_games"):
        frame, long = getattr(short, name), getattr(league, name)
        pd.testing.assert_frame_equal(frame, long[long["season"].isin(config.years)].reset_index(drop=True))
    other = simulate_league(LeagueConfig(seasons=2, seed=1), progress=False)
    assert not other.games["home_points"].equals(short.games["home_points"])
    assert not other.games["date"].equals(short.games["date"]) or not other.games["home_id"].equals(short.games["home_id"])


# ---- files

def test_game_results_parse_back(league, raw):
    rows = read(raw / "nba/game_results.csv")
    assert list(rows) == ["away", "home", "a.sc", "h.sc", "date", "dateR", "season"]
    season = rows["season"].astype(int)
    day = pd.to_datetime(rows["date"], format="%a, %b %d, %Y")
    back = pd.DataFrame({"season": season, "date": day, "home_id": team_ids(rows["home"], season)[0],
                         "away_id": team_ids(rows["away"], season)[0], "home_points": rows["h.sc"], "away_points": rows["a.sc"]})
    for column in ("season", "home_id", "away_id", "home_points", "away_points"):
        assert (back[column].astype("int64") == league.games[column]).all()
    assert (day == league.games["date"]).all() and not rows["date"].str.contains(" 0").any()  # "Nov 1", not "Nov 01"


def test_playoff_series_parse_back(league, raw):
    years = league.config.years
    path = raw / f"nba/playoff_series_{years[0]}_{years[-1]}.csv"
    assert path.read_text(encoding="utf-8").splitlines()[0] == (
        '"series_code","away","home","winner","avg_margin","games","away_url","home_url","away_net","home_net","net","home_win"')
    rows = read(path)
    season = rows["series_code"].str[-4:].astype(int)
    assert season.is_monotonic_decreasing
    back = pd.DataFrame({"season": season, **{f"{s}_id": team_ids(rows[s], season)[0] for s in ("home", "away", "winner")},
                         "games": rows["games"].astype(int)})
    want = league.series.assign(games=league.series["home_wins"] + league.series["away_wins"])
    want = want.sort_values(["season", "round"], ascending=[False, True], kind="stable", ignore_index=True)[list(back)]
    pd.testing.assert_frame_equal(back.astype("int64"), want.astype("int64"))
    assert (rows["home_win"].astype(int) == (rows["home"] == rows["winner"])).all()
    assert rows["home_url"].str.fullmatch(r"/teams/[A-Z]{3}/20\d\d\.html").all()


def test_team_records_parse_back(league, raw):
    path = raw / "nba/Team_Records.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbfSeason,Lg,Team,W,L,W/L%,Finish,SRS,Pace,Rel_Pace,ORtg,Rel_ORtg,DRtg,")
    rows = read(path)
    season = rows["Season"].str[:4].astype(int) + 1
    assert (season % 100 == rows["Season"].str[5:].astype(int)).all()
    ids = team_ids(rows["Team"].str.rstrip("*"), season)[0].astype("int64")
    want = league.records.set_index(["season", "team_id"]).loc[pd.MultiIndex.from_arrays([season, ids])]
    assert (rows["W"].astype(int).to_numpy() == want["wins"]).all()
    assert np.allclose(rows["SRS"].astype(float), want["srs"], atol=0.0051)
    assert np.allclose(rows["ORtg"].astype(float), want["offensive_rating"], atol=0.051)
    assert (rows["Team"].str.endswith("*").to_numpy() == want["made_playoffs"]).all()
    assert ((rows["Playoffs"] != "").to_numpy() == want["made_playoffs"]).all()


def test_truth_files(league, raw):
    strength, games, champions = (pd.read_csv(raw / f"truth/{name}.csv") for name in ("strength", "games", "champions"))
    assert len(strength) == league.config.seasons * sim._DAYS * 30
    assert np.allclose(strength["strength"], league.truth_strength["strength"], atol=1e-4)
    assert np.allclose(games["home_win_probability"], league.truth_games["home_win_probability"], atol=1e-6)
    assert (champions["team_id"] == league.champions["team_id"]).all()


def test_our_readers_take_every_row(league, raw):
    years = league.config.years
    games = read_game_results(raw / "nba/game_results.csv")
    series = read_playoff_series(raw / f"nba/playoff_series_{years[0]}_{years[-1]}.csv")
    records = read_team_records(raw / "nba/Team_Records.csv")
    assert [len(x.rejects) for x in (games, series, records)] == [0, 0, 0]
    assert [len(x.rows) for x in (games, series, records)] == [len(x) for x in (league.games, league.series, league.records)]
    truth = pd.read_csv(raw / "truth/games.csv")
    assert set(games.rows["game_id"]) == set(truth["game_id"]) and truth["game_id"].is_unique
    key = ["season", "home_id", "away_id"]
    both = series.rows.merge(league.series, on=key, suffixes=("", "_true"))
    assert len(both) == len(league.series)
    assert all((both[c] == both[f"{c}_true"]).all() for c in ("round", "winner_id", "home_wins", "away_wins"))


def test_ensure_league_rebuilds_only_what_changed(tmp_path):
    config = LeagueConfig(seasons=2, first_season=2012)
    assert ensure_league(config, tmp_path, progress=False)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    assert not ensure_league(config, tmp_path, progress=False)
    (tmp_path / "nba/game_results.csv").write_text("spoilt")
    assert ensure_league(config, tmp_path, progress=False)  # repaired
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    seal = json.loads((tmp_path / "sim.json").read_text())
    (tmp_path / "sim.json").write_text(json.dumps(seal | {"files": dict.fromkeys(seal["files"], "")}))  # a writer died half-way
    assert ensure_league(config, tmp_path, progress=False)
    assert ensure_league(LeagueConfig(seasons=1, first_season=2012), tmp_path, progress=False)
    assert [p.name for p in tmp_path.glob("nba/playoff_series_*")] == ["playoff_series_2012_2012.csv"]  # no stale series
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nba", "sim.json", "truth"]


def test_real_data_is_never_overwritten(tmp_path):
    (tmp_path / "nba").mkdir()
    (tmp_path / "nba/game_results.csv").write_text("mine")
    with pytest.raises(SportsmlError, match=r"game_results\.csv was not written by the simulator"):
        ensure_league(LeagueConfig(seasons=1), tmp_path, progress=False)
    assert (tmp_path / "nba/game_results.csv").read_text() == "mine"


@pytest.mark.parametrize("wrong", [{"seasons": 0}, {"first_season": 2004}, {"strength_carry": 0.99}])
def test_impossible_configurations(wrong):
    with pytest.raises(SportsmlError):
        LeagueConfig(**wrong)
