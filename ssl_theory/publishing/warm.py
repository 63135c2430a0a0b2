"""Programs of the build from one warm process: `python -m ssl_theory.publishing.warm SOCKET`.

It does once what every chapter does at its beginning, some seconds of processor time, and then splits off a
process for each that asks, until its stdin closes. Whoever asks is `ssl_theory/publishing/split.py` in the
place of a worker, a kernel or Jupyter Book: it hands over the module to run, its arguments, environment,
folder, input and outputs, and lives and dies with the process that it was given.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

from ssl_theory.publishing.child import BORN

KERNEL = "ipykernel_launcher"
IMPORTED = (
    "debugpy.server",  # which every kernel imports
    "ipykernel.kernelapp",
    "ipywidgets",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "torch._decomp.decompositions_for_jvp",  # which the first derivatives of a process import
    "torch._dynamo",
    "torch.func",
    "ssl_theory.chapter",
    "ssl_theory.controls",
    "ssl_theory.display.figures",
    "ssl_theory.display.widgets",
    "ssl_theory.experiments",
    "ssl_theory.hltm",
    "ssl_theory.images",
    "ssl_theory.inspection",
    "ssl_theory.operators",
    "ssl_theory.publishing.worker",
    "ssl_theory.reference",
)


def main() -> None:
    """Serve programs until stdin closes."""
    for name in IMPORTED:
        with suppress(ImportError):  # the chapter that needs it will tell
            importlib.import_module(name)
    _draw()
    _validate()
    _state()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(sys.argv[1])
        door.listen()
        gc.collect()
        gc.freeze()  # so that programs share what they never change
        gc.set_threshold(50_000, 20, 50)  # most of what a chapter makes lives to its end
        signal.signal(signal.SIGCHLD, _bury)
        print(time.process_time(), flush=True)  # seconds that all this took; it is ready
        while sys.stdin not in select.select([sys.stdin, door], [], [])[0]:
            asked, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _become(asked)
            asked.close()


def _bury(number: int, frame: object) -> None:
    """Take note of programs that ended, so that their processor time counts as this process's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _draw() -> None:
    """Draw a figure, so that fonts are found and the grammar of formulas is built."""
    with suppress(ImportError):
        from matplotlib.figure import Figure

        from ssl_theory.display.figures import as_svg

        figure = Figure()
        figure.subplots().set(xscale="log", xlabel=r"$\lambda_1\,\|W\|^2$", title="warm")
        as_svg(figure)


def _validate() -> None:
    """Hold a notebook against its schema, so that the program that does so is there."""
    with suppress(ImportError):
        import nbformat

        nbformat.validate({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def _state() -> None:
    """Read what the theorems claim."""
    from ssl_theory.theorems import claims

    with suppress(ValueError):  # the chapter that needs it will tell
        claims()


def _become(asked: socket.socket) -> None:
    """Run a module in the place of the one who asks; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, outputs, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    job = json.loads(text)
    for place, descriptor in enumerate(outputs):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.setsid()
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    tempfile.tempdir = None  # it is another chapter's
    if BORN in os.environ:
        Path(os.environ[BORN]).write_text(str(os.getpid()), encoding="ascii")
    sys.argv = [job["module"], *job["arguments"]]
    threading.Thread(target=_end_with, args=[asked], daemon=True).start()
    code = _run(job["module"])
    with suppress(OSError):
        asked.send(bytes([code]))
    os._exit(code)


def _run(module: str) -> int:
    """Run a kernel, or another program by its `main`, to its end.

    Returns:
        Its exit code.
    """
    if module == KERNEL:
        from ipykernel.kernelapp import launch_new_instance

        launch_new_instance()
        return 0
    try:
        return int(importlib.import_module(module).main())
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _end_with(asked: socket.socket) -> None:
    """End this process when the one who asked for it is gone."""
    asked.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
