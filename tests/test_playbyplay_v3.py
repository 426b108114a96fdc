"""Play-by-play v3: v2 games written in v3's manner must come back as they were, and what cannot be read must be named.

`to_v3` follows real v3 rows of the 2024 playoffs (nba_data). Not seen there, hence assumed: double fouls, official timeouts, violations and
fouls of a team, the words of kinds that are rarer still.
"""
import os
from pathlib import Path

import polars as pl
import pytest

from sportsml.nba.playbyplay_v3 import V3_COLUMNS, from_v3

HAWKS, CELTICS = 1610612737, 1610612738
TYPES = {1: "Made Shot", 2: "Missed Shot", 3: "Free Throw", 4: "Rebound", 5: "Turnover", 6: "Foul", 7: "Violation", 8: "Substitution",
         9: "Timeout", 10: "Jump Ball", 11: "Ejection", 12: "period", 13: "period", 18: "Instant Replay"}
KINDS = {
    4: {0: "Unknown", 1: "Normal Rebound"},
    5: {0: "No Turnover", 1: "Bad Pass", 2: "Lost Ball", 3: "Out of Bounds", 4: "Traveling", 5: "Foul Turnover", 6: "Double Dribble",
        7: "Discontinue Dribble", 8: "3 Second Violation", 9: "5 Second Violation", 10: "8 Second Violation", 11: "Shot Clock Turnover",
        12: "Inbound Turnover", 13: "Backcourt Turnover", 15: "Offensive Goaltending", 17: "Lane Violation", 18: "Jump Ball Violation",
        19: "Kicked Ball Violation", 20: "Illegal Assist Turnover", 21: "Palming Turnover", 33: "Punched Ball Turnover",
        35: "Basket from Below Turnover", 36: "Illegal Screen Turnover", 37: "Offensive Foul Turnover", 38: "5 Second Inbound",
        39: "Step Out of Bounds Turnover", 40: "Out of Bounds Lost Ball Turnover", 41: "Poss Lost Ball Turnover",
        45: "Out of Bounds - Bad Pass Turnover"},
    6: {1: "Personal", 2: "Shooting", 3: "Loose Ball", 4: "Offensive", 5: "Inbound", 6: "Away From Play", 9: "Clear Path",
        10: "Double Personal", 11: "Technical", 13: "Hanging Technical", 14: "Flagrant Type 1", 15: "Flagrant Type 2",
        16: "Double Technical", 17: "Defense 3 Second", 18: "Delay Technical", 19: "Taunting", 26: "Offensive Charge",
        27: "Personal Block", 28: "Personal Take", 29: "Shooting Block", 30: "Too Many Players Technical"},
    7: {1: "Delay Of Game", 2: "Defensive Goaltending", 3: "Lane", 4: "Jump Ball", 5: "Kicked Ball", 6: "Double Lane"},
    9: {1: "Regular", 2: "Short", 4: "Official"}, 11: {1: "Second Technical", 3: "First Flagrant Type 2", 4: "Other"},
    12: {0: "start"}, 13: {0: "end"}}
TWINS = {40: 5, 45: 1, 48: 7, 55: 3, 2: 46}  # codes of shots whose words v2 also gives to another code


def number(column):
    return pl.col(column).str.strip_suffix(".0").cast(pl.Int64, strict=False).fill_null(0)


def typed(v2):
    """Adds the numbers of v2 text rows: type `t`, kind `a`, person type `who`, ids."""
    ids = {f"{who}{i}": number(f"PLAYER{i}_{column}") for i in (1, 2, 3) for who, column in (("p", "ID"), ("team", "TEAM_ID"))}
    return v2.with_row_index("row").with_columns(t=number("EVENTMSGTYPE"), a=number("EVENTMSGACTIONTYPE"), who=number("PERSON1TYPE"), **ids)


def person(i, there):
    """The four columns of v3 that say who acts; a v2 name is the full one, v3 has the family name and the one with an initial."""
    name = pl.col(f"PLAYER{i}_NAME").fill_null("")
    family = name.str.replace(r"^\S+ (Michael )?", "")
    return {"teamId": pl.when(there).then(f"team{i}").otherwise(0), "personId": pl.col(f"p{i}"),
            "playerName": pl.when(there).then(family).otherwise(pl.lit("")),
            "playerNameI": pl.when(there).then(name.str.slice(0, 1) + ". " + family).otherwise(pl.lit(""))}


