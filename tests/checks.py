"""What every model of a kind has to do, whoever wrote it; a test file hands its model in."""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sportsml.nba.roster_lists import RosterLists, concat_lists


@dataclass(frozen=True)
class Ranker:
    """A model that ranks teams by roster lists, as `check_ranker` sees it."""
    fit: Callable[[RosterLists], object]  # trains with a fixed seed
    overfit: Callable[[RosterLists], object]  # trains until it knows its lists by heart
    scores: Callable[[object, RosterLists], np.ndarray]  # (B, T)
    losses: Callable[[object], list[float]]  # training losses by epoch
    weights: Callable[[object], dict[str, np.ndarray]]  # all learned numbers by name
    save: Callable[[object, Path], object]
    load: Callable[[Path], object]


def shuffled_players(lists: RosterLists, seed: int = 0) -> RosterLists:
    """The same rosters with the players, and the padding, in another order."""
    order = np.random.default_rng(seed).permuted(np.broadcast_to(np.arange(lists.present.shape[2]), lists.present.shape), axis=2)
    parts = {n: np.take_along_axis(getattr(lists, n), order, 2) for n in ("player_id", "minutes", "present")}
    return RosterLists(lists.keys, lists.team_id, x=np.take_along_axis(lists.x, order[..., None], 2), team_present=lists.team_present,
                       target=lists.target, columns=lists.columns, **parts)


def padded(lists: RosterLists, teams: int, players: int) -> RosterLists:
    """The same lists with more padding, and rubbish in it."""
    empty = RosterLists(lists.keys.iloc[:1], *(np.zeros(shape, kind) for shape, kind in (
        ((1, teams), np.int64), ((1, teams, players), np.int64), ((1, teams, players, len(lists.columns)), np.float32),
        ((1, teams, players), np.float32), ((1, teams, players), bool), ((1, teams), bool), ((1, teams), np.float32))), lists.columns)
    wide = concat_lists([lists, empty]).take(np.arange(len(lists)))
    wide.x[~wide.present] = np.nan
    wide.minutes[~wide.present] = 1000.0
    wide.player_id[~wide.present] = 7
    return wide


def real(lists: RosterLists, scores: np.ndarray) -> np.ndarray:
    """The scores of real teams, list by list."""
    return scores[:, :lists.team_present.shape[1]][lists.team_present]


def check_ranker(model: Ranker, lists: RosterLists, folder: Path) -> None:
    """Shapes, finite loss, overfits eight lists, same seed same weights, save and load equal, permutation, padding and batch invariance."""
    fit = model.fit(lists)
    scores = model.scores(fit, lists)
    assert scores.shape == lists.team_id.shape and np.isfinite(scores[lists.team_present]).all()
    assert np.isfinite(model.losses(fit)).all()
    again = model.weights(model.fit(lists))
    assert all(np.array_equal(a, again[name]) for name, a in model.weights(fit).items())
    model.save(fit, folder / "model")
    loaded = model.load(folder / "model")
    assert np.array_equal(model.scores(loaded, lists), scores, equal_nan=True)
    close = {"rtol": 0, "atol": 2e-5 * np.abs(scores[lists.team_present]).max()}
    np.testing.assert_allclose(real(lists, model.scores(fit, shuffled_players(lists))), real(lists, scores), **close)
    t, p = lists.present.shape[1:]
    np.testing.assert_allclose(real(lists, model.scores(fit, padded(lists, t + 3, p + 2))), real(lists, scores), **close)
    one_by_one = np.concatenate([model.scores(fit, lists.take([b])) for b in range(len(lists))])
    np.testing.assert_allclose(real(lists, one_by_one), real(lists, scores), **close)
    eight = lists.take(np.arange(8))
    known = model.scores(model.overfit(eight), eight)
    for b in range(len(eight)):
        here = eight.team_present[b] & np.isfinite(eight.target[b])
        order, true = (np.argsort(np.argsort(v[b, here])) for v in (known, eight.target))
        assert np.corrcoef(order, true)[0, 1] > 0.98, f"list {b} is not known by heart"
