"""Team features of eleven seasons on eight days each against the obvious loop over days and teams; exits with 1 over the bar, or where
they differ.

    python benchmarks/team_features.py [--seasons 11] [--plain 4]

Simulated results (1,230 games a season), box scores, injuries and players of our own making, all groups on, one core. The ratings are
made before and not counted. The loop runs for a few days only, and its time is taken per day.
"""
import argparse
import sys
import time

import numpy as np
import pandas as pd
from scipy.stats import norm
from timing import best_of

from sportsml.nba.forecasts import rating_panels
from sportsml.nba.franchises import teams_table
from sportsml.nba.players import season_on
from sportsml.nba.sim import LeagueConfig, simulate_league
from sportsml.nba.team_features import TeamFeatureConfig, season_days, team_features

DAYS = ("preseason", "11-20", "12-10", "12-31", "01-20", "02-10", "03-01", "03-20")
BAR = 10.0  # seconds for eleven seasons
BOX = ("points", "possessions", "minutes", "field_goals", "three_pointers", "field_goal_attempts", "turnovers", "offensive_rebounds",
       "defensive_rebounds", "free_throws")


def made_tables(seasons: int, first_season: int = 2007, seed: int = 0) -> dict:
    """Returns results of a simulated league and random tables beside them: records, box scores, players, injuries, RAPTOR, strengths."""
    draw = np.random.default_rng(seed)
    league = simulate_league(LeagueConfig(seasons=seasons, first_season=first_season, seed=seed), progress=False)
    games = league.games.assign(season_type="regular", game_id=[f"{g:010d}" for g in range(len(league.games))])
    box = []
    for side in ("home", "away"):
        counts = {c: draw.integers(*span, len(games)) for c, span in (
            ("possessions", (85, 110)), ("three_pointers", (2, 15)), ("field_goal_attempts", (75, 95)), ("turnovers", (5, 20)),
            ("offensive_rebounds", (3, 15)), ("defensive_rebounds", (20, 40)), ("free_throws", (5, 30)))}
        counts |= {"team_id": games[f"{side}_id"], "points": games[f"{side}_points"], "field_goals": draw.integers(30, 45, len(games))}
        box.append(games[["game_id", "season", "date"]].assign(minutes=48.0, **counts))
    days = season_days(games, DAYS)
    squads = pd.DataFrame({"team_id": np.repeat(np.sort(games["home_id"].unique()), 13)}).assign(player_id=lambda f: 1 + np.arange(len(f)))
    players = days[["as_of"]].merge(squads, how="cross")
    players = players.assign(minutes_10=1.0, minutes_30=draw.uniform(5, 36, len(players)), rapm=draw.normal(0, 2, len(players)))
    players.loc[draw.random(len(players)) < 0.1, "rapm"] = np.nan
    reports = days["as_of"] - pd.to_timedelta(draw.integers(0, 6, len(days)), unit="D")
    injuries = pd.DataFrame({"date": np.repeat(reports.to_numpy(), 40), "status": "Out"})
    injuries["player_id"] = draw.integers(1, 391, len(injuries))
    raptor = [squads.assign(season=s, raptor_id=squads["player_id"], minutes=draw.integers(1, 3000, len(squads)), season_type="regular",
                            team_id=np.where(draw.random(len(squads)) < 0.7, squads["team_id"], draw.permutation(squads["team_id"])))
              [draw.random(len(squads)) < 0.8] for s in sorted(games["season"].unique())]
    key = pd.MultiIndex.from_frame(league.records[["season", "team_id"]])
    return {"games": games, "teams": teams_table(games["season"].unique()), "records": league.records.assign(complete=True),
            "box": pd.concat(box, ignore_index=True), "players": players, "injuries": injuries.drop_duplicates(),
            "raptor": pd.concat(raptor), "extra": pd.DataFrame({"raptor_formula": draw.normal(0, 3, len(key))}, index=key)}


def average(values: list) -> float:
    return sum(values) / len(values) if values else np.nan


def plain_factors(own: list[dict], other: list[dict]) -> dict:
    def total(rows, name):
        return sum(r[name] for r in rows)

    shots = total(own, "field_goal_attempts")
    rebounds = total(own, "offensive_rebounds")
    return {"effective_field_goal_share": (total(own, "field_goals") + 0.5 * total(own, "three_pointers")) / shots,
            "turnover_share": total(own, "turnovers") / total(own, "possessions"),
            "offensive_rebound_share": rebounds / (rebounds + total(other, "defensive_rebounds")),
            "free_throw_rate": total(own, "free_throws") / shots}


