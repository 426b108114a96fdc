"As-of look-ups and folds: fast path against the obvious path, boundary days, bad input."

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml.core import SportsmlError, rng
from sportsml.schema import check_rows
from sportsml.splits import (
    AsOfPanel,
    Fold,
    SplitError,
    assert_backward,
    nested,
    panel_from_frame,
    walk_forward,
    walk_forward_dates,
)

DAY0 = pd.Timestamp("2015-10-27")


def make_panel(offsets, teams=4, seed=0):
    days = [DAY0 + pd.Timedelta(days=int(o)) for o in sorted(offsets)]
    values = rng(seed, "panel").normal(size=(len(days), teams))
    values[rng(seed, "gaps").random(values.shape) < 0.1] = np.nan
    return AsOfPanel("toy", days, [2016 + (o >= 300) for o in sorted(offsets)], np.arange(teams) * 7 + 3, values)


def obvious(panel, day, entity):
    "Walks through the rows by hand."
    seen = [i for i, d in enumerate(panel.days) if pd.Timestamp(d) < pd.Timestamp(day).normalize()]
    if not seen:
        raise LookupError
    return panel.values[seen[-1], list(panel.entities).index(entity)]


@given(st.sets(st.integers(0, 400), min_size=1, max_size=30),
       st.lists(st.tuples(st.integers(1, 450), st.integers(0, 3), st.integers(0, 23)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_at_equals_obvious_loop(offsets, asked):
    panel = make_panel({0, *offsets})
    days = [DAY0 + pd.Timedelta(days=d, hours=h) for d, _, h in asked]
    teams = panel.entities[[t for _, t, _ in asked]]
    expected = [obvious(panel, d, t) for d, t in zip(days, teams, strict=True)]
    np.testing.assert_array_equal(panel.at(days, teams), expected)
    np.testing.assert_array_equal(panel.at(days, teams)[0], panel.as_of(days[0])[teams[0]])


@given(st.sets(st.integers(0, 60), min_size=2, max_size=20), st.integers(1, 61))
@settings(max_examples=60, deadline=None)
def test_nothing_dated_at_or_after_matters(offsets, cut):
    panel = make_panel({0, *offsets})
    day = DAY0 + pd.Timedelta(days=cut)
    changed = panel.values.copy()
    changed[panel.days >= np.datetime64(day)] = 1e9
    other = AsOfPanel("toy", panel.days, panel.seasons, panel.entities, changed)
    pd.testing.assert_series_equal(panel.as_of(day), other.as_of(day), check_exact=True)


def test_boundary_days():
    panel = make_panel({0, 1, 5})
    row = {d: panel.as_of(DAY0 + pd.Timedelta(days=d)).to_numpy() for d in (1, 2, 5, 6, 999)}
    for day, expected in {1: 0, 2: 1, 5: 1, 6: 2, 999: 2}.items():
        np.testing.assert_array_equal(row[day], panel.values[expected])


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_resolution_of_the_dates_does_not_matter(unit):
    panel = make_panel({0, 1, 5})
    days = pd.date_range(DAY0, periods=8)[1:].as_unit(unit)
    np.testing.assert_array_equal(panel.at(days, 3), panel.at([str(d.date()) for d in days], 3))
    again = AsOfPanel("toy", pd.DatetimeIndex(panel.days).as_unit(unit), panel.seasons, panel.entities, panel.values)
    np.testing.assert_array_equal(again.at(days, 3), panel.at(days, 3))


def test_one_day_many_teams_and_many_days_one_team():
    panel = make_panel({0, 1, 5})
    day = DAY0 + pd.Timedelta(days=3)
    np.testing.assert_array_equal(panel.at(day, panel.entities), panel.as_of(day).to_numpy())
    assert panel.at(pd.Series([day, day]), 3).shape == (2,)


@pytest.mark.parametrize(("day", "entity", "says"), [
    (DAY0, 3, "knows nothing as of 2015-10-27"),
    ("2000-01-01", 3, "ask for a later day"),
    (pd.NaT, 3, "missing"),
    (["2015-11-01", None], 3, "1 of 2 dates are missing"),
    ("half time", 3, "not dates"),
    (pd.Timestamp("2015-11-01", tz="UTC"), 3, "time zone"),
    ("2015-11-01", 4, "does not hold entity 4"),
    ("2015-11-01", 999, "does not hold entity 999"),
    ("2015-11-01", float("nan"), "does not hold entity nan"),
])
def test_bad_look_ups(day, entity, says):
    with pytest.raises(SportsmlError, match=says):
        make_panel({0, 1, 5}).at(day, entity)


@pytest.mark.parametrize(("change", "says"), [
    ({"days": ["2016-01-02", "2016-01-01"]}, "days must rise"),
    ({"days": [pd.Timestamp("2016-01-01"), pd.Timestamp("2016-01-01 20:00")]}, "days must rise"),
    ({"days": ["2016-01-01", None]}, "missing"),
    ({"entities": [2, 1]}, "entities must rise"),
    ({"values": np.zeros((2, 3))}, "expected seasons"),
    ({"seasons": [2016]}, "expected seasons"),
    ({"entities": [], "values": np.zeros((2, 0))}, "neither D nor T zero"),
])
def test_bad_panels(change, says):
    good = {"system": "toy", "days": ["2016-01-01", "2016-01-02"], "seasons": [2016, 2016], "entities": [1, 2],
            "values": np.zeros((2, 2))}
    AsOfPanel(**good)
    with pytest.raises(SplitError, match=says):
        AsOfPanel(**{**good, **change})


def test_panel_through_the_table():
    panel = make_panel({0, 1, 5, 300, 301})
    rows = panel.to_frame()
    back = panel_from_frame(rows.sample(frac=1, random_state=0))
    for name in ("days", "seasons", "entities", "values"):
        np.testing.assert_array_equal(getattr(back, name), getattr(panel, name))
    day = pd.Timestamp("2015-10-30")
    table = rows[rows["as_of"] <= day].groupby("team_id")["as_of"].max()  # the table's own rule: as_of <= day
    assert (table <= day).all() and (rows["as_of"] > pd.Timestamp(panel.days[0])).all()
    with pytest.raises(SplitError, match="one system"):
        panel_from_frame(pd.concat([rows, rows.assign(system="other")]))
    with pytest.raises(SplitError, match="key"):
        panel_from_frame(pd.concat([rows, rows]))
    with pytest.raises(SplitError, match="one system"):
        panel_from_frame(rows.iloc[:0])


def test_panel_rows_pass_the_schema():
    rows = make_panel({0, 1, 5}).to_frame().assign(team_id=1610612737)
    good, bad = check_rows("team_ratings", rows.drop_duplicates(["as_of"]))
    assert len(good) == 3 and bad.empty


@given(st.lists(st.integers(2008, 2019), min_size=2, max_size=60).filter(lambda s: len(set(s)) > 2), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_walk_forward_in_any_row_order(seasons, min_train):
    seasons = np.array(seasons)
    folds = walk_forward(seasons, first_test=2000, min_train=min_train)
    assert_backward(folds, seasons)
    assert [int(f.name) for f in folds] == sorted(set(seasons.tolist()))[min_train:]
    for fold in folds:
        assert set(fold.test) == set(np.flatnonzero(seasons == int(fold.name)))
        assert set(fold.train) == set(np.flatnonzero(seasons < int(fold.name)))
        if len(set(seasons[fold.train])) > 1:
            inner = nested(fold, seasons)
            assert_backward(inner, seasons)
            assert set(np.concatenate([f.test for f in inner])) < set(fold.train)  # the first season gets no prediction


def test_walk_forward_dates_scores_every_later_row_once():
    dates = DAY0 + pd.to_timedelta(rng(0, "dates").integers(0, 100, size=300), unit="D")
    cuts = [DAY0 + pd.Timedelta(days=d) for d in (20, 50, 90)]
    folds = walk_forward_dates(dates, cuts)
    assert_backward(folds, dates)
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in folds])), np.flatnonzero(dates >= cuts[0]))
    assert [f.name for f in folds] == [str(c.date()) for c in cuts]


