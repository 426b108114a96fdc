"""Lineups and possessions: the truth of made games, a plain loop with sets and words, every rule by hand, invariances, broken games."""
import os
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_games import CELTICS, HAWKS, lines, make_game

from sportsml.core import SportsmlError
from sportsml.nba.lineups import build_lineups, check_games, on_floor, read_minutes, read_overrides
from sportsml.nba.playbyplay import read_playbyplay
from sportsml.schema import check_rows

FOLDER = Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba" / "pbp"
real = pytest.mark.skipif(not FOLDER.exists(), reason="SPORTSML_RAW does not hold the real play-by-play")
SEEDS = [(seed, seed % 5 == 0) for seed in range(12)]
BENCH = ("technical", "double technical", "delay technical", "defensive 3 seconds", "punching")


def read_games(folder: Path, games) -> tuple[pd.DataFrame, pd.DataFrame]:
    for game in games:
        (folder / f"{game.game_id}.csv").write_text("\n".join(lines(game.rows)) + "\n")
    found = read_playbyplay(folder, progress=False)
    assert found.rejects.empty
    return found.games, found.plays


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return read_games(tmp_path_factory.mktemp("made"), [make_game(*seed) for seed in SEEDS])


@cache
def real_games(step: int = 1):
    found = read_playbyplay(sorted(FOLDER.glob("*.csv"))[::step], progress=False)
    return found.games, found.plays


# ---- the same by plain loops


def events_of(plays: pd.DataFrame, home: int) -> list[dict]:
    """The events of one game as dictionaries; `side` is home, away or None."""
    rows = plays.astype(object).where(plays.notna(), None).to_dict("records")
    return [row | {"side": None if row["team_id"] is None else "home" if row["team_id"] == home else "away"} for row in rows]


def people_on_floor(e: dict) -> list:
    """Whom an event shows to be on the floor."""
    if e["side"] is None or e["event"] in ("timeout", "ejection", "substitution", "period_start", "period_end", "replay", "other"):
        return []
    if e["kind"] == "technical" and e["event"] == "free_throw" or e["event"] == "foul" and e["kind"] in BENCH:
        return []
    return [p for p in (e["player1_id"], e["player2_id"], e["player3_id"]) if p]


def sides_of(events: list[dict]) -> dict:
    """Each player's side."""
    sides = {}
    for e in events:
        opponent = {"home": "away", "away": "home", None: None}[e["side"]]
        other = [False, e["event"] in ("turnover", "foul", "jump_ball"), e["event"] == "missed_shot"]
        for i, is_other in enumerate(other, 1):
            if e[f"player{i}_id"] and e["side"] and not (e["event"] == "jump_ball" and i == 3):
                sides.setdefault(e[f"player{i}_id"], opponent if is_other else e["side"])
    return sides


def plain_floor(events: list[dict]) -> list[tuple[frozenset, frozenset]]:
    """Both fives at every event: who is seen before he comes in has started, and so has who is left of the last five."""
    sides, floor, on = sides_of(events), [], {"home": set(), "away": set()}
    for period in sorted({e["period"] for e in events}):
        mine, started, later = [e for e in events if e["period"] == period], set(), set()
        for e in mine:
            for p in [e["player1_id"]] if e["event"] == "substitution" else people_on_floor(e):
                if p not in later:
                    started.add(p)
            if e["event"] == "substitution" and e["player2_id"] not in started:
                later.add(e["player2_id"])
        for side in on:
            five = {p for p in started if sides[p] == side}
            left = on[side] - started - later
            assert len(five) + len(left) == 5 or len(five) == 5, "not clear who starts"
            on[side] = five if len(five) == 5 else five | left
        for e in mine:
            if e["event"] == "substitution":
                on[e["side"]] = on[e["side"]] - {e["player1_id"]} | {e["player2_id"]}
            floor.append((frozenset(on["home"]), frozenset(on["away"])))
    return floor


def mark_kept_throws(events: list[dict]) -> None:
    """Adds `kept`: single free throws after a foul away from the play or before an inbound pass, without a basket."""
    foul = basket = None
    for i, e in enumerate(events):
        foul = e if e["event"] == "foul" else foul
        basket = (i, e) if e["event"] == "made_shot" else basket
        now = (e["period"], e["seconds_left"])
        e["kept"] = (e["event"] == "free_throw" and e["trip_length"] == 1 and foul is not None and foul["seconds_left"] == now[1]
                     and foul["kind"] in ("away from play", "inbound"))
        if basket and basket[1]["side"] == e["side"] and (basket[1]["period"], basket[1]["seconds_left"]) == now and i - basket[0] < 20:
            e["kept"] = False


