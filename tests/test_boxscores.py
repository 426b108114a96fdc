"""Box scores: the plain count of a single pass, sums over teams and stints, bad input, the source's own totals."""
import os
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml.core import SportsmlError
from sportsml.nba.boxscores import (
    GAME_SCORE,
    box_plus_minus,
    check_totals,
    game_score,
    player_game_stats,
    season_stats,
    team_game_stats,
    z_scores,
)
from sportsml.schema import check_rows

TEAM = 1610612737
IDS = ["team_id", "player1_id", "player2_id", "player3_id", "shot_value", "trip_number", "trip_length"]
FIELDS = ["event", "kind", *IDS[:4], "points", *IDS[4:]]
BOX = [*GAME_SCORE, "three_pointers", "three_point_attempts"]


def random_event(draw, sides, fives):
    "One event as a dictionary; every rule of the count has its turn."
    side = draw.integers(2)
    team, own, other = sides[side], fives[side], fives[1 - side]
    one, mate, foe = draw.choice(own), draw.choice(own), draw.choice(other)
    sometimes = draw.random() < 0.5
    value, length = int(draw.integers(2, 4)), int(draw.integers(1, 4))
    number = int(draw.integers(1, length + 1))
    foul = str(draw.choice(["personal", "shooting", "offensive charge", "flagrant", "technical", "double technical",
                            "defensive 3 seconds", "delay technical", "double"]))
    return [
        {"event": "made_shot", "kind": "layup", "player1_id": one, "player2_id": mate if sometimes else None,
         "points": value, "shot_value": value},
        {"event": "missed_shot", "kind": "hook", "player1_id": one, "player3_id": foe if sometimes else None, "shot_value": value},
        {"event": "free_throw", "kind": str(draw.choice(["personal", "technical", "flagrant"])), "player1_id": one,
         "points": int(sometimes), "shot_value": 1, "trip_number": number, "trip_length": length},
        {"event": "rebound", "kind": "player", "player1_id": one},
        {"event": "rebound", "kind": "team"},
        {"event": "turnover", "kind": "other", "player1_id": one, "player2_id": foe if sometimes else None},
        {"event": "turnover", "kind": "shot clock"},
        {"event": "foul", "kind": foul, "player1_id": one, "player2_id": foe},
        {"event": "foul", "kind": "technical"},
        {"event": "timeout"},
        {"event": "violation", "kind": "lane", "player1_id": one},
    ][draw.integers(11)] | {"team_id": team}


