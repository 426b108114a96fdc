"""The four ratings: plain loops, planted strengths, the as-of rule, nasty tables."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml.core import SportsmlError
from sportsml.ratings.elo import (
    EloConfig,
    GamesError,
    elo_ratings,
    elo_win_probability,
    expected_score,
    margin_multiplier,
    prepare_games,
)
from sportsml.ratings.massey import MasseyConfig, margin_moments, massey_parts, massey_ratings, season_sums, win_probability
from sportsml.ratings.pythagorean import PythagoreanConfig, pythagorean_ratings, pythagorean_win_probability
from sportsml.ratings.srs import SRSConfig, srs_fixed_point, srs_ratings

TEAMS = 1610612737 + np.arange(12)
SYSTEMS = {
    "elo": elo_ratings,
    "massey": massey_ratings,
    "massey_offence": lambda games: massey_parts(games)[0],
    "massey_defence": lambda games: massey_parts(games)[1],
    "srs": srs_ratings,
    "pythagorean": pythagorean_ratings,
}


def simulate(seasons=(2010, 2011, 2013), days=60, seed=0, teams=TEAMS):
    "Random pairings on each day; offence and defence planted, home edge 3 points, 2011-12 left out by default."
    draw = np.random.default_rng(seed)
    offence, defence = draw.normal(0, 4, (2, len(teams)))
    rows = []
    for season in seasons:
        for day in range(days):
            for home, away in draw.permutation(len(teams)).reshape(-1, 2)[: draw.integers(1, len(teams) // 2 + 1)]:
                scores = 100 + offence[[home, away]] - defence[[away, home]] + [1.5, -1.5] + draw.normal(0, 8.5, 2)
                home_points, away_points = scores.round().astype(int)
                rows.append((season, pd.Timestamp(season - 1, 10, 28) + pd.Timedelta(days=day), teams[home], teams[away],
                             home_points + (home_points == away_points), away_points))
    games = pd.DataFrame(rows, columns=["season", "date", "home_id", "away_id", "home_points", "away_points"])
    games.insert(0, "game_id", [f"{d:%Y%m%d}0{h}" for d, h in zip(games["date"], games["home_id"], strict=True)])
    return games, pd.Series(offence - offence.mean(), teams), pd.Series(defence - defence.mean(), teams)


GAMES, OFFENCE, DEFENCE = simulate()
CUTS = [GAMES["date"].iloc[0], pd.Timestamp("2009-11-03"), GAMES["date"].iloc[-1],
        pd.Timestamp("2010-10-28"), pd.Timestamp("2012-10-28"), pd.Timestamp("2012-12-01")]


# --- equivalence with plain loops ------------------------------------------------------------------------------------

@pytest.mark.parametrize("config", [
    EloConfig(), EloConfig(use_margin=False), EloConfig(k=35, home_edge=40, carry=0.3, mean=1400),
])
def test_elo_equals_a_plain_loop_on_every_day(config):
    panel, rating, season = elo_ratings(GAMES, config), {}, None
    for day, played in GAMES.groupby("date"):
        if played["season"].iloc[0] != season:
            for team, value in rating.items():
                rating[team] = config.mean + config.carry * (value - config.mean)
            season = played["season"].iloc[0]
        before = panel.as_of(day)
        for team, value in rating.items():
            assert before[team] == pytest.approx(value, abs=1e-9)
        for game in played.itertuples():
            home, away = (rating.get(team, config.mean) for team in (game.home_id, game.away_id))
            lead, margin = home + config.home_edge - away, game.home_points - game.away_points
            factor = margin_multiplier(margin, lead if margin > 0 else -lead) if config.use_margin else 1
            gain = config.k * factor * ((margin > 0) - expected_score(lead))
            rating[game.home_id], rating[game.away_id] = home + gain, away - gain


def _least_squares(played, teams, home_edge):
    design = np.zeros((len(played), len(teams) + home_edge))
    rows = np.arange(len(played))
    design[rows, np.searchsorted(teams, played["home_id"])] = 1
    design[rows, np.searchsorted(teams, played["away_id"])] = -1
    if home_edge:
        design[:, -1] = 1
    margin = (played["home_points"] - played["away_points"]).to_numpy(float)
    return np.linalg.lstsq(design, margin, rcond=None)[0][: len(teams)]


@pytest.mark.parametrize("home_edge", [True, False])
def test_massey_equals_lstsq_on_every_day(home_edge):
    panel = massey_ratings(GAMES, MasseyConfig(home_edge))
    for (season, day), _ in GAMES.groupby(["season", "date"]):
        played = GAMES[(GAMES["season"] == season) & (GAMES["date"] <= day)]
        np.testing.assert_allclose(panel.as_of(day + pd.Timedelta(days=1)), _least_squares(played, TEAMS, home_edge), atol=1e-7)


def test_offence_and_defence_equal_least_squares_on_points():
    offence, defence = massey_parts(GAMES, MasseyConfig(home_edge=False))
    for day in pd.to_datetime(["2009-12-20", "2010-11-25", "2012-12-20"]):
        played = GAMES[(GAMES["season"] == day.year + 1) & (GAMES["date"] < day)]
        home, away = np.searchsorted(TEAMS, played["home_id"]), np.searchsorted(TEAMS, played["away_id"])
        design, rows = np.zeros((2 * len(played), 2 * len(TEAMS))), np.arange(len(played))
        design[rows, home], design[rows, len(TEAMS) + away] = 1, -1
        design[len(played) + rows, away], design[len(played) + rows, len(TEAMS) + home] = 1, -1
        points = np.concatenate([played["home_points"], played["away_points"]]).astype(float)
        fit = np.linalg.lstsq(design, points, rcond=None)[0].reshape(2, -1)
        for part, plain in zip((offence, defence), fit, strict=True):  # points leave one constant open
            got = part.as_of(day).to_numpy()
            np.testing.assert_allclose(got - got.mean(), plain - plain.mean(), atol=1e-7)


@pytest.mark.parametrize("config", [SRSConfig(), SRSConfig(prior_games=3, carry=1, home_edge=0, margin_cap=15)])
def test_srs_equals_lstsq_on_every_day(config):
    panel, prior, weight = srs_ratings(GAMES, config), np.zeros(len(TEAMS)), np.sqrt(config.prior_games)
    for _, season in GAMES.groupby("season"):
        for day in season["date"].unique():
            played = season[season["date"] <= day]
            design, rows = np.zeros((len(played), len(TEAMS))), np.arange(len(played))
            design[rows, np.searchsorted(TEAMS, played["home_id"])] = 1
            design[rows, np.searchsorted(TEAMS, played["away_id"])] = -1
            margin = (played["home_points"] - played["away_points"]).to_numpy(float)
            cap = config.margin_cap or np.inf
            right = np.append(np.clip(margin, -cap, cap) - config.home_edge, weight * prior)
            plain = np.linalg.lstsq(np.vstack([design, weight * np.eye(len(TEAMS))]), right, rcond=None)[0]
            np.testing.assert_allclose(panel.as_of(day + pd.Timedelta(days=1)), plain, atol=1e-9)
        prior = config.carry * plain


def test_textbook_srs_is_massey_up_to_a_constant():
    last = GAMES[GAMES["season"] == 2013]
    iterated = srs_fixed_point(last)
    solved = massey_ratings(last, MasseyConfig(home_edge=False)).as_of("2013-06-01")
    np.testing.assert_allclose(iterated - iterated.mean(), solved, atol=1e-6)
    margin = last["home_points"] - last["away_points"]
    sides = pd.concat([pd.DataFrame({"team": last["home_id"], "other": last["away_id"], "margin": margin}),
                       pd.DataFrame({"team": last["away_id"], "other": last["home_id"], "margin": -margin})])
    sides["margin"] += sides["other"].map(iterated)  # the definition: margin plus opponents' rating, averaged
    np.testing.assert_allclose(sides.groupby("team")["margin"].mean(), iterated, atol=1e-6)


def test_fixed_point_settles_where_plain_iteration_swings():
    halves = pd.DataFrame({"season": 2016, "date": pd.to_datetime(["2015-11-01", "2015-11-02"]), "home_id": [1, 2],
                           "away_id": [3, 4], "home_points": [110, 95], "away_points": [100, 101]})
    assert srs_fixed_point(halves).round(6).to_dict() == {1: 5, 2: -3, 3: -5, 4: 3}
    with pytest.raises(SportsmlError, match="still moves"):
        srs_fixed_point(GAMES[GAMES["season"] == 2010], max_steps=2)


# --- the as-of rule, order, identity ---------------------------------------------------------------------------------

@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("cut", CUTS, ids=lambda day: f"{day:%Y-%m-%d}")
def test_results_from_a_day_on_leave_ratings_as_of_it_bit_identical(system, cut):
    late = (GAMES["date"] >= cut).to_numpy()
    draw = np.random.default_rng(1)
    changed = GAMES.copy()
    changed.loc[late, "home_points"] = draw.integers(50, 180, late.sum())
    changed.loc[late, "away_points"] = draw.integers(50, 180, late.sum())
    swapped = late & (draw.random(len(GAMES)) < 0.5)
    changed.loc[swapped, ["home_id", "away_id"]] = GAMES.loc[swapped, ["away_id", "home_id"]].to_numpy()
    before, after = SYSTEMS[system](GAMES), SYSTEMS[system](changed)
    known = before.days < cut.to_datetime64()
    assert (before.as_of(cut).to_numpy() == after.as_of(cut).to_numpy()).all()
    assert before.values[known].tobytes() == after.values[known].tobytes()
    assert (before.values[-1] != after.values[-1]).any()


@pytest.mark.parametrize("system", SYSTEMS)
def test_dropping_later_games_changes_nothing_before(system):
    cut = pd.Timestamp("2012-11-20")
    truncated = SYSTEMS[system](GAMES[GAMES["date"] < cut])
    np.testing.assert_allclose(truncated.as_of(cut), SYSTEMS[system](GAMES).as_of(cut), atol=1e-9)


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("system", SYSTEMS)
def test_order_of_rows_and_column_types_do_not_matter(system, with_ids):
    games = GAMES if with_ids else GAMES.drop(columns="game_id")
    shuffled = games.sample(frac=1, random_state=3).assign(extra="x")
    shuffled["home_points"] = shuffled["home_points"].astype("Int64")
    shuffled["date"] = shuffled["date"].dt.strftime("%Y-%m-%d")
    assert SYSTEMS[system](shuffled).values.tobytes() == SYSTEMS[system](games).values.tobytes()


@pytest.mark.parametrize("system", SYSTEMS)
def test_other_ids_same_ratings(system):
    renamed = GAMES.assign(home_id=GAMES["home_id"] - TEAMS[0] + 5, away_id=GAMES["away_id"] - TEAMS[0] + 5)
    panel = SYSTEMS[system](renamed)
    assert panel.entities[0] == 5
    np.testing.assert_array_equal(panel.values, SYSTEMS[system](GAMES).values)


@pytest.mark.parametrize("system", SYSTEMS)
def test_panel_form(system):
    panel = SYSTEMS[system](GAMES)
    starts = [pd.Timestamp(year, 10, 27) for year in (2009, 2010, 2012)]
    assert panel.system == system and panel.values.shape == (3 * 61, len(TEAMS)) and np.isfinite(panel.values).all()
    assert [pd.Timestamp(day) for day in panel.days[[0, 61, 122]]] == starts
    assert panel.seasons[[0, 60, 61, 122]].tolist() == [2010, 2010, 2011, 2013]


# --- seasons ---------------------------------------------------------------------------------------------------------

def test_carry_over_applies_once_per_boundary_present():
    for panel, centre, carry in [(elo_ratings(GAMES), 1505, 0.75), (srs_ratings(GAMES), 0, 0.7),
                                 (pythagorean_ratings(GAMES, PythagoreanConfig(carry=0.5)), 0.5, 0.5)]:
        for opening in ("2010-10-28", "2012-10-28"):  # the second boundary has a whole season missing in it
            final = panel.as_of(pd.Timestamp(opening) - pd.Timedelta(days=30))
            np.testing.assert_allclose(panel.as_of(opening) - centre, carry * (final - centre), atol=1e-12)
    assert (massey_ratings(GAMES).as_of("2010-10-28") == 0).all()  # no memory


def test_a_newcomer_is_unrated_until_its_first_season():
    new = TEAMS[0] - 1
    late = GAMES[(GAMES["season"] == 2013)].head(1).assign(home_id=new, game_id="new", date=pd.Timestamp("2012-12-31"))
    games = pd.concat([GAMES, late])
    for system, start in {"elo": 1300, "srs": 0, "pythagorean": 0.5, "massey": 0, "massey_offence": 0}.items():
        panel = SYSTEMS[system](games)
        assert np.isnan(panel.at(["2009-12-01", "2011-01-01"], new)).all() and panel.at("2012-10-28", new)[0] == start
        old = SYSTEMS[system](GAMES)
        np.testing.assert_allclose(panel.as_of("2012-12-01")[TEAMS], old.as_of("2012-12-01"), atol=1e-9)
        assert new not in set(panel.to_frame().query("season == 2010")["team_id"])


def test_a_team_that_sits_out_a_season_keeps_a_rating():
    idle = TEAMS[-1]
    games = GAMES[(GAMES["season"] != 2011) | ((GAMES["home_id"] != idle) & (GAMES["away_id"] != idle))]
    elo = elo_ratings(games)
    final = elo.at("2010-06-01", idle)[0]
    assert elo.at("2012-10-28", idle)[0] == pytest.approx(1505 + 0.75**2 * (final - 1505))
    assert massey_ratings(games).at("2010-12-01", idle)[0] == 0 and massey_parts(games)[0].at("2010-12-01", idle)[0] == 0
    played = games[(games["season"] == 2011) & (games["date"] < "2010-12-20")]
    np.testing.assert_allclose(massey_ratings(games).as_of("2010-12-20"), _least_squares(played, TEAMS, True), atol=1e-7)


# --- planted strengths, probabilities --------------------------------------------------------------------------------

def test_planted_strengths_come_back():
    games, offence, defence = simulate(seasons=(2015, 2016), days=160, seed=4)
    truth, end = offence + defence, "2016-06-01"
    parts = massey_parts(games)
    for rating, planted in [(massey_ratings(games).as_of(end), truth), (srs_ratings(games).as_of(end), truth),
                            (parts[0].as_of(end), offence), (parts[1].as_of(end), defence)]:
        assert np.sqrt(((rating - planted) ** 2).mean()) < 2.2  # sampling error: 12 / sqrt(90 games) = 1.3
    for system in ("elo", "pythagorean"):
        assert SYSTEMS[system](games).as_of(end).corr(truth, method="spearman") > 0.9


def test_probabilities_beat_the_home_rate_and_are_calibrated():
    games, *_ = simulate(seasons=(2013, 2014, 2015, 2016), days=120, seed=5)
    won = (games["home_points"] > games["away_points"]).to_numpy()
    first, test = (games["season"] == 2014).to_numpy(), (games["season"] >= 2015).to_numpy()

    def at(panel):
        return panel.at(games["date"], games["home_id"]), panel.at(games["date"], games["away_id"])

    home, away = at(srs_ratings(games))
    edge, sigma = margin_moments((home - away)[first], (games["home_points"] - games["away_points"])[first])
    assert 2 < edge < 4 and 11 < sigma < 13.5  # planted: 3 points and 12.0 plus the ratings' own error
    for chance in (win_probability(home - away + edge, sigma), elo_win_probability(*at(elo_ratings(games))),
                   pythagorean_win_probability(*at(pythagorean_ratings(games)), home_edge=0.4)):
        brier = ((chance - won) ** 2)[test].mean()
        assert brier < ((won[first].mean() - won) ** 2)[test].mean() - 0.01
        assert abs(chance[test].mean() - won[test].mean()) < 0.05


def test_probability_helpers_on_bad_input():
    with pytest.raises(SportsmlError, match="sigma is 0"):
        win_probability(3.0, 0)
    with pytest.raises(SportsmlError, match="drop unrated"):
        margin_moments(np.array([1, np.nan, 2]), np.array([1, 2, 3]))
    assert (pythagorean_win_probability(np.array([1.0, 0.0]), np.array([0.0, 1.0])).round(6) == [1, 0]).all()


# --- bad tables ------------------------------------------------------------------------------------------------------

def _with(column, value, row=7):
    changed = GAMES.astype({column: object})
    changed.loc[row, column] = value
    return changed


ROW_7 = GAMES.index == 7
BAD = {
    "missing column": (GAMES.rename(columns={"home_points": "home_pts"}), "lack the column 'home_points'.*home_pts"),
    "no games": (GAMES.head(0), "no games"),
    "no score": (_with("home_points", np.nan), "1 of .* home_points that is not a finite score.*game_id=20091030"),
    "text score": (_with("away_points", "ninety"), "away_points that is not .*away_points=ninety"),
    "infinite score": (_with("away_points", np.inf), "away_points that is not"),
    "negative score": (_with("away_points", -4), "away_points that is not"),
    "null score": (GAMES.assign(home_points=GAMES["home_points"].astype("Int64").mask(ROW_7)), "home_points that is not"),
    "half a team": (_with("home_id", 12.5), "home_id that is not a whole number"),
    "no team": (_with("away_id", None), "away_id that is not a whole number"),
    "no date": (_with("date", pd.NaT), "no readable date"),
    "a word for a date": (GAMES.assign(date=GAMES["date"].astype(str).mask(ROW_7, "soon")), "no readable date"),
    "a number for a date": (GAMES.assign(date=20091030), "no readable date"),
    "a time zone": (GAMES.assign(date=GAMES["date"].dt.tz_localize("UTC")), "no readable date.*without a time zone"),
    "itself": (_with("home_id", GAMES["away_id"][7]), "one team on both sides"),
    "same id twice": (_with("game_id", GAMES["game_id"][6]), "1 of .* repeat the game_id"),
    "same game twice": (pd.concat([GAMES, GAMES.tail(2)]).drop(columns="game_id"), "2 of .* repeat the date, home_id and"),
    "season of one game wrong": (_with("season", 2011), "seasons overlap"),
    "seasons fall": (GAMES.assign(season=2020 - GAMES["season"]), "seasons overlap"),
    "seasons touch": (GAMES.assign(season=np.where(GAMES["date"] < "2009-11-20", 2009, GAMES["season"])), "seasons overlap"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("system", ["elo", "srs"])
def test_bad_tables_are_refused(case, system):
    games, message = BAD[case]
    with pytest.raises(GamesError, match=f"(?s){message}"):
        SYSTEMS[system](games)


@pytest.mark.parametrize("make", [
    lambda: EloConfig(carry=75), lambda: EloConfig(k=-1), lambda: EloConfig(home_edge=float("nan")),
    lambda: SRSConfig(prior_games=0), lambda: SRSConfig(margin_cap=0), lambda: SRSConfig(carry=1.1),
    lambda: PythagoreanConfig(exponent=0), lambda: PythagoreanConfig(prior_games=-1),
])
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(SportsmlError, match="allowed"):
        make()


def test_two_games_of_a_pair_on_one_day_follow_their_ids():
    both = pd.DataFrame({"game_id": ["b", "a"], "season": 2016, "date": "2016-04-05", "home_id": 1, "away_id": 2,
                         "home_points": [5, 1], "away_points": [3, 2]})
    assert prepare_games(both).home_points.tolist() == [1, 5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(1, 5), st.integers(0, 200), st.integers(0, 200)),
                min_size=1, max_size=40))
def test_any_small_schedule_is_rated(rows):
    day, home, step, home_points, away_points = map(np.array, zip(*rows, strict=True))
    games = pd.DataFrame({
        "game_id": [str(i) for i in range(len(rows))], "season": 2016 + (day > 20),
        "date": pd.Timestamp("2015-11-01") + pd.to_timedelta(day + 200 * (day > 20), unit="D"),
        "home_id": home, "away_id": (home + step) % 6, "home_points": home_points, "away_points": away_points})
    first = games[games["season"] == games["season"].min()]
    for rate in SYSTEMS.values():
        panel = rate(games)
        late = ~np.isin(panel.entities, first[["home_id", "away_id"]])  # (T,) joined in the second season
        assert (np.isnan(panel.values) == (late & (panel.seasons == first["season"].iloc[0])[:, None])).all()
    last = games["season"].max()
    played, entities = games[games["season"] == last], massey_ratings(games).entities
    np.testing.assert_allclose(massey_ratings(games).as_of("2018-01-01"), _least_squares(played, entities, True), atol=1e-6)


def test_running_sums_add_up():
    g = prepare_games(GAMES)
    for s, (_, season) in zip(season_sums(g), GAMES.groupby("season"), strict=True):
        assert s.games[-1].sum() == s.meetings[-1].sum() == 2 * len(season) and not s.games[0].any()
        assert s.total[-1].sum() == 2 * (season["home_points"] + season["away_points"]).sum()
        assert s.margin[-1].sum() == 0 == s.home_balance[-1].sum()
        assert s.home_margin[-1] == (season["home_points"] - season["away_points"]).sum()
