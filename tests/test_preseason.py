"""Players before a season: known answers, what may not be seen, strength planted in simulated leagues, and their RAPTOR file."""
import io

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from sportsml.metrics import paired_difference
from sportsml.nba.names import raptor_seasons, read_raptor
from sportsml.nba.preseason import (
    PRESEASON_COLUMNS,
    PreseasonConfig,
    PreseasonError,
    preseason_rosters,
    raptor_numbers,
    roster_strength,
)
from sportsml.nba.sim import simulate_league
from sportsml.nba.sim_files import raptor_files
from sportsml.nba.sim_games import PlayLeague, PlayLeagueConfig, playing_time, simulate_play_league
from sportsml.nba.sim_players import player_seasons
from sportsml.nba.sim_raptor import raptor_ids
from sportsml.nba.teams import standings

ATLANTA, BOSTON = 1610612737, 1610612738
PARTS = ("box_offensive", "box_defensive", "on_off_offensive", "on_off_defensive")


def row(who, season, team, minutes, offensive=0.0, defensive=0.0, season_type="regular"):
    return {"name": who.title(), "raptor_id": who, "season": season, "season_type": season_type, "team_id": team,
            "possessions": 2 * minutes, "minutes": float(minutes), "offensive": offensive, "defensive": defensive,
            "total": offensive + defensive, "war": 1.0, **dict.fromkeys(PARTS, 1.0)}


# ---- known answers

LAST = [row("stays", 2015, ATLANTA, 1960, 2.0, 0.0), row("mover", 2015, ATLANTA, 1960, 3.0, -1.0),
        row("anchor", 2015, BOSTON, 1960, -1.0, 1.0), row("traded", 2015, ATLANTA, 588, 1.0, 0.0),
        row("traded", 2015, BOSTON, 1372, 0.0, 1.0), row("gone", 2015, BOSTON, 1960, 9.0, 9.0),
        row("free", 2015, BOSTON, 980, 0.0, 0.0), row("anchor", 2015, BOSTON, 900, 80.0, 80.0, "playoffs")]
NOW = [row("stays", 2016, ATLANTA, 1), row("stays", 2016, BOSTON, 3000),  # traded in winter: starts where he was
       row("mover", 2016, BOSTON, 1), row("anchor", 2016, BOSTON, 1), row("traded", 2016, BOSTON, 1), row("traded", 2016, ATLANTA, 1),
       row("free", 2016, ATLANTA, 5), row("free", 2016, 5, 7), row("rookie", 2016, ATLANTA, 2000, 5.0, 5.0)]
GAMES = pd.DataFrame({"season": [2016, 2015, 2016], "date": pd.to_datetime(["2015-11-01", "2014-10-28", "2015-10-27"])})


@pytest.fixture(scope="module")
def lists():
    return preseason_rosters(pd.DataFrame(LAST + NOW), GAMES)


def of(frame, who, team=None):
    rows = frame[frame["player_id"] == int(who, 36)]
    return rows if team is None else rows[rows["team_id"] == team].iloc[0]


def test_who_is_where(lists):
    where = {who: set(of(lists, who)["team_id"]) for who in ("stays", "mover", "anchor", "traded", "free", "rookie", "gone")}
    assert where == {"stays": {ATLANTA}, "mover": {BOSTON}, "anchor": {BOSTON}, "traded": {ATLANTA, BOSTON}, "free": {ATLANTA, 5},
                     "rookie": {ATLANTA}, "gone": set()}
    assert (lists["as_of"] == pd.Timestamp("2015-10-27")).all() and (lists["season"] == 2016).all()
    assert list(lists.columns) == ["as_of", "season", "team_id", "player_id", *PRESEASON_COLUMNS]
    assert lists.dtypes[["team_id", "player_id"]].eq("int64").all()
    assert of(lists, "mover", BOSTON)["same_team"] == 0 and of(lists, "traded", ATLANTA)["same_team"] == 1


