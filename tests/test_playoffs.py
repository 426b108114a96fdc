"""Outcomes of seasons: the published places, brackets with a hole, every season on file, residuals of a planted league."""
import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import EDGE, SD, planted

from sportsml.core import SportsmlError
from sportsml.nba.boxscores import GAME_SCORE
from sportsml.nba.franchises import teams_table
from sportsml.nba.names import read_raptor
from sportsml.nba.playoffs import (
    complete_playoffs,
    playoff_contribution,
    playoff_outcomes,
    playoff_ranks,
    playoff_residual,
    playoff_runs,
    playoff_targets,
    read_outcomes,
)
from sportsml.nba.results import read_game_results, read_playoff_series, read_team_records
from sportsml.nba.sim import LeagueConfig, simulate_league
from sportsml.ratings.srs import srs_ratings

REAL = Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba"
real = pytest.mark.skipif(not REAL.exists(), reason="needs SPORTSML_RAW")
needs_labels = pytest.mark.skipif(not (REAL / "outcomes_2023_2025.csv").exists(), reason="needs SPORTSML_RAW")

KNOWN = {  # playoff series as they ended, by round: winner, loser, games the loser won
    2024: (("BOS MIA 1", "CLE ORL 3", "IND MIL 2", "NYK PHI 2", "OKC NOP 0", "DAL LAC 2", "MIN PHO 0", "DEN LAL 1"),
           ("BOS CLE 1", "IND NYK 3", "DAL OKC 2", "MIN DEN 3"), ("BOS IND 0", "DAL MIN 1"), ("BOS DAL 1",)),
    2025: (("CLE MIA 0", "IND MIL 1", "BOS ORL 1", "NYK DET 2", "OKC MEM 0", "DEN LAC 3", "MIN LAL 1", "GSW HOU 3"),
           ("IND CLE 1", "NYK BOS 2", "OKC DEN 3", "MIN GSW 1"), ("IND NYK 2", "OKC MIN 1"), ("OKC IND 3",))}


def known_series():
    "The bracket of two seasons as rows of `playoff_series`; who had home court does not matter here."
    ids = teams_table(KNOWN).set_index(["season", "abbreviation"])["team_id"]
    rows = []
    for season, rounds in KNOWN.items():
        for number, played in enumerate(rounds, 1):
            for winner, loser, lost in (text.split() for text in played):
                home, away = ids[season, winner], ids[season, loser]
                rows.append((season, number, home, away, home, 4, int(lost)))
    return pd.DataFrame(rows, columns=["season", "round", "home_id", "away_id", "winner_id", "home_wins", "away_wins"])


@pytest.fixture(scope="module")
def league():
    made = simulate_league(LeagueConfig(seasons=2, first_season=2020), progress=False)
    return made.games.assign(season_type="regular"), teams_table([2020, 2021]), made.series


@needs_labels
def test_the_rule_gives_the_published_places():
    file = read_outcomes(REAL / "outcomes_2023_2025.csv")
    series = known_series()
    assert complete_playoffs(series) == [2024, 2025] and len(file) == 60
    for season, own in file.groupby("season"):
        own = own.set_index("team_id")
        final = own[["conference"]].assign(rank=own["regular_rank"])
        ours = playoff_ranks(playoff_runs(series, season), final)
        for column in ("rank", "conference_rank", "reached"):
            assert (ours[column] == own[column]).all(), (season, column)
        by_record = ours.assign(games_won=0)  # the games won are part of the rule: without them the file is not met
        assert (playoff_ranks(by_record.loc[by_record["reached"] > 0, ["reached", "games_won"]], final)["rank"] != own["rank"]).any()


