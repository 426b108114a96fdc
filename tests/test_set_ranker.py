"""Model A: what must not change a score, odd rosters, learning by heart, equal seeds, files, collapse, the future."""
import dataclasses
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from checks import Ranker, check_ranker, padded, real
from test_players import TEAMS, league, stints

from sportsml.nba.players import PlayerFeatureConfig, player_features
from sportsml.nba.roster_lists import PlayerIndex, RosterListError, RosterLists, concat_lists, roster_lists
from sportsml.nba.set_ranker import (
    DeepSetRank,
    ModelAConfig,
    ModelATrainer,
    SetAttention,
    SetRankerError,
    attention_weights,
    debug_attention,
    fit_model_a,
    load_model_a,
    model_inputs,
    predict,
    save_model_a,
    walk_model_a,
)
from sportsml.nn import masked_softmax
from sportsml.train import Callback, TrainConfig, TrainError, check_gradients, load_checkpoint

torch.set_num_threads(1)  # two seconds of small matrices: more threads only wait for each other
COLUMNS = ["skill", "noise", "sometimes"]
TRAIN = TrainConfig(epochs=4, batch_size=4, learning_rate=1e-2, weight_decay=1.0, device="cpu")
CONFIG = ModelAConfig(start=("skill",), train=TRAIN)


@cache
def lists(seasons=6, seed=0) -> RosterLists:
    """Two conferences of seven and six teams a season with up to six players; the order is that of skill by minutes. Team 3 is empty."""
    g, players, ranks = np.random.default_rng(seed), [], []
    teams = pd.DataFrame([(2001 + s, 1 + t, "E" if t < 7 else "W") for s in range(seasons) for t in range(13)],
                         columns=["season", "team_id", "conference"])
    for season, own in teams.groupby("season"):
        for team in own["team_id"]:
            size = 0 if team == 3 else int(g.integers(1, 7))
            skill, minutes = g.normal(size=size), g.uniform(4, 40, size)
            for i in range(size):
                known = g.normal() if g.random() < 0.5 else np.nan
                players.append((pd.Timestamp(season, 1, 20), season, team, 100 * team + i, skill[i], g.normal(), known, minutes[i]))
            ranks.append((season, team, (skill * minutes).sum() / max(minutes.sum(), 1)))
    final = pd.DataFrame(ranks, columns=["season", "team_id", "worth"]).merge(teams)
    final["rank"] = final.groupby("season")["worth"].rank(ascending=False)
    final["conference_rank"] = final.groupby(["season", "conference"])["worth"].rank(ascending=False)
    frame = pd.DataFrame(players, columns=["as_of", "season", "team_id", "player_id", *COLUMNS, "minutes_prior"])
    return roster_lists(frame, teams, COLUMNS, final=final, size=6)


@cache
def fitted():
    return fit_model_a(lists(), CONFIG, progress=False)


def scores(fit, some: RosterLists) -> np.ndarray:
    """Scores as (B, T); padding is NaN."""
    out = np.full(some.team_present.shape, np.nan)
    out[some.team_present] = predict(fit, some)["pred"]
    return out


def changed(some: RosterLists, **arrays) -> RosterLists:
    return dataclasses.replace(some, **arrays)


def test_every_check_of_a_ranker(tmp_path):
    heart = dataclasses.replace(CONFIG, hidden=32, dropout=0.0, player_dropout=0.0, roster_dropout=0.0, train=dataclasses.replace(
        TRAIN, epochs=150, batch_size=8, weight_decay=0.0))
    check_ranker(Ranker(
        fit=lambda some: fit_model_a(some, CONFIG, progress=False),
        overfit=lambda some: fit_model_a(some, heart, progress=False),
        scores=scores,
        losses=lambda fit: fit.history.frame()["train_loss"].tolist(),
        weights=lambda fit: {name: t.numpy() for name, t in fit.model.state_dict().items()},
        save=save_model_a, load=load_model_a), lists(), tmp_path)


