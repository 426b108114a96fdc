"""Shot charts and spacing: forms of the file, bad cells, hulls against scipy, places against plain loops, the as-of rule."""
import io
import tarfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from sportsml.nba.spacing import SpacingError, _hull, _mean_spread, lineup_spacing, read_shots
from sportsml.schema import check_rows
from sportsml.sources import RawFileError

HEADER = ("GRID_TYPE,GAME_ID,GAME_EVENT_ID,PLAYER_ID,PLAYER_NAME,TEAM_ID,TEAM_NAME,PERIOD,MINUTES_REMAINING,SECONDS_REMAINING,EVENT_TYPE,"
          "ACTION_TYPE,SHOT_TYPE,SHOT_ZONE_BASIC,SHOT_ZONE_AREA,SHOT_ZONE_RANGE,SHOT_DISTANCE,LOC_X,LOC_Y,SHOT_ATTEMPTED_FLAG,"
          "SHOT_MADE_FLAG,GAME_DATE,HTM,VTM")


def line(event=2, game="0021500001", player="203083", team="1610612765", minutes=11, seconds=41, action="Jump Shot",
         kind="3PT Field Goal", x=-221, y=-12, made=1):
    return (f"Shot Chart Detail,{game},{event},{player},Andre Drummond,{team},Detroit Pistons,1,{minutes},{seconds},Made Shot,{action},"
            f"{kind},Left Corner 3,Left Side(L),24+ ft.,22,{x},{y},1,{made},20151027,ATL,DET")


def write(tmp_path, *lines, header=HEADER, end="\n"):
    path = tmp_path / "shots.csv"
    path.write_bytes((end.join([header, *lines]) + end).encode())
    return path


# --- the file --------------------------------------------------------------------------------------------------------

def test_a_shot_as_it_should_be(tmp_path):
    row = read_shots(write(tmp_path, line())).rows.iloc[0]
    assert row[["game_id", "event_num", "team_id", "player_id", "period"]].tolist() == ["0021500001", 2, 1610612765, 203083, 1]
    assert row[["seconds_left", "made", "shot_value", "kind", "x", "y"]].tolist() == [701, True, 3, "jump shot", -22.1, -1.2]
    assert row["distance"] == pytest.approx(np.hypot(22.1, 1.2))


@pytest.mark.parametrize("action,kind", [
    ("Jump Shot", "jump shot"), ("Pullup Jump shot", "jump shot"), ("Driving Finger Roll Layup Shot", "layup"), ("Tip Layup Shot", "tip"),
    ("Finger Roll Shot", "layup"), ("Alley Oop Dunk Shot", "dunk"), ("Putback Dunk Shot", "dunk"), ("Tip Dunk Shot", "dunk"),
    ("Turnaround Hook Shot", "hook"), ("Fadeaway Bank shot", "jump shot"), ("No Shot", "other"), ("", None)])
def test_kinds(tmp_path, action, kind):
    found = read_shots(write(tmp_path, line(action=action))).rows["kind"].iloc[0]
    assert found == kind or kind is None and pd.isna(found)


def test_every_form_of_the_file_reads_the_same(tmp_path):
    lines = [line(2), line(7, x=30, y=40, kind="2PT Field Goal", made=0)]
    plain = read_shots(write(tmp_path, *lines)).rows
    forms = {
        "crlf": write(tmp_path, *lines, end="\r\n").rename(tmp_path / "crlf.csv"),
        "index": write(tmp_path, *(f"{i},{t}" for i, t in enumerate(lines)), header="," + HEADER).rename(tmp_path / "index.csv"),
        "numbers": write(tmp_path, line("2.0", game=21500001, player="203083.0", team="1610612765.0", x="-221.0"),
                         line("7.0", game="21500001.0", x=30, y=40, kind="2PT Field Goal", made=0)).rename(tmp_path / "numbers.csv"),
        "shuffled": write(tmp_path, *lines[::-1]).rename(tmp_path / "shuffled.csv"),
        "bom": write(tmp_path, *lines, header="\ufeff" + HEADER).rename(tmp_path / "bom.csv"),
    }
    with tarfile.open(tmp_path / "archive.tar.xz", "w:xz") as archive:
        data = forms["crlf"].read_bytes()
        member = tarfile.TarInfo("shotdetail_2015.csv")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    for name, path in (forms | {"archive": tmp_path / "archive.tar.xz"}).items():
        loaded = read_shots(path)
        assert loaded.rejects.empty, name
        pd.testing.assert_frame_equal(loaded.rows.sort_values("event_num", ignore_index=True), plain)


BAD = {"x": "far", "y": "12 oct", "made": "", "kind": "1PT", "player": "abc", "team": "1610612700", "minutes": "13", "event": "-4",
       "game": "", "seconds": "4.5"}