def test_known_brackets_by_hand():
    runs = playoff_runs(known_series(), 2025)
    ids = teams_table([2025]).set_index("abbreviation")["team_id"]
    reached = {"OKC": 5, "IND": 4, "NYK": 3, "MIN": 3, "DEN": 2, "BOS": 2, "CLE": 2, "GSW": 2, "HOU": 1, "MIA": 1}
    assert {t: int(runs.loc[ids[t], "reached"]) for t in reached} == reached
    assert {t: int(runs.loc[ids[t], "games_won"]) for t in ("OKC", "IND", "DEN", "MIA")} == {"OKC": 16, "IND": 15, "DEN": 7, "MIA": 0}


def test_a_bracket_with_a_hole_is_no_outcome(league):
    games, teams, series = league
    assert complete_playoffs(series) == [2020, 2021]
    own = series[series["season"] == 2021]
    for i in range(15):
        rest = series.drop(own.index[i])
        assert complete_playoffs(rest) == [2020]
        with pytest.raises(SportsmlError, match=r"season 2021 has 14 series .*\[2020\]"):
            playoff_runs(rest, 2021)
        wrong = series.copy()  # the loser of one series goes on instead of its winner
        pair = wrong.loc[own.index[i], ["home_id", "away_id"]]
        wrong.loc[own.index[i], "winner_id"] = pair[pair != wrong.loc[own.index[i], "winner_id"]].item()
        assert complete_playoffs(wrong) == ([2020, 2021] if own["round"].iloc[i] == 4 else [2020])
    twice = own.copy()
    twice.loc[twice.index[0], ["home_id", "away_id", "winner_id"]] = twice.loc[twice.index[1], ["home_id", "away_id", "winner_id"]]
    assert complete_playoffs(twice) == []
    assert len(playoff_outcomes(games[games["season"] == 2020], teams, series)) == 30  # a season without games has no order
    assert playoff_outcomes(games, teams, series.iloc[:0]).empty
    with pytest.raises(SportsmlError, match="no final rank"):
        playoff_ranks(playoff_runs(series, 2021), pd.DataFrame({"conference": "E", "rank": [1.0]}, index=[1610612737]))


def test_the_label_is_monotone_and_ties_are_shared(league):
    games, teams, series = league
    out = playoff_outcomes(games, teams, series)
    for _, own in out.groupby("season"):
        own = own.sort_values("rank")
        assert (own["reached"].diff().dropna() <= 0).all() and own["reached"].iloc[15] == 1 and own["reached"].iloc[16] == 0
        for _, side in own.groupby("conference"):
            assert (side["reached"].diff().dropna() <= 0).all() and np.isclose(side["conference_rank"].sum(), 120)
        lottery = own[own["reached"] == 0]
        assert (lottery["regular_rank"].diff().dropna() >= 0).all()
    final = pd.DataFrame({"conference": ["E", "W", "E", "W"], "rank": [1.0, 2.5, 2.5, 4.0]}, index=[1, 2, 3, 4])
    nobody = pd.DataFrame({"reached": [], "games_won": []}, index=pd.Index([], dtype=int))
    assert playoff_ranks(nobody, final)["rank"].tolist() == [1, 2.5, 2.5, 4]
    runs = pd.DataFrame({"reached": 1, "games_won": [0]}, index=[4])  # the worst team in the playoffs is above the best one outside
    assert playoff_ranks(runs, final)["rank"].tolist() == [2, 3.5, 3.5, 1]


@pytest.mark.parametrize(("line", "message"), [
    ("2023-24,1610612742,Dallas Mavericks,W,2,1", "rank of 2024 is not an order"), ("2023-24,x,Dallas Mavericks,W,2,2", "cannot be read"),
    ("2023-24,1610612742,Dallas Mavericks,N,2,2", "cannot be read"), ("24,1610612742,Dallas Mavericks,W,2,2", "cannot be read"),
    ("2023-24,1610612742", "1 broken rows")])
def test_outcomes_that_are_none_are_refused(tmp_path, line, message):
    path = tmp_path / "outcomes.csv"
    path.write_text("season,team_id,team,conf,reg_season_rank,post_playoff_rank\n2023-24,1610612738,Boston Celtics,E,1,1\n" + line + "\n")
    with pytest.raises(SportsmlError, match=message):
        read_outcomes(path)


