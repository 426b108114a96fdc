"""How the form and the penalties of the stack were chosen; prints a table, writes nothing.

    python benchmarks/stack_defaults.py [--quick]

Simulated leagues only: no real season is looked at. The baselines' forecasts are those of a run; three further models are planted.
`blind` ones add noise to projected wins, so that leaving projected wins can only lose; `knowing` ones see a share of what projected wins
will get wrong, and `model_a`, the best of them, exists in the last four of ten seasons only. Shown is the Spearman correlation with the
final rank minus that of projected wins, walking forward, as the mean over leagues and seasons with its standard error.
On six leagues: without an anchor -.0031 (standard error .0013) among blind models, the default .0000 (.0002); among knowing ones +.0114
(.0018) and +.0144 (.0017). Fitting on the seasons with every model only gives +.0056 (.0026).
"""
import argparse
import sys

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneGroupOut

from sportsml.core import rng, track
from sportsml.metrics import spearman
from sportsml.nba.forecasts import forecast_ranks, rating_panels
from sportsml.nba.franchises import teams_table
from sportsml.nba.sim import LeagueConfig, simulate_league
from sportsml.nba.stacking import StackConfig, stack_inputs, walk_stack

SEASONS, FIRST_SCORED, MODEL_A_FROM = range(2007, 2018), 2011, 2014
SHARES = {"blind": {"xgb_rank": (0.0, 0.2), "random_forest": (0.0, 0.22), "model_a": (0.0, 0.25)},  # share of the error seen, own noise
          "knowing": {"xgb_rank": (0.15, 0.2), "random_forest": (0.15, 0.22), "model_a": (0.3, 0.3)}}
SETTINGS = {"default": StackConfig(), "weaker": StackConfig(alphas=(0.5, 5.0, 50.0, 500.0, 5000.0)),
            "weakest, fixed": StackConfig(alphas=(0.5,)), "stronger": StackConfig(alphas=(50.0, 500.0, 5000.0)),
            "choosing from 2 seasons on": StackConfig(min_seasons=2)}


def league_rows(seed: int) -> pd.DataFrame:  # `predictions` rows of target final_rank
    "Forecasts a simulated league with the baselines."
    league = simulate_league(LeagueConfig(seasons=len(SEASONS), first_season=SEASONS[0], seed=seed), progress=False)
    games = league.games.assign(season_type="regular", game_id=[f"{g:010d}" for g in league.games.index])
    rows = forecast_ranks(games, teams_table(SEASONS), league.records.assign(complete=True), rating_panels(games), list(SEASONS), 4)
    return rows[(rows["target_name"] == "final_rank") & (rows["model"] != "previous_srs")]


def planted(rows: pd.DataFrame, shares: dict[str, tuple[float, float]], seed: int) -> pd.DataFrame:
    "Adds models that see a share of the error of projected wins; most of their own noise stays with a team for the season."
    inputs, draw, out = stack_inputs(rows, StackConfig(models=())), rng(seed, "planted"), [rows]
    z = inputs.strength["projected_wins"].to_numpy()
    error = inputs.target.to_numpy() - 0.91 * z
    team = inputs.rows.groupby(["season", "entity_id"]).ngroup().to_numpy()
    for model, (share, noise) in shares.items():
        own = 0.8 * draw.normal(size=team.max() + 1)[team] + 0.6 * draw.normal(size=len(team))
        said = 0.91 * z + share * error + noise * own
        out.append(inputs.rows.drop(columns="day").assign(model=model, target_name="final_rank", pred=said))
    return pd.concat(out, ignore_index=True).query("model != 'model_a' or season >= @MODEL_A_FROM")


def plain_ridge(rows: pd.DataFrame) -> pd.DataFrame:  # season, group_id, target, pred
    "Mixes without an anchor, weights of any sign: RidgeCV over all standardised forecasts, an absent one as its list's mean."
    inputs, out = stack_inputs(rows), []
    x, y, seasons = inputs.strength.fillna(0.0).to_numpy(), inputs.target.to_numpy(), inputs.rows["season"].to_numpy()
    for season in range(FIRST_SCORED, SEASONS[-1] + 1):
        early, now = seasons < season, seasons == season
        folds = LeaveOneGroupOut().split(x[early], groups=seasons[early])
        fit = RidgeCV(np.geomspace(1, 1e4, 9), fit_intercept=False, cv=folds, scoring="neg_mean_squared_error").fit(x[early], y[early])
        out.append(inputs.rows[now].assign(pred=fit.predict(x[now])))
    return pd.concat(out)


def gains(rows: pd.DataFrame, stacked: pd.DataFrame) -> pd.Series:  # by season
    "Scores every list, minus projected wins."
    both = [frame.groupby(["season", "group_id"])[["target", "pred"]].apply(lambda own: spearman(own["target"], own["pred"]))
            for frame in (stacked[stacked["season"] >= FIRST_SCORED], rows[rows["model"] == "projected_wins"])]
    return (both[0] - both[1]).dropna().groupby(level="season").mean()


def main(arguments: list[str] | None = None) -> int:  # exit status
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one league instead of six")
    seeds = range(1000, 1001 if parser.parse_args(arguments).quick else 1006)
    found: dict[tuple[str, str], list[pd.Series]] = {}
    for seed in track(seeds, "leagues", len(seeds)):
        base = league_rows(seed)
        for scene, shares in SHARES.items():
            rows = planted(base, shares, seed)
            mixed = {name: walk_stack(rows, config).rows for name, config in SETTINGS.items()}
            mixed["default, only seasons with every model"] = walk_stack(rows[rows["season"] >= MODEL_A_FROM]).rows
            mixed["no anchor, any sign"] = plain_ridge(rows)
            for name, stacked in mixed.items():
                found.setdefault((scene, name), []).append(gains(rows, stacked))
    every = {key: pd.concat(parts) for key, parts in found.items()}
    table = pd.DataFrame({key: {"gain": own.mean(), "standard error": own.sem(), "from 2016 on": own[own.index >= 2016].mean()}
                          for key, own in every.items()}).T
    print(table.rename_axis(["models", "stack"]).round(4).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