def test_other_seed_other_weights():
    other = fit_model_a(lists(), dataclasses.replace(CONFIG, train=dataclasses.replace(TRAIN, seed=1)), progress=False)
    assert not np.array_equal(scores(other, lists()), scores(fitted(), lists()), equal_nan=True)


def test_attention_with_a_mask_equals_attention_without_the_padded_players():
    """Each team alone, with an array that holds its own players only."""
    fit, some = fitted(), lists()
    rows = model_inputs(some, fit.scaler, fit.players).tensors
    with torch.no_grad():
        score, weights = fit.model(*(rows[n] for n in ("x", "player", "minutes", "present")))
        for b, t in np.argwhere(some.present.any(-1)):
            own = rows["present"][b, t]
            alone, shares = fit.model(*(rows[n][b, t][own][None, None] for n in ("x", "player", "minutes")),
                                      torch.ones(1, 1, int(own.sum()), dtype=torch.bool))
            torch.testing.assert_close(alone[0, 0], score[b, t], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(shares[0, 0], weights[b, t][own], rtol=1e-5, atol=1e-6)


def test_weights_are_what_pools():
    """The pooled vector is the weighted mean, by the very weights that are returned."""
    torch.manual_seed(0)
    attention = SetAttention(5, 3)
    keys, values, minutes = torch.randn(4, 6, 5), torch.randn(4, 6, 3), 40 * torch.rand(4, 6)
    present = torch.rand(4, 6) < 0.7
    pooled, weights = attention(keys, values, minutes, present)
    torch.testing.assert_close(pooled, torch.einsum("bp,bpv->bv", weights, values))
    logits = attention.query(keys).squeeze(-1) + attention.minutes_strength * ((minutes + 1) / 240).log()
    assert torch.equal(weights, masked_softmax(logits, present, temperature=attention.log_temperature.exp()))


def test_minutes_and_temperature_reach_the_weights():
    attention = SetAttention(2, 2, minutes_strength=2.0, temperature=0.5)
    with torch.no_grad():
        attention.query.weight.zero_()
    minutes, present = torch.tensor([[39.0, 19.0, 9.0]]), torch.ones(1, 3, dtype=torch.bool)
    _, weights = attention(torch.randn(1, 3, 2), torch.randn(1, 3, 2), minutes, present)
    fourth = (minutes + 1) ** 4  # strength over temperature
    torch.testing.assert_close(weights, fourth / fourth.sum())


def test_minutes_change_the_score():
    """In an earlier version the minutes only changed what was displayed."""
    some = lists()
    more = changed(some, minutes=np.where(np.arange(6) == 1, some.minutes * 4, some.minutes).astype(np.float32))
    two = some.present.sum(-1) > 1
    assert (np.abs(scores(fitted(), more) - scores(fitted(), some))[two] > 1e-4).all()


def test_empty_and_one_player_rosters():
    fit, some = fitted(), lists()
    shares = attention_weights(fit, some)
    sizes = some.present.sum(-1)[some.team_present]
    assert (sizes == 0).sum() == 6 and (sizes == 1).any()
    by_team = shares.groupby(["season", "team_id"])["weight"]
    assert np.allclose(by_team.sum(), 1, atol=1e-6) and by_team.sum().size == (sizes > 0).sum()
    assert (by_team.sum()[by_team.size() == 1] == 1).all()
    empty = scores(fit, some)[some.team_id == 3]
    assert np.isfinite(empty).all() and np.ptp(empty) == 0
    nobody = changed(some, present=np.zeros_like(some.present))
    assert np.array_equal(np.unique(scores(fit, nobody)[some.team_present]), np.unique(empty))


def test_training_on_empty_rosters_only_gives_no_nan():
    some = lists()
    present = np.zeros_like(some.present)
    present[0, 0] = some.present[0, 0]
    fit = fit_model_a(changed(some, present=present), CONFIG, progress=False)
    assert np.isfinite(real(some, scores(fit, some))).all()


def test_unknown_players_share_number_zero():
    some, fit = lists(), fitted()
    new = changed(some, player_id=some.player_id + 1_000_000)
    other = changed(some, player_id=some.player_id + 2_000_000)
    assert np.array_equal(scores(fit, new), scores(fit, other), equal_nan=True)
    assert not np.array_equal(scores(fit, new), scores(fit, some), equal_nan=True)
    index = PlayerIndex.fit(some)
    assert index(some.player_id)[some.present].min() == 1 and index(some.player_id)[~some.present].max(initial=0) == 0


def test_every_weight_learns():
    frame = check_gradients(ModelATrainer(dataclasses.replace(CONFIG, dropout=0.0), lists()),
                            model_inputs(lists(), fitted().scaler, fitted().players))
    assert len(frame) == len(list(fitted().model.parameters())) and (frame["gradient"] > 1e-7).all()


def test_weight_decay_gives_way_to_seasons():
    trainer = ModelATrainer(CONFIG, lists())
    decayed, rest = trainer.groups(trainer.build())
    assert decayed["weight_decay"] == TRAIN.weight_decay / 6 and rest["weight_decay"] == 0


def test_intervals_hold_the_score_and_leave_random_numbers_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (predict(fitted(), lists(), draws=20, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before) and not fitted().model.training
    pd.testing.assert_frame_equal(first, second)
    assert (first["pred_lo"] < first["pred_hi"]).all()
    assert first["pred"].between(first["pred_lo"], first["pred_hi"]).all()
    assert predict(fitted(), lists())["pred"].equals(first["pred"])


def test_no_order_no_training():
    unknown = changed(lists(), target=np.full_like(lists().target, np.nan))
    with pytest.raises(SetRankerError, match="none of 12 training lists"):
        fit_model_a(unknown, CONFIG)
    assert scores(fitted(), unknown).shape == (12, 7)
    half = concat_lists([lists(), unknown])
    fit = fit_model_a(half, CONFIG, progress=False)
    assert np.isfinite(fit.history.frame()["train_loss"]).all()


def test_other_features_are_refused():
    other = changed(lists(), columns=("skill", "noise", "other"))
    with pytest.raises(SetRankerError, match="other.*trained on skill, noise, sometimes"):
        predict(fitted(), other)
    with pytest.raises(SetRankerError, match="did you mean skill"):
        DeepSetRank(ModelAConfig(start=("skil",)), COLUMNS, 3)
    with pytest.raises(RosterListError, match="cannot be joined"):
        concat_lists([lists(), other])


def test_a_file_of_something_else_is_refused(tmp_path):
    from sportsml.train import save_checkpoint
    path = save_checkpoint(tmp_path / "x.safetensors", {"model/w": torch.ones(1)}, {"model": {"trainer": "ToyTrainer"}})
    with pytest.raises(SetRankerError, match="ToyTrainer.*ModelATrainer"):
        load_model_a(path)
    whole = save_model_a(fitted(), tmp_path / "a.safetensors")
    whole.write_bytes(whole.read_bytes()[:-8])
    with pytest.raises(TrainError):
        load_model_a(whole)


class Kill(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_start(self, trainer):
        if trainer.history.epoch == self.epoch:
            raise KeyboardInterrupt


def test_broken_off_and_resumed_gives_the_same_model(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit_model_a(lists(), CONFIG, callbacks=[Kill(2)], folder=tmp_path, progress=False)
    assert "optimizer" in load_checkpoint(tmp_path / "checkpoint.safetensors").state
    resumed = fit_model_a(lists(), CONFIG, callbacks=[Kill(-1)], folder=tmp_path, progress=False)
    assert np.array_equal(scores(resumed, lists()), scores(fitted(), lists()), equal_nan=True)
    assert np.array_equal(scores(load_model_a(tmp_path / "checkpoint.safetensors"), lists()), scores(resumed, lists()), equal_nan=True)


def test_a_forced_collapse_is_caught_restarted_and_recorded():
    """Attention by a high power of the minutes is one-hot from the start."""
    forced = dataclasses.replace(CONFIG, minutes_strength=80.0, collapse_patience=3)
    history = fit_model_a(lists(), forced, progress=False).history
    assert [e["action"] for e in history.events] == ["restart", "restart", "stop"]
    assert all("one-hot" in e["reason"] for e in history.events) and len({e["seed"] for e in history.events}) == 3
    logged = fit_model_a(lists(), dataclasses.replace(forced, collapse_action="log"), progress=False).history
    assert {e["action"] for e in logged.events} == {"log"} and logged.epoch == TRAIN.epochs
    assert fitted().history.events == []


def test_debug_report():
    text = debug_attention(lists(), CONFIG, teams=3)
    assert "3: 0 players, weights add up to 0.0000" in text and "0 NaN, 0 on padding" in text and "attention.query.weight" in text
    assert text == debug_attention(lists(), CONFIG, teams=3)
    assert debug_attention(lists(), fit=fitted()) != text


def test_padding_and_conference_of_lists():
    wide = padded(lists(), 9, 8)
    assert wide.present.shape == (12, 9, 8) and wide.present.sum() == lists().present.sum()
    assert np.isnan(wide.x[~wide.present]).all() and wide.keys.equals(lists().keys)


def made_lists(stats, games, rows, final):
    """Lists of the made league of `test_players`, two seasons of four teams."""
    teams = pd.DataFrame([(s, t, "E" if i < 2 else "W") for s in (2015, 2016) for i, t in enumerate(TEAMS)],
                         columns=["season", "team_id", "conference"])
    days = ["2014-11-09", "2014-12-01", "2015-11-04", "2015-11-20"]
    made = player_features(stats, games, days, PlayerFeatureConfig(windows=(3, 10), roster_games=6), rows)
    return roster_lists(made.frame, teams, [c for group in made.columns.values() for c in group], final=final)


@pytest.mark.parametrize("what", ["values", "rows"])
def test_what_happens_on_the_day_or_later_changes_no_prediction(what):
    """From raw tables to scores: everything dated at or after the day of the forecast is scrambled, or taken away."""
    (stats, games), rows, day = league(), stints(), pd.Timestamp("2015-11-20")
    ranks = pd.DataFrame([(s, t, i + 1, i % 2 + 1) for s in (2015, 2016) for i, t in enumerate(TEAMS)],
                         columns=["season", "team_id", "rank", "conference_rank"])
    g, late = np.random.default_rng(1), stats["date"] >= day
    frame = rows.frame.copy()
    after = (frame["date"] >= day).to_numpy()
    assert late.sum() > 50 and after.sum() > 10
    if what == "values":
        names = stats.select_dtypes("number").columns.difference(["season", "team_id", "player_id"])
        scrambled = stats.copy()
        scrambled.loc[late, names] = g.integers(0, 90, (late.sum(), len(names)))
        frame.loc[after, "points"] = g.normal(0, 99, after.sum())
        other = (scrambled, games, dataclasses.replace(rows, frame=frame))
        end = ranks.assign(rank=np.where(ranks["season"] == 2016, 5 - ranks["rank"], ranks["rank"]),
                           conference_rank=np.where(ranks["season"] == 2016, 3 - ranks["conference_rank"], ranks["conference_rank"]))
    else:
        other, end = (stats[~late], games[games["date"] < day], rows.take(~after)), ranks[ranks["season"] == 2015]
    config = ModelAConfig(start=("rapm", "plus_minus_10"), train=dataclasses.replace(TRAIN, weight_decay=10.0))
    before, now = (walk_model_a(made_lists(*tables, final), config, draws=4, progress=False)[0]
                   for tables, final in (((stats, games, rows), ranks), (other, end)))
    assert (before["season"] == 2016).all() and set(before["as_of"]) == {pd.Timestamp("2015-11-04"), day}
    pd.testing.assert_frame_equal(before, now, check_exact=True)
    assert before["pred"].nunique() == 8