def v3_words(t):
    """What v3 calls a kind; shots and free throws as the description says it, with v3's whims of spelling."""
    home, away = pl.col("HOMEDESCRIPTION"), pl.col("VISITORDESCRIPTION")
    said = pl.when(home.str.starts_with("MISS")).then(home).otherwise(away) if t == 2 else pl.coalesce(home, away)
    if t == 3:
        return said.str.extract(r"(Free Throw .*?)(?: \(|$)")
    if t <= 2:
        shot = said.str.extract(r"(?:\d'|  ) ?(?:3PT )?([A-Z].*?)(?: \(|$)").str.replace("Jumper$", "Jump").str.replace(" Shot$", "")
        return shot + pl.when(shot.str.contains("Step Back Jump|Pullup|^Floating|Turnaround Fadeaway$")).then(pl.lit(" shot")).otherwise(
            pl.lit(" Shot"))
    return pl.col("a").replace_strict(KINDS.get(t, {}), default="", return_dtype=pl.String)


def to_v3(v2):
    """Writes v2 text rows as v3 would: who acts, and the rest in words; steals and blocks in rows of their own."""
    d, player = typed(v2), pl.col("who").is_in([4, 5])
    location = pl.col("who").replace_strict({2: "h", 4: "h", 3: "v", 5: "v"}, default="")
    kind = pl.coalesce(pl.when(pl.col("t") == t).then(v3_words(t)) for t in TYPES)
    names = [pl.col(f"PLAYER{i}_NAME").str.replace(r"^\S+ ", "") for i in (1, 2)]
    scored, score = pl.col("t").is_in([1, 3, 12, 13]), pl.col("SCORE").str.split(" - ")
    d = d.with_columns(location=location, kind=kind, double=(pl.col("t") == 6) & pl.col("a").is_in([10, 16]))
    at_home, away = pl.col("location") == "h", pl.col("location") == "v"
    same = {"gameId": pl.col("GAME_ID").str.strip_prefix("00"), "actionNumber": pl.col("EVENTNUM"), "period": pl.col("PERIOD"),
            "clock": "PT" + pl.col("PCTIMESTRING").str.zfill(5).str.replace(":", "M") + ".00S"}
    acts = d.select("row", same_row=pl.lit(0), **same, **person(1, player), location="location", subType="kind",
                    actionType=pl.col("t").replace_strict(TYPES), scoreAway=pl.when(scored).then(score.list.first()),
                    scoreHome=pl.when(scored).then(score.list.last()),
                    description=pl.when("double").then(pl.format("{} - {}, {} (A.Referee)", "kind", *names)).when(at_home).then(
                        "HOMEDESCRIPTION").when(away).then("VISITORDESCRIPTION").otherwise("NEUTRALDESCRIPTION"))
    added = [d.filter(pl.col("t") == t, pl.col(f"p{i}") > 0).select(
        "row", same_row=pl.lit(1), **same, **person(i, True), location=pl.when(at_home).then(pl.lit("v")).otherwise(pl.lit("h")),
        description=pl.when(at_home).then("VISITORDESCRIPTION").otherwise("HOMEDESCRIPTION")) for t, i in ((5, 2), (2, 3))]
    rows = pl.concat([acts, *added], how="diagonal_relaxed").sort("row", "same_row")
    rows = rows.with_columns(actionId=pl.int_range(1, pl.len() + 1).over("gameId"))
    return rows.select(pl.col(c).cast(pl.String).fill_null("") for c in V3_COLUMNS)


NAMES = {11: "Ann Hill Jr.", 12: "Bob Stone", 13: "Cy Stone", 14: "Luka Dončić", 21: "Jalen Lee", 22: "Jaylin Lee", 23: "Eve Fox",
         24: "Gus Mbah a Moute"}


def v2_row(number, t, a, clock, home=None, away=None, who=0, players=(), score=None, team=None):
    """One v2 row; players are ids, those below 20 at home; a team acts where `team` is given."""
    row = {"GAME_ID": "0029900001", "EVENTNUM": str(number), "EVENTMSGTYPE": str(t), "EVENTMSGACTIONTYPE": str(a), "PERIOD": "1",
           "PCTIMESTRING": clock, "HOMEDESCRIPTION": home, "NEUTRALDESCRIPTION": None, "VISITORDESCRIPTION": away, "SCORE": score,
           "PERSON1TYPE": f"{who}.0"}
    for i, player in enumerate((*players, 0, 0, 0)[:3], 1):
        row |= {f"PLAYER{i}_ID": str(player), f"PLAYER{i}_NAME": NAMES.get(player),
                f"PLAYER{i}_TEAM_ID": f"{HAWKS if player < 20 else CELTICS}.0" if player else None}
    return row | ({"PLAYER1_ID": str(team)} if team else {})


