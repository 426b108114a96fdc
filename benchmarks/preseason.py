"""Preseason lists on the real files: do they stand where the players stood, and do they beat last season's SRS?

    SPORTSML_RAW=../shared/data python benchmarks/preseason.py

RAPTOR has no dates, so the lists of `nba.preseason` place players by the teams of the whole new season. The first table compares that
with the first days of 2015-16, the season with play-by-play. The second ranks the teams of each season; its target is the final rank
where results are there, and else the rank of the teams' own RAPTOR of that season, which follows SRS at .999.
"""
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from sportsml.core import project_paths, rng
from sportsml.nba.boxscores import player_game_stats
from sportsml.nba.lineups import build_lineups, date_games
from sportsml.nba.names import plain_names, read_raptor
from sportsml.nba.playbyplay import read_playbyplay
from sportsml.nba.preseason import MEMBERS, PreseasonConfig, preseason_rosters, raptor_numbers, roster_strength
from sportsml.nba.results import read_game_results, read_team_records
from sportsml.nba.teams import standings

NBA = project_paths().raw / "nba"
FIRST_DAYS = 7


def first_teams(games: pd.DataFrame, raptor: pd.DataFrame) -> pd.DataFrame:
    "Returns for every player of the play-by-play his first team and day: player_id (as in the lists), team_id, date."
    plays = read_playbyplay(sorted(NBA.glob("pbp/*.csv")), progress=False)
    stats = player_game_stats(date_games(plays.games, games), plays.plays, build_lineups(plays.games, plays.plays))
    first = stats.merge(plays.players[["player_id", "name"]], on="player_id").sort_values("date").drop_duplicates("player_id")
    ids = raptor.drop_duplicates("raptor_id").set_index(plain_names(raptor.drop_duplicates("raptor_id")["name"]))["raptor_id"]
    first = first.assign(raptor_id=plain_names(first["name"]).map(ids[~ids.index.duplicated()])).dropna(subset=["raptor_id"])
    return first[["team_id", "date"]].assign(player_id=raptor_numbers(first["raptor_id"]))


def opening_day(games: pd.DataFrame, raptor: pd.DataFrame) -> None:
    "Compares the list of 2015-16 with who played for whom at its start."
    lists, won = preseason_rosters(raptor, games, [2016]), standings(games, 2016)["win_pct"]
    first = first_teams(games, raptor)
    both = lists.merge(first, on="player_id", how="left", suffixes=("", "_first"))
    right = np.where(both["team_id"] == both["team_id_first"], "right", "wrong")
    kind = np.where(both["date"].isna(), f"not seen by {first['date'].max():%b %d}", right)
    print((both["minutes"].groupby(kind).sum() / both["minutes"].sum()).map("{:.1%}".format).to_string())
    soon = first[first["date"] < first["date"].min() + pd.Timedelta(days=FIRST_DAYS)]
    values = lists.drop_duplicates("player_id").set_index("player_id")[["season", "total", "minutes_prior"]]
    then = soon.join(values, on="player_id").dropna()
    for name, frame in (("the season's teams", lists), (f"the teams of the first {FIRST_DAYS} days", then)):
        print(f"Spearman with the final rank, {name}: {spearmanr(roster_strength(frame)[2016].reindex(won.index), won)[0]:.3f}")


def gain(target: dict, ours: dict, theirs: dict, draws: int = 2000) -> tuple[float, float, float]:
    "Returns the mean gain in Spearman over seasons with an interval over teams."
    def once(pick):
        part = [(s, pick(len(t))) for s, t in target.items()]
        return np.mean([spearmanr(ours[s][i], target[s][i])[0] - spearmanr(theirs[s][i], target[s][i])[0] for s, i in part])
    stream = rng(0, "preseason")
    drawn = [once(lambda n: stream.integers(n, size=n)) for _ in range(draws)]
    return once(np.arange), *np.quantile(drawn, [0.025, 0.975])


def main() -> None:
    raptor = read_raptor(NBA / "raptor_by_team.csv").rows
    games, records = read_game_results(NBA / "game_results.csv").rows, read_team_records(NBA / "Team_Records.csv").rows
    opening_day(games, raptor)
    rows = raptor[raptor["season_type"] == "regular"].assign(weighted=lambda f: f["total"] * f["minutes"])
    sums = rows.groupby(["season", "team_id"])[["weighted", "minutes"]].sum()
    own = (sums["weighted"] / sums["minutes"]).groupby("season")  # (season, team)
    own = {season: part.droplevel(0) for season, part in own}
    srs = {s + 1: part.set_index("team_id")["srs"] for s, part in records[records["complete"]].groupby("season")}
    seasons = [s for s in own if s - 1 in own]
    with_games = [s for s in seasons if s in set(games["season"]) and s in srs]
    days = pd.DataFrame({"season": seasons, "date": [pd.Timestamp(s - 1, 10, 20) for s in seasons]})
    for members in MEMBERS:
        strength = roster_strength(preseason_rosters(raptor, days, config=PreseasonConfig(members=members)))
        for name, target, base in (("final rank", {s: standings(games, s)["win_pct"] for s in with_games}, srs),
                                   ("RAPTOR of the season", {s: own[s] for s in seasons}, {s: own[s - 1] for s in seasons})):
            lined = {s: (t.to_numpy(), *(f[s].reindex(t.index).to_numpy() for f in (strength, base))) for s, t in target.items()}
            value, low, high = gain(*({s: v[i] for s, v in lined.items()} for i in range(3)))
            rho = [np.mean([spearmanr(v[i], v[0])[0] for v in lined.values()]) for i in (1, 2)]
            print(f"{members}, {name} of {min(target)} .. {max(target)}: Spearman {rho[0]:.3f}, last season alone {rho[1]:.3f}; "
                  f"difference {value:+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
