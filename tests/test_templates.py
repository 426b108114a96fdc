"""Every experiment in config/ runs whole: on its simulated league if it has one, and on the same files handed in as real ones."""
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import tiny
import yaml
from filelock import FileLock

from sportsml.config import experiments, load_experiment
from sportsml.core import read_json
from sportsml.runs import RunError, RunRequest, find_run, headline, load_metrics, prepare_data, run_experiment
from sportsml.schema import check_rows

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = experiments(ROOT / "config")
RUN_IDS = {"simulated": "024", "real": "025"}
SEVERAL_BASELINES = {"nba_strength": ["08", "09", "10", "11"]}  # analyses whose baselines' own rows stand elsewhere
NEEDS_SEASONS = {"12_tracking"}  # its grid takes more warm-up seasons than a smoke run has: a note instead of figures and metrics


def run_ids(config) -> dict[str, str]:
    """Returns the runs of an experiment, by source: one without a simulated league has real data alone."""
    return {source: number for source, number in RUN_IDS.items() if source == "real" or config.simulator}


def shared_folder(factory) -> Path:
    """Returns a folder that all pytest-xdist workers of this session see, so that only one of them makes the runs."""
    base = factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session", params=EXPERIMENTS)
def made(request, tmp_path_factory) -> SimpleNamespace:
    """Makes the smoke runs of an experiment once a session, at the same time, and returns where they are."""
    base = shared_folder(tmp_path_factory) / f"templates_{request.param}"
    base.mkdir(exist_ok=True)
    config = load_experiment(request.param, smoke=True, config_dir=ROOT / "config")
    with pytest.MonkeyPatch.context() as patch, FileLock(base / "made.lock"):
        for name, folder in {"HOME": ROOT, "DATA": base / "data", "OUTPUTS": base / "outputs3", "PROGRESS": "0"}.items():
            patch.setenv(f"SPORTSML_{name}", str(folder))
        patch.setenv("SPORTSML_RAW", str(base / "none"))
        patch.setenv("SPORTSML_RAW", str(prepare_data(config, progress=False).raw))
        ids = run_ids(config)
        if not (base / "made").exists():
            real = subprocess.Popen(tiny.command("run", ids["real"], "-e", request.param, "-s", "real", "--smoke", "-q"),
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if "simulated" in ids:
                run_experiment(RunRequest(ids["simulated"], request.param, smoke=True), progress=False)
            output = real.communicate()[0]
            assert real.returncode == 0, output
            (base / "made").touch()
        return SimpleNamespace(config=config, outputs=base / "outputs3", data=base / "data", raw=Path(os.environ["SPORTSML_RAW"]), ids=ids)


@pytest.fixture
def at(made, monkeypatch) -> SimpleNamespace:
    """The runs, with the environment pointing at them; for looking only."""
    for name in ("outputs", "data", "raw"):
        monkeypatch.setenv(f"SPORTSML_{name.upper()}", str(getattr(made, name)))
    return made


@pytest.fixture
def copy(at, monkeypatch, tmp_path) -> Path:
    """A copy of the first of the runs that a test may run again; returns the run's folder."""
    name = f"run_{min(at.ids.values())}"
    shutil.copytree(at.outputs / name, tmp_path / "outputs3" / name)
    monkeypatch.setenv("SPORTSML_OUTPUTS", str(tmp_path / "outputs3"))
    return tmp_path / "outputs3" / name


@pytest.fixture(params=RUN_IDS)
def run(request, at) -> Path:
    """Each of the run folders."""
    if request.param not in at.ids:
        pytest.skip(f"{at.config.experiment} has no simulated league")
    return find_run(RUN_IDS[request.param])


def test_analyses_are_written_as_notebook_and_page_with_figures(run, at):
    used = set()
    for i, name in enumerate(at.config.analyses, 1):
        nb = nbformat.read(run / f"ANALYSIS_{i:02d}.ipynb", as_version=4)
        outputs = [o for c in nb.cells for o in c.get("outputs", [])]
        assert outputs and not [o for o in outputs if o.output_type == "error"], name
        page = (run / f"ANALYSIS_{i:02d}.md").read_text()
        assert page.startswith("# ") and page.count("\n## ") >= 3, name
        assert not re.search(r"skip_exec|run_dir = |Traceback|Warning", page), name
        assert not re.search(r"\bnan\b", re.sub(r"```.*?```", "", page, flags=re.DOTALL)), name  # code may say so
        figures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)
        assert figures or name in NEEDS_SEASONS, f"{name} has no figure"
        used |= set(figures)
    there = {p.relative_to(run).as_posix() for p in (run / "figures").iterdir()}
    assert used == there
    assert all((run / f).read_bytes().startswith(b"\x89PNG") and (run / f).stat().st_size < 100_000 for f in used)