def random_games(seed, number=3, length=120):
    "Games of random events, cut into stints at random; a possession an event or so, wherever."
    draw, games, plays, stints, possessions = np.random.default_rng(seed), [], [], [], []
    for g in range(number):
        game, sides, order = f"002150{g:04d}", (TEAM + 2 * g, TEAM + 2 * g + 1), 0
        people = [100 + 20 * g + np.arange(8), 110 + 20 * g + np.arange(8)]
        for stint in range(5):
            fives = [np.sort(draw.choice(p, 5, replace=False)) for p in people]
            score, seconds = [0, 0], float(draw.integers(0, 700))
            for _ in range(length // 5):
                event = random_event(draw, sides, fives)
                score[sides.index(event["team_id"])] += event.get("points", 0)
                plays.append({"game_id": game, "order": order, "points": 0} | event)
                order += 1
                offense = int(draw.integers(2))
                possessions.append({"game_id": game, "stint": stint, "offense_id": sides[offense], "points": int(draw.integers(4)),
                                    "defense_points": int(draw.random() < 0.05)})
            stints.append({"game_id": game, "stint": stint, "start_seconds": seconds, "end_seconds": 0.0, "home_points": score[0],
                           "away_points": score[1], **{f"home_{i + 1}": fives[0][i] for i in range(5)},
                           **{f"away_{i + 1}": fives[1][i] for i in range(5)}})
        games.append({"game_id": game, "season": 2016, "date": pd.Timestamp("2015-11-01") + pd.Timedelta(days=g), "home_id": sides[0],
                      "away_id": sides[1], "periods": 4 + g})
    plays = pd.DataFrame(plays).reindex(columns=["game_id", "order", *FIELDS])
    return pd.DataFrame(games), plays.astype(dict.fromkeys(IDS, "Int64")), SimpleNamespace(
        stints=pd.DataFrame(stints), possessions=pd.DataFrame(possessions))


def plain_count(plays):
    "Walks through the events once, as a scorer at the table would; keys (game, player or team, statistic)."
    count, game, missed_by, live = Counter(), None, None, False
    for e in plays.astype(object).where(plays.notna(), None).itertuples():
        if e.game_id != game:
            game, missed_by, live = e.game_id, None, False
        first, second = e.team_id - (e.team_id - TEAM) % 2, e.team_id
        foe = first + 1 if second == first else first

        def credit(statistic, player, team=e.team_id, amount=1, game=game):
            for who in {player, team} - {None}:
                count[game, who, statistic] += amount

        if e.event in ("made_shot", "missed_shot"):
            credit("field_goal_attempts", e.player1_id)
            if e.shot_value == 3:
                credit("three_point_attempts", e.player1_id)
        if e.event == "made_shot":
            credit("field_goals", e.player1_id)
            credit("points", e.player1_id, amount=e.points)
            if e.shot_value == 3:
                credit("three_pointers", e.player1_id)
            if e.player2_id:
                credit("assists", e.player2_id)
        if e.event == "missed_shot" and e.player3_id:
            credit("blocks", e.player3_id, foe)
        if e.event == "free_throw":
            credit("free_throw_attempts", e.player1_id)
            credit("free_throws", e.player1_id, amount=e.points)
            credit("points", e.player1_id, amount=e.points)
        if e.event in ("made_shot", "missed_shot", "free_throw"):
            missed_by = e.team_id
            live = e.event == "missed_shot" or (e.kind == "personal" and e.trip_number == e.trip_length and e.points == 0)
        if e.event == "rebound" and e.player1_id:
            credit("offensive_rebounds" if missed_by == e.team_id else "defensive_rebounds", e.player1_id)
        if e.event == "rebound" and not e.player1_id and live:
            credit("team_rebounds", None)
        if e.event == "turnover":
            credit("turnovers", e.player1_id)
            if e.player2_id:
                credit("steals", e.player2_id, foe)
        if e.event == "foul" and e.player1_id and e.kind in ("personal", "shooting", "offensive charge", "flagrant", "double"):
            credit("fouls", e.player1_id)
            if e.kind == "double":
                credit("fouls", e.player2_id, foe)
    return +count


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_counts_equal_those_of_a_plain_pass(seed):
    games, plays, lineups = random_games(seed)
    plain = plain_count(plays)
    for stats, entity, columns in ((player_game_stats(games, plays, lineups), "player_id", BOX),
                                   (team_game_stats(games, plays, lineups), "team_id", [*BOX, "team_rebounds"])):
        long = stats.melt(["game_id", entity], columns)
        counted = {(g, who, name): n for g, who, name, n in long.itertuples(index=False) if n}
        assert counted == {key: n for key, n in plain.items() if key[2] in columns and (key[1] < TEAM) == (entity == "player_id")}


def test_time_margin_and_possessions_equal_a_walk_through_the_stints():
    games, plays, lineups = random_games(5)
    players = player_game_stats(games, plays, lineups).set_index(["game_id", "player_id"])
    sides = games.set_index("game_id")[["home_id", "away_id"]]
    for (game, player), row in players.iterrows():
        side = "home" if row["home"] else "away"
        s = lineups.stints.query("game_id == @game")
        s = s[(s[[f"{side}_{i}" for i in range(1, 6)]] == player).any(axis=1)]
        p = lineups.possessions.query("game_id == @game and stint in @s.stint")
        attack = p["offense_id"] == sides.loc[game, f"{side}_id"]
        margin = (s["home_points"] - s["away_points"]).sum() * (1 if row["home"] else -1)
        scored = p["points"].where(attack, p["defense_points"]).sum()
        assert row["seconds"] == s["start_seconds"].sum() and row["plus_minus"] == margin
        assert row["team_id"] == sides.loc[game, f"{side}_id"]
        assert (row["offensive_possessions"], row["defensive_possessions"]) == (attack.sum(), (~attack).sum())
        assert row["offensive_rating"] == pytest.approx(100 * scored / attack.sum()) and row["starter"] == (s["stint"] == 0).any()
        assert row["game_score"] == pytest.approx(game_score(row.to_frame().T).item())


def test_tables_hold_what_the_schema_says():
    games, plays, lineups = random_games(1)
    players, teams = player_game_stats(games, plays, lineups), team_game_stats(games, plays, lineups)
    for name, frame in (("player_game_stats", players), ("team_game_stats", teams), ("season_stats", season_stats(players, teams))):
        good, bad = check_rows(name, frame)
        assert len(good) == len(frame) and bad.empty and (good.dtypes == frame.dtypes).all(), bad
    assert teams["minutes"].tolist() == [48, 48, 53, 53, 58, 58]


def test_form_and_order_of_the_frames_do_not_matter():
    games, plays, lineups = random_games(2)
    expected = [f(games, plays, lineups) for f in (player_game_stats, team_game_stats)]
    words = plays.astype(dict.fromkeys(("game_id", "event", "kind"), "category"))
    mixed = SimpleNamespace(**{name: frame.sample(frac=1, random_state=0) for name, frame in vars(lineups).items()})
    for f, frame in zip((player_game_stats, team_game_stats), expected, strict=True):
        pd.testing.assert_frame_equal(f(games, words, mixed), frame)
        alone = []
        for g in games["game_id"]:
            own = SimpleNamespace(**{name: part[part["game_id"] == g] for name, part in vars(lineups).items()})
            alone.append(f(games[games["game_id"] == g], plays[plays["game_id"] == g], own))
        pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), frame)


