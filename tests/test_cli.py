"""The command line as a person meets it: help, tables, files in, runs out, and one clear message when something is wrong."""
import re
import shutil

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
COMMANDS = ["", "run", "build", "experiments", "tables", "data", "data list", "data fetch", "data import", "data check", "runs",
            "runs list", "runs show", "runs compare", "runs index", "debug-attention", "project"]


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """An empty folder for raw files, with data folder and warehouse of its own."""
    monkeypatch.setenv("SPORTSML_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SPORTSML_RAW", str(tmp_path / "data" / "raw"))
    return tmp_path / "data" / "raw"


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