def test_the_record_says_what_made_it_and_nothing_of_the_machine(run, at):
    record = read_json(run / "run.json")
    assert (record["status"], record["experiment"], record["smoke"]) == ("finished", at.config.experiment, True)
    assert record["source"] == ("simulated" if run.name == "run_024" else "real")
    assert [(a["number"], a["name"], a["status"]) for a in record["analyses"]] == [
        (f"{i:02d}", name, "finished") for i, name in enumerate(at.config.analyses, 1)]
    hashes = [d["sha256"] for d in record["data"] if d["file"]]
    assert hashes and all(re.fullmatch("[0-9a-f]{64}", h) for h in hashes)
    assert {d["source"] for d in record["data"]} == {record["source"]}
    for page in ["run.json", "metrics.json", "config.yaml", *(f"ANALYSIS_{a['number']}.md" for a in record["analyses"])]:
        text = (run / page).read_text()
        assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users|var)/\w", text), page
        assert not re.search(rf"\b{re.escape(platform.node())}\b", text), page  # a host may be called "vm": vmin is no trace of it
    assert yaml.safe_load((run / "config.yaml").read_text()) == at.config.model_dump(mode="json")


def test_every_metric_lies_in_its_interval_and_some_are_headlines(run, at):
    metrics = load_metrics(run)
    assert set(metrics["analysis"]) == {f"{i:02d}" for i, name in enumerate(at.config.analyses, 1) if name not in NEEDS_SEASONS}
    for value, low, high in (("value", "low", "high"), ("difference", "difference_low", "difference_high")):
        known = metrics.dropna(subset=[low])
        assert len(known) and (known[low] <= known[value] + 1e-12).all() and (known[value] <= known[high] + 1e-12).all(), value
    assert metrics["value"].notna().all() and (metrics["n"] > 0).all()
    assert not metrics.duplicated(["analysis", "target", "group", "model", "metric"]).any()
    compared = metrics.dropna(subset=["difference"])
    at_baseline = compared.merge(metrics, left_on=["analysis", "target", "group", "metric", "baseline"],
                                 right_on=["analysis", "target", "group", "metric", "model"], suffixes=("", "_b"))
    several = SEVERAL_BASELINES.get(at.config.experiment, [])
    assert (~at_baseline["analysis"].isin(several)).sum() == (~compared["analysis"].isin(several)).sum()
    linear = at_baseline[at_baseline["metric"].isin(["brier", "log_loss", "spearman", "mae"]) & (at_baseline["n"] == at_baseline["n_b"])]
    assert len(linear) and ((linear["value"] - linear["value_b"] - linear["difference"]).abs() < 1e-9).all()
    shown = headline(run)
    assert 1 <= len(shown) <= 30 and not shown.isna().any(axis=None)


def test_predictions_fit_their_table(run):
    stored = pd.read_parquet(run / "predictions.parquet")
    good, bad = check_rows("predictions", stored)
    assert len(good) == len(stored) > 0 and bad.empty
    assert set(stored["run_id"]) == {run.name.removeprefix("run_")}
    sizes = stored.groupby(["target_name", "group_id", "model"]).size()
    assert (sizes.groupby(["target_name", "group_id"]).nunique() == 1).all()  # every model of a list forecasts the whole list


