"""How the default settings of SRS and Pythagorean were chosen; prints the grids, writes nothing.

    SPORTSML_RAW=FOLDER python benchmarks/rating_defaults.py

Real games of 2006-07 to 2009-10 only: the first season warms the ratings up, the other three are scored, and no later
season is read, so the settings have not seen what the analyses test on. SRS: root mean squared error of the expected
margin (home edge fitted to the scored games). Pythagorean: log loss of the chance that the home team wins.
"""
import itertools
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd

from sportsml.core import project_paths
from sportsml.nba.results import read_game_results
from sportsml.ratings.massey import margin_moments
from sportsml.ratings.pythagorean import PythagoreanConfig, pythagorean_ratings, pythagorean_win_probability
from sportsml.ratings.srs import SRSConfig, srs_ratings
from sportsml.splits import AsOfPanel

WARM_UP, LAST = 2007, 2010  # seasons, by the year they end
SRS_GRID = {"prior_games": (2, 4, 6, 8, 10, 12, 15, 20, 25, 30), "carry": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            "margin_cap": (15, 20, 25, 30, None)}
PYTHAGOREAN_GRID = {"prior_games": (0, 4, 8, 10, 15, 20, 25, 30, 40), "carry": (0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)}


def as_met(panel: AsOfPanel, games: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:  # (G,) home, (G,) away
    "Returns the ratings of both teams as of the day of each game."
    return panel.at(games["date"], games["home_id"]), panel.at(games["date"], games["away_id"])


def srs_error(games: pd.DataFrame, **settings: float) -> float:  # points
    "Scores one setting of SRS."
    scored = games[games["season"] > WARM_UP]
    home, away = as_met(srs_ratings(games, SRSConfig(**settings)), scored)
    return margin_moments(home - away, scored["home_points"] - scored["away_points"])[1]


def pythagorean_loss(games: pd.DataFrame, **settings: float) -> float:  # nats a game
    "Scores one setting of Pythagorean."
    scored = games[games["season"] > WARM_UP]
    chance = pythagorean_win_probability(*as_met(pythagorean_ratings(games, PythagoreanConfig(**settings)), scored))
    return float(-np.log(np.where(scored["home_points"] > scored["away_points"], chance, 1 - chance)).mean())


def search(games: pd.DataFrame, score: Callable, grid: dict[str, tuple]) -> pd.DataFrame:  # a row a setting, best first
    "Scores every combination of a grid."
    rows = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return pd.DataFrame([{**row, "score": score(games, **row)} for row in rows]).sort_values("score", ignore_index=True)


def report(title: str, found: pd.DataFrame, default: object) -> None:
    "Prints the grid of the best cap, the best of each cap, and where the default stands."
    print(f"\n{title}: {len(found)} settings, smaller is better")
    caps = found.fillna({"margin_cap": np.inf}) if "margin_cap" in found else found.assign(margin_cap=np.inf)
    best = caps.iloc[0]
    shown = caps[caps["margin_cap"] == best["margin_cap"]]
    print(shown.pivot(index="prior_games", columns="carry", values="score").round(4).to_string())
    if caps["margin_cap"].nunique() > 1:
        print(caps.groupby("margin_cap").first().round(4).rename(index={np.inf: "none"}).to_string())
    here = caps[(caps["prior_games"] == default.prior_games) & (caps["carry"] == default.carry)
                & (caps["margin_cap"] == (getattr(default, "margin_cap", None) or np.inf))]
    print(f"best: prior_games {best['prior_games']:g}, carry {best['carry']:g}, score {best['score']:.4f}; default: prior_games "
          f"{default.prior_games:g}, carry {default.carry:g}, score {here['score'].iloc[0]:.4f}, number {here.index[0] + 1}")


def main() -> int:  # exit status
    path = project_paths().raw / "nba" / "game_results.csv"
    if not path.exists():
        print(f"{path} is not there, so there is nothing to reproduce. `sportsml data list` says how to make the file "
              "(nba_game_results), `sportsml data import FILE` brings it in; or name another raw folder in SPORTSML_RAW.")
        return 0
    games = read_game_results(path).rows
    games = games[games["season"].between(WARM_UP, LAST)].reset_index(drop=True)
    by_season = games["home_points"].gt(games["away_points"]).groupby(games["season"]).agg(["size", "mean"])
    print("games and share won at home:", ", ".join(f"{s}: {n:,.0f}, {share:.3f}" for s, n, share in by_season.itertuples()),
          f"- together {games['home_points'].gt(games['away_points']).mean():.3f}")
    report("SRS, root mean squared error (points)", search(games, srs_error, SRS_GRID), SRSConfig())
    report("Pythagorean, log loss (nats a game)", search(games, pythagorean_loss, PYTHAGOREAN_GRID), PythagoreanConfig())
    return 0


if __name__ == "__main__":
    sys.exit(main())
