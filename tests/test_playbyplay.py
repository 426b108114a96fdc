"""Play-by-play files as they come: other forms of the same rows, damaged ones, and rows that are lost, doubled, moved or wrong.

Every test runs on games made by `made_games`, and on real ones where SPORTSML_RAW has them. A game is read right, or refused with file
and line: never a silently different score, and never at the cost of another game.
"""
import csv
import io
import os
import random
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_games import lines, make_game, write
from test_playbyplay_v3 import to_v3

from sportsml.core import SportsmlError
from sportsml.nba.lineups import build_lineups
from sportsml.nba.playbyplay import read_playbyplay
from sportsml.sources import RawFileError

FOLDER = Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba" / "pbp"
real = pytest.mark.skipif(not FOLDER.exists(), reason="SPORTSML_RAW does not hold the real play-by-play")
sources = pytest.mark.parametrize("source", ["made", pytest.param("real", marks=real)])
GAMES = 3


@cache
def rows_of(source: str) -> list[list[dict]]:
    """Three games, the third one with overtime."""
    if source == "made":
        return [make_game(n, tied=n == 3, seconds=200).rows for n in (1, 2, 3)]
    names = sorted(FOLDER.glob("*.csv"))
    games = [list(csv.DictReader(io.StringIO(p.read_text(encoding="utf-8")))) for p in names[:40]]
    overtime = next(g for g in games if g[-1]["PERIOD"] == "5")
    return [*[g for g in games if g is not overtime][:2], overtime]


def renamed(rows: list[dict], game_id: str) -> list[dict]:
    return [row | {"GAME_ID": game_id} for row in rows]


