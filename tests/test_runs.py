"""Runs from the outside: two processes at once, failing and killed analyses, resuming, restarting, looking back."""
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import yaml

from sportsml import runs
from sportsml.config import ConfigError, load_experiment
from sportsml.core import SportsmlError, read_json
from sportsml.runs import (
    RunData,
    RunError,
    RunFailed,
    RunFolder,
    RunRequest,
    compare_runs,
    default_source,
    find_run,
    headline,
    list_runs,
    load_metrics,
    lock_run,
    normalise_run_id,
    open_run,
    prepare_data,
    request_from,
    reserve_run,
    run_experiment,
    save_metrics,
    save_predictions,
    write_index,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project with the experiment `tiny`."""
    return tiny.make_project(tmp_path / "project", monkeypatch)


def run(run_id=None, **request) -> RunFolder:
    """Runs `tiny` in this process."""
    return run_experiment(RunRequest(run_id, "tiny", **request), progress=False)


def states(folder: Path) -> list[tuple[str, str]]:
    """Says which analyses a run has, and how they ended."""
    return [(a["number"], a["status"]) for a in read_json(folder / "run.json")["analyses"]]


# --- requests ---

@pytest.mark.parametrize(("value", "wanted"), [(7, "007"), (" 24 ", "024"), ("0024", "024"), ("run_1", "001"), (9999, "9999"),
                                               ("", None), (np.int64(24), "024")])
def test_ids_have_one_form(value, wanted):
    assert normalise_run_id(value) == wanted


@pytest.mark.parametrize("value", [0, -1, 10000, True, 2.5, "24a", "run_", "24 25", [24], "../24", "२४"])
def test_what_is_no_id_is_refused(value):
    with pytest.raises(RunError, match="not a number from 1 to 9999"):
        normalise_run_id(value)


@pytest.mark.parametrize(("namespace", "message"), [
    ({"runid": 24}, "did you mean run_id"), ({"expriment": "x"}, "did you mean experiment"),
    ({"zzz": 1}, "allowed: experiment, "), ({"source": "sim"}, "allowed: real, simulated"), ({"source": 3}, "unknown source 3"),
    ({"smoke": "false"}, "True or False"),
    ({"restart": 1}, "True or False"), ({"overrides": 5}, "seed=3"), ({"overrides": None}, "seed=3")])
def test_parameters_are_checked_before_anything_runs(namespace, message):
    with pytest.raises(RunError, match=message):
        request_from(namespace)


def test_overrides_may_hold_lists_with_spaces(home):
    request = RunRequest(experiment="tiny", overrides=" parameters.days=[a, b c]   seed=5 parameters.elo.k=1e+1")
    config = load_experiment("tiny", overrides=request.changes)
    assert (config.parameters, config.seed) == ({"elo": {"k": 10.0}, "days": ["a", "b c"]}, 5) and RunRequest().changes == []


def test_an_experiment_without_a_simulated_league_runs_on_real_data(home):
    config = load_experiment("tiny")
    alone = config.model_copy(update={"simulator": None})
    assert RunRequest().source is None and default_source(config) == "simulated"
    assert default_source(alone) == default_source(alone, "real") == default_source(config, "real") == "real"
    with pytest.raises(RunError, match="tiny has no simulated league; run it with source 'real'"):
        prepare_data(alone, "simulated")


@pytest.mark.parametrize(("overrides", "message"), [
    ("seed=[1", "not a YAML value"), ("sed=1", "did you mean seed"), ("parameters.elo.kk=1", "unknown key 'kk'"),
    ("parameters.elo=5", "elo is dict"), ("seed=abc", "seed is int"), ("seed=1.5", "seed"), ("seed", "key=value"),
    ("parameters.days=[12-31, 01-20", "not a YAML value"), ("experiment=other", "not the file's own name")])
def test_an_override_that_does_not_fit_leaves_no_run_behind(home, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run(overrides=overrides)
    assert not (home / "outputs3").exists()


def test_an_analysis_that_is_not_there_is_named_before_a_run_is_reserved(home):
    (home / "nbs" / "analyses" / "tiny" / "02_light.ipynb").rename(home / "nbs" / "analyses" / "tiny" / "02_ligth.ipynb")
    with pytest.raises(RunError, match="no analysis '02_light' in nbs/analyses/tiny; did you mean 02_ligth"):
        run()
    assert not (home / "outputs3").exists()


def test_an_experiment_without_smoke_settings_runs_as_it_is(home):
    (home / "config" / "smoke.yaml").write_text("tiny:\n")
    assert load_experiment("tiny", smoke=True) == load_experiment("tiny")
    (home / "config" / "smoke.yaml").unlink()
    with pytest.raises(ConfigError, match="smoke.yaml: cannot be read"):
        load_experiment("tiny", smoke=True)


# --- folders and locks ---

RESERVE = """
import sys, time
from pathlib import Path
from sportsml.runs import reserve_run
out = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*(reserve_run(out).name for _ in range(100)))
"""


def child(code: str, *arguments) -> subprocess.Popen:
    """Starts Python on a piece of code and waits until it says ready."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "ready"
    return process