@real
def test_every_season_on_file():
    series = pd.concat([read_playoff_series(p).rows for p in sorted(REAL.glob("playoff_series_*.csv"))])
    games = read_game_results(REAL / "game_results.csv").rows
    records = read_team_records(REAL / "Team_Records.csv").rows.set_index(["season", "team_id"])["playoff_result"]
    assert complete_playoffs(series) == list(range(2003, 2020))
    teams = teams_table(range(2007, 2018))
    out = playoff_outcomes(games, teams, series)
    assert sorted(out["season"].unique()) == [2007, 2008, 2009, 2010, 2011, 2013, 2014, 2015, 2016, 2017]
    champions = teams.merge(out[out["rank"] == 1], on=["season", "team_id"])["abbreviation"].tolist()
    assert champions == ["SAS", "BOS", "LAL", "LAL", "DAL", "MIA", "SAS", "GSW", "CLE", "GSW"]
    ends = {"1st Rnd": 1, "Semis": 2, "Conf. Finals": 3, "Lost Finals": 4, "Won Finals": 5}
    said = records.reindex(pd.MultiIndex.from_frame(out[["season", "team_id"]])).fillna("").to_numpy()
    told = np.array([next((n for text, n in ends.items() if text in s), 0) for s in said])
    assert (told == out["reached"]).all()  # Basketball-Reference says the same of all 300 team-seasons


def test_targets_follow_the_team(league):
    games, teams, series = league
    out = playoff_outcomes(games, teams, series)
    rows = pd.DataFrame({"season": 2021, "entity_id": out.loc[out["season"] == 2021, "team_id"].astype(str), "pred": 0.0, "target": -1.0,
                         "target_name": "final_rank"}).sample(frac=1, random_state=0)
    got = playoff_targets(pd.concat([rows, rows.assign(season=1999), rows.assign(target_name="win")]), out)
    truth = out[out["season"] == 2021].set_index("team_id")["rank"]
    assert len(got) == 30 and (got["target"].to_numpy() == truth[got["entity_id"].astype(int)].to_numpy()).all()


def on_the_last_morning(panel, error, sign=1):
    "Ratings at the end of every season, as `champions.to_points` gives them."
    rows = [(sign * panel.as_of(f"{s}-06-01")).rename("points").reset_index().assign(season=s) for s in np.unique(panel.seasons)]
    return pd.concat(rows, ignore_index=True).assign(error=error, home_edge=EDGE, sd=SD)


def test_residuals_are_luck_where_there_is_only_luck():
    games, teams, outcomes, _, truth = planted(25, error=2.0)
    found = playoff_residual(games, teams, outcomes, on_the_last_morning(truth, 0.0), draws=400)
    z2 = (found["z"] ** 2).groupby(found["season"]).mean()
    assert abs(z2.mean() - 1) < 4 * z2.std() / np.sqrt(len(z2)) and 0.7 < z2.mean() < 1.4
    known = found.dropna(subset=["by_place"])
    better = ((known["reached"] - known["by_place"]) ** 2 - known["residual"] ** 2).groupby(known["season"]).mean()
    assert better.mean() > 2 * better.std() / np.sqrt(len(better))  # strengths say more than places do
    wrong = playoff_residual(games, teams, outcomes, on_the_last_morning(truth, 0.0, -1), draws=200)
    assert (wrong["z"] ** 2).mean() > 2