@pytest.mark.parametrize("cell", BAD)
def test_a_bad_cell_costs_its_row_only(tmp_path, cell):
    loaded = read_shots(write(tmp_path, line(1), line(**{"event": 2, cell: BAD[cell]}), line(3)))
    assert loaded.rows["event_num"].tolist() == [1, 3]
    assert loaded.rejects["line"].tolist() == [3] and loaded.rejects["file"].tolist() == ["shots.csv"]


def test_twice_the_same_shot_and_a_broken_last_line(tmp_path):
    loaded = read_shots(write(tmp_path, line(1), line(1), line(2)[:40]))
    assert len(loaded.rows) == 1 and sorted(loaded.rejects["line"]) == [3, 4]
    assert loaded.rejects["reason"].str.contains("duplicate").sum() == 1


def test_files_without_use_are_refused(tmp_path):
    with pytest.raises(RawFileError, match="LOC_X"):
        read_shots(write(tmp_path, line(), header=HEADER.replace("LOC_X", "LOCATION")))
    with pytest.raises(RawFileError, match="not one shot.*first reason"):
        read_shots(write(tmp_path, line(x="far")))


CELLS = st.sampled_from(["", "nan", "NULL", "-1", "1e9", "4.0", "99999999999999999999", "é", "' ", "Jump Shot", "2016-01-02"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 23), CELLS), min_size=1, max_size=4))
def test_mutated_rows_are_read_or_set_aside(tmp_path_factory, changes):
    cells = line(5).split(",")
    for at, value in changes:
        cells[at] = value
    path = write(tmp_path_factory.mktemp("shots"), line(1), ",".join(cells))
    loaded = read_shots(path)
    assert len(loaded.rows) + len(loaded.rejects) == 2 and 1 in loaded.rows["event_num"].tolist()
    assert check_rows("shots", loaded.rows)[1].empty


# --- geometry --------------------------------------------------------------------------------------------------------

@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=5, max_size=5))
def test_hull_area_equals_scipy(places):
    places = np.array(places, float)
    try:
        expected = ConvexHull(places).volume
    except QhullError:  # all on one line
        expected = 0.0
    assert _hull(*places.T) == pytest.approx(expected, abs=1e-9)


def test_spread_of_many_fives():
    draw = np.random.default_rng(0)
    spots, fives = draw.normal(0, 15, (12, 7, 2)), np.array([draw.choice(12, 5, replace=False) for _ in range(30)])
    areas, distances = _mean_spread(spots, fives).T
    assert areas == pytest.approx([np.mean([ConvexHull(spots[five, d]).volume for d in range(7)]) for five in fives])
    assert distances == pytest.approx([np.mean([pdist(spots[five, d]).mean() for d in range(7)]) for five in fives])
    assert _mean_spread(2 * spots, fives[:, ::-1]) == pytest.approx(np.column_stack([4 * areas, 2 * distances]))


# --- fives -----------------------------------------------------------------------------------------------------------

def league(seed=0, games=12, stints=6):
    """Two teams of seven; home ids 1-7, away ids 11-17; every stint has a possession or two of both."""
    draw = np.random.default_rng(seed)
    names = [f"{21500001 + g:010d}" for g in range(games)]
    frame = pd.DataFrame({"game_id": names, "season": 2016, "date": pd.Timestamp("2015-11-01") + pd.to_timedelta(range(games), unit="D"),
                          "home_id": 1610612737, "away_id": 1610612738})
    fives = [[*np.sort(draw.choice(7, 5, replace=False) + 1), *np.sort(draw.choice(7, 5, replace=False) + 11)]
             for _ in range(games * stints)]
    rows = pd.DataFrame(fives, columns=[f"{s}_{i}" for s in ("home", "away") for i in range(1, 6)])
    rows = rows.assign(game_id=np.repeat(names, stints), stint=np.tile(range(stints), games))
    possessions = pd.DataFrame([(r.game_id, r.stint, *(teams), draw.integers(0, 4)) for r in rows.itertuples() for _ in range(2)
                                for teams in ((1610612737, 1610612738), (1610612738, 1610612737))],
                               columns=["game_id", "stint", "offense_id", "defense_id", "points"])
    n = 60 * games
    shots = pd.DataFrame({"game_id": draw.choice(names, n), "event_num": range(n),
                          "player_id": draw.choice([*range(1, 8), *range(11, 18)], n),
                          "x": draw.normal(0, 10, n), "y": draw.normal(10, 6, n)})
    shots["distance"] = np.hypot(shots["x"], shots["y"])
    plays = pd.DataFrame({"game_id": shots["game_id"], "event_num": shots["event_num"],
                          "event": draw.choice(["made_shot", "missed_shot", "foul"], n),
                          "player1_id": shots["player_id"].astype("Int64"), "shot_distance": shots["distance"].round()})
    return frame, plays, rows, possessions, shots


