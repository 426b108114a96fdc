"""Team features, with the player features under them: what the future may not change, a plain loop, numbers by hand, real files."""
import importlib.util
import os
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sportsml.nba.forecasts import rank_signals, rating_panels
from sportsml.nba.franchises import teams_table
from sportsml.nba.players import PlayerFeatureConfig, player_features
from sportsml.nba.rapm import StintRows
from sportsml.nba.team_features import (
    TEAM_FEATURES,
    TEAM_GROUPS,
    TeamFeatureConfig,
    TeamFeatureError,
    partial_correlations,
    season_days,
    team_features,
)

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
DAYS = [pd.Timestamp(d) for d in ("2014-12-10", "2015-10-28", "2015-11-20", "2015-12-20")]
CONFIG, PLAYERS = TeamFeatureConfig(windows=(3, 10), line=2), PlayerFeatureConfig(windows=(3, 10), roster_games=6)
COUNTS = ("points", "field_goal_attempts", "free_throw_attempts", "offensive_rebounds", "defensive_rebounds", "assists", "steals", "blocks",
          "turnovers")
SCHEDULED = {"projected_wins", "projected_wins_elo", "sos_remaining", "home_share_remaining", "back_to_backs_remaining",
             "rest_edge_remaining"}


@pytest.fixture(scope="module")
def bench():
    """Loads benchmarks/team_features.py, whose plain loop is what the features are compared with."""
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("team_features_benchmark", BENCHMARKS / "team_features.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module


@cache
def league(seed=0):
    """Two seasons of eight teams, two or four games a day for 60 days, and every table that features can be made from."""
    draw, games, stats, box, fives = np.random.default_rng(seed), [], [], [], {0: [], 1: []}
    whole = teams_table([2015, 2016])
    ids = [t for c in "EW" for t in whole.query(f"season == 2016 and conference == '{c}'")["team_id"].head(4)]
    club, frame = {100 + i: ids[i // 8] for i in range(64)}, []
    for season in (2015, 2016):
        club |= {100 + int(i): int(draw.choice(ids)) for i in draw.integers(0, 64, 12)}  # summer
        for d in range(60):
            for home, away in draw.permutation(ids)[:draw.choice([4, 8])].reshape(-1, 2):
                date, name = pd.Timestamp(season - 1, 10, 28) + pd.Timedelta(days=d), f"002{season % 100 - 1}{len(games):05d}"
                points = draw.choice(np.arange(80, 120), 2, replace=False)
                games.append((name, season, date, "regular", home, away, *points))
                squads = [[p for p, t in club.items() if t == team and draw.random() < 0.85] for team in (home, away)]
                for side, (team, other) in enumerate(((home, away), (away, home))):
                    same = {"game_id": name, "season": season, "date": date, "team_id": team}
                    stats += [same | {c: int(draw.integers(0, 12)) for c in COUNTS} | {
                        "player_id": p, "starter": bool(draw.random() < 0.6), "seconds": float(draw.integers(60, 2400)),
                        "game_score": draw.normal(), "plus_minus": int(draw.integers(-9, 9)), "offensive_possessions": 40,
                        "defensive_possessions": 41} for p in squads[side]]
                    counts = {c: int(draw.integers(5, 100)) for c in ("field_goals", "three_pointers", "field_goal_attempts", "turnovers",
                                                                      "offensive_rebounds", "defensive_rebounds", "free_throws")}
                    box.append(same | counts | {"points": points[side], "possessions": int(draw.integers(85, 105)), "minutes": 48.0})
                    if min(map(len, squads)) >= 5:
                        frame.append((name, season, date, 0, team, other, side == 0, 20.0, float(draw.normal(105, 20))))
                        for i in (0, 1):
                            fives[i].append(np.sort(draw.choice(squads[side ^ i], 5, replace=False)))
    games = pd.DataFrame(games, columns=["game_id", "season", "date", "season_type", "home_id", "away_id", "home_points", "away_points"])
    key = [(s, t) for s in range(2012, 2017) for t in ids]
    records = pd.DataFrame(key, columns=["season", "team_id"]).assign(games=60, complete=True, made_playoffs=draw.random(40) < 0.5)
    for c in ("wins", "srs", "offensive_rating", "defensive_rating"):
        records[c] = draw.integers(5, 55, 40) * 1.0
    injuries = pd.DataFrame([(d, p, "Out") for d in games["date"].unique() for p in draw.choice(64, 6, replace=False) + 100],
                            columns=["date", "player_id", "status"])
    raptor = [(s, ids[(i + s * (i % 3 == 0)) % 8], f"p{i}", 100.0 * (i % 5 + 1), "regular") for s in range(2013, 2018) for i in range(64)]
    raptor = pd.DataFrame(raptor, columns=["season", "team_id", "raptor_id", "minutes", "season_type"])
    extra = pd.DataFrame({"raptor_formula": draw.normal(size=40)}, index=pd.MultiIndex.from_tuples(key, names=["season", "team_id"]))
    names = ["game_id", "season", "date", "stint", "offense_id", "defense_id", "home", "possessions", "points"]
    rapm = StintRows(pd.DataFrame(frame, columns=names), np.array(fives[0]), np.array(fives[1]))
    return {"games": games, "teams": whole, "records": records, "box": pd.DataFrame(box), "stats": pd.DataFrame(stats),
            "injuries": injuries, "raptor": raptor, "extra": extra, "rapm": rapm}


def features(tables, days, groups=TEAM_GROUPS, config=CONFIG):
    """Makes the player features and on them the team features."""
    known = {n: t for n, t in tables.items() if n != "rapm"}
    players = player_features(tables["stats"], tables["games"], days, PLAYERS, tables["rapm"])
    made = team_features(as_of=days, panels=rating_panels(tables["games"]), players=players.frame, **known,
                         config=TeamFeatureConfig(groups, config.windows, line=config.line))
    return players, made


def test_the_home_edge_of_elo_reaches_its_projection_and_nothing_else():
    tables, day = league(), ["2015-12-01"]
    known = {n: t for n, t in tables.items() if n in ("games", "teams", "records")}
    panels = rating_panels(tables["games"])
    with_edge, without = (team_features(as_of=day, panels=panels, config=CONFIG, elo_edge=edge, **known).frame for edge in (100.0, 0.0))
    changed = [c for c in with_edge if not with_edge[c].equals(without[c])]
    assert changed == ["projected_wins_elo"]


def altered(frame, rows):
    """Changes the numbers of some rows, not what the rows are about."""
    numbers = [c for c in frame.select_dtypes("number") if c not in ("season", "team_id", "player_id")]
    other = frame[numbers].astype(float)
    return frame.assign(**other.where(~np.asarray(rows)[:, None] & other.notna(), 3 * other.add(np.arange(len(other)), axis=0) + 0.1))


def scrambled(tables, day, draw):
    """Changes all that is dated on the day or later, or told after the season: scores, box scores, stints, reports; not the schedule."""
    season = day.year + (day.month >= 8)
    games, rapm, out = tables["games"], tables["rapm"], dict(tables)
    late = games["date"] >= day
    points = draw.permuted(np.tile(np.arange(60, 170), (len(games), 1)), axis=1)
    out["games"] = games.assign(home_points=games["home_points"].mask(late, points[:, 0]),
                                away_points=games["away_points"].mask(late, points[:, 1]))
    for name in ("box", "stats"):
        gone = (tables[name]["date"] >= day).to_numpy()
        out[name] = altered(tables[name], gone)[~gone | (draw.random(len(gone)) < 0.5)]
    later = (rapm.frame["date"] >= day).to_numpy()
    fives = [np.where(later[:, None], five + 1, five) for five in (rapm.offense, rapm.defense)]
    out["rapm"] = StintRows(rapm.frame.assign(points=rapm.frame["points"].mask(later, 300.0)), *fives)
    reports = tables["injuries"]
    out["injuries"] = reports.assign(player_id=reports["player_id"].mask(reports["date"] >= day, 263 - reports["player_id"] % 100))
    out["records"] = altered(tables["records"], tables["records"]["season"] >= season)
    out["raptor"] = altered(tables["raptor"], tables["raptor"]["season"] >= season)  # who is on a team this season stays
    extra = tables["extra"]
    out["extra"] = extra.where(extra.index.get_level_values("season").to_numpy()[:, None] <= season, 9.9)
    return out


@pytest.mark.parametrize("day", DAYS)
def test_nothing_of_the_day_or_later_changes_a_bit(day):
    tables = league()
    made, again = features(tables, day), features(scrambled(tables, day, np.random.default_rng(3)), day)
    for one, other in zip(made, again, strict=True):
        pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
        assert one.columns == other.columns and one.absent == other.absent
    assert len(made[1].frame) == 8 and len(made[0].frame) > 8
    if day == DAYS[2]:
        assert list(made[1].columns) == list(TEAM_GROUPS) and not made[1].absent and not made[0].absent


def test_every_group_does_depend_on_what_came_before():
    """The same scrambling a week earlier reaches every group that is made of dated tables."""
    tables, day = league(), DAYS[2]
    before, after = features(tables, day)[1], features(scrambled(tables, day - pd.Timedelta(days=7), np.random.default_rng(3)), day)[1]
    moved = {g for g, columns in before.columns.items() if not before.frame[list(columns)].equals(after.frame[list(columns)])}
    assert moved == set(TEAM_GROUPS) - {"rest", "previous", "preseason"}
    known = {n: tables[n] for n in ("games", "teams", "records", "raptor", "extra")}
    for name, group in (("records", "previous"), ("raptor", "continuity"), ("extra", "preseason")):
        other = known | {name: altered(known[name], np.ones(len(known[name]), bool))}
        made = [team_features(as_of=day, panels=rating_panels(t["games"]), config=TeamFeatureConfig((group,)), **t).frame
                for t in (known, other)]
        assert not made[0].equals(made[1]), group


def test_only_the_schedule_of_later_games_is_seen():
    tables, day = league(), DAYS[2]
    games = tables["games"]
    late = (games["date"] >= day) & (games["season"] == 2016)
    turned = games.assign(home_id=games["home_id"].mask(late, games["away_id"]), away_id=games["away_id"].mask(late, games["home_id"]))
    known = {n: t for n, t in tables.items() if n not in ("rapm", "games", "stats", "injuries")}
    made = [team_features(g, as_of=day, panels=rating_panels(games), config=CONFIG, **known).frame for g in (games, turned)]
    changed = {c for c in made[0] if not made[0][c].equals(made[1][c])}
    assert {"projected_wins", "home_share_remaining"} <= changed <= SCHEDULED


def test_equal_to_a_plain_loop(bench, capsys):
    """On the first season's first morning, which has neither games nor a season before, on one in the middle and on the last day."""
    assert bench.main(["--seasons", "3", "--plain", "3"]) == 0
    text = capsys.readouterr().out
    assert "the same features: yes" in text and "56 features" in text and "x as long" in text
    with pytest.raises(SystemExit):
        bench.main(["--seasons", "1"])


def test_rows_and_days_together_or_apart_in_any_order():
    tables = league()
    whole = features(tables, DAYS[::-1])[1]
    shuffled = {n: t if n in ("rapm", "extra") else t.sample(frac=1, random_state=1) for n, t in tables.items()}
    pd.testing.assert_frame_equal(whole.frame, features(shuffled, DAYS)[1].frame, check_exact=True)
    for day in DAYS[1:3]:
        alone = features(tables, day)[1].frame
        same = whole.frame.loc[whole.frame["as_of"] == day, list(alone)].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, same, check_exact=True)


HAWKS, CELTICS, LAKERS, SUNS = 1610612737, 1610612738, 1610612747, 1610612756
BY_HAND = pd.DataFrame([  # home, away, day in November 2015, points
    (HAWKS, CELTICS, 1, 100, 90), (LAKERS, SUNS, 1, 95, 100), (CELTICS, HAWKS, 2, 80, 100), (HAWKS, LAKERS, 5, 110, 102),
    (SUNS, CELTICS, 6, 99, 98), (HAWKS, SUNS, 7, 90, 96), (LAKERS, CELTICS, 9, 101, 95), (SUNS, HAWKS, 10, 100, 99),
    (CELTICS, LAKERS, 10, 88, 99), (SUNS, LAKERS, 11, 99, 98)], columns=["home_id", "away_id", "day", "home_points", "away_points"])


def by_hand():
    games = BY_HAND.assign(season=2016, season_type="regular", date=pd.Timestamp("2015-10-31") + pd.to_timedelta(BY_HAND["day"], unit="D"))
    return games.drop(columns="day").assign(game_id=[f"g{i}" for i in games.index])


def test_numbers_by_hand():
    """On the morning of the 9th: Hawks 3-1, Celtics 0-3, Lakers 0-2, Suns 3-0, by +10 +20 +8 -6; -10 -20 -1; -5 -8; +5 +1 +6 points."""
    games, config = by_hand(), TeamFeatureConfig(windows=(2,), line=2, home_edge=2.0)
    panels = rating_panels(games)
    made = team_features(games, teams_table([2016]), "2015-11-09", panels, config).frame.set_index("team_id")
    assert made["games_played"].to_dict() == {HAWKS: 4, CELTICS: 3, LAKERS: 2, SUNS: 3}
    assert made["margin"].to_dict() == {HAWKS: 8, CELTICS: -31 / 3, LAKERS: -6.5, SUNS: 4} and made["win_pct"][HAWKS] == 0.75
    assert made["margin_2"].to_dict() == {HAWKS: 1, CELTICS: -10.5, LAKERS: -6.5, SUNS: 3.5}
    assert made["games_behind_line"].to_dict() == {HAWKS: -2.5, CELTICS: 0, LAKERS: 0, SUNS: -2.5}  # of two teams a conference
    assert made["games_behind_first"].to_dict() == {HAWKS: 0, CELTICS: 2.5, LAKERS: 2.5, SUNS: 0}
    assert made["rest_days"].to_dict() == {HAWKS: 1, CELTICS: 2, LAKERS: 3, SUNS: 1}
    assert made["back_to_backs_14_days"].to_dict() == {HAWKS: 1, CELTICS: 1, LAKERS: 0, SUNS: 1}
    assert made["games_remaining"].to_dict() == {HAWKS: 1, CELTICS: 2, LAKERS: 3, SUNS: 2}
    assert made["back_to_backs_remaining"].to_dict() == {HAWKS: 0, CELTICS: 0.5, LAKERS: 2 / 3, SUNS: 0.5}
    assert made["rest_edge_remaining"].to_dict() == {HAWKS: 0, CELTICS: -0.5, LAKERS: (1 + 0 + 0) / 3, SUNS: 0}
    assert made["home_share_remaining"].to_dict() == {HAWKS: 0, CELTICS: 0.5, LAKERS: 1 / 3, SUNS: 1}
    srs = panels["srs"].as_of("2015-11-09")
    np.testing.assert_allclose(made.loc[HAWKS, "sos_played"], (2 * srs[CELTICS] + srs[LAKERS] + srs[SUNS]) / 4)
    np.testing.assert_allclose(made.loc[LAKERS, "sos_remaining"], (2 * srs[CELTICS] + srs[SUNS]) / 3)
    first = panels["srs"].as_of("2015-11-06")[SUNS]  # as it was before their game, not as it is now
    second = panels["srs"].as_of("2015-11-02")[HAWKS]
    assert made.loc[CELTICS, "adjusted_margin_2"] == pytest.approx((-20 - 2 + second - 1 + 2 + first) / 2)
    opening = team_features(games, teams_table([2016]), "2015-11-01", panels, config)
    assert set(opening.absent) >= {"form", "adjusted"} and opening.frame["rest_days"].eq(6).all() and opening.frame["win_pct"].isna().all()


def test_box_scores_of_few_games_count_as_none():
    tables, day = league(), DAYS[2]
    played = tables["games"].query("season == 2016 and date < @day")
    for share, there in ((0.4, False), (0.6, True)):
        some = tables["box"][tables["box"]["game_id"].isin(played["game_id"].iloc[:int(share * len(played))])]
        config = TeamFeatureConfig(("four_factors", "efficiency"), coverage=share - 0.25 if there else 1.0)
        made = team_features(tables["games"], tables["teams"], day, rating_panels(tables["games"]), config, box=some)
        assert (not made.absent) == there


def test_continuity_from_box_scores_is_the_share_of_minutes_on_the_roster_of_the_day():
    tables, day = league(), DAYS[2]
    players, made = features(tables, day)
    stats, team = tables["stats"], made.frame["team_id"].iloc[0]
    last = stats[(stats["season"] == 2015) & (stats["team_id"] == team)].groupby("player_id")["seconds"].sum()
    roster = set(players.frame.loc[players.frame["team_id"] == team, "player_id"])
    assert made.frame["continuity"].iloc[0] == pytest.approx(last[last.index.isin(roster)].sum() / last.sum())
    assert made.frame["continuity"].between(0.2, 1).all() and made.frame["continuity"].min() < 0.9


def test_groups_without_data_are_absent_with_a_note():
    tables = league()
    panels = rating_panels(tables["games"])
    made = team_features(tables["games"], tables["teams"], DAYS, {n: panels[n] for n in ("elo", "massey")}, CONFIG,
                         injuries=tables["injuries"].iloc[:0])
    assert set(made.absent) == {*TEAM_GROUPS} - {"record", "form", "rest", "motivation"}
    assert made.absent["sos"] == "needs the rating panel srs" and "team_game_stats" in made.absent["four_factors"]
    assert "raptor=" in made.absent["continuity"] and "continuity is absent" in str(made)
    assert [c for part in made.columns.values() for c in part] == list(made.frame)[3:]
    late = team_features(tables["games"], tables["teams"], DAYS[0], panels, CONFIG, records=tables["records"].query("season > 2014"))
    assert late.absent["previous"] == TEAM_FEATURES["previous"].empty


@pytest.mark.parametrize("words, call", [
    ("did you mean motivation", lambda t, p: TeamFeatureConfig(groups=("motivaton",))),
    ("ascending", lambda t, p: TeamFeatureConfig(windows=(30, 10))),
    ("each group once", lambda t, p: TeamFeatureConfig(groups=("form", "form"))),
    ("1 or more", lambda t, p: TeamFeatureConfig(line=0)),
    ("no day", lambda t, p: team_features(t["games"], t["teams"], [], p)),
    ("not a date", lambda t, p: team_features(t["games"], t["teams"], "soon", p)),
    ("seasons there: .2015, 2016.", lambda t, p: team_features(t["games"], t["teams"], "2017-01-01", p)),
    ("pass the table games", lambda t, p: team_features(t["games"].drop(columns="season_type"), t["teams"], DAYS, p)),
    ("no conference for team", lambda t, p: team_features(t["games"], t["teams"].iloc[:20], DAYS, p)),
    ("pass the table team_game_stats", lambda t, p: team_features(t["games"], t["teams"], DAYS, p, box=t["box"].drop(columns="points"))),
    ("same build", lambda t, p: team_features(t["games"], t["teams"], DAYS, p, box=t["box"].assign(date=pd.Timestamp("2001-01-01")))),
    ("rename it", lambda t, p: team_features(t["games"], t["teams"], DAYS, p, extra=t["extra"].rename(columns={"raptor_formula": "elo"}))),
])
def test_misuse_is_told(words, call):
    with pytest.raises(ValueError, match=words):
        call(league(), rating_panels(league()["games"]))
    with pytest.raises(TeamFeatureError):
        TeamFeatureConfig(windows=())


def test_the_yaml_holds_the_defaults():
    sections = yaml.safe_load((BENCHMARKS.parent / "config" / "nba_strength.yaml").read_text())["parameters"]["features"]
    assert TeamFeatureConfig.from_config(sections["teams"]) == TeamFeatureConfig()
    assert set(sections["teams"]) == set(TeamFeatureConfig.__dataclass_fields__)
    players = {name: tuple(value) if isinstance(value, list) else value for name, value in sections["players"].items()}
    assert PlayerFeatureConfig(**players) == PlayerFeatureConfig()
    with pytest.raises(TeamFeatureError, match="did you mean windows"):
        TeamFeatureConfig.from_config({"window": [10]})


def test_partial_correlations_see_what_the_forecast_does_not():
    """Against the textbook formula on ranks, one list; a feature that the forecast has, and one that never varies, are left out."""
    draw = np.random.default_rng(2)
    given, extra = draw.normal(size=(2, 30))
    frame = pd.DataFrame({"season": 2016, "as_of": 0, "team_id": range(30), "given": given, "extra": extra, "same": 3 * given, "flat": 1.0,
                          "outcome": given + 0.5 * extra + draw.normal(size=30), "some": np.where(draw.random(30) < 0.5, extra, np.nan)})
    table = partial_correlations(frame, ["extra", "same", "flat", "some"], "outcome", "given", draws=100).set_index("feature")
    r = frame[["extra", "outcome", "given"]].corr("spearman")
    plain = (r.loc["extra", "outcome"] - r.loc["extra", "given"] * r.loc["outcome", "given"]) / np.sqrt(
        (1 - r.loc["extra", "given"] ** 2) * (1 - r.loc["outcome", "given"] ** 2))
    assert table.loc["extra", "value"] == pytest.approx(plain) and set(table.index) == {"extra", "some"}
    assert table.loc["some", "n"] == frame["some"].notna().sum() and (table["low"] <= table["value"]).all()


REAL = Path(os.environ.get("SPORTSML_RAW", "/nowhere")) / "nba"


@pytest.mark.skipif(not (REAL / "game_results.csv").exists(), reason="SPORTSML_RAW does not hold the real NBA files")
def test_real_seasons():
    """All seasons on eight days within the bar; projected wins are those of the forecasts."""
    from sportsml.nba.names import read_raptor
    from sportsml.nba.results import read_game_results, read_team_records

    games = read_game_results(REAL / "game_results.csv").rows
    records, raptor = read_team_records(REAL / "Team_Records.csv").rows, read_raptor(REAL / "raptor_by_team.csv").rows
    panels, teams = rating_panels(games), teams_table(games["season"].unique())
    days = season_days(games, ("preseason", "11-20", "12-10", "12-31", "01-20", "02-10", "03-01", "03-20"))
    start = time.perf_counter()
    made = team_features(games, teams, days["as_of"], panels, records=records, raptor=raptor)
    assert time.perf_counter() - start < 10  # about a second alone
    assert len(made.frame) == 30 * 8 * games["season"].nunique()
    assert set(made.absent) == {"four_factors", "efficiency", "injuries", "preseason"}
    for season, day in ((2008, "2007-12-31"), (2017, "2017-01-20")):
        signals, mine = rank_signals(games, records, panels, season, day), made.frame[made.frame["as_of"] == day].set_index("team_id")
        for c in signals:
            np.testing.assert_allclose(mine[c], signals[c], rtol=1e-12, atol=1e-10)
    assert made.frame.loc[made.frame["season"].between(2015, 2017), "continuity"].between(0.2, 1).all()
    assert made.frame["previous_srs"].notna().all() and made.frame.loc[made.frame["as_of"].dt.month > 10, "adjusted_margin"].notna().all()
