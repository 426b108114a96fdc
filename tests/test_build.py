"""From raw files to tables: what is there is used, what is refused is listed with file and line, what is gone leaves empty tables."""
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_games import CELTICS, HAWKS, lines, make_game, write
from test_playbyplay import archive_of, v3_lines

from sportsml.core import SportsmlError
from sportsml.nba.build import build_nba, read_injuries
from sportsml.sources import RawFileError
from sportsml.warehouse import Warehouse

FROM_PLAYS = ["players", "play_games", "plays", "stints", "possessions", "player_game_stats", "team_game_stats", "season_stats",
              "lineup_spacing", "player_rapm"]
SEASON, GAMES = 20, 5  # with fewer than 20 games nobody is rated


def game(n):
    return make_game(n, seconds=300)


def day(n) -> pd.Timestamp:
    return pd.Timestamp("2015-10-27") + pd.Timedelta(days=3 * n)


def write_results(raw: Path, seeds) -> None:
    rows = [f'Boston Celtics,Atlanta Hawks,{game(n).score[1]},{game(n).score[0]},"{day(n):%a, %b} {day(n).day}, {day(n).year}",2016'
            for n in seeds]
    path = raw / "nba" / "game_results.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("away,home,a.sc,h.sc,date,season\n" + "\n".join(rows) + "\n")


def plays_file(raw: Path, n: int) -> Path:
    return raw / "nba" / "pbp" / f"{game(n).game_id}.csv"


def false_substitution(n):
    """The rows of a game in which somebody goes out twice in a row, and where the second time stands."""
    rows = game(n).rows
    at = next(i for i, row in enumerate(rows) if row["EVENTMSGTYPE"] == "8") + 1
    return [*rows[:at], rows[at - 1] | {"EVENTNUM": "9999"}, *rows[at:]], at