def test_games_without_a_date_and_no_games_at_all():
    games, plays, lineups = random_games(3)
    assert player_game_stats(games.assign(date=pd.NaT), plays, lineups)["date"].isna().all()
    nothing = SimpleNamespace(stints=lineups.stints[:0], possessions=lineups.possessions[:0])
    empty = [f(games[:0], plays[:0], nothing) for f in (player_game_stats, team_game_stats)]
    assert all(frame.empty for frame in empty) and season_stats(*empty).empty and box_plus_minus(*empty).empty


def test_what_does_not_belong_together_is_named():
    games, plays, lineups = random_games(4)
    with pytest.raises(SportsmlError, match="game '0021500002' has events or lineups"):
        player_game_stats(games[:2], plays, lineups)
    with pytest.raises(SportsmlError, match="possession of game 0021500000 names stint 9"):
        player_game_stats(games, plays, SimpleNamespace(stints=lineups.stints, possessions=lineups.possessions.assign(
            stint=lambda p: p["stint"].where(p.index != 7, 9))))
    with pytest.raises(SportsmlError, match=f"team {TEAM} has players but no row in teams"):
        box_plus_minus(player_game_stats(games, plays, lineups), team_game_stats(games, plays, lineups)[1:])


def test_scaling_names_what_is_missing_and_uses_the_season_asked_for():
    games, plays, lineups = random_games(6)
    players, teams = player_game_stats(games, plays, lineups), team_game_stats(games, plays, lineups)
    old = season_stats(players.assign(season=2015, points=players["points"] * 2 + 1), teams.assign(season=2015))
    both = pd.concat([old, season_stats(players, teams)])
    by_old = z_scores(players.assign(points=players["points"] * 2 + 1), both, ["points"], pd.Series(2015, players.index))
    pd.testing.assert_frame_equal(by_old, z_scores(players, both, ["points"]))
    assert z_scores(teams.assign(fouls=7), season_stats(players, teams.assign(fouls=7)), ["fouls"]).eq(0).all(axis=None)
    with pytest.raises(SportsmlError, match="no season 2016; it has 2015"):
        z_scores(players, old, ["points"])