def test_expectations_do_not_see_the_playoffs_or_later_seasons(league):
    games, teams, series = league
    out, ratings = playoff_outcomes(games, teams, series), on_the_last_morning(srs_ratings(games), 1.5)
    found = playoff_residual(games, teams, out, ratings, draws=200)
    assert np.isfinite(playoff_residual(games, teams, out, ratings, draws=3)["z"]).all()  # a team that got nowhere in any draw, too
    other = out.assign(reached=out["reached"].to_numpy()[::-1])
    again = playoff_residual(games, teams, other, ratings, draws=200)
    same = ["season", "team_id", "place", "points", "expected", "by_place", "spread"]
    pd.testing.assert_frame_equal(found[same], again[same])
    later = games.assign(home_points=games["home_points"].where(games["season"] == 2020, games["away_points"] + 5))
    changed = playoff_residual(later, teams, out, on_the_last_morning(srs_ratings(later), 1.5), draws=200)
    pd.testing.assert_frame_equal(found[found["season"] == 2020], changed[changed["season"] == 2020])


def box(seasons=("regular", "playoffs")):
    "Two teams, five players each, one game a part of the season; the first player of the first team scores more in the playoffs."
    rows, teams, games = [], [], []
    names = [*GAME_SCORE, "three_pointers", "three_point_attempts"]
    for number, kind in enumerate(seasons):
        game = f"004150000{number}"
        games.append({"game_id": game, "season": 2016, "season_type": kind})
        for side, team in enumerate((1610612737, 1610612738)):
            five = pd.DataFrame(dict.fromkeys(names, 4), index=range(5))
            five["points"] = [10, 10, 10, 10, 10]
            five.loc[0, "points"] += 15 * (kind == "playoffs") * (side == 0)
            five["game_score"] = five["points"].astype(float)
            five = five.assign(game_id=game, season=2016, team_id=team, player_id=100 * (side + 1) + five.index, seconds=2880.0,
                               offensive_possessions=100, defensive_possessions=100)
            rows.append(five)
            other = 50 + 15 * (kind == "playoffs") * (side == 1)
            teams.append({"game_id": game, "season": 2016, "team_id": team, "minutes": 48.0, "opponent_points": other, "possessions": 100,
                          "opponent_possessions": 100, **five[names].sum()})
    return pd.DataFrame(games), pd.concat(rows, ignore_index=True), pd.DataFrame(teams)


def test_contributions_from_box_scores():
    games, players, teams = box()
    names = pd.DataFrame({"player_id": [100], "name": ["A Star"]})
    found = playoff_contribution(games, players, teams, names=names)
    assert found.absent == {"raptor": "no file of RAPTOR"} and len(found.rows) == 10
    best = found.rows.iloc[0]
    assert best["player"] == "A Star" and best["game_score"] == 25 and best["minutes"] == 48 and best["possessions"] == 100
    assert best["value"] > best["regular_value"]
    assert np.isclose(best["points"], best["value"]) and np.isclose(best["above_replacement"], best["value"] + 2)  # in 100 possessions
    assert set(found.rows["player"]) >= {"101", "200"}
    nothing = playoff_contribution(*box(("regular",)))
    assert nothing.rows.empty and list(nothing.absent) == ["boxscores", "raptor"] and "1 games are there" in nothing.absent["boxscores"]


@real
def test_contributions_from_raptor():
    raptor = read_raptor(REAL / "raptor_by_team.csv").rows
    games, players, teams = box(("regular",))
    rows = playoff_contribution(games, players, teams, raptor).rows
    assert sorted(rows["season"].unique()) == list(range(2014, 2021)) and rows["source"].eq("raptor").all() and rows["points"].notna().all()
    with (REAL / "raptor_by_team.csv").open(encoding="utf-8") as file:
        published = {(r["player_name"], int(r["season"])): float(r["war_playoffs"]) for r in csv.DictReader(file)
                     if r["season_type"] == "PO" and r["war_playoffs"] not in ("", "NA")}
    wins = pd.Series(published).reindex(pd.MultiIndex.from_frame(rows[["player", "season"]])).to_numpy()
    known = np.isfinite(wins)
    assert known.mean() > 0.98 and np.corrcoef(rows.loc[known, "above_replacement"], wins[known])[0, 1] > 0.98  # FiveThirtyEight's wins
    assert rows.loc[rows["above_replacement"].idxmax(), "player"] in ("Anthony Davis", "Kawhi Leonard", "LeBron James")
