"""Replicas that are processes: the same step as of one, a trace of each, and no way to end that leaves one behind."""

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests import cifar
from tests.commands import hwprof
from tests.test_run import run
from tests.workers import REPO, lines, python, read, small, start, wait_until, work
from toolkit.capture import followers, runs
from toolkit.capture.workloads.data import load, order, part
from toolkit.errors import BAD_INPUT, FAILED, INTERRUPTED, HwprofError
from toolkit.reports import summary_json
from toolkit.settings import check
from toolkit.spec import RunSpec

DDP = {"parallel": "ddp", "replicas": 2}
LONG = {"steps": 20_000, "epochs": 1, "warmup_steps": 0}
GONE_WITHIN_S = 30
# Trains as rank 0 beside a real follower, then alone; tells batches by their hashes, and how far the weights are apart.
BOTH = """
import dataclasses, hashlib, json, sys
import torch
from toolkit.capture import followers
from toolkit.capture.workloads import pytorch, torch_parts
from toolkit.spec import from_json

def train(workload):
    hashes = []
    workload.warm_up(0)
    for images, labels in workload.train_batches(1):
        hashes.append([hashlib.sha256(half.numpy().tobytes()).hexdigest() for half in images.split(4)])
        workload.train_step(workload.to_device((images, labels)))
    return hashes, workload.train_loss(), torch_parts.state(workload.model)

spec = from_json(open(sys.argv[1]).read())
with followers.led(spec, sys.argv[1:]) as replica:
    mine, loss, weights = train(pytorch.build(spec, "cpu", replica))
alone = dataclasses.replace(spec, parallel="none", replicas=1)
whole, loss_alone, weights_alone = train(pytorch.build(alone, "cpu"))
moved = max(float((weights[name] - weights_alone[name]).abs().max()) for name in weights)
print(json.dumps([mine, whole, loss, loss_alone, moved]))
"""


