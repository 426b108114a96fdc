"""Runs `nba-on-court` and `pbpstats` offline; benchmarks/playbyplay.py starts it inside their own environment.

    python playbyplay_reference.py JOB RESULT

JOB (JSON) lists CSV files and how often to repeat. RESULT (npz) gets, for each tool, one row an event (game, event
number, five at home, five away, each five sorted by id) or, for possessions, one row a possession (game, period, offence, last event
number, whether pbpstats counts it); `report` in it is JSON: best seconds of each game, the error of each that failed.
Nothing of sportsml is imported here, and nothing leaves the machine: a tool that wants to ask the network about missing
starters fails on that game at once.
"""
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import requests

WIDTHS = {"nba-on-court, lineups": 12, "pbpstats, lineups": 12, "pbpstats, possessions": 5}


def refuse(*_: object, **__: object) -> None:
    "Stands in for every request."
    raise requests.ConnectionError("it asks stats.nba.com")


def teams_of(rows: pd.DataFrame) -> tuple[int, int]:  # home, away
    "Returns both team ids: the first player of an event is typed 4 at home and 5 away."
    return tuple(int(rows.loc[rows["PERSON1TYPE"] == side, "PLAYER1_TEAM_ID"].mode()[0]) for side in (4, 5))


def on_court(rows: pd.DataFrame) -> tuple[np.ndarray, float]:  # event numbers and tens, seconds
    "Runs nba-on-court on a game in memory."
    from nba_on_court import players_on_court

    frame = rows.copy()
    begin = time.process_time()
    found = players_on_court(frame)
    seconds = time.process_time() - begin
    fives = [np.sort(found[[f"{side}_PLAYER{i}" for i in range(1, 6)]].to_numpy("int64")) for side in ("HOME", "AWAY")]
    return np.column_stack([found["EVENTNUM"], *fives]), seconds


def pbpstats_lineups(game_id: str, folder: Path, teams: tuple[int, int]) -> tuple[np.ndarray, float]:  # as `on_court`
    "Runs pbpstats on the file of a game, to the players of every event."
    from pbpstats.data_loader import StatsNbaEnhancedPbpFileLoader, StatsNbaEnhancedPbpLoader

    begin = time.process_time()
    loaded = StatsNbaEnhancedPbpLoader(game_id, StatsNbaEnhancedPbpFileLoader(str(folder)))
    events = [(event.event_num, event.current_players) for event in loaded.items]
    seconds = time.process_time() - begin
    return np.array([[number, *(int(p) for team in teams for p in sorted(five[team]))] for number, five in events]), seconds


def pbpstats_possessions(game_id: str, folder: Path) -> tuple[np.ndarray, float]:  # possessions, seconds
    "Runs pbpstats on the file of a game, to possessions and who has the ball."
    from pbpstats.data_loader import StatsNbaPossessionFileLoader, StatsNbaPossessionLoader

    begin = time.process_time()
    loaded = StatsNbaPossessionLoader(game_id, StatsNbaPossessionFileLoader(str(folder)))
    found = [(p.period, p.offense_team_id, p.events[-1].event_num, p.events[-1].count_as_possession) for p in loaded.items]
    return np.array(found), time.process_time() - begin


def save(rows: pd.DataFrame, game_id: str, folder: Path) -> None:
    "Writes a game as the answers of stats.nba.com that pbpstats reads; the places of its shots are left empty."
    ids = {c: "Int64" for c in rows if c.endswith("_ID") and c != "GAME_ID"}
    cells = rows.astype(ids).assign(GAME_ID=game_id).astype(object)
    cells = cells.where(cells.notna(), None)
    answers = {f"pbp/stats_{game_id}": (list(cells), cells.to_numpy().tolist())}
    answers |= {f"game_details/stats_{side}_shots_{game_id}": (["GAME_EVENT_ID", "LOC_X", "LOC_Y"], []) for side in ("home", "away")}
    for name, (headers, values) in answers.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"resultSets": [{"headers": headers, "rowSet": values}]}), encoding="utf-8")


def run_game(path: Path) -> dict[str, tuple[np.ndarray, float] | str]:  # rows and seconds by tool, or the error
    "Runs everything on one game."
    rows, result = pd.read_csv(path), {}
    game_id = f"{rows['GAME_ID'].iloc[0]:010d}"
    calls = zip(WIDTHS, (on_court, pbpstats_lineups, pbpstats_possessions), strict=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = {on_court: (rows,), pbpstats_lineups: (game_id, folder, teams_of(rows)), pbpstats_possessions: (game_id, folder)}
        for tool, call in calls:
            save(rows, game_id, folder)  # anew for each: pbpstats rewrites the file when it moves events
            try:
                result[tool] = call(*arguments[call])
            except Exception as e:  # whatever it raises: the game counts as one it cannot do
                result[tool] = f"{type(e).__name__}: {e}"[:120]
    return result


def main() -> int:  # exit status
    requests.sessions.Session.request = refuse
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rows, seconds, failed = ({tool: [] if part == 0 else {} for tool in WIDTHS} for part in range(3))
    run_game(Path(job["files"][0]))  # imports are not timed
    for repeat in range(job["repeats"]):
        for game, path in enumerate(job["files"]):
            for tool, found in run_game(Path(path)).items():
                if isinstance(found, str):
                    failed[tool][game] = found
                    continue
                seconds[tool][game] = min(found[1], seconds[tool].get(game, found[1]))
                if repeat == 0:
                    rows[tool].append(np.insert(found[0], 0, game, axis=1))
    tables = {tool: np.concatenate([np.empty((0, WIDTHS[tool]), "int64"), *parts]) for tool, parts in rows.items()}
    np.savez_compressed(sys.argv[2], report=json.dumps({"seconds": seconds, "failed": failed}), **tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
