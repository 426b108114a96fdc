"""Player features: against a plain loop over a made league, what the future may not change, rosters, invariances, misuse."""
from functools import cache

import numpy as np
import pandas as pd
import pytest

from sportsml.nba.players import GROUPS, PLAYER_FEATURES, PlayerFeatureConfig, PlayerFeatureError, known_on, player_features
from sportsml.nba.rapm import StintRows, fit_rapm

TEAMS = 1610612737 + np.arange(4)
DAYS = [pd.Timestamp(d) for d in ("2014-10-01", "2014-11-09", "2014-12-01", "2015-10-01", "2015-11-04", "2015-11-20", "2016-02-01")]
CONFIG = PlayerFeatureConfig(windows=(3, 10), roster_games=6)
PER_GAME = ["points", "rebounds", "assists", "steals", "blocks", "turnovers"]
COUNTS = ("points", "field_goal_attempts", "free_throw_attempts", "offensive_rebounds", "defensive_rebounds", "assists", "steals", "blocks",
          "turnovers")


@cache
def league(seed=0):
    """Two seasons of 40 games of four teams of eight; a fifth of the players rests each night, three change teams, one goes for good."""
    draw, games, stats = np.random.default_rng(seed), [], []
    club = {100 + i: TEAMS[i // 8] for i in range(32)}
    for g in range(80):
        season = 2015 + g // 40
        if g in (20, 40, 60):
            club[100 + g // 4] = TEAMS[3]
        home, away = draw.choice(TEAMS, 2, replace=False)
        date = pd.Timestamp(season - 1, 10, 28) + pd.Timedelta(days=g % 40)
        games.append((f"002{season % 100 - 1}{g:05d}", season, date, home, away, "regular"))
        for player, team in club.items():
            if team in (home, away) and draw.random() < 0.8 and not (player == 131 and g >= 20):
                shots = dict.fromkeys(COUNTS, 0) if player == 130 else {c: int(draw.integers(0, 12)) for c in COUNTS}
                stats.append({"game_id": games[-1][0], "season": season, "date": date, "player_id": player, "team_id": team, **shots,
                              "starter": bool(draw.random() < 0.6), "seconds": float(draw.integers(60, 2400)),
                              "plus_minus": int(draw.integers(-9, 9)), "offensive_possessions": int(draw.integers(1, 60)),
                              "defensive_possessions": int(draw.integers(1, 60)), "game_score": float(draw.normal(8, 5))})
    return pd.DataFrame(stats), pd.DataFrame(games, columns=["game_id", "season", "date", "home_id", "away_id", "season_type"])


@cache
def stints(seed=0):
    """An offensive stint of every game and side by five of those who played."""
    stats, games = league()
    draw, frame, fives = np.random.default_rng(seed), [], {0: [], 1: []}
    for g in games.itertuples():
        squads = [stats[(stats["game_id"] == g.game_id) & (stats["team_id"] == t)]["player_id"].to_numpy() for t in (g.home_id, g.away_id)]
        if min(map(len, squads)) < 5:
            continue
        for side, teams in enumerate(((g.home_id, g.away_id), (g.away_id, g.home_id))):
            frame.append((g.game_id, g.season, g.date, 0, *teams, side == 0, 20.0, float(draw.normal(105, 20))))
            for i in (0, 1):
                fives[i].append(np.sort(draw.choice(squads[side ^ i], 5, replace=False)))
    names = ["game_id", "season", "date", "stint", "offense_id", "defense_id", "home", "possessions", "points"]
    return StintRows(pd.DataFrame(frame, columns=names), np.array(fives[0]), np.array(fives[1]))


def ratio(above, below):
    return above / below if below else np.nan


def slow(stats, games, day, config):
    """The features of one day, a player at a time, straight from the definitions."""
    season = day.year + (day.month >= 8)
    past = games[(games["date"] < day) & games["season"].isin([season - 1, season])].sort_values("date")
    box = {g: stats[stats["game_id"] == g].to_dict("records") for g in past["game_id"]}
    of = {t: [g for g in past.itertuples() if t in (g.home_id, g.away_id)] for t in TEAMS}
    mine = {}
    for g in past.itertuples():
        for row in box[g.game_id]:
            mine.setdefault(row["player_id"], []).append((g, row | {"rebounds": row["offensive_rebounds"] + row["defensive_rebounds"]}))
    found = []
    for player, played in mine.items():
        team = played[-1][1]["team_id"]
        last = played[-1][0].date
        if sum(g.date > last and g.season == season for g in of[team]) >= config.roster_games:
            continue
        row = {"as_of": day, "season": season, "team_id": team, "player_id": player}
        left = max((g.date for g, r in played if r["team_id"] != team), default=pd.Timestamp.min)
        ids = {g.game_id for g, _ in played}
        for w in config.windows:
            part = [r for _, r in played[-w:]]
            total = {c: sum(r[c] for r in part) for c in part[0] if isinstance(part[0][c], (int, float))}
            shots = total["field_goal_attempts"] + 0.44 * total["free_throw_attempts"]
            mates = [m for r in part for m in box[r["game_id"]] if m["team_id"] == r["team_id"]]
            theirs = sum(m["field_goal_attempts"] + 0.44 * m["free_throw_attempts"] + m["turnovers"] for m in mates)
            row |= {f"{c}_{w}": total[c] / len(part) for c in (*PER_GAME, "starter")}
            row[f"minutes_{w}"] = total["seconds"] / 60 / len(part)
            row[f"true_shooting_{w}"] = ratio(total["points"], 2 * shots)
            row[f"usage_{w}"] = ratio((shots + total["turnovers"]) * sum(m["seconds"] for m in mates) / 5, total["seconds"] * theirs)
            row[f"plus_minus_{w}"] = 100 * total["plus_minus"] / ((total["offensive_possessions"] + total["defensive_possessions"]) / 2)
            row[f"availability_{w}"] = np.mean([g.game_id in ids for g in of[team][-w:] if g.date > left])
        before = [r for g, r in played if g.season == season - 1]
        for c in (*PER_GAME, "game_score"):
            row[f"prior_{c}"] = np.mean([r[c] for r in before]) if before else np.nan
        row["prior_minutes"] = np.mean([r["seconds"] / 60 for r in before]) if before else np.nan
        row["minutes_prior"] = row[f"minutes_{config.windows[-1]}"] * row[f"availability_{config.windows[-1]}"]
        found.append(row)
    for row in found:
        row["scale"] = 240 / sum(r["minutes_prior"] for r in found if r["team_id"] == row["team_id"])
    return [row | {"minutes_prior": row["minutes_prior"] * row["scale"]} for row in found]


@pytest.mark.parametrize("config", [CONFIG, PlayerFeatureConfig(windows=(1, 500), roster_games=1)], ids=["short", "longer than history"])
def test_equal_to_a_plain_loop(config):
    stats, games = league()
    made = player_features(stats, games, DAYS, config)
    told = pd.DataFrame([row for day in DAYS for row in slow(stats, games, day, config)]).drop(columns="scale")
    told = told.sort_values(["as_of", "team_id", "player_id"], ignore_index=True)
    assert set(told) == set(made.frame) and len(told) > 100 and told["team_id"].nunique() == 4
    pd.testing.assert_frame_equal(made.frame, told[list(made.frame)], check_dtype=False, rtol=1e-12)
    assert list(made.absent) == ["rapm"]


def test_rapm_is_that_of_the_day_and_missing_before_the_first_stint():
    stats, games = league()
    day = pd.Timestamp("2015-11-20")
    made = player_features(stats, games, day, PlayerFeatureConfig(groups=("rapm",)), stints()).frame.set_index("player_id")
    rows = stints().take((stints().frame["season"] >= 2015).to_numpy())
    table = fit_rapm(rows, PlayerFeatureConfig().rapm, as_of=day).table.set_index("player_id")
    np.testing.assert_array_equal(made["rapm"], table["rapm"].reindex(made.index))
    assert made["rapm"].notna().mean() > 0.9
    early = player_features(stats, games, games["date"].min(), PlayerFeatureConfig(groups=("rapm",)), stints())
    assert early.frame.empty


@pytest.mark.parametrize("day", DAYS[1:])
def test_nothing_of_the_day_or_later_changes_a_bit(day):
    """Values, teams and players of later rows are scrambled, and half of the rows and games go."""
    stats, games = league()
    rapm, draw = stints(), np.random.default_rng(5)
    late = (stats["date"] >= day).to_numpy()
    changed = stats.copy()
    for c in changed.columns.difference(["game_id", "date", "season", "player_id", "team_id", "starter"]):
        changed[c] = changed[c].where(~late, changed[c] * 3 + 0.1)
    changed["starter"] ^= late
    changed["player_id"] = changed["player_id"].where(~late, changed["player_id"] + 50)
    changed = changed[~late | (draw.random(len(stats)) < 0.5)]
    gone = (games["date"] >= day) & (draw.random(len(games)) < 0.5)
    other = games[~gone]
    later = (rapm.frame["date"] >= day).to_numpy()
    altered = StintRows(rapm.frame.assign(points=rapm.frame["points"].where(~later, 300.0)),
                        np.where(later[:, None], rapm.offense + 1, rapm.offense), np.where(later[:, None], rapm.defense + 2, rapm.defense))
    made = [player_features(s, g, day, CONFIG, r) for s, g, r in ((stats, games, rapm), (changed, other, altered))]
    pd.testing.assert_frame_equal(made[0].frame, made[1].frame, check_exact=True)
    assert made[0].columns == made[1].columns and made[0].absent == made[1].absent and len(made[0].frame)


def test_what_happened_before_does_change_it():
    stats, games = league()
    changed = stats.assign(points=stats["points"] + (stats["date"] == pd.Timestamp("2014-11-08")))
    made = [player_features(s, games, "2014-11-09", CONFIG).frame["points_3"] for s in (stats, changed)]
    assert (made[0] != made[1]).any()


def test_order_of_rows_types_of_ids_and_days_asked_together_do_not_matter():
    stats, games = league()
    whole = player_features(stats, games, DAYS[::-1], CONFIG)
    shuffled = player_features(stats.sample(frac=1, random_state=1).astype({"game_id": "category"}), games.sample(frac=1, random_state=2),
                               DAYS, CONFIG)
    pd.testing.assert_frame_equal(whole.frame, shuffled.frame, check_exact=True)
    for day in DAYS[1:]:
        alone = player_features(stats, games, day, CONFIG).frame
        pd.testing.assert_frame_equal(alone, whole.frame[whole.frame["as_of"] == day][list(alone)].reset_index(drop=True), check_exact=True)


def test_rosters_before_and_in_a_season():
    stats, games = league()
    ended = stats[stats["season"] == 2015].groupby("player_id").tail(1).set_index("player_id")["team_id"].sort_index()
    summer = known_on(stats, games, "2015-10-01", PlayerFeatureConfig(roster_games=1)).roster["team_id"]
    pd.testing.assert_series_equal(summer, ended)  # everyone, at his last team, even who was hurt in spring
    assert 131 in summer and 131 not in known_on(stats, games, "2016-06-01", CONFIG).roster.index  # never seen again
    assert known_on(stats, games, "2014-10-28", CONFIG).roster.empty
    assert known_on(stats, games, "2017-10-01", CONFIG).roster.empty  # a season without a game lies between


def test_a_traded_player_is_on_one_team_and_not_blamed_for_the_time_before():
    stats, games = league()
    his = stats[stats["player_id"] == 105].sort_values("date")
    first = his[his["team_id"] == TEAMS[3]]["date"].iloc[0]
    made = player_features(stats, games, [first, first + pd.Timedelta(days=1)], PlayerFeatureConfig(windows=(10,)))
    rows = made.frame[made.frame["player_id"] == 105].set_index("as_of")
    assert rows["team_id"].tolist() == [TEAMS[0], TEAMS[3]] and rows["availability_10"].between(0, 1).all()
    recent = his[his["date"] <= first].tail(10)
    assert rows["points_10"].iloc[1] == recent["points"].mean() and recent["team_id"].nunique() == 2  # form follows him


def test_a_player_who_never_shoots_and_one_who_never_plays():
    stats, games = league()
    made = player_features(stats[stats["player_id"] != 107], games, "2014-12-01", CONFIG).frame.set_index("player_id")
    assert made.loc[130, ["true_shooting_3", "true_shooting_10"]].isna().all() and made.loc[130, "usage_3"] == 0
    assert 107 not in made.index and np.isfinite(made.drop(index=130).drop(columns=["as_of"]).filter(regex="_(3|10)$")).all(axis=None)


def test_minutes_of_a_roster_add_up():
    stats, games = league()
    frame = player_features(stats, games, DAYS, CONFIG).frame
    np.testing.assert_allclose(frame.groupby(["as_of", "team_id"])["minutes_prior"].sum(), 240)


@pytest.mark.parametrize("windows", [(10, 30), (15,), (1, 2, 3)])
def test_columns_come_from_running_the_config(windows):
    stats, games = league()
    made = player_features(stats, games, "2016-02-01", PlayerFeatureConfig(windows=windows), stints())
    assert list(made.columns) == list(GROUPS) == list(PLAYER_FEATURES) and not made.absent
    assert [c for group in made.columns.values() for c in group] == list(made.frame)[4:]
    assert {c.rsplit("_", 1)[1] for g in ("rolling", "availability", "shooting", "usage", "plus_minus", "starter")
            for c in made.columns[g]} == set(map(str, windows))
    assert not (made.frame[list(made.columns["rolling"])] == 0).all().any()  # no window without values
    some = player_features(stats, games, "2016-02-01", PlayerFeatureConfig(windows=windows, groups=("starter", "rolling")))
    assert list(some.columns) == ["starter", "rolling"]


def test_groups_without_data_are_absent_with_a_note():
    stats, games = league()
    made = player_features(stats.drop(columns=["starter", "steals"]), games, "2014-12-01", CONFIG)
    assert made.absent.keys() == {"rolling", "prior_season", "starter", "rapm"}
    assert "starter" in made.absent["starter"] and "stint_rows" in made.absent["rapm"] and "starter is absent" in str(made)
    assert not [c for c in made.frame if c.startswith(("starter", "points", "prior", "rapm"))]
    whole = player_features(stats, games, "2014-12-01", CONFIG)
    assert "season before" in whole.absent["prior_season"]


def test_no_games_give_no_rows_but_all_columns():
    stats, games = league()
    for s, g in ((stats.iloc[:0], games), (stats.iloc[:0], games.iloc[:0])):
        made = player_features(s, g, DAYS, CONFIG)
        assert made.frame.empty and list(made.absent) == ["rapm"]
        assert set(made.frame) == set(player_features(stats, games, DAYS, CONFIG).frame)


@pytest.mark.parametrize("words, call", [
    ("did you mean rolling", lambda s, g: PlayerFeatureConfig(groups=("roling",))),
    ("ascending", lambda s, g: PlayerFeatureConfig(windows=(30, 10))),
    ("windows", lambda s, g: PlayerFeatureConfig(windows=())),
    ("each group once", lambda s, g: PlayerFeatureConfig(groups=("rolling", "rolling"))),
    ("no day", lambda s, g: player_features(s, g, [])),
    ("not a date", lambda s, g: player_features(s, g, "soon")),
    ("belongs to one of", lambda s, g: player_features(s.assign(game_id="2015" + s["game_id"]), g, DAYS)),
    ("twice", lambda s, g: player_features(pd.concat([s, s]), g, DAYS)),
    ("did not play", lambda s, g: player_features(s.assign(team_id=1610612760), g, DAYS)),
    ("no date", lambda s, g: player_features(s, g.assign(date=g["date"].where(g.index > 0)), DAYS)),
    ("player_game_stats", lambda s, g: player_features(s.drop(columns="seconds"), g, DAYS)),
    ("play_games", lambda s, g: player_features(s, g.drop(columns="home_id"), DAYS)),
])
def test_misuse_is_told(words, call):
    with pytest.raises(ValueError, match=words):
        call(*league())


def test_the_error_has_a_class_of_its_own():
    with pytest.raises(PlayerFeatureError):
        PlayerFeatureConfig(roster_games=0)