def test_processes_that_reserve_at_once_get_different_folders(tmp_path):
    processes = [child(RESERVE, tmp_path) for _ in range(2)]
    for p in processes:
        p.stdin.write("go\n")
        p.stdin.flush()
    names = [name for p in processes for name in p.communicate()[0].split()]
    assert len(names) == 200 and sorted(names) == [f"run_{i:03d}" for i in range(1, 201)]


def test_the_next_number_follows_the_highest_and_a_given_one_is_taken_as_it_is(tmp_path):
    for name in ("run_007", "run_012_old", "run_latest", "scratch"):
        (tmp_path / name).mkdir()
    assert reserve_run(tmp_path).name == "run_008" and reserve_run(tmp_path, "007").name == "run_007"


def test_a_run_that_another_process_writes_is_refused_until_that_ends(home):
    folder = reserve_run(home / "outputs3", "024")
    code = "import sys\nfrom pathlib import Path\nfrom sportsml.runs import lock_run\nlock = lock_run(Path(sys.argv[1]))\n"
    holder = child(code + "print('ready', flush=True)\nsys.stdin.read()", folder)
    with pytest.raises(RunError, match="run_024 is being written by another process"):
        run(24)
    assert list(folder.iterdir()) == [folder / "run.lock"]
    holder.kill()  # a dead holder holds nothing
    holder.communicate()
    lock_run(folder).release()


# --- a whole run ---

def test_a_run_is_recorded_resumed_refused_mended_and_restarted(home):
    done = run(24, smoke=True)
    record = read_json(done.path / "run.json")
    assert (done.run_id, record["status"], record["smoke"], record["seed"]) == ("024", "finished", True, 3)
    assert states(done.path) == [("01", "finished"), ("02", "finished"), ("03", "finished")]
    assert {"start", "end", "python", "platform", "device", "code", "versions", "commit", "dirty"} <= record.keys()
    assert [d["file"].rsplit("/", 1)[-1] for d in record["data"]] == ["game_results.csv"]
    assert len(record["data"][0]["sha256"]) == 64
    assert str(home) not in json.dumps(record) and not re.search(rf"\b{re.escape(platform.node())}\b", json.dumps(record))
    assert yaml.safe_load((done.path / "config.yaml").read_text())["parameters"]["elo"]["k"] == 10.0
    page = (done.path / "ANALYSIS_01.md").read_text()
    assert "30 teams" in page and "skip_exec" not in page
    assert headline(done.path)["value [95 %]"].tolist() == ["0.1000 [0.1000, 0.3000]"]

    written = {p: p.stat().st_mtime_ns for p in done.path.glob("ANALYSIS_*")}
    assert run("run_024", smoke=True).path == done.path
    assert {p: p.stat().st_mtime_ns for p in done.path.glob("ANALYSIS_*")} == written
    assert read_json(done.path / "run.json")["analyses"] == record["analyses"]

    for changed, why in [({}, "smoke is True there and False here"),
                         ({"smoke": True, "overrides": "seed=4"}, "seed is 3 there and 4 here"),
                         ({"smoke": True, "overrides": "parameters.elo.k=11"}, "parameters.elo.k is 10.0 there and 11 here")]:
        with pytest.raises(RunError, match=f"run_024 holds another run: {why}; .*restart"):
            run(24, **changed)
    assert read_json(done.path / "run.json")["analyses"] == record["analyses"]  # a refusal leaves it as it was

    tiny.write_analysis(home, "02_light", *tiny.ANALYSES["02_light"], "# a change")
    (done.path / "figures").mkdir()
    for name in ("ANALYSIS_01_9_0.png", "ANALYSIS_02_9_0.png", "mine.png"):
        (done.path / "figures" / name).write_bytes(b"")
    run(24, smoke=True)  # what follows a changed template runs again, and no figure of a cell that is gone stays
    again = {p.name[9:11] for p, at in written.items() if p.stat().st_mtime_ns != at}
    assert again == {"02", "03"}
    assert sorted(p.name for p in (done.path / "figures").iterdir()) == ["ANALYSIS_01_9_0.png", "mine.png"]
    assert (len(load_metrics(done.path)), len(pd.read_parquet(done.path / "predictions.parquet"))) == (2, 1)

    (home / "config" / "tiny.yaml").write_text(tiny.CONFIG.replace(", 02_light, 03_forecasts", ""))
    run(24, overrides="parameters.elo.k=30", restart=True)
    assert states(done.path) == [("01", "finished")]
    assert load_metrics(done.path)["value"].tolist() == [0.3, 0.25]
    assert not list(done.path.glob("ANALYSIS_0[23]*")) and not (done.path / "predictions.parquet").exists()


