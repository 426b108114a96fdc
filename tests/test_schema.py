"""The schema meets values of every type, and frames of every shape."""
import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml.schema import TABLES, SchemaError, check_rows, data_dictionary, empty, pandas_dtype, read_values, reject_rows, table

GAME = {"game_id": "201601020CHI", "season": 2016, "date": pd.Timestamp("2016-01-02"), "season_type": "regular",
        "home_id": 1610612741, "away_id": 1610612753, "home_points": 108, "away_points": 101}


def games(n: int = 3, **columns) -> pd.DataFrame:
    """Returns n good games with some columns replaced."""
    return pd.DataFrame([GAME] * n).assign(game_id=[f"2016010{i}0CHI" for i in range(n)]).assign(**columns)


def reasons(frame: pd.DataFrame, name: str = "games") -> dict:
    """Returns the reasons of the bad rows by index label."""
    return check_rows(name, frame)[1]["reason"].to_dict()


@pytest.mark.parametrize("name", TABLES)
def test_every_table_accepts_its_own_empty_frame(name):
    good, bad = check_rows(name, empty(name))
    assert bad.empty and good.dtypes.equals(empty(name).dtypes) and list(good) == list(table(name).names)
    assert check_rows(name, empty(name).astype(object))[0].dtypes.equals(good.dtypes)


@pytest.mark.parametrize("dtype, value, read", [
    ("int", "98", 98), ("int", " 98 ", 98), ("int", "98.0", 98), ("int", "+98", 98), ("int", 98.0, 98), ("int", np.int8(98), 98),
    ("int", decimal.Decimal(98), 98), ("int", np.uint64(98), 98), ("float", "1e2", 100.0), ("float", ".5", 0.5),
    ("float", decimal.Decimal("0.1"), 0.1), ("float", 3, 3.0), ("float", "0.1234567890123456789", 0.1234567890123456789),
    ("day", "2016-02-29", pd.Timestamp("2016-02-29")), ("day", datetime.date(2016, 2, 29), pd.Timestamp("2016-02-29")),
    ("day", "2016-02-29T00:00:00", pd.Timestamp("2016-02-29")), ("day", np.datetime64("2016-02-29"), pd.Timestamp("2016-02-29")),
    ("bool", "True", True), ("bool", "false", False), ("bool", 1, True), ("bool", np.bool_(False), False), ("text", "0012", "0012"),
])
def test_values_are_read_alike_in_every_wrapping(dtype, value, read):
    column = next(c for t in TABLES.values() for c in t.columns if c.dtype == dtype and not c.is_id)
    wrapped = [pd.Series([value]), pd.Series([value, None], dtype=object)]
    if isinstance(value, str):
        wrapped += [pd.Series([value], dtype=kind) for kind in ("category", "string")]
    for series in wrapped:
        cast, unread = read_values(column, series)
        assert cast.iloc[0] == read and not unread.any()


@pytest.mark.parametrize("dtype, value", [
    ("int", "98.5"), ("int", 98.5), ("int", "4-Mar"), ("int", "1e2"), ("int", True), ("int", "9" * 19), ("int", 2.0**63), ("int", "٩٨"),
    ("int", "98\ud800"), ("int", [98]), ("int", np.array([9, 8])), ("float", "inf"), ("float", np.inf), ("float", "nan"),
    ("float", "1_000"), ("float", "1,5"), ("float", 1j), ("float", True), ("day", "2016-02-30"), ("day", 42372), ("day", "42372"),
    ("day", 1451692800.0), ("day", pd.Timestamp("2016-01-02 19:30")), ("day", pd.Timestamp("2016-01-02", tz="UTC")),
    ("day", "01/02/2016"), ("day", "3016-01-02"), ("day", np.datetime64("3016-01-02")), ("bool", "yes"), ("bool", 2), ("bool", 0.5),
    ("text", "a\0b"), ("text", "\ud800"), ("text", b"bytes"), ("text", ["a"]), ("text", datetime.date(2016, 1, 2)),
])
def test_what_does_not_fit_is_never_guessed(dtype, value):
    column = next(c for t in TABLES.values() for c in t.columns if c.dtype == dtype and not c.is_id)
    series = pd.Series([None, value, ""], dtype=object)
    cast, unread = read_values(column, series)
    assert unread.tolist() == [False, True, False] and cast.isna().all()


def test_ids_are_never_floats():
    with pytest.raises(SchemaError, match="home_id is float64, and ids are never floats"):
        check_rows("games", games(home_id=1610612741.0))
    with pytest.raises(SchemaError, match="game_id is int64 where text belongs"):
        check_rows("games", games(game_id=[1, 2, 3]))
    mixed = games(home_id=pd.Series(["1610612741", 1610612741.0, "1610612741.0"], dtype=object))
    assert list(reasons(mixed)) == [1, 2] and "home_id: '1610612741.0' is not an id" in reasons(mixed)[2]
    assert check_rows("games", games(home_id=np.nan))[1].shape[0] == 3  # a column of nothing is rows without a value