def raw_folder(raw: Path, games: int) -> Path:
    """Results, short games, injury reports of two days."""
    write_results(raw, range(games))
    for n in range(games):
        write(plays_file(raw, n), game(n).rows)
    reports = raw / "nba" / "injury_reports"
    reports.mkdir()
    for date in ("2015-10-30", "2015-11-02"):
        out = [{"player_id": 1009, "team_id": HAWKS, "status": "Out"}, {"player_id": 2009, "team_id": CELTICS, "status": "Out"}]
        (reports / f"{date}.json").write_text(json.dumps({"date": date, "injuries": out}))
    return raw


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A raw folder and the warehouse built from it; every test has copies of both."""
    home = tmp_path_factory.mktemp("built")
    raw_folder(home / "raw", GAMES)
    with Warehouse(home / "nba.duckdb") as warehouse:
        build(home / "raw", warehouse)
    return home


@pytest.fixture
def raw(built, tmp_path):
    return Path(shutil.copytree(built / "raw", tmp_path / "raw"))


@pytest.fixture
def warehouse(built, tmp_path):
    with Warehouse(shutil.copy(built / "nba.duckdb", tmp_path)) as found:
        yield found


def build(raw, warehouse) -> pd.DataFrame:
    return build_nba(raw, warehouse, "simulated", progress=False).set_index("table")


def test_every_table_is_filled(tmp_path, warehouse):
    raw = raw_folder(tmp_path / "raw", SEASON)
    summary = build(raw, warehouse)
    assert (summary.loc[FROM_PLAYS, "rows"] > 0).all() and (summary["rejected"] == 0).all()
    games = warehouse.read("play_games").sort_values("game_id", ignore_index=True)
    assert games["game_id"].tolist() == [game(n).game_id for n in range(SEASON)]
    assert games["date"].tolist() == [day(n) for n in range(SEASON)]  # found in the results by score
    assert games["results_id"].tolist() == [f"{day(n):%Y%m%d}0ATL" for n in range(SEASON)]
    assert games[["home_points", "away_points"]].values.tolist() == [game(n).score for n in range(SEASON)]
    plays, stints, possessions = (warehouse.read(name) for name in ("plays", "stints", "possessions"))
    assert len(plays) == sum(len(game(n).rows) for n in range(SEASON)) == (stints["last_order"] - stints["first_order"] + 1).sum()
    points = sum(sum(game(n).score) for n in range(SEASON))
    assert possessions[["points", "defense_points"]].sum().sum() == plays["points"].sum() == points
    minutes = warehouse.read("player_game_stats").groupby("game_id")["seconds"].sum()
    assert (minutes == 10 * 60 * (48 + 5 * (games.set_index("game_id")["periods"] - 4))).all()
    assert len(warehouse.read("injuries")) == 4 and warehouse.read("shots").empty
    assert set(warehouse.provenance().query("table_name == 'plays'")["file"].map(lambda f: Path(f).name)) == {
        plays_file(raw, n).name for n in range(SEASON)}


def test_refused_games_are_listed_with_file_and_line(raw, warehouse):
    """One by the reader, one by the lineups, one row that was set aside: the other games are as they were, with or without a result."""
    write_results(raw, range(4))
    before = warehouse.read("stints")
    rows = game(1).rows
    basket = next(i for i, row in enumerate(rows) if row["EVENTMSGTYPE"] == "1")
    write(plays_file(raw, 1), rows[:basket] + rows[basket + 1:])
    false, at = false_substitution(2)
    write(plays_file(raw, 2), false)
    rows = [dict(row) for row in game(3).rows]
    rows[-1]["PLAYER2_ID"] = "x"
    rows.append(game(3).rows[-1] | {"EVENTNUM": "9999"})
    write(plays_file(raw, 3), rows)
    summary = build(raw, warehouse)
    assert summary.loc[["plays", "stints", "play_games"], "rejected"].tolist() == [2, 1, 0]
    assert summary.loc["play_games", "rows"] == GAMES - 2
    told = warehouse.rejects().sort_values("file", ignore_index=True)
    assert told["file"].tolist() == [plays_file(raw, n).name for n in (1, 2, 3)] and told["line"].gt(1).all()
    assert told["reason"][0].startswith(f"game {game(1).game_id} refused: the events add up to")
    assert told["reason"][1].startswith(f"game {game(2).game_id} refused: in period 1 a player of team 16106127")
    assert told["reason"][2].startswith("PLAYER2_ID: x is not an id") and told["line"][2] == len(rows)
    assert told["line"][1] == at + 2 and "SUB: " in told["content"][1]
    games, gone = warehouse.read("play_games"), [game(n).game_id for n in (1, 2)]
    assert games.set_index("game_id")["date"].sort_index().tolist() == [day(0), day(3), pd.NaT]
    assert (summary.loc[FROM_PLAYS[:-1], "rows"] > 0).all()
    kept = warehouse.read("stints")
    pd.testing.assert_frame_equal(kept, before[~before["game_id"].isin(gone)].reset_index(drop=True))
    for name in FROM_PLAYS:
        table = warehouse.read(name)
        assert "game_id" not in table or not set(table["game_id"]) & set(gone), name


def test_tables_are_empty_again_when_files_are_removed(raw, warehouse):
    for path in [*(raw / "nba" / "pbp").iterdir(), *(raw / "nba" / "injury_reports").iterdir()]:
        path.unlink()
    summary = build(raw, warehouse)
    assert (summary.loc[[*FROM_PLAYS, "injuries", "shots"], "rows"] == 0).all() and summary.loc["games", "rows"] == GAMES
    assert all(warehouse.read(name).empty for name in (*FROM_PLAYS, "injuries", "rejects"))
    assert warehouse.provenance().query("table_name == 'plays'")["rows"].sum() == 0


def test_the_same_files_build_the_same_tables(raw, warehouse):
    """Also with minutes of box scores, where nothing is in doubt; and bad minutes are an error that names file and line."""
    first = {name: warehouse.read(name) for name in FROM_PLAYS}
    folder = raw / "nba" / "boxscores"
    folder.mkdir()
    (folder / "a.csv").write_text("GAME_ID,PLAYER_ID,MIN\n0021500001,1001,30:00\n")
    build(raw, warehouse)
    for name, frame in first.items():
        pd.testing.assert_frame_equal(warehouse.read(name), frame)
    (folder / "b.csv").write_text("GAME_ID,PLAYER_ID,MIN\n0021500002,1001,30:00\n0021500002,1002,half\n")
    with pytest.raises(SportsmlError, match="b.csv:3: MIN 'half'"):
        build(raw, warehouse)


def test_files_of_every_form_in_their_places(raw, warehouse):
    """Some games as v2 files, one as v3 under the name of a v2 file, some in an archive, one of them twice."""
    wanted = warehouse.read("play_games")
    folder = raw / "nba"
    (folder / "archives").mkdir()
    (folder / "pbp_v3").mkdir()
    packed = [row for n in range(2, GAMES) for row in game(n).rows]
    archive_of(folder / "archives" / "nbastats_2015.tar.xz", nbastats_2015=("\n".join(lines(packed)) + "\n").encode())
    for n in (1, 3, 4):
        plays_file(raw, n).unlink()
    (folder / "pbp_v3" / plays_file(raw, 0).name).write_text("\n".join(v3_lines(game(1).rows)) + "\n")
    build(raw, warehouse)
    found = warehouse.read("play_games").sort_values("game_id", ignore_index=True)
    pd.testing.assert_frame_equal(found, wanted.sort_values("game_id", ignore_index=True))
    assert warehouse.rejects("plays")["file"].tolist() == ["nbastats_2015.tar.xz:nbastats_2015.csv"]
    assert "stands in 0021500002.csv too" in warehouse.rejects("plays")["reason"].item()


def test_no_game_is_whole(raw, warehouse):
    """An error that names file and line; what was built before stays."""
    for n in range(GAMES):
        write(plays_file(raw, n), game(n).rows[:60])
    with pytest.raises(RawFileError, match=r"not one whole game in 5 files; the first reason: 0021500000.csv:\d+: game \d+ refused"):
        build(raw, warehouse)
    assert len(warehouse.read("play_games")) == GAMES


def test_no_game_holds_together(raw, warehouse):
    for n in range(GAMES):
        write(plays_file(raw, n), false_substitution(n)[0])
    with pytest.raises(SportsmlError, match="holds together"):
        build(raw, warehouse)


@pytest.mark.parametrize("text, reason", [
    ("", "not an injury report"), ("{", "not an injury report"), ("[]", "not an injury report"), ('{"date": "2015-10-30"}', "injuries"),
    ('{"date": "someday", "injuries": [{"player_id": 1, "team_id": 1610612737, "status": "Out"}]}', "date"),
    ('{"date": "2015-10-30", "injuries": [{"player_id": null, "team_id": 1610612737, "status": "Out"}]}', "player_id"),
    ('{"date": "2015-10-30", "injuries": [{"player_id": 5, "team_id": 17, "status": "Out"}]}', "team_id"),
    ('{"date": "2015-10-30", "injuries": ["nobody"]}', "not an injury report"), ('{"date": 5, "injuries": 7}', "not an injury report"),
    ("\ufffe\x00", "not an injury report"),
])
def test_a_bad_injury_report(raw, text, reason):
    """It is one reject that names its file; the others count."""
    folder = raw / "nba" / "injury_reports"
    (folder / "2015-12-01.json").write_text(text)
    found = read_injuries(sorted(folder.glob("*.json")))
    assert len(found.rows) == 4 and found.rejects["file"].tolist() == ["2015-12-01.json"] and reason in found.rejects["reason"][0]
    assert read_injuries([]).rows.empty


REAL = Path(os.environ.get("SPORTSML_RAW", "/nowhere"))


@pytest.mark.skipif(not (REAL / "nba" / "pbp").exists(), reason="SPORTSML_RAW does not hold the real files")
def test_real_build(warehouse):
    """All games are dated, nothing is set aside."""
    summary = build_nba(REAL, warehouse, "real", progress=False).set_index("table")
    games = warehouse.read("play_games")
    assert len(games) == 491 and games["date"].notna().all() and games["results_id"].is_unique
    assert games.sort_values("game_id")["date"].is_monotonic_increasing
    assert (summary.loc[[*FROM_PLAYS, "injuries"], "rows"] > 0).all() and (summary.loc[FROM_PLAYS, "rejected"] == 0).all()
    results = warehouse.read("games", season=2016).merge(games, left_on="game_id", right_on="results_id")
    assert (results["home_points_x"] == results["home_points_y"]).all() and (results["away_id_x"] == results["away_id_y"]).all()
