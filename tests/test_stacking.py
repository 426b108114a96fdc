"""The stack: it learns planted weights from earlier seasons, equals a plain loop, and never sees later seasons."""
import numpy as np
import pandas as pd
import pytest

from sportsml.metrics import list_scores
from sportsml.nba.forecasts import rank_rows
from sportsml.nba.stacking import StackConfig, StackError, StackingTrainer, stack_coverage, stack_inputs, walk_stack
from sportsml.runs import open_run, save_predictions
from sportsml.schema import check_rows

CONFIG = StackConfig(models=("elo", "xgb_rank", "model_a"))


def made_rows(seasons=range(2008, 2016), errors=None, days=("12-31", "01-20"), seed=0, teams=30):
    """Forecasts of every model: the truth with an error of its own, in units of its own."""
    draw, out = np.random.default_rng(seed), []
    errors = errors or {"projected_wins": 0.5, "elo": 0.5, "xgb_rank": 0.5, "model_a": 0.5}
    for season in seasons:
        truth = draw.normal(size=teams)
        ids = pd.Index(range(101, 101 + teams), name="team_id")
        final = pd.DataFrame({"conference": np.where(np.arange(teams) % 2, "E", "W"), "truth": truth}, index=ids)
        final["rank"] = final["truth"].rank(ascending=False)
        final["conference_rank"] = final.groupby("conference")["truth"].rank(ascending=False)
        for day in days:
            scores = pd.DataFrame({m: 50 + 9 * (truth + draw.normal(0, sd, teams)) for m, sd in errors.items()}, index=ids)
            out.append(rank_rows(scores, final, season, day, "test"))
    return pd.concat(out, ignore_index=True)


@pytest.fixture(scope="module")
def rows():
    return made_rows()


@pytest.fixture(scope="module")
def result(rows):
    return walk_stack(rows, CONFIG)


def sorted_rows(frame):
    key = ["target_name", "season", "as_of", "group_id", "entity_id", "model"]
    return frame.sort_values(key).reset_index(drop=True)


def test_rows_fit_the_schema_and_cover_every_list_but_the_first_season(rows, result):
    good, bad = check_rows("predictions", result.rows.assign(run_id="001"))
    assert bad.empty and len(good) == len(rows[rows["season"] > 2008]) / 4
    assert set(result.rows["model"]) == {"stack"}
    assert set(result.fits) == {(target, season) for target in rows["target_name"].unique() for season in range(2009, 2016)}


def test_planted_weights_come_back():
    draw = np.random.default_rng(1)
    rows = made_rows(range(1980, 2010), {"projected_wins": 1.0, "elo": 1.0, "xgb_rank": 1.0, "model_a": 30.0}, days=["12-31"])
    rows = rows[rows["target_name"] == "final_rank"]
    wide = rows.pivot(index=["season", "as_of", "group_id", "entity_id"], columns="model", values="pred")
    z = wide.groupby("group_id").transform(lambda c: (c - c.mean()) / c.std(ddof=0))
    planted = 0.3 * z["projected_wins"] + 0.5 * z["elo"] + 0.2 * z["xgb_rank"] + 0.05 * draw.normal(size=len(z))
    places = planted.groupby("group_id").rank(ascending=False).rename("planted").reset_index()
    rows = rows.merge(places, on=["season", "as_of", "group_id", "entity_id"])
    fit = StackingTrainer(StackConfig(models=CONFIG.models, alphas=(0.1, 1.0, 1000.0))).fit(rows.assign(target=rows["planted"]))
    assert fit.weights.to_dict() == pytest.approx({"projected_wins": 0.3, "elo": 0.5, "xgb_rank": 0.2, "model_a": 0.0}, abs=0.03)


def test_strength_is_high_where_the_place_is_first(rows, result):
    scores = list_scores(pd.concat([rows, result.rows]), k=5)
    late = scores[scores["group_id"].str[:4].astype(int) >= 2012].groupby("model")["spearman"].mean()
    assert late["stack"] > late.drop("stack").max() > 0.8
    turned = rows.assign(pred=np.where(rows["model"] == "elo", -rows["pred"], rows["pred"]))  # a model that calls the worst team best
    fits = walk_stack(turned, CONFIG).fits
    assert all(fit.weights["elo"] == 0 and (fit.weights >= 0).all() for fit in fits.values())
    best = result.rows.loc[result.rows.groupby("group_id")["pred"].idxmax()]
    assert best["target"].mean() < 3 and result.rows["pred"].lt(0).mean() > 0.9  # minus the expected place