def test_a_template_opened_by_hand_works_in_the_scratch_folder(home):
    scratch = open_run(experiment="tiny")
    with scratch.warehouse() as warehouse:
        assert len(warehouse.read("teams", season=2016)) == 30
    assert scratch.run_id == "scratch"
    assert list_runs().empty


# --- failures ---

def test_a_failing_analysis_is_recorded_and_resumed_after_mending(home):
    tiny.write_analysis(home, "02_light", tiny.OPEN, "raise ValueError(f'k | must be right\\nin {run.path}')")
    with pytest.raises(RunFailed, match="02_light failed in cell 4: ValueError: k . must be right"):
        run(24)
    folder = home / "outputs3" / "run_024"
    record = read_json(folder / "run.json")
    assert record["status"] == "failed" and states(folder) == [("01", "finished"), ("02", "failed")]
    assert "ValueError: k | must be right\nin outputs3/run_024" in record["error"] and str(home) not in json.dumps(record)
    assert (folder / "ANALYSIS_02.ipynb").exists() and not (folder / "ANALYSIS_02.md").exists()
    line = (home / "outputs3" / "INDEX.md").read_text().splitlines()[-1]
    assert "| 024 |" in line and "failed: RunFailed: 02_light failed in cell 4: ValueError: k \\| must be right" in line
    assert "[01_metrics](run_024/ANALYSIS_01.md) [02_light](run_024/ANALYSIS_02.ipynb)" in line

    tiny.write_analysis(home, "02_light", *tiny.ANALYSES["02_light"])
    run(24)
    mended = read_json(folder / "run.json")
    assert mended["analyses"][0] == record["analyses"][0] and "error" not in mended
    assert states(folder) == [("01", "finished"), ("02", "finished"), ("03", "finished")]
    assert "| finished |" in (home / "outputs3" / "INDEX.md").read_text()


def test_a_notebook_whose_process_dies_is_a_failed_analysis(home):
    tiny.write_analysis(home, "01_metrics", "import os\nos._exit(1)")
    with pytest.raises(RunFailed, match="01_metrics failed in the notebook's process died"):
        run()
    assert states(home / "outputs3" / "run_001") == [("01", "failed")]