def ends_trip(e: dict) -> bool:
    return e["event"] == "free_throw" and e["kind"] == "personal" and e["trip_number"] == e["trip_length"] and not e["kept"]


def is_and_one(events: list[dict], i: int) -> bool:
    """Whether the scorer's team shoots a free throw at once that ends the possession."""
    for e in events[i + 1:]:
        if e["period"] != events[i]["period"] or e["seconds_left"] != events[i]["seconds_left"]:
            return False
        if e["side"] not in (None, events[i]["side"]) and e["event"] in ("made_shot", "missed_shot", "turnover", "rebound"):
            return False
        if e["event"] == "free_throw" and e["side"] == events[i]["side"] and e["kind"] != "technical":
            return ends_trip(e)
    return False


def plain_possessions(events: list[dict]) -> list[tuple]:
    """(period, offence, first row, last row, points, points of the defence, end) of each possession, by the rules in words."""
    mark_kept_throws(events)
    return [p for period in sorted({e["period"] for e in events})
            for p in period_possessions(events, period, [i for i, e in enumerate(events) if e["period"] == period])]


OTHER = {"home": "away", "away": "home"}


def period_possessions(events: list[dict], period: int, rows: list[int]) -> list[tuple]:
    found, begin, ball, seen, jumped, loose = [], rows[0], None, False, -1, None

    def close(last, end, until=None):
        points = [sum(events[i]["points"] for i in range(begin, (until or last) + 1) if events[i]["side"] == side)
                  for side in (ball, OTHER[ball])]
        found.append((period, ball, min(begin, last), last, *points, end))

    for i in rows:
        e, was = events[i], loose
        has = e["side"] if e["event"] in ("made_shot", "missed_shot", "turnover") or (
            e["event"] == "free_throw" and e["kind"] != "technical") else was if e["event"] == "rebound" else None
        if has and ball and has != ball:
            rebounded = found and found[-1][6] == "rebound" and events[found[-1][3]]["seconds_left"] > e["seconds_left"]
            if seen or jumped >= begin or rebounded:  # a held ball
                last = jumped if jumped >= begin else max(i - 1, begin)
                close(last, "jump_ball", until=i - 1)
                begin = last + 1
            elif found:  # the one before was not over
                begin = found.pop()[2]
        if has:
            ball, seen = has, True
        if e["event"] == "jump_ball":
            jumped = i
        end = None
        if e["event"] == "made_shot" and not is_and_one(events, i):
            end = "made_shot"
        if ends_trip(e) and e["points"]:
            end = "free_throw"
        if e["event"] == "rebound" and was and e["side"] != was:
            end = "rebound"
        if e["event"] == "turnover" and e["side"]:
            end = "turnover"
        if e["event"] in ("made_shot", "free_throw", "turnover", "rebound", "missed_shot"):
            loose = e["side"] if e["event"] == "missed_shot" or ends_trip(e) and not e["points"] else None
        if end and seen:
            close(i, end)
            begin, ball, seen = i + 1, OTHER[ball], False
    rest = events[found[-1][3]]["seconds_left"] if found else events[rows[0]]["seconds_left"]
    if ball and (seen or rest > 2):
        close(rows[-1], "period_end")
    elif found:  # what points are left belong to the last one
        _, ball, first, last, *_, end = found.pop()
        begin = first
        close(last, end, until=rows[-1])
    return found


def compare_with_plain(games, plays):
    """Asserts that the compiled walk gives what the plain loops give, game by game."""
    lineups = build_lineups(games, plays)
    floor = on_floor(plays, lineups.stints)
    for game in games.itertuples():
        mine = (plays["game_id"] == game.game_id).to_numpy()
        events = events_of(plays[mine], game.home_id)
        wanted = np.array([sorted(home) + sorted(away) for home, away in plain_floor(events)])
        np.testing.assert_array_equal(floor[mine], wanted)
        p = lineups.possessions[lineups.possessions["game_id"] == game.game_id]
        sides = np.where(p["offense_id"] == game.home_id, "home", "away")
        got = list(zip(p["period"], sides, p["first_order"], p["last_order"], p["points"], p["defense_points"], p["end"], strict=True))
        assert got == plain_possessions(events), game.game_id


def test_fives_are_the_true_ones(made):
    """Of games whose making wrote down who was on the floor."""
    games, plays = made
    lineups = build_lineups(games, plays)
    truth = np.array([sorted(home) + sorted(away) for seed in SEEDS for home, away in make_game(*seed).floor])
    np.testing.assert_array_equal(on_floor(plays, lineups.stints), truth)
    assert games["periods"].max() >= 5 and lineups.refused == []


def test_fives_and_possessions_equal_plain_loops(made):
    compare_with_plain(*made)