def plain_team(team: int, day: pd.Timestamp, schedule: pd.DataFrame, panels: dict, edge: float, sigma: float, config: TeamFeatureConfig,
               box: dict) -> dict:
    """Returns what follows from a team's own games, straight from the definitions; `schedule` is its season, from its side, by date."""
    now = {name: p.as_of(day) for name, p in panels.items()}
    played, left = schedule[schedule["date"] < day].to_dict("records"), schedule[schedule["date"] >= day].to_dict("records")
    row = {name: now[name][team] for name in ("elo", "massey", "srs", "pythagorean")}
    wins = sum(g["margin"] > 0 for g in played)
    leads = {name: [row[name] - now[name][g["opponent"]] + g["side"] * home for g in left] for name, home in (("srs", edge), ("elo", 100))}
    row |= {"games_played": len(played), "wins_so_far": wins, "games_remaining": len(left),
            "projected_wins": wins + sum(norm.cdf(lead / sigma) for lead in leads["srs"]),
            "projected_wins_elo": wins + sum(1 / (1 + 10 ** (-lead / 400)) for lead in leads["elo"])}
    for part, mine in (("played", played), ("remaining", left)):
        row |= {f"sos_{part}": average([now["srs"][g["opponent"]] for g in mine]),
                f"home_share_{part}": average([g["side"] > 0 for g in mine])}
    for w, name in ((82, ""), *((w, f"_{w}") for w in config.windows)):
        last = played[-w:]
        row |= {f"win_pct{name}": average([g["margin"] > 0 for g in last]), f"margin{name}": average([g["margin"] for g in last]),
                f"adjusted_margin{name}": average([g["margin"] - g["side"] * edge + g["met"] for g in last])}
    recent = config.recent_days
    row |= {"rest_days": min((day - played[-1]["date"]).days, 7) - 1 if played else 6,
            f"games_{recent}_days": sum((day - g["date"]).days <= recent for g in played),
            f"back_to_backs_{recent}_days": sum((day - g["date"]).days <= recent and g["second"] for g in played),
            "back_to_backs_remaining": average([g["second"] for g in left]), "rest_edge_remaining": average([g["rest"] for g in left])}
    with_box = [g for g in played if (g["date"], team) in box]
    if with_box and len(with_box) >= config.coverage * len(played):
        own, other = ([box[g["date"], t] for g in with_box for t in [team if mine else g["opponent"]]] for mine in (True, False))
        mine, theirs = plain_factors(own, other), plain_factors(other, own)
        row |= mine | {f"opponent_{c}": v for c, v in theirs.items()} | {f"{c}_difference": mine[c] - theirs[c] for c in mine}
        points, possessions = ([sum(b[c] for b in rows) for rows in (own, other)] for c in ("points", "possessions"))
        scored, allowed = (100 * a / b for a, b in zip(points, possessions, strict=True))
        net = [100 * (a["points"] / a["possessions"] - b["points"] / b["possessions"])
               + (g["met"] - g["side"] * edge) * 200 / (a["possessions"] + b["possessions"])
               for g, a, b in zip(with_box, own, other, strict=True)]
        row |= {"offensive_rating_so_far": scored, "defensive_rating_so_far": allowed, "net_rating_so_far": scored - allowed,
                "adjusted_net_rating": average(net), "pace_so_far": 24 * sum(possessions) / sum(b["minutes"] for b in own)}
    return row


def plain_injuries(players: pd.DataFrame, injuries: pd.DataFrame, day: pd.Timestamp, team: int, config: TeamFeatureConfig) -> dict:
    earlier = injuries[injuries["date"] < day]["date"]
    if earlier.empty or (day - earlier.max()).days > config.report_days:
        return {}
    out = set(injuries[injuries["date"] == earlier.max()]["player_id"])
    squad = players[(players["as_of"] == day) & (players["team_id"] == team)].to_dict("records")
    minutes = {p["player_id"]: p["minutes_30"] for p in squad}
    value = {p["player_id"]: p["minutes_30"] * max((0 if np.isnan(p["rapm"]) else p["rapm"]) + 2, 0) for p in squad}
    return {name: sum(v for p, v in of.items() if p in out) / sum(of.values())
            for name, of in (("injured_minutes_share", minutes), ("injured_value_share", value))}


def plain_continuity(raptor: pd.DataFrame, season: int, team: int) -> float:
    last = raptor[(raptor["season"] == season - 1) & (raptor["team_id"] == team)]
    here = set(raptor[(raptor["season"] == season) & (raptor["team_id"] == team)]["raptor_id"])
    anywhere = set(raptor[raptor["season"] == season]["raptor_id"])
    known = [(r.minutes, r.raptor_id in here) for r in last.itertuples() if r.raptor_id in anywhere]
    return sum(m for m, there in known if there) / sum(m for m, _ in known) if known else np.nan


