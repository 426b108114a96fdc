"""Processes that die, processes that hold the file, frames of two libraries, values that look like SQL."""
import os
import signal
import subprocess
import sys
import time

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sportsml.warehouse
from sportsml.core import SportsmlError
from sportsml.schema import SchemaError, empty
from sportsml.warehouse import Warehouse, WarehouseError, WarehouseLocked

HAWKS = 1610612737


def teams(n: int = 30, season: int = 2016, **columns) -> pd.DataFrame:
    """Returns n good rows of `teams`, typed as the schema types them."""
    frame = pd.DataFrame({"season": season, "team_id": HAWKS + np.arange(n), "name": [f"Team {i}" for i in range(n)],
                          "abbreviation": "ABC", "franchise": "Team", "conference": "E", "division": "Central"})
    return frame.assign(**columns).astype(empty("teams").dtypes.drop([c for c in columns if c != "name"]))


@pytest.fixture
def path(tmp_path):
    """Returns where a warehouse may be made."""
    return tmp_path / "deep" / "nba.duckdb"


@pytest.fixture
def wh(path):
    """Opens a warehouse with one table."""
    with Warehouse(path) as warehouse:
        warehouse.write("teams", teams(), "simulated")
        yield warehouse


def child(code: str, *arguments) -> subprocess.Popen:
    """Starts Python on a piece of code and waits for its first line of output."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "ready"
    return process


def kill(process: subprocess.Popen) -> None:
    """Ends a child the hard way: nothing of its own runs after this."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


STOP_INSIDE = """
import sys, time
import pandas as pd
from sportsml import warehouse
append = warehouse._append
def stop(connection, name, rows):
    append(connection, name, rows)
    if name == sys.argv[3]:
        print("ready", flush=True)
        time.sleep(60)
warehouse._append = stop
with warehouse.Warehouse(sys.argv[1]) as wh:
    wh.write("teams", pd.read_parquet(sys.argv[2]), "real")
"""


@pytest.mark.parametrize("stop_at", ["teams", "provenance"])
def test_kill_9_inside_a_write_leaves_the_old_content(path, tmp_path, stop_at):
    with Warehouse(path) as wh:
        wh.write("teams", teams(), "simulated")
        before = wh.provenance()
    teams(5, conference="W").to_parquet(tmp_path / "new.parquet")
    kill(child(STOP_INSIDE, path, tmp_path / "new.parquet", stop_at))
    for read_only in (True, False):
        with Warehouse(path, read_only=read_only) as wh:
            assert wh.tables() == ["teams"]
            pd.testing.assert_frame_equal(wh.read("teams"), teams())
            pd.testing.assert_frame_equal(wh.provenance(), before)
            assert wh.rejects().empty
    with Warehouse(path) as wh:
        assert wh.write("teams", teams(5), "real").rows == len(wh.read("teams")) == 5


def test_kill_9_in_the_very_first_write_leaves_no_table(path, tmp_path):
    teams().to_parquet(tmp_path / "new.parquet")
    kill(child(STOP_INSIDE, path, tmp_path / "new.parquet", "provenance"))
    with Warehouse(path) as wh:
        assert wh.tables() == [] and wh.provenance().empty and wh.rejects().empty
        wh.write("teams", teams(), "simulated")


KEEP_WRITING = """
import sys
from sportsml.warehouse import Warehouse
with Warehouse(sys.argv[1]) as wh:
    all_teams = wh.read("teams")
    for n in range(1, 100_000):
        wh.write("teams", all_teams.head(1 + n % 30).assign(conference="EW"[n % 2], division=f"D{n}"), f"write {n}")
        if n == 3:
            print("ready", flush=True)
"""


