"""A project folder of its own with a very small experiment: three analyses of a few lines on a league of one table."""
import os
import subprocess
import sys
from pathlib import Path

import nbformat

MODULE = '''
from dataclasses import dataclass

from sportsml.core import atomic_write
from sportsml.nba.franchises import teams_table


@dataclass(frozen=True)
class League:
    season: int = 2016


def simulate(config, folder, progress=None):
    path = folder / "nba" / "game_results.csv"
    if not path.exists():
        atomic_write(path, f"season\\n{config.season}\\n")


def build(raw, warehouse, source, progress=None):
    with open(raw / "builds.txt", "a") as log:
        log.write("built\\n")
    season = int((raw / "nba" / "game_results.csv").read_text().split()[1])
    warehouse.write("teams", teams_table([season]), source, files=[raw / "nba" / "game_results.csv"])
    if (raw / "break").exists():
        raise OSError("broken off")
'''

CONFIG = '''
experiment: tiny
title: A very small experiment
analyses: [01_metrics, 02_light, 03_forecasts]
sources: [nba_game_results]
builder: "tiny_league:build"
simulator: "tiny_league:simulate"
league: "tiny_league:League"
seed: 3
simulation: {season: 2016}
parameters: {elo: {k: 20.0}, days: ["12-31", "01-20"]}
'''

OPEN = "from sportsml.runs import open_run, save_metrics, save_predictions\nimport pandas as pd\nrun = open_run(run_dir)"
ANALYSES = {
    "01_metrics": [OPEN, "with run.warehouse() as warehouse:\n    teams = warehouse.read('teams')\nprint(len(teams), 'teams')",
                   """stored = save_metrics(run, "01", pd.DataFrame({
    "target": "home_win", "group": ["all", None], "model": ["elo", "home"], "metric": "brier",
    "value": [run.config.parameters["elo"]["k"] / 100, 0.25], "low": 0.1, "high": 0.3, "headline": [True, False]}))"""],
    "02_light": ["print(6 * 8)"],
    "03_forecasts": [OPEN, """stored = save_predictions(run, pd.DataFrame({
    "model": "elo", "fold": "2016", "split": "test", "season": 2016, "as_of": pd.Timestamp("2016-01-02"),
    "group_id": "201601020ATL", "entity_id": "1610612737", "target_name": "home_win", "target": 1.0, "pred": 0.6, "pred_lo": None,
    "pred_hi": None}, index=[0]))"""],
}


def write_analysis(home: Path, name: str, *cells: str) -> None:
    """Writes a template whose cells follow the one tagged `parameters`."""
    v4 = nbformat.v4
    nb = v4.new_notebook(cells=[v4.new_markdown_cell(f"# {name}\n\n> A test.\n\n- skip_exec: true"),
                                v4.new_code_cell("run_dir = None", metadata={"tags": ["parameters"]}),
                                *map(v4.new_code_cell, cells)])
    path = home / "nbs" / "analyses" / "tiny" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)


def make_project(home: Path, monkeypatch) -> Path:
    """Makes the folder and points the environment, this process and its children, at it."""
    (home / "config").mkdir(parents=True)
    (home / "settings.ini").write_text("[DEFAULT]\n")
    (home / "tiny_league.py").write_text(MODULE)
    (home / "config" / "tiny.yaml").write_text(CONFIG)
    (home / "config" / "smoke.yaml").write_text("tiny: {parameters: {elo: {k: 10.0}}}\n")
    for name, cells in ANALYSES.items():
        write_analysis(home, name, *cells)
    for name, folder in {"HOME": "", "DATA": "data", "RAW": "data/raw", "OUTPUTS": "outputs3"}.items():
        monkeypatch.setenv(f"SPORTSML_{name}", str(home / folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")])))
    monkeypatch.syspath_prepend(str(home))
    return home


def command(*words: str) -> list[str]:
    """Returns what a shell would call for `sportsml WORDS`."""
    return [sys.executable, "-c", "import sys; sys.argv[0] = 'sportsml'; from sportsml.cli import main; main()", *words]


def sportsml(*words: str, **options) -> subprocess.CompletedProcess:
    """Calls the command line in a process of its own."""
    environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    return subprocess.run(command(*words), capture_output=True, text=True, env=environment, **options)
