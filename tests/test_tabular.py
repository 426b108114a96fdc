"""Model B and the playoff classifier: planted truth, forbidden columns, leakage, missing values, saved files."""
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sportsml.core import SportsmlError
from sportsml.metrics import log_loss_rows, spearman
from sportsml.nba.clone import CloneConfig, fill_places, forecast_playoffs, playoff_field, playoff_metrics, playoff_race, simulate_playoffs
from sportsml.nba.forecasts import rating_panels
from sportsml.nba.franchises import teams_table
from sportsml.nba.sim import LeagueConfig, simulate_league
from sportsml.nba.tabular import (
    FORBIDDEN,
    MODELS,
    ModelBConfig,
    ModelBTrainer,
    TabularError,
    check_features,
    feature_importance,
    forecast_model_b,
    load_model_b,
    save_model_b,
    season_outcomes,
)
from sportsml.nba.team_features import season_days, team_features
from sportsml.schema import check_rows

STRONG = ModelBConfig(rounds=60, learning_rate=0.1, penalty=5.0, leaf=20, trees=40)
KEY = ["season", "team_id"]


def planted(seasons: int = 7, edge: float = 0.08, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features and outcomes: `depth` says, with the strength of `edge`, what projected wins miss; `noise` says nothing."""
    draw, parts = np.random.default_rng(seed), []
    for season in range(2010, 2010 + seasons):
        rating, depth = draw.normal(0.5, 0.12, 30), draw.normal(0, 1, 30)
        won = draw.binomial(30, rating)
        wins = won + draw.binomial(52, np.clip(rating + edge * depth, 0.02, 0.98))
        parts.append(pd.DataFrame({
            "as_of": pd.Timestamp(f"{season - 1}-12-31"), "season": season, "team_id": np.arange(1, 31), "depth": depth, "wins": wins,
            "projected_wins": won + 52 * rating, "games_remaining": 52.0, "noise": draw.normal(size=30)}))
    rows = pd.concat(parts, ignore_index=True)
    table = rows.set_index(KEY)
    outcomes = pd.DataFrame({"conference": np.where(rows["team_id"] % 2, "E", "W"), "win_pct": table["wins"].to_numpy() / 82, "games": 82,
                             "rank": table.groupby("season")["wins"].rank(ascending=False)}, index=table.index)
    outcomes["conference_rank"] = outcomes.groupby(["season", "conference"])["win_pct"].rank(ascending=False)
    return rows.drop(columns="wins"), outcomes


def day_table(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["season", "as_of"]].drop_duplicates().assign(day=lambda f: f["as_of"].dt.strftime("%m-%d"))


def mean_spearman(rows: pd.DataFrame) -> pd.Series:  # by model
    lists = rows[rows["target_name"] == "final_rank"].groupby(["model", "group_id"])
    return lists[["target", "pred"]].apply(lambda f: spearman(f["target"], f["pred"])).groupby("model").mean()


@pytest.fixture(scope="module")
def league():
    """Six simulated seasons with features on two days."""
    made = simulate_league(LeagueConfig(seasons=6, first_season=2011, seed=4), progress=False)
    games = made.games.assign(season_type="regular", game_id=[f"{g:010d}" for g in made.games.index])
    return {"games": games, "records": made.records.assign(complete=True), "series": made.series, "teams": teams_table(range(2011, 2017)),
            "days": season_days(games, ["12-10", "01-20"])}


def features_of(league: dict) -> pd.DataFrame:
    panels = rating_panels(league["games"])
    return team_features(league["games"], league["teams"], league["days"]["as_of"], panels, records=league["records"]).frame


def base_spearman(frame: pd.DataFrame, outcomes: pd.DataFrame) -> float:
    lists = [(outcomes["rank"].loc[s], own.set_index("team_id")["projected_wins"]) for s, own in frame.groupby("season") if s > 2011]
    return float(np.mean([spearman(true, projected) for true, projected in lists]))


# ---- what is there is found, and what is not there is not

def test_planted_truth_is_found_by_every_model():
    frame, outcomes = planted()
    rows = forecast_model_b(frame, outcomes, day_table(frame), 2013, STRONG, progress=False)
    assert (mean_spearman(rows) > base_spearman(frame, outcomes) + 0.02).all()
    used = feature_importance(ModelBTrainer(STRONG).fit(frame, outcomes))
    assert (used.idxmax() == "depth").all() and np.allclose(used.sum(), 1)


def test_without_anything_to_find_the_order_of_projected_wins_stays():
    frame, outcomes = planted(edge=0.0)
    rows = forecast_model_b(frame, outcomes, day_table(frame), 2013, ModelBConfig(trees=50), progress=False)
    assert (mean_spearman(rows) > base_spearman(frame, outcomes) - 0.01).all()


def test_a_day_after_the_last_game_is_no_problem():
    frame, outcomes = planted(4)
    over = frame.assign(as_of=frame["as_of"] + pd.Timedelta(days=120), games_remaining=0.0, projected_wins=frame["projected_wins"].round())
    fit = ModelBTrainer(STRONG).fit(pd.concat([frame, over]), outcomes)
    strength = fit.predict(over)
    assert np.allclose(strength["xgb_margin"], over["projected_wins"]) and np.allclose(strength["random_forest"], over["projected_wins"])


# ---- what no model may see

@pytest.mark.parametrize("name", [*FORBIDDEN, "Net Rating", "FINAL_RANK"])
def test_a_forbidden_column_is_named(name):
    with pytest.raises(TabularError, match=name):
        check_features(["elo", name])
    frame, outcomes = planted(3)
    if name not in frame:
        with pytest.raises(TabularError, match=name):
            ModelBTrainer().fit(frame.assign(**{name: 1.0}), outcomes)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_column_that_knows_the_outcome_is_refused_under_any_name(turn):
    frame, outcomes = planted(3)
    secret = turn * outcomes["rank"].loc[pd.MultiIndex.from_frame(frame[KEY])].to_numpy() ** 3
    with pytest.raises(TabularError, match="'chemistry' has the final order"):
        ModelBTrainer().fit(frame.assign(chemistry=secret), outcomes)


def test_later_seasons_never_reach_a_forecast(league):
    frame = features_of(league)
    outcomes = season_outcomes(league["games"], league["teams"], range(2011, 2017))
    field = playoff_field(league["series"], outcomes)
    small = ModelBConfig(rounds=20, trees=20, leaf=20, penalty=1.0)
    draw = np.random.default_rng(0)
    other, names = frame.copy(), [c for c in frame if c not in ("as_of", *KEY, "projected_wins", "games_remaining")]
    other.loc[frame["season"] == 2016, names] = draw.normal(size=((frame["season"] == 2016).sum(), len(names)))
    turned = outcomes.copy()
    turned.loc[turned.index.get_level_values(0) >= 2015, ["rank", "conference_rank", "win_pct"]] = (
        outcomes.loc[outcomes.index.get_level_values(0) >= 2015, ["rank", "conference_rank", "win_pct"]].to_numpy()[::-1])
    out = [forecast_model_b(f, o, league["days"], 2014, small, progress=False) for f, o in ((frame, outcomes), (other, turned))]
    same = [rows.loc[rows["season"] <= 2015, ["model", "group_id", "entity_id", "pred"]] for rows in out]
    pd.testing.assert_frame_equal(*same, check_exact=True)
    assert not out[0]["pred"].equals(out[1]["pred"])
    swapped = field.where(field.index.get_level_values(0) < 2015, 1 - field)
    told = [forecast_playoffs(frame, league["teams"], f, league["days"], 2014) for f in (field, swapped)]
    pd.testing.assert_frame_equal(*(t.loc[t["season"] <= 2015, ["model", "group_id", "entity_id", "pred"]] for t in told), check_exact=True)


def test_scores_of_the_day_and_later_never_reach_a_forecast(league):
    day = league["days"].query("season == 2016 and day == '12-10'")["as_of"].iloc[0]
    late = league["games"]["date"] >= day
    points = {side: league["games"][side].where(~late, other) for side, other in (("home_points", 77), ("away_points", 99))}
    changed = league | {"games": league["games"].assign(**points)}
    small, days, out = ModelBConfig(rounds=20, trees=10, leaf=20), league["days"].query("day == '12-10'"), []
    for case in (league, changed):
        outcomes = season_outcomes(case["games"], case["teams"], range(2011, 2017))
        frame = features_of(case)
        field = playoff_field(league["series"], outcomes)
        srs = rating_panels(case["games"])["srs"]
        rows = [forecast_model_b(frame, outcomes, days, 2014, small, progress=False),
                forecast_playoffs(frame, case["teams"], field, days, 2014),
                simulate_playoffs(case["games"], case["teams"], srs, field, days, 2014, draws=50, progress=False)]
        out.append(pd.concat(rows)[["model", "group_id", "target_name", "entity_id", "pred"]])
    pd.testing.assert_frame_equal(*out, check_exact=True)


# ---- same input, same output

def test_the_same_seed_gives_the_same_bits_and_row_order_does_not_matter():
    frame, outcomes = planted(4)
    one, two = ModelBTrainer(STRONG).fit(frame, outcomes), ModelBTrainer(STRONG).fit(frame.sample(frac=1, random_state=1), outcomes)
    assert one.predict(frame).equals(two.predict(frame))
    assert not ModelBTrainer(replace(STRONG, seed=1)).fit(frame, outcomes).predict(frame).equals(one.predict(frame))
    back = one.predict(frame.iloc[::-1])
    assert back.sort_index().equals(one.predict(frame)) and list(back.index) == list(frame.index[::-1])


def test_rows_fit_the_schema_and_name_every_team_once():
    frame, outcomes = planted(4)
    rows = forecast_model_b(frame, outcomes, day_table(frame), 2013, STRONG, progress=False)
    good, bad = check_rows("predictions", rows.assign(run_id="001"))
    assert bad.empty and len(good) == len(rows) == 2 * 3 * 60  # two seasons, three models, the league and its two halves
    assert set(rows["model"]) == set(MODELS) and rows.groupby(["model", "group_id"])["entity_id"].nunique().isin([15, 30]).all()
    assert rows.groupby("season")["split"].unique().map(list).to_dict() == {2012: ["validation"], 2013: ["test"]}


# ---- missing and wrong values

def test_missing_values_go_through_and_wrong_ones_are_named():
    frame, outcomes = planted(4)
    holes = frame.assign(noise=np.nan, depth=frame["depth"].where(frame["team_id"] % 3 > 0))
    strength = ModelBTrainer(STRONG).fit(holes, outcomes).predict(holes)
    assert np.isfinite(strength).all(axis=None)
    fit = ModelBTrainer(STRONG).fit(frame, outcomes)
    assert np.isfinite(fit.predict(frame.assign(depth=np.nan))).all(axis=None)
    for wrong, word in ((frame.assign(depth=np.inf), "'depth' holds an infinite"), (frame.assign(depth="deep"), "'depth' is"),
                        (frame.assign(projected_wins=np.nan), "'projected_wins' is missing"),
                        (frame.drop(columns="noise"), "no column 'noise'")):
        with pytest.raises(TabularError, match=word):
            fit.predict(wrong)
    with pytest.raises(TabularError, match="no final rank of team 1 in 2013"):
        ModelBTrainer(STRONG).fit(frame, outcomes.drop((2013, 1)))
    with pytest.raises(SportsmlError, match="has 2 earlier ones"):
        forecast_model_b(frame[frame["season"] < 2012], outcomes, day_table(frame), 2012, progress=False)


@pytest.mark.parametrize("setting", [{"depth": 0}, {"rows": 0}, {"learning_rate": 2}, {"trees": 0}, {"leafs": 3}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SportsmlError, match=min(setting)):
        ModelBConfig.from_config(setting)


# ---- files

@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    frame, outcomes = planted(4)
    fit = ModelBTrainer(STRONG).fit(frame, outcomes)
    return frame, fit, save_model_b(fit, tmp_path_factory.mktemp("model_b"))


def copied(folder, to):
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_saved_and_loaded_models_say_the_same(saved):
    frame, fit, folder = saved
    again = load_model_b(folder, features=fit.features)
    assert again.predict(frame).equals(fit.predict(frame)) and feature_importance(again).equals(feature_importance(fit))
    assert (again.config, again.features, again.seasons, again.slope) == (fit.config, fit.features, fit.seasons, fit.slope)
    assert not any(b"pickle" in p.read_bytes() for p in folder.iterdir())


@pytest.mark.parametrize("name", ["xgb_rank.json", "xgb_margin.json", "random_forest.skops"])
def test_a_changed_or_missing_file_is_refused(saved, tmp_path, name):
    folder = copied(saved[2], tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-200] + bytes([content[-200] ^ 1]) + content[-199:])
    with pytest.raises(TabularError, match=name):
        load_model_b(folder)
    (folder / name).unlink()
    with pytest.raises(TabularError, match=name):
        load_model_b(folder)


def test_files_that_do_not_belong_together_are_refused(saved, tmp_path):
    from sportsml.core import sha256_file
    frame, fit, folder = saved
    with pytest.raises(TabularError, match="differ in elo, noise"):
        load_model_b(folder, features=["elo" if f == "noise" else f for f in fit.features])
    with pytest.raises(TabularError, match="model_b.json is not there"):
        load_model_b(tmp_path)
    about = json.loads((copied(folder, tmp_path) / "model_b.json").read_text())
    for change, word in (({"format": 2}, "format 2"), ({"versions": about["versions"] | {"scikit-learn": "0.1"}}, "0.1"),
                         ({"features": about["features"][::-1]}, "has the features"), ({"config": about["config"] | {"dept": 1}}, "dept"),
                         ({"seasons": None}, "seasons"), ({"files": {}}, "xgb_rank.json is missing")):
        (tmp_path / "model_b.json").write_text(json.dumps(about | change))
        with pytest.raises(SportsmlError, match=word):
            load_model_b(tmp_path)
    other = save_model_b(ModelBTrainer(STRONG).fit(frame.rename(columns={"noise": "luck"}), planted(4)[1]), tmp_path / "other")
    for name in ("xgb_rank.json", "random_forest.skops"):
        (tmp_path / name).write_bytes((other / name).read_bytes())
    (tmp_path / "model_b.json").write_text(json.dumps(about | {"files": {n: sha256_file(tmp_path / n) for n in about["files"]}}))
    with pytest.raises(TabularError, match="luck"):
        load_model_b(tmp_path)


def test_a_forest_whose_nodes_point_out_of_it_is_refused(saved, tmp_path):
    frame, outcomes = planted(4)
    fit = ModelBTrainer(STRONG).fit(frame, outcomes)
    fit.forest.estimators_[3].tree_.children_left[0] = 10**6  # the tree's own memory
    with pytest.raises(TabularError, match="tree 3 has nodes"):
        load_model_b(save_model_b(fit, tmp_path))


# ---- the playoffs

def test_playoff_probabilities_are_proper_and_know_more_than_the_base_rate(league):
    outcomes = season_outcomes(league["games"], league["teams"], range(2011, 2017))
    field = playoff_field(league["series"], outcomes)
    rows = forecast_playoffs(features_of(league), league["teams"], field, league["days"], 2014)
    days = league["days"][league["days"]["season"].isin(rows["season"])]
    srs = rating_panels(league["games"])["srs"]
    simulated = simulate_playoffs(league["games"], league["teams"], srs, field, days, 2014, draws=200, progress=False)
    rows = pd.concat([rows, simulated], ignore_index=True)
    assert check_rows("predictions", rows.assign(run_id="001"))[1].empty and rows["pred"].between(0, 1, inclusive="neither").all()
    assert np.allclose(rows[rows["model"] != "monte_carlo"].groupby(["model", "group_id"])["pred"].sum(), 16)
    losses = rows.assign(loss=log_loss_rows(rows["target"], rows["pred"])).groupby("model")["loss"].mean()
    base = log_loss_rows(rows["target"], np.full(len(rows), 16 / 30)).mean()
    assert (losses < base - 0.2).all()
    metrics = playoff_metrics(rows[rows["split"] == "test"], draws=200)
    assert metrics.query("group == 'all' and metric == 'log_loss' and model == 'clone'")["n"].iloc[0] == 3
    assert metrics.loc[metrics["model"] == "standings", "difference"].isna().all()


def test_eight_places_are_filled_without_changing_the_order():
    p = np.random.default_rng(0).uniform(0.001, 0.999, 15)
    filled = fill_places(p)
    assert np.isclose(filled.sum(), 8) and np.array_equal(np.argsort(p), np.argsort(filled))
    odds = np.log(filled / (1 - filled)) - np.log(p / (1 - p))
    assert np.allclose(odds, odds[0])
    assert np.isclose(fill_places(np.r_[np.ones(8), np.zeros(7)]).sum(), 8)
    for wrong in (p[:8], np.r_[p[:14], np.nan]):
        with pytest.raises(SportsmlError, match="8 places"):
            fill_places(wrong)


def test_the_race_is_against_the_best_team_on_the_other_side_of_the_line():
    teams = pd.DataFrame({"season": 2016, "team_id": range(1, 11), "conference": "E"})
    frame = pd.DataFrame({"as_of": pd.Timestamp("2016-01-20"), "season": 2016, "team_id": range(1, 11), "games_played": 42.0,
                          "games_remaining": 40.0, "wins_so_far": 21.0, "projected_wins": np.arange(60.0, 10, -5),
                          "projected_wins_elo": 41.0})
    race = playoff_race(frame, teams)
    sd = np.sqrt(0.22 * 40 + (0.033 * 40 * 12) ** 2 / 52)
    assert np.allclose(race["race_srs"] * sd, [40, 35, 30, 25, 20, 15, 10, 5, -5, -10]) and (race["race_standings"] == 0).all()
    with pytest.raises(SportsmlError, match="more than 8 teams"):
        playoff_race(frame.iloc[:8], teams)
    with pytest.raises(SportsmlError, match="projected_wins_elo"):
        playoff_race(frame.drop(columns="projected_wins_elo"), teams)


def test_a_season_without_its_whole_field_is_left_out(league):
    outcomes = season_outcomes(league["games"], league["teams"], range(2011, 2017))
    first = league["series"].query("season == 2014 and round == 1").index[0]
    field = playoff_field(league["series"].drop(index=first), outcomes)
    assert 2014 not in field.index.get_level_values("season") or field.loc[2014].sum() == 16
    assert 2014 not in playoff_field(league["series"].query("season != 2014"), outcomes).index.get_level_values("season")


def test_the_classifier_refuses_what_it_may_not_see(league):
    outcomes = season_outcomes(league["games"], league["teams"], range(2011, 2017))
    field, frame = playoff_field(league["series"], outcomes), features_of(league)
    with pytest.raises(SportsmlError, match="made_playoffs"):
        forecast_playoffs(frame.assign(made_playoffs=1.0), league["teams"], field, league["days"], 2014)
    with pytest.raises(SportsmlError, match="rounds"):
        CloneConfig(rounds=-1)