@pytest.mark.parametrize("wait", [0.013, 0.11])
def test_kill_9_at_any_moment_leaves_one_write_whole(path, wait):
    with Warehouse(path) as wh:
        wh.write("teams", teams(), "write 0")
    process = child(KEEP_WRITING, path)
    time.sleep(wait)
    kill(process)
    with Warehouse(path) as wh:
        rows, origin = wh.read("teams"), wh.provenance()
        n = int(origin["source"].item().split()[1])
        assert n >= 3 and len(rows) == origin["rows"].item() == 1 + n % 30 and set(rows["division"]) == {f"D{n}"}


HOLD = """
import sys, time
from sportsml.warehouse import Warehouse
wh = Warehouse(sys.argv[1], read_only=sys.argv[2] == "True")
print("ready", flush=True)
time.sleep(60)
"""


def test_a_held_file_names_file_process_and_next_step(path, wh):
    wh.close()
    holder = child(HOLD, path, False)
    for read_only in (True, False):
        with pytest.raises(WarehouseLocked, match="close it there") as met:
            Warehouse(path, read_only=read_only)
        assert str(path) in str(met.value) and f"process {holder.pid} (" in str(met.value)
    kill(holder)
    with Warehouse(path, read_only=True) as again:  # the lock dies with its holder
        assert len(again.read("teams")) == 30


def test_many_may_read_at_once(path, wh):
    wh.close()
    holder = child(HOLD, path, True)
    with Warehouse(path, read_only=True) as also:
        assert len(also.read("teams")) == 30
    with pytest.raises(WarehouseLocked):
        Warehouse(path)
    kill(holder)


def test_the_same_process_cannot_open_both_ways(path, wh):
    with pytest.raises(WarehouseLocked, match="open in this process with another read_only"):
        Warehouse(path, read_only=True)


def test_files_that_are_not_warehouses(tmp_path):
    with pytest.raises(WarehouseError, match="there is no warehouse at .*sportsml build"):
        Warehouse(tmp_path / "missing" / "nba.duckdb", read_only=True)
    assert not (tmp_path / "missing").exists()
    (tmp_path / "junk").write_text("this is not a database" * 1000)
    with pytest.raises(WarehouseError, match="not a DuckDB file.*sportsml build"):
        Warehouse(tmp_path / "junk")
    with pytest.raises(WarehouseError, match="cannot be opened"):
        Warehouse(tmp_path)
    with pytest.raises(WarehouseError, match="cannot be opened"):
        Warehouse(tmp_path / "junk" / "nba.duckdb")


def test_read_only_does_not_write_and_closed_does_nothing(path, wh):
    wh.close()
    wh.close()
    with pytest.raises(WarehouseError, match="closed"):
        wh.read("teams")
    with Warehouse(path, read_only=True) as again, pytest.raises(WarehouseError, match="open with read_only=True"):
        again.write("teams", teams(), "real")


MIXED = {"table_name": ["games"] * 3, "file": ["a.csv", None, "c.csv"], "line": [2, None, 2**53 + 1],
         "reason": ["naïve “quotes”\n;", "東京", "'"], "content": [None, None, "x" * 10_000]}


def test_pandas_and_polars_in_and_out_are_equal(wh):
    dates = pd.to_datetime(["2016-01-02", "1899-12-31", "2199-01-01"])
    ratings = pd.DataFrame({"system": "elo", "season": [2016, 1900, 2100], "as_of": dates, "team_id": [1, 2, HAWKS],
                            "rating": [0.1, -1e300, 5e-324]}).astype(empty("team_ratings").dtypes)
    for frame in (ratings, pl.from_pandas(ratings), pl.from_pandas(ratings).with_columns(pl.col("as_of").cast(pl.Date))):
        wh.write("team_ratings", frame, "computed")
        pd.testing.assert_frame_equal(wh.read("team_ratings"), ratings, check_exact=True)
        out = wh.read("team_ratings", polars=True)
        assert out.schema["as_of"] == pl.Date and out.schema["team_id"] == pl.Int64
        assert out["rating"].to_list() == ratings["rating"].to_list() and out["as_of"].to_list() == list(dates.date)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_gaps_survive_both_libraries(wh, library):
    rejects = library({**MIXED, "table_name": ["teams"] * 3}, **({"dtype": object} if library is pd.DataFrame else {}))
    assert wh.write("teams", teams(), "real", rejects=rejects).rejected == 3
    back = wh.rejects("teams")
    assert back["line"].dtype == "Int64" and back["line"].tolist() == [2, pd.NA, 2**53 + 1]  # through no float
    assert back["reason"].tolist() == MIXED["reason"] and back["file"].isna().tolist() == [False, True, False]
    assert wh.sql("SELECT line FROM rejects WHERE table_name = ? ORDER BY ALL", ["teams"], polars=True)["line"].to_list() == [
        2, 2**53 + 1, None]


