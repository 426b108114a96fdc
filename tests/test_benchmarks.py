"""The benchmark of play-by-play: its command line, what it says where the other packages are missing, and how it compares."""
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    "Loads benchmarks/playbyplay.py, which is no part of the package."
    spec = importlib.util.spec_from_file_location("playbyplay_benchmark", BENCHMARKS / "playbyplay.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("given", [["--games", "0"], ["--repeats", "-1"], ["--games", "few"]])
def test_a_count_that_is_none_is_refused(bench, given, capsys):
    with pytest.raises(SystemExit):
        bench.arguments(given)
    assert given[0] in capsys.readouterr().err


def test_a_reference_that_cannot_run_is_named_with_the_next_step(bench, tmp_path):
    with pytest.raises(bench.NoReference, match="cannot be started.*--reference"):
        bench.run_reference(tmp_path / "python", [], 1, tmp_path)
    with pytest.raises(bench.NoReference, match="nba_on_court.*requirements-playbyplay.txt"):
        bench.run_reference(Path(sys.executable), [], 1, tmp_path)


def test_an_environment_that_cannot_be_made_says_why(bench, tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "warning: slow\nERROR: No matching distribution found for pbpstats\nbye\n")
    monkeypatch.setattr(bench.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(bench.NoReference, match="cannot be made: ERROR: No matching.*requirements-playbyplay.txt.*--reference"):
        bench.reference_python(tmp_path)
    assert not list(tmp_path.rglob("ready"))  # the next run tries again


def test_each_pinned_package_is_pinned_exactly():
    pins = [line for line in (BENCHMARKS / "requirements-playbyplay.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins) and {"nba-on-court==0.2.1", "pbpstats==1.3.11"} <= set(pins)


def test_events_are_matched_by_number_and_compared_as_fives(bench):
    ours = pd.DataFrame([["0021500001", i, num, 1, 60.0, "rebound", "", *range(1, 11)] for i, num in enumerate((0, 7, 4))],
                        columns=["game_id", "order", "event_num", "period", "seconds_left", "event", "description", *bench.TEN])
    ten = list(range(1, 11))
    theirs = np.array([[0, 4, *ten], [0, 7, *ten[5:], *ten[:5]], [0, 0, *ten], [0, 9, *ten]])  # sides swapped at 7; 9 is no event of ours
    words, share, differs = bench.lineup_agreement(ours, theirs, ["0021500001"])
    assert share == pytest.approx(2 / 3) and differs["event_num"].tolist() == [7] and "1 in 1 games" in words


def test_possessions_agree_where_end_and_team_do(bench):
    ours = pd.DataFrame({"game_id": "0021500001", "period": 1, "offense_id": [1, 2, 1], "event_num": [5, 9, 12], "end": "turnover"})
    ours = pd.concat([ours, ours.assign(game_id="0021500002")])  # a game that only sportsml can do is left out
    theirs = np.array([[0, 1, 1, 5, 1], [0, 1, 1, 9, 1], [0, 1, 1, 13, 1], [0, 1, 2, 20, 0]])  # another team at 9; 20 does not count
    events = pd.DataFrame({"game_id": "0021500001", "period": 1, "event_num": [5, 9, 12, 13], "seconds_left": [60.0, 20.0, 0.0, 0.0]})
    games = ["0021500001", "0021500002"]
    words, share, differs = bench.possession_agreement(ours, theirs, games, bench.at_buzzer(events))
    assert share == pytest.approx(2 / 3) and differs["event_num"].tolist() == [9, 9] and "+0.00 a team and game" in words


def test_the_table_shows_games_that_a_tool_cannot_do(bench, capsys):
    ours = pd.DataFrame([["0021500001", 0, 0, 1, 60.0, "rebound", "", *range(10)]],
                        columns=["game_id", "order", "event_num", "period", "seconds_left", "event", "description", *bench.TEN])
    tool = "pbpstats, lineups"
    found = {"report": json.dumps({"seconds": {tool: {"0": 0.5}}, "failed": {tool: {"1": "ConnectionError: it asks stats.nba.com"}}}),
             tool: np.array([[0, 0, *range(10)]])}
    files = [Path("0021500001.csv"), Path("0021500002.csv")]
    figures, missed = bench.report(files, {"all": 0.1, "lineups": 0.01}, ours, pd.DataFrame(), found, True)
    assert not missed and figures["sportsml"]["games_per_second"] == len(files) / 0.1
    text = capsys.readouterr().out
    assert "10.0x" in text and "1 (50.0%)" in text and "cannot do 0021500002: ConnectionError" in text