def test_values_are_regressed_to_replacement(lists):
    mover = of(lists, "mover", BOSTON)
    assert mover["offensive"] == pytest.approx((1960 * 3.0 + 392 * -2.06) / 2352)  # by hand: 5/6 rating, 1/6 level
    assert mover["defensive"] == pytest.approx((5 * -1.0 - 0.69) / 6) and mover["total"] == pytest.approx((5 * 2.0 - 2.75) / 6)
    assert mover["box_defensive"] == pytest.approx((5 * 1.0 - 0.69) / 6)
    traded = of(lists, "traded", BOSTON)  # 588 and 1372 minutes: 0.3 and 0.7 of the season
    assert traded["offensive"] == pytest.approx((5 * 0.3 - 2.06) / 6) and traded["minutes"] == 1960 and traded["war"] == 2.0
    rookie = of(lists, "rookie", ATLANTA)
    assert (rookie["total"], rookie["minutes"], rookie["war"], rookie["known"]) == (-2.75, 0.0, 0.0, 0.0)
    assert of(lists, "anchor", BOSTON)["total"] == pytest.approx((5 * 0.0 - 2.75) / 6)  # his playoffs do not count
    raw = preseason_rosters(pd.DataFrame(LAST + NOW), GAMES, config=PreseasonConfig(prior_minutes=0.0))
    assert of(raw, "mover", BOSTON)["total"] == 2.0 and of(raw, "rookie", ATLANTA)["total"] == -2.75
    assert raw.notna().all(axis=None)


def test_minutes_share_240(lists):
    games = (1960 * 4 + 588 + 1372 + 980) / 240 / 2  # by hand: last season's minutes of two teams
    assert of(lists, "stays", ATLANTA)["season_share"] == pytest.approx(1960 / (48 * games))
    own = {"stays": 1960 / games, "traded": 980 / games, "free": 490 / games}  # two of them count for half
    left = 240 - sum(own.values())
    prior = lists[lists["team_id"] == ATLANTA].set_index("player_id")["minutes_prior"]
    given = min(left, 24)
    assert prior[int("rookie", 36)] == pytest.approx(240 * given / (sum(own.values()) + given))
    assert prior[int("stays", 36)] / prior[int("free", 36)] == pytest.approx(4)
    assert lists.groupby("team_id")["minutes_prior"].sum().to_numpy() == pytest.approx(240)


def test_previous_members_know_no_move():
    lists = preseason_rosters(pd.DataFrame(LAST), GAMES, config=PreseasonConfig(members="previous"))  # the new season is not there at all
    assert {tuple(r) for r in lists[["player_id", "team_id"]].to_numpy()} == {(int(who, 36), team) for who, team in (
        ("stays", ATLANTA), ("mover", ATLANTA), ("anchor", BOSTON), ("traded", BOSTON), ("gone", BOSTON), ("free", BOSTON))}
    assert lists["known"].eq(1).all()


def test_strength_is_five_times_the_mean_over_minutes():
    frame = pd.DataFrame({"season": 2016, "team_id": [1, 1, 2], "total": [2.0, -1.0, 0.5], "minutes_prior": [160.0, 80.0, 240.0]})
    strength = roster_strength(frame)
    assert strength.name == "raptor_formula" and strength.to_dict() == {(2016, 1): 5.0, (2016, 2): 2.5}
    assert roster_strength(frame.sample(frac=1, random_state=0)).to_dict() == pytest.approx(strength.to_dict())


# ---- bad input

def test_errors_say_what_is_wrong():
    raptor = pd.DataFrame(LAST + NOW)
    for change, word in (({"raptor": raptor.drop(columns="minutes")}, "minutes"),
                         ({"raptor": pd.concat([raptor, raptor.head(1)])}, "twice"),
                         ({"seasons": [2018]}, "last season in RAPTOR"), ({"seasons": [2015]}, "possible: \\[2016\\]"),
                         ({"games": GAMES[GAMES["season"] == 2015]}, "no season to list"),
                         ({"raptor": raptor.assign(raptor_id="José")}, "José")):
        with pytest.raises(PreseasonError, match=word):
            preseason_rosters(**{"raptor": raptor, "games": GAMES} | change)
    for change, word in (({"members": "curent"}, "current"), ({"prior_minutes": -1.0}, "-1"), ({"most_new": 0.0}, "0.0")):
        with pytest.raises(PreseasonError, match=word):
            PreseasonConfig(**change)
    with pytest.raises(PreseasonError, match="leeco01"):
        raptor_numbers(pd.Series(["O'Neal"]))


