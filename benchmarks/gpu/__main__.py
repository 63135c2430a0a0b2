"""Run the parts one after the other and write one JSON: `python -m benchmarks.gpu [--rehearse] [-o FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import ssl_theory
from benchmarks.gpu.report import Report
from benchmarks.gpu.setting import Setting

# seconds that a part may take, and those of a rehearsal
PARTS = {"agreement": (60, 200), "trees": (100, 200), "photographs": (160, 400), "losses": (30, 100)}
BUDGET = {False: 335.0, True: 1000.0}
PACKAGES = ("numpy", "pandas", "scikit-learn", "scikit-image", "kornia", "triton")
FOLDER = Path(__file__).parents[2]


def main() -> int:
    given = arguments()
    if given.part:
        return one_part(given.part, given.seconds, given.rehearse, given.output)
    if not given.rehearse and not torch.cuda.is_available():
        print("not measured: no GPU", file=sys.stderr)
        if given.json:
            print(json.dumps({"GPU": "not measured: no GPU"}))
        return 0
    content = all_parts(
        given.parts or list(PARTS), given.budget or BUDGET[given.rehearse], given.rehearse, given.output
    )
    if given.json:
        print(json.dumps(summary(content)))
    return 0 if content["passed"] else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in tiny sizes")
    parser.add_argument("--budget", type=float, help="seconds that all parts may take")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER / "build" / "gpu.json")
    parser.add_argument("--json", action="store_true", help="print the claims as JSON too")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = sorted(set(given.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return given


def one_part(name: str, seconds: float, rehearse: bool, output: Path) -> int:
    """Return 0 after running a part in this process; errors are in its report."""
    report, setting = Report(output), Setting(rehearse, time.monotonic() + seconds)
    with report.guarded(name):
        importlib.import_module(f"benchmarks.gpu.{name}").measure(setting, report)
    return 0


def all_parts(names: list[str], budget: float, rehearse: bool, output: Path) -> dict[str, Any]:
    """Return what all parts found, each run by a process that a broken GPU or a hang does not outlive."""
    start, content = time.monotonic(), heading(rehearse)
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        left = budget - (time.monotonic() - start)
        content["parts"][name] = run(name, min(left, PARTS[name][rehearse]), rehearse)
        content["seconds"] = round(time.monotonic() - start, 1)
        content["passed"] = all(part["passed"] for part in content["parts"].values())
        output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for line in summary(content).items():
        print(f"{line[0]:90} {line[1]}", file=sys.stderr)
    return content


def run(name: str, seconds: float, rehearse: bool) -> dict[str, Any]:
    print(f"\n{name}, at most {seconds:.0f} s", file=sys.stderr, flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        options = ["--part", name, "--seconds", str(seconds), *(["--rehearse"] if rehearse else [])]
        problem = None
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.gpu", *options, "-o", file],
                cwd=FOLDER,
                timeout=max(1.0, seconds + 10),
                stdout=sys.stderr,
            )
            if done.returncode:
                problem = f"the process ended with status {done.returncode}"
        except subprocess.TimeoutExpired:
            problem = f"ended after {seconds + 10:.0f} s"
        part: dict[str, Any] = {"claims": [], "numbers": {}, "errors": {}}
        if file.exists():
            part = json.loads(file.read_text(encoding="utf-8"))
    if problem:
        part["errors"][name] = problem
    part["seconds"] = round(time.monotonic() - begun, 1)
    part["passed"] = bool(part["claims"]) and not part["errors"] and all(c["passed"] for c in part["claims"])
    return part


def heading(rehearse: bool) -> dict[str, Any]:
    """Return what the numbers belong to: no host, no path."""
    if rehearse:
        device: dict[str, Any] = {"name": "cuda (rehearsal on the CPU: no number below means anything)"}
    else:
        found = torch.cuda.get_device_properties(0)
        device = {
            "name": found.name,
            "memory in GiB": round(found.total_memory / 2**30, 1),
            "multiprocessors": found.multi_processor_count,
            "capability": f"{found.major}.{found.minor}",
        }
    versions = {
        "ssl_theory": ssl_theory.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **{name: installed(name) for name in PACKAGES},
    }
    command = "python -m benchmarks gpu" + (" --rehearse" if rehearse else "")
    return {
        "rehearsal": rehearse,
        "command": command,
        "device": device,
        "versions": versions,
        "seconds": 0.0,
        "passed": False,
        "parts": {},
    }


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def summary(content: dict[str, Any]) -> dict[str, Any]:
    """Return a line for each claim, number and error."""
    lines: dict[str, Any] = {"device": content["device"]["name"], "seconds": content["seconds"]}
    for name, part in content["parts"].items():
        for claim in part["claims"]:
            lines[f"{name}: {claim['claim']}"] = f"{claim['value']} {'holds' if claim['passed'] else 'FAILS'}"
        lines |= {f"{name}: {key}": value for key, value in part["numbers"].items()}
        lines |= {f"{name}: ERROR in {key}": text for key, text in part["errors"].items()}
    return lines


if __name__ == "__main__":
    sys.exit(main())