def plain_features(day: pd.Timestamp, panels: dict, config: TeamFeatureConfig, games: pd.DataFrame, teams: pd.DataFrame,
                   records: pd.DataFrame, box: pd.DataFrame, players: pd.DataFrame, injuries: pd.DataFrame, raptor: pd.DataFrame,
                   extra: pd.DataFrame) -> pd.DataFrame:
    """Returns the features of one day, a team at a time."""
    season, srs = season_on(day), panels["srs"]
    before = games[games["season"] < season]
    expected = srs.at(before["date"], before["home_id"]) - srs.at(before["date"], before["away_id"]) if len(before) else 0
    error = before["home_points"] - before["away_points"] - expected
    edge, sigma = (error.mean(), error.std(ddof=0)) if len(before) else (config.home_edge, config.sigma)
    own = games[games["season"] == season].sort_values("date")
    own_box = {(r["date"], r["team_id"]): r for r in box[(box["season"] == season) & (box["date"] < day)].to_dict("records")}
    sides = {t: [] for t in sorted(set(own["home_id"]))}
    for g in own.itertuples():
        rest = [min((g.date - sides[t][-1]["date"]).days - 1, 3) if sides[t] else 3 for t in (g.home_id, g.away_id)]
        for side, a, b, free in ((1, g.home_id, g.away_id, rest[0] - rest[1]), (-1, g.away_id, g.home_id, rest[1] - rest[0])):
            met = srs.as_of(g.date)[b] if g.date < day else np.nan
            second = bool(sides[a]) and (g.date - sides[a][-1]["date"]).days == 1
            sides[a].append({"date": g.date, "opponent": b, "side": side, "margin": side * (g.home_points - g.away_points), "rest": free,
                             "met": met, "second": second})
    rows, published = [], records.set_index(["season", "team_id"])
    for team, schedule in sides.items():
        row = {"as_of": day, "season": season, "team_id": team}
        row |= plain_team(team, day, pd.DataFrame(schedule), panels, edge, sigma, config, own_box)
        for ago, name in ((1, ""), (2, "_2")):
            if (season - ago, team) in published.index:
                row[f"previous_srs{name}"] = published.loc[(season - ago, team), "srs"]
        if (season - 1, team) in published.index:
            last = published.loc[(season - 1, team)]
            row |= {"previous_win_pct": last["wins"] / last["games"], "previous_playoffs": last["made_playoffs"],
                    "previous_offensive_rating": last["offensive_rating"], "previous_defensive_rating": last["defensive_rating"]}
        row |= plain_injuries(players, injuries, day, team, config)
        row |= {"continuity": plain_continuity(raptor, season, team), "raptor_formula": extra.loc[(season, team), "raptor_formula"]}
        rows.append(row)
    side = teams[teams["season"] == season].set_index("team_id")["conference"]
    for conference in ("E", "W"):
        mine = [r for r in rows if side[r["team_id"]] == conference]
        lead = {r["team_id"]: r["wins_so_far"] - r["games_played"] / 2 for r in mine}
        order = sorted(mine, key=lambda r: (-r["wins_so_far"] / max(r["games_played"], 1), -lead[r["team_id"]], r["team_id"]))
        for r in mine:
            for name, rival in (("line", order[min(config.line, len(order)) - 1]), ("first", order[0])):
                r[f"games_behind_{name}"] = lead[rival["team_id"]] - lead[r["team_id"]]
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> int:
    "Measures, compares and prints."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seasons", type=int, default=11, help="simulated seasons (11)")
    parser.add_argument("--plain", type=int, default=4, help="days that the loop does (4)")
    given = parser.parse_args(arguments)
    if min(given.seasons - 1, given.plain) < 1:
        parser.error(f"--seasons {given.seasons} --plain {given.plain}: at least 2 seasons and 1 day are needed")
    tables, config = made_tables(given.seasons), TeamFeatureConfig()
    panels = rating_panels(tables["games"])
    days = season_days(tables["games"], DAYS)["as_of"]
    table = {name: f for name, f in tables.items() if name not in ("games", "teams")}
    seconds, made = best_of(lambda: team_features(tables["games"], tables["teams"], days, panels, config, **table), 3)
    asked = days.sort_values().iloc[np.linspace(0, len(days) - 1, given.plain).astype(int)].drop_duplicates()
    begin = time.perf_counter()
    plain = pd.concat([plain_features(day, panels, config, **tables) for day in asked], ignore_index=True)
    slow = (time.perf_counter() - begin) / len(asked) * len(days)
    mine = made.frame[made.frame["as_of"].isin(asked)].reset_index(drop=True)
    try:
        pd.testing.assert_frame_equal(mine, plain.reindex(columns=list(mine)), check_dtype=False, rtol=1e-9, atol=1e-9)
        same = not made.absent and set(plain) <= set(mine)
    except AssertionError as e:
        same = print(str(e).splitlines()[0]) or False
    bar = BAR * given.seasons / 11
    print(f"{len(made.frame):,} rows ({len(days)} days of {given.seasons} seasons), {len(made.frame.columns) - 3} features, one core")
    print(f"team_features      {seconds:7.2f} s  bar {bar:.1f} s{'  TOO SLOW' if seconds > bar else ''}")
    print(f"loop over days     {slow:7.2f} s  {slow / seconds:.0f} x as long (from {len(asked)} days)")
    print(f"the same features: {'yes' if same else 'NO'}")
    return int(seconds > bar or not same)


if __name__ == "__main__":
    sys.exit(main())
