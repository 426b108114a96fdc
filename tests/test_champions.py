"""Odds of champions: planted leagues, perfect and reversed forecasters, nothing from the future, and any unit of strength."""
import numpy as np
import pandas as pd
import pytest
import yaml
from notebooks import ROOT
from planted import EDGE, FIRST, SD, planted
from scipy.stats import norm

from sportsml.core import SportsmlError
from sportsml.nba.champions import (
    ChampionsConfig,
    champion_metrics,
    champion_rows,
    fit_scale,
    fit_temperature,
    forecast_champions,
    interval_metrics,
    rating_scores,
    scores_of_predictions,
    season_day,
    season_odds,
    to_points,
)
from sportsml.nba.franchises import teams_table
from sportsml.nba.odds import OddsConfig, championship_odds, season_records
from sportsml.nba.playoffs import playoff_outcomes
from sportsml.nba.sim import LeagueConfig, simulate_league
from sportsml.ratings.srs import srs_ratings
from sportsml.schema import check_rows

DAYS = ["01-20", "late", "end"]
CONFIG = ChampionsConfig(draws=200)
SEASONS = 25  # planted ones


@pytest.fixture(scope="module")
def league():
    made = simulate_league(LeagueConfig(seasons=3, first_season=2015), progress=False)
    games, teams = made.games.assign(season_type="regular"), teams_table([2015, 2016, 2017])
    return games, teams, playoff_outcomes(games, teams, made.series)


def scores_of(games):
    return rating_scores(games, {"srs": srs_ratings(games)}, DAYS)


def forecast(games, teams, outcomes, scores=None, **more):
    scores = scores_of(games) if scores is None else scores
    return forecast_champions(scores, games, teams, outcomes, warm_up=1, progress=False, **{"config": CONFIG} | more)


@pytest.fixture(scope="module")
def predictions(league):
    return forecast(*league)


def test_rows_fit_the_schema_and_sum_up(league, predictions):
    good, bad = check_rows("predictions", predictions.assign(run_id="1"))
    assert bad.empty and len(good) == len(predictions)
    assert set(predictions.loc[predictions["split"] == "validation", "season"]) == {2015}
    simulated = predictions[predictions["model"].str.startswith("monte_carlo")]
    sums = simulated.groupby(["target_name", "group_id", "model"])["pred"].sum()
    for name, total, slack in (("champion", 1, 1e-9), ("finals", 2, 0.1), ("conference_finals", 4, 0.1), ("second_round", 8, 0.1),
                               ("playoffs", 16, 0.1), ("wins", 1230, 1e-6), ("place", 240, 1e-6)):
        assert np.allclose(sums[name], total, atol=slack), name
    done = predictions[predictions["group_id"].str.endswith("end")]
    assert (done[done["target_name"] == "champion"].query("pred > 0").groupby(["model", "season"]).size() == 16).all()
    wins = done[(done["target_name"] == "wins")]
    assert np.allclose(wins["pred"], wins["target"])
    out = done[(done["target_name"] == "playoffs")]
    assert ((out["pred"] > 0.5) == (out["target"] == 1)).all()


def test_another_seed_changes_the_simulations_only(league, predictions):
    other = forecast(*league, seed=1)
    simulated = predictions["model"].str.startswith("monte_carlo")
    assert (other["pred"] != predictions["pred"])[simulated].any() and other[~simulated].equals(predictions[~simulated])


@pytest.mark.parametrize(("season", "day"), [(2016, "01-20"), (2017, "01-20"), (2017, "end")])
def test_nothing_from_the_future(league, predictions, season, day):
    """Every score from the morning on, and every outcome of that season and later ones, is another; forecasts up to then stay the same."""
    games, teams, outcomes = league
    as_of = season_day(games, season, day)
    later, draw = games["date"] >= as_of, np.random.default_rng(0)
    changed = games.copy()
    changed.loc[later, "home_points"] = changed.loc[later, "away_points"] + draw.choice([-9, 9, 20], later.sum())
    other = outcomes.copy()
    from_now = other["season"] >= season
    other.loc[from_now, "reached"] = other.loc[from_now].groupby("season")["reached"].transform(lambda r: r.to_numpy()[::-1])
    again = forecast(changed, teams, other)
    seen = predictions["as_of"] <= as_of
    pd.testing.assert_frame_equal(again[seen].drop(columns="target"), predictions[seen].drop(columns="target"))
    if later.any():
        assert not again[~seen]["pred"].equals(predictions[~seen]["pred"])


