"""RAPM: against scikit-learn, planted skills and their standard errors, the as-of rule, invariances, misuse; and the join by name."""
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from sportsml.nba.names import NamesError, join_names, plain_names, raptor_seasons, read_raptor
from sportsml.nba.rapm import RapmConfig, RapmError, StintRows, _design, fit_rapm, on_off, split_half, stint_rows
from sportsml.schema import check_rows
from sportsml.sources import RawFileError

TEAMS, SQUAD, EDGE = 10, 12, 3.0
TEAM_IDS = 1610612737 + np.arange(TEAMS)
PARTS = ("offensive", "defensive")


def simulate(seed=0, games=150, skill_sd=2.0, stints=25):
    """Tables of a league with planted skills; regulars play more, and possessions bring 0, 2 or 3 points."""
    draw, ids = np.random.default_rng(seed), 201 + np.arange(TEAMS * SQUAD)
    skill = pd.DataFrame(draw.normal(0, skill_sd, (TEAMS * SQUAD, 2)), ids, PARTS)
    sides = np.array([draw.choice(TEAMS, 2, replace=False) for _ in range(games)])
    wish = np.log(np.linspace(1, 0.1, SQUAD)) + draw.gumbel(size=(games, stints, 2, SQUAD))
    fives = np.sort(np.argsort(-wish, axis=-1)[..., :5], axis=-1) + SQUAD * sides[:, None, :, None]  # (G, S, 2, 5)
    ratings = skill.to_numpy()[fives].sum(axis=3)  # (G, S, 2, 2)
    expected = 105 + ratings[..., 0] - ratings[:, :, ::-1, 1] + np.array([EDGE, -EDGE]) / 2  # (G, S, 2)
    count = 1 + draw.poisson(2, expected.shape)
    game, stint, side = (np.repeat(a.ravel(), count.ravel()) for a in np.indices(expected.shape))
    chance = np.repeat(expected.ravel(), count.ravel()) / 100 / 2.4
    points = (draw.random(len(game)) < chance) * np.where(draw.random(len(game)) < 0.4, 3, 2)
    names = np.array([f"{21500001 + g:010d}" for g in range(games)])
    tables = {
        "games": pd.DataFrame({"game_id": names, "season": 2016,
                               "date": pd.Timestamp("2015-10-27") + pd.to_timedelta(np.arange(games) // 3, unit="D"),
                               "home_id": TEAM_IDS[sides[:, 0]], "away_id": TEAM_IDS[sides[:, 1]]}),
        "stints": pd.DataFrame(ids[fives].reshape(-1, 10), columns=[f"{s}_{i}" for s in ("home", "away") for i in range(1, 6)]).assign(
            game_id=np.repeat(names, stints), stint=np.tile(np.arange(stints), games)),
        "possessions": pd.DataFrame({"game_id": names[game], "stint": stint, "offense_id": TEAM_IDS[sides[game, side]],
                                     "defense_id": TEAM_IDS[sides[game, 1 - side]], "points": points}),
    }
    return tables, skill


@cache
def tables():
    return simulate()


@cache
def rows():
    return stint_rows(**tables()[0])


@cache
def fit():
    return fit_rapm(rows())


def by_player(result):
    return result.table.set_index("player_id")


def values(result):
    return result.table[["offensive", "defensive", "rapm", "offensive_error", "defensive_error", "rapm_error"]].to_numpy()


# --- rows ------------------------------------------------------------------------------------------------------------

def test_rows_hold_every_possession_with_the_right_ten():
    made, t = rows(), tables()[0]
    assert made.frame["possessions"].sum() == len(t["possessions"])
    assert (made.frame["points"] * made.frame["possessions"] / 100).sum() == pytest.approx(t["possessions"]["points"].sum())
    stints, home = t["stints"].set_index(["game_id", "stint"]), t["games"].set_index("game_id")["home_id"]
    for i in np.random.default_rng(0).choice(len(made), 50, replace=False):
        row = made.frame.iloc[i]
        side, other = ("home", "away") if row["offense_id"] == home[row["game_id"]] else ("away", "home")
        ten = stints.loc[(row["game_id"], row["stint"])]
        assert row["home"] == (side == "home")
        assert list(made.offense[i]) == [ten[f"{side}_{k}"] for k in range(1, 6)]
        assert list(made.defense[i]) == [ten[f"{other}_{k}"] for k in range(1, 6)]


def test_games_decide_what_counts_and_categories_are_fine():
    t = tables()[0]
    half = t["games"].iloc[::2]
    made = stint_rows(t["possessions"].astype({"game_id": "category"}), t["stints"].astype({"game_id": "category"}), half)
    assert set(made.frame["game_id"]) == set(half["game_id"])
    whole = rows().take(rows().frame["game_id"].isin(half["game_id"]).to_numpy())
    pd.testing.assert_frame_equal(made.frame, whole.frame, check_dtype=False)
    assert (made.offense == whole.offense).all()


def test_tables_that_do_not_fit_together_are_refused():
    t = tables()[0]
    with pytest.raises(RapmError, match="none of .* possessions"):
        stint_rows(t["possessions"], t["stints"], t["games"].assign(game_id="0029900001").head(1))
    with pytest.raises(RapmError, match="no row in stints.*0021500003, stint 7"):
        stints = t["stints"]
        stint_rows(t["possessions"], stints[(stints["game_id"] != "0021500003") | (stints["stint"] != 7)], t["games"])
    with pytest.raises(RapmError, match="teams other than the game's"):
        stint_rows(t["possessions"].assign(offense_id=1610612766), t["stints"], t["games"])


# --- the fit ---------------------------------------------------------------------------------------------------------

def test_equals_ridge_of_scikit_learn():
    penalty = 3000.0
    ours = fit_rapm(rows(), RapmConfig(penalties=(penalty,)))
    players, design = _design(rows())
    design = design.toarray()[:, :-1]
    design[:, -1] *= 1e4  # in these units the penalty on the home edge is nothing
    ridge = Ridge(alpha=penalty, solver="cholesky").fit(design, rows().frame["points"], rows().frame["possessions"])
    skills = np.concatenate([ours.table["offensive"], ours.table["defensive"]])
    assert np.abs(skills - ridge.coef_[:-1]).max() < 1e-4
    assert ours.home_edge == pytest.approx(1e4 * ridge.coef_[-1], abs=1e-3) and ours.intercept == pytest.approx(ridge.intercept_, abs=1e-4)
    assert np.abs(ours.expected(rows()) - ridge.predict(design)).max() < 1e-3


def test_a_prior_is_a_shift_of_the_target():
    config = RapmConfig(penalties=(3000.0,))
    prior = tables()[1].rename_axis("player_id").reset_index()
    offense, defense = (prior.set_index("player_id")[part].reindex(ids.ravel()).to_numpy().reshape(ids.shape).sum(axis=1)
                        for part, ids in zip(PARTS, (rows().offense, rows().defense), strict=True))
    shifted = StintRows(rows().frame.assign(points=rows().frame["points"] - offense + defense), rows().offense, rows().defense)
    with_prior, without = by_player(fit_rapm(rows(), config, prior)), by_player(fit_rapm(shifted, config))
    for part in PARTS:
        assert np.allclose(with_prior[part], without[part] + prior.set_index("player_id")[part])
    huge = by_player(fit_rapm(rows(), RapmConfig(penalties=(1e9,)), prior.iloc[:-1]))
    assert np.allclose(huge["offensive"].iloc[:-1], prior["offensive"].iloc[:-1], atol=0.01) and abs(huge["offensive"].iloc[-1]) < 0.01


def test_cross_validation_equals_the_obvious_loop():
    config = RapmConfig(penalties=(1000.0, 4000.0), folds=4)
    curve = fit_rapm(rows(), config).cv["error"]
    fold = np.unique(rows().frame["game_id"].to_numpy(str), return_inverse=True)[1] % 4
    weight, points = rows().frame["possessions"].to_numpy(), rows().frame["points"].to_numpy()
    for penalty, error in zip(config.penalties, curve, strict=False):
        total = 0
        for k in range(4):
            part = fit_rapm(rows().take(fold != k), RapmConfig(penalties=(penalty,)))
            total += (weight * (points - part.expected(rows())) ** 2)[fold == k].sum()
        assert error == pytest.approx(total / weight.sum(), rel=1e-9)


def test_penalty_follows_the_planted_spread():
    wide, narrow = (fit_rapm(stint_rows(**simulate(3, skill_sd=sd)[0])).penalty for sd in (5.0, 1.5))
    assert wide < narrow / 2


def test_rows_and_table_follow_the_schema():
    good, bad = check_rows("player_rapm", fit().table)
    assert bad.empty and len(good) == TEAMS * SQUAD
    counted = rows().frame["possessions"].sum()
    assert good["offensive_possessions"].sum() == good["defensive_possessions"].sum() == 5 * counted
    assert np.allclose(good["rapm"], good["offensive"] + good["defensive"])
    assert good["as_of"].eq(rows().frame["date"].max() + pd.Timedelta(days=1)).all()


# --- planted skills --------------------------------------------------------------------------------------------------

def test_planted_skills_come_back_and_standard_errors_cover_them():
    sd, covered, edges = 3.0, {True: [], False: []}, []
    for seed in range(5):
        made, skill = simulate(seed, games=250, skill_sd=sd)
        made = stint_rows(**made)
        known = RapmConfig(penalties=(123.0**2 / sd**2,))  # noise of a possession of 0, 2 or 3 points; spread of skills
        for chosen, result in ((True, fit_rapm(made)), (False, fit_rapm(made, known))):
            table = by_player(result)
            found = [table[part].corr(skill[part]) for part in PARTS]
            assert min(found) > 0.4 and np.mean(found) > 0.5
            covered[chosen] += [((table[part] - skill[part] + skill[part].mean()) / table[f"{part}_error"]).abs() for part in PARTS]
            assert 120 < result.noise < 126
        edges.append(result.home_edge - EDGE)
    for chosen, tolerance in ((True, 0.06), (False, 0.04)):  # the choice of the penalty adds its own noise
        z = pd.concat(covered[chosen])
        assert abs(z.lt(1).mean() - 0.683) < tolerance and abs(z.lt(2).mean() - 0.954) < tolerance / 2
    assert np.abs(edges).max() < 3.5 and abs(np.mean(edges)) < 1.5


def test_errors_of_the_sum_count_the_covariance():
    z = []
    for seed in range(4):
        made, skill = simulate(seed + 10)
        table = by_player(fit_rapm(stint_rows(**made)))
        planted = skill.sum(axis=1)
        z.append((table["rapm"] - planted + planted.mean()) / table["rapm_error"])
    assert 0.6 < pd.concat(z).abs().lt(1).mean() < 0.77
    independent = np.hypot(fit().table["offensive_error"], fit().table["defensive_error"])
    assert not np.allclose(independent, fit().table["rapm_error"])


def test_offence_and_defence_are_told_apart():
    """A league in which everybody's defence is the same: a one-column rating would give half of a scorer's skill to his defence."""
    made, skill = simulate(5, games=300, skill_sd=4.0)
    points = made["possessions"]["points"]
    draw, t = np.random.default_rng(5), stint_rows(**made)
    worth = 105 + skill["offensive"].reindex(t.offense.ravel()).to_numpy().reshape(-1, 5).sum(axis=1)
    noisy = worth + points.std() * 100 / np.sqrt(t.frame["possessions"]) * draw.normal(size=len(t))
    table = by_player(fit_rapm(StintRows(t.frame.assign(points=noisy), t.offense, t.defense)))
    assert np.corrcoef(table["offensive"], skill["offensive"])[0, 1] > 0.65
    assert abs(np.corrcoef(table["defensive"], skill["offensive"])[0, 1]) < 0.3


def test_few_possessions_stay_near_the_prior():
    t = tables()[0]
    stints = t["stints"].copy()
    stints.loc[0, "home_1"] = 150  # one stint in one game
    table = by_player(fit_rapm(stint_rows(t["possessions"], stints, t["games"])))
    assert table.loc[150, "offensive_possessions"] < 10 and table.loc[150, ["offensive", "defensive"]].abs().max() < 0.3
    assert table.loc[150, "rapm_error"] > 0.95 * table["rapm_error"].max()


# --- what was known when ---------------------------------------------------------------------------------------------

def test_nothing_at_or_after_as_of_matters():
    t, day = tables()[0], pd.Timestamp("2015-11-20")
    draw = np.random.default_rng(1)
    late = set(t["games"].loc[t["games"]["date"] >= day, "game_id"])
    assert 0 < len(late) < len(t["games"])
    possessions, stints, games = (t[name].copy() for name in ("possessions", "stints", "games"))
    after = possessions["game_id"].isin(late)
    possessions.loc[after, "points"] = draw.integers(0, 4, after.sum())
    after = stints["game_id"].isin(late)
    stints.loc[after, "home_1"] = 900  # a player whom nobody knows
    gone = sorted(late)[0]
    changed = [f[f["game_id"] != gone] for f in (possessions, stints, games)]
    config = RapmConfig(half_life=30.0)
    before, now = fit_rapm(rows(), config, as_of=day), fit_rapm(stint_rows(*changed), config, as_of=day)
    pd.testing.assert_frame_equal(before.table, now.table, check_exact=True)
    pd.testing.assert_frame_equal(before.cv, now.cv, check_exact=True)
    assert (before.penalty, before.home_edge, before.intercept, before.noise) == (now.penalty, now.home_edge, now.intercept, now.noise)
    on_the_day = fit_rapm(rows(), config, as_of=day + pd.Timedelta(days=1))
    assert not np.array_equal(values(before), values(on_the_day))


def test_time_decay_forgets():
    config = RapmConfig(penalties=(3000.0,))
    assert np.allclose(values(fit_rapm(rows(), replace(config, half_life=1e9))), values(fit_rapm(rows(), config)), atol=1e-4)
    day, last = rows().frame["date"].max() + pd.Timedelta(days=1), rows().frame["date"].max() - pd.Timedelta(days=20)
    old = (rows().frame["date"] < last).to_numpy()
    noise = np.where(old, np.random.default_rng(0).normal(0, 300, len(rows())), 0)
    shaken = StintRows(rows().frame.assign(points=rows().frame["points"] + noise), rows().offense, rows().defense)
    moved = [np.abs(values(fit_rapm(shaken, c, as_of=day))[:, :2] - values(fit_rapm(rows(), c, as_of=day))[:, :2]).max()
             for c in (config, replace(config, half_life=2.0))]
    assert moved[1] < moved[0] / 5


def test_misuse_is_refused():
    undated = StintRows(rows().frame.assign(date=rows().frame["date"].mask(rows().frame["game_id"] == "0021500002")),
                        rows().offense, rows().defense)
    with pytest.raises(RapmError, match="1 of 150 games have no date, the first is 0021500002"):
        fit_rapm(undated)
    with pytest.raises(RapmError, match="no game before 2015-10-27"):
        fit_rapm(rows(), as_of="2015-10-27")
    with pytest.raises(RapmError, match="3 games before 2015-10-28 for 5 folds"):
        fit_rapm(rows(), as_of="2015-10-28")
    stranger = pd.DataFrame({"player_id": [1, 2], "offensive": 0.0, "defensive": 0.0})
    with pytest.raises(RapmError, match="knows none of the 120 players"):
        fit_rapm(rows(), prior=stranger)
    with pytest.raises(RapmError, match="one row a player"):
        fit_rapm(rows(), prior=stranger.assign(player_id=201))
    with pytest.raises(RapmError, match="latest day allowed is 2015-11-20"):
        fit_rapm(rows(), RapmConfig(penalties=(3000.0,)), fit().table, as_of="2015-11-20")
    with pytest.raises(RapmError, match="latest day allowed is 2015-10-27"):  # the prior knows the folds that are left out
        fit_rapm(rows(), prior=fit().table)


# --- invariances -----------------------------------------------------------------------------------------------------

def test_order_of_rows_does_not_matter():
    shuffled = {name: f.sample(frac=1, random_state=1) for name, f in tables()[0].items()}
    again = fit_rapm(stint_rows(**shuffled))
    assert np.array_equal(values(again), values(fit()))
    order = np.random.default_rng(0).permutation(len(rows()))
    mixed = StintRows(rows().frame.iloc[order].reset_index(drop=True), rows().offense[order], rows().defense[order])
    assert np.allclose(values(fit_rapm(mixed)), values(fit()), atol=1e-9)


def test_ids_are_only_labels():
    t, old = tables()[0], np.sort(fit().table["player_id"].to_numpy())
    new = dict(zip(old, np.random.default_rng(2).permutation(old) + 1_600_000, strict=True))
    sides = [c for c in t["stints"] if c not in ("game_id", "stint")]
    renamed = t["stints"].assign(**{c: t["stints"][c].map(new) for c in sides})
    table = by_player(fit_rapm(stint_rows(t["possessions"], renamed, t["games"])))
    columns = ["offensive", "defensive", "rapm_error", "offensive_possessions"]
    assert np.allclose(table.loc[[new[i] for i in old], columns], by_player(fit()).loc[old, columns], atol=1e-8)


def test_home_edge_is_symmetric():
    t = tables()[0]
    swap = {**{f"home_{i}": f"away_{i}" for i in range(1, 6)}, **{f"away_{i}": f"home_{i}" for i in range(1, 6)}}
    swapped = fit_rapm(stint_rows(t["possessions"], t["stints"].rename(columns=swap),
                                  t["games"].rename(columns={"home_id": "away_id", "away_id": "home_id"})))
    assert swapped.home_edge == pytest.approx(-fit().home_edge) and np.allclose(values(swapped), values(fit()), atol=1e-8)


def test_swapping_ends_swaps_offence_and_defence():
    mirrored = StintRows(rows().frame.assign(points=-rows().frame["points"], home=~rows().frame["home"]), rows().defense, rows().offense)
    there, back = by_player(fit()), by_player(fit_rapm(mirrored))
    assert np.allclose(back["offensive"], there["defensive"], atol=1e-8) and np.allclose(back["defensive"], there["offensive"], atol=1e-8)


# --- halves, on and off ----------------------------------------------------------------------------------------------

def test_halves_agree_as_far_as_skill_is_there():
    real, none = (split_half(stint_rows(**simulate(4, games=400, skill_sd=sd)[0])) for sd in (4.0, 0.0))
    for part in PARTS:
        assert real[[f"{part}_odd", f"{part}_even"]].corr().iloc[0, 1] > 0.4
        assert abs(none[[f"{part}_odd", f"{part}_even"]].corr().iloc[0, 1]) < 0.35
    assert (real["possessions"] > 0).all()


def test_on_and_off_equal_a_plain_count():
    t, table = tables()[0], on_off(rows()).set_index("player_id")
    everything = t["possessions"].merge(t["stints"], on=["game_id", "stint"]).merge(t["games"][["game_id", "home_id"]], on="game_id")
    player = int(table.index[7])
    floor = everything[[c for c in t["stints"] if c not in ("game_id", "stint")]].eq(player).any(axis=1)
    played = everything["game_id"].isin(everything.loc[floor, "game_id"])
    row = table.loc[player]
    for state, chosen in (("on", floor), ("off", played & ~floor)):
        ball = chosen & everything["offense_id"].eq(row["team_id"])
        other = chosen & everything["defense_id"].eq(row["team_id"])
        assert row[f"possessions_{state}"] == ball.sum()
        assert row[f"offense_{state}"] == pytest.approx(100 * everything.loc[ball, "points"].mean())
        assert row[f"defense_{state}"] == pytest.approx(100 * everything.loc[other, "points"].mean())
    assert row["games"] == everything.loc[floor, "game_id"].nunique()
    assert row["net_difference"] == pytest.approx(row["net_on"] - row["net_off"])


# --- names -----------------------------------------------------------------------------------------------------------

def test_spelling_is_a_projection():
    names = pd.Series(["José Juan Barea", "T.J. McConnell", "Tim Hardaway Jr.", "Otto Porter, Jr.", "D'Angelo Russell", "Al-Farouq Aminu"])
    plain = plain_names(names)
    assert plain.tolist() == ["jose juan barea", "tj mcconnell", "tim hardaway", "otto porter", "dangelo russell", "al farouq aminu"]
    assert plain_names(plain).tolist() == plain.tolist()


@given(st.text(max_size=30))
def test_spelling_never_fails(name):
    once = plain_names(pd.Series([name]))
    assert once.str.fullmatch(r"[a-z ]*").all() and plain_names(pd.Series([name.upper()])).shape == (1,)


def test_a_join_never_guesses():
    left = pd.DataFrame({"name": ["Marcus Morris", "Chris Johnson", None, "Nobody Else"], "team_id": [1, 2, 3, 4], "x": range(4)})
    right = pd.DataFrame({"name": ["Marcus Morris Sr.", "Chris Johnson", "Chris Johnson", None], "team_id": [1, 2, 9, 3], "y": range(4)})
    by_name, by_team = join_names(left, right), join_names(left, right, ["team_id"])
    assert by_name.rows["x"].tolist() == [0] and by_name.rate == 0.25
    assert by_team.rows[["x", "y"]].to_numpy().tolist() == [[0, 0], [1, 1]] and by_team.right_only["y"].tolist() == [2, 3]
    with pytest.raises(NamesError, match="none of 4 names matches one of 1"):
        join_names(left, right.iloc[3:])


def test_raptor_sets_bad_rows_aside(tmp_path):
    header = "player_name,player_id,season,season_type,team,poss,mp,raptor_offense,raptor_defense,raptor_total\n"
    body = ["A B,ab01,2016,RS,CHO,100,50,1,1,2", "A B,ab01,2016,RS,CHA,100,50,2,2,4", "A B,ab01,20x6,RS,BOS,100,50,1,1,2",
            "A B,ab01,2016,XX,BOS,100,50,1,1,2", "A B,ab01,2016,RS,BOS,100,50,one,1,2", ",ab01,2016,RS,BOS,100,50,1,1,2"]
    path = tmp_path / "raptor.csv"
    path.write_text(header + "\n".join(body) + "\n")
    loaded = read_raptor(path)
    assert loaded.rows["team_id"].tolist() == [1610612766] * 2 and loaded.rejects["line"].tolist() == [4, 5, 6, 7]
    for reason, word in zip(loaded.rejects["reason"], ("season: '20x6'", "season_type: 'XX'", "raptor_offense: 'one'", "player_name: ''"),
                            strict=True):
        assert reason.startswith(word)
    assert raptor_seasons(loaded.rows)["offensive"].tolist() == [1.5]
    path.write_text("player_name\nA B\n")
    with pytest.raises(RawFileError):
        read_raptor(path)