def read(folder: Path, **files: list[dict] | list[str] | bytes):
    """Writes files (rows, lines, or bytes) and reads the folder."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        if isinstance(content, list):
            content = "\n".join(lines(content) if isinstance(content[0], dict) else content) + "\n"
        (folder / f"{name}.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_playbyplay(folder, progress=False)


def of(found, game_id: str) -> pd.DataFrame:
    return found.plays[found.plays["game_id"] == game_id].astype({"game_id": str, "event": str, "kind": str}).reset_index(drop=True)


def same_games(found, wanted, but: str = "") -> None:
    """Asserts that both readings hold the same plays of the same games, apart from one."""
    for game_id in set(wanted.games["game_id"]) | set(found.games["game_id"]):
        if game_id != but:
            assert of(found, game_id).equals(of(wanted, game_id)), game_id


def score(found, game_id: str) -> list[int] | None:
    row = found.games.loc[found.games["game_id"] == game_id, ["away_points", "home_points"]]
    return row.iloc[0].tolist() if len(row) else None


def final(rows: list[dict]) -> list[int]:
    return [int(n) for n in next(r["SCORE"] for r in reversed(rows) if r["SCORE"]).split(" - ")]


def all_said(found, files: dict[str, int]) -> None:
    """Asserts that every reject names a file, a line in it, and a reason; `files` tells the number of lines."""
    for r in found.rejects.itertuples():
        assert r.file in files and 1 <= r.line <= files[r.file] and len(r.reason) > 20, r


@cache
def whole_text(source: str, game: int) -> bytes:
    return ("\n".join(lines(rows_of(source)[game])) + "\n").encode()


@cache
def readings(source: str):
    """The undamaged games."""
    with tempfile.TemporaryDirectory() as d:
        return read(Path(d), **{f"g{i}": rows for i, rows in enumerate(rows_of(source))})


# ---- the same rows in another form


def index_column(text):
    first, *rest = text
    return ["," + first, *(f"{i},{line}" for i, line in enumerate(rest))]


def quoted_all(text):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(csv.reader(text))
    return out.getvalue().splitlines()


def columns_turned(text):
    return [",".join(reversed(line)) for line in csv.reader(text)]


def only_needed(text):
    table = list(csv.DictReader(text))
    drop = ("CITY", "NICKNAME", "ABBREVIATION", "WCTIMESTRING", "SCOREMARGIN", "PERSON2TYPE", "PERSON3TYPE")
    return lines([{k: v for k, v in row.items() if not k.endswith(drop)} for row in table])


FORMS = {
    "plain": lambda t: "\n".join(t) + "\n",
    "CRLF": lambda t: "\r\n".join(t) + "\r\n",
    "CR": lambda t: "\r".join(t) + "\r",
    "BOM": lambda t: "\ufeff" + "\n".join(t) + "\n",
    "BOM, CRLF and index": lambda t: "\ufeff" + "\r\n".join(index_column(t)) + "\r\n",
    "index": lambda t: "\n".join(index_column(t)) + "\n",
    "named index": lambda t: "Unnamed: 0" + "\n".join(index_column(t)) + "\n",
    "blank line at the end": lambda t: "\n".join(t) + "\n\n",
    "blank lines before and within": lambda t: "\n" + "\n\n".join(t) + "\n",
    "no line end": lambda t: "\n".join(t),
    "one quoted cell": lambda t: "\n".join([*t[:5], f'"{t[5][:10]}"{t[5][10:]}', *t[6:]]) + "\n",
    "all quoted": lambda t: "\n".join(quoted_all(t)) + "\n",
    "columns turned": lambda t: "\n".join(columns_turned(t)) + "\n",
    "needed columns only": lambda t: "\n".join(only_needed(t)) + "\n",
    "integer game ids": lambda t: "\n".join(line.removeprefix("00") for line in t) + "\n",
    "float game ids": lambda t: "\n".join(f"{line[2:10]}.0{line[10:]}" if line[0] == "0" else line for line in t) + "\n",
}


@sources
@pytest.mark.parametrize("form", FORMS)
def test_one_form_is_as_good_as_another(tmp_path, source, form):
    """The quick way of reading and the careful one give the same rows, also where a folder mixes both."""
    texts = [lines(rows) for rows in rows_of(source)]
    wanted = readings(source)
    for chosen in ((0, 1, 2), (1,)):
        found = read(tmp_path, **{f"g{i}": FORMS[form if i in chosen else "plain"](t) for i, t in enumerate(texts)})
        pd.testing.assert_frame_equal(found.plays, wanted.plays)
        pd.testing.assert_frame_equal(found.games, wanted.games)
        pd.testing.assert_frame_equal(found.players, wanted.players)
        assert found.rejects.empty


def float_cells(rows):
    """Every number as a spreadsheet or pandas may write it: with a decimal point."""
    numbers = ("EVENTNUM", "EVENTMSGTYPE", "EVENTMSGACTIONTYPE", "PERIOD", "PLAYER1_ID", "PLAYER2_ID", "PLAYER3_ID")
    return [row | {c: f"{row[c]}.0" for c in numbers if row[c]} for row in rows]


@sources
def test_ids_and_numbers_may_be_floats(tmp_path, source):
    found = read(tmp_path, **{f"g{i}": float_cells(rows) for i, rows in enumerate(rows_of(source))})
    pd.testing.assert_frame_equal(found.plays, readings(source).plays)


@sources
def test_games_in_one_file_in_turns_or_in_archives(tmp_path, source):
    """One file with all games, their rows in turns; and a packed one. Games come in the order of their first rows."""
    texts, wanted = [lines(rows) for rows in rows_of(source)], readings(source)
    longest = max(map(len, texts))
    turns = [texts[0][0], *(t[i] for i in range(1, longest) for t in texts if i < len(t))]
    found = read(tmp_path / "turns", all=turns)
    pd.testing.assert_frame_equal(found.plays, wanted.plays)
    assert str(build_lineups(found.games, found.plays)) == str(build_lineups(wanted.games, wanted.plays))
    assert found.places["_line"].is_monotonic_increasing is False and found.places.groupby(found.plays["game_id"].astype(str))[
        "_line"].is_monotonic_increasing.all()
    with tarfile.open(tmp_path / "season.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "turns" / "all.csv", "deep/season.csv")
    packed = read_playbyplay(tmp_path / "season.tar.xz", progress=False)
    pd.testing.assert_frame_equal(packed.plays, wanted.plays)


def test_which_line_each_play_stands_in(tmp_path):
    """Whichever way a file is read."""
    text = lines(rows_of("made")[0])
    for form in ("plain", "one quoted cell", "BOM, CRLF and index"):
        found = read(tmp_path, a=FORMS[form](text))
        assert found.places["_line"].tolist() == list(range(2, len(text) + 1)) and set(found.places["_file"]) == {"a.csv"}
    found = read(tmp_path, a=FORMS["blank lines before and within"](text))
    assert found.places["_line"].tolist() == list(range(4, 2 * len(text) + 1, 2))


# ---- archives and files that cannot be used


def archive_of(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(f"{name}.csv")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


DAMAGES = {
    "cut": lambda b: b[:len(b) // 2],
    "overwritten": lambda b: b[:len(b) // 2] + b"\0" * 20 + b[len(b) // 2 + 20:],
    "a web page": lambda b: b"<!DOCTYPE html><html><body>Not Found</body></html>",
    "empty": lambda b: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive(tmp_path, damage):
    """Alone it is an error that names it; beside usable files it is one reject."""
    a, b, _ = ("\n".join(lines(rows)).encode() for rows in rows_of("made"))
    whole = archive_of(tmp_path / "nbastats_2015.tar.xz", nbastats_2015=a)
    assert len(read_playbyplay(whole, progress=False).games) == 1
    broken = tmp_path / "nbastats_2016.tar.xz"
    broken.write_bytes(DAMAGES[damage](archive_of(tmp_path / "x.tar.xz", nbastats_2016=b).read_bytes()))
    with pytest.raises(RawFileError, match="nbastats_2016.tar.xz: not a whole tar.xz archive.*fetch it again"):
        read_playbyplay(broken, progress=False)
    found = read_playbyplay([broken, whole], progress=False)
    assert len(found.games) == 1 and found.rejects["file"].tolist() == ["nbastats_2016.tar.xz"]


def test_an_archive_cut_anywhere(tmp_path):
    """Its rows are all there, or it is an error."""
    rows = rows_of("made")[0]
    data = archive_of(tmp_path / "x.tar.xz", season="\n".join(lines(rows)).encode()).read_bytes()
    refused = 0
    for cut in (*range(0, len(data), len(data) // 8), *range(len(data) - 100, len(data), 9)):
        (tmp_path / "cut.tar.xz").write_bytes(data[:cut])
        try:
            assert len(read_playbyplay(tmp_path / "cut.tar.xz", progress=False).plays) == len(rows)
        except RawFileError as e:
            refused += "cut.tar.xz" in str(e)
    assert refused >= 8


def test_an_archive_without_files(tmp_path):
    with pytest.raises(RawFileError, match="empty.tar.xz"):
        read_playbyplay(archive_of(tmp_path / "empty.tar.xz"), progress=False)


@pytest.mark.parametrize("content, reason", [
    (b"", "empty"), (b"\n\n", "empty"), (b"GAME_ID;EVENTNUM\n1;2\n", "separated by commas"), (b"a,b\n1,2\n", "missing columns GAME_ID"),
    ("Dončić,GAME_ID\n".encode("utf-16"), "UTF-16"), (b"\xe9t\xe9,b\n", "not UTF-8"), (b"<html>\n", "missing columns"),
])
def test_a_file_that_is_no_play_by_play(tmp_path, content, reason):
    with pytest.raises(RawFileError, match=f"bad.csv.*{reason}"):
        read(tmp_path, bad=content)
    found = read(tmp_path, good=rows_of("made")[0])
    assert len(found.games) == 1 and found.rejects["file"].tolist() == ["bad.csv"] and reason in found.rejects["reason"][0]


@pytest.mark.parametrize("column", ["GAME_ID", "EVENTMSGTYPE", "PCTIMESTRING", "SCORE", "PLAYER3_ID", "PLAYER1_TEAM_ID"])
def test_a_missing_column(tmp_path, column):
    bad = [{k: v for k, v in row.items() if k != column} for row in rows_of("made")[0]]
    with pytest.raises(RawFileError, match=f"bad.csv:1: missing column {column}.*restore the header"):
        read(tmp_path, bad=bad)
    found = read(tmp_path, bad=bad, good=rows_of("made")[1])
    assert found.games["game_id"].tolist() == ["0021500002"] and f"missing column {column}" in found.rejects["reason"].item()


def test_a_header_without_rows_is_told(tmp_path):
    header = lines(rows_of("made")[0])[0]
    with pytest.raises(RawFileError, match="not one whole game.*bare.csv:1: the file has no rows"):
        read(tmp_path, bare=[header])
    found = read(tmp_path, good=rows_of("made")[0])
    assert found.rejects["file"].tolist() == ["bare.csv"] and len(found.games) == 1


def test_nothing_to_read(tmp_path):
    with pytest.raises(RawFileError, match="no CSV file to read.*import"):
        read_playbyplay(tmp_path, progress=False)
    with pytest.raises(RawFileError, match="nowhere.csv: cannot be read"):
        read_playbyplay(tmp_path / "nowhere.csv", progress=False)


# ---- the same game twice


@sources
def test_a_game_in_two_files(tmp_path, source):
    """The one that is read first counts, the other is one reject."""
    rows, wanted = rows_of(source), readings(source)
    found = read(tmp_path, g0=rows[0], g1=rows[1], g2=rows[2], late=rows[1])
    same_games(found, wanted)
    assert found.rejects["file"].tolist() == ["late.csv"] and found.rejects["line"].tolist() == [2]
    assert "stands in g1.csv too" in found.rejects["reason"][0]


def test_a_game_in_files_of_one_name(tmp_path):
    """In two folders, and as a member of an archive; the rows do not mix."""
    rows = rows_of("made")
    paths = [write(tmp_path / "old" / "a.csv", rows[0]), write(tmp_path / "new" / "a.csv", rows[0]),
             archive_of(tmp_path / "a.tar.xz", a="\n".join(lines(rows[0] + rows[1])).encode())]
    found = read_playbyplay(paths, progress=False)
    assert len(found.plays) == len(rows[0]) + len(rows[1])
    assert found.rejects["file"].tolist() == ["new/a.csv", "a.tar.xz:a.csv"]


@sources
def test_a_game_that_stands_twice_in_its_file(tmp_path, source):
    """Concatenated by accident, or row by row: every event counts once, each other one is a reject with its line."""
    rows, wanted = rows_of(source), readings(source)
    for doubled in (rows[0] + rows[0], [r for row in rows[0] for r in (row, row)]):
        found = read(tmp_path, g0=doubled, g1=rows[1], g2=rows[2])
        same_games(found, wanted)
        assert len(found.rejects) == len(rows[0]) and found.rejects["reason"].str.contains("stands in the file already").all()
        all_said(found, {"g0.csv": len(doubled) + 1})


def v3_lines(rows: list[dict]) -> list[str]:
    return to_v3(pl.DataFrame([{k: v or None for k, v in row.items()} for row in rows], infer_schema_length=None)).write_csv().splitlines()


@pytest.mark.parametrize("quote", [False, True])
def test_both_schemas_side_by_side(tmp_path, quote):
    """One game as v2, another as v3 in a file of the same name; and a third game in both schemas, of which v2 counts."""
    a, b, c = rows_of("made")
    new = {"x": v3_lines(b), "y": v3_lines(c)}
    new = {name: quoted_all(text) if quote else text for name, text in new.items()}
    paths = [write(tmp_path / "pbp" / "x.csv", a), write(tmp_path / "pbp" / "y.csv", c)]
    for name, text in new.items():
        paths.append(tmp_path / "pbp_v3" / f"{name}.csv")
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_text("\n".join(text) + "\n")
    found, wanted = read_playbyplay(paths, progress=False), readings("made")
    assert sorted(found.games["game_id"]) == sorted(wanted.games["game_id"])
    pd.testing.assert_frame_equal(of(found, c[0]["GAME_ID"]), of(wanted, c[0]["GAME_ID"]))
    pd.testing.assert_frame_equal(of(found, a[0]["GAME_ID"]), of(wanted, a[0]["GAME_ID"]))
    kept = ["order", "event_num", "period", "seconds_left", "event", "team_id", "player1_id", "points", "home_score", "away_score"]
    pd.testing.assert_frame_equal(of(found, b[0]["GAME_ID"])[kept], of(wanted, b[0]["GAME_ID"])[kept])
    again = found.rejects[~found.rejects["reason"].str.startswith("kept")]
    assert again["file"].tolist() == ["pbp_v3/y.csv"] and "stands in y.csv too" in again["reason"].item()


def test_one_bad_file_of_a_schema_does_not_stop_the_other(tmp_path):
    (tmp_path / "bad.csv").write_text("nothing\n")
    found = read(tmp_path, new=v3_lines(rows_of("made")[0]))
    assert len(found.games) == 1 and "bad.csv" in set(found.rejects["file"])


# ---- every single row lost, doubled or swapped: one copy of the game for each


def copies(source: str, change) -> tuple[dict[str, list[dict]], list[dict]]:
    """Copies of the first game under ids of their own, the n-th changed by `change(rows, n)`; and its rows."""
    rows = rows_of(source)[0]
    return {f"00215{10000 + n}": renamed(change(list(rows), n), f"00215{10000 + n}") for n in range(len(rows))}, rows


def read_copies(folder: Path, games: dict[str, list[dict]]):
    return read(folder, all=[row for rows in games.values() for row in rows])


def scores(row: dict) -> bool:
    return row["EVENTMSGTYPE"] in ("1", "3") and " PTS)" in row["HOMEDESCRIPTION"] + row["VISITORDESCRIPTION"]


@sources
def test_every_row_may_be_lost(tmp_path, source):
    """A game without one of its points is always refused; without another event it has its final score, or is refused."""
    games, rows = copies(source, lambda rows, n: rows[:n] + rows[n + 1:])
    found = read_copies(tmp_path, games)
    kept, refused = set(found.games["game_id"]), found.rejects["reason"].str.extract(r"game (\d{10}) refused")[0]
    assert len(found.rejects) == len(games) - len(kept) and set(refused) == set(games) - kept
    for n, game_id in enumerate(games):
        assert not (scores(rows[n]) and game_id in kept), rows[n]
    results = found.games.set_index("game_id")
    assert (results[["away_points", "home_points"]] == final(rows)).all(axis=None)
    assert (results["events"] == len(rows) - 1).all() and len(kept) > len(rows) / 2
    all_said(found, {"all.csv": sum(map(len, games.values())) + 1})


@sources
def test_every_row_may_stand_twice(tmp_path, source):
    """Next to itself or at the end: it is set aside with its line, and the game is what it was."""
    wanted = of(readings(source), rows_of(source)[0][0]["GAME_ID"]).drop(columns="game_id")
    for doubled in (lambda rows, n: rows[:n + 1] + rows[n:], lambda rows, n: [*rows, rows[n]]):
        games, rows = copies(source, doubled)
        found = read_copies(tmp_path, games)
        assert found.games["game_id"].tolist() == list(games) and len(found.rejects) == len(games)
        assert (found.games[["away_points", "home_points"]] == final(rows)).all(axis=None)
        pd.testing.assert_frame_equal(of(found, list(games)[50]).drop(columns="game_id"), wanted)


@sources
def test_every_two_neighbours_may_be_swapped(tmp_path, source):
    """Within one second the order cannot be judged; else the clock tells. The final score is never another."""
    games, rows = copies(source, lambda rows, n: [*rows[:n], *rows[n:n + 2][::-1], *rows[n + 2:]])
    found = read_copies(tmp_path, games)
    kept = set(found.games["game_id"])
    for n, game_id in enumerate(list(games)[:-1]):
        moments = [(row["PERIOD"], row["PCTIMESTRING"]) for row in rows[n:n + 2]]
        assert moments[0] == moments[1] or game_id not in kept, moments
        assert not (scores(rows[n]) and scores(rows[n + 1]) and game_id in kept)
    assert (found.games[["away_points", "home_points"]] == final(rows)).all(axis=None) and (found.games["events"] == len(rows)).all()
    assert found.rejects["reason"].str.contains("refused").all() and len(found.rejects) + len(kept) == len(games)


@sources
def test_a_file_may_end_after_every_row(tmp_path, source):
    """Only the whole game counts, or one that lacks nothing but what comes after the last period."""
    games, rows = copies(source, lambda rows, n: rows[:n + 1])
    found = read_copies(tmp_path, games)
    last = max(i for i, row in enumerate(rows) if row["EVENTMSGTYPE"] == "13")
    assert found.games["game_id"].tolist() == list(games)[last:]
    assert found.rejects["reason"].str.contains("refused: the file stops in period|two teams cannot be told").all()
    assert found.rejects["reason"].str.contains("file stops").sum() > last - 30


@sources
def test_a_file_may_begin_at_every_row_of_the_first_period(tmp_path, source):
    games, rows = copies(source, lambda rows, n: rows[n:])
    found = read_copies(tmp_path, games)
    for n, game_id in enumerate(games):
        if game_id in set(found.games["game_id"]):
            assert not any(scores(row) for row in rows[:n]) and rows[n]["PERIOD"] == "1"
    assert len(found.games) + len(found.rejects) == len(games)


@sources
def test_shuffled_rows_are_refused(tmp_path, source):
    rows, wanted = rows_of(source), readings(source)
    first = rows[0][0]["GAME_ID"]
    for key in (lambda row: random.Random(row["EVENTNUM"]).random(), lambda row: row["EVENTNUM"], lambda row: row["PCTIMESTRING"],
                lambda row: (row["PERIOD"], row["PCTIMESTRING"]), lambda row: row["PLAYER1_NAME"]):
        found = read(tmp_path, g0=sorted(rows[0], key=key), g1=rows[1], g2=rows[2])
        same_games(found, wanted, first)
        assert first not in set(found.games["game_id"]) and len(found.rejects) == 1
        assert f"game {first} refused" in found.rejects["reason"][0] and found.rejects["file"][0] == "g0.csv"
    found = read(tmp_path, g0=rows[0][::-1], g1=rows[1], g2=rows[2])
    assert first not in set(found.games["game_id"])


# ---- files cut anywhere, cells with anything in them


@sources
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_file_may_be_cut_anywhere(tmp_path_factory, source, data):
    """Three files cut at any byte, beside a whole one: each game has its score, or a reject tells of it."""
    rows, wanted = rows_of(source), readings(source)
    files, lengths, ids = {}, {}, [r[0]["GAME_ID"] for r in rows]
    for i, r in enumerate(rows):
        form = data.draw(st.sampled_from(["plain", "CRLF", "all quoted", "columns turned", "needed columns only"]))
        text = FORMS[form](lines(r)).encode()
        near_end = data.draw(st.booleans())
        cut = data.draw(st.integers(len(text) - 200 if near_end else 0, len(text)))
        files[f"g{i}"] = text[:cut]
        lengths[f"g{i}.csv"] = text[:cut].count(b"\n") + 1
    whole = renamed(rows[0], "0021599999")
    found = read(tmp_path_factory.mktemp("cut"), **files, whole=whole)
    all_said(found, lengths)
    assert score(found, "0021599999") == final(whole)
    for i, game_id in enumerate(ids):
        if (got := score(found, game_id)) is None:
            assert f"g{i}.csv" in set(found.rejects["file"])
        else:
            assert got == final(rows[i])
            lost = len(of(wanted, game_id)) - len(of(found, game_id))
            assert lost == 0 or f"g{i}.csv" in set(found.rejects["file"])


NASTY = ["", " ", "0", "-1", "1", "4", "5", "13", "99", "720", "1e3", "4.5", "9" * 25, "NaN", "nan", "None", "null", "inf", "Apr-02",
         "2-Apr", "2 - 4", "0 - 0", "999 - 999", "12:00", "0:00", "59:59", "11:60", "PT11M40.00S", "0021500002", "21500001.0",
         "0021599999", "1610612737", "1610612738.0", "1610612766", "1234567890", "MISS", "3PT ", "A (2 PTS)", '"', 'a"b', "a,b",
         "a\nb", "a\r\nb", "\x00", "\ufeff", "Dončić", "٣", "１２", "²", "=1+1", "0x10", "1_000", "+5", "TRUE"]
junk = st.one_of(st.sampled_from(NASTY), st.integers().map(str), st.text(st.characters(codec="utf-8"), max_size=12))


def with_quotes(*rows) -> str:
    """Writes rows of cells, in quotes where they need it; `csv.writer` takes no NUL in Python 3.10 and forgets a lone CR in 3.11."""
    return "".join(",".join('"' + c.replace('"', '""') + '"' if set(c) & set(',"\r\n') else c for c in row) + "\n" for row in rows)


@sources
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_cell_may_hold_anything(tmp_path_factory, source, data):
    """Up to three cells of a game beside two whole ones: no exception, no other game harmed, no event lost in silence, no other score."""
    rows, wanted = rows_of(source), readings(source)
    bad, game_id = [dict(row) for row in rows[0]], rows[0][0]["GAME_ID"]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(bad) - 1))
        bad[row][data.draw(st.sampled_from(list(bad[0])))] = data.draw(junk)
    text = with_quotes(bad[0], *(row.values() for row in bad))
    found = read(tmp_path_factory.mktemp("junk"), g0=text.encode(), g1=whole_text(source, 1), g2=whole_text(source, 2))
    same_games(found, wanted, game_id)
    all_said(found, {"g0.csv": len(text.splitlines()) + 1})
    lost = found.rejects[~found.rejects["reason"].str.startswith("kept: ") & ~found.rejects["reason"].str.contains(" refused: ")]
    if (got := score(found, game_id)) is None:
        assert found.rejects["reason"].str.contains(f"game {game_id} refused").any()
    else:
        moved = sum(found.rejects["reason"].str.contains(f"game {row['GAME_ID']} refused", regex=False).any() for row in bad)
        assert got == final(rows[0]) and len(of(found, game_id)) + len(lost) + moved == len(bad)


def test_a_mistyped_game_id_does_not_push_out_the_other_game(tmp_path):
    """A row of the first file claims to be of the second game, whose own file comes later."""
    rows, wanted = rows_of("made"), readings("made")
    bad = [dict(row) for row in rows[0]]
    bad[20]["GAME_ID"] = rows[1][0]["GAME_ID"]
    found = read(tmp_path, g0=bad, g1=rows[1], g2=rows[2])
    same_games(found, wanted, rows[0][0]["GAME_ID"])
    reject = found.rejects[found.rejects["reason"].str.contains("stands in g1.csv too")]
    assert reject["file"].tolist() == ["g0.csv"] and reject["line"].tolist() == [22]


@pytest.mark.parametrize("column, value, reason", [
    ("GAME_ID", "abc", "GAME_ID: abc is not a game id"), ("EVENTNUM", "first", "EVENTNUM: first is not a number"),
    ("EVENTMSGTYPE", "", "EVENTMSGTYPE: an empty cell is not a type of event"), ("EVENTMSGACTIONTYPE", "1.5", "EVENTMSGACTIONTYPE: 1.5"),
    ("PERIOD", "0", "PERIOD: 0 is not a period"), ("PCTIMESTRING", "11:75", "PCTIMESTRING: 11:75 is not a clock like 11:41"),
    ("PCTIMESTRING", "13:00", "PCTIMESTRING: 13:00"), ("PERSON1TYPE", "4.O", "PERSON1TYPE: 4.O is not a kind of person"),
    ("PLAYER1_ID", "Al Hill", "PLAYER1_ID: Al Hill is not an id"), ("PLAYER2_ID", "-3", "PLAYER2_ID: -3 is not an id"),
    ("PLAYER3_ID", "1e3", "PLAYER3_ID: 1e3 is not an id"), ("PLAYER1_TEAM_ID", "17", "PLAYER1_TEAM_ID: 17 is not an id"),
    ("PLAYER1_ID", "1234567890", "PLAYER1_ID: 1234567890 is not an id"),
])
def test_a_cell_that_decides_is_named(tmp_path, column, value, reason):
    """With file, line, column and value; since no points hung on the row the game stays."""
    rows = [dict(row) for row in rows_of("made")[0]]
    at = next(i for i, row in enumerate(rows) if row["EVENTMSGTYPE"] == "4" and row["PLAYER1_NAME"])
    rows[at][column] = value
    found = read(tmp_path, a=rows)
    assert len(found.plays) == len(rows) - 1 and score(found, rows[0]["GAME_ID"]) == final(rows)
    assert found.rejects[["file", "line"]].values.tolist() == [["a.csv", at + 2]] and found.rejects["reason"][0].startswith(reason)
    assert "correct the cell" in found.rejects["reason"][0]


def test_a_clock_of_twelve_minutes_does_not_fit_an_overtime(tmp_path):
    rows = [dict(row) for row in rows_of("made")[2]]
    at = next(i for i, row in enumerate(rows) if row["PERIOD"] == "5")
    rows[at]["PCTIMESTRING"] = "12:00"
    found = read(tmp_path, a=rows)
    assert found.rejects["line"].tolist() == [at + 2] and len(found.plays) == len(rows) - 1


@sources
def test_dates_in_score_cells(tmp_path, source):
    """What a spreadsheet makes of low scores: every such row is kept with a remark, and the points are counted."""
    months = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    bad, dates = [dict(row) for row in rows_of(source)[0]], 0
    for row in bad:
        a, _, b = row["SCORE"].partition(" - ")
        if row["SCORE"] and 1 <= int(a) <= 12 and 1 <= int(b) <= 31:
            row["SCORE"], dates = f"{months[int(a)]}-{b.zfill(2)}", dates + 1
    found = read(tmp_path, g0=bad, g1=rows_of(source)[1], g2=rows_of(source)[2])
    same_games(found, readings(source))
    assert len(found.rejects) == dates > 5 and found.rejects["reason"].str.contains("kept: SCORE .* is not a score like").all()


@settings(max_examples=15, deadline=None)
@given(name=st.text(st.characters(codec="utf-8"), max_size=12), at=st.integers(0, 32))
def test_any_word_of_the_header_may_be_wrong(tmp_path_factory, name, at):
    """A column that is needed is missed by name; any other does not matter."""
    rows = rows_of("made")[0]
    header = list(rows[0])
    column, header[at] = header[at], name
    try:
        found = read(tmp_path_factory.mktemp("header"), a=with_quotes(header, *(row.values() for row in rows)).encode())
        assert score(found, rows[0]["GAME_ID"]) == final(rows)
    except SportsmlError as e:
        assert "a.csv" in str(e) and (column in str(e) or "header" in str(e))


# ---- the real files


@real
def test_every_event_of_every_real_file():
    """491 games: no event lost, counted against the files; final scores as the files state them; nothing set aside."""
    paths = sorted(FOLDER.glob("*.csv"))
    found = read_playbyplay(paths, progress=False)
    assert len(found.games) == len(paths) == 491 and found.rejects.empty
    counted, stated = [], []
    for path in paths:
        rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
        counted.append(len(rows))
        stated.append(final(rows))
    assert found.games["events"].tolist() == counted and len(found.plays) == sum(counted)
    assert (found.games[["away_points", "home_points"]].to_numpy() == np.array(stated)).all()
    shots = found.plays[found.plays["points"] > 0]
    assert shots["team_id"].notna().all() and found.plays["event"].ne("other").all()