def test_what_is_learned_comes_from_earlier_seasons(league, predictions):
    """Another past changes the odds of a later season: scale and temperature are learned, not given."""
    games, teams, outcomes = league
    scores, past = scores_of(games), outcomes.copy()
    early = past["season"] == 2015
    past.loc[early, "reached"] = past.loc[early, "reached"].to_numpy()[::-1]
    again = forecast(games, teams, past, scores)
    differs = (again["pred"] != predictions["pred"]).groupby([predictions["model"], predictions["season"]]).any()
    assert differs["softmax"].tolist() == [False, True, True] and not differs["monte_carlo"].any() and not differs["softmax_default"].any()


def test_an_unfinished_season_has_odds_and_no_target(league, predictions):
    games, teams, outcomes = league
    rows = forecast(games, teams, outcomes[outcomes["season"] < 2017])
    assert rows.loc[rows["season"] == 2017, "target"].isna().all() and rows.loc[rows["season"] < 2017, "target"].notna().all()
    pd.testing.assert_frame_equal(rows.drop(columns="target"), predictions.drop(columns="target"))
    assert set(champion_rows(rows)["season"]) == {2015, 2016} and champion_metrics(rows, draws=50).query("group == 'end'")["n"].min() == 2
    assert interval_metrics(rows, draws=50)["n"].max() == 60


def test_perfect_uniform_and_reversed_forecasters(predictions):
    rows = predictions[(predictions["target_name"] == "champion") & (predictions["model"] == "uniform")]
    rows = rows[rows["group_id"].str.endswith("01-20")]
    mild = rows.assign(model="mild", pred=np.where(rows["target"] == 1, 0.42, 0.02))
    contrary = rows.assign(model="contrary", pred=np.where(rows["target"] == 1, 0.0, 1 / 29))
    perfect = rows.assign(model="perfect", pred=rows["target"])
    table = champion_metrics(pd.concat([rows, mild, contrary, perfect]), "uniform", draws=100)
    value = table[table["group"] == "all days"].set_index(["metric", "model"])["value"]
    assert np.isclose(value["log_loss", "uniform"], np.log(30)) and np.isclose(value["brier", "uniform"], 1 - 1 / 30)
    assert np.isclose(value["log_loss", "mild"], -np.log(0.42)) and np.isclose(value["brier", "mild"], 0.58**2 + 29 * 0.02**2)
    assert np.isclose(value["log_loss", "contrary"], -np.log(1e-6)) and np.isclose(value["brier", "contrary"], 1 + 1 / 29)
    assert np.allclose([value["log_loss", "perfect"], value["brier", "perfect"], value["ece", "perfect"]], 0)
    for metric in ("log_loss", "brier"):
        assert value[metric].sort_values().index.tolist() == ["perfect", "mild", "uniform", "contrary"]
    known = table[(table["group"] == "all days") & (table["metric"] == "log_loss")].set_index("model")
    assert known.loc["perfect", "difference_high"] < 0 < known.loc["contrary", "difference_low"]
    assert pd.isna(known.loc["uniform", "difference"])


@pytest.fixture(scope="module")
def plant():
    "Planted seasons, their forecasts with noisy ratings, and championship rows with the true strengths."
    games, teams, outcomes, ratings, truth = planted(SEASONS, error=2.5)
    scores = rating_scores(games, {"srs": ratings}, ["late", "end"]).query("signal == 'srs'")
    rows = forecast(games, teams, outcomes, scores, config=ChampionsConfig(draws=1000))
    best = rows[(rows["model"] == "monte_carlo") & (rows["target_name"] == "champion")].assign(model="truth")
    for season in range(FIRST, FIRST + SEASONS):
        records = season_records(games, teams, season)
        odds = championship_odds(records, games.iloc[:0], truth.as_of(f"{season}-06-01"), 0.0, OddsConfig(EDGE, SD), draws=1000)
        odds, own = odds.clip(lower=1e-6), best["season"] == season
        best.loc[own, "pred"] = (odds / odds.sum()).reindex(best.loc[own, "entity_id"].astype(int)).to_numpy()
    return games, ratings, scores, pd.concat([rows, best])


