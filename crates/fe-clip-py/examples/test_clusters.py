"""The examples on a local Ray and a local Spark: the program's numbers, also when a worker is killed.

`.ci/clusters` draws the images and says where they and the program are. With FE_CLIP_FIGURES the
processor time an image is written there.
"""

import contextlib
import json
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile
import time

import psutil
import pyarrow.parquet as pq
import pytest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = os.environ["FE_CLIP"]
IMAGES = pathlib.Path(os.environ["FE_CLIP_IMAGES"]).resolve()
ENGINES = {
    "ray": ["--workers", "2"],
    "spark": ["--master", "local[2,4]", "--partitions", "16"],
}


def is_worker(engine, process):
    """Whether a process computes scores."""
    line = " ".join(process.cmdline())
    if engine == "ray":
        return line.startswith("ray::") and "Scorer" in line
    return "pyspark.daemon" in line and "pyspark.daemon" in " ".join(process.parent().cmdline())


def ended(processes):
    """Ends processes of ours, gently at first."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=20)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextlib.contextmanager
def ray_cluster():
    """A Ray of one machine with two processors, where a job finds it, and its process.

    A script that finds none starts one, and gives up if that takes more than 30 seconds, as it does
    on a busy machine.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    # Paths of sockets are at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        flags = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
        ray = pathlib.Path(sys.executable).with_name("ray")
        with open(f"{folder}/start.log", "wb") as log:
            command = [ray, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", *flags]
            for _ in range(5):
                # Its workers are nicer than we are unless it is told.
                environment = os.environ | {"RAY_worker_niceness": "0"}
                head = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
                while head.poll() is None:
                    if b"Ray runtime started" in pathlib.Path(log.name).read_bytes():
                        break
                    time.sleep(0.2)
                else:
                    continue  # it gave up waiting for its own processes
                break
            else:
                raise AssertionError(pathlib.Path(log.name).read_text())
        processes = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
        try:
            yield head, {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        finally:
            ended(processes)


@contextlib.contextmanager
def no_cluster():
    """Spark starts with the job, in its own process."""
    yield None, {}


def busy_worker(engine, job, parent, seconds):
    """A worker that has computed for some seconds, as soon as there is one."""
    while job.poll() is None:
        for process in psutil.Process(parent.pid).children(recursive=True):
            try:
                if is_worker(engine, process) and process.cpu_times().user > seconds:
                    return process
            except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
                pass
        time.sleep(0.1)
    raise AssertionError(f"{engine} ended before a worker was busy")


def run(engine, out, kill=False):
    """Runs an example, and kills a worker in the middle if asked to; rows by path."""
    command = [sys.executable, HERE / f"{engine}_batch.py", IMAGES, out, *ENGINES[engine]]
    log = out.with_suffix(".log")
    # Spark's workers are the Python of the path unless they are told.
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    cluster = ray_cluster if engine == "ray" else no_cluster
    with open(log, "wb") as stream, cluster() as (parent, where):
        job = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment | where)
        if kill:
            busy_worker(engine, job, parent or job, 5).kill()
            assert job.poll() is None
        assert job.wait() == 0, log.read_text()
    rows = pq.read_table(out).to_pylist()
    return {row["path"].removeprefix("file:").replace("///", "/"): row for row in rows}, log.read_text()


def processor_seconds(*arguments):
    """Of a run of the program, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([PROGRAM, "detect", *arguments, "--threads", "1"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


@pytest.fixture(scope="session")
def lines():
    """What the program says of the images, by path, and its processor seconds for one."""
    seconds, output = processor_seconds(IMAGES, "--format", "jsonl")
    found = {line["path"]: line for line in map(json.loads, output.splitlines())}
    one, _ = processor_seconds(next(iter(found)), "--format", "jsonl")
    return found, (seconds - one) / (len(found) - 1)


def same(rows, lines):
    assert rows.keys() == lines.keys()
    for path, row in rows.items():
        for name in ("score", "raw_score", "label"):
            assert row[name] == lines[path][name], path
        assert not row["error"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_numbers_are_the_programs(engine, lines, tmp_path):
    lines, alone = lines
    rows, _ = run(engine, tmp_path / "out")
    same(rows, lines)
    seconds = sum(row["cpu_seconds"] for row in rows.values()) / len(rows)
    ratio = alone / seconds
    text = f"{engine}: {len(rows)} images, {1000 * seconds:.1f} ms of processor time each; program {1000 * alone:.1f} ms; ratio of throughputs a worker {ratio:.3f}"
    print(text)
    if "FE_CLIP_FIGURES" in os.environ:
        with open(os.environ["FE_CLIP_FIGURES"], "a", encoding="utf-8") as figures:
            figures.write(text + "\n")
    # Loading the model counts here, and the machine is shared.
    assert ratio > 0.5


@pytest.mark.parametrize("engine", ENGINES)
def test_a_job_survives_a_killed_worker(engine, lines, tmp_path):
    rows, log = run(engine, tmp_path / "out", kill=True)
    same(rows, lines[0])
    said = {"ray": ("died", "SIGKILL", "actor"), "spark": ("exited unexpectedly", "crashed", "EOF")}[engine]
    assert any(word in log for word in said), log