def test_polars_integers_with_gaps_do_not_become_floats(wh):
    frame = pl.from_pandas(teams(3)).with_columns(pl.Series("team_id", [HAWKS, None, HAWKS + 2]))
    assert wh.write("teams", frame, "real").rejected == 1
    assert wh.rejects("teams")["reason"].tolist() == ["team_id: empty, a value is needed; correct the value or leave the row out"]
    with pytest.raises(SchemaError, match="call .collect"):
        wh.write("teams", frame.lazy(), "real")


def test_polars_categories_and_enums_are_text(wh):
    frame = pl.from_pandas(teams(2)).with_columns(pl.col("conference").cast(pl.Enum(["E", "W"])), pl.col("name").cast(pl.Categorical))
    wh.write("teams", frame, "real")
    pd.testing.assert_frame_equal(wh.read("teams"), teams(2))


def test_a_text_column_that_starts_with_thousands_of_gaps_stays_text(wh):
    n = 5000
    records = pd.DataFrame({"season": np.arange(n) // 30 + 1900, "team_id": HAWKS + np.arange(n) % 30, "games": 82, "wins": 41,
                            "losses": 41, "srs": np.nan, "pace": np.nan, "offensive_rating": np.nan, "defensive_rating": np.nan,
                            "made_playoffs": False, "playoff_result": [None] * (n - 1) + ["Lost Finals"], "complete": True})
    wh.write("team_records", records, "simulated")
    back = wh.read("team_records")
    assert back["playoff_result"].iloc[-1] == "Lost Finals" and back["srs"].isna().all() and back["complete"].dtype == bool
    assert wh.sql("SELECT count(*) AS n FROM team_records WHERE srs IS NULL")["n"].item() == n  # NaN is stored as missing


def test_values_that_look_like_sql_are_values(wh):
    nasty = ["O'Neal's \"Team\"", "x'); DROP TABLE teams; --", "Robert\\'; --", "%", "?", "$1", "{name}", "NULL", "a\nb"]
    wh.write("teams", teams(len(nasty), name=nasty), "o'source; --")
    for name in nasty:
        assert wh.read("teams", name=name)["name"].tolist() == [name]
        assert wh.sql("SELECT count(*) AS n FROM teams WHERE name = ?", [name])["n"].item() == 1
    assert wh.read("teams", name=nasty)["name"].tolist() == nasty
    assert wh.provenance()["source"].tolist() == ["o'source; --"]


