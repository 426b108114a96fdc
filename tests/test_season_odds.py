"""Odds of a season: formats and tie-breaks by hand, exact series, the plain loop, and what must not change anything."""
import importlib.util
import os
from dataclasses import replace
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sportsml.core import SportsmlError
from sportsml.nba.franchises import series_hosts, teams_table
from sportsml.nba.odds import (
    ROUNDS,
    OddsConfig,
    SeasonRecords,
    _conference_winner,
    _first_wins,
    _places,
    _play_in,
    _rank,
    championship_odds,
    season_records,
    seed_probabilities,
    simulate_season_odds,
    win_totals,
)
from sportsml.nba.results import read_game_results, read_playoff_series
from sportsml.nba.season import projected_wins, remaining_schedule
from sportsml.nba.sim import LeagueConfig, simulate_league

REAL = Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba"
PARTS = ("wins", "place", "seed", "reached")


@pytest.fixture(scope="module")
def bench():
    "Loads benchmarks/season_odds.py, which is no part of the package."
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "season_odds.py"
    spec = importlib.util.spec_from_file_location("season_odds_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def league():
    "Two simulated seasons and the teams."
    made = simulate_league(LeagueConfig(seasons=2, first_season=2020), progress=False)
    return made.games.assign(season_type="regular"), teams_table([2020, 2021]), made


@pytest.fixture(scope="module")
def half(league):
    "The second season at the end of January, with ratings of a plain kind."
    games, teams, _ = league
    records = season_records(games, teams, 2021, "2021-01-20")
    met = (records.beat + records.beat.T).sum(axis=1)
    return records, remaining_schedule(games, 2021, "2021-01-20"), pd.Series(0.6 * records.margin / met, index=records.teams)


def round_robin(season=2016):
    "Every team meets every other one at home, none of it played."
    teams = teams_table([season])
    ids = np.sort(teams["team_id"].to_numpy())
    pairs = np.array([p for a, b in combinations(ids, 2) for p in ((a, b), (b, a))])
    games = pd.DataFrame({"season": season, "season_type": "regular", "date": pd.Timestamp(season - 1, 12, 1),
                          "home_id": pairs[:, 0], "away_id": pairs[:, 1], "home_points": 100, "away_points": 99})
    return season_records(games, teams, season, f"{season - 1}-12-01"), games, pd.Series(0.0, index=ids)


def codes(records):
    return np.stack([np.unique(names, return_inverse=True)[1] for names in (records.conference, records.division)])


@pytest.mark.parametrize("season", [2016, 2021])
def test_everybody_is_counted(season):
    records, left, ratings = round_robin(season)
    ratings[:] = np.linspace(-6, 6, 30)
    odds = simulate_season_odds(records, left, ratings, 1.5, draws=300)
    table = odds.table()
    sums = table[[*ROUNDS, "play_in"]].sum()
    assert sums.round(9).tolist() == [16, 8, 4, 2, 1, 8 if season == 2021 else 0]
    assert np.allclose(seed_probabilities(odds).groupby(records.conference).sum(), 1)
    assert np.allclose(seed_probabilities(odds).sum(axis=1), table["playoffs"])
    assert np.allclose(win_totals(odds).sum(axis=1), 1) and (odds.wins.sum(axis=1) == len(left)).all()
    through = (odds.seed > 0) & (odds.place > (10 if season == 2021 else 8))
    assert not through.any() and ((odds.reached > 0) == (odds.seed > 0)).all()
    if season == 2021:  # twenty teams have a way in, and the places 7 to 10 all use it at times
        assert (odds.place <= 10).sum(axis=1).tolist() == [20] * 300 and set(odds.seed[odds.place == 10]) == {0, 8}
        assert set(odds.seed[odds.place == 7]) == {0, 7, 8}
    assert str(odds).splitlines()[0].split() == list(table.columns)


def test_a_dominant_team_wins_and_equal_teams_share():
    records, left, ratings = round_robin()
    alone = ratings.copy()
    alone.iloc[3] = 30.0
    table = simulate_season_odds(records, left, alone, draws=500).table()
    assert table["champion"].iloc[3] > 0.98 and table["wins"].iloc[3] > 55
    n = 6000
    champion = simulate_season_odds(records, left, ratings, draws=n).table()["champion"]
    error = np.sqrt(1 / 30 * 29 / 30 / n)
    assert np.abs(champion - 1 / 30).max() < 4.5 * error and ((champion - 1 / 30) ** 2).sum() / error**2 < 60  # chi-squared of 29


def test_an_uncertain_rating_spreads_the_season():
    records, left, ratings = round_robin()
    sure, unsure = (simulate_season_odds(records, left, ratings, se, draws=1500).wins.std(axis=0).mean() for se in (0.0, 4.0))
    assert unsure > 1.5 * sure
    only = pd.Series(0.0, index=ratings.index)
    only.iloc[0] = 6.0
    spread = simulate_season_odds(records, left, ratings, only, draws=1500).wins.std(axis=0)
    assert spread[0] > 2 * spread[1:].max()


def exact(p_home, p_away, hosts):
    "The chance to reach four wins first, by going through the states."
    state, done = {(0, 0): 1.0}, 0.0
    for host in hosts:
        p, after = p_home if host == 1 else p_away, {}
        for (won, lost), weight in state.items():
            for key, w in (((won + 1, lost), weight * p), ((won, lost + 1), weight * (1 - p))):
                after[key] = after.get(key, 0.0) + w
        done += sum(w for (won, _), w in after.items() if won == 4)
        state = {k: w for k, w in after.items() if max(k) < 4}
    return done


@pytest.mark.parametrize("hosts", [series_hosts(2016), series_hosts(2013, final=True)])
def test_series_match_the_exact_formula(hosts):
    from scipy.stats import norm
    noise = np.random.default_rng(5).standard_normal((40_000, 7))
    for difference, edge in ((0.0, 0.0), (4.0, 0.0), (-3.0, 3.0), (5.0, 9.0)):
        p_home, p_away = norm.cdf((difference + edge) / 12), norm.cdf((difference - edge) / 12)
        chance = exact(p_home, p_away, hosts)
        if edge == 0:  # negative binomial: the fourth win comes after 0 to 3 losses
            assert np.isclose(chance, sum(comb(3 + k, k) * p_home**4 * (1 - p_home) ** k for k in range(4)))
        got = np.mean([_first_wins(difference, edge, 12.0, hosts, z) for z in noise])
        assert abs(got - chance) < 4 * np.sqrt(chance * (1 - chance) / len(noise))


def test_who_hosts_which_game():
    """Hosts always win, so a series that one team leads 3-2 is decided by who hosts game 6, after one lost home game."""
    for hosts, sixth_at_home in ((series_hosts(2014, final=True), False), (series_hosts(2013, final=True), True)):
        assert hosts[[0, 1]].tolist() == [1, 1] and hosts.sum() == 1
        noise = np.zeros(7)
        noise[4], noise[6] = 1.0 if hosts[4] == -1 else 0.0, -9.0  # the first wins game 5 in any case and loses game 7
        assert _first_wins(0.0, 0.5, 1.0, hosts, noise) == sixth_at_home


def test_the_bracket_is_fixed():
    order = np.array([10, 17, 13, 14, 11, 16, 12, 15])  # 1-8, 4-5, 2-7, 3-6 as positions 10 + seed
    rating, reached = np.full(18, -50.0), np.ones(18, np.int8)
    rating[[17, 14, 16, 12]] = [30, 20, 10, 5]
    court = -np.arange(18.0)
    assert _conference_winner(order.copy(), court, rating, 0.0, 1e-6, series_hosts(2016), np.zeros(49), reached) == 17
    assert reached[[17, 14, 16, 12]].tolist() == [4, 2, 3, 2] and reached[[10, 13, 11, 15]].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("lost", "field"), [((), [6, 7]), ((0,), [7, 6]), ((2,), [6, 8]), ((1, 2), [6, 9]), ((0, 2), [7, 8])])