def rules_hold(games, plays, lineups):
    """Asserts what must be true of any games."""
    checks = check_games(games, plays, lineups)
    assert (checks[["short_handed", "strangers", "points_off", "seconds_off"]] == 0).all(axis=None)
    assert (checks["events"] == games["events"]).all()
    assert ((checks["home_possessions"] - checks["away_possessions"]).abs() <= games["periods"]).all()
    for name, frame in (("stints", lineups.stints), ("possessions", lineups.possessions)):
        assert check_rows(name, frame)[1].empty
        lengths = frame["last_order"] - frame["first_order"] + 1
        follows = frame["game_id"].eq(frame["game_id"].shift()) & frame["period"].eq(frame["period"].shift())
        if name == "stints":  # no event is lost, none stands twice
            assert lengths.groupby(frame["game_id"], sort=False).sum().tolist() == games["events"].tolist() and (lengths > 0).all()
            assert (frame["first_order"] == frame["last_order"].shift() + 1)[follows].all()
        assert (frame["start_seconds"] == frame["end_seconds"].shift())[follows].all()
        assert (frame["start_seconds"] >= frame["end_seconds"]).all()
    p = lineups.possessions
    scored = p.groupby("game_id", sort=False)[["points", "defense_points"]].sum().sum(axis=1)
    assert (scored.to_numpy() == (games["home_points"] + games["away_points"]).to_numpy()).all()
    turns = p["offense_id"].ne(p["offense_id"].shift()) | p["game_id"].ne(p["game_id"].shift()) | p["period"].ne(p["period"].shift())
    assert turns.all()  # within a period the teams take turns


def test_rules_of_any_game(made):
    games, plays = made
    rules_hold(games, plays, build_lineups(games, plays))


# ---- invariances


def frames(lineups):
    return lineups.stints.reset_index(drop=True), lineups.possessions.astype({"end": str}).reset_index(drop=True)


def test_the_order_of_games_does_not_matter(made):
    games, plays = made
    turned = games.iloc[::-1].reset_index(drop=True)
    parts = dict(list(plays.astype({"game_id": str}).groupby("game_id")))
    there, back = build_lineups(games, plays), build_lineups(turned, pd.concat([parts[g] for g in turned["game_id"]], ignore_index=True))
    for a, b in zip(frames(there), frames(back), strict=True):
        key = ["game_id", a.columns[1]]
        pd.testing.assert_frame_equal(a.sort_values(key, ignore_index=True), b.sort_values(key, ignore_index=True))
    alone = build_lineups(games.iloc[[3]].reset_index(drop=True), parts[games["game_id"][3]].reset_index(drop=True))
    wanted = there.stints[there.stints["game_id"] == games["game_id"][3]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.stints, wanted)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_names_of_players_and_teams_do_not_matter(made, seed):
    """Other ids, in another order of size, give the same stints with the other ids."""
    games, plays = made
    stream, people = np.random.default_rng(seed), np.unique(np.concatenate([plays[f"player{i}_id"].dropna() for i in (1, 2, 3)]))
    other = dict(zip(people.tolist(), stream.choice(10**9 - 1, len(people), replace=False) + 1, strict=True))
    teams = {HAWKS: 1610612760, CELTICS: 1610612745}
    swap = {f"player{i}_id": plays[f"player{i}_id"].map(other).astype("Int64") for i in (1, 2, 3)}
    renamed = build_lineups(games.replace({"home_id": teams, "away_id": teams}), plays.assign(
        **swap, team_id=plays["team_id"].map(teams).astype("Int64")))
    wanted = build_lineups(games, plays)
    fives = on_floor(plays, wanted.stints)
    relabelled = np.concatenate([np.sort(np.vectorize(other.get)(part), axis=1) for part in (fives[:, :5], fives[:, 5:])], axis=1)
    np.testing.assert_array_equal(on_floor(plays, renamed.stints), relabelled)
    same = wanted.possessions.replace({"offense_id": teams, "defense_id": teams})
    pd.testing.assert_frame_equal(renamed.possessions.astype({"end": str}), same.astype({"end": str}))


def test_home_and_away_mirror(made):
    games, plays = made
    there = build_lineups(games, plays)
    back = build_lineups(games.rename(columns={"home_id": "away_id", "away_id": "home_id"}), plays)
    floor = on_floor(plays, there.stints)
    np.testing.assert_array_equal(on_floor(plays, back.stints), np.hstack([floor[:, 5:], floor[:, :5]]))
    pd.testing.assert_frame_equal(back.possessions, there.possessions)
    np.testing.assert_array_equal(back.stints[["home_points", "away_points"]], there.stints[["away_points", "home_points"]])


def test_text_and_categories_are_alike(made):
    games, plays = made
    a, b = build_lineups(games, plays), build_lineups(games, plays.astype({"game_id": str, "event": str, "kind": object}))
    for x, y in zip(frames(a), frames(b), strict=True):
        pd.testing.assert_frame_equal(x, y)