@pytest.mark.parametrize("ask", [
    lambda wh: wh.read('teams"; DROP TABLE teams; --'), lambda wh: wh.read("teams", columns=['name", (SELECT 1) AS "x']),
    lambda wh: wh.read("teams", **{'1=1) OR ("season': 2016}), lambda wh: wh.rejects("x' OR '1'='1"),
    lambda wh: wh.write('t" (x INT); --', teams(), "real"), lambda wh: wh.write("provenance", empty("provenance"), "real"),
    lambda wh: wh.read("teams", season="2016; DROP TABLE teams"), lambda wh: wh.read("teams", season=None),
    lambda wh: wh.read("teams", team_id=float(HAWKS)), lambda wh: wh.read("teams", season=[2016, "x"]),
    lambda wh: wh.sql("SELECT 1; DROP TABLE teams"), lambda wh: wh.sql("DELETE FROM teams"), lambda wh: wh.sql(""),
    lambda wh: wh.sql("COPY teams TO 'x.csv'"), lambda wh: wh.sql("SELECT nothing FROM teams"), lambda wh: wh.sql("SELEC 1"),
    lambda wh: wh.sql("SELECT * FROM query"), lambda wh: wh.sql("SELECT ? AS a"), lambda wh: wh.sql("SELECT 1 AS a", [2]),
    lambda wh: wh.read("games"), lambda wh: wh.write("teams", teams(), ""), lambda wh: wh.write("teams", teams(), "real", ["no.csv"]),
    lambda wh: wh.write("teams", teams(), "real", rejects=teams()), lambda wh: wh.write("teams", None, "real"),
    lambda wh: wh.write("teams", teams(), "real", rejects=pd.DataFrame(MIXED)),  # rejects of games
    lambda wh: wh.write("teams", teams(conference="X"), "real"), lambda wh: wh.write("teams", teams().drop(columns="name"), "real"),
])
def test_what_is_refused_is_refused_by_us_and_changes_nothing(wh, ask):
    before = wh.provenance()
    with pytest.raises(SportsmlError):
        ask(wh)
    assert wh.tables() == ["teams"] and wh.rejects().empty
    pd.testing.assert_frame_equal(wh.read("teams"), teams())
    pd.testing.assert_frame_equal(wh.provenance(), before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, duckdb.IOException])
def test_an_error_inside_the_transaction_rolls_back(wh, monkeypatch, error):
    append = sportsml.warehouse._append

    def fail(connection, name, rows):
        append(connection, name, rows)
        if name == "provenance":
            raise error("mid-write")

    with monkeypatch.context() as patch:
        patch.setattr(sportsml.warehouse, "_append", fail)
        with pytest.raises(WarehouseError if error is duckdb.IOException else error, match="mid-write"):
            wh.write("teams", teams(5), "real")
    assert len(wh.read("teams")) == 30 and wh.provenance()["source"].tolist() == ["simulated"]
    assert wh.write("teams", teams(5), "real").rows == 5  # and the connection is still good


def test_what_slips_past_the_checks_meets_the_key(wh, monkeypatch):
    monkeypatch.setattr(sportsml.warehouse, "check_rows", lambda name, frame: (frame, frame.head(0).assign(reason="")))
    monkeypatch.setattr(sportsml.warehouse, "_all_rejects", lambda *_: empty("rejects"))
    with pytest.raises(WarehouseError, match="duplicate key"):
        wh.write("teams", teams(2, team_id=HAWKS), "real")
    with pytest.raises(WarehouseError, match="NOT NULL"):
        wh.write("teams", teams(2, conference=None), "real")
    assert len(wh.read("teams")) == 30


