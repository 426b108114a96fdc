"""NBA results: malformed files and rows, and the real files where they are at hand (SPORTSML_RAW)."""
import csv
import io
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml.nba.franchises import teams_table
from sportsml.nba.results import build_results, read_game_results, read_playoff_series, read_team_records
from sportsml.sources import RawFileError
from sportsml.warehouse import Warehouse

GAMES = '''away,home,a.sc,h.sc,date,dateR,season\r
Phoenix Suns,Los Angeles Lakers,106,114,"Tue, Oct 31, 2006",2006-10-31,2007\r
Chicago Bulls,Miami Heat,108,66,"Tue, Oct 31, 2006",2006-10-31,2007\r
New Orleans/Oklahoma City Hornets,Boston Celtics,91,87,"Wed, Nov 1, 2006",39022,2007\r
Indiana Pacers,Charlotte Bobcats,106,99,"Wed, Nov 1, 2006",39022,2007\r
'''
RECORDS = '''\ufeffSeason,Lg,Team,W,L,W/L%,Finish,SRS,Pace,ORtg,DRtg,Playoffs
2017-18,NBA,Boston Celtics,29,10,0.744,1,4.38,95.4,108,102.8,
2016-17,NBA,Boston Celtics*,53,29,0.646,1,2.25,96.8,111.2,108.4,Lost E. Conf. Finals
1999-00,NBA,Los Angeles Lakers*,67,15,0.817,1,8.41,93.3,107.3,98.2,Won Finals
'''
SERIES = {  # the bracket of 2003: winner, loser, games; the winner is always at home here
    1: "NJN MIL 6, BOS IND 6, DET ORL 7, PHI NOH 6, SAS PHO 6, LAL MIN 6, DAL POR 7, SAC UTA 5",
    2: "NJN BOS 4, DET PHI 6, SAS LAL 6, DAL SAC 7",
    3: "NJN DET 4, SAS DAL 6",
    4: "SAS NJN 6",
}


SERIES_HEADER = "series_code,away,home,winner,avg_margin,games"


def series_lines() -> list[str]:
    "Returns the playoffs of 2003 as lines of the raw file, the Finals first, without the header."
    names, lines = teams_table([2003]).set_index("abbreviation")["name"], []
    for games in (g.split() for part in reversed(SERIES.values()) for g in part.split(", ")):
        home, away = (names[code] for code in games[:2])
        lines.append(f'"{away}_{home}_2003","{away}","{home}","{home}",4.5,{games[2]}')
    return lines


def series_file(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join([SERIES_HEADER, *lines]) + "\n")
    return path


CASES = [(read_game_results, GAMES, "h.sc"), (read_team_records, RECORDS, "Playoffs"),
         (read_playoff_series, "\n".join([SERIES_HEADER, *series_lines()]), "winner")]


@pytest.mark.parametrize("reader, text, column", CASES)
class TestUnusableFiles:
    def test_missing_column(self, tmp_path, reader, text, column):
        path = tmp_path / "x.csv"
        path.write_text(text.replace(column, "other", 1))
        with pytest.raises(RawFileError, match=f"x.csv.*{column}"):
            reader(path)

    @pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\r\n\n"])
    def test_empty_file(self, tmp_path, reader, text, column, content):
        (tmp_path / "x.csv").write_bytes(content)
        with pytest.raises(RawFileError, match="x.csv.*empty"):
            reader(tmp_path / "x.csv")

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_wrong_encoding(self, tmp_path, reader, text, column, encoding):
        (tmp_path / "x.csv").write_bytes((text.lstrip("\ufeff") + "Café").encode(encoding))
        with pytest.raises(RawFileError, match="x.csv.*UTF-8"):
            reader(tmp_path / "x.csv")

    def test_header_only(self, tmp_path, reader, text, column):
        (tmp_path / "x.csv").write_text(text.splitlines()[0] + "\n")
        loaded = reader(tmp_path / "x.csv")
        assert len(loaded.rows) == len(loaded.rejects) == 0