# ---- a period by hand: home players are 1 to 9, visitors 11 to 19

IDS = ["team_id", "player1_id", "player2_id", "player3_id", "trip_number", "trip_length"]
TYPES = {"seconds_left": float} | dict.fromkeys(IDS, "Int64")
SHOWN = [(719 - i, "foul", who, None, "personal", None) for i, who in enumerate((1, 2, 3, 4, 5, 11, 12, 13, 14, 15))]


def hand(*periods, shown=True, **options):
    """Builds the lineups of a game of periods; a row is (seconds, event, who or which team, who else, kind, throw).

    Everybody shows himself in the first period by a foul. Points stand behind the kind: "layup +2".
    """
    rows = []
    for number, script in enumerate(periods, 1):
        shows, end = SHOWN if number == 1 and shown else [], (0, "period_end", None, None, None, None)
        for seconds, event, who, other, kind, throw in [*shows, *script, end]:
            kind, _, points = (kind or "").partition(" +")
            team = None if who is None else HAWKS if who == "home" or who != "away" and who < 10 else CELTICS
            k, _, n = (throw or "").partition(" of ")
            rows.append((number, seconds, event, team, who if isinstance(who, int) else None, other, None, int(points or 0), kind or None,
                         int(k) if k else None, int(n) if n else None))
    columns = ["period", "seconds_left", "event", "team_id", "player1_id", "player2_id", "player3_id", "points", "kind", "trip_number",
               "trip_length"]
    plays = pd.DataFrame(rows, columns=columns).astype(TYPES)
    plays = plays.assign(game_id="0021500001", order=range(len(plays)))
    games = pd.DataFrame({"game_id": ["0021500001"], "home_id": [HAWKS], "away_id": [CELTICS]})
    return plays, build_lineups(games, plays, **options)


def cut(*script):
    """The possessions of a period by hand as (side, points, points of the defence, end)."""
    _, lineups = hand(script)
    p = lineups.possessions
    return [("home" if o == HAWKS else "away", a, b, str(e)) for o, a, b, e in zip(
        p["offense_id"], p["points"], p["defense_points"], p["end"], strict=True)]


def made_shot(t, who, points=2, mate=None):
    return (t, "made_shot", who, mate, f"jump shot +{points}", None)


def missed(t, who):
    return (t, "missed_shot", who, None, "jump shot", None)


def rebound(t, who):
    return (t, "rebound", who, None, "player" if isinstance(who, int) else "team", None)


def loss(t, who):
    return (t, "turnover", who, None, "bad pass", None)


def foul(t, who, kind="shooting", other=None):
    return (t, "foul", who, other, kind, None)


def throw(t, who, which, good=True, kind="personal"):
    return (t, "free_throw", who, None, f"{kind} +1" if good else kind, which)


def sub(t, out, into):
    return (t, "substitution", out, into, None, None)


LAST = loss(1, 11)  # of the visitors, one second before the end: no possession after it
HOME_LAST = loss(1, 1)


