"""Every test works in folders of its own: nothing is read from or written to data/ and outputs3/ of the tree."""
import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
# the suite says the same thing twice; HYPOTHESIS_PROFILE=search looks for new cases
settings.register_profile("suite", derandomize=True)
settings.register_profile("search")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch):
    """Moves simulated files and warehouses to a folder shared by the tests of one process, run folders to a new one a test."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("SPORTSML_HOME", str(ROOT))
    monkeypatch.setenv("SPORTSML_DATA", str(base / "data"))
    monkeypatch.setenv("SPORTSML_OUTPUTS", str(tmp_path_factory.mktemp("outputs3")))
    monkeypatch.setenv("SPORTSML_PROGRESS", "0")
    monkeypatch.setenv("MPLBACKEND", "agg")
    if not os.environ.get("SPORTSML_RAW"):
        monkeypatch.setenv("SPORTSML_RAW", str(base / "no_raw_files"))