# ---- simulated leagues, from the file on

def results_only(seasons, seed, **more):
    config = PlayLeagueConfig(seasons=seasons, playbyplay_seasons=0, seed=seed, **more)
    league = simulate_league(config, progress=False)
    tables = {name: getattr(league, name) for name in ("games", "series", "records", "truth_strength", "truth_games")}
    return PlayLeague(config, **tables, players=player_seasons(league), plays={})


@pytest.fixture(scope="module")
def leagues(tmp_path_factory):
    """By seed: a league of eight seasons, and its file as read."""
    out = {}
    for seed in (1, 2):
        path, league = tmp_path_factory.mktemp("raptor") / "raptor_by_team.csv", results_only(8, seed)
        path.write_text(raptor_files(league)["nba/raptor_by_team.csv"], encoding="utf-8")
        loaded = read_raptor(path)
        assert not len(loaded.rejects)
        out[seed] = league, loaded.rows
    return out


def test_planted_strength_is_found(leagues):
    """The formula knows next season's ranks better than last season's SRS does, and true skills would know them better still."""
    rows = []
    for seed, (league, raptor) in leagues.items():
        games = league.games.assign(season_type="regular")
        configs = {m: PreseasonConfig(members=m) for m in ("current", "previous")}
        strength = {m: roster_strength(preseason_rosters(raptor, games, config=c)) for m, c in configs.items()}
        srs = league.records.assign(season=league.records["season"] + 1).set_index(["season", "team_id"])["srs"]
        truth = league.truth_strength.groupby(["season", "team_id"])["strength"].mean()
        for season in range(2011, 2018):
            won = standings(games, season)["win_pct"]
            rows.append({"seed": seed, "truth": spearmanr(truth[season].reindex(won.index), won)[0],
                         **{name: spearmanr(s[season].reindex(won.index), won)[0] for name, s in {**strength, "srs": srs}.items()}})
    rho = pd.DataFrame(rows)
    gain = paired_difference(rho["current"], rho["srs"])
    assert gain.low > 0, f"{gain}"
    assert abs(rho["previous"].mean() - rho["srs"].mean()) < 0.05  # without the moves there is nothing to gain
    assert rho["current"].mean() < rho["truth"].mean() - 0.1


def test_nothing_of_the_new_season_but_its_lists(leagues):
    _, raptor = leagues[1]
    games = leagues[1][0].games
    before = preseason_rosters(raptor, games, seasons=[2014])
    stream, later = np.random.default_rng(0), raptor["season"] >= 2014
    other = raptor.copy()
    for column in ("possessions", "minutes", "offensive", "defensive", "total", "war", *PARTS):
        other.loc[later, column] = stream.permutation(other.loc[later, column].to_numpy())
    other = pd.concat([other[~later | (other["season"] == 2014)], other[other["season"] > 2014].sample(frac=0.5, random_state=0)])
    other = other[(other["season"] < 2014) | (other["season_type"] == "regular")].sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(before, preseason_rosters(other, games, seasons=[2014]), check_exact=False, rtol=1e-12)
    scored = games.assign(home_points=0, away_points=0)
    pd.testing.assert_frame_equal(before, preseason_rosters(raptor, scored, seasons=[2014]))


