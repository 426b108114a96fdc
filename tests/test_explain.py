"Explanations against the models they explain: parts that add up, players really taken away, planted answers, agreement by hand."

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sportsml.core import rng
from sportsml.metrics import spearman
from sportsml.nba import explain as m
from sportsml.nba.roster_lists import concat_lists, roster_lists
from sportsml.nba.set_ranker import ModelAConfig, fit_model_a, load_model_a, save_model_a
from sportsml.nba.tabular import ModelBConfig, ModelBTrainer
from sportsml.train import TrainConfig

COLUMNS = ["skill", "noise"]
TEAMS = pd.DataFrame({"season": 2016, "team_id": range(1, 7), "conference": "E"})


def player_rows(days=2, seed=0):
    """Six teams a day, 5 to 8 players each; the fifth has one player, the sixth none."""
    g, rows = rng(seed, "players"), []
    for day in range(days):
        for team in range(1, 6):
            n = 1 if team == 5 else int(g.integers(5, 9))
            rows.append(pd.DataFrame({"as_of": pd.Timestamp("2015-12-01") + pd.Timedelta(days=day), "season": 2016, "team_id": team,
                                      "player_id": 100 * team + np.arange(n), "minutes_prior": np.sort(g.uniform(4, 38, n))[::-1],
                                      "skill": g.normal(0, 1, n), "noise": g.normal(0, 1, n)}))
    return pd.concat(rows, ignore_index=True)


def packed(rows):
    lists = roster_lists(rows, TEAMS, COLUMNS, size=8)
    weight = lists.minutes * lists.present
    worth = (lists.x[..., 0] * weight).sum(2) / np.maximum(weight.sum(2), 1e-9)
    return replace(lists, target=worth.argsort(1).argsort(1).astype(np.float32) - 6)


@pytest.fixture(scope="module")
def league():
    return packed(player_rows())


@pytest.fixture(scope="module")
def history():
    return concat_lists([packed(player_rows(20, seed)) for seed in (1, 2)])


@pytest.fixture(scope="module")
def fit(history):
    config = ModelAConfig(start=("skill",), hidden=6, train=TrainConfig(epochs=6, batch_size=16, learning_rate=1e-2, weight_decay=0.1))
    return fit_model_a(history, config, progress=False)


KEY = ["as_of", "team_id", "player_id"]


def every_method(fit, lists):
    return {"attention": m.attention_contributors(fit, lists), "ablation": m.ablation(m.model_a_score(fit), lists),
            "gradients": m.integrated_gradients(fit, lists)}


# -- Model A ------------------------------------------------------------------------------------------------------------

def test_ablation_is_what_a_roster_without_the_player_gives(fit, league):
    rows, taken = player_rows(), m.ablation(m.model_a_score(fit), league).set_index(KEY)["score"]
    full = m.model_a_score(fit)(league)
    for i in (0, 3, 7, len(rows) - 1):
        row = rows.iloc[i]
        b, t = int(row["as_of"] > pd.Timestamp("2015-12-01")), row["team_id"] - 1
        alone = m.model_a_score(fit)(packed(rows.drop(index=i)))  # only this player is away
        assert taken[(row["as_of"], row["team_id"], row["player_id"])] == pytest.approx(full[b, t] - alone[b, t], abs=1e-5)
        others = np.arange(6) != t
        assert alone[b, others] == pytest.approx(full[b, others], abs=1e-5)  # so all teams may lose a player at once


def test_gradients_add_up_and_one_player_gets_it_all(fit, league):
    parts = m.integrated_gradients(fit, league)
    assert parts[[*COLUMNS, "player vector"]].sum(axis=1).to_numpy() == pytest.approx(parts["score"].to_numpy())
    x = np.zeros_like(league.x)
    x[...] = fit.scaler.mean
    nobodies = replace(league, x=x, player_id=np.where(league.present, -1, 0))
    gap = m.model_a_score(fit)(league) - m.model_a_score(fit)(nobodies)
    sums = parts.groupby(["as_of", "team_id"])["score"].sum().unstack()
    assert sums.to_numpy() == pytest.approx(gap[:, :5], abs=0.01 * np.ptp(gap))
    assert 6 not in sums and gap[:, 5] == pytest.approx(0)  # the team without players has nothing to split
    finer = m.integrated_gradients(fit, league, steps=256)["score"]
    assert parts["score"].to_numpy() == pytest.approx(finer.to_numpy(), abs=0.01 * np.ptp(gap))