GAME = pl.DataFrame([
    v2_row(0, 12, 0, "12:00"),
    v2_row(1, 10, 0, "12:00", "Jump Ball Hill Jr. vs. Fox: Tip to B. Stone", None, 4, (11, 23, 12)),
    v2_row(3, 2, 80, "11:40", "MISS B. Stone 17' Step Back Jump Shot", "Fox BLOCK (1 BLK)", 4, (12, 0, 23)),
    v2_row(5, 4, 0, "11:38", None, "Celtics Rebound", 3, team=CELTICS),
    v2_row(4, 1, 42, "11:20", None, "Jal. Lee 2' Driving Layup (2 PTS) (Jay. Lee 1 AST)", 5, (21, 22), "2 - 0"),
    v2_row(6, 5, 1, "11:01", "Doncic Bad Pass Turnover (P1.T1)", "Jay. Lee STEAL (1 STL)", 4, (14, 22)),
    v2_row(7, 6, 2, "10:50", "Hill Jr. S.FOUL (P1.T1) (A.Referee)", None, 4, (11,)),
    v2_row(8, 3, 11, "10:50", None, "MISS Fox Free Throw 1 of 2", 5, (23,)),
    v2_row(9, 4, 1, "10:50", None, "Celtics Rebound", 3, team=CELTICS),
    v2_row(12, 8, 0, "10:50", "SUB: C. Stone FOR B. Stone", None, 4, (12, 13)),
    v2_row(11, 3, 12, "10:50", None, "Fox Free Throw 2 of 2 (1 PTS)", 5, (23,), "3 - 0"),
    v2_row(13, 9, 1, "10:30", "HAWKS Timeout: Regular (Full 1 Short 0)", None, 2, team=HAWKS),
    v2_row(14, 5, 11, "10:10", "HAWKS Turnover: Shot Clock (T#2)", None, 2, team=HAWKS),
    v2_row(15, 6, 16, "10:10", None, None, 4, (14, 23)),
    v2_row(16, 6, 17, "10:05", None, "CELTICS T.Foul (Def. 3 Sec Fox ) (A.Referee)", 5, (23,)),
    v2_row(17, 8, 0, "10:00", None, "SUB: Mbah a Moute FOR Jay. Lee", 5, (22, 24)),
    v2_row(18, 1, 1, "9:50", "C. Stone 24' 3PT Jump Shot (3 PTS) (Doncic 1 AST)", None, 4, (13, 14), "3 - 3"),
    v2_row(19, 2, 97, "9:30", None, "MISS Mbah a Moute  Tip Layup Shot", 5, (24,)),
    v2_row(20, 7, 5, "9:20", None, "Fox Violation:Kicked Ball (A.Referee)", 5, (23,)),
    v2_row(21, 11, 1, "9:20", None, "Fox Ejection:Second Technical", 5, (23,)),
    v2_row(22, 13, 0, "0:00", score="3 - 3"),
], infer_schema_length=None)


def compare(v2, events):
    """Sets v2 rows and what came back through v3 side by side; w_ is wanted, g_ got."""
    keep = ["GAME_ID", "EVENTNUM", "PERIOD", "t", "a", "who", *(f"{w}{i}" for w in ("p", "team") for i in (1, 2, 3))]
    wanted = typed(v2).with_columns(score=pl.when(pl.col("t").is_in([1, 3, 13])).then("SCORE"), a=pl.when(pl.col("t") <= 2).then(
        pl.col("a").replace(TWINS)).otherwise("a"), seconds=number_of_seconds())
    got = typed(events).with_columns(score=pl.when(pl.col("t").is_in([1, 3, 13])).then("SCORE"), seconds="SECONDS_LEFT")
    keep += ["score", "seconds"]
    both = pl.concat([wanted.select(pl.col(keep).name.prefix("w_")), got.select(pl.col(keep).name.prefix("g_"))], how="horizontal")
    return both, (pl.Series([c for c in keep if not both[f"w_{c}"].equals(both[f"g_{c}"])], dtype=pl.String).to_list())


