"""Stands for what a warm process splits off: `python -S split.py SOCKET MODULE ARGUMENTS…`; see warm.py."""

import json
import os
import select
import socket
import sys


def main() -> int:
    """Ask for a process and wait until it ends.

    Returns:
        Its exit code; 1 if it was killed.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(sys.argv[1])
        environment = {k: v for k, v in os.environ.items() if k != "JPY_PARENT_PID"}  # it has another parent
        folder = os.getcwd()  # noqa: PTH109 - pathlib costs more than the rest of this program
        _, _, module, *arguments = sys.argv
        job = {"module": module, "arguments": arguments, "folder": folder, "environment": environment}
        socket.send_fds(line, [json.dumps(job).encode()], [0, 1, 2])
        parent = os.getppid()
        while os.getppid() == parent and not select.select([line], [], [], 1)[0]:
            pass  # until it ends, or whoever wanted it is gone
        told = line.recv(1) if os.getppid() == parent else b""
    return told[0] if told else 1


if __name__ == "__main__":
    sys.exit(main())