def test_too_coarse_an_integral_is_an_error(fit, league):
    with pytest.raises(m.ExplainError, match="more steps"):
        m._add_up(m.torch.ones(2, 3, 4), m.torch.tensor([12.0, 12.5]), allowed=0.1)
    m.integrated_gradients(fit, league, steps=8)


def test_gradients_leave_the_model_as_it_was(fit, league):
    before = {name: p.clone() for name, p in fit.model.state_dict().items()}
    m.integrated_gradients(fit, league)
    assert all((before[name] == p).all() for name, p in fit.model.state_dict().items())
    assert all(p.requires_grad for p in fit.model.parameters()) and not fit.model.training


def test_weights_sum_to_one_within_a_team(fit, league):
    weights = m.attention_contributors(fit, league)
    assert weights.groupby(["as_of", "team_id"])["score"].sum().to_numpy() == pytest.approx(1, abs=1e-5)
    assert (weights["score"] >= 0).all() and tuple(weights) == m.CONTRIBUTOR_COLUMNS


def test_order_of_players_and_padding_change_no_explanation(fit, league):
    order = rng(0, "order").permutation(8)
    arrays = {name: getattr(league, name)[:, :, order] for name in ("player_id", "x", "minutes", "present")}
    wide = replace(league, **{name: np.pad(a, [(0, 0), (0, 0), (0, 4), (0, 0)][: a.ndim]) for name, a in arrays.items()})
    for name, plain in every_method(fit, league).items():
        mixed = every_method(fit, wide)[name].set_index(KEY)["score"]
        expected = plain.set_index(KEY)["score"]
        assert mixed.reindex(expected.index).to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4), name


def test_a_loaded_checkpoint_is_explained_with_its_own_settings(fit, league, tmp_path):
    """The width is not the default one: a loader that took the defaults would fail or explain another model."""
    loaded = load_model_a(save_model_a(fit, tmp_path / "model_a.safetensors"))
    assert loaded.config.hidden == 6 != ModelAConfig().hidden
    for name, rows in every_method(fit, league).items():
        pd.testing.assert_frame_equal(every_method(loaded, league)[name], rows)


def test_numbers_that_do_not_fit_the_rosters_are_errors(league):
    with pytest.raises(m.ExplainError, match="shape"):
        m.contributors(league, np.zeros((1, 2, 3)), "x")
    with pytest.raises(m.ExplainError, match="no number"):
        m.contributors(league, np.full(league.present.shape, np.nan), "x")


# -- Model B ------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def trees():
    g = rng(0, "trees")
    rows = pd.DataFrame({"season": np.repeat(np.arange(2011, 2016), 30), "team_id": np.tile(np.arange(1, 31), 5)})
    rows["as_of"] = pd.to_datetime(rows["season"].astype(str) + "-01-20")
    rows["projected_wins"], rows["depth"], rows["noise"] = g.normal(41, 10, 150), g.normal(size=150), g.normal(size=150)
    final = (rows["projected_wins"] + 5 * rows["depth"]).clip(0, 82)
    rows.loc[g.random(150) < 0.2, "noise"] = np.nan  # a feature that is not known for all
    rank = final.groupby(rows["season"]).rank(ascending=False)
    outcomes = rows[["season", "team_id"]].assign(win_pct=final / 82, rank=rank, conference_rank=rank, games=82, conference="E")
    rows["games_remaining"] = np.where(rows["team_id"] % 2, 40.0, 25.0)
    config = ModelBConfig(rounds=30, learning_rate=0.1, penalty=5, leaf=10, trees=20)
    return ModelBTrainer(config).fit(rows, outcomes.set_index(["season", "team_id"])), rows