def number_of_seconds():
    clock = pl.col("PCTIMESTRING").str.split(":").list.eval(pl.element().cast(pl.Float64))
    return clock.list.first() * 60 + clock.list.last()


def test_a_game_comes_back_as_it_was():
    events = from_v3(to_v3(GAME))
    both, different = compare(GAME, events)
    assert different == [], both.select(pl.col(f"{side}_{c}" for c in different for side in "wg"))
    assert events["_reason"].null_count() == len(GAME)
    for side in ("HOMEDESCRIPTION", "VISITORDESCRIPTION"):
        said = pl.col("EVENTMSGTYPE") != "6"  # a double foul has words in v3 only
        assert events.filter(said)[side].equals(GAME.filter(said)[side])


def test_the_order_of_the_file_its_zeros_and_its_nulls_do_not_matter():
    rows = to_v3(GAME)
    want = from_v3(rows)
    assert from_v3(rows.sample(fraction=1, shuffle=True, seed=1)).equals(want)
    nulls = pl.col("playerName", "location", "scoreHome").replace("", None)
    whole = rows.with_columns(pl.col("gameId").str.zfill(10), pl.col("teamId") + ".0", nulls, more=pl.lit("x"))
    assert from_v3(whole).equals(want)
    other = rows.with_columns(gameId=pl.lit("29900002"))
    assert from_v3(pl.concat([other, rows])).head(len(want)).equals(want)


def test_tenths_of_seconds_are_kept_and_places_pass_through():
    rows = to_v3(GAME).with_columns(clock=pl.lit("PT00M07.90S"), _file=pl.lit("x.csv")).with_row_index("_line", 2)
    events = from_v3(rows)
    assert set(events["SECONDS_LEFT"]) == {7.9} and set(events["_file"]) == {"x.csv"}
    assert events["_line"].to_list()[:4] == [2, 3, 4, 6]  # the block had line 5


@pytest.mark.parametrize(("column", "value", "reason"), [
    ("actionType", "Levitation", "actionType 'Levitation' with subType '' is unknown"),
    ("clock", "11:40", "clock '11:40' is not like PT11M42.00S"),
    ("actionId", "first", "actionId 'first' is no number"),
    ("gameId", "abc", "gameId 'abc'"),
])
def test_an_unreadable_row_is_named_and_the_rest_stays(column, value, reason):
    rows = to_v3(GAME).with_row_index("_line", 2)
    shot = rows["description"].to_list().index("SUB: C. Stone FOR B. Stone")
    events = from_v3(rows.with_columns(pl.when(pl.col("_line") == shot + 2).then(pl.lit(value)).otherwise(column).alias(column)))
    bad = events.filter(pl.col("EVENTMSGTYPE").is_null())
    assert bad["_line"].to_list() == [shot + 2] and reason in bad["_reason"][0]
    assert events.filter(pl.col("_line") != shot + 2)["_reason"].null_count() == len(events) - 1


def test_a_steal_without_its_turnover_is_named():
    rows = to_v3(GAME).filter(pl.col("actionType") != "Turnover")
    events = from_v3(rows)
    assert events.filter(pl.col("EVENTMSGTYPE").is_null())["_reason"].to_list() == [
        "no turnover or miss has this steal's or block's actionNumber 6"]


def v3_row(i, kind, words, *, sub="", person=0, family="", team=0, side="", score=("", ""), game="29900007"):
    values = [game, str(i), str(i), "1", "PT05M00.00S", str(team), str(person), family, family and f"X. {family}", side, *score, kind, sub]
    return dict(zip(V3_COLUMNS, [*values, words], strict=True))


def read(*rows):
    return from_v3(pl.DataFrame(rows))


