"""A small attention model whose training can be killed at a given step; run as a script, it trains in a process of its own."""
import os
import signal
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sportsml.core import rng
from sportsml.nn import TensorRows, masked_softmax
from sportsml.train import AttentionMonitorCallback, BaseTrainer, Callback, TrainConfig

CONFIG = {"epochs": 6, "batch_size": 16, "learning_rate": 0.02, "patience": 6, "device": "cpu"}


class Toy(nn.Module):
    """Pools the values of a roster's players with attention weights; dropout makes the random state matter."""

    def __init__(self, columns: int):
        super().__init__()
        self.value, self.logit = nn.Sequential(nn.Linear(columns, 8), nn.Tanh(), nn.Linear(8, 1)), nn.Linear(columns, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, x, mask):
        weights = masked_softmax(self.logit(x).squeeze(-1), mask)
        return (weights * self.value(self.drop(x)).squeeze(-1)).sum(-1), weights


class ToyTrainer(BaseTrainer):
    columns = ("skill", "minutes", "age")

    def build(self):
        return Toy(len(self.columns))

    def loss(self, model, batch):
        score, weights = model(batch["x"], batch["mask"])
        return (score.float() - batch["target"]).square().mean(), {"attention": (weights, batch["mask"])}

    def describe(self):
        return {**super().describe(), "features": self.columns}


def rosters(rows: int = 80, seed: int = 0) -> TensorRows:
    """Rosters of none to five players; the target is the mean skill weighted by minutes."""
    g = rng(seed, "toy rosters")
    x = g.normal(size=(rows, 5, 3))
    mask = np.arange(5) < g.integers(0, 6, size=(rows, 1))
    weights = np.exp(x[..., 1]) * mask
    target = (weights * x[..., 0]).sum(1) / np.maximum(weights.sum(1), 1e-9)
    return TensorRows({"x": torch.tensor(x, dtype=torch.float32), "mask": torch.tensor(mask),
                       "target": torch.tensor(target, dtype=torch.float32)})


@dataclass
class Die(Callback):
    """Kills its own process with SIGKILL after some steps; never, when `steps` is negative."""

    steps: int

    def on_batch_end(self, trainer, extras):
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def trainer(folder=None, steps=-1, forced=False, **changes) -> ToyTrainer:
    """Returns a trainer; `forced` has a collapse found after every 12 batches (5 an epoch), with two restarts."""
    torch.set_num_threads(1)
    monitor = AttentionMonitorCallback(entropy_min=1, entropy_max=2, patience=12, action="stop_and_restart") if forced \
        else AttentionMonitorCallback()
    return ToyTrainer(TrainConfig(**{**CONFIG, **changes}), [monitor, Die(steps)], folder)


if __name__ == "__main__":  # FOLDER,STEPS,forced|plain ...: each training dies in a fork of its own, so that torch is imported once
    trainer(epochs=1).fit(rosters())  # torch imports a part of itself with the first step
    for case in sys.argv[1:]:
        folder, steps, forced = case.split(",")
        if (child := os.fork()) == 0:
            trainer(folder, int(steps), forced == "forced").fit(rosters(), rosters(40, seed=1), progress=False)
            os._exit(0)
        print(folder, os.WTERMSIG(os.waitpid(child, 0)[1]))
