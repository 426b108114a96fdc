"""Training: killed and resumed equals uninterrupted, collapse is caught and recorded, checkpoints that do not fit are refused."""
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_training import Toy, ToyTrainer, rosters, trainer

from sportsml.core import SportsmlError, read_json, rng
from sportsml.nn import NetworkError, TensorRows, masked_softmax, same_seed
from sportsml.train import (
    AttentionMonitorCallback,
    Callback,
    TrainConfig,
    TrainError,
    TrainHistory,
    attention_statistics,
    check_gradients,
    load_checkpoint,
    load_weights,
    plot_history,
    save_checkpoint,
)

TRAIN, VALIDATION = rosters(), rosters(40, seed=1)
FILE = "checkpoint.safetensors"


def weights_of(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def fitted(**changes) -> ToyTrainer:
    it = trainer(**changes)
    it.fit(TRAIN, VALIDATION)
    return it


# --- killed and resumed ---------------------------------------------------------------------------------------------------

def test_killed_and_resumed_is_uninterrupted(tmp_path):
    """Five steps an epoch. Killed in the first epoch (nothing stored yet), at an epoch's last step, and in the middle; and, where
    the 12th and 24th step end in a restart, with a count that runs across epochs, and inside the second attempt."""
    cases = [(3, "plain"), (15, "plain"), (22, "plain"), (11, "forced"), (14, "forced"), (18, "forced")]
    command = [sys.executable, Path(__file__).with_name("toy_training.py"), *(f"{tmp_path / f'{s}{f}'},{s},{f}" for s, f in cases)]
    killed = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert [line.split()[-1] for line in killed.stdout.splitlines()] == [str(int(signal.SIGKILL))] * len(cases), killed.stderr
    whole = {"plain": trainer(), "forced": trainer(forced=True)}
    for it in whole.values():
        it.fit(TRAIN, VALIDATION)
    for (steps, form), epochs in zip(cases, [0, 2, 4, 2, 2, 3], strict=True):
        folder = tmp_path / f"{steps}{form}"
        assert (folder / FILE).exists() == (epochs > 0)
        done = TrainHistory.read(folder / "train_history.json").epochs if epochs else []
        assert len(done) == epochs and done == whole[form].history.epochs[:epochs]
        resumed = trainer(folder, forced=form == "forced")
        resumed.fit(TRAIN, VALIDATION)
        assert torch.equal(weights_of(resumed.model), weights_of(whole[form].model))
        assert resumed.history == whole[form].history == TrainHistory.read(folder / "train_history.json")


def test_best_weights_from_before_the_interruption_survive_it(tmp_path, monkeypatch):
    wild = {"learning_rate": 0.5, "epochs": 60, "patience": 2}
    whole = fitted(**wild)
    monkeypatch.setattr("os.kill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, steps=5 * (whole.history.best_epoch + 1) + 2, **wild).fit(TRAIN, VALIDATION)
    resumed = trainer(tmp_path, **wild)
    resumed.fit(TRAIN, VALIDATION)
    assert whole.history.stopped.startswith("early stopping") and resumed.history == whole.history
    assert torch.equal(weights_of(resumed.model), weights_of(whole.model))


def test_a_finished_training_is_loaded_not_repeated(tmp_path):
    first = trainer(tmp_path)
    first.fit(TRAIN, VALIDATION)
    size, again = (tmp_path / FILE).stat().st_size, trainer(tmp_path, steps=1)  # would die in its first step
    again.fit(TRAIN, VALIDATION)
    assert torch.equal(weights_of(again.model), weights_of(first.model)) and again.history == first.history
    assert (tmp_path / FILE).stat().st_size == size
    assert {name.split("/")[0] for name in load_checkpoint(tmp_path / FILE).tensors} == {"model"}  # the moments are gone


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path / FILE, {"model/w": torch.ones(2)}, {"model": {}})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="disk is full"):
        save_checkpoint(path, {"model/w": torch.zeros(2)}, {"model": {}})
    assert load_checkpoint(path).part("model")["w"].tolist() == [1, 1]


# --- the same every time --------------------------------------------------------------------------------------------------

