"""Simulated seasons in the files of public sources: the wording of the real files, and a round trip through the readers."""
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sportsml.core import SportsmlError, project_paths
from sportsml.nba import sim_files as f
from sportsml.nba.playbyplay import read_playbyplay
from sportsml.nba.sim_games import PlayLeagueConfig, simulate_play_league
from sportsml.nba.spacing import read_shots

HOME, AWAY = 1610612757, 1610612746  # Trail Blazers, Clippers

# ---- what the real files look like: patterns distilled from 491 games of 2015-16, no rows

TEAM_ID, WORD = r"16106127\d\d", r"[\p{L}0-9.' -]+"
COLUMNS = {
    "GAME_ID": r"002\d{7}", "EVENTNUM": r"\d{1,3}", "EVENTMSGTYPE": r"\d\d?", "EVENTMSGACTIONTYPE": r"\d{1,3}", "PERIOD": r"\d\d?",
    "WCTIMESTRING": r"(1[0-2]|[1-9]):[0-5]\d [AP]M", "PCTIMESTRING": r"(1[0-2]|\d):[0-5]\d", "HOMEDESCRIPTION": ".*",
    "NEUTRALDESCRIPTION": "", "VISITORDESCRIPTION": ".*", "SCORE": r"(\d{1,3} - \d{1,3})?", "SCOREMARGIN": r"(-?[1-9]\d?|TIE)?"}
for k, kinds in ((1, r"([0-7](\.0)?)?"), (2, "[045]"), (3, "[0-5]")):
    COLUMNS |= {f"PERSON{k}TYPE": kinds, f"PLAYER{k}_ID": r"\d{1,10}", f"PLAYER{k}_NAME": f"({WORD})?",
                f"PLAYER{k}_TEAM_ID": rf"({TEAM_ID}\.0)?", f"PLAYER{k}_TEAM_CITY": "([A-Z][A-Za-z ]+)?",
                f"PLAYER{k}_TEAM_NICKNAME": "([A-Z7][A-Za-z6 ]+)?", f"PLAYER{k}_TEAM_ABBREVIATION": "([A-Z]{3})?"}
NAME, REFEREE, COUNT = r"\p{Lu}[\p{L}.' -]*?", r"\(([A-Z]\.[A-Z]\w+|\.)?\)", r"P\d\.(T\d|PN)"
SHOT = rf"{NAME} (\d+')?( 3PT)? ([A-Z][\w-]+ )*(Shot|Layup|Dunk|Jumper|Fadeaway)"
THROW = rf"{NAME} Free Throw ((Flagrant |Clear Path )?\d of \d|Technical)"
LOSS = r"([A-Z0-9-][\w-]* |from |of |- )*Turnover"
FOUL = (r"(P|S|L\.B|IN|AWAY\.FROM\.PLAY|C\.P|T|HANGING\.TECH)\.FOUL|FLAGRANT\.FOUL\.TYPE[12]|Taunting"
        r"|(Offensive Charge|\w+ (Take|Block)) Foul")
VIOLATION = r"Violation:(Defensive Goaltending|Lane|Jump Ball|Kicked Ball|Double Lane)"
NICK = r"[A-Z7][\w ]*?"
OWN = {  # what the acting side's column says, by type of event
    1: rf"{SHOT} \(\d+ PTS\)( \({NAME} \d+ AST\))?", 2: rf"MISS {SHOT}", 3: rf"(MISS {THROW}|{THROW} \(\d+ PTS\))",
    4: rf"({NAME} REBOUND \(Off:\d+ Def:\d+\)|{NICK} Rebound)", 5: rf"({NAME} {LOSS} \(P\d+\.T\d+\)|{NICK} Turnover: [\w ]+ \(T#\d+\))",
    6: rf"(({NAME} ({FOUL}) \({COUNT}\)|{NAME} OFF\.Foul \(P\d\)|{NICK} T\.Foul \(Def\. 3 Sec {NAME} \))( {REFEREE})?"
       rf"|{NICK} (Delay|T\.FOUL|Too Many Players Tech Foul))?",
    7: rf"({NAME} {VIOLATION} {REFEREE}|{NICK} Violation: Delay of game Violation)",
    8: rf"SUB: {NAME} FOR {NAME}", 9: rf"({NICK} Timeout: (Regular|Short|Official) \((Full |Reg\.)\d+ Short \d\))?",
    10: rf"Jump Ball {NAME} vs\. {NAME}: Tip to( {NAME})?", 11: rf"({NAME} Ejection:(Second Technical|First Flagrant Type 2|Other))?",
    12: "", 13: ""}