def test_rows_that_v3_alone_has():
    """Replays with a stale score and an event's number for a person, coaches, challenged jump balls, a team's heave, trailing spaces."""
    home = {"team": HAWKS, "side": "h"}
    events = read(
        v3_row(1, "Instant Replay   ", "Instant Replay3rd Period (9:07 PM EST)", sub="Replay Center", person=387, score=("62", "65")),
        v3_row(2, "Foul", "Some Coach Foul:T.FOUL (A.Referee)", sub="Technical", person=1320),
        v3_row(3, "Jump Ball", "Jump Ball (CC) Hill vs. Fox: Tip to ", sub="Coach Challenge", person=11, family="Hill", **home),
        v3_row(4, "Heave", "MISS HAWKS Heave", sub="Team Field Goal Attempt", **home),
        v3_row(5, "Turnover", "Fox Traveling Turnover (P1.T1)", sub="Traveling", person=23, family="Fox", team=CELTICS, side="v"),
        v3_row(6, "game", "Game End", sub="end"))
    assert events["EVENTMSGTYPE"].to_list() == ["18", "6", "10", "2", "5", "18"]
    assert events["SCORE"].null_count() == 6 and events["PLAYER1_ID"].to_list() == [None, None, "11", str(HAWKS), "23", None]
    assert events["PERSON1TYPE"].to_list() == [None, None, "4", "2", "5", None]
    assert events["PLAYER2_ID"].to_list() == [None, None, "23", None, None, None] and events["_reason"].null_count() == 6


def act(i, person, game="29900007"):
    return v3_row(i, "Rebound", "Lee REBOUND (Off:0 Def:1)", person=person, family="Lee", team=HAWKS, side="h", game=game)


def sub(i, into, person, family="Lee", game="29900007"):
    return v3_row(i, "Substitution", f"SUB: {into} FOR {family}", person=person, family=family, team=HAWKS, side="h", game=game)


def test_two_of_the_same_name_are_told_apart_where_the_game_tells():
    """Lee is 1 or 2. Who is on the floor does not come in; who went out and acts again came in between."""
    assert read(act(1, 1), sub(2, "Lee", 9, "Fox"), act(3, 2))["PLAYER2_ID"].to_list() == [None, "2", None]
    assert read(sub(1, "Fox", 1), sub(2, "Lee", 9, "Fox"), act(3, 1), act(4, 2))["PLAYER2_ID"][1] == "1"
    assert read(sub(1, "Lee", 1), act(2, 2))["PLAYER2_ID"][0] == "2"
    silent = read(act(1, 1), sub(2, "Lee", 9, "Fox"), act(3, 2, "29900008"))  # 2 plays for the team, but shows nowhere else in this game
    assert silent["PLAYER2_ID"].null_count() == 3 and silent["_reason"].null_count() == 2
    open_ = read(sub(1, "Lee", 9, "Fox"), act(2, 1), act(3, 2))  # either may have started
    assert open_["PLAYER2_ID"][0] is None and "names Lee, but not exactly one" in open_["_reason"][0]


def test_who_does_nothing_in_a_game_is_known_from_another_one_of_the_season():
    silent = [sub(1, "Lee", 9, "Fox"), sub(2, "Fox", 8, "Poe")]
    assert read(*silent)["PLAYER2_ID"].to_list() == [None, "9"]
    assert read(*silent, act(1, 1, "29900008"))["PLAYER2_ID"].to_list() == ["1", "9", None]
    assert read(*silent, act(1, 1, "20000008"))["PLAYER2_ID"].to_list() == [None, None, "9"]  # of another season: it does not count


FOLDER = Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba" / "pbp"


@pytest.mark.skipif(not FOLDER.exists(), reason="SPORTSML_RAW does not hold the real play-by-play")
def test_real_games_come_back_as_they_were():
    """All that v3 says comes back; nobody is taken for somebody else; few players are missing."""
    files = sorted(FOLDER.glob("*.csv"))[::8]
    v2 = pl.concat([pl.read_csv(f, infer_schema=False).select(GAME.columns) for f in files])
    both, different = compare(v2, from_v3(to_v3(v2)))
    assert set(different) <= {"a", "who", "p1", "p2", "p3", "team2", "team3"}
    kind = pl.col("w_t")
    assert both.filter(kind != 18, pl.col("w_a") != pl.col("g_a")).is_empty()
    assert both.filter(kind != 18, pl.col("w_p1") != pl.col("g_p1"), pl.col("w_who") < 6).is_empty()  # coaches are left out
    for i in (1, 2, 3):
        assert both.filter(pl.col(f"g_p{i}") > 0, pl.col(f"g_p{i}") != pl.col(f"w_p{i}")).is_empty()
    found = both.group_by("w_t").agg(second=(pl.col("w_p2") == pl.col("g_p2")).mean(), third=(pl.col("w_p3") == pl.col("g_p3")).mean())
    share = {t: (second, third) for t, second, third in found.iter_rows()}
    assert share[8][0] > 0.99 and share[1][0] > 0.995 and share[5][0] == 1 and share[2][1] == 1 and share[10][0] > 0.99