def test_wrong_columns_are_all_named():
    frame = games().rename(columns={"home_points": "home_score"}).assign(attendance=1)
    with pytest.raises(SchemaError, match="home_points is missing.*home_score is not part.*attendance is not part"):
        check_rows("games", frame)
    with pytest.raises(SchemaError, match="column season is there twice"):
        check_rows("games", pd.concat([games(), games()[["season"]]], axis=1))
    for thing in (None, {"season": 1}, [games()], games()["season"], games().to_numpy()):
        with pytest.raises(SchemaError, match="needs a pandas frame, not"):
            check_rows("games", thing)
    with pytest.raises(SchemaError, match="did you mean games"):
        check_rows("gamess", games())
    with pytest.raises(SchemaError, match="column 0 is not part of it"):
        check_rows("games", games().assign(x=1).rename(columns={"x": 0}))


def test_bad_rows_keep_index_and_location_and_the_good_do_not():
    frame = games(_file="g.csv", _line=[2, 3, 4], home_points=[108, 999, 90]).set_axis(["a", "a", "b"])
    good, bad = check_rows("games", frame)
    assert bad.index.tolist() == ["a"] and bad["_line"].tolist() == [3]
    assert good.index.tolist() == [0, 1] and list(good) == list(table("games").names)
    rejects = reject_rows(bad, bad["reason"], "games")
    assert rejects[["file", "line", "reason"]].values.tolist() == [
        ["g.csv", 3, "home_points: 999 is above 250; correct the value or leave the row out"]]


def test_a_row_with_several_faults_gets_every_reason():
    assert reasons(games(1, home_points="x", away_points=3, season=None, season_type="summer")) == {0: (
        "home_points: 'x' is not a whole number; season: empty, a value is needed; "
        "season_type: 'summer' is not one of regular, playoffs; away_points: 3 is below 15; correct the value or leave the row out")}


def test_only_a_good_row_makes_a_later_one_a_duplicate():
    frame = games(4, game_id="201601020CHI", home_points=[999, 108, 108, 90])
    found = reasons(frame)
    assert sorted(found) == [0, 2, 3] and found[0].startswith("home_points: 999 is above 250")
    assert found[2] == found[3] == "duplicate of an earlier row with game_id '201601020CHI'; leave one of them out"


@pytest.mark.parametrize("change, rule", [
    ({"home_id": 1610612753}, "home_id != away_id"), ({"home_points": 101}, "home_points != away_points"),
    ({"date": "2017-01-02"}, "season - date.dt.year"), ({"date": "2014-12-31"}, "season - date.dt.year"),
])
def test_rules_between_columns(change, rule):
    assert rule in reasons(games(1, **change))[0]
    assert not reasons(games(1, date="2015-10-27"))


def test_an_empty_value_breaks_no_rule():
    row = {"run_id": "024", "model": "elo", "fold": "2016", "split": "test", "season": 2016, "as_of": "2016-01-02", "group_id": "g",
           "entity_id": "home", "target_name": "home_win", "target": np.nan, "pred": 0.5, "pred_lo": np.nan, "pred_hi": 0.6}
    rows = pd.DataFrame([row, {**row, "group_id": "h", "pred_lo": 0.7}, {**row, "group_id": "i", "pred": np.inf}])
    assert {i: r.split(":")[0] for i, r in reasons(rows, "predictions").items()} == {1: "pred_lo 0.7, pred_hi 0.6", 2: "pred"}


def test_nullable_columns_keep_integers_and_flags():
    rejects = pd.DataFrame({"table_name": "games", "file": None, "line": [None, 3], "reason": "why", "content": None})
    good, bad = check_rows("rejects", rejects)
    assert bad.empty and good["line"].dtype == "Int64" and good["line"].tolist() == [pd.NA, 3]
    assert all(str(pandas_dtype(c)) != "float64" for t in TABLES.values() for c in t.columns if c.dtype in ("int", "bool"))


def test_the_frame_handed_in_is_left_alone():
    frame = games(home_points=["108", "x", "90"]).set_axis([5, 5, 7])
    before = frame.copy(deep=True)
    check_rows("games", frame)
    pd.testing.assert_frame_equal(frame, before)


def test_dictionary_covers_every_column_in_words():
    words = data_dictionary()
    assert words["meaning"].str.len().min() > 5 and not words.isna().any().any()
    assert not words[words["type"].isin(["float"]) & words["unit"].eq("")].size


CELLS = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=6), st.booleans(), st.dates(), st.datetimes(),
                  st.binary(max_size=3), st.lists(st.integers(), max_size=2),
                  st.sampled_from(list(GAME.values())), st.characters(categories=["Cs"]))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.fixed_dictionaries({c: st.one_of(st.just(v), CELLS) for c, v in GAME.items()}), min_size=1, max_size=6))
def test_any_cell_ends_up_good_or_bad_with_a_reason(rows):
    frame = pd.DataFrame({c: pd.Series([r[c] for r in rows], dtype=object) for c in GAME})
    good, bad = check_rows("games", frame)
    assert len(good) + len(bad) == len(frame) and bad["reason"].str.len().min() is not pd.NA
    assert good.dtypes.equals(empty("games").dtypes) and not good.isna().any().any() and good["game_id"].is_unique
    assert len(reject_rows(bad, bad["reason"], "games")) == len(bad)
    again, none = check_rows("games", good)
    assert none.empty and again.equals(good)