OTHER = {2: rf"{NAME} BLOCK \(\d+ BLK\)", 5: rf"{NAME} STEAL \(\d+ STL\)"}


def unlike_the_source(text: pl.DataFrame) -> dict:
    """Cells that no pattern allows, by column or type of event, with a sample."""
    text = text.fill_null("")
    found = {c: x.first() for c, p in COLUMNS.items() if len(x := text.filter(~pl.col(c).str.contains(f"^(?:{p})$"))[c])}
    for kind, own in OWN.items():
        rows = text.filter(pl.col("EVENTMSGTYPE") == str(kind))
        for mine, theirs in (("HOMEDESCRIPTION", "VISITORDESCRIPTION"), ("VISITORDESCRIPTION", "HOMEDESCRIPTION")):
            extra = pl.col(theirs).str.contains(f"^(?:{OTHER.get(kind, '')})?$")
            rows = rows.filter(~(pl.col(mine).str.contains(f"^(?:{own})$") & extra))
        if len(rows):
            found[kind] = rows.select("HOMEDESCRIPTION", "VISITORDESCRIPTION").row(0)
    return found


def read_text(paths) -> pl.DataFrame:
    return pl.concat([pl.read_csv(p, infer_schema=False) for p in paths])


def test_patterns_fit_the_real_files():
    """Where real files are at hand (SPORTSML_RAW), they pass the same patterns; one has free throws without a name."""
    paths = sorted((project_paths().raw / "nba" / "pbp").glob("0021500*.csv"))
    if not paths:
        pytest.skip("no real play-by-play at hand")
    assert unlike_the_source(read_text(paths)) in ({}, {3: ("", "Free Throw 2 of 2")})


def test_patterns_can_fail():
    row = dict.fromkeys(COLUMNS, "") | {"EVENTMSGTYPE": "8", "HOMEDESCRIPTION": "SUB: Adams FOR Brook"}
    good = pl.DataFrame([row])
    assert 8 not in unlike_the_source(good) and "GAME_ID" in unlike_the_source(good)
    assert 8 in unlike_the_source(good.with_columns(HOMEDESCRIPTION=pl.lit("SUB: Adams for Brook")))
    assert 8 in unlike_the_source(good.with_columns(VISITORDESCRIPTION=pl.lit("Cole STEAL (1 STL)")))


# ---- games of every kind of event, drawn at random

CODES = [(1, a) for a in f._SHOTS] + [(2, a) for a in f._SHOTS] + [(3, a) for a in f._FREE_THROWS] + [(4, 0), (4, 1), (8, 0), (10, 0)] + [
    (5, a) for a in f._TURNOVERS] + [
    (6, a) for a in (*f._FOULS, *f._TEAM_FOULS, f._THREE_SECONDS, 10, 16)] + [
    (7, a) for a in f._VIOLATIONS] + [(9, a) for a in f._TIMEOUTS] + [(11, a) for a in (1, 3, 4)]
TEAM_TURNOVERS, TEAM_EVENTS = (10, 11, 38), ((6, 18), (6, 30), (7, 1), (9, 1), (9, 2), (4, 1))