def until(condition, seconds: float = 120) -> None:
    """Waits until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_run_that_is_killed_twice_resumes_where_it_stood(home):
    (home / "config" / "tiny.yaml").write_text(tiny.CONFIG.replace(", 03_forecasts", ""))
    wait, started = home / "wait", home / "started"
    hang = f"import os, time\nfrom pathlib import Path\nPath({str(started)!r}).write_text(str(os.getpid()))\n"
    tiny.write_analysis(home, "02_light", *tiny.ANALYSES["02_light"],
                        hang + f"while Path({str(wait)!r}).exists(): time.sleep(0.02)")
    wait.touch()
    folder, first = home / "outputs3" / "run_001", None
    for _ in range(2):
        process = subprocess.Popen(tiny.command("run", "1", "--experiment", "tiny", "--quiet"), stdout=subprocess.DEVNULL)
        until(lambda: started.exists() and started.read_text())
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(int(started.read_text()), signal.SIGKILL)  # the notebook's own process
        started.unlink()
        assert states(folder) == [("01", "finished")] and read_json(folder / "run.json")["status"] == "running"
        first = first or read_json(folder / "run.json")["analyses"][0]
    assert list_runs()["status"].tolist() == ["broken off"] and "| broken off |" in write_index().read_text()
    wait.unlink()
    run(1)
    assert read_json(folder / "run.json")["analyses"][0] == first and states(folder) == [("01", "finished"), ("02", "finished")]


def test_two_processes_run_the_same_new_league_at_once(home):
    (home / "config" / "tiny.yaml").write_text(tiny.CONFIG.replace(", 02_light, 03_forecasts", ""))
    processes = [subprocess.Popen(tiny.command("run", "-e", "tiny", "-q"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True) for _ in range(2)]
    outputs = [p.communicate(timeout=120)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert list_runs()[["run_id", "status"]].to_numpy().tolist() == [["001", "finished"], ["002", "finished"]]
    assert len(list((home / "data" / "sim").glob("*/builds.txt"))) == 1
    assert next((home / "data" / "sim").glob("*/builds.txt")).read_text() == "built\n"  # the second found it done
    index = (home / "outputs3" / "INDEX.md").read_text()
    assert "| 001 |" in index and "| 002 |" in index and "running" not in index


def test_a_build_that_broke_off_is_not_taken_for_current(home):
    raw = home / "data" / "raw"
    (raw / "nba").mkdir(parents=True)
    (raw / "nba" / "game_results.csv").write_text("season\n2016\n")
    config = load_experiment("tiny")
    first = prepare_data(config, "real")
    assert prepare_data(config, "real") == first and (raw / "builds.txt").read_text() == "built\n"
    (raw / "nba" / "game_results.csv").write_text("season\n2015\n")
    (raw / "break").touch()
    with pytest.raises(OSError, match="broken off"):
        prepare_data(config, "real")
    (raw / "break").unlink()
    (raw / "nba" / "game_results.csv").write_text("season\n2016\n")  # the very file of the first build
    with RunFolder(home, config, prepare_data(config, "real")).warehouse() as warehouse:
        assert warehouse.read("teams")["season"].unique().tolist() == [2016]


# --- what analyses store ---

@pytest.fixture
def folder(tmp_path, home) -> RunFolder:
    """A run folder without a run."""
    data = RunData("simulated", tmp_path, tmp_path / "x.duckdb", "")
    return RunFolder(reserve_run(home / "outputs3"), load_experiment("tiny"), data)


def test_metrics_are_replaced_by_analysis_and_checked(folder):
    assert headline(folder.path).empty and load_metrics(folder.path).empty
    with pytest.raises(RunError, match="unknown metric column 'metrc'; did you mean metric"):
        save_metrics(folder, "02", pd.DataFrame({"metrc": ["brier"]}))
    rows = pd.DataFrame({"target": "x", "metric": ["brier", "auc"], "model": "elo", "value": [0.2, np.nan], "n": [1, 2]})
    save_metrics(folder, "03", rows)
    save_metrics(folder, "02", rows.assign(headline=True))
    save_metrics(folder, "03", rows.head(1))
    stored = json.loads((folder.path / "metrics.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert [(m["analysis"], m["metric"], m["value"], m["headline"]) for m in stored] == [
        ("02", "brier", 0.2, True), ("02", "auc", None, True), ("03", "brier", 0.2, False)]
    assert headline(folder.path)["question"].tolist() == ["x, brier", "x, auc"]


def predictions(model: str, pred: float, target_name: str = "home_win", rows: int = 3) -> pd.DataFrame:
    """Returns rows for `save_predictions`."""
    return pd.DataFrame({"model": model, "fold": "2016", "split": "test", "season": 2016, "as_of": pd.Timestamp("2016-01-02"),
                         "group_id": [f"g{i}" for i in range(rows)], "entity_id": "1610612737", "target_name": target_name,
                         "target": 1.0, "pred": pred, "pred_lo": np.nan, "pred_hi": np.nan})


def test_predictions_of_the_same_model_and_target_are_replaced(folder):
    save_predictions(folder, pd.concat([predictions("elo", 0.1), predictions("srs", 0.2)]))
    save_predictions(folder, predictions("elo", 0.3, "margin"))
    everything = save_predictions(folder, predictions("elo", 0.4, rows=1))
    stored = pd.read_parquet(folder.path / "predictions.parquet")
    assert len(everything) == len(stored) and set(stored["run_id"]) == {"001"}
    counts = stored.groupby(["model", "target_name"])["pred"].agg(["size", "min", "max"])
    assert counts.to_dict("index") == {("elo", "home_win"): {"size": 1, "min": 0.4, "max": 0.4},
                                       ("elo", "margin"): {"size": 3, "min": 0.3, "max": 0.3},
                                       ("srs", "home_win"): {"size": 3, "min": 0.2, "max": 0.2}}


@pytest.mark.parametrize(("change", "message"), [
    (lambda f: f.assign(split="tset"), "tset"), (lambda f: f.assign(pred=np.nan), "pred"),
    (lambda f: f.drop(columns="fold"), "fold"), (lambda f: f.assign(extra=1), "extra"),
    (lambda f: pd.concat([f, f]), "3 predictions do not fit the schema")])
def test_predictions_that_do_not_fit_leave_the_stored_ones(folder, change, message):
    save_predictions(folder, predictions("elo", 0.1))
    before = (folder.path / "predictions.parquet").read_bytes()
    with pytest.raises(SportsmlError, match=message):
        save_predictions(folder, change(predictions("elo", 0.2)))
    assert (folder.path / "predictions.parquet").read_bytes() == before


# --- looking back ---

def record(outputs: Path, run_id: str, value: float | None, **changes) -> Path:
    """Writes a run folder by hand."""
    path = reserve_run(outputs, run_id)
    fields = {"run_id": run_id, "experiment": "tiny", "source": "real", "smoke": False, "status": "finished", "commit": None,
              "dirty": None, "start": "2026-01-01T00:00:00+00:00", "analyses": []}
    (path / "run.json").write_text(json.dumps(fields | changes))
    if value is not None:
        rows = {"target": "home_win", "group": [None, "2016"], "model": "elo", "metric": "brier", "value": [value, 0.2]}
        save_metrics(RunFolder(path, None, None), "02", pd.DataFrame(rows))
    return path


def test_runs_are_listed_by_number_and_renamed_folders_left_alone(tmp_path):
    for number in ("1000", "002", "999"):
        record(tmp_path, number, None)
    (tmp_path / "run_002").rename(tmp_path / "run_002_old")
    (tmp_path / "run_005").mkdir()  # reserved, nothing in it yet
    assert list_runs(tmp_path)["run_id"].tolist() == ["999", "1000"]
    assert "002" not in write_index(tmp_path).read_text()
    with pytest.raises(RunError, match=r"no run '5' in .*\(allowed: 1000, 999\)"):
        find_run("5", tmp_path)


def test_two_runs_are_compared_metric_by_metric(tmp_path):
    record(tmp_path, "001", 0.21), record(tmp_path, "024", 0.20), record(tmp_path, "003", None)
    change = compare_runs("1", 24, tmp_path)
    assert change["change"].round(6).tolist() == [-0.01, 0.0] and change["group"].tolist() == ["", "2016"]
    with pytest.raises(RunError, match="no metric in common"):
        compare_runs(1, 3, tmp_path)
    with pytest.raises(RunError, match="no run 25 in .*did you mean 024"):
        compare_runs(1, 25, tmp_path)


def test_the_longest_chain_starts_first_and_nothing_before_what_it_needs(tmp_path, monkeypatch):
    needs = {"a": (), "b": (), "c": (), "d": ("b",), "e": ("c",), "f": ("e", "a"), "g": ()}
    started = []

    def execute(folder, template, number, settings):
        started.append(template.stem)
        return {"name": template.stem, "status": "finished"}

    monkeypatch.setattr(runs, "execute_analysis", execute)
    steps = {name: (f"{i:02d}", Path(f"{name}.ipynb")) for i, name in enumerate(needs, 1)}
    ended = [r["name"] for r in runs._executed(tmp_path, steps, needs, 1, {})]
    assert started == ended == ["c", "a", "b", "e", "d", "f", "g"]
    started.clear()
    for result in runs._executed(tmp_path, steps, needs, 3, {}):
        assert all(need in started for need in needs[result["name"]])
    assert sorted(started) == sorted(needs) and set(started[:3]) == {"a", "b", "c"}


def test_a_damaged_record_is_named(tmp_path):
    path = record(tmp_path, "001", None)
    (path / "run.json").write_text('{"run_id": "001",\n "exp')
    with pytest.raises(SportsmlError, match=re.escape(f"{path / 'run.json'}:2: not valid JSON")):
        list_runs(tmp_path)