@pytest.mark.parametrize("model", ["xgb_rank", "xgb_margin", "random_forest"])
def test_contributions_add_up_to_the_strength(trees, model):
    fit, rows = trees
    table = m.tree_contributions(fit, rows, model)
    assert table.sum(axis=1).to_numpy() == pytest.approx(fit.predict(rows)[model].to_numpy(), abs=1e-3)
    assert list(table)[:2] == ["start", "expected"] and set(table.columns[2:]) == set(fit.features)
    assert table["depth"].abs().mean() > 2 * table["noise"].abs().mean()
    one = m.tree_contributions(fit, rows.iloc[[7]], model)  # a row alone is explained as in company
    assert one.to_numpy() == pytest.approx(table.iloc[[7]].to_numpy(), abs=1e-3)


def test_contributions_that_do_not_add_up_are_an_error(trees, monkeypatch):
    fit, rows = trees
    values = m._tree_values(fit, fit.matrix(rows), "xgb_margin")
    monkeypatch.setattr(m, "_tree_values", lambda *a: (values[0] * 1.5, values[1]))
    with pytest.raises(m.ExplainError, match="away from the prediction"):
        m.tree_contributions(fit, rows, "xgb_margin")
    with pytest.raises(m.ExplainError, match="xgb_rank"):
        m.tree_contributions(fit, rows, "lightgbm")


# -- RFX-Fuse -----------------------------------------------------------------------------------------------------------

def test_rfx_names_the_man_on_whom_the_target_hangs(capfd):
    pytest.importorskip("RFXFuse")
    lists = packed(player_rows(40, seed=3))
    full = lists.present[:, :4, 3] & np.isfinite(lists.x[:, :4, 3, 0])
    third = np.where(np.pad(full, [(0, 0), (0, 2)]), lists.x[:, :, 2, 0], np.nan)  # only the third man counts
    planted = replace(lists, target=third.astype(np.float32))
    rows = m.rfx_contributors(planted, planted.take([0, 1]), size=5, trees=100)
    place = rows.groupby(["as_of", "team_id"]).cumcount()
    of_place = rows[rows["team_id"] < 5].groupby(place)["score"].mean()
    assert of_place.idxmax() == 2 and of_place[2] > 3 * of_place.drop(2).max() and (of_place[5:] == 0).all()
    again = m.rfx_contributors(planted, planted.take([0, 1]), size=5, trees=100)
    pd.testing.assert_frame_equal(rows, again)
    assert "Memory" not in capfd.readouterr().out  # it says how much memory the machine has; runs must not
    one = m.rfx_contributors(planted, planted.take([0]), size=5, trees=100)
    assert one["score"].max() > 0  # a single list is compared with the training rows, not with itself