def test_the_true_odds_are_best_and_the_simulation_is_next(plant):
    """In a league that works as the simulation says; the second comparison asks the true odds, not the one champion that there was."""
    rows = plant[-1]
    loss = champion_rows(rows).pivot(index="season", columns="model", values="log_loss")
    gain = loss.drop(columns="truth").sub(loss["truth"], axis=0)
    assert (gain.mean() > 1.5 * gain.std() / np.sqrt(len(gain))).all()
    odds = rows[rows["target_name"] == "champion"].pivot(index=["season", "entity_id"], columns="model", values="pred")
    crossed = -(np.log(odds.clip(lower=1e-6)).mul(odds["truth"], axis=0)).groupby("season").sum()  # the log loss that is expected
    lead = crossed[["softmax", "softmax_default", "uniform"]].sub(crossed["monte_carlo"], axis=0)
    assert (lead.mean() > 2 * lead.std() / np.sqrt(len(lead))).all(), lead.mean()
    reached = rows[(rows["model"] == "monte_carlo") & rows["target_name"].isin(["second_round", "finals"])]
    for _, part in reached.groupby("target_name"):
        likely = part[part["pred"] > 0.3]
        assert abs(likely["target"].mean() - likely["pred"].mean()) < 0.12  # calibrated where something is at stake


def test_the_scale_finds_what_was_planted(plant):
    games, ratings, scores, _ = plant
    last = to_points(scores, games, "end")
    last = last[last["season"] == FIRST + SEASONS - 1]
    first = last.iloc[0]
    assert abs(first["error"] - 2.5) < 0.4 and abs(first["home_edge"] - EDGE) < 0.5 and abs(first["sd"] - SD) < 0.4
    rating = ratings.as_of(f"{FIRST + SEASONS - 1}-06-01").reindex(last["team_id"])
    assert abs(np.polyfit(rating, last["points"], 1)[0] - 1) < 0.1  # a shrunk rating is in points already


def test_win_intervals_hold_what_they_promise():
    games, teams, outcomes, ratings, _ = planted(12, error=2.5, seed=1)
    scores = rating_scores(games, {"srs": ratings}, ["01-20"]).query("signal == 'srs'")
    rows = forecast(games, teams, outcomes, scores, config=ChampionsConfig(draws=300))
    value = interval_metrics(rows[rows["season"] > FIRST], draws=100).query("target == 'wins' and metric == 'coverage_90'")
    value = value.set_index("model")["value"]
    assert 0.86 < value["monte_carlo"] < 0.96 and value["monte_carlo_certain"] < value["monte_carlo"] - 0.04


def test_products_of_pairs_against_the_double_loop():
    draw = np.random.default_rng(3)
    home, away = draw.integers(0, 8, 60), draw.integers(8, 16, 60)
    x = draw.normal(0, 5, 60)
    y = x + draw.normal(0, 12, 60)
    got = fit_scale(x, y, home, away)
    left = y - got.home_edge - got.slope * x
    assert np.isclose(left.mean(), 0) and np.isclose(left @ x, 0)  # least squares
    total = pairs = 0
    for team in range(16):
        e = [*left[home == team], *-left[away == team]]
        total += sum(e[i] * e[j] for i in range(len(e)) for j in range(len(e)) if i != j)
        pairs += len(e) * (len(e) - 1)
    error = np.sqrt(max(total / pairs, 0))
    spread, expected = np.sqrt(got.sd**2 + 2 * error**2), got.home_edge + got.slope * x
    likelihood = [np.log(norm.cdf(np.sign(y) * expected / s)).sum() for s in (spread, 0.97 * spread, 1.03 * spread)]
    assert np.isclose(got.error, error) and np.argmax(likelihood) == 0
    for bad in (x[:2], np.zeros(60)):
        with pytest.raises(SportsmlError, match="scores that differ are needed"):
            fit_scale(bad, y[:len(bad)], home[:len(bad)], away[:len(bad)])


def test_any_unit_of_strength_gives_the_same_odds(league):
    games, teams, outcomes = league
    srs = scores_of(games).query("signal == 'srs'")
    stretch = {2015: 0.01, 2016: 5.0, 2017: 300.0}  # a model that is trained anew every season, on a scale of its own
    model = srs.assign(signal="net", score=srs["score"] * srs["season"].map(stretch) - 3)
    plain = srs.assign(signal="net")
    a, b = (to_points(f, games, "01-20") for f in (model, plain))
    pd.testing.assert_frame_equal(a, b)
    assert np.allclose(a[a["season"] == 2015].groupby("season")["points"].std(), 4.7)
    rows = forecast(games, teams, outcomes, pd.concat([srs, model]), simulate=("srs", "net"))
    assert {"monte_carlo_net", "softmax_net"} <= set(rows["model"])
    both = rows[(rows["target_name"] == "champion") & (rows["season"] > 2015)]
    both = both.pivot_table(index=["group_id", "entity_id"], columns="model", values="pred")
    assert both["monte_carlo"].corr(both["monte_carlo_net"]) > 0.9


