"""Threads, signals, forks and futures: it works or raises, and never hangs."""

import concurrent.futures
import multiprocessing
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from conftest import draw

import fe_clip

PICTURES = [draw(320, 240, n) for n in range(8)]


def run(code):
    """Runs code in a process of its own that must end by itself."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_other_threads_run_meanwhile(detector):
    detector(PICTURES[0])
    ticks, stop = 0, threading.Event()

    def tick():
        nonlocal ticks
        while not stop.wait(0.001):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    detector(PICTURES * 4)
    took = time.monotonic() - started
    stop.set()
    thread.join()
    # Had the lock been held there would be none but at the start and the end.
    assert ticks > 20 * took, (ticks, took)


def test_several_threads_use_one_detector(detector):
    expected = [detector(picture).as_dict() for picture in PICTURES]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert [result.as_dict() for result in pool.map(detector, PICTURES)] == [
            each | {"path": "image 0"} for each in expected
        ]


def test_a_cancelled_future(detector):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(detector, PICTURES * 2)
        waiting = pool.submit(detector, PICTURES)
        assert waiting.cancel()
        assert len(running.result(60)) == 16
        assert pool.submit(detector, PICTURES[0]).result(60).score > 0


def test_a_signal_ends_it(detector):
    class Enough(Exception):
        pass

    def enough(*_):
        raise Enough

    before = signal.signal(signal.SIGALRM, enough)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Enough):
            detector([str(n) for n in range(10)], on_error="return")  # gone at once
            for _ in range(200):
                detector(PICTURES)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Enough):
            fe_clip.group(PICTURES * 40, detector)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


FORKS = """
    import multiprocessing, os, sys
    import numpy as np
    import fe_clip

    def work(detector):
        try:
            return detector(np.full((64, 64, 3), 90, np.uint8)).score
        except RuntimeError as error:
            assert "forked" in str(error)
            return "raised"

    def metric(_):
        try:
            return fe_clip.metrics.auroc([0.1, 0.9], [0, 1])
        except RuntimeError:
            return "raised"

    def make(_):
        return work(fe_clip.Detector())

    if __name__ == "__main__":
        context = multiprocessing.get_context("fork")
"""


def test_a_fork_before_the_first_use_works():
    scores = run(FORKS + """
        with context.Pool(2) as pool:
            print(*pool.map(make, range(3)), *pool.map(metric, range(2)))
    """)
    assert len(set(scores[:3])) == 1 and scores[3:] == ["1.0", "1.0"]


def test_a_fork_after_the_first_use_raises():
    answers = run(FORKS + """
        detector = fe_clip.Detector()
        detector(np.zeros((64, 64, 3), np.uint8))
        child = os.fork()
        if child == 0:
            os._exit(0 if work(detector) == "raised" and metric(0) == "raised" else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        # A transform needs no threads.
        with context.Pool(2) as pool:
            print(*pool.map(metric, range(2)), *pool.map(fe_clip.dct.dct, [[1.0], [1.0]]))
        print(work(detector) != "raised")
    """)
    assert answers == ["0", "raised", "raised", "[2.]", "[2.]", "True"]


def score(detector, picture):
    return detector(picture).score


@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_processes_of_their_own_take_a_detector(detector, way):
    context = multiprocessing.get_context(way)
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        found = list(pool.map(score, [detector] * 4, PICTURES[:4], timeout=120))
    assert found == [detector(picture).score for picture in PICTURES[:4]]
    assert len(np.unique(found)) > 1