@pytest.mark.parametrize("script, wanted", [
    ([made_shot(600, 1), LAST], [("home", 2, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    # and-one: made and missed; a foul at another time is none, nor is one that the other team shoots
    ([made_shot(600, 1), foul(600, 11, other=1), throw(600, 1, "1 of 1"), LAST],
     [("home", 3, 0, "free_throw"), ("away", 0, 0, "turnover")]),
    ([made_shot(600, 1), foul(600, 11, other=1), throw(600, 1, "1 of 1", False), rebound(599, 12), LAST],
     [("home", 2, 0, "rebound"), ("away", 0, 0, "turnover")]),
    ([made_shot(600, 1), foul(600, 11, other=1), throw(600, 1, "1 of 1", False), rebound(599, 2), made_shot(598, 2), LAST],
     [("home", 4, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    ([made_shot(600, 1), foul(600, 11, other=1), sub(600, 12, 16), throw(600, 1, "1 of 1"), LAST],
     [("home", 3, 0, "free_throw"), ("away", 0, 0, "turnover")]),
    ([made_shot(600, 1), foul(600, 2, "loose ball", 11), throw(600, 11, "1 of 2"), throw(600, 11, "2 of 2"), HOME_LAST],
     [("home", 2, 0, "made_shot"), ("away", 2, 0, "free_throw"), ("home", 0, 0, "turnover")]),
    # a technical free throw at the time of the basket is no and-one
    ([made_shot(600, 1), foul(600, 16, "technical"), throw(600, 2, "1 of 1", kind="technical"), LAST],
     [("home", 2, 0, "made_shot"), ("away", 0, 1, "turnover")]),
    # free throws: the last one decides; after a missed first one the team rebound is none
    ([foul(600, 11), throw(600, 1, "1 of 2", False), rebound(600, "home"), throw(600, 1, "2 of 2"), LAST],
     [("home", 1, 0, "free_throw"), ("away", 0, 0, "turnover")]),
    ([foul(600, 11), throw(600, 1, "1 of 2"), throw(600, 1, "2 of 2", False), rebound(599, "away"), LAST],
     [("home", 1, 0, "rebound"), ("away", 0, 0, "turnover")]),
    ([foul(600, 11), throw(600, 1, "1 of 3"), throw(600, 1, "2 of 3", False), rebound(600, "home"), throw(600, 1, "3 of 3", False),
      rebound(599, 2), loss(590, 2), LAST], [("home", 1, 0, "turnover"), ("away", 0, 0, "turnover")]),
    # flagrant and clear-path fouls: throws and the ball; the phantom rebound after the last miss is none
    ([foul(600, 11, "flagrant"), throw(600, 1, "1 of 2", kind="flagrant"), throw(600, 1, "2 of 2", kind="flagrant"),
      made_shot(590, 2, 3), LAST],
     [("home", 5, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    ([foul(600, 11, "flagrant"), throw(600, 1, "1 of 2", kind="flagrant"), throw(600, 1, "2 of 2", False, "flagrant"), rebound(600, "home"),
      loss(590, 2), LAST], [("home", 1, 0, "turnover"), ("away", 0, 0, "turnover")]),
    ([foul(600, 11, "clear path"), throw(600, 1, "1 of 2", kind="clear path"), throw(600, 1, "2 of 2", kind="clear path"),
      made_shot(590, 2), LAST],
     [("home", 4, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    # a flagrant foul on a made shot: basket, throw and the ball again are one possession
    ([made_shot(600, 1), foul(600, 11, "flagrant", 1), throw(600, 1, "1 of 1", kind="flagrant"), made_shot(590, 2), LAST],
     [("home", 5, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    # away from the play, or before an inbound pass: one throw and the ball
    ([foul(600, 11, "away from play"), throw(600, 1, "1 of 1"), made_shot(590, 2), LAST],
     [("home", 3, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    ([foul(600, 11, "inbound"), throw(600, 1, "1 of 1", False), rebound(600, "home"), made_shot(590, 2), LAST],
     [("home", 2, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    # technical free throws of the defence are its points in this possession; of somebody on the bench, too
    ([foul(600, 6, "technical"), throw(600, 12, "1 of 1", kind="technical"), made_shot(590, 2), LAST],
     [("home", 2, 1, "made_shot"), ("away", 0, 0, "turnover")]),
    ([foul(600, 16, "technical"), throw(600, 1, "1 of 1", kind="technical"), missed(590, 11), rebound(589, 1), loss(588, 1), LAST],
     [("away", 0, 1, "rebound"), ("home", 0, 0, "turnover"), ("away", 0, 0, "turnover")]),
    # rebounds: own ones go on, team rebounds count as any, one without a miss before it is none
    ([missed(600, 1), rebound(599, 2), missed(598, 2), rebound(597, "home"), made_shot(590, 3), LAST],
     [("home", 2, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    ([missed(600, 1), rebound(599, "away"), LAST], [("home", 0, 0, "rebound"), ("away", 0, 0, "turnover")]),
    ([made_shot(600, 1), rebound(600, "away"), rebound(600, "home"), LAST], [("home", 2, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    # turnovers of teams, and two in a row of different teams
    ([loss(600, "home"), loss(590, "away"), HOME_LAST],
     [("home", 0, 0, "turnover"), ("away", 0, 0, "turnover"), ("home", 0, 0, "turnover")]),
    # a held ball: the next team to act has it, the possession ended before
    ([missed(600, 1), rebound(599, 2), (590, "jump_ball", 2, 12, None, None), made_shot(580, 12), HOME_LAST],
     [("home", 0, 0, "jump_ball"), ("away", 2, 0, "made_shot"), ("home", 0, 0, "turnover")]),
    ([missed(600, 1), rebound(599, 2), (590, "jump_ball", 2, 12, None, None), made_shot(580, 2), LAST],
     [("home", 2, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    # after an ending the ball is the other team's: a held ball ends its possession, without one the last was not over
    ([made_shot(600, 1), (590, "jump_ball", 2, 12, None, None), missed(580, 2), rebound(579, 11), LAST],
     [("home", 2, 0, "made_shot"), ("away", 0, 0, "jump_ball"), ("home", 0, 0, "rebound"), ("away", 0, 0, "turnover")]),
    ([made_shot(600, 1), made_shot(580, 2), LAST], [("home", 4, 0, "made_shot"), ("away", 0, 0, "turnover")]),
    # the end: more than two seconds are a possession, two are none, a shot is always one
    ([made_shot(3, 1)], [("home", 2, 0, "made_shot"), ("away", 0, 0, "period_end")]),
    ([made_shot(2, 1)], [("home", 2, 0, "made_shot")]),
    ([made_shot(2, 1), missed(0, 11)], [("home", 2, 0, "made_shot"), ("away", 0, 0, "period_end")]),
    ([made_shot(2, 1), missed(0, 11), rebound(0, "away")], [("home", 2, 0, "made_shot"), ("away", 0, 0, "period_end")]),
    ([made_shot(2, 1), missed(0, 11), rebound(0, "home")], [("home", 2, 0, "made_shot"), ("away", 0, 0, "rebound")]),
    ([made_shot(2.1, 1)], [("home", 2, 0, "made_shot"), ("away", 0, 0, "period_end")]),
    # points after the last possession are not lost
    ([made_shot(2, 1), foul(1, 16, "technical"), throw(1, 2, "1 of 1", kind="technical")], [("home", 3, 0, "made_shot")]),
    ([made_shot(2, 1), foul(1, 6, "technical"), throw(1, 12, "1 of 1", kind="technical")], [("home", 2, 1, "made_shot")]),
])
def test_where_possessions_end(script, wanted):
    assert cut(*script) == wanted
    plays, lineups = hand(script)
    p = lineups.possessions
    sides = np.where(p["offense_id"] == HAWKS, "home", "away")
    got = list(zip(p["period"], sides, p["first_order"], p["last_order"], p["points"], p["defense_points"], p["end"], strict=True))
    assert got == plain_possessions(events_of(plays, HAWKS))


def test_a_possession_counts_for_the_ten_of_the_foul():
    """Who comes in between the free throws had no part in it; the next possession is his."""
    script = [foul(600, 11), throw(600, 1, "1 of 2"), sub(600, 12, 16), sub(600, 1, 6), throw(600, 1, "2 of 2"), loss(590, 16),
              loss(580, 6)]
    with pytest.raises(SportsmlError, match="acts without being on the floor"):
        hand(script)  # 1 shoots after he has gone
    script[3] = sub(600, 2, 6)
    _, lineups = hand(script)
    p, s = lineups.possessions, lineups.stints
    fives = s.set_index("stint").loc[p["stint"], [f"away_{i}" for i in range(1, 6)]].to_numpy().tolist()
    assert fives[0] == [11, 12, 13, 14, 15] and fives[1] == [11, 13, 14, 15, 16] and p["end"].tolist()[0] == "free_throw"


def five(lineups, period, side="home", stint=0):
    rows = lineups.stints[lineups.stints["period"] == period]
    return rows.iloc[stint][[f"{side}_{i}" for i in range(1, 6)]].tolist()


def test_a_hidden_starter_is_one_of_the_last_five():
    """Player 5 does nothing in the second period; 4 is replaced in the first and stays out."""
    _, lineups = hand([sub(500, 4, 6), LAST], [made_shot(700, 1, mate=2), made_shot(600, 11), foul(500, 3), foul(400, 6, other=12)])
    assert five(lineups, 2) == [1, 2, 3, 5, 6]
    home = lineups.issues[lineups.issues["team_id"] == HAWKS]
    assert home["unseen"].tolist() == [1] and home["guesses"].tolist() == [0] and lineups.refused == []


def test_who_comes_in_later_did_not_start():
    """Of the last five, 5 comes in during the period, so 4 is the hidden one."""
    _, lineups = hand([LAST], [foul(700, 1), foul(690, 2), foul(680, 3), foul(670, 6), sub(600, 6, 5), LAST])
    assert five(lineups, 2) == [1, 2, 3, 4, 6] and lineups.issues["guesses"].sum() == 0


THIRD = ([sub(600, 5, 6), LAST], [foul(700, 1), foul(690, 2), foul(680, 3), foul(660, 7), LAST])


def test_an_override_and_minutes_decide_where_several_fit():
    """In the second period 7 is new, so one of 4 and 6 is hidden; both ended the first. 4 has played longer, unless somebody knows."""
    _, guess = hand(*THIRD)
    assert five(guess, 2) == [1, 2, 3, 4, 7]
    home = guess.issues[guess.issues["team_id"] == HAWKS]
    assert home["guesses"].tolist() == [1] and home["unseen"].tolist() == [1]
    told = pd.DataFrame({"game_id": ["0021500001", "0021500009"], "period": [2, 2], "player_id": [6, 4], "reason": ["seen", "seen"]})
    _, known = hand(*THIRD, overrides=told)
    assert five(known, 2) == [1, 2, 3, 6, 7] and known.issues[known.issues["team_id"] == HAWKS].empty
    minutes = pd.DataFrame({"game_id": "0021500001", "player_id": [4, 6], "seconds": [720.0, 600.0 + 720.0]})
    _, counted = hand(*THIRD, minutes=minutes)
    assert five(counted, 2) == [1, 2, 3, 6, 7]
    _, counted = hand(*THIRD, minutes=minutes.assign(seconds=[1440.0, 600.0]))
    assert five(counted, 2) == [1, 2, 3, 4, 7]


def test_an_override_of_a_sixth_is_refused():
    told = pd.DataFrame({"game_id": "0021500001", "period": [1], "player_id": [6], "reason": "wrong"})
    with pytest.raises(SportsmlError, match="is the sixth"):
        hand([sub(600, 5, 6), LAST], overrides=told)


@pytest.mark.parametrize("script, problem", [
    ([foul(700, 6)], "is the sixth"),
    ([sub(600, 5, 6), sub(500, 5, 7)], "goes out without being on the floor"),
    ([sub(600, 5, 6), sub(500, 4, 6)], "comes in twice"),
    ([sub(600, 5, 6), sub(500, 1, 2)], "comes in twice"),
    ([sub(600, 5, 6), made_shot(500, 5)], "acts without being on the floor"),
    ([sub(600, 5, 6), made_shot(500, 1, mate=5)], "acts without being on the floor"),
    ([sub(600, 5, 6), foul(500, 11, other=5)], "acts without being on the floor"),
    ([sub(600, 5, None)], "not named"),
    ([sub(600, 15, 5)], "for the other team"),
])
def test_a_game_that_contradicts_itself(script, problem):
    """Alone it is an error; among others it is refused with the row that shows it, and the others stay."""
    with pytest.raises(SportsmlError, match=problem):
        hand(script)
    good, alone = hand([made_shot(600, 1), LAST])
    bad = pd.concat([good.iloc[:10], hand_rows(script)], ignore_index=True).assign(game_id="0021500002")
    bad["order"] = range(len(bad))
    games = pd.DataFrame({"game_id": ["0021500001", "0021500002"], "home_id": HAWKS, "away_id": CELTICS})
    both = build_lineups(games, pd.concat([good, bad], ignore_index=True))
    assert both.refused == ["0021500002"] and set(both.stints["game_id"]) == {"0021500001"}
    pd.testing.assert_frame_equal(both.stints, alone.stints)
    pd.testing.assert_frame_equal(both.possessions, alone.possessions)
    assert both.issues.loc[both.issues["problem"] != "", "problem"].str.contains(problem).any()


def hand_rows(script):
    """Rows of the same form without building."""
    rows = [(1, t, event, None if who is None else HAWKS if who < 10 else CELTICS, who, other, None, 0, kind, None, None)
            for t, event, who, other, kind, _ in script]
    columns = ["period", "seconds_left", "event", "team_id", "player1_id", "player2_id", "player3_id", "points", "kind", "trip_number",
               "trip_length"]
    return pd.DataFrame(rows, columns=columns).astype(TYPES)


def test_the_bench_proves_nothing():
    """Technical fouls, ejections and technical free throws of players who are not on the floor."""
    _, lineups = hand([foul(700, 6, "technical"), foul(690, 7, "double technical", 16), (680, "ejection", 8, None, "other", None),
                       throw(670, 9, "1 of 1", kind="technical"), foul(660, 6, "defensive 3 seconds"), made_shot(600, 1), LAST])
    assert five(lineups, 1) == [1, 2, 3, 4, 5] and lineups.issues.empty


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_little_to_tell(rows):
    """A game in which nobody acts is an error, not a crash."""
    games = pd.DataFrame({"game_id": [f"002150000{g}" for g in range(3)], "home_id": HAWKS, "away_id": CELTICS})
    script = hand_rows([(0, "period_end", None, None, None, None)] * max(rows, 1))
    plays = pd.concat([script.assign(game_id=g, period=1) for g in games["game_id"]], ignore_index=True)
    with pytest.raises(SportsmlError, match="none of 3 games holds together.*fewer than five" if rows else "do not match"):
        build_lineups(games, plays if rows else plays.iloc[:2])


def test_a_crowd_is_refused():
    """More people than a game can have."""
    script = [foul(700 - i, 100 + i if i % 2 else 1000 + i) for i in range(80)]
    with pytest.raises(SportsmlError, match="sixth|fewer than five"):
        hand([(t, e, 1 + i % 5, 1000 + i, k, f) for i, (t, e, _, _, k, f) in enumerate(script)])


def test_plays_and_games_must_belong_together(made):
    games, plays = made
    for g, p in ((games.iloc[1:], plays), (games, plays[plays["game_id"] != games["game_id"][2]]), (games, plays.iloc[::-1])):
        with pytest.raises(SportsmlError, match="do not match"):
            build_lineups(g.reset_index(drop=True), p.reset_index(drop=True))
    with pytest.raises(SportsmlError, match="stints for"):
        on_floor(plays.iloc[:-1], build_lineups(games, plays).stints)


# ---- substitutions that get lost


def lost_substitutions(games, plays, number):
    """One copy of the first game for each substitution that is dropped."""
    first = plays[plays["game_id"] == games["game_id"][0]].astype({"game_id": str})
    subs = np.flatnonzero(first["event"] == "substitution")[:number]
    parts = [first.drop(index=first.index[s]).assign(game_id=f"00215{90000 + k}") for k, s in enumerate(subs)]
    parts = [p.assign(order=range(len(p))) for p in parts]
    copies = pd.concat([games.iloc[[0]].assign(game_id=p["game_id"].iloc[0], events=len(p)) for p in parts], ignore_index=True)
    return copies, pd.concat(parts, ignore_index=True)


def refused_share(games, plays):
    """What is not refused holds together: nobody acts who is not on the floor."""
    lineups = build_lineups(games, plays)
    left = games[~games["game_id"].isin(lineups.refused)].reset_index(drop=True)
    checks = check_games(left, plays[plays["game_id"].isin(left["game_id"])].reset_index(drop=True), lineups)
    assert (checks[["short_handed", "strangers", "points_off", "seconds_off"]] == 0).all(axis=None)
    rows = lineups.issues[lineups.issues["problem"] != ""]
    assert set(rows["game_id"]) == set(lineups.refused) and rows["problem"].str.len().gt(10).all()
    return len(lineups.refused) / len(games)


def test_a_lost_substitution_is_found(made):
    assert refused_share(*lost_substitutions(*made, 60)) > 0.8


# ---- files of overrides and minutes


def test_files_of_overrides(tmp_path):
    path = tmp_path / "o.csv"
    path.write_text("game_id,period,player_id,reason\n21500001,2,6,video\n")
    assert read_overrides(path).iloc[0].tolist() == ["0021500001", 2, 6, "video"]
    assert read_overrides(tmp_path / "none.csv").empty
    for row, why in (("21500001,2,6,", "needs a reason"), ("21500001,x,6,video", "period 'x'"), ("21500001,2", "2 fields instead of 4"),
                     ("21500001,2,,video", "player_id ''"), ("1e3,2,6,video", "game_id '1e3'")):
        path.write_text(f"game_id,period,player_id,reason\n21500001,2,6,video\n{row}\n")
        with pytest.raises(SportsmlError, match=f"o.csv:3: .*{why}"):
            read_overrides(path)


def test_files_of_minutes(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("GAME_ID,PLAYER_ID,MIN\n0021500001,6,34:12\n21500001,7,34.000000:12\n21500001.0,8.0,20.5\n21500001,9,\n")
    assert read_minutes(path)["seconds"].tolist() == [2052.0, 2052.0, 1230.0]
    assert read_minutes(path)["game_id"].unique().tolist() == ["0021500001"]
    path.write_text("GAME_ID,PLAYER_ID,MIN\n0021500001,6,34:12\n0021500001,7,DNP\n")
    with pytest.raises(SportsmlError, match="m.csv:3: MIN 'DNP' is not a time"):
        read_minutes(path)


# ---- the real games


@real
def test_all_real_games():
    games, plays = real_games()
    lineups = build_lineups(games, plays)
    assert len(games) == 491 and lineups.refused == []
    rules_hold(games, plays, lineups)
    checks = check_games(games, plays, lineups)
    difference = (checks["home_possessions"] - checks["away_possessions"]).abs()
    assert difference.max() <= 3 and difference.mean() < 1
    assert checks[["home_possessions", "away_possessions"]].mean().between(94, 99).all()
    assert lineups.issues["unseen"].sum() <= 5 and lineups.issues["guesses"].sum() == 0


@real
def test_real_fives_and_possessions_equal_plain_loops():
    compare_with_plain(*real_games(12))


@real
def test_real_games_mirror_and_lose_substitutions():
    games, plays = real_games(12)
    test_home_and_away_mirror((games, plays))
    test_the_order_of_games_does_not_matter((games, plays))
    assert refused_share(*lost_substitutions(games, plays, 60)) > 0.8


def test_minutes_of_another_game_change_no_guess():
    minutes = pd.DataFrame({"game_id": "0021500009", "player_id": [4, 6], "seconds": [0.0, 2880.0]})
    _, guess = hand(*THIRD, minutes=minutes)
    assert five(guess, 2) == [1, 2, 3, 4, 7]
