"""Seconds for rating 15,000 simulated games, and how many times faster that is than the obvious loop.

    python benchmarks/ratings.py

Elo and Pythagorean against a loop over rows with dictionaries; SRS and Massey against one least-squares problem a day.
One core: BLAS is held to one thread. Each number is the best of five runs (the loops run once), after a first one that
lets numba compile. Exits with 1 when a bar of the project is missed (Elo 0.05 s, daily SRS 1 s) or when the fast
path and the loop disagree.
"""
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from timing import best_of

from sportsml.ratings.elo import EloConfig, elo_ratings
from sportsml.ratings.massey import massey_ratings
from sportsml.ratings.pythagorean import PythagoreanConfig, pythagorean_ratings
from sportsml.ratings.srs import SRSConfig, srs_ratings

GAMES, TEAMS, A_SEASON, A_DAY = 15_000, 30, 1_230, 7
BARS = {"Elo": 0.05, "daily SRS": 1.0}


def simulate(games: int = GAMES) -> pd.DataFrame:
    "Returns seasons of 1,230 games, seven a day, between thirty teams whose strengths drift."
    draw = np.random.default_rng(0)
    strength, rows = draw.normal(0, 4, TEAMS), []
    for number in range(games):
        season, (day, slot) = number // A_SEASON, divmod(number % A_SEASON, A_DAY)
        if number % A_SEASON == 0:
            strength = 0.7 * strength + draw.normal(0, 3, TEAMS)
        if slot == 0:
            pairs = draw.permutation(TEAMS)
        home, away = pairs[2 * slot:2 * slot + 2]
        margin = round(strength[home] - strength[away] + 3 + draw.normal(0, 12)) or 1
        rows.append((2001 + season, pd.Timestamp(2000 + season, 10, 28) + pd.Timedelta(days=day), home, away,
                     100 + margin, 100))
    return pd.DataFrame(rows, columns=["season", "date", "home_id", "away_id", "home_points", "away_points"])


def loop_elo(games: pd.DataFrame) -> np.ndarray:  # (T,) final ratings
    "Rates with a loop over rows and a dictionary."
    config, rating, season = EloConfig(), {}, None
    for game in games.sort_values("date", kind="stable").itertuples():
        if game.season != season:
            rating = {team: config.mean + config.carry * (value - config.mean) for team, value in rating.items()}
            season = game.season
        home, away = rating.get(game.home_id, config.mean), rating.get(game.away_id, config.mean)
        lead, margin = home + config.home_edge - away, game.home_points - game.away_points
        factor = (abs(margin) + 3) ** 0.8 / (7.5 + 0.006 * (lead if margin > 0 else -lead))
        gain = config.k * factor * ((margin > 0) - 1 / (1 + 10 ** (-lead / 400)))
        rating[game.home_id], rating[game.away_id] = home + gain, away - gain
    return np.array([rating[team] for team in sorted(rating)])


def loop_days(games: pd.DataFrame, one_day: Callable, carry: float) -> np.ndarray:  # (T,) final
    "Calls `one_day(games of the season to date, prior)` for every day."
    prior = np.zeros(TEAMS)
    for _, season in games.groupby("season"):
        for day in season["date"].unique():
            rating = one_day(season[season["date"] <= day], prior)
        prior = carry * rating
    return rating


def design(played: pd.DataFrame, extra: int = 0) -> np.ndarray:  # (G, T + extra)
    "Returns +1 for the home team, -1 for the visitors, and ones in the extra column."
    matrix, rows = np.zeros((len(played), TEAMS + extra)), np.arange(len(played))
    matrix[rows, played["home_id"]], matrix[rows, played["away_id"]], matrix[:, TEAMS:] = 1, -1, 1
    return matrix


def srs_day(played: pd.DataFrame, prior: np.ndarray, config: SRSConfig = SRSConfig()) -> np.ndarray:
    "Solves one day of SRS by least squares on the games."
    weight = np.sqrt(config.prior_games)
    margin = played["home_points"] - played["away_points"] - config.home_edge
    matrix = np.vstack([design(played), weight * np.eye(TEAMS)])
    return np.linalg.lstsq(matrix, np.append(margin, weight * prior), rcond=None)[0]


def massey_day(played: pd.DataFrame, prior: np.ndarray) -> np.ndarray:
    "Solves one day of Massey by least squares on the games."
    margin = (played["home_points"] - played["away_points"]).to_numpy(float)
    return np.linalg.lstsq(design(played, 1), margin, rcond=None)[0][:-1]


def loop_pythagorean(games: pd.DataFrame) -> np.ndarray:  # (T,) final
    "Keeps running sums in a list a team and rates all teams after every day."
    config, prior = PythagoreanConfig(), dict.fromkeys(range(TEAMS), 0.5)
    for _, season in games.groupby("season"):
        sums = {team: [0, 0, 0] for team in prior}
        for _, played in season.groupby("date"):
            for game in played.itertuples():
                for team, own, other in ((game.home_id, game.home_points, game.away_points),
                                         (game.away_id, game.away_points, game.home_points)):
                    sums[team] = [total + new for total, new in zip(sums[team], (own, other, 1), strict=True)]
            rating = {}
            for team, (own, other, count) in sums.items():
                expected = own**config.exponent / (own**config.exponent + other**config.exponent) if count else 0.5
                rating[team] = (count * expected + config.prior_games * prior[team]) / (count + config.prior_games)
        prior = {team: 0.5 + config.carry * (value - 0.5) for team, value in rating.items()}
    return np.array([rating[team] for team in range(TEAMS)])


CASES = {
    "Elo": (elo_ratings, loop_elo),
    "daily SRS": (srs_ratings, partial(loop_days, one_day=srs_day, carry=SRSConfig().carry)),
    "daily Massey": (massey_ratings, partial(loop_days, one_day=massey_day, carry=0)),
    "daily Pythagorean": (pythagorean_ratings, loop_pythagorean),
}


def main() -> int:  # exit status
    games, failed = simulate(), False
    print(f"{len(games):,} games, {games['date'].nunique():,} days, {TEAMS} teams, one core")
    print(f"{'rating':<18} {'seconds':>9} {'loop':>9} {'ratio':>7} {'bar':>6}  largest difference")
    for name, (fast, slow) in CASES.items():
        fast(games)  # numba compiles here
        with threadpool_limits(1):
            seconds, panel = best_of(partial(fast, games), 5)
            loop, final = best_of(partial(slow, games), 1)
        difference = np.abs(panel.values[-1] - final).max()
        late = seconds > BARS.get(name, np.inf)
        failed |= late or difference > 1e-6
        bar = f"{BARS[name]:.2f}" if name in BARS else "-"
        print(f"{name:<18} {seconds:>9.4f} {loop:>9.3f} {loop / seconds:>6.0f}x {bar:>6}  {difference:.0e}"
              f"{'  TOO SLOW' if late else ''}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