def random_event(stream, kind, action):
    """side, p1, p2, p3, points, x, y of an event with ten players a team: slots 0..9 home, 10..19 visitors."""
    side = int(stream.integers(2))
    own, other = stream.permutation(10) + 10 * side, stream.permutation(10) + 10 * (1 - side)
    some = stream.random() < 0.5
    if kind == 9 and action == 4:
        return -1, -1, -1, -1, 0, 0, 0
    at_times = (kind, action) in ((4, 0), (6, 11)) and stream.random() < 0.2
    if (kind, action) in TEAM_EVENTS or kind == 5 and action in TEAM_TURNOVERS or at_times:
        return side, -1, -1, -1, 0, 0, 0
    p2 = {1: own[1] if some else -1, 5: other[0] if some and action in (1, 2, 41) else -1, 6: other[0], 8: own[1]}.get(kind, -1)
    p2 = -1 if kind == 6 and action in f._NOT_PERSONAL and action != 16 else p2
    p3 = {2: other[1] if some else -1, 10: (own if some else other)[2]}.get(kind, -1)
    x, y = (int(v) for v in stream.integers([-240, -40], [240, 300])) if kind <= 2 else (0, 0)
    three = np.hypot(x, y) >= 237.5 or abs(x) >= 220 and y <= 90
    points = {1: 3 if three else 2, 3: int(some)}.get(kind, 0)
    if kind == 10:
        side, own, other = 0, np.sort(own), np.sort(other)
        return 0, min(own[0], other[0]), max(own[0], other[0]), p3, 0, 0, 0
    return side, own[0], p2, p3, points, x, y


def random_season(number=25, seed=0):
    """A season of `nba.sim_games`' shape whose events make no basketball sense but use every code."""
    stream, rows = np.random.default_rng(seed), []
    for game in range(number):
        score, order = np.zeros(2, int), 0
        for period in range(1, 6 if game % 5 == 4 else 5):
            codes = [CODES[i] for i in stream.permutation(len(CODES))[:120]]
            length = 300 if period > 4 else 720
            clock = [length, *np.sort(stream.integers(1, length, len(codes)))[::-1], 0]
            for seconds, (kind, action) in zip(clock, [(12, 0), *codes, (13, 0)], strict=True):
                event = (-1, -1, -1, -1, 0, 0, 0) if kind > 11 else random_event(stream, kind, action)
                score[event[0]] += event[4]
                rows.append((game, order, period, seconds, kind, action, *event, *score))
                order += 1
    events = pd.DataFrame(rows, columns=list(f._COLUMNS))
    first = ["Al", "Ben", "Cy", "Dan", "Marcus", "Markus", "Fred", "Gus", "Hal", "Ike"]
    family = ["Adams", "Brook", "O'Cole", "Dorn-Day", "Evers", "Evers", "Frost Jr.", "Gray III", "Hill", "Hill"]
    names = [f"{a} {b}" for a, b in zip(first, family, strict=True)] + [f"{b} {a}son" for a, b in zip(first, first[::-1], strict=True)]
    players = pd.DataFrame({"player_id": 1600001 + np.arange(20), "name": names, "team_id": np.repeat([HOME, AWAY], 10)})
    score = events.groupby("game")[["home_score", "away_score"]].last()
    games = pd.DataFrame({"game": range(number), "game_id": [f"00215{i + 1:05d}" for i in range(number)], "season": 2016,
                          "date": pd.Timestamp("2015-10-27"), "home_id": HOME, "away_id": AWAY, "home_points": score["home_score"],
                          "away_points": score["away_score"], "periods": events.groupby("game")["period"].max()})
    keep = games.index[games["home_points"] != games["away_points"]]
    return SimpleNamespace(events=events[events["game"].isin(keep)].reset_index(drop=True), games=games, players=players)


@pytest.fixture(scope="module")
def season():
    return random_season()


