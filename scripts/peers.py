"""gpubench beside other benchmark tools: one model and batch, an identical pair, and one slower by 3 %.

    python scripts/peers.py measure --folder peers --pairs 3     # about two minutes a pair and tool, on a quiet machine
    python scripts/peers.py report --folder peers                # the table of docs/peers.md

Needs `timm`; of the tools `pyperf` and `optimum-benchmark`, one that is not installed is left out, and said to be.
Every tool runs as its documentation shows, once per side, one side after the other; gpubench takes both sides in one
command.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import click

HERE = Path(__file__).resolve().parent
WORKLOAD = HERE / "peers_workload.py"
SLOWER = 0.03
KINDS = {"identical": 0.0, "slower": SLOWER}


@dataclass(frozen=True)
class Pair:
    """What a tool said of a pair. `change` is of the time of a step, second over first; `verdict` is the tool's own:
    None where it has none. `wall_s` is the time from the first command to the answer.
    """

    tool: str
    kind: str
    change: float
    verdict: str | None
    said: str
    wall_s: float


def run(*command: object) -> str:
    """What a command printed. Ends the program if it fails."""
    return ran(*command).stdout


def ran(*command: object, slow_s: float = 0.0, accepted: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """A command that has ended with one of the `accepted` statuses. Ends the program with its output otherwise."""
    environ = {**os.environ, "PEERS_SLOW_S": str(slow_s), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(list(map(str, command)), env=environ, capture_output=True, text=True, check=False)
    if done.returncode not in accepted:
        raise click.ClickException(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def gpubench(folder: Path, slow_s: float) -> tuple[float, str | None, str]:
    head = f"head=set.params.slow_s={slow_s:.6f}" if slow_s else "head="
    asked = ("--input", "3x64x64", "-s", "mode=infer", "-s", "batch_size=4", "-s", "device=cpu")
    tool = (sys.executable, "-m", "gpubench")
    out = folder / "run"
    run(*tool, "run", f"{WORKLOAD}:net", *asked, "--arm", "base=", "--arm", head, "--out", out)
    (case,) = json.loads(run(*tool, "compare", out, "--json"))["cases"]
    found = case["changes"]["throughput"]
    faster, low, high = (found["change"][name] for name in ("value", "low", "high"))
    word = {"worse": "slower", "better": "faster"}.get(found["judgement"], found["judgement"])
    return 1 / (1 + faster) - 1, word, f"throughput {faster:+.1%} ({low:+.1%} to {high:+.1%}): {found['reason']}"


def pyperf(folder: Path, slow_s: float) -> tuple[float, str | None, str]:
    sides = one_after_the_other("pyperf", folder, slow_s)
    said = run(sys.executable, "-m", "pyperf", "compare_to", *sides).strip()
    found = re.search(r"([\d.]+)x (faster|slower)", said)
    medians = [json.loads(run(sys.executable, "-c", PYPERF_MEDIAN, side)) for side in sides]
    return medians[1] / medians[0] - 1, found[2] if found else "not significant", said.replace("\n", " ")


PYPERF_MEDIAN = "import pyperf, sys; print(pyperf.Benchmark.load(sys.argv[1]).median())"


def torch_benchmark(folder: Path, slow_s: float) -> tuple[float, str | None, str]:
    found = [json.loads(side.read_text()) for side in one_after_the_other("torch", folder, slow_s)]
    said = "; ".join(f"{each['median_s'] * 1e3:.2f} ms, IQR {each['iqr_s'] * 1e3:.2f} ms" for each in found)
    return found[1]["median_s"] / found[0]["median_s"] - 1, None, said


def optimum_benchmark(folder: Path, slow_s: float) -> tuple[float, str | None, str]:
    found = [json.loads(side.read_text()) for side in one_after_the_other("optimum", folder, slow_s)]
    said = "; ".join(f"mean {each['mean_s'] * 1e3:.2f} ms over {each['count']}" for each in found)
    return found[1]["mean_s"] / found[0]["mean_s"] - 1, None, said


def pytest_benchmark(folder: Path, slow_s: float) -> tuple[float, str | None, str]:
    """With its gate: fail if the median grew by more than 2 %."""
    tool = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", WORKLOAD, f"--benchmark-storage={folder}")
    run(*tool, "--benchmark-save=base")
    gate = ("--benchmark-save=head", "--benchmark-compare=0001", "--benchmark-compare-fail=median:2%")
    ended = ran(*tool, *gate, slow_s=slow_s, accepted=(0, 1))
    base, head = (json.loads(path.read_text())["benchmarks"][0]["stats"] for path in sorted(folder.glob("*/*.json")))
    verdict = "fails" if ended.returncode else "passes"
    return head["median"] / base["median"] - 1, verdict, f"{verdict} at median:2%"


def one_after_the_other(tool: str, folder: Path, slow_s: float) -> list[Path]:
    sides = [folder / "base.json", folder / "head.json"]
    for side, slower in zip(sides, (0.0, slow_s), strict=True):
        ran(sys.executable, WORKLOAD, tool, side, slow_s=slower)
    return sides


TOOLS: dict[str, tuple[str, Callable[[Path, float], tuple[float, str | None, str]]]] = {
    "gpubench": ("gpubench", gpubench),
    "pyperf": ("pyperf", pyperf),
    "torch.utils.benchmark": ("torch", torch_benchmark),
    "pytest-benchmark": ("pytest_benchmark", pytest_benchmark),
    "optimum-benchmark": ("optimum_benchmark", optimum_benchmark),
}


@click.group()
def main() -> None:
    """Hold gpubench against other tools on this machine."""


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("peers"), show_default=True)
@click.option("--pairs", type=click.IntRange(1), default=3, show_default=True, help="Of each kind, per tool.")
@click.option("--tool", "tools", type=click.Choice(list(TOOLS)), multiple=True, help="Only this one; repeatable.")
def measure(folder: Path, pairs: int, tools: tuple[str, ...]) -> None:
    """Measure what is not in FOLDER yet; call it again to go on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pairs.jsonl"
    done = read(path)
    slow_s = SLOWER * step_s(folder)
    for number in range(pairs):  # every tool once, then again: a machine that changes changes for all
        for name in tools or TOOLS:
            module, compare = TOOLS[name]
            if importlib.util.find_spec(module) is None:
                click.echo(f"{name} is not installed: left out")
                continue
            for kind, share in KINDS.items():
                if sum((each.tool, each.kind) == (name, kind) for each in done) > number:
                    continue
                own = folder / f"{name}-{kind}-{number}"
                own.mkdir()
                began_s = time.monotonic()
                change, verdict, said = compare(own.resolve(), slow_s if share else 0.0)
                pair = Pair(name, kind, change, verdict, said, time.monotonic() - began_s)
                with path.open("a") as file:
                    file.write(json.dumps(asdict(pair)) + "\n")
                click.echo(f"{name}, {kind}: {change:+.1%}, {verdict or 'no verdict'}, {pair.wall_s:.0f} s")