def test_the_play_in_by_hand(lost, field):
    """Hosts win unless their game is named: 7-8, 9-10, loser of the first against winner of the second."""
    order, noise = np.arange(15), np.zeros(3)
    noise[list(lost)] = -9.0
    _play_in(order, np.zeros(15), 1.0, 1.0, noise)
    assert order[6:8].tolist() == field and order[:6].tolist() == list(range(6)) and sorted(order) == list(range(15))


def table_of(wins_over, size):
    beat = np.zeros((size, size), int)
    for (a, b), n in wins_over.items():
        beat[a, b] = n
    return beat


def ranked(beat, side=None, leader=(), margin=None, first=False, group=(0, 1)):
    size, order = len(beat), np.array(group)
    flags = np.isin(np.arange(size), leader)
    _rank(order, beat, np.zeros((2, size), int) if side is None else np.array(side), flags,
          np.zeros(size) if margin is None else np.array(margin, float), first)
    return order.tolist()


def test_tie_breaks_of_two_by_hand():
    # teams 0 and 1 are tied at 5-5; the others take what is left
    head = table_of({(0, 1): 1, (1, 0): 2, (0, 2): 4, (1, 2): 3, (2, 0): 3, (2, 1): 4}, 3)
    assert ranked(head) == [1, 0]
    assert ranked(head, leader=[0]) == [1, 0] and ranked(head, leader=[0], first=True) == [0, 1]  # since 2015-16, and before
    even = table_of({(0, 1): 1, (1, 0): 1, (0, 2): 3, (1, 2): 1, (2, 0): 1, (2, 1): 3, (0, 3): 1, (1, 3): 3, (3, 0): 3, (3, 1): 1}, 4)
    assert ranked(even, leader=[1], side=[[0, 0, 0, 1], [0, 1, 2, 3]]) == [1, 0]  # division winner
    assert ranked(even, side=[[0, 0, 0, 1], [0, 1, 2, 3]]) == [0, 1]  # conference record: team 2 is of it, team 3 is not
    assert ranked(even, side=[[0, 0, 0, 0], [5, 5, 6, 5]]) == [1, 0]  # same division: team 3 is in it, team 2 is not
    assert ranked(even, side=[[0, 0, 0, 0], [5, 6, 6, 5]], margin=[3, 7, 0, 0]) == [1, 0]  # only the points are left
    assert ranked(even, side=[[0, 0, 0, 0], [5, 6, 6, 5]]) == [0, 1]  # nothing is left