def test_rfx_that_is_not_installed_names_the_extra(monkeypatch, league):
    monkeypatch.setattr(m.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(m.ExplainError, match=r"sportsml\[rfx\]"):
        m.rfx_contributors(league, league)


def test_roster_rows_hold_the_rosters(league):
    table = m.roster_table(league, size=6).reshape(2, 6, 6, 3)
    assert np.array_equal(table[..., :2], np.where(league.present[..., None], league.x, np.nan)[:, :, :6], equal_nan=True)
    assert np.array_equal(table[..., 2], (league.minutes * league.present)[:, :, :6])
    with pytest.raises(m.ExplainError, match="take fewer"):
        m.roster_table(league, size=9)


# -- agreement ----------------------------------------------------------------------------------------------------------

def scores_of(values, method="a", team=1, season=2016):
    return pd.DataFrame({"season": season, "as_of": pd.Timestamp("2016-01-20"), "conference": "E", "team_id": team,
                         "player_id": range(len(values)), "method": method, "score": values})


def test_agreement_equals_sets_and_metrics():
    for seed in range(10):
        g = rng(seed, "scores")
        a, b = g.normal(size=9), g.normal(size=9)
        row = m.ExplainabilityComparator(scores_of(a), scores_of(b, "b"), k=4).per_team().iloc[0]
        assert row["agreement"] == pytest.approx(len(set(np.argsort(-a)[:4]) & set(np.argsort(-b)[:4])) / 4)
        assert row["correlation"] == pytest.approx(spearman(pd.Series(-a).rank(), b))
        assert row["players"] == 9 and row["by_chance"] == pytest.approx(4 / 9)


def test_agreement_of_guesses_is_what_chance_gives():
    many = [pd.concat([scores_of(rng(t, name).random(10), name, team=t) for t in range(400)]) for name in ("a", "b")]
    table = m.ExplainabilityComparator(*many, k=3).summary(draws=200).set_index("metric")
    assert table.loc["agreement", "value"] == pytest.approx(0.3, abs=0.03)
    assert table.loc["correlation", "value"] == pytest.approx(0, abs=0.05)
    assert table.loc["agreement", "by_chance"] == pytest.approx(0.3) and (table["units"] == 400).all()


def test_ties_are_drawn_by_lot_and_a_constant_orders_nothing():
    flat = m.ExplainabilityComparator(scores_of([1.0] * 8), scores_of(np.arange(8.0), "b"), k=2).per_team().iloc[0]
    assert flat["agreement"] == pytest.approx(2 / 8) and flat["correlation"] == 0


def test_only_players_of_both_methods_are_compared():
    a, b = scores_of(np.arange(8.0)), scores_of(np.arange(8.0), "b")
    row = m.ExplainabilityComparator(a, b.iloc[:6], k=2).per_team().iloc[0]
    assert row["players"] == 6 and row["agreement"] == 1
    with pytest.raises(m.ExplainError, match="more than 5 players"):
        m.ExplainabilityComparator(a.iloc[:5], b.iloc[:5]).per_team()
    with pytest.raises(m.ExplainError, match="at least 1"):
        m.ExplainabilityComparator(a, b, k=0).per_team()
    with pytest.raises(m.ExplainError, match="two methods"):
        m.agreement_table(a)


def test_the_interval_draws_team_seasons_not_days():
    days = pd.date_range("2016-01-01", periods=20)
    once = [pd.concat([scores_of(rng(t, name).random(8), name, team=t) for t in range(12)]) for name in ("a", "b")]
    often = [pd.concat([f.assign(as_of=day) for day in days]) for f in once]
    one, many = (m.ExplainabilityComparator(*pair, k=3).summary(draws=300).set_index("metric") for pair in (once, often))
    assert one[["value", "low", "high"]].to_numpy() == pytest.approx(many[["value", "low", "high"]].to_numpy())
    assert many.loc["agreement", "n"] == 240 and many.loc["agreement", "units"] == 12


def test_removal_rescores_without_the_named_men(fit, league):
    score, taken = m.model_a_score(fit), m.ablation(m.model_a_score(fit), league)
    one = m.removal(score, league, taken, k=1).set_index(["as_of", "team_id"])["fall"]  # alone, the fall is the ablation itself
    largest = taken[taken["team_id"] < 5].groupby(["as_of", "team_id"])["score"].max()
    assert one.to_numpy() == pytest.approx(largest.reindex(one.index).to_numpy(), abs=1e-5) and len(one) == 8
    three = m.removal(score, league, taken, k=3)
    assert set(three["team_id"]) == {1, 2, 3, 4} and (three["method"] == "ablation").all()
    rows = player_rows()
    mine = taken[(taken["team_id"] == 2) & (taken["as_of"] == "2015-12-01")].nlargest(3, "score")["player_id"]
    alone = packed(rows[~(rows["player_id"].isin(mine) & (rows["as_of"] == "2015-12-01"))])
    assert three.loc[(three["team_id"] == 2) & (three["as_of"] == "2015-12-01"), "fall"].item() == pytest.approx(
        score(league)[0, 1] - score(alone)[0, 1], abs=1e-5)
    with pytest.raises(m.ExplainError, match="same lists"):
        m.removal(score, league, taken.iloc[1:])