def step_s(folder: Path) -> float:
    """Seconds of a step, measured once per folder."""
    path = folder / "step.json"
    if not path.exists():
        run(sys.executable, WORKLOAD, "torch", path.resolve())
    return float(json.loads(path.read_text())["median_s"])


def read(path: Path) -> list[Pair]:
    return [Pair(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


@main.command()
@click.option("--folder", type=click.Path(path_type=Path, exists=True), default=Path("peers"), show_default=True)
def report(folder: Path) -> None:
    """Print the table, as Markdown."""
    pairs = read(folder / "pairs.jsonl")
    click.echo("| tool | identical pair | 3 % slower | seconds per pair |\n|---|---|---|---|")
    for name in dict.fromkeys(each.tool for each in pairs):
        cells = []
        for kind in KINDS:
            found = [each for each in pairs if (each.tool, each.kind) == (name, kind)]
            changes = ", ".join(f"{each.change:+.1%}" for each in found)
            verdicts = ", ".join(each.verdict for each in found if each.verdict)
            cells.append(f"{changes}: {verdicts or 'no verdict'}" if found else "")
        wall_s = median(each.wall_s for each in pairs if each.tool == name)
        click.echo(f"| {name} | {' | '.join(cells)} | {wall_s:.0f} |")


if __name__ == "__main__":
    main()