def test_file_looks_like_the_real_one(leagues):
    """Figures of the real file, 2013-14 to 2019-20, with room for a simulated one."""
    league, raptor = leagues[1]
    seasons = raptor_seasons(raptor)
    pairs = seasons.assign(season=seasons["season"] - 1).merge(seasons, on=["season", "raptor_id"], suffixes=("_next", ""))
    least = pairs[["minutes", "minutes_next"]].min(axis=1)
    for low, high, real in ((250, 500, 0.31), (500, 1000, 0.46), (1500, 2000, 0.66), (2000, 4000, 0.74)):
        part = pairs[least.between(low, high)]
        assert abs(part["total"].corr(part["total_next"]) - real) < 0.2, (low, high)
    for low, high, real in ((100, 250, 4.4), (250, 500, 3.5), (1000, 1500, 2.4), (1500, 2000, 2.5), (2000, 2500, 2.7)):
        assert abs(seasons.loc[seasons["minutes"].between(low, high), "total"].std() / real - 1) < 0.3, (low, high)
    regular = raptor[raptor["season_type"] == "regular"]
    team = 5 * (regular["total"] * regular["minutes"]).groupby([regular["season"], regular["team_id"]]).sum() / (
        regular["minutes"].groupby([regular["season"], regular["team_id"]]).sum())
    srs = league.records.set_index(["season", "team_id"])["srs"]
    assert np.abs(team - 1.2 * srs).max() < 0.01  # real: slope 1.20, correlation .999
    assert regular.groupby(["season", "team_id"])["minutes"].sum().between(19_600, 19_800).all()
    assert 700 < regular.groupby("season")["war"].sum().mean() < 900  # real: 823
    playoffs = raptor[raptor["season_type"] == "playoffs"].groupby("season")["team_id"].nunique()
    assert (playoffs == 16).all()


def test_file_carries_the_quirks():
    league = results_only(4, 3, first_season=2012)
    files = raptor_files(league)
    rows = pd.read_csv(io.StringIO(files["nba/raptor_by_team.csv"]))
    truth = pd.read_csv(io.StringIO(files["truth/raptor.csv"]))
    first = ["player_name", "player_id", "season", "season_type", "team", "poss", "mp"]
    assert len(rows.columns) == 23 and rows.columns[:7].tolist() == first
    assert set(rows["season_type"]) == {"RS", "PO"} and "CHA" in set(rows["team"]) and "CHO" not in set(rows["team"])
    assert rows["player_id"].is_monotonic_increasing and rows["player_id"].str.fullmatch(r"[a-z]+\d\d+").all()
    assert {"NJN", "NOH", "SEA"} & set(rows["team"]) == {"NJN", "NOH"}  # names of their time
    rated = rows[rows["mp"] > 0]
    assert (rated["raptor_offense"] + rated["raptor_defense"] - rated["raptor_total"]).abs().max() < 1e-8
    assert (0.8 * rated["raptor_box_total"] + 0.2 * rated["raptor_onoff_total"] - rated["raptor_total"]).abs().max() < 1e-7
    none = rows[rows["mp"] == 0]
    assert none["raptor_total"].eq(0).all() and none["raptor_box_total"].isna().all()
    assert len(truth) == len(rows) and truth["raptor_id"].equals(rows["player_id"])
    assert truth.groupby("raptor_id")["player_id"].nunique().eq(1).all() and truth["player_id"].between(1_600_001, 1_700_000).all()


def test_a_further_season_changes_nothing(leagues):
    short, long = (pd.read_csv(io.StringIO(raptor_files(x)["nba/raptor_by_team.csv"])) for x in (results_only(2, 1), leagues[1][0]))
    pd.testing.assert_frame_equal(short, long[long["season"] < 2012].reset_index(drop=True))
    assert raptor_ids(pd.Series(["Al Lee", "Al Lee II", "Bo O'Brien"])).tolist() == ["leeal01", "leeal02", "obriebo01"]


def test_played_seasons_take_their_minutes_from_the_games():
    league = simulate_play_league(PlayLeagueConfig(seasons=1, first_season=2016, playbyplay_games=1), progress=False)
    time = playing_time(league, 2016)
    regular = time[time["season_type"] == "regular"].set_index("player_id")
    box = league.plays[2016].box.groupby("player_id")["seconds"]
    assert np.allclose(regular["minutes"] * 60, box.sum().reindex(regular.index))
    assert regular["games"].equals(box.size().reindex(regular.index))
    lengths = league.series.set_index("home_id")[["home_wins", "away_wins"]].sum(axis=1)
    lengths = pd.concat([lengths, lengths.set_axis(league.series["away_id"])]).groupby(level=0).sum()
    most = time[time["season_type"] == "playoffs"].groupby("team_id")["games"].max()
    assert set(most.index) == set(lengths.index) and (most <= lengths).all() and (most == lengths).mean() > 0.5
