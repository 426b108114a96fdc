"""Play-by-play to lineups and possessions: games a second, and agreement with `nba-on-court` and `pbpstats`.

    python benchmarks/playbyplay.py [--raw FOLDER] [--games N] [--repeats 3] [--reference PYTHON] [--list]

FOLDER holds nba/pbp/*.csv; by default that of the project (SPORTSML_RAW), or a simulated season where it has none. The
two packages live in an environment of their own, made once from requirements-playbyplay.txt in the user's cache folder
(or name its interpreter with --reference); where it cannot be made they are skipped, with the reason. One process on
one thread each, seconds of the processor (those of all threads, were there more), best of the repeats: sportsml from CSV to
possessions, nba-on-court lineups on frames in memory, pbpstats from file to lineups, or to possessions. A game counts as
one that a tool cannot do where it raises an error, which includes asking the network. Exits with 1 when a bar of the
project is missed: 99.9 % of events with the same ten players; with 200 games or more also 250 games/s, 4 times pbpstats,
10 times nba-on-court (a few games hardly take longer than one).
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pooch

from sportsml.core import SportsmlError, project_paths

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-playbyplay.txt"
ONE_CORE = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
SPEED, ENOUGH, SAME = 250, 200, 0.999  # games a second, judged on how many games; share of events, and of possessions
FASTER = {"nba-on-court, lineups": 10, "pbpstats, lineups": 4, "pbpstats, possessions": 4}
TEN = [f"{side}_{i}" for side in ("home", "away") for i in range(1, 6)]


class NoReference(SportsmlError):
    "The environment of the other packages is not there and cannot be made."


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    "Reads the command line."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=Path, help="folder that holds nba/pbp/*.csv; by default the project's raw folder")
    parser.add_argument("--games", type=int, help="use the first N games only")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the best counts (3)")
    parser.add_argument("--reference", type=Path, help="Python of an environment with nba-on-court and pbpstats")
    parser.add_argument("--save", type=Path, help="write the figures to this JSON file, from which README takes them")
    parser.add_argument("--list", action="store_true", help="list every event and every game that disagrees")
    found = parser.parse_args(given)
    for name in ("games", "repeats"):
        if getattr(found, name) is not None and getattr(found, name) < 1:
            parser.error(f"--{name} {getattr(found, name)}: at least 1 is needed")
    return found


def first_line(text: str) -> str:
    "Returns the line of a tool's output that says what went wrong."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no message")[:200]


def reference_python(cache: Path) -> Path:  # an interpreter that imports both packages
    "Returns the interpreter of the cached environment, made where it is missing; raises `NoReference` with the reason."
    pins = REQUIREMENTS.read_bytes() + sys.version.encode()
    folder = cache / f"playbyplay-{hashlib.sha256(pins).hexdigest()[:12]}"
    python, ready = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), folder / "ready"
    if not ready.exists():
        print(f"making the environment of the other packages in {folder} ...", flush=True)
        for command in ([sys.executable, "-m", "venv", "--clear", str(folder)],
                        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
                         "-r", str(REQUIREMENTS)]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise NoReference(f"the environment in {folder} cannot be made: {first_line(done.stderr + done.stdout)}; "
                                  f"install {REQUIREMENTS.name} elsewhere and name its Python with --reference")
        ready.touch()
    return python


def run_reference(python: Path, files: list[Path], repeats: int, folder: Path) -> dict[str, np.ndarray]:
    "Runs the other packages in their environment; raises `NoReference` where it lacks one."
    check = "import nba_on_court, numpy, pandas, pbpstats, requests"
    try:
        done = subprocess.run([str(python), "-c", check], capture_output=True, text=True)
    except OSError as e:
        raise NoReference(f"{python} cannot be started: {e}; name a Python that has both packages with --reference") from e
    if done.returncode:
        raise NoReference(f"{python}: {first_line(done.stderr)}; install {REQUIREMENTS.name} into it")
    job, result = folder / "job.json", folder / "result.npz"
    job.write_text(json.dumps({"files": [str(f) for f in files], "repeats": repeats}), encoding="utf-8")
    subprocess.run([str(python), str(HERE / "playbyplay_reference.py"), str(job), str(result)], check=True)
    with np.load(result) as found:
        return dict(found)


def run_ours(files: list[Path], repeats: int) -> tuple[dict[str, float], pd.DataFrame, pd.DataFrame]:  # seconds, events, possessions
    "Times CSV to possessions; returns the ten players of every event, and the possessions."
    from sportsml.nba.lineups import build_lineups, on_floor
    from sportsml.nba.playbyplay import read_playbyplay

    seconds = {}
    for repeat in range(repeats + 1):  # numba compiles in the first, on one game
        begin = time.process_time()
        read = read_playbyplay(files if repeat else files[:1], progress=False)
        middle = time.process_time()
        lineups = build_lineups(read.games, read.plays)
        end = time.process_time()
        if repeat:
            for part, spent in (("all", end - begin), ("lineups", end - middle)):
                seconds[part] = min(spent, seconds.get(part, spent))
    order = ["game_id", "order"]
    columns = [*order, "event_num", "period", "seconds_left", "event", "description"]
    events = read.plays[columns].assign(game_id=read.plays["game_id"].astype(str))
    events = events.assign(**dict(zip(TEN, on_floor(read.plays, lineups.stints).T, strict=True)))
    events = events[~events["game_id"].isin(lineups.refused)]
    possessions = lineups.possessions.assign(game_id=lineups.possessions["game_id"].astype(str), order=lineups.possessions["last_order"])
    return seconds, events, possessions.merge(events[[*order, "event_num"]], on=order)


def lineup_agreement(ours: pd.DataFrame, theirs: np.ndarray, games: list[str]) -> tuple[str, float, pd.DataFrame]:
    "Compares the ten players of the events that both have; returns words, share and the events that differ."
    other = pd.DataFrame(theirs[:, 1:], columns=["event_num", *TEN]).assign(game_id=np.array(games)[theirs[:, 0]])
    both = ours.merge(other, on=["game_id", "event_num"], suffixes=("", "_other"))
    differs = (both[TEN].to_numpy() != both[[f"{c}_other" for c in TEN]].to_numpy()).any(axis=1)
    share, games_hit = 1 - differs.mean() if len(both) else np.nan, both.loc[differs, "game_id"].nunique()
    words = f"{share:.4%} of {len(both):,} events have the same ten; {differs.sum():,} in {games_hit:,} games do not"
    return words, share, both.loc[differs, ["game_id", "order", "event_num", "period", "event", "description"]]


def at_buzzer(events: pd.DataFrame) -> pd.Series:  # last event of the period, by game and event
    "Finds the events at 0:00, after which nothing can be done: whether a rebound there ends a possession is a matter of taste."
    last = events.groupby(["game_id", "period"])["event_num"].transform("last")
    return last.set_axis(pd.MultiIndex.from_frame(events[["game_id", "event_num"]]))[events["seconds_left"].eq(0).to_numpy()]


def possession_agreement(ours: pd.DataFrame, theirs: np.ndarray, games: list[str], buzzer: pd.Series) -> tuple[str, float, pd.DataFrame]:
    "Compares where possessions end (`buzzer`: events that are the end of the period) and whose they are; returns as above."
    keys, at = ["game_id", "period", "offense_id", "event_num"], ["game_id", "event_num"]
    other = pd.DataFrame(theirs[:, 1:], columns=[*keys[1:], "counts"]).assign(game_id=np.array(games)[theirs[:, 0]])
    ours = ours.loc[ours["game_id"].isin(other["game_id"].unique()), [*keys, "end"]]
    ours, other = (f.join(buzzer.rename("last"), on=at).assign(event_num=lambda f: f["last"].fillna(f["event_num"]).astype(int))
                   .drop(columns="last") for f in (ours, other))
    both = ours.merge(other, on=keys, how="outer", indicator="found")
    counted = both["counts"].eq(1)
    share, teams = (both["found"].eq("both") & counted).sum() / counted.sum(), 2 * max(other["game_id"].nunique(), 1)
    words = (f"{share:.4%} of the {counted.sum():,} it counts end at the same event with the same team; sportsml has "
             f"{(len(ours) - counted.sum()) / teams:+.2f} a team and game")
    one = both[both["found"].eq("left_only") | both["found"].eq("right_only") & counted]
    return words, share, one.assign(found=one["found"].map({"left_only": "sportsml", "right_only": "pbpstats"})).drop(columns="counts")


@contextmanager
def event_files(raw: Path, games: int | None) -> Iterator[tuple[list[Path], str]]:  # files, what they are
    "Gives the files to read; those of a simulated season where the folder has none."
    files = sorted((raw / "nba" / "pbp").glob("*.csv"))
    if files:
        yield files[:games], str(raw / "nba" / "pbp")
        return
    from sportsml.nba.sim_files import ensure_play_league
    from sportsml.nba.sim_games import PlayLeagueConfig

    with tempfile.TemporaryDirectory() as folder:
        most = PlayLeagueConfig().playbyplay_games
        ensure_play_league(PlayLeagueConfig(seasons=1, playbyplay_games=min(games or most, most)), folder)
        yield sorted(Path(folder, "nba", "pbp").glob("*.csv")), f"a simulated season, as {raw / 'nba' / 'pbp'} holds none"


def report(files: list[Path], seconds: dict[str, float], events: pd.DataFrame, possessions: pd.DataFrame,
           reference: dict[str, np.ndarray], show: bool) -> tuple[dict, bool]:  # figures by tool; whether a bar is missed
    "Prints the table and, if asked, all that disagrees."
    games, speed, done = [f.stem for f in files], len(files) / seconds["all"], events["game_id"].nunique()
    judged = len(files) >= ENOUGH
    missed = judged and speed < SPEED
    print(f"{'':<23}{'games/s':>8}{'ratio':>8}{'cannot do':>14}  agreement of sportsml with it")
    print(f"{'sportsml, possessions':<23}{speed:>8,.0f}{'':>8}{len(files) - done:>6,d} ({1 - done / len(files):>5.1%})  (lineups and "
          f"possessions alone, from plays in memory: {len(files) / seconds['lineups']:,.0f} games/s){'  TOO SLOW' * missed}")
    figures = {"sportsml": {"games": len(files), "games_per_second": speed}}
    told = json.loads(str(reference["report"])) if reference else {"seconds": {}, "failed": {}}
    for tool, spent in told["seconds"].items():
        failed, rate = told["failed"][tool], len(spent) / sum(spent.values()) if spent else np.nan
        words, share, differs = lineup_agreement(events, reference[tool], games) if tool.endswith("lineups") else possession_agreement(
            possessions, reference[tool], games, at_buzzer(events))
        bars = {f"BELOW {FASTER[tool]}x": judged and speed < FASTER[tool] * rate, "TOO LOW": share < SAME}
        print(f"{tool:<23}{rate:>8,.1f}{speed / rate:>7,.1f}x{len(failed):>6,d} ({len(failed) / len(files):>5.1%})  {words}"
              + "".join(f"  {bar}" for bar, hit in bars.items() if hit), flush=True)
        missed |= any(bars.values())
        figures[tool] = {"games_per_second": rate, "ratio": speed / rate, "cannot_do": len(failed), "agreement": share, "of": words}
        if show:
            print("".join(f"    cannot do {games[int(game)]}: {error}\n" for game, error in failed.items()), end="")
            print(differs.to_string(index=False) if len(differs) else "    nothing disagrees")
    return figures, missed


def main(given: list[str] | None = None) -> int:  # exit status
    options = arguments(given)
    os.environ.update(ONE_CORE)  # before anything imports polars or numba; the other process inherits both
    with event_files(options.raw or project_paths().raw, options.games) as (files, what), tempfile.TemporaryDirectory() as folder:
        print(f"{len(files):,} games of {what}; one process and thread, best of {options.repeats}", flush=True)
        try:
            python = options.reference or reference_python(Path(pooch.os_cache("sportsml")))
            reference = run_reference(python, files, options.repeats, Path(folder))
        except NoReference as e:
            print(f"nba-on-court and pbpstats are skipped: {e}")
            reference = {}
        figures, missed = report(files, *run_ours(files, options.repeats), reference, options.list)
        if options.save:
            options.save.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        return int(missed)


if __name__ == "__main__":
    sys.exit(main())
