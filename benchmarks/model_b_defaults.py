"""How the default settings of Model B and of the playoff classifier were chosen; prints the tables, writes nothing.

    SPORTSML_RAW=FOLDER python benchmarks/model_b_defaults.py [--quick]

Two sources, and no season that the analyses test on. Simulated leagues, where projected wins know all there is to know: whatever trees
change there is noise, so their loss is the price of looking. The real warm-up, 2006-07 to 2009-10, of which the last two seasons are
scored: that is where something real may be found, and two seasons are few. The first season of either is left out, because its ratings
start from nothing. A setting is judged by the mean of both sources. Model B: Spearman with the final rank on seven days of a season,
minus that of projected wins on the same lists; `from scratch` are trees that do not start from projected wins. Classifier: log loss on six
days, minus that of the standings; `rounds 0` is the one without trees.
"""
import argparse
import sys
from dataclasses import replace

import pandas as pd

from sportsml.core import project_paths, track
from sportsml.metrics import log_loss_rows, rank_mae, spearman
from sportsml.nba.clone import CloneConfig, playoff_field, playoff_probabilities
from sportsml.nba.forecasts import rating_panels
from sportsml.nba.franchises import teams_table
from sportsml.nba.results import read_game_results, read_playoff_series, read_team_records
from sportsml.nba.sim import LeagueConfig, simulate_league
from sportsml.nba.tabular import MODELS, ModelBConfig, ModelBTrainer, season_outcomes
from sportsml.nba.team_features import season_days, team_features

WARM_UP = range(2007, 2011)  # real seasons, by the year they end
DAYS = ("11-20", "12-10", "12-31", "01-20", "02-10", "03-01", "03-20")
SEEDS = (11, 12, 13)  # of simulated leagues of eight seasons
LEAST = 1  # seasons to learn from before the first one that is scored
START = ModelBConfig(trees=60)  # fewer trees than by default: quicker, a little noisier
BOOSTED = [{"rounds": rounds, "penalty": penalty, "depth": depth} for rounds in (5, 10, 20, 40)
           for penalty, depth in ((30.0, 2), (300.0, 2), (300.0, 4))]
FOREST = [{"leaf": leaf, "columns": columns} for leaf in (50, 150, 300) for columns in (0.25, 0.5)]
CLONE = [{"rounds": 0}, *({"rounds": rounds, "penalty": penalty} for rounds in (10, 20, 40, 80) for penalty in (30.0, 300.0))]
Part = tuple[pd.DataFrame, pd.DataFrame, pd.Series]  # features; outcomes; who was in the playoffs


def prepared(games: pd.DataFrame, records: pd.DataFrame, series: pd.DataFrame) -> Part:
    "Makes features and outcomes of all seasons but the first."
    seasons = sorted(games["season"].unique())[1:]
    teams, days = teams_table(games["season"].unique()), season_days(games, DAYS)
    days = days.loc[days["season"].isin(seasons), "as_of"]
    frame = team_features(games, teams, days, rating_panels(games), records=records).frame
    outcomes = season_outcomes(games, teams, seasons)
    return frame, outcomes, playoff_field(series, outcomes)


def simulated(seed: int) -> Part:
    "Prepares a simulated league."
    league = simulate_league(LeagueConfig(seasons=8, first_season=2007, seed=seed), progress=False)
    games = league.games.assign(season_type="regular", game_id=[f"{g:010d}" for g in league.games.index])
    return prepared(games, league.records.assign(complete=True), league.series)


def real() -> Part | None:
    "Prepares the real warm-up; None where the files are not there."
    raw = project_paths().raw / "nba"
    if not (raw / "game_results.csv").exists():
        return None
    games = read_game_results(raw / "game_results.csv").rows
    records = read_team_records(raw / "Team_Records.csv").rows
    series = read_playoff_series(next(raw.glob("playoff_series_*.csv"))).rows
    return prepared(games[games["season"].isin(WARM_UP)].reset_index(drop=True), records[records["season"] < WARM_UP[-1]], series)