@pytest.mark.parametrize("season", [2009, 2012, 2015])
def test_no_stack_sees_its_own_targets_or_a_later_season(rows, result, season):
    draw, own, later = np.random.default_rng(3), rows["season"] == season, rows["season"] > season
    other = rows.copy()
    other.loc[later, "pred"] = draw.normal(size=later.sum())
    for mask in (own, later):
        other.loc[mask, "target"] = draw.permutation(rows.loc[mask, "target"].to_numpy(copy=True))
    other["target"] = other.groupby(["season", "group_id", "entity_id"])["target"].transform("first")  # all models of a team agree
    there = walk_stack(other, CONFIG).rows
    known = ["model", "season", "as_of", "group_id", "entity_id", "target_name", "pred", "pred_lo", "pred_hi"]
    a, b = (sorted_rows(r[r["season"] <= season])[known] for r in (result.rows, there))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    if later.any():
        assert not sorted_rows(result.rows)["pred"].equals(sorted_rows(there)["pred"])


def test_equals_a_plain_loop(rows, result):
    """Every list by hand, every penalty by hand, every season left out by hand."""
    season, models = 2014, ["elo", "xgb_rank", "model_a"]

    def lists(wanted):
        out = []
        for (_, group), part in rows[(rows["target_name"] == "final_rank") & rows["season"].isin(wanted)].groupby(["season", "group_id"]):
            wide = part.pivot(index="entity_id", columns="model", values="pred").sort_index()
            z = ((wide - wide.mean()) / wide.std(ddof=0)).to_numpy()
            place = part.drop_duplicates("entity_id").set_index("entity_id")["target"].reindex(wide.index).to_numpy()
            columns = list(wide.columns)
            anchor = z[:, columns.index("projected_wins")]
            x = np.column_stack([z[:, columns.index(m)] - anchor for m in models])
            out.append((int(group[:4]), anchor, x, (15.5 - place) / np.sqrt((30**2 - 1) / 12)))
        return out

    def fit_rows(anchor, x, y, alpha):  # ridge as least squares: a penalty is a row of data; the anchor has none
        extra = np.hstack([np.zeros((3, 1)), np.sqrt(alpha) * np.eye(3)])
        design = np.vstack([np.column_stack([anchor, x]), extra])
        return np.linalg.lstsq(design, np.concatenate([y, np.zeros(3)]), rcond=None)[0]

    train = lists(range(2008, season))
    anchor, x, y = (np.concatenate([part[i] for part in train]) for i in (1, 2, 3))
    seasons, losses = np.repeat([part[0] for part in train], 30), {}
    for alpha in CONFIG.alphas:
        losses[alpha] = 0.0
        for left_out in range(2008, season):
            inside = seasons != left_out
            found = fit_rows(anchor[inside], x[inside], y[inside], alpha * 2)
            losses[alpha] += np.mean((y - np.column_stack([anchor, x]) @ found)[~inside] ** 2)
    alpha = min(losses, key=losses.get)
    found = fit_rows(anchor, x, y, alpha * 2)
    assert (found > 0).all()  # else the loop would have to take models out
    fit = result.fits["final_rank", season]
    assert fit.alpha == pytest.approx(alpha) and fit.slope == pytest.approx(found[0])
    assert fit.weights[models].to_numpy() == pytest.approx(found[1:] / found[0])
    by_hand = np.concatenate([np.column_stack([a, z]) @ found for _, a, z, _ in lists([season])]) * np.sqrt((30**2 - 1) / 12) - 15.5
    there = result.rows[(result.rows["season"] == season) & (result.rows["target_name"] == "final_rank")]
    assert np.sort(there["pred"]) == pytest.approx(np.sort(by_hand))


def test_an_absent_model_changes_nothing_and_a_late_one_only_later_seasons(rows, result):
    without = walk_stack(rows[rows["model"] != "model_a"], CONFIG).rows
    narrow = walk_stack(rows[rows["model"] != "model_a"], StackConfig(models=("elo", "xgb_rank"))).rows
    pd.testing.assert_frame_equal(without, narrow)
    late = rows[(rows["model"] != "model_a") | (rows["season"] >= 2013)]
    there = walk_stack(late, CONFIG).rows
    a, b = (sorted_rows(r[r["season"] <= 2013]) for r in (there, without))
    pd.testing.assert_frame_equal(a, b)
    assert not there[there["season"] == 2015]["pred"].equals(without[without["season"] == 2015]["pred"])
    coverage = stack_coverage(late[late["target_name"] == "conference_rank"], CONFIG)
    assert coverage["model_a"].tolist() == [0.0] * 5 + [1.0] * 3 and (coverage.drop(columns="model_a") == 1).all(axis=None)


