"""Stands for a kernel that a warm process splits off: `python -S split.py SOCKET ARGUMENTS…`; see warm.py."""

import json
import os
import select
import socket
import sys


def main() -> int:
    """Ask for a kernel and wait until it ends.

    Returns:
        The exit code.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(sys.argv[1])
        environment = {k: v for k, v in os.environ.items() if k != "JPY_PARENT_PID"}  # it has another parent
        folder = os.getcwd()  # noqa: PTH109 - pathlib costs more than the rest of this program
        job = {"arguments": sys.argv[2:], "folder": folder, "environment": environment}
        socket.send_fds(line, [json.dumps(job).encode()], [0, 1, 2])
        parent = os.getppid()
        while os.getppid() == parent and not select.select([line], [], [], 1)[0]:
            pass  # until the kernel ends, or whoever wanted it is gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
