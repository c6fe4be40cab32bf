"""A trace that TensorFlow makes here: steps, operators, memory, waits for data."""

import json
import os
import subprocess
from collections.abc import Iterator

import duckdb
import pytest

from tests.stores import rows
from toolkit.capture import venvs
from toolkit.ingest import xplane
from toolkit.ingest.store import StoreWriter, connect

Trained = tuple[duckdb.DuckDBPyConnection, list[tuple[int, int]]]


TRAIN = """
import json, os, sys, time
import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
model = tf.keras.Sequential([tf.keras.layers.Input((2048,)), tf.keras.layers.Dense(512), tf.keras.layers.Dense(4)])
model.compile("sgd", "mse")
data = tf.data.Dataset.from_tensor_slices((np.ones((64, 2048), "f"), np.ones((64, 4), "f"))).batch(16)
model.fit(data, epochs=1, verbose=0)
brackets = []
tf.profiler.experimental.start(sys.argv[1])
for step in range(5):
    before = time.time_ns()
    with tf.profiler.experimental.Trace("hwprof.bracket", step_num=step, _r=1):
        model.train_on_batch(np.ones((16, 2048), "f"), np.ones((16, 4), "f"))
    brackets.append((before, time.time_ns()))
model.fit(data, epochs=1, verbose=0)
tf.profiler.experimental.stop()
print(json.dumps(brackets))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """The store of a trace that TensorFlow makes here of a small Keras model, and clock reads around its five steps."""
    python = venvs.ensure("tf", "cpu", say=print).python
    folder = tmp_path_factory.mktemp("tf")
    # oneDNN's allocator is the one that tells its events, and TensorFlow's own choice on processors with AVX-512 alone.
    told = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **told}
    done = subprocess.run([python, "-c", TRAIN, folder], env=environment, capture_output=True, check=True)
    (path,) = folder.glob("plugins/profile/*/*.xplane.pb")
    (folder / "store").mkdir()
    with StoreWriter(folder / "store") as store:
        xplane.read(path, trace=0, pass_name=None, store=store)
    with connect(folder / "store") as connection:
        yield connection, [tuple(bracket) for bracket in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.e2e
def test_tensorflow_s_steps_lie_in_their_brackets(
    trained: Trained,
) -> None:
    """Each step annotation lies between the clock reads around it, and within a millisecond of both."""
    connection, brackets = trained
    steps = rows(
        connection,
        "SELECT ts_ns, ts_ns + dur_ns FROM slices WHERE name = 'hwprof.bracket' AND step_num IS NOT NULL ORDER BY 1",
    )
    assert len(steps) == len(brackets) == 5
    for (began, ended), (before, after) in zip(steps, brackets, strict=True):
        assert before <= began <= ended <= after
        assert max(began - before, after - ended) < 1_000_000


@pytest.mark.e2e
def test_tensorflow_s_operators_and_memory_arrive(
    trained: Trained,
) -> None:
    """A dense layer's matrix products are operators, its allocations the CPU allocator's; nothing is in doubt."""
    connection, _ = trained
    products = "SELECT count(*) FROM slices WHERE kind = 'op' AND regexp_matches(name, 'MatMul[^:]*:_?\\w*MatMul')"
    assert rows(connection, products)[0][0] >= 5
    memory = (
        "SELECT device, allocator, min(bytes) > 0, count(in_use_bytes) > 0, count(op) > 0 FROM allocations GROUP BY ALL"
    )
    assert rows(connection, memory) == [("cpu", "mklcpu", True, True, True)]
    assert rows(connection, "SELECT code FROM warnings") == []
    assert rows(connection, "SELECT gpus FROM traces") == [(None,)]


@pytest.mark.e2e
def test_keras_fit_s_waits_for_data_can_be_found(
    trained: Trained,
) -> None:
    """Within fit's calls of its training function, getting the next batch is an annotation on a thread of its own."""
    connection, _ = trained
    query = """
        SELECT count(*) FROM slices AS wait JOIN slices AS call
        ON wait.ts_ns >= call.ts_ns AND wait.ts_ns + wait.dur_ns <= call.ts_ns + call.dur_ns
        WHERE wait.name = 'IteratorGetNextOp::DoCompute' AND wait.thread LIKE '%:tf_data_iterator_get_next/%'
        AND call.name = 'multi_step_on_iterator' AND call.thread LIKE '%:python'
    """
    assert rows(connection, query)[0][0] >= 4