def test_every_file_is_on_record_and_a_rewrite_replaces_the_record(wh, tmp_path, monkeypatch):
    monkeypatch.setenv("SPORTSML_RAW", str(tmp_path / "raw"))
    monkeypatch.setenv("SPORTSML_DATA", str(tmp_path / "data"))
    files = [tmp_path / "raw" / "nba" / "a.csv", tmp_path / "data" / "sim" / "a.csv", tmp_path / "elsewhere" / "a.csv"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(file.parent.name)
    located = teams(3, conference=["E", "W", "N"]).assign(_file="a.csv", _line=[2, 3, 4])
    report = wh.write("teams", located, "real", files)
    assert (report.rows, report.rejected) == (2, 1) and str(report) == "teams: 2 rows; 1 set aside, see rejects('teams')"
    origin = wh.provenance()
    assert origin["file"].tolist() == ["nba/a.csv", "sim/a.csv", "a.csv"] and origin["bytes"].tolist() == [3, 3, 9]
    assert origin["sha256"].nunique() == 3 and set(origin["rows"]) == {2} and set(origin["rejected"]) == {1}
    assert wh.rejects()[["file", "line"]].values.tolist() == [["a.csv", 4]]
    wh.write("teams", teams(), "real", files[0])  # one path, not a list of letters
    assert wh.provenance()["file"].tolist() == ["nba/a.csv"] and wh.rejects().empty


def test_reading_selects_orders_and_filters(wh):
    both = pd.concat([teams(season=2016), teams(season=2015)], ignore_index=True)
    wh.write("teams", both, "simulated")
    pd.testing.assert_frame_equal(wh.read("teams"), both)  # order of writing
    assert list(wh.read("teams", columns=["name", "season"])) == ["name", "season"] and list(wh.read("teams", "name")) == ["name"]
    for value in (2015, "2015", [2015], {2015}, np.int64(2015), np.array([2015]), pd.Series([2015]), pl.Series([2015]), 2015.0):
        assert set(wh.read("teams", season=value)["season"]) == {2015}
    assert len(wh.read("teams", season=[2015, 2016], team_id=HAWKS)) == 2
    assert wh.read("teams", season=[]).equals(both.head(0)) and wh.read("teams", season=1999).equals(both.head(0))
    many = wh.read("teams", team_id=range(HAWKS, HAWKS + 100_000), columns=["team_id"])
    assert len(many) == 60


def test_a_filter_keeps_the_order_of_writing(wh):
    rows = pd.DataFrame({"system": "elo", "season": 2016, "as_of": pd.Timestamp("2016-01-02"), "rating": np.arange(200_000.0)})
    wh.write("team_ratings", rows.assign(team_id=np.random.default_rng(0).permutation(200_000) + 1), "computed")
    assert wh.read("team_ratings", team_id=range(1, 200_000, 7))["rating"].is_monotonic_increasing


def test_days_are_asked_for_as_days(wh):
    dates = pd.to_datetime(["2016-01-02", "2016-01-03"])
    ratings = pd.DataFrame({"system": "elo", "season": 2016, "as_of": dates, "team_id": 1, "rating": 0.0})
    wh.write("team_ratings", ratings, "computed")
    for day in ("2016-01-02", dates[0], dates[0].date(), np.datetime64("2016-01-02"), dates[:1]):
        assert wh.read("team_ratings", as_of=day)["as_of"].tolist() == [dates[0]]
    assert wh.sql("SELECT max(as_of) AS d FROM team_ratings")["d"].astype(str).tolist() == ["2016-01-03"]
    with pytest.raises(SchemaError, match="as_of='Jan 2'"):
        wh.read("team_ratings", as_of="Jan 2")


def test_a_table_of_another_version_says_so_and_is_replaced(path):
    path.parent.mkdir()
    with duckdb.connect(str(path)) as old:
        old.execute("CREATE TABLE teams (team INT); INSERT INTO teams VALUES (1); CREATE TABLE rejects (x INT)")
    with Warehouse(path) as wh:
        with pytest.raises(WarehouseError, match="another version .columns: team.*sportsml build"):
            wh.read("teams")
        wh.write("teams", teams(), "real")
        assert len(wh.read("teams")) == 30 and wh.rejects().empty


def test_two_hundred_thousand_rows_in_and_out(wh):
    n = 200_000
    ratings = pd.DataFrame({"system": "elo", "season": 2016, "as_of": pd.Timestamp("2016-01-02"), "team_id": np.arange(1, n + 1),
                            "rating": np.linspace(-1, 1, n)}).astype(empty("team_ratings").dtypes)
    wh.write("team_ratings", ratings, "computed")
    assert wh.read("team_ratings").equals(ratings)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20).filter(lambda s: "\0" not in s), min_size=1, max_size=30))
def test_any_text_comes_back_as_it_went_in(tmp_path_factory, names):
    with Warehouse(tmp_path_factory.mktemp("text") / "t.duckdb") as wh:
        wh.write("teams", teams(len(names), name=names), "simulated")
        assert wh.read("teams")["name"].tolist() == names
        assert set(wh.read("teams", name=names)["name"]) == set(names)
