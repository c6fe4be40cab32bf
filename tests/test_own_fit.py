"""`run.callback()` in a `fit` of Keras that goes its own ways: scripts run for real."""

import json
from pathlib import Path

import pytest

from tests.own_scripts import Done, run
from toolkit.analyses import runner
from toolkit.ingest.store import connect

pytestmark = pytest.mark.e2e

SCRIPT = """
import keras
import numpy as np
import tensorflow as tf
from toolkit import profile
from toolkit.errors import HwprofError
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
batch = tf.ones((8, 4)), tf.ones((8, 2))
"""
EVALUATES = """
class Evaluates(keras.callbacks.Callback):
    def now(self, *_, **__):
        self.model.evaluate(*batch, verbose=0)
    on_train_begin = on_train_end = on_epoch_begin = on_epoch_end = now
"""
EVERYWHERE = """
with profile("evaluates", profile_from=2, profile_steps=2) as run:
    callbacks = [Evaluates(), run.callback(), Evaluates()]
    model.fit(np.ones((32, 4)), np.ones((32, 2)), batch_size=8, epochs=2, callbacks=callbacks, verbose=0)
"""
UNKNOWN = """
def batches():
    for _ in range(4):
        yield batch

with profile("unknown", profile_from=2, profile_steps=9) as run:
    for validation in (None, batch):
        data = tf.data.Dataset.from_generator(batches, output_signature=tuple(map(tf.TensorSpec.from_tensor, batch)))
        model.fit(data, validation_data=validation, epochs=2, callbacks=[run.callback()], verbose=0)
"""
RAISES = """
def full(epoch, logs):
    raise MemoryError

def fit(*callbacks, epochs=1):
    model.fit(np.ones((32, 4)), np.ones((32, 2)), batch_size=8, epochs=epochs, callbacks=list(callbacks), verbose=0)

with profile("raises", profile_from=2, profile_steps=9) as run:
    evaluate = model.evaluate
    try:
        fit(keras.callbacks.LambdaCallback(on_train_batch_end=full), run.callback())
    except MemoryError:
        print("raised")
    fit(run.callback(), Evaluates())
    print(model.evaluate == evaluate)
    try:
        fit(run.callback(), keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: fit(run.callback())), epochs=2)
    except HwprofError as error:
        print(error)
"""


def whole(done: Done) -> list[set[str]]:
    """The parts of each epoch of a script's only run, which is complete, and whose ledger is exact."""
    assert done.returncode == 0, done.stderr
    assert json.loads((done.run / "run.json").read_text())["status"] == "complete"
    with connect(done.run) as store:
        assert store.execute("SELECT count(*) FROM marks WHERE NOT complete").fetchall() == [(0,)]
        found = runner.run(store, "epoch_ledger")
    epochs = sorted({row["epoch"] for row in found})
    for epoch in epochs:
        (wall,) = {row["wall_ns"] for row in found if row["epoch"] == epoch}
        assert sum(row["ns"] for row in found if row["epoch"] == epoch) == wall
    return [{row["part"] for row in found if row["epoch"] == epoch} for epoch in epochs]


def steps(done: Done) -> list[tuple[int, int]]:
    """How many steps each epoch of a script's only run had."""
    with connect(done.run) as store:
        question = "SELECT epoch, count(*) FROM marks WHERE kind = 'step' GROUP BY ALL ORDER BY ALL"
        return store.execute(question).fetchall()


def test_a_callback_may_evaluate_at_any_time(tmp_path: Path) -> None:
    """Within the epoch that is validation, outside of it no part of any; the training goes on as without hwprof."""
    done = run("tf", SCRIPT + EVALUATES + EVERYWHERE, tmp_path)
    assert all("validation" in parts for parts in whole(done))
    assert steps(done) == [(1, 4), (2, 4)]


def test_a_step_without_a_batch_is_none(tmp_path: Path) -> None:
    """Where the data's length is not known beforehand, Keras begins one at the end of an epoch."""
    done = run("tf", SCRIPT + UNKNOWN, tmp_path)
    parts = whole(done)
    assert [("validation" in each, "data_wait" in each) for each in parts] == [(False, True)] * 2 + [(True, True)] * 2
    assert steps(done) == [(epoch, 4) for epoch in (1, 2, 3, 4)]


def test_a_fit_may_follow_one_that_raised(tmp_path: Path) -> None:
    """In one run: what the first left open has ended, and the model is as it was. None may lie in another."""
    done = run("tf", SCRIPT + EVALUATES + RAISES, tmp_path)
    whole(done)
    assert steps(done) == [(1, 1), (2, 4), (3, 4), (4, 4)]
    assert done.stdout.splitlines()[:2] == ["raised", "True"]
    assert done.stdout.splitlines()[2].startswith("There was a fit inside a fit.")
