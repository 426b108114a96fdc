"""Cross-validated RAPM against scikit-learn on the same rows and penalties; exits with 1 over the bar.

    python benchmarks/rapm.py

Rows are simulated at the size of the 491 games of 2015-16: 33,000 offensive stints, 450 players, so about 900 columns.
The comparison is what one would write first: `GridSearchCV` of `Ridge` with `GroupKFold` on the sparse design. Both are held to
one thread. The bar covers everything from the rows to the table with standard errors, which scikit-learn does not give.
"""
import sys
from functools import partial

import numpy as np
import pandas as pd
from scipy.sparse import diags_array
from sklearn import set_config
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import GridSearchCV, GroupKFold
from threadpoolctl import threadpool_limits
from timing import best_of

from sportsml.nba.rapm import RapmConfig, StintRows, _design, fit_rapm

GAMES, STINTS, TEAMS, SQUAD = 491, 67, 30, 15  # 67 offensive stints a game: 32,897 rows
BAR = 1.0  # seconds
CONFIG = RapmConfig()


def simulate(seed: int = 0) -> StintRows:
    "Rows of random fives with planted skills; regulars play more than the end of the bench."
    draw, n = np.random.default_rng(seed), GAMES * STINTS
    skill = draw.normal(0, 1.8, (2, TEAMS * SQUAD))
    teams = np.array([draw.choice(TEAMS, 2, replace=False) for _ in range(GAMES)])
    sides = np.where((np.arange(n) % 2)[:, None] == 0, np.repeat(teams, STINTS, axis=0), np.repeat(teams[:, ::-1], STINTS, axis=0))
    wish = np.log(np.linspace(1, 0.05, SQUAD)) + draw.gumbel(size=(2, n, SQUAD))
    fives = np.argsort(-wish, axis=2)[:, :, :5] + SQUAD * sides.T[:, :, None]  # (2, N, 5)
    home, possessions = np.arange(n) % 2 == 0, 1.0 + draw.poisson(1.9, n)
    expected = 105 + np.where(home, 1.2, -1.2) + skill[0][fives[0]].sum(axis=1) - skill[1][fives[1]].sum(axis=1)
    frame = pd.DataFrame({
        "game_id": np.repeat([f"{21500001 + g:010d}" for g in range(GAMES)], STINTS), "season": 2016,
        "date": np.repeat(pd.Timestamp("2015-10-27") + pd.to_timedelta(np.arange(GAMES) // 8, unit="D"), STINTS),
        "stint": np.tile(np.arange(STINTS) // 2, GAMES), "offense_id": 1610612737 + sides[:, 0],
        "defense_id": 1610612737 + sides[:, 1], "home": home, "possessions": possessions,
        "points": expected + 110 / np.sqrt(possessions) * draw.normal(size=n)})
    return StintRows(frame, fives[0] + 1, fives[1] + 1)


def sklearn_rapm(rows: StintRows) -> GridSearchCV:
    "Searches the penalty with scikit-learn; the home edge escapes most of the penalty by being written in large units."
    free = _design(rows)[1][:, :-1]@ diags_array(np.append(np.ones(2 * TEAMS * SQUAD), 10.0))
    game = np.unique(rows.frame["game_id"].to_numpy(str), return_inverse=True)[1]
    weighted = make_scorer(mean_squared_error, greater_is_better=False).set_score_request(sample_weight=True)
    search = GridSearchCV(Ridge().set_fit_request(sample_weight=True), {"alpha": CONFIG.penalties}, scoring=weighted,
                          cv=GroupKFold(CONFIG.folds))
    return search.fit(free, rows.frame["points"], sample_weight=rows.frame["possessions"], groups=game)


def main() -> int:  # exit status
    set_config(enable_metadata_routing=True)
    rows = simulate()
    with threadpool_limits(1):
        seconds, fit = best_of(partial(fit_rapm, rows, CONFIG), 5)
        slow, search = best_of(partial(sklearn_rapm, rows), 1)
        same = fit_rapm(rows, RapmConfig(penalties=(search.best_params_["alpha"],)))
    columns = 2 * len(fit.table) + 2
    print(f"{len(rows):,} offensive stints, {columns} columns, {CONFIG.folds} folds, {len(CONFIG.penalties)} penalties, one thread")
    ours = np.concatenate([same.table["offensive"], same.table["defensive"]])
    late = seconds > BAR
    print(f"fit_rapm, with standard errors   {seconds:6.2f} s  penalty {fit.penalty:6.0f}  bar {BAR:.1f} s{'  TOO SLOW' if late else ''}")
    print(f"GridSearchCV(Ridge), GroupKFold  {slow:6.2f} s  penalty {search.best_params_['alpha']:6.0f}  {slow / seconds:.1f} x as long")
    difference = np.abs(ours - search.best_estimator_.coef_[:-1]).max()
    print(f"largest difference between the skills at that penalty: {difference:.3f} points per 100 possessions")
    return int(late or difference > 0.05)


if __name__ == "__main__":
    sys.exit(main())