@pytest.fixture(scope="module")
def folder(season, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pbp")
    for game, content in f._cut_by_game(f.playbyplay_frame(season.events, season.games, season.players)).items():
        (folder / f"{game}.csv").write_bytes(content)
    return folder


def test_every_code_is_worded_as_in_the_source(season, folder):
    assert set(zip(season.events["type"], season.events["action"], strict=True)) == {*CODES, (12, 0), (13, 0)}
    text = read_text(sorted(folder.iterdir()))
    assert text.columns == list(COLUMNS) and len(text) == len(season.events)
    assert unlike_the_source(text) == {}


def test_round_trip(season, folder):
    """The reader rejects nothing and gives back every event."""
    read, e, players, games = read_playbyplay(folder, progress=False), season.events, season.players, season.games
    assert len(read.rejects) == 0, read.rejects["reason"].iloc[0]
    plays, ids = read.plays, np.append(players["player_id"].to_numpy(), -1)  # slot -1 is nobody
    plays = plays.sort_values(["game_id", "order"], ignore_index=True)
    assert (plays["game_id"].astype(str).to_numpy() == games["game_id"].to_numpy()[e["game"]]).all()
    for column in ("order", "period", "seconds_left", "points", "home_score", "away_score"):
        assert (plays[column].to_numpy() == e[column].to_numpy()).all(), column
    for k in (1, 2, 3):
        assert (plays[f"player{k}_id"].fillna(-1).astype("int64").to_numpy() == np.where(e[f"p{k}"] < 0, -1, ids[e[f"p{k}"]])).all(), k
    coach = (e["type"] == 6) & (e["action"] == 11) & (e["p1"] < 0)
    team = np.where((e["side"] < 0) | coach, -1, games[["home_id", "away_id"]].to_numpy()[e["game"], e["side"]])
    assert (plays["team_id"].fillna(-1).astype("int64").to_numpy() == team).all()
    shot = (e["type"] <= 2).to_numpy()
    three = np.where(e["points"] > 0, e["points"] == 3, (np.hypot(e["x"], e["y"]) >= 237.5) | (e["x"].abs() >= 220) & (e["y"] <= 90))
    assert (plays["shot_value"][shot].astype("int64").to_numpy() == 2 + three[shot]).all()
    assert (plays["shot_value"][~shot & (e["type"] != 3)].isna()).all()
    said = (plays["shot_distance"].notna() & shot).to_numpy()
    assert said.mean() > 0.2 and (np.abs(plays["shot_distance"] - np.hypot(e["x"], e["y"]) / 10)[said] <= 0.5).all()
    assert read.players["name"].tolist() == players["name"].tolist() and len(read.games) == e["game"].nunique()
    assert (read.games.set_index("game_id")["home_points"] == games.set_index("game_id")["home_points"].loc[read.games["game_id"]]).all()


def obvious_totals(events):
    """Running totals of one game's descriptions, counted event by event."""
    points, assists, rebounds, fouls, lost, team_lost, out, miss = {}, {}, {}, {}, {}, {}, [], None
    for e in events.itertuples():
        own = None
        if e.points:
            points[e.p1] = points.get(e.p1, 0) + e.points
            own = f"({points[e.p1]} PTS)"
        if e.type == 1 and e.p2 >= 0:
            assists[e.p2] = assists.get(e.p2, 0) + 1
            own = f"{assists[e.p2]} AST)"
        if e.type == 2 or e.type == 3 and not e.points:
            miss = e.side
        if e.type == 4 and e.p1 >= 0:
            counts = rebounds.setdefault(e.p1, [0, 0])
            counts[int(e.side != miss)] += 1
            own = "(Off:{} Def:{})".format(*counts)
        if e.type == 5:
            team_lost[e.side] = team_lost.get(e.side, 0) + 1
            if e.p1 >= 0:
                lost[e.p1] = lost.get(e.p1, 0) + 1
            own = f"(P{lost[e.p1]}.T{team_lost[e.side]})" if e.p1 >= 0 else f"(T#{team_lost[e.side]})"
        if e.type == 6 and e.p1 >= 0:
            fouls[e.p1] = fouls.get(e.p1, 0) + (e.action not in f._NOT_PERSONAL)
            own = f"(P{fouls[e.p1]}" if e.action not in (10, 16, 17) else None
        out.append(own)
    return out


def test_totals_equal_a_count_event_by_event(season):
    text = f.playbyplay_frame(season.events, season.games, season.players)
    said = text.select(pl.concat_str("HOMEDESCRIPTION", "VISITORDESCRIPTION", separator=" ", ignore_nulls=True)).to_series()
    told = [x for _, part in season.events.groupby("game") for x in obvious_totals(part)]
    assert sum(x is not None for x in told) > 3000
    assert [(x, s) for x, s in zip(told, said, strict=True) if x and x not in s] == []


def test_team_fouls_and_the_penalty():
    """The fifth foul of a quarter, or the second of its last two minutes, is in the penalty; an offensive foul counts for nobody's team."""
    rows = [(1, 700, 1), (1, 690, 4), (1, 680, 1), (1, 100, 2), (1, 90, 1), (2, 700, 1), (2, 690, 1), (2, 680, 11), (2, 670, 3),
            (2, 660, 1), (2, 650, 2), (5, 290, 1), (5, 280, 1), (5, 270, 1), (5, 260, 1)]
    season = random_season(1)
    events = season.events.head(len(rows)).assign(type=6, side=1, p1=10, p2=0, p3=-1, points=0)
    events[["period", "seconds_left", "action"]] = rows
    said = f.playbyplay_frame(events, season.games, season.players)["VISITORDESCRIPTION"]
    assert said.str.extract(r"\(P\d+\.?([^)]*)\)").to_list() == [
        "T1", "", "T2", "T3", "PN", "T1", "T2", "T2", "T3", "T4", "PN", "T1", "T2", "T3", "PN"]


def test_event_numbers_have_gaps_and_run_backwards(season):
    text = f.playbyplay_frame(season.events, season.games, season.players)
    step = text.select(pl.col("EVENTNUM").diff().over("GAME_ID")).to_series().drop_nulls()
    assert text.select("GAME_ID", "EVENTNUM").is_unique().all() and (step < 0).sum() > 10 and 0.05 < (step > 1).mean() < 0.5
    part = season.events[season.events["game"] == 3]
    assert f.playbyplay_frame(part, season.games, season.players).equals(text.filter(pl.col("GAME_ID") == "0021500004"))


def test_shots_are_those_of_the_plays(season):
    shots = f.shots_frame(season.events, season.games, season.players)
    plays = f.playbyplay_frame(season.events, season.games, season.players).filter(pl.col("EVENTMSGTYPE") <= 2)
    plays = plays.with_columns(pl.col("GAME_ID").cast(pl.Int64), clock=pl.format("{}:{}", pl.col("PCTIMESTRING").str.extract(r"^(\d+)"),
                               pl.col("PCTIMESTRING").str.extract(r":(\d+)").cast(pl.Int64)))
    both = shots.join(plays, left_on=["GAME_ID", "GAME_EVENT_ID"], right_on=["GAME_ID", "EVENTNUM"], how="inner", validate="1:1")
    assert len(both) == len(shots) == len(plays)
    assert both.select((pl.col("PLAYER_ID") == pl.col("PLAYER1_ID")) & (pl.col("PLAYER_NAME") == pl.col("PLAYER1_NAME"))
                       & ((pl.col("SHOT_MADE_FLAG") == 1) == (pl.col("EVENTMSGTYPE") == 1)) & (pl.col("PERIOD") == pl.col("PERIOD_right"))
                       & (pl.col("clock") == pl.format("{}:{}", "MINUTES_REMAINING", "SECONDS_REMAINING"))).to_series().all()
    words = pl.concat_str("HOMEDESCRIPTION", "VISITORDESCRIPTION", ignore_nulls=True)
    assert both.select(words.str.contains("3PT") == (pl.col("SHOT_TYPE") == "3PT Field Goal")).to_series().all()
    allowed = {
        "SHOT_ZONE_BASIC": r"Restricted Area|In The Paint \(Non-RA\)|Mid-Range|(Left|Right) Corner 3|Above the Break 3|Backcourt",
        "SHOT_ZONE_AREA": r"Center\(C\)|(Left|Right) Side( Center)?\([LR]C?\)|Back Court\(BC\)",
        "SHOT_ZONE_RANGE": r"Less Than 8 ft\.|8-16 ft\.|16-24 ft\.|24\+ ft\.|Back Court Shot", "GAME_DATE": r"\d{8}",
        "HTM": "POR", "VTM": "LAC", "ACTION_TYPE": r"([A-Z][\w-]+ )+[Ss]hot", "TEAM_NAME": "Portland Trail Blazers|Los Angeles Clippers"}
    for column, pattern in allowed.items():
        assert shots[column].str.contains(f"^(?:{pattern})$").all(), column


def test_names_with_accents_and_quotes_survive(season, tmp_path):
    players = season.players.assign(name=["Luka Dončić", 'José "Pepe" Núñez, Jr.', *season.players["name"][2:]])
    content = f._cut_by_game(f.playbyplay_frame(season.events, season.games, players))
    (tmp_path / "game.csv").write_bytes(content["0021500001"])
    assert {"Luka Dončić", 'José "Pepe" Núñez, Jr.'} <= set(read_playbyplay(tmp_path / "game.csv", progress=False).players["name"])


def test_injury_reports_parse_back():
    out = pd.DataFrame({"date": pd.to_datetime(["2015-10-28", "2015-10-27", "2015-10-28"]), "player_id": [3, 1, 2],
                        "team_id": [HOME, HOME, AWAY]})
    reports = {day: json.loads(text) for day, text in f.injury_reports(out).items()}
    assert [(day, r["date"], len(r["injuries"])) for day, r in reports.items()] == [("2015-10-27",) * 2 + (1,), ("2015-10-28",) * 2 + (2,)]
    assert {re.sub(r"\d+", "9", line) for line in f.injury_reports(out)["2015-10-28"].splitlines()} == {
        "{", "}", "},", "[", "]", '"date": "9-9-9",', '"injuries": [', '"player_id": 9,', '"team_id": 9,', '"status": "Out"'} - {"["}


# ---- a simulated league on disk

GAMES = 25


@pytest.fixture(scope="module")
def league():
    return simulate_play_league(PlayLeagueConfig(seasons=2, first_season=2015, playbyplay_games=GAMES), progress=False)


@pytest.fixture(scope="module")
def raw(league, tmp_path_factory):
    folder = tmp_path_factory.mktemp("league")
    f.write_play_league(league, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def read(raw):
    return read_playbyplay(raw / "nba" / "pbp", progress=False)


def test_simulated_games_are_worded_as_in_the_source(raw):
    assert unlike_the_source(read_text(sorted(raw.glob("nba/pbp/*.csv")))) == {}


def test_simulated_games_come_back_whole(league, raw, read):
    season = league.plays[2016]
    events, schedule = season.events[season.events["game"] < GAMES], season.games.head(GAMES)
    assert len(read.rejects) == 0 and len(read.games) == GAMES and len(read.plays) == len(events)
    for column in ("period", "seconds_left", "points", "home_score", "away_score"):
        assert (read.plays[column].to_numpy() == events[column].to_numpy()).all(), column
    for column in ("game_id", "home_id", "away_id", "home_points", "away_points", "periods"):
        assert read.games[column].tolist() == schedule[column].tolist(), column
    results = pd.read_csv(raw / "nba/game_results.csv")
    results = results[results["season"] == 2016].head(GAMES)
    assert (results["h.sc"].to_numpy() == schedule["home_points"].to_numpy()).all()


def test_truth_stands_beside_the_files(league, raw, read):
    season = league.plays[2016]
    lineups, box = (pl.read_parquet(raw / f"truth/{name}_2016.parquet") for name in ("lineups", "box_scores"))
    assert [lineups[c].to_list() for c in ("game_id", "order")] == [read.plays[c].tolist() for c in ("game_id", "order")]
    ids = lineups.drop("game_id", "order").to_numpy()
    assert (np.diff(ids.reshape(-1, 2, 5), axis=2) > 0).all() and np.isin(ids, season.players["player_id"]).all()
    substitution = (read.plays["event"] == "substitution").to_numpy()
    people = read.plays.loc[substitution, ["player1_id", "player2_id"]].to_numpy("int64")
    assert not (ids[substitution] == people[:, :1]).any() and (ids[substitution] == people[:, 1:]).any(axis=1).all()  # out, in
    scored = read.plays[read.plays["points"] > 0].groupby(["game_id", "player1_id"], observed=True)["points"].sum()
    truth = box.to_pandas().set_index(["game_id", "player_id"])["points"]
    assert scored.tolist() == truth.loc[scored.index].tolist() and scored.sum() == truth.sum()
    skills = pd.read_csv(raw / "truth/players_2016.csv")
    assert all(np.allclose(skills[c], season.players[c], atol=1e-4) for c in ("player_id", "offense", "defense"))


def test_the_shot_reader_takes_every_row(raw, read):
    shots = read_shots([raw / "nba/shotdetail_2015.csv"])
    assert len(shots.rejects) == 0, shots.rejects["reason"].iloc[0]
    both = shots.rows.merge(read.plays, on=["game_id", "event_num"], suffixes=("", "_play"), validate="1:1")
    assert len(both) == len(shots.rows) == read.plays["event"].isin(["made_shot", "missed_shot"]).sum()
    assert (both["player_id"] == both["player1_id"]).all() and all(
        both[c].astype(str).tolist() == both[f"{c}_play"].astype(str).tolist() for c in ("kind", "shot_value", "period", "seconds_left"))


def test_injury_reports_stand_beside_the_files(league, raw):
    reports = [json.loads(path.read_text()) for path in sorted(raw.glob("nba/injury_reports/*.json"))]
    listed = pd.DataFrame([{"date": r["date"], **row} for r in reports for row in r["injuries"]])
    assert len(listed) == len(league.plays[2016].out) > 1000 and listed["status"].eq("Out").all()


def test_ensure_writes_only_what_changed(league, raw, monkeypatch):
    asked = []
    monkeypatch.setattr(f, "simulate_play_league", lambda config, progress: asked.append(config) or league)
    assert not f.ensure_play_league(league.config, raw, progress=False) and not asked
    game = raw / "nba/pbp/0021500003.csv"
    before = game.read_bytes()
    game.write_bytes(before.replace(b"REBOUND", b"rebound", 1))
    assert f.ensure_play_league(league.config, raw, progress=False) and asked == [league.config]
    assert game.read_bytes() == before and not f.ensure_play_league(league.config, raw, progress=False)


def test_foreign_files_are_never_mixed_with(league, tmp_path):
    (tmp_path / "nba/pbp").mkdir(parents=True)
    (tmp_path / "nba/pbp/0021500001.csv").write_text("mine")
    with pytest.raises(SportsmlError, match=r"0021500001\.csv was not written by the simulator"):
        f.write_play_league(league, tmp_path, progress=False)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["0021500001.csv"]


def test_a_writer_that_dies_leaves_an_unfinished_league(league, tmp_path, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f, "season_files", dies)
        f.write_play_league(league, tmp_path, progress=False)
    assert (tmp_path / "nba/game_results.csv").exists() and not f.is_sealed(tmp_path, f._head(league.config))
    f.write_play_league(league, tmp_path, progress=False)  # its own leavings are no foreign files
    assert f.is_sealed(tmp_path, f._head(league.config))