def test_the_runs_stand_in_the_index_and_their_pages_exist(at):
    index = (at.outputs / "INDEX.md").read_text()
    for source, number in at.ids.items():
        assert f"| {number} | {at.config.experiment} | {source}, smoke | finished |" in index
    links = re.findall(r"\]\(([^)]+)\)", index)
    assert len(links) == len(at.ids) * len(at.config.analyses) and all((at.outputs / link).exists() for link in links)


def test_the_same_files_give_the_same_numbers_whatever_they_are_called(at):
    if len(at.ids) < 2:
        pytest.skip(f"{at.config.experiment} has no simulated league")
    key = ["analysis", "target", "group", "model", "metric", "value", "low", "high", "difference"]
    simulated, real = (load_metrics(at.outputs / f"run_{i}")[key] for i in RUN_IDS.values())
    truth = (simulated["model"].eq("oracle") | simulated["metric"].eq("share_of_oracle")) & simulated["analysis"].eq("07")
    pd.testing.assert_frame_equal(simulated[~truth].reset_index(drop=True), real)  # only the simulated run reads the truth


def test_a_finished_run_is_kept_and_another_one_refused(copy, made):
    rewritten = ("run.json", "config.yaml", "run.lock", "INDEX.md")
    written = {p: p.stat().st_mtime_ns for p in copy.rglob("*.*") if p.name not in rewritten}
    before, number = read_json(copy / "run.json"), int(copy.name[4:])
    run_experiment(RunRequest(number, made.config.experiment, smoke=True), progress=False)
    assert {p: p.stat().st_mtime_ns for p in written} == written
    assert read_json(copy / "run.json")["analyses"] == before["analyses"]
    changes = [({"overrides": "seed=77"}, "seed is .* there and 77 here"),
               ({"source": "real"}, "source is 'simulated' there and 'real' here")]
    for change, why in changes[:len(made.ids)]:
        with pytest.raises(RunError, match=f"{copy.name} holds another run: {why}"):
            run_experiment(RunRequest(number, made.config.experiment, smoke=True, **change), progress=False)


# --- the run notebook, through papermill as a person calls it ---

def papermill(folder: Path, out: Path, *parameters: str) -> subprocess.CompletedProcess:
    """Calls `papermill run_experiment.ipynb OUT.ipynb -p NAME VALUE ...` in a folder."""
    words = [sys.executable, "-m", "papermill", "run_experiment.ipynb", str(out)]
    for name, value in zip(parameters[::2], parameters[1::2], strict=True):
        words += ["-p", name, value]
    environment = {k: v for k, v in os.environ.items() if k != "SPORTSML_HOME"}  # the project is found from the folder
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("folder", ["nbs", "."])
def test_papermill_runs_it_from_the_root_as_from_nbs(copy, made, tmp_path, folder):
    parameters = ("run_id", copy.name[4:], "experiment", made.config.experiment, "smoke", "True")
    done = papermill(ROOT / folder, tmp_path / "OUT.ipynb", *parameters)
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr and "Unable to parse" not in done.stderr
    said = json.dumps(nbformat.read(tmp_path / "OUT.ipynb", as_version=4).cells)
    assert f"run folder: outputs3/{copy.name}" in said and "[95 %]" in said
    assert [p.name for p in copy.parent.glob("run_*")] == [copy.name]


@pytest.mark.parametrize(("parameters", "message"), [
    (("runid", "024"), r"unknown parameter 'runid'; did you mean run_id\?"),
    (("experiment", "nbastrength"), r"no experiment 'nbastrength' in config/; did you mean nba_strength\? \(allowed: .*nba"),
])
def test_papermill_stops_on_a_wrong_parameter(tmp_path, monkeypatch, parameters, message):
    monkeypatch.setenv("SPORTSML_OUTPUTS", str(tmp_path / "outputs3"))
    done = papermill(ROOT / "nbs", tmp_path / "OUT.ipynb", *parameters)
    assert done.returncode != 0 and re.search(message, done.stderr), done.stderr[-2000:]
    assert not (tmp_path / "outputs3").exists()