def test_a_tie_of_three_starts_again_for_two():
    # all 5-5; in the games among 0, 1, 2 team 0 is 4-2 and both others are 2-3
    beat = table_of({(0, 1): 2, (1, 0): 1, (0, 2): 2, (2, 0): 1, (1, 2): 1, (2, 1): 1,
                     (0, 3): 1, (1, 3): 3, (2, 3): 3, (3, 0): 3, (3, 1): 2, (3, 2): 2}, 4)
    assert (beat.sum(axis=1)[:3] == 5).all() and (beat.sum(axis=0)[:3] == [5, 5, 5]).all()
    kwargs = {"group": (2, 1, 0), "side": [[0, 0, 0, 1], [0, 1, 2, 3]]}
    assert ranked(beat, margin=[0, 4, 9, 0], **kwargs) == [0, 2, 1] and ranked(beat, margin=[0, 9, 4, 0], **kwargs) == [0, 1, 2]
    assert ranked(beat, leader=[1], **kwargs) == [1, 0, 2]  # three are tied: the division winner comes first


@pytest.mark.parametrize(("season", "order"), [(2006, [0, 5, 6, 1, 2]), (2010, [0, 1, 5, 6, 2]), (2016, [0, 1, 2, 5, 6])])
def test_division_winners_by_era(season, order):
    """Positions 0-4 are one division of strong teams, 5 and 6 lead weaker ones and rank behind 2 by record."""
    wins = np.array([60, 55, 50, 20, 10, 45, 40, 15, 5])
    outside = len(wins)  # a team of the other conference, against which all is won and lost
    beat = np.zeros((outside + 1, outside + 1), int)
    beat[:-1, -1], beat[-1, :-1] = wins, 80 - wins
    side = np.array([[0] * outside + [1], [0, 0, 0, 0, 0, 1, 2, 1, 2, 9]])
    assert _places(0, season, beat, side, np.zeros(outside + 1))[:5].tolist() == order