def test_same_seed_same_weights_and_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b, other = fitted(), fitted(), fitted(seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(weights_of(a.model), weights_of(b.model)) and a.history == b.history
    assert not torch.equal(weights_of(a.model), weights_of(other.model))


def test_a_trainer_that_fits_twice_starts_anew():
    it = fitted()
    first, history = weights_of(it.model), it.history
    it.fit(TRAIN, VALIDATION)
    assert torch.equal(weights_of(it.model), first) and it.history == history


def test_a_step_is_what_torch_does_by_hand():
    one = {"epochs": 1, "batch_size": len(TRAIN), "clip_norm": 0.1, "weight_decay": 0.1}
    it, whole = trainer(**one), fitted(**one)
    same_seed(0, "weights")
    model = Toy(3).train()
    matrices, rest = ([p for p in model.parameters() if (p.dim() > 1) == many] for many in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=it.config.learning_rate)
    same_seed(0, "epoch", 0)  # for dropout
    it.loss(model, TRAIN.take(rng(0, "order", 0).permutation(len(TRAIN))))[0].backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    assert torch.equal(weights_of(model), weights_of(whole.model))


# --- stopping, clipping, precision ----------------------------------------------------------------------------------------

class Losses(Callback):
    """Keeps the weights after every epoch."""

    def on_train_start(self, trainer):
        self.weights = []

    def on_epoch_end(self, trainer, record):
        self.weights.append(weights_of(trainer.model))


def test_early_stopping_restores_the_best_weights():
    it, kept = trainer(learning_rate=0.5, epochs=60, patience=3), Losses()
    it.callbacks = (kept,)
    it.fit(TRAIN, VALIDATION)
    losses = it.history.frame()["validation_loss"]
    assert it.history.stopped.startswith("early stopping") and len(losses) == it.history.best_epoch + 3
    assert it.history.best_epoch == losses.idxmin() + 1 < len(losses)
    assert torch.equal(weights_of(it.model), kept.weights[it.history.best_epoch - 1])
    assert it.evaluate(VALIDATION) == it.history.best_loss == losses.min() and not it.model.training


def test_without_validation_rows_the_last_weights_are_the_result():
    it, kept = trainer(learning_rate=0.5, patience=1), Losses()
    it.callbacks = (kept,)
    it.fit(TRAIN)
    assert it.history.stopped == "all 6 epochs done" and it.history.best_epoch is None
    assert torch.equal(weights_of(it.model), kept.weights[-1])


def test_the_gradient_is_clipped():
    class Norms(Callback):
        def on_train_start(self, trainer):
            self.norms = []

        def on_batch_end(self, trainer, extras):
            self.norms.append(math.sqrt(sum(p.grad.square().sum().item() for p in trainer.model.parameters())))

    for clip in (0.01, None):
        it, seen = trainer(clip_norm=clip, epochs=1), Norms()
        it.callbacks = (seen,)
        it.fit(TRAIN)
        assert it.history.epochs[0]["grad_norm"] > 0.05  # before clipping
        assert (max(seen.norms) <= 0.01001) == (clip is not None)


def test_bfloat16_trains_on_the_cpu_and_differs_a_little():
    half, full = fitted(precision="bf16"), fitted()
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    assert half.history.best_loss == pytest.approx(full.history.best_loss, rel=0.1)
    assert not torch.equal(weights_of(half.model), weights_of(full.model))


def test_a_compiled_model_is_asked_for_and_its_names_stay(monkeypatch, tmp_path):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self)))  # a real compiler takes a minute
    it = trainer(tmp_path, compile=True, epochs=1)
    it.fit(TRAIN)
    assert compiled == [Toy]
    assert set(load_checkpoint(tmp_path / FILE).part("model")) == set(Toy(3).state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")
def test_on_a_card_as_on_the_cpu():
    card, cpu = fitted(device="cuda"), fitted(device="cpu")
    assert card.history.best_loss == pytest.approx(cpu.history.best_loss, rel=0.2)  # dropout draws other numbers


# --- what goes wrong ------------------------------------------------------------------------------------------------------

def test_a_loss_that_is_not_finite_names_the_rows():
    bad = TensorRows({**TRAIN.tensors, "target": TRAIN.tensors["target"].clone()})
    bad.tensors["target"][7] = torch.nan
    with pytest.raises(TrainError, match=r"the loss is nan in attempt 0, epoch 1, training rows \[.*learning_rate"):
        trainer(batch_size=4).fit(bad)
    with pytest.raises(TrainError, match=r"validation rows \[0, 1, 2, 3, 4, 5, 6, 7\]"):
        trainer(batch_size=8).fit(TRAIN, bad)


def test_a_gradient_that_is_not_finite_names_its_parameters():
    class Root(ToyTrainer):
        def loss(self, model, batch):
            return model.logit.bias.sub(model.logit.bias).sqrt().sum() + model.value[0].weight.sum(), {}

    it = Root(TrainConfig(device="cpu"))
    with pytest.raises(TrainError, match="the gradient of logit.bias is not finite"):
        it.fit(TRAIN)
    assert weights_of(it.model).isfinite().all()


def test_no_rows_are_an_error():
    nothing = TensorRows({name: t[:0] for name, t in TRAIN.tensors.items()})
    for rows in ((nothing, None), (TRAIN, nothing)):
        with pytest.raises(TrainError, match="training needs rows"):
            trainer().fit(*rows)


def test_a_parameter_outside_or_twice_in_the_groups_is_an_error():
    class Without(ToyTrainer):
        def groups(self, model):
            return [{"params": [model.logit.weight]}]

    class Twice(ToyTrainer):
        def groups(self, model):
            return [*super().groups(model), {"params": [model.logit.weight]}]

    with pytest.raises(TrainError, match="value.0.weight in 0"):
        Without().fit(TRAIN)
    with pytest.raises(TrainError, match="met logit.weight in 2"):
        Twice().fit(TRAIN)


def test_gradients_are_checked_by_name():
    # a shift of all logits changes no weight, so the bias of the logits can never learn: the check finds it
    with pytest.raises(TrainError, match="reaches logit.bias;"):
        check_gradients(trainer(), TRAIN)
    frame = check_gradients(trainer(), TRAIN, silent=["logit.bias"])
    assert frame["parameter"].tolist() == [name for name, _ in Toy(3).named_parameters()]
    assert (frame["group"] == [1 if len(shape) < 2 else 0 for shape in frame["shape"]]).all()


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_cut_checkpoint_is_refused(tmp_path, cut):
    path = trainer(tmp_path, epochs=1).fit(TRAIN) and tmp_path / FILE
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(TrainError, match="cannot be read as a checkpoint.*delete it"):
        trainer(tmp_path, epochs=1).fit(TRAIN)


def test_every_altered_byte_is_found(tmp_path):
    """Header, state and tensors: a flipped bit gives an error, never other weights or another state."""
    path = save_checkpoint(tmp_path / FILE, {"model/w": torch.arange(4.0), "model/n": torch.tensor(3)}, {"model": {"features": ["elo"]}})
    whole, found = path.read_bytes(), load_checkpoint(path)
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        try:
            altered = load_checkpoint(path)
        except TrainError:
            continue
        assert altered.state == found.state and all(torch.equal(t, found.tensors[n]) for n, t in altered.tensors.items())


def test_other_files_and_missing_ones_are_named(tmp_path):
    from safetensors.torch import save_file
    save_file({"w": torch.ones(1)}, tmp_path / "foreign.safetensors")
    for name, message in {"foreign.safetensors": "another program", "none.safetensors": "cannot be read"}.items():
        with pytest.raises(TrainError, match=f"{name}.*{message}"):
            load_checkpoint(tmp_path / name)


def test_another_format_names_both(tmp_path, monkeypatch):
    monkeypatch.setattr("sportsml.train.CHECKPOINT_FORMAT", 7)
    path = save_checkpoint(tmp_path / FILE, {}, {})
    monkeypatch.undo()
    with pytest.raises(TrainError, match="format 7, this version reads format 1"):
        load_checkpoint(path)


def test_a_checkpoint_of_something_else_names_both_sides(tmp_path):
    class Renamed(ToyTrainer):
        columns = ("skill", "usage", "age")

    class Larger(Toy):
        def __init__(self, columns):
            super().__init__(columns)
            self.logit = nn.Linear(columns + 1, 1)

    class Reshaped(ToyTrainer):
        def build(self):
            return Larger(len(self.columns))

        def describe(self):
            return {"trainer": "ToyTrainer", "features": self.columns}

    config = TrainConfig(epochs=1, device="cpu")
    ToyTrainer(config, folder=tmp_path).fit(TRAIN)
    cases = [(Renamed(config, folder=tmp_path), TRAIN, "model.features.1 is 'minutes' in the checkpoint and 'usage' here"),
             (ToyTrainer(TrainConfig(epochs=1, seed=2), folder=tmp_path), TRAIN, "train.seed is 0 in the checkpoint and 2 here"),
             (ToyTrainer(config, folder=tmp_path), VALIDATION, "rows.train is 80 in the checkpoint and 40 here"),
             (ToyTrainer(config, [Losses()], tmp_path), TRAIN, "callbacks.0 is 'nothing' in the checkpoint and 'Losses' here"),
             (Reshaped(config, folder=tmp_path), TRAIN, "shape.logit.weight.1 is 3 in the checkpoint and 4 here")]
    before = (tmp_path / FILE).read_bytes()
    for other, data, message in cases:
        with pytest.raises(TrainError, match=message):
            other.fit(data)
    assert (tmp_path / FILE).read_bytes() == before


def test_weights_load_by_name(tmp_path):
    it = trainer(tmp_path, epochs=1)
    it.fit(TRAIN)
    checkpoint = load_checkpoint(tmp_path / FILE)
    again = load_weights(Toy(3), checkpoint.part("model"), checkpoint.path)
    assert torch.equal(weights_of(again), weights_of(it.model))
    assert checkpoint.state["model"]["features"] == list(ToyTrainer.columns) and checkpoint.state["versions"]["torch"]
    with pytest.raises(TrainError, match="and 'nothing' here"):
        load_weights(nn.Sequential(Toy(3)), checkpoint.part("model"), checkpoint.path)


# --- attention ------------------------------------------------------------------------------------------------------------

def test_a_forced_collapse_restarts_is_capped_and_recorded(tmp_path, caplog):
    it = trainer(tmp_path, forced=True)
    it.fit(TRAIN, VALIDATION)
    events = read_json(tmp_path / "train_history.json")["events"]
    places = [(e["attempt"], e["epoch"], e["batch"], e["action"]) for e in events]
    assert places == [(0, 3, 2, "restart"), (1, 3, 2, "restart"), (2, 3, 2, "stop")]
    assert len({e["seed"] for e in events}) == 3 and [e["next_seed"] for e in events[:2]] == [e["seed"] for e in events[1:]]
    assert "2 of 2 restarts are used up" in it.history.stopped and it.history.stopped == events[-1]["reason"]
    assert [e["attempt"] for e in it.history.epochs] == [0, 0, 1, 1, 2, 2] and 0 < events[0]["attention_entropy"] < 1
    assert len(caplog.records) == 3
    title = plot_history(it.history).figure.get_suptitle()
    assert "3 collapses, 2 restarts" in title
    # an attempt is what a fresh run with its seed would have been
    fresh = fitted(seed=events[1]["seed"], epochs=2)
    assert [{**e, "attempt": 1} for e in fresh.history.epochs] == it.history.epochs[2:4]


class Fixed(ToyTrainer):
    """Reports attention of a given form, whatever the model does; `good_from` is the attempt in which it is healthy."""

    form, good_from = "one-hot", 99

    def loss(self, model, batch):
        loss, extras = super().loss(model, batch)
        n = batch["mask"].shape[1]
        forms = {"one-hot": torch.eye(n)[:1].expand(len(batch["mask"]), n) * batch["mask"], "zero": torch.zeros(len(batch["mask"]), n),
                 "uniform": masked_softmax(torch.zeros(len(batch["mask"]), n), batch["mask"])}
        return loss, extras if self.history.attempt >= self.good_from else {"attention": (forms[self.form], batch["mask"])}


@pytest.mark.parametrize("form, message", [("one-hot", "one-hot attention: entropy 0 below 0.2"), ("zero", "attention weights are zero"),
                                           ("uniform", "uniform attention: entropy 1 above")])
@pytest.mark.parametrize("action", ["log", "stop"])
def test_every_form_of_collapse_is_found(form, message, action):
    it = Fixed(TrainConfig(epochs=3, device="cpu"), [AttentionMonitorCallback(action=action, patience=7)])
    it.form = form
    it.fit(TRAIN, VALIDATION)
    assert [message in e["reason"] for e in it.history.events] == [True]  # once, not at every batch
    assert (it.history.events[0]["epoch"], it.history.events[0]["batch"]) == (2, 2)  # five batches an epoch
    assert it.history.stopped == ("all 3 epochs done" if action == "log" else it.history.events[0]["reason"])


def test_a_restart_that_helps_trains_to_the_end():
    it = Fixed(TrainConfig(epochs=3, device="cpu"), [AttentionMonitorCallback(action="stop_and_restart")])
    it.good_from = 1
    it.fit(TRAIN, VALIDATION)
    assert it.history.stopped == "all 3 epochs done" and (it.history.attempt, len(it.history.events)) == (1, 1)
    healthy = ToyTrainer(TrainConfig(epochs=3, device="cpu", seed=it.history.seed))
    assert torch.equal(weights_of(it.model), weights_of(healthy.fit(TRAIN, VALIDATION)))


def test_attention_statistics_by_hand():
    weights = torch.tensor([[[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[0.2, 0.3, 0.5], [0.5, 0.5, 0.0], [0.9, 0.1, 9.0]]])
    mask = torch.tensor([[[1, 1, 0], [1, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 0], [1, 1, 0]]]).bool()
    rows = [[0.7, 0.3], [0.2, 0.3, 0.5], [0.5, 0.5], [0.9, 0.1]]  # one-player and empty rows do not count
    found = attention_statistics(weights, mask)
    entropy = [-sum(w * math.log(w) for w in row) / math.log(len(row)) for row in rows]
    variance = [sum((w - 1 / len(row)) ** 2 for w in row) / len(row) for row in rows]
    expected = {"entropy": entropy, "variance": variance, "max": [max(row) for row in rows]}
    assert found == pytest.approx({f"attention_{name}": sum(v) / 4 for name, v in expected.items()}, rel=1e-6)
    assert all(math.isnan(v) for v in attention_statistics(weights[:, :0], mask[:, :0]).values())
    weights[1, 0, 2], weights[0, 0, 2] = torch.nan, torch.nan
    with pytest.raises(TrainError, match="at 1 real places"):
        attention_statistics(weights, mask)


def test_rows_that_say_nothing_of_attention_are_no_collapse(tmp_path):
    lonely = TensorRows({**TRAIN.tensors, "mask": TRAIN.tensors["mask"] & (torch.arange(5) < 1)})
    it = trainer(tmp_path)
    it.fit(lonely)
    assert it.history.events == [] and all(e["attention_entropy"] is None for e in it.history.epochs)
    assert "attention" not in plot_history(it.history).figure.get_suptitle()


def test_the_monitor_says_what_it_needs():
    class Silent(ToyTrainer):
        def loss(self, model, batch):
            return super().loss(model, batch)[0], {"score": 1}

    with pytest.raises(TrainError, match="returned .'score'.; the monitor needs 'attention'"):
        Silent(TrainConfig(device="cpu"), [AttentionMonitorCallback()]).fit(TRAIN)
    with pytest.raises(TrainError, match="did you mean stop_and_restart"):
        AttentionMonitorCallback(action="stop_and_restrat")


def test_plots_of_short_histories():
    it = trainer(forced=True, batch_size=1)  # collapses before its first epoch ends
    it.fit(TRAIN)
    assert it.history.epochs == [] and "ended before its first epoch" in plot_history(it.history).figure.get_suptitle()
    short = TrainHistory(epochs=[{"attempt": 0, "epoch": 1, "train_loss": 0.5}])
    assert "training loss ends at 0.5 after 1 epoch" in plot_history(short).figure.get_suptitle()


# --- pieces ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_masked_softmax_equals_softmax_without_the_padding(temperature):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 7, generator=g, dtype=torch.float64) * 30
    mask = torch.rand(40, 7, generator=g) < 0.5
    weights = masked_softmax(logits, mask, temperature=temperature)
    for row, real, found in zip(logits, mask, weights, strict=True):
        assert torch.allclose(found[real], torch.softmax(row[real] / temperature, 0), atol=1e-12) and not found[~real].any()
    assert torch.allclose(masked_softmax(logits.T, mask.T, dim=0, temperature=temperature), weights.T, atol=1e-15)


@pytest.mark.parametrize("padding", [math.nan, math.inf, -math.inf, 1e38])
def test_gradients_of_masked_softmax_are_finite_whatever_the_padding_holds(padding):
    logits = torch.tensor([[0.5, 1.5, padding], [padding] * 3], requires_grad=True)
    temperature = torch.tensor(0.7, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False] * 3])
    (masked_softmax(logits, mask, temperature=temperature) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad.isfinite().all() and temperature.grad.isfinite() and not logits.grad[1].any() and logits.grad[0, :2].any()


def test_gradcheck_of_masked_softmax():
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 4, generator=g, dtype=torch.float64, requires_grad=True)
    temperature = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
    assert torch.autograd.gradcheck(lambda x, t: masked_softmax(x, mask, temperature=t), (logits, temperature))


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(NetworkError, match="same number of rows"):
        TensorRows({"x": torch.ones(2), "y": torch.ones(3)})


def test_settings_that_cannot_work_are_refused():
    for wrong in ({"epochs": 0}, {"batch_size": -1}, {"clip_norm": 0}, {"precision": "fp8"}):
        with pytest.raises(SportsmlError):
            TrainConfig(**wrong)
