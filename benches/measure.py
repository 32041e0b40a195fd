"""Runs a command and measures it from outside: elapsed time, and the memory of it and all its children together."""

import dataclasses
import os
import pathlib
import resource
import subprocess
import threading
import time


@dataclasses.dataclass
class Measurement:
    seconds: float
    peak_bytes: int


def high_water_mark(pid):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def descendants(pid):
    found = []
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found.append(int(child))
                found.extend(descendants(int(child)))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def run(command, cwd=None, env=None, watched=True):
    """The memory is the sum over the processes of each one's high-water mark, sampled; at the least what wait4 says.

    What wait4 says begins at our own size, because a child is a copy of us until it executes its program; so it counts only
    when it is larger. A process that lives for milliseconds is sampled often for that reason, which slows it down:
    its time is measured in a run of its own, without `watched`.
    """
    marks, ended = {}, threading.Event()
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def watch():
        # The kernel keeps the marks, so whoever lives long is looked at seldom: looking takes time from whom is measured.
        while not ended.wait(0.001 if time.perf_counter() - start < 0.1 else 0.05):
            for pid in [process.pid, *descendants(process.pid)]:
                marks[pid] = max(marks.get(pid, 0), high_water_mark(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    if watched:
        watcher.start()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    ended.set()
    if watched:
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed ({process.returncode}): {' '.join(map(str, command))}\n{output.decode(errors='replace')}")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    waited = usage.ru_maxrss * 1024 if usage.ru_maxrss > own else 0
    return Measurement(seconds, max(sum(marks.values()), waited))