def test_scores_that_cannot_be_used(league):
    games, teams, outcomes = league
    srs = scores_of(games).query("signal == 'srs'").reset_index(drop=True)
    with pytest.raises(SportsmlError, match=r"no scores of \['late'\]"):
        to_points(srs[srs["day"] != "late"], games, "end")
    with pytest.raises(SportsmlError, match="1 scores are missing"):
        to_points(srs.assign(score=srs["score"].where(srs.index != 5)), games, "01-20")
    with pytest.raises(SportsmlError, match="several of one|has several on one day"):
        to_points(pd.concat([srs, srs.iloc[:1]]), games, "01-20")
    with pytest.raises(SportsmlError, match="no scores of 'sr' to simulate.*srs"):
        forecast(games, teams, outcomes, srs, simulate=("sr",))
    with pytest.raises(SportsmlError, match="seasons there"):
        season_day(games, 1999, "end")
    with pytest.raises(SportsmlError, match="MM-DD"):
        season_day(games, 2016, "somewhen")


def test_before_the_first_game(league):
    games, teams, outcomes = league
    rows = forecast(games, teams, outcomes, rating_scores(games, {"srs": srs_ratings(games)}, ["preseason"]))
    champion = rows[rows["target_name"] == "champion"].set_index(["model", "season"])["pred"]
    assert np.allclose(champion["softmax_win_pct"], 1 / 30) and np.allclose(champion["softmax", 2015], 1 / 30)  # nobody has played
    assert champion["softmax", 2016].max() > 0.05  # last season is known
    assert (rows.loc[rows["model"] == "pace", "pred"] == 41).all()


def test_temperature_stays_near_its_start_with_little_to_learn_from():
    sure = np.array([12.0, *np.zeros(29)])
    assert 1.0 < fit_temperature([sure], [0]) <= 2.0 and 2.0 <= fit_temperature([sure], [7]) < 8.0
    assert np.isclose(fit_temperature([], [], start=3.3), 3.3, atol=1e-3)


def test_the_config_chooses_the_method(league):
    games, teams, outcomes = league
    points = to_points(scores_of(games).query("signal == 'srs'"), games, "01-20").query("season == 2017")
    odds = {m: season_odds(games, teams, points, ChampionsConfig.from_config({"championship_odds_method": m, "draws": 300}), seed=1)
            for m in ("monte_carlo", "softmax")}
    assert all(np.isclose(p.sum(), 1) and (p > 0).all() for p in odds.values()) and not np.allclose(*odds.values())
    exact = np.exp(points.set_index("team_id")["points"] / 2.0)
    assert np.allclose(odds["softmax"], (exact / exact.sum()).reindex(odds["softmax"].index))
    rows = forecast(games, teams, outcomes, config=ChampionsConfig(draws=300), seed=1)
    same = rows[(rows["model"] == "monte_carlo") & (rows["target_name"] == "champion") & (rows["group_id"] == "2017 01-20")]
    assert np.allclose(same["pred"], odds["monte_carlo"].reindex(same["entity_id"].astype(int)))
    for bad, message in (({"championship_odds_method": "softmx"}, "softmax"), ({"drws": 5}, "draws"), ({"draws": 0}, "positive"),
                         ({"sd": -1}, "positive")):
        with pytest.raises(SportsmlError, match=message):
            ChampionsConfig.from_config(bad)


def test_the_yaml_holds_the_defaults():
    section = yaml.safe_load((ROOT / "config" / "nba_strength.yaml").read_text())["parameters"]["odds"]
    assert ChampionsConfig.from_config(section) == ChampionsConfig() and set(section) == set(ChampionsConfig.__dataclass_fields__)


def test_predictions_of_any_model_are_scores():
    rows = pd.DataFrame({"model": "stack", "target_name": ["final_rank", "conference_rank"], "group_id": ["2016 12-31", "2016 12-31 E"],
                         "season": 2016, "as_of": pd.Timestamp("2015-12-31"), "entity_id": "1610612737", "pred": [0.5, 9.0]})
    got = scores_of_predictions(rows)
    assert got.to_dict("records") == [{"signal": "stack", "day": "12-31", "season": 2016, "as_of": pd.Timestamp("2015-12-31"),
                                       "team_id": 1610612737, "score": 0.5}]