def test_a_finished_season_has_the_seeds_of_its_table(league):
    games, teams, made = league
    records = season_records(games, teams, 2020)
    odds = simulate_season_odds(records, games.iloc[:0], pd.Series(0.0, index=records.teams), 3.0, draws=50)
    assert (odds.wins == odds.wins[0]).all() and (odds.seed == odds.seed[0]).all() and (odds.place == odds.place[0]).all()
    own = made.records[made.records["season"] == 2020].set_index("team_id").loc[records.teams]
    assert (odds.wins[0] == own["wins"]).all()
    for side in "EW":
        place = pd.Series(odds.place[0], own.index)[records.conference == side]
        assert sorted(place) == list(range(1, 16)) and own["wins"].loc[place.sort_values().index].is_monotonic_decreasing
    opening = made.series[made.series["season"].eq(2020) & made.series["round"].eq(1)]
    untied = own.assign(conference=records.conference).groupby("conference")["wins"].transform(lambda w: w.map(w.value_counts())) == 1
    seed = pd.Series(odds.seed[0], own.index)
    for home, away in zip(opening["home_id"], opening["away_id"], strict=True):
        if untied[home] and untied[away]:
            assert seed[home] + seed[away] == 9 and seed[home] < seed[away]


@pytest.mark.skipif(not (REAL / "game_results.csv").exists(), reason="SPORTSML_RAW does not hold the real NBA files")
def test_real_seasons_open_with_the_series_that_were_played():
    games = read_game_results(REAL / "game_results.csv").rows
    series = pd.concat([read_playoff_series(p).rows for p in sorted(REAL.glob("playoff_series_*.csv"))])
    missed = {}
    for season in sorted(set(games["season"]) & set(series["season"])):
        records = season_records(games, teams_table([season]), season)
        odds = simulate_season_odds(records, games.iloc[:0], pd.Series(0.0, index=records.teams), draws=1)
        seeds = pd.Series(odds.seed[0], records.teams)
        first = series[series["season"].eq(season) & series["round"].eq(1)]
        bad = [(h, a) for h, a in zip(first["home_id"], first["away_id"], strict=True) if seeds[h] + seeds[a] != 9 or not seeds[h]]
        if bad:
            missed[int(season)] = bad
    assert missed == {}


def test_what_happens_later_changes_nothing(league):
    games, teams, _ = league
    day = pd.Timestamp("2021-01-20")
    ratings = pd.Series(np.linspace(-5, 5, 30), index=np.sort(teams_table([2021])["team_id"]))
    later = games["date"] >= day
    changed = games.assign(home_points=games["home_points"].mask(later, 10), away_points=games["away_points"].mask(later, 300))
    a, b = (simulate_season_odds(season_records(g, teams, 2021, day), remaining_schedule(g, 2021, day), ratings, 1.0, draws=40)
            for g in (games, changed))
    assert all(np.array_equal(getattr(a, part), getattr(b, part)) for part in PARTS)
    before = games.assign(home_points=games["home_points"].mask(games["date"] == games.loc[games["season"] == 2021, "date"].min(), 300))
    c = simulate_season_odds(season_records(before, teams, 2021, day), remaining_schedule(before, 2021, day), ratings, 1.0, draws=40)
    assert not np.array_equal(a.wins, c.wins)  # the test can fail