@pytest.mark.parametrize(("call", "says"), [
    (lambda: walk_forward([2015, 2016], first_test=2017), "no season from 2017"),
    (lambda: walk_forward([2015, 2016], first_test=2015, min_train=2), "has 2 earlier"),
    (lambda: walk_forward([2015.0, np.nan], first_test=2015), "whole numbers"),
    (lambda: walk_forward_dates(["2016-01-01", None], ["2016-01-01"]), "missing"),
    (lambda: walk_forward_dates(["2016-01-01", "2016-01-02"], ["2016-01-01"]), "0 training"),
    (lambda: walk_forward_dates(["2016-01-01", "2016-01-02"], ["2016-01-02", "2016-03-01"]), "0 test"),
    (lambda: walk_forward_dates(["2016-01-01", "2016-01-05"], ["2016-01-04", "2016-01-02"]), "cuts must rise"),
    (lambda: nested(Fold("2016", np.array([0]), np.array([1])), [2015, 2016]), "no season from 2015"),
    (lambda: assert_backward([Fold("x", np.array([0, 1]), np.array([2]))], [1, 2, 2]), "train strictly earlier"),
    (lambda: assert_backward([Fold("x", np.array([], int), np.array([2]))], [1, 2, 2]), "empty side"),
    (lambda: assert_backward([Fold("x", np.array([0]), np.array([1]))] * 2, [1, 2]), "scored in 2 folds"),
])
def test_bad_folds(call, says):
    with pytest.raises(SplitError, match=says):
        call()