def test_a_model_that_knows_half_a_list_is_absent_from_it(rows):
    one = rows[rows["target_name"] == "final_rank"]
    hole = one["model"].eq("elo") & one["group_id"].eq("2012 12-31") & one["entity_id"].eq("101")
    assert hole.sum() == 1
    for other in (one[~hole], one.assign(pred=one["pred"].mask(hole))):
        inputs = stack_inputs(other, CONFIG)
        gone = inputs.rows["group_id"].eq("2012 12-31")
        assert inputs.strength.loc[gone, "elo"].isna().all() and inputs.strength.loc[~gone, "elo"].notna().all()
    flat = one.assign(pred=one["pred"].mask(one["model"].eq("elo") & one["season"].eq(2012), 0.5))
    assert stack_coverage(flat, CONFIG).loc[2012, "elo"] == 0


def test_units_and_order_of_rows_do_not_matter(rows, result):
    mixed = rows.sample(frac=1, random_state=5).reset_index(drop=True)
    pd.testing.assert_frame_equal(sorted_rows(walk_stack(mixed, CONFIG).rows), sorted_rows(result.rows), check_exact=True)
    scaled = rows.assign(pred=np.where(rows["model"] == "elo", 400 * rows["pred"] + 1500, rows["pred"]))
    pd.testing.assert_frame_equal(walk_stack(scaled, CONFIG).rows, result.rows)


def test_it_is_the_anchor_when_nobody_knows_more():
    rows = made_rows(errors={"projected_wins": 0.3, "elo": 3.0, "xgb_rank": 3.0})
    scores = list_scores(pd.concat([rows, walk_stack(rows, CONFIG).rows]), k=5)
    table = scores[scores["group_id"].str[:4].astype(int) >= 2012].pivot(index="group_id", columns="model", values="spearman")
    assert (table["stack"] - table["projected_wins"]).mean() > -0.002
    alone = walk_stack(rows[rows["model"] == "projected_wins"], CONFIG)
    assert all(fit.weights["projected_wins"] == 1 for fit in alone.fits.values())


def test_intervals_hold_what_they_promise():
    rows = made_rows(range(1992, 2016), seed=4).query("target_name == 'final_rank'")
    for level in (0.5, 0.8):
        out = walk_stack(rows, StackConfig(models=CONFIG.models, level=level)).rows
        out = out[out["season"] >= 1996]
        assert (-out["target"]).between(out["pred_lo"], out["pred_hi"]).mean() == pytest.approx(level, abs=0.03)


def test_a_season_under_way_is_forecast_and_never_learned_from(rows):
    now = rows.assign(target=rows["target"].mask(rows["season"] == 2014))  # known too late, or never
    out = walk_stack(now, CONFIG)
    assert out.rows.loc[out.rows["season"] == 2014, "target"].isna().all() and out.rows["pred"].notna().all()
    assert 2014 not in out.fits["final_rank", 2015].seasons


def test_what_cannot_be_stacked_is_refused(rows):
    one = rows[rows["target_name"] == "final_rank"]
    trainer, first = StackingTrainer(CONFIG), one["group_id"].iloc[0]
    for wrong, message in (
            (rows, "several targets"), (one.assign(split="train"), "out-of-fold"), (pd.concat([one, one]), "several rows of team"),
            (one[one["model"] != "projected_wins"], "anchor 'projected_wins'"),
            (one[(one["model"] != "projected_wins") | (one["group_id"] != first)], f"absent from list '{first}'"),
            (one.assign(target=np.nan), "final places")):
        with pytest.raises(StackError, match=message):
            trainer.fit(wrong)
    with pytest.raises(StackError, match="not later"):
        trainer.predict(trainer.fit(one[one["season"] < 2012]), one[one["season"] == 2011])
    with pytest.raises(StackError, match="no setting 'alfas'"):
        StackConfig.from_config({"alfas": [1.0]})


def test_a_run_takes_its_rows(rows, result, tmp_path, monkeypatch):
    monkeypatch.setenv("SPORTSML_OUTPUTS", str(tmp_path / "out"))
    monkeypatch.setattr("sportsml.runs.prepare_data", lambda *a, **k: None)
    run = open_run()
    save_predictions(run, rows)
    assert len(save_predictions(run, result.rows)) == len(rows) + len(result.rows)
