"""A league of which everything is known: strengths, how far the ratings are off, and playoffs drawn from the truth."""
import numpy as np
import pandas as pd

from sportsml.nba.franchises import teams_table
from sportsml.nba.odds import season_records, simulate_season_odds
from sportsml.splits import AsOfPanel

SPREAD, EDGE, SD = 4.0, 2.6, 12.0  # points: strengths, home edge, noise of a margin
FIRST = 2021


def planted(
    seasons: int,  # how many, from 2020-21 on
    error: float,  # points, standard error of the ratings; below SPREAD
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, AsOfPanel, AsOfPanel]:  # games, teams, outcomes, ratings, true strengths
    "Plays seasons that are a round robin; ratings are shrunk as they should be, and stay the same through a season."
    draw, parts, noise = np.random.default_rng(seed), [], SPREAD**2 * error**2 / (SPREAD**2 - error**2)
    home, away = np.array([(i, j) for i in range(30) for j in range(30) if i != j]).T
    for season in range(FIRST, FIRST + seasons):
        own = teams_table([2016]).assign(season=season)
        ids, true = np.sort(own["team_id"].to_numpy()), draw.normal(0, SPREAD, 30)
        rating = SPREAD**2 / (SPREAD**2 + noise) * (true + draw.normal(0, np.sqrt(noise), 30))
        margin = np.rint(EDGE + true[home] - true[away] + draw.normal(0, SD, len(home)))
        date = pd.Timestamp(season - 1, 11, 1) + pd.to_timedelta(draw.permutation(len(home)) % 160, "D")
        games = pd.DataFrame({"season": season, "season_type": "regular", "date": date, "home_id": ids[home], "away_id": ids[away],
                              "home_points": 100 + np.where(margin == 0, 1, margin), "away_points": 100.0})
        records = season_records(games, own, season)
        odds = simulate_season_odds(records, games.iloc[:0], pd.Series(true, index=ids), draws=1, seed=season + seed)
        parts.append((games, own, pd.DataFrame({"season": season, "team_id": ids, "reached": odds.reached[0]}), rating, true))
    days = np.array([f"{season - 1}-10-01" for season in range(FIRST, FIRST + seasons)], "datetime64[ns]")
    frames = [pd.concat(column, ignore_index=True) for column in list(zip(*parts, strict=True))[:3]]
    years = range(FIRST, FIRST + seasons)
    return *frames, *(AsOfPanel(name, days, years, ids, np.array([p[i] for p in parts])) for name, i in (("rating", 3), ("truth", 4)))
