"""Kernels from one warm process: `python -m ssl_theory.publishing.warm SOCKET`, which ends with its stdin.

It imports once what every chapter imports, some seconds of processor time, and then splits off a kernel for
each that asks. Whoever asks is `ssl_theory/publishing/split.py` in the place of a kernel: it hands over its
arguments, its environment, its folder and its output, and lives and dies with the kernel that it was given.
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
from contextlib import suppress

IMPORTED = (
    "ipykernel.kernelapp",
    "ipywidgets",
    "scipy.optimize",
    "scipy.stats",
    "torch.func",
    "ssl_theory.chapter",
    "ssl_theory.display.figures",
    "ssl_theory.display.widgets",
    "ssl_theory.hltm",
    "ssl_theory.operators",
    "ssl_theory.reference",
)


def main() -> None:
    """Serve kernels until stdin closes."""
    for name in IMPORTED:
        with suppress(ImportError):  # the chapter that needs it will tell
            importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(sys.argv[1])
        door.listen()
        gc.collect()
        gc.freeze()  # so that kernels share what they never change
        signal.signal(signal.SIGCHLD, _bury)
        print("ready", flush=True)
        while sys.stdin not in select.select([sys.stdin, door], [], [])[0]:
            asked, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _become_kernel(asked)
            asked.close()


def _bury(number: int, frame: object) -> None:
    """Take note of kernels that ended, so that their processor time counts as this process's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become_kernel(asked: socket.socket) -> None:
    """Run a kernel in the place of the one who asks; never returns."""
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
    sys.argv = ["ipykernel_launcher", *job["arguments"]]
    threading.Thread(target=_end_with, args=[asked], daemon=True).start()
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
    os._exit(0)


def _end_with(asked: socket.socket) -> None:
    """End this process when the one who asked for it is gone."""
    asked.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
