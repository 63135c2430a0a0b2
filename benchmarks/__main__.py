"""Run all benchmarks, or those named: `python -m benchmarks [operators …]`; `book` runs if it is named.

Prints ratios and writes them to build/bench.json. `python -m benchmarks gpu` alone takes the arguments of
`benchmarks.gpu` and writes build/gpu.json.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
APART = ("book",)  # minutes of its own: it runs if it is named
NAMES = sorted(
    path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_") and path.stem != "timing"
)


def main(names: list[str]) -> int:
    if names[:1] == ["gpu"]:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu", *names[1:]], cwd=FOLDER.parent
        ).returncode
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"unknown benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    results: dict[str, object] = {
        "machine": {
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
    }
    for name in names or [name for name in NAMES if name not in APART]:
        print(f"\n{name}", flush=True)
        # a process each, so that peak memory is the benchmark's own
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=True
        )
        results[name] = json.loads(done.stdout)
        for key, value in json.loads(done.stdout).items():
            print(f"  {key:62} {value}", flush=True)
    target = FOLDER.parent / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"\n{target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