def test_value_is_shared_out_among_a_team_and_rises_with_good_deeds():
    games, plays, lineups = random_games(7, number=4, length=600)
    players, teams = player_game_stats(games, plays, lineups), team_game_stats(games, plays, lineups)
    whole = teams.set_index("team_id")["minutes"].loc[players["team_id"]].to_numpy() * 300
    players["seconds"] *= whole / players.groupby("team_id")["seconds"].transform("sum")
    value = box_plus_minus(players, teams)
    assert np.allclose(value.groupby("team_id")["share"].sum(), 5) and value[["position", "role"]].stack().between(1, 5).all()
    shared = value.assign(**{c: value["share"] * value[c] for c in ("value", "offensive")}).groupby("team_id")[["value", "offensive"]].sum()
    team = teams.set_index("team_id").loc[shared.index]
    offense = team["offensive_rating"] - 100 * team["points"].sum() / team["possessions"].sum()
    net = team["offensive_rating"] - team["defensive_rating"]
    ease = 0.35 * net / 100 * team["possessions"] / (team["minutes"] / 48) / 2
    assert np.allclose(shared["value"], net + ease) and np.allclose(shared["offensive"], offense + ease / 2)
    renamed = box_plus_minus(players.assign(player_id=players["player_id"].max() + 1 - players["player_id"]), teams)
    assert np.allclose(np.sort(renamed["value"]), np.sort(value["value"]))
    better = players.assign(steals=players["steals"] + (players["player_id"] == 103))
    after = box_plus_minus(better, teams.assign(steals=teams["steals"] + (teams["team_id"] == TEAM)))
    change = after.set_index("player_id")["value"] - value.set_index("player_id")["value"]
    mates = value.query("team_id == @TEAM and player_id != 103")["player_id"]
    assert change[103] > 0 > change[mates].max()
    one = players["player_id"] == 103
    threes = box_plus_minus(players.assign(three_pointers=players["three_pointers"] + one), teams).set_index("player_id")
    hundreds = players.loc[one, ["offensive_possessions", "defensive_possessions"]].to_numpy().sum() / 200
    for column, weight in (("value", 0.389), ("offensive", 0.477)):  # a three-pointer touches neither position nor role
        change = threes[column] - value.set_index("player_id")[column]
        assert np.allclose(change[103] - change[mates], weight / hundreds)


def test_a_miscount_shows_in_the_check_against_the_words():
    plays = pd.DataFrame({"game_id": "0021500001", "event": ["made_shot", "free_throw", "made_shot"], "player1_id": [1, 1, 2],
                          "player2_id": [2, None, None], "player3_id": None, "team_id": TEAM,
                          "description": ["A 3PT (3 PTS) (B 1 AST)", "A Free Throw 1 of 1 (4 PTS)", "B Dunk (2 PTS)"]})
    plays = plays.astype(dict.fromkeys(IDS[:4], "Int64"))
    stats = pd.DataFrame({"game_id": "0021500001", "player_id": [1, 2], "points": [3, 2], "assists": [0, 1]}).assign(
        **dict.fromkeys(("offensive_rebounds", "defensive_rebounds", "steals", "blocks", "turnovers", "fouls"), 0))
    checked = check_totals(plays, stats)
    assert checked.query("counted != told").values.tolist() == [["0021500001", 1, "points", 3, 4]] and len(checked) == 3


FILES = Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba" / "pbp"


@pytest.mark.skipif(not FILES.exists(), reason="SPORTSML_RAW does not hold the real NBA files")
def test_real_games_agree_with_the_source():
    from sportsml.nba.lineups import build_lineups
    from sportsml.nba.playbyplay import read_playbyplay

    data = read_playbyplay(sorted(FILES.glob("*.csv"))[:200], progress=False)
    lineups = build_lineups(data.games, data.plays)
    start = time.perf_counter()
    players, teams = (f(data.games, data.plays, lineups) for f in (player_game_stats, team_game_stats))
    assert time.perf_counter() - start < 1  # 200 games; all 491 take about a quarter of a second
    sums = players.groupby(["game_id", "team_id"])[["seconds", "plus_minus", *BOX]].sum()
    box = teams.set_index(["game_id", "team_id"]).loc[sums.index]
    assert (sums["seconds"] == 300 * box["minutes"]).all() and (sums["plus_minus"] == 5 * (box["points"] - box["opponent_points"])).all()
    assert sums[BOX].drop(columns="turnovers").equals(box[BOX].drop(columns="turnovers"))
    final = data.games.set_index("game_id")[["home_points", "away_points"]].to_numpy().ravel()
    assert (teams["points"].to_numpy() == final).all()
    assert check_totals(data.plays, teams).eval("counted == told").all()
    checked = check_totals(data.plays, players)
    wrong = checked[checked["counted"] != checked["told"]]
    double = data.plays.query("kind == 'double'")["game_id"].astype(str)
    wordless = wrong["statistic"].eq("fouls") & wrong["game_id"].isin(double) & wrong["counted"].sub(wrong["told"]).eq(1)
    rest = wrong[~wordless]  # one rebound after a jump ball, told as offensive
    assert len(checked) > 20_000 and set(rest["statistic"]) <= {"offensive_rebounds", "defensive_rebounds"} and len(rest) <= 2