@pytest.mark.parametrize("old, new, reason", [
    ("106,114", "a lot,114", "a.sc: 'a lot' is not a score"),
    ("106,114", "106,-14", "h.sc: '-14' is not a score"),
    ("106,114", "106,", "h.sc: '' is not a score"),
    ("106,114", "106,11.5", "h.sc: '11.5' is not a score"),
    ("106,114", "106,May-14", "h.sc: 'May-14' is not a score"),
    ("106,114", "106,1140", "above"),
    ("106,114", "114,114", "tied score 114:114"),
    ("Los Angeles Lakers", "Los Angles Lakers", "'Los Angles Lakers' in season 2007; nearest name: Los Angeles Lakers"),
    ("Los Angeles Lakers", "Oklahoma City Thunder", "the franchise was called Seattle SuperSonics then"),
    ("Los Angeles Lakers", "Phoenix Suns", "plays against itself"),
    ("Los Angeles Lakers", "Miami Heat", ""),  # two games of Miami on a day: the later row is the duplicate
    ("Tue, Oct 31, 2006\",2006-10-31,2007", "Tue, Oct 31, 2006\",2006-10-31,2008", "season '2008' does not contain"),
    ("Tue, Oct 31, 2006", "Wed, Oct 31, 2006", "weekday and date agree"),
    ("Tue, Oct 31, 2006", "39021", "is not a day"),
    ("31,2007", "31,07-08", "is not a year"),
])
def test_bad_game(tmp_path, old, new, reason):
    (tmp_path / "g.csv").write_text(GAMES.replace(old, new, 1))
    loaded = read_game_results(tmp_path / "g.csv")
    assert len(loaded.rows) == 3 and len(loaded.rejects) == 1
    met = loaded.rejects.iloc[0]
    assert (met["table_name"], met["file"], met["line"]) == ("games", "g.csv", 2 if reason else 3)
    assert reason in met["reason"] and ("correct" in met["reason"] or "delete" in met["reason"])
    assert "Chicago Bulls" in met["content"] or "Phoenix Suns" in met["content"]


