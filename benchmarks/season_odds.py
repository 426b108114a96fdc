"""Ten thousand seasons against a plain Python loop that plays the same ones; exits with 1 over the bar, or where they differ.

    python benchmarks/season_odds.py [--draws 10000] [--plain 100]

A whole season of 30 teams is still to be played (1,230 games), ratings with a standard error, play-in and playoffs of 2020-21. Both
use the same random numbers, on one core; the plain loop plays fewer seasons, and its time is taken per season.
"""
import argparse
import sys
import time

import numpy as np
import pandas as pd

from sportsml.core import rng
from sportsml.nba.franchises import BRACKET, series_hosts, teams_table
from sportsml.nba.odds import NOISE, OddsConfig, SeasonOdds, SeasonRecords, season_records, simulate_season_odds
from sportsml.nba.sim import LeagueConfig, simulate_league

SEASON = 2021
BAR = 5.0  # seconds for 10,000 seasons


def ordered(group, wins, beat, margin, conference, division, leaders):
    "Orders teams, best first, as the NBA does since 2015-16: a rule that splits a tie sends the parts back to the first rule."
    def share(team, others):
        won, lost = sum(beat[team][o] for o in others), sum(beat[o][team] for o in others)
        return won / (won + lost) if won + lost else 0.5

    everybody = range(len(wins))
    same = len({division[t] for t in group}) == 1
    rules = [lambda t: share(t, everybody), lambda t: share(t, group), lambda t: t in leaders,
             lambda t: share(t, [o for o in everybody if division[o] == division[t]]) if same else 0,
             lambda t: share(t, [o for o in everybody if conference[o] == conference[t]]), lambda t: margin[t]]
    if len(group) > 2:
        rules[1], rules[2] = rules[2], rules[1]
    for rule in rules if len(group) > 1 else []:
        values = {t: rule(t) for t in group}
        if len(set(values.values())) > 1:
            parts = [[t for t in group if values[t] == v] for v in sorted(set(values.values()), reverse=True)]
            return [t for part in parts for t in ordered(part, wins, beat, margin, conference, division, leaders)]
    return list(group)


def plain_season(records: SeasonRecords, pairs, rating, error, config: OddsConfig, noise):  # wins, place, seed, reached
    "Plays one season, of 2015-16 or later, the obvious way."
    size, edge, sd = len(rating), config.home_edge, config.sd
    own = [r + e * z for r, e, z in zip(rating, error, noise, strict=False)]
    beat, margin = records.beat.tolist(), records.margin.tolist()
    for (home, away), z in zip(pairs, noise[size:], strict=False):
        points = own[home] - own[away] + edge + sd * z
        margin[home], margin[away] = margin[home] + points, margin[away] - points
        winner, loser = (home, away) if points > 0 else (away, home)
        beat[winner][loser] += 1
    wins, z = [sum(row) for row in beat], noise[size + len(pairs):]
    conference, division = records.conference.tolist(), records.division.tolist()
    rest = wins, beat, margin, conference, division
    leaders = {ordered([t for t in range(size) if division[t] == d], *rest, set())[0] for d in set(division)}
    place, seed, reached, finalists = [0] * size, [0] * size, [0] * size, []

    def better(one, two, hosts, z):  # does `one` win first, best of len(hosts)?
        won = [own[one] - own[two] + h * edge + sd * x > 0 for h, x in zip(hosts, z, strict=False)]
        return sum(won) > len(hosts) / 2

    for number, side in enumerate("EW"):
        field = ordered([t for t in range(size) if conference[t] == side], *rest, leaders)
        for i, team in enumerate(field):
            place[team] = i + 1
        if records.season >= 2021:
            for x, (a, b) in zip(z[3 * number:], ((6, 7), (8, 9), (7, 8)), strict=False):
                if not better(field[a], field[b], [1], [x]):
                    field[a], field[b] = field[b], field[a]
        for i, team in enumerate(field[:8]):
            seed[team], reached[team] = i + 1, 1
        left, games = [field[i] for i in BRACKET], z[6 + 49 * number:]
        while len(left) > 1:
            meetings = [sorted(left[i:i + 2], key=seed.__getitem__) for i in range(0, len(left), 2)]
            left = [m[0] if better(*m, series_hosts(records.season), games[7 * i:]) else m[1] for i, m in enumerate(meetings)]
            games = games[7 * len(meetings):]
            for team in left:
                reached[team] += 1
        finalists += left
    home, away = ordered(finalists, *rest, set())
    reached[home if better(home, away, series_hosts(records.season, final=True), z[104:]) else away] += 1
    return wins, place, seed, reached


def plain_odds(records: SeasonRecords, remaining: pd.DataFrame, ratings: pd.Series, rating_se: float, config: OddsConfig,
               draws: int, seed: int) -> SeasonOdds:
    "Does what `simulate_season_odds` does, with the same random numbers, a season at a time."
    at = {team: i for i, team in enumerate(records.teams.tolist())}
    pairs = [(at[h], at[a]) for h, a in zip(remaining["home_id"], remaining["away_id"], strict=True)]
    rating, error = ratings.reindex(records.teams).tolist(), [rating_se] * len(at)
    stream = rng(seed, "season odds")
    played = [plain_season(records, pairs, rating, error, config, stream.standard_normal(len(at) + len(pairs) + NOISE).tolist())
              for _ in range(draws)]
    return SeasonOdds(records.season, records.teams, records.conference, *(np.array(a) for a in zip(*played, strict=True)))


def whole_season(season: int = SEASON) -> tuple[SeasonRecords, pd.DataFrame, pd.Series]:  # records, remaining games, ratings
    "A season before its first game: a simulated schedule, ratings from a normal distribution."
    games = simulate_league(LeagueConfig(seasons=1, first_season=season), progress=False).games.assign(season_type="regular")
    records = season_records(games, teams_table([season]), season, games["date"].min())
    return records, games, pd.Series(rng(1, "ratings").normal(0, 4, len(records.teams)), index=records.teams)


def main() -> int:  # exit status
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000, help="seasons")
    parser.add_argument("--plain", type=int, default=100, help="seasons of the plain loop")
    given, config = parser.parse_args(), OddsConfig()
    records, games, ratings = whole_season()
    simulate_season_odds(records, games, ratings, 2.0, config, draws=1)  # compiles, or loads what is compiled
    begin = time.perf_counter()
    fast = simulate_season_odds(records, games, ratings, 2.0, config, given.draws, seed=0)
    seconds, begin = time.perf_counter() - begin, time.perf_counter()
    plain = plain_odds(records, games, ratings, 2.0, config, min(given.plain, given.draws), seed=0)
    slow = (time.perf_counter() - begin) / len(plain.wins) * given.draws
    same = all(np.array_equal(getattr(fast, a)[:len(plain.wins)], getattr(plain, a)) for a in ("wins", "place", "seed", "reached"))
    late = seconds > BAR * given.draws / 10_000
    print(f"{given.draws:,} seasons of {len(games):,} games and playoffs, one core")
    print(f"simulate_season_odds  {seconds:7.2f} s  bar {BAR * given.draws / 10_000:.1f} s{'  TOO SLOW' if late else ''}")
    print(f"plain Python loop     {slow:7.2f} s  {slow / seconds:.0f} x as long (from {len(plain.wins)} seasons)")
    print(f"the same {len(plain.wins)} seasons: {'yes' if same else 'NO'}")
    return int(late or not same)


if __name__ == "__main__":
    sys.exit(main())