def test_fives_equal_a_plain_loop():
    games, plays, stints, possessions, shots = league()
    table = lineup_spacing(games, plays, stints, possessions, shots, min_shots=1)
    assert check_rows("lineup_spacing", table)[1].empty
    mean, places = shots.groupby("player_id")["distance"].mean(), shots.groupby("player_id")[["x", "y"]]
    draw = np.random.default_rng(5)
    joined = possessions.merge(stints, on=["game_id", "stint"])
    for row in table.sample(8, random_state=0).itertuples():
        five = [row.player_1, row.player_2, row.player_3, row.player_4, row.player_5]
        side = "home" if row.team_id == 1610612737 else "away"
        own = joined[(joined["offense_id"] == row.team_id) & (joined[[f"{side}_{i}" for i in range(1, 6)]].to_numpy() == five).all(axis=1)]
        assert row.possessions == len(own) and row.offensive_rating == pytest.approx(100 * own["points"].mean())
        assert row.shots == shots["player_id"].isin(five).sum() and row.method == "locations"
        thrown = np.array([draw.choice(places.get_group(i).to_numpy(), 2000) for i in five])  # (5, draws, 2), other draws than ours
        areas = [ConvexHull(thrown[:, k]).volume for k in range(2000)]
        assert row.hull_area == pytest.approx(np.mean(areas), abs=5 * np.std(areas) / np.sqrt(200))
        assert row.pairwise_distance == pytest.approx(np.mean([pdist(thrown[:, k]).mean() for k in range(500)]), rel=0.08)
        d, pairs = mean[five].to_numpy(), [(i, j) for i in range(5) for j in range(i)]
        assert row.distance_spread == pytest.approx(np.mean([abs(d[i] - d[j]) for i, j in pairs]))
    assert table["possessions"].sum() == len(possessions)


def test_plays_alone_give_distances_only():
    games, plays, stints, possessions, _ = league()
    table = lineup_spacing(games, plays, stints, possessions, min_shots=1)
    assert check_rows("lineup_spacing", table)[1].empty and table["method"].eq("distance").all()
    assert table[["hull_area", "pairwise_distance"]].isna().all(axis=None) and table["distance_spread"].gt(0).all()
    taken = plays[plays["event"] != "foul"]
    far = taken.groupby("player1_id")["shot_distance"].mean()
    row = table.iloc[0]
    d = far[[row[f"player_{i}"] for i in range(1, 6)]].to_numpy(float)
    assert row["distance_spread"] == pytest.approx(np.mean([abs(d[i] - d[j]) for i in range(5) for j in range(i)]))


def test_a_mirrored_court_is_the_same_court_and_order_is_nothing():
    games, plays, stints, possessions, shots = league()
    table = lineup_spacing(games, plays, stints, possessions, shots, min_shots=1)
    flipped = shots.assign(x=-shots["x"]).sample(frac=1, random_state=0)
    games, stints = (f.sample(frac=1, random_state=1) for f in (games, stints))
    again = lineup_spacing(games, plays, stints, possessions, flipped, min_shots=1)
    pd.testing.assert_frame_equal(again, table)


def test_who_hardly_shoots_has_no_place():
    games, plays, stints, possessions, shots = league()
    few = shots[(shots["player_id"] != 3) | (shots.groupby("player_id").cumcount() < 4)]
    table = lineup_spacing(games, plays, stints, possessions, few, min_shots=5)
    without = table[[f"player_{i}" for i in range(1, 6)]].eq(3).any(axis=1)
    assert without.any() and (table["hull_area"].isna() == without).all()
    assert check_rows("lineup_spacing", table)[1].empty


def test_nothing_at_or_after_as_of_matters():
    games, plays, stints, possessions, shots = league()
    day = pd.Timestamp("2015-11-06")
    late = games.loc[games["date"] >= day, "game_id"]
    before = lineup_spacing(games, plays, stints, possessions, shots, min_shots=1, as_of=day)
    for frame, column in ((shots, "x"), (shots, "y"), (shots, "distance"), (possessions, "points"), (plays, "shot_distance")):
        frame.loc[frame["game_id"].isin(late), column] = 1
    stints.loc[stints["game_id"].isin(late), "home_1"] = 99
    after = lineup_spacing(games, plays, stints, possessions, shots, min_shots=1, as_of=day)
    pd.testing.assert_frame_equal(after, before, check_exact=True)
    assert len(before) < len(lineup_spacing(games, plays, stints, possessions, shots, min_shots=1))


def test_shots_of_other_games_are_an_error():
    games, plays, stints, possessions, shots = league()
    with pytest.raises(SpacingError, match="none of 720 shots"):
        lineup_spacing(games, plays, stints, possessions, shots.assign(game_id="0029900001"))
    with pytest.raises(SpacingError, match="none of 0 shots"):
        lineup_spacing(games, plays.assign(event="foul"), stints, possessions)