def test_mean_wins_are_the_projected_ones(league, half):
    games, _, _ = league
    records, left, ratings = half
    config = OddsConfig(home_edge=2.0, sd=11.0)
    mean = simulate_season_odds(records, left, ratings, 0.0, config, draws=4000).wins.mean(axis=0)
    expected = projected_wins(games, 2021, "2021-01-20", ratings, 2.0, 11.0)["projected"].reindex(records.teams)
    assert np.abs(mean - expected).max() < 4.5 * np.sqrt(82 * 0.25 / 4000)


def test_the_fast_path_is_the_obvious_path(bench, half):
    records, left, ratings = half
    for season in (2021, 2019):
        same = replace(records, season=season)
        fast, plain = (f(same, left, ratings, 2.0, OddsConfig(), 25, 3) for f in (simulate_season_odds, bench.plain_odds))
        assert all(np.array_equal(getattr(fast, part), getattr(plain, part)) for part in PARTS)


def test_same_seed_same_seasons_and_more_draws_go_on(half):
    records, left, ratings = half
    few, many, other = (simulate_season_odds(records, left, ratings, 1.0, draws=n, seed=s) for n, s in ((30, 0), (600, 0), (30, 1)))
    assert np.array_equal(few.reached, many.reached[:30]) and not np.array_equal(few.wins, other.wins)


def test_championship_odds_by_both_methods(half):
    records, left, ratings = half
    monte_carlo = championship_odds(records, left, ratings, 1.0, draws=500)
    soft = championship_odds(records, left, ratings, config=OddsConfig(temperature=3.0), method="softmax")
    assert np.isclose(monte_carlo.sum(), 1) and np.isclose(soft.sum(), 1) and (monte_carlo.index == soft.index).all()
    assert np.isclose(np.log(soft.iloc[0] / soft.iloc[1]), (ratings.iloc[0] - ratings.iloc[1]) / 3.0)
    with pytest.raises(SportsmlError, match="did you mean softmax"):
        championship_odds(records, left, ratings, method="softmx")


@pytest.mark.parametrize(("change", "message"), [
    ({"ratings": lambda r: r.iloc[1:]}, "ratings: no finite value for team 1610612737"),
    ({"rating_se": lambda r: -1.0}, "negative"),
    ({"rating_se": lambda r: float("nan")}, "rating_se: no finite value"),
    ({"draws": lambda r: 0}, "draws is 0"),
    ({"draws": lambda r: 2.5}, "draws is 2.5"),
])
def test_input_that_makes_no_season(half, change, message):
    records, left, ratings = half
    given = {"ratings": ratings, **{k: f(ratings) for k, f in change.items()}}
    with pytest.raises(SportsmlError, match=message):
        simulate_season_odds(records, left, **given)


def test_records_and_schedules_that_cannot_be(league, half):
    games, teams, _ = league
    records, left, ratings = half
    with pytest.raises(SportsmlError, match="2002 had a first round of five"):
        simulate_season_odds(replace(records, season=2002), left, ratings)
    with pytest.raises(SportsmlError, match="two of at least 10"):
        simulate_season_odds(replace(records, conference=np.array(["E"] * 24 + ["W"] * 6)), left, ratings)
    with pytest.raises(SportsmlError, match="meets itself"):
        simulate_season_odds(records, left.assign(away_id=left["home_id"]), ratings)
    with pytest.raises(SportsmlError, match="team 7 is not among the 30 of"):
        simulate_season_odds(records, left.assign(away_id=7), ratings)
    with pytest.raises(SportsmlError, match="no season 1999"):
        season_records(games, teams, 1999)
    with pytest.raises(SportsmlError, match="sd is 0"):
        OddsConfig(sd=0)
    with pytest.raises(SportsmlError, match="home_edge is nan"):
        OddsConfig(home_edge=float("nan"))
    assert isinstance(records, SeasonRecords) and codes(records).shape == (2, 30)