def rank_gains(part: Part, config: ModelBConfig) -> pd.DataFrame:  # model, spearman, mae; a row a list
    "Scores Model B walking forward, every list minus projected wins."
    (frame, outcomes, _), out = part, []
    if config.base == "nothing":  # trees that start from nothing: no wins, and a whole season to come
        frame = frame.assign(nothing=0.0, whole_season=82.0)
    for season in sorted(frame["season"].unique())[LEAST:]:
        test, final = frame[frame["season"] == season], outcomes["rank"].loc[season]
        fit = ModelBTrainer(config).fit(frame[frame["season"] < season], outcomes)
        strength = fit.predict(test).join(test[["as_of", "team_id", "projected_wins"]])
        for _, own in strength.groupby("as_of"):
            true = final.loc[own["team_id"]].to_numpy()
            value = {m: (spearman(true, own[m]), rank_mae(true, own[m])) for m in (*MODELS, "projected_wins")}
            out += [{"model": m, "spearman": value[m][0] - value["projected_wins"][0], "mae": value[m][1] - value["projected_wins"][1]}
                    for m in MODELS]
    return pd.DataFrame(out)


def clone_gains(part: Part, config: CloneConfig) -> pd.DataFrame:  # model, log_loss; a row a team and day
    "Scores the classifier walking forward, minus the standings."
    frame, _, field = part
    frame, out = frame[frame["as_of"].dt.strftime("%m-%d") != DAYS[-1]].reset_index(drop=True), []
    inside = pd.Series(field.loc[pd.MultiIndex.from_frame(frame[["season", "team_id"]])].to_numpy(), frame.index)
    teams = teams_table(frame["season"].unique())
    for season in sorted(frame["season"].unique())[LEAST:]:
        early, now = frame["season"] < season, frame["season"] == season
        p = playoff_probabilities(frame[early], inside[early], frame[now], teams, config)
        out.append(log_loss_rows(inside[now], p["clone"]) - log_loss_rows(inside[now], p["standings"]))
    return pd.concat([pd.DataFrame({"model": "clone", "log_loss": o}) for o in out])


def search(title: str, grid: list[dict], parts: dict[str, list[Part]], models: tuple[str, ...], start: ModelBConfig | CloneConfig) -> None:
    "Prints a row a setting and model, the best first."
    rows, gains = [], rank_gains if isinstance(start, ModelBConfig) else clone_gains
    for setting in track(grid, title, len(grid)):
        found = {name: pd.concat([gains(p, replace(start, **setting)) for p in own]) for name, own in parts.items()}
        for model in models:
            means = {name: f[f["model"] == model].mean(numeric_only=True) for name, f in found.items()}
            flat = {f"{metric}, {name}": value for name, mean in means.items() for metric, value in mean.items()}
            rows.append({"model": model, **setting, **flat, "judged by": sum(mean.iloc[0] for mean in means.values()) / len(means)})
    lower = gains is clone_gains
    table = pd.DataFrame(rows).sort_values(["model", "judged by"], ascending=[True, lower])
    print(f"\n{title}: minus {'the standings' if lower else 'projected wins'}\n{table.round(4).to_string(index=False)}", flush=True)


def main(arguments: list[str] | None = None) -> int:  # exit status
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one league, one setting of each")
    quick = parser.parse_args(arguments).quick
    parts, warm_up = {"simulated": [simulated(seed) for seed in (SEEDS[:1] if quick else SEEDS)]}, real()
    if warm_up is None:
        print("No real results in the raw folder (SPORTSML_RAW): simulated leagues only.")
    else:
        parts["warm-up"] = [warm_up]
    cut = slice(1) if quick else slice(None)
    search("Playoff classifier", CLONE[cut], parts, ("clone",), CloneConfig())
    search("Boosted trees", BOOSTED[cut], parts, ("xgb_rank", "xgb_margin"), replace(START, trees=1))
    search("Random forest", FOREST[cut], parts, ("random_forest",), replace(START, rounds=1))
    scratch = {"base": "nothing", "remaining": "whole_season", "rounds": 200, "depth": 3, "leaf": 10}
    search("From scratch", [scratch], parts, MODELS, START)
    return 0


if __name__ == "__main__":
    sys.exit(main())