@pytest.mark.parametrize(("samples", "batch", "replicas"), [(24, 8, 2), (20, 8, 2), (30, 12, 3)])
def test_replicas_share_each_batch(samples: int, batch: int, replicas: int) -> None:
    """Side by side their parts are the epoch's batches, in the order of one process; so is a part batch at the end."""
    whole = order(RunSpec(), 1, samples)
    parts = [part(whole, batch, replica, replicas) for replica in range(replicas)]
    size = batch // replicas
    for first in range(0, samples, batch):
        halves = [own[first // replicas : first // replicas + size] for own in parts]
        assert np.array_equal(np.concatenate(halves), whole[first : first + batch])


def test_a_last_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    """The line says how many would be left."""
    place = str(cifar.folder(tmp_path, train=3, test=3))
    whole = {"dataset": "cifar10", "data_dir": place, "steps": 0, "validation_steps": 0}
    spec = check(RunSpec(**DDP, **whole, batch=4, model="cifar_cnn"))
    with pytest.raises(HwprofError, match="no whole number of parts for replicas=2: 1 would be left") as caught:
        load(spec)
    assert caught.value.exit_code == BAD_INPUT


@pytest.mark.e2e
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Rank 0 has the first half of each batch, and weights and loss come out as of a process with whole batches."""
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "precision": "fp64"}
    spec = small("torch", "custom", **DDP, **settings, epochs=1, warmup_steps=0)
    (tmp_path / "spec.json").write_text(spec.as_json())
    arguments = [tmp_path / "spec.json", "time", "cpu", tmp_path]
    done = subprocess.run(
        [python("torch"), "-c", BOTH, *arguments],
        env=os.environ | {"PYTHONPATH": str(REPO)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    mine, whole, loss, loss_alone, moved = json.loads(done.stdout)
    assert mine == [[first] for first, _ in whole]
    assert len({digest for halves in whole for digest in halves}) == 2 * spec.steps
    # Its sum is kept in float32.
    assert loss == pytest.approx(loss_alone, rel=1e-6)
    assert moved < 1e-12


# The same with MirroredStrategy, whose replicas are parts of one process: their batches are told as they get them.
MIRRORED = """
import dataclasses, hashlib, json, sys
from toolkit.capture.workloads import tensorflow as workloads
from toolkit.capture.workloads.matched import keras_weights
from toolkit.spec import from_json
import numpy as np
import tensorflow as tf

def train(workload, parts):
    hashes = []
    workload.warm_up(1)
    for images, labels in workload.train_batches(1):
        hashes.append([hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in parts(images)])
        workload.train_step(workload.to_device((images, labels)))
    return hashes, workload.train_loss(), keras_weights.state(workload.model), workload.compiled()

spec = from_json(open(sys.argv[1]).read())
mine, loss, weights, compiled = train(workloads.build(spec, "cpu"), lambda images: images.values)
alone = dataclasses.replace(spec, parallel="none", replicas=1)
whole, loss_alone, weights_alone, _ = train(workloads.TensorFlowWorkload(alone, "cpu"), lambda all: tf.split(all, 2))
moved = max(float(np.abs(weights[name] - weights_alone[name]).max()) for name in weights)
print(json.dumps([mine, whole, loss, loss_alone, moved, compiled]))
"""


def mirrored(loop: str, **settings: Any) -> RunSpec:
    """Two replicas of the small CNN in one process."""
    return small("tf", loop, parallel="mirrored", replicas=2, epochs=1, **settings)


@pytest.mark.e2e
def test_mirrored_replicas_take_the_steps_of_one(tmp_path: Path) -> None:
    """Each has its half of every batch, weights and loss come out as of one, and nothing is traced anew in an epoch."""
    spec = mirrored("custom", optimizer="sgd", learning_rate=0.1, precision="fp64")
    (tmp_path / "spec.json").write_text(spec.as_json())
    done = subprocess.run(
        [python("tf"), "-c", MIRRORED, tmp_path / "spec.json"],
        env=os.environ | {"PYTHONPATH": str(REPO)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    mine, whole, loss, loss_alone, moved, compiled = json.loads(done.stdout)
    assert mine == whole
    assert loss == pytest.approx(loss_alone, rel=1e-12)
    assert moved < 1e-12
    assert not compiled


@pytest.mark.e2e
def test_keras_s_own_loop_is_mirrored(tmp_path: Path) -> None:
    """`fit` trains on both replicas by graph; its marks and trace are of the one process."""
    ran = work(tmp_path, mirrored("fit", mode="as-shipped"), "profile")
    assert ran.outcome["status"] == "complete", ran.outcome
    assert ran.facts["replicas"]["devices"] == ["/cpu:0", "/cpu:1"]
    assert ran.facts["compile"] == "graph"
    assert len(ran.marks("step")) == 3
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two processes, both passes."""
    return run(tmp_path_factory.mktemp("runs"), "framework=torch", "parallel=ddp", "replicas=2")


@pytest.mark.e2e
def test_a_run_is_rank_0_s(finished: Path) -> None:
    """Its ledger is exact, its losses are of whole batches, its traces placed; facts and reports say what it was."""
    summary = summary_json.read(finished / "summary.json")
    assert summary is not None
    assert len(summary.epochs) == 4
    for epoch in summary.epochs:
        assert sum(epoch.parts_ns.values()) == epoch.wall_ns
    facts = json.loads((finished / "raw" / "time" / "facts.json").read_text())["replicas"]
    assert facts | {"processors": None} == {
        "parallel": "torch.nn.parallel.DistributedDataParallel", "replicas": 2, "processes": 2, "threads_each": 1,
        "processors": None, "backend": "gloo", "batch_each": 4,
    }  # fmt: skip
    assert runs.status_of(finished)["status"] == "complete"
    shown = hwprof("show", finished.name, "--runs", finished.parent).stdout
    assert "ddp of 2 replicas" in shown
    assert "0 violations" in shown


@pytest.mark.e2e
def test_each_rank_has_its_trace(finished: Path) -> None:
    """In TensorBoard's layout, with the gradients' exchange in it; `hwprof analyze` puts them side by side."""
    told = json.loads(hwprof("analyze", finished, "--json").stdout)
    (job,) = told["jobs"]
    assert (job["world_size"], job["missing"], [rank["rank"] for rank in job["ranks"]]) == (2, [], [0, 1])
    for path in (finished / "raw" / "profile" / "trace").glob("*.pt.trace.json.gz"):
        assert "gloo:all_reduce" in gzip.decompress(path.read_bytes()).decode()


def beside(leader: int) -> psutil.Process:
    """The one follower of a worker."""
    (follower,) = psutil.Process(leader).children()
    return follower


@pytest.mark.e2e
@pytest.mark.parametrize("ended", ["follower killed", "leader told", "leader killed"])
def test_no_process_outlives_another(ended: str, tmp_path: Path) -> None:
    """However one of them ends, the other does, and the outcome says which it was; what was recorded stays."""
    with start(tmp_path, small("torch", "custom", **DDP, **LONG), "time") as worker:
        wait_until(lambda: any(line[:2] == ["mark", line[1]] and line[3] == "step" for line in lines(tmp_path)), worker)
        follower = beside(worker.pid)
        if ended == "follower killed":
            follower.kill()
        else:
            worker.send_signal(signal.SIGTERM if ended == "leader told" else signal.SIGKILL)
        worker.wait(GONE_WITHIN_S)
        psutil.wait_procs([follower], GONE_WITHIN_S)
    assert not follower.is_running() or follower.status() == psutil.STATUS_ZOMBIE
    outcome = read(tmp_path).outcome
    assert (
        outcome
        == {
            "follower killed": {"status": "killed", "reason": "rank 1 was killed by SIGKILL", "exit_code": FAILED},
            "leader told": {"status": "interrupted", "reason": "stopped by a signal", "exit_code": INTERRUPTED},
            "leader killed": {},
        }[ended]
    )


@pytest.mark.e2e
def test_a_follower_that_fails_says_why(tmp_path: Path) -> None:
    """Its own line is what the pass ends with."""
    (tmp_path / "spec.json").write_text(small("torch", "custom", **DDP).as_json())
    words: list[Any] = [tmp_path / "spec.json", "time", "cuda", tmp_path, tmp_path / "store", os.getpid(), 1]
    done = subprocess.run(
        [python("torch"), "-m", "toolkit.capture.follower", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(REPO)}, stdin=subprocess.DEVNULL,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == FAILED
    assert done.stdout == ""
    told = followers.failure(1, done.returncode, followers.words(tmp_path, 1))
    assert (told["status"], told["exit_code"]) == ("failed", FAILED)
    assert told["reason"].startswith("rank 1: PyTorch 2.")
    assert "cannot use the GPU that the driver shows." in told["reason"]
    assert followers.failure(2, 3, followers.words(tmp_path, 2))["reason"] == "rank 2 exited with code 3"