def test_duplicate_games(tmp_path):
    lines = GAMES.splitlines()
    swapped = 'Los Angeles Lakers,Phoenix Suns,114,106,"Tue, Oct 31, 2006",2006-10-31,2007'
    (tmp_path / "a.csv").write_text("\n".join([*lines, lines[1], swapped]))
    loaded = read_game_results(tmp_path / "a.csv")
    assert loaded.rejects["line"].tolist() == [6, 7] and loaded.rejects["reason"].str.contains("duplicate.*a.csv:2").all()
    (tmp_path / "b.csv").write_text("\n".join([lines[0], lines[3]]))
    loaded = read_game_results([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert len(loaded.rows) == 4 and loaded.rejects["file"].tolist() == ["a.csv", "a.csv", "b.csv"]


def test_bad_row_is_no_original(tmp_path):
    "A row that is set aside for its score does not make the corrected copy below it a duplicate."
    lines = GAMES.splitlines()
    (tmp_path / "g.csv").write_text("\n".join([lines[0], lines[1].replace("106", "x"), lines[1]]))
    assert read_game_results(tmp_path / "g.csv").rejects["line"].tolist() == [2]


def test_pandemic_seasons(tmp_path):
    rows = [("Fri, Aug 14, 2020", 2020, True), ("Fri, Aug 14, 2020", 2021, False), ("Tue, Oct 31, 2006", 2006, False),
            ("Tue, Dec 22, 2020", 2021, True), ("Fri, Nov 20, 2020", 2021, False), ("Sun, Jul 4, 2021", 2021, True)]
    text = "".join(f'Miami Heat,Boston Celtics,100,9{i},"{day}",,{season}\n' for i, (day, season, _) in enumerate(rows))
    (tmp_path / "g.csv").write_text("away,home,a.sc,h.sc,date,dateR,season\n" + text)
    assert read_game_results(tmp_path / "g.csv").rows["away_points"].size == 3
    assert read_game_results(tmp_path / "g.csv").rows["home_points"].tolist() == [90 + i for i, r in enumerate(rows) if r[2]]


def test_rounds_do_not_depend_on_the_order(tmp_path):
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", series_lines()))
    assert loaded.rows["round"].tolist() == [4] + [3] * 2 + [2] * 4 + [1] * 8 and loaded.rejects.empty
    assert (loaded.rows["home_wins"] == 4).all() and loaded.rows["away_wins"].tolist()[:3] == [2, 0, 2]


@pytest.mark.parametrize("gone", range(15))
def test_missing_series(tmp_path, gone):
    "Without one series the rounds of a season cannot be told; only the Finals may still be to come."
    lines = series_lines()
    del lines[gone]
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", lines))
    assert len(loaded.rows) == (14 if gone == 0 else 0) and len(loaded.rows) + len(loaded.rejects) == 14


@pytest.mark.parametrize("kept", [8, 12, 14])
def test_running_playoffs(tmp_path, kept):
    "A season of which only the first rounds have been played."
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", series_lines()[-kept:]))
    assert len(loaded.rows) == kept and loaded.rejects.empty


def test_no_first_round(tmp_path):
    assert read_playoff_series(series_file(tmp_path / "p.csv", series_lines()[:7])).rows.empty


@pytest.mark.parametrize("old, new, reason, good", [
    (",6", ",3", "best of seven", 14),
    (",6", ",six", "best of seven", 14),
    ("_2003", "_03", "series_code", 14),  # without the Finals the bracket holds
    ("San Antonio Spurs\",4.5", "Boston Celtics\",4.5", "neither of the two teams", 14),
    ("New Jersey Nets\",\"San", "New Jersey Devils\",\"San", "nearest name: New Jersey Nets", 14),
    ("New Jersey Nets\",\"San", "San Antonio Spurs\",\"San", "plays against itself", 14),
])
def test_bad_series(tmp_path, old, new, reason, good):
    lines = series_lines()
    lines[0] = lines[0].replace(old, new)
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", lines))
    assert len(loaded.rows) == good and loaded.rejects["line"].tolist() == [2] and reason in loaded.rejects["reason"][0]


@pytest.mark.parametrize("row", range(15))
def test_a_misspelt_loser_costs_one_series(tmp_path, row):
    lines = series_lines()
    away = lines[row].split('","')[1]
    lines[row] = lines[row].replace(f'"{away}"', '"Nobody"')
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", lines))
    expected = [4] + [3] * 2 + [2] * 4 + [1] * 8
    del expected[row]
    assert loaded.rows["round"].tolist() == expected and loaded.rejects["line"].tolist() == [row + 2]


@pytest.mark.parametrize("column", ["winner", "season"])
@pytest.mark.parametrize("row", range(1, 15))
def test_a_win_of_nobody_costs_the_season_and_the_others_say_why(tmp_path, row, column):
    lines = series_lines()
    home = lines[row].split('","')[2]
    lines[row] = lines[row].replace("_2003", "_03") if column == "season" else lines[row].replace(f'"{home}"', '"Nobody"')
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", lines))
    others = loaded.rejects[loaded.rejects["line"] != row + 2]
    assert loaded.rows.empty and len(others) == 14
    assert others["reason"].str.endswith(f"correct first what is set aside: p.csv:{row + 2}").all()


def test_bad_rows_that_hide_each_other_do_not_make_a_bracket(tmp_path):
    "The running playoffs of 2003 without two first rounds whose winners then met: 1 + 0 won series would be a first round."
    lines = [line for line in series_lines()[3:] if "Spurs" in line or "Lakers" in line]  # SAS-LAL, SAS-PHO, LAL-MIN
    bad = [lines[0], *(line.replace("_2003", "_03") for line in lines[1:])]
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", bad))
    assert len(lines) == 3 and loaded.rows.empty and "p.csv:3, p.csv:4" in loaded.rejects["reason"][0]
    assert read_playoff_series(series_file(tmp_path / "p.csv", lines)).rows["round"].tolist() == [2, 1, 1]


def test_a_bad_season_leaves_the_others_alone(tmp_path):
    other = [line.replace("_2003", "_2004") for line in series_lines()]
    other[3] = other[3].replace("_2004", "_04")
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", [*series_lines(), *other]))
    assert loaded.rows["season"].tolist() == [2003] * 15 and len(loaded.rejects) == 15


def test_series_given_twice(tmp_path):
    lines = series_lines()
    loaded = read_playoff_series(series_file(tmp_path / "p.csv", [*lines, lines[3], lines[0]]))
    assert len(loaded.rows) == 15 and loaded.rejects["line"].tolist() == [17, 18]
    assert loaded.rejects["reason"].str.startswith("duplicate").all()


@pytest.mark.parametrize("old, new, reason", [
    ("2016-17", "2016-18", "not a season like"), ("2016-17", "2017", "not a season like"),
    ("Boston Celtics*", "Boston Braves*", "unknown team 'Boston Braves'"), ("53,29", "fifty,29", "W: 'fifty'"),
    ("53,29", "53,", "L: ''"), ("53,29", "95,29", "wins"), ("2.25", "good", "srs"), ("96.8", "9.68", "pace"),
    ("2016-17", "2017-18", "duplicate"), ("2016-17", "1945-46", "did not play then"),
])
def test_bad_record(tmp_path, old, new, reason):
    (tmp_path / "r.csv").write_text(RECORDS.replace(old, new), encoding="utf-8")
    loaded = read_team_records(tmp_path / "r.csv")
    assert len(loaded.rows) == 2 and loaded.rejects["line"].tolist() == [3] and reason in loaded.rejects["reason"][0]


nasty = ["", "x_2003", "x_9999", "-1", "1e3", "9" * 30, "NaN", "Boston Celtics", "*", "2007", "2099", "1900-01", '"', "\x00",
         "Tue, Oct 31, 2006", "Fri, Dec 31, 9999", "Mon, Jan 1, 0001"]
cell = st.one_of(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12), st.sampled_from(nasty))


@pytest.mark.parametrize("reader, text, column", CASES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_cell_may_be_bad(tmp_path_factory, reader, text, column, data):
    "Whatever stands in the cells, rows in = good rows + rejects, and nothing is raised."
    header, *rows = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    for _ in range(data.draw(st.integers(0, 6))):
        row = data.draw(st.integers(0, len(rows) - 1))
        if data.draw(st.integers(0, 9)):
            rows[row][data.draw(st.integers(0, len(header) - 1)) % len(rows[row])] = data.draw(cell)
        else:
            rows[row] = rows[row][:-1] + ["a", "b"]
    path = tmp_path_factory.mktemp("fuzz") / "x.csv"
    quoted = [",".join('"' + c.replace('"', '""') + '"' for c in row) for row in [header, *rows]]
    path.write_text("\n".join(quoted) + "\n", encoding="utf-8")
    loaded = reader(path)
    assert len(loaded.rows) + len(loaded.rejects) == len(rows)
    assert (loaded.rejects["reason"].str.len() > 10).all() and loaded.rejects["line"].between(2, 200).all()


def test_build_says_what_is_missing(tmp_path):
    (tmp_path / "nba").mkdir()
    (tmp_path / "nba" / "game_results.csv").write_text(GAMES.replace("106,114", "x,114"))
    with Warehouse(tmp_path / "w.duckdb") as warehouse:
        summary = build_results(tmp_path, warehouse, "real", progress=False).set_index("table")
        assert summary.loc["games", ["rows", "rejected", "seasons"]].tolist() == [3, 1, "2007"]
        assert summary.loc["team_records", "files"] == "no Team_Records.csv"
        assert len(warehouse.read("teams", season=2007)) == 30 and len(warehouse.rejects("games")) == 1
        assert "game_results.csv" in str(warehouse.provenance().query("table_name == 'games'")["file"].iloc[0])
        (tmp_path / "nba" / "game_results.csv").write_text(GAMES.splitlines()[0])
        with pytest.raises(RawFileError, match="game_results.csv: not one row can be used .no rows"):
            build_results(tmp_path, warehouse, "real")
        (tmp_path / "nba" / "game_results.csv").write_text(GAMES)
        series_file(tmp_path / "nba" / "playoff_series_2003.csv", series_lines()[:3])
        with pytest.raises(RawFileError, match="playoff_series_2003.csv: not one row can be used .3 bad rows.*bracket"):
            build_results(tmp_path, warehouse, "real")
        assert len(warehouse.read("games")) == 3


# ---- the real files ----

real = pytest.mark.skipif(not (Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba" / "game_results.csv").exists(),
                          reason="SPORTSML_RAW does not hold the real NBA files")


@pytest.fixture(scope="module")
def loaded():
    folder = Path(os.environ["SPORTSML_RAW"]) / "nba"
    return {"games": read_game_results(folder / "game_results.csv"), "records": read_team_records(folder / "Team_Records.csv"),
            "series": read_playoff_series(sorted(folder.glob("playoff_series_*.csv")))}


@real
def test_real_rows(loaded):
    assert {k: len(v.rejects) for k, v in loaded.items()} == {"games": 0, "records": 0, "series": 0}
    assert {k: len(v.rows) for k, v in loaded.items()} == {"games": 12299, "records": 1483, "series": 255}
    records = loaded["records"].rows
    assert records.loc[~records["complete"], "season"].unique().tolist() == [2018]


@real
def test_real_wins_agree(loaded):
    "Wins and losses counted from the games are those of the records."
    games, records = loaded["games"].rows, loaded["records"].rows
    home_won = games["home_points"] > games["away_points"]
    winner, loser = games["home_id"].where(home_won, games["away_id"]), games["away_id"].where(home_won, games["home_id"])
    counted = pd.concat([games.groupby(["season", side.rename("team_id")]).size().rename(name)
                         for side, name in ((winner, "wins"), (loser, "losses"))], axis=1).fillna(0).astype(int)
    published = records[records["complete"]].set_index(["season", "team_id"])[["wins", "losses"]]
    published = published.loc[counted.index]  # every team-season of the games is there
    assert len(counted) == 300 and (counted == published).all(axis=None)


@real
def test_real_brackets(loaded):
    "8/4/2/1 series a season, and the rounds are those that the records tell."
    series, records = loaded["series"].rows, loaded["records"].rows
    assert (series.groupby(["season", "round"]).size().unstack() == [8, 4, 2, 1]).all(axis=None)
    out = series["home_id"].where(series["winner_id"] == series["away_id"], series["away_id"])
    told = series[["season", "round"]].assign(team_id=out).merge(records[records["complete"]])
    assert len(told) == 15 * 15  # 2003 .. 2017
    names = {1: r"Lost [EW]. Conf. 1st Rnd.", 2: r"Lost [EW]. Conf. Semis", 3: r"Lost [EW]. Conf. Finals", 4: "Lost Finals"}
    assert all(told.loc[told["round"] == n, "playoff_result"].str.fullmatch(text).all() for n, text in names.items())
    champions = series[series["round"] == 4].merge(records[records["complete"]],
                                                   left_on=["season", "winner_id"], right_on=["season", "team_id"])
    assert (champions["playoff_result"] == "Won Finals").all() and len(champions) == 15


@real
def test_real_divisions(loaded):
    "Nobody finished ahead of a better team of his division (column Finish); conferences fit the playoff results."
    path = next(f for f in loaded["records"].files)
    raw = pd.read_csv(path, encoding="utf-8-sig")
    raw = raw.assign(season=raw["Season"].str[:4].astype(int) + 1, name=raw["Team"].str.rstrip("*"))
    raw = raw.merge(teams_table(raw["season"].unique()), on=["season", "name"])
    assert len(raw) == 1483
    best = raw.sort_values("Finish").groupby(["season", "division"])["W/L%"].cummin()
    assert (raw["W/L%"].loc[best.index] <= best + 1e-9).all()
    side = raw["Playoffs"].str.extract(r"\b([EW])\. (?:Conf|Div)")[0]
    assert (side == raw["conference"])[side.notna()].all()
