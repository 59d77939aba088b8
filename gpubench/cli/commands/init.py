"""`gpubench init`: writes a starter suite and model."""

from pathlib import Path

import rich_click as click

from gpubench.core.errors import UsageError

MODEL_FILE, SUITE_FILE = "mymodel.py", "mysuite.yaml"

MODEL = '''"""A model to measure: replace it with yours."""

import torch
from torch import nn


class Net(nn.Module):
    """`input` in mysuite.yaml is the shape of one sample, `params` are arguments of __init__."""

    def __init__(self, width=32):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * width, 10)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


# To measure something that is not a module, such as a whole training loop, write a class whose `build` returns a
# function that does one step, and name it in the suite: "mymodel.py:Loop".
class Loop:
    def build(self, case, device):
        model = Net(**case.params).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=case.learning_rate)
        images = torch.randn(case.batch_size, 3, 32, 32, device=device)

        def step():
            optimizer.zero_grad()
            model(images).square().mean().backward()
            optimizer.step()

        return step
'''

SUITE = """# Which precision and batch size are fastest for this model?
#
#   gpubench validate mysuite.yaml        check it
#   gpubench run mysuite.yaml --dry-run   what would run here, and for how long
#   gpubench run mysuite.yaml             measure
schema: 1
name: mysuite
description: Which precision and batch size are fastest for my model?

# Settings of every case; the suite reference in the documentation lists them all. `auto`: the GPU where there is one.
defaults: {workload: "mymodel.py:Net", input: 3x32x32, mode: train, device: auto}

# One case for every combination.
matrix:
  precision: [fp32, amp-bf16]
  batch_size: [16, 64]
  # params: {width: [32, 64]}          arguments of the model
  # memory_format: [NCHW, NHWC]
  # compile: ["off", default]

# What speed-ups are relative to.
baseline: {precision: fp32, batch_size: 16}

# Longer and more launches give narrower intervals.
measure: {target_rel_ci: 2%, min_time: 500ms, max_time: 3s, repeats: 3}

# `gpubench check @last --against main` fails if a case got slower than this.
gates:
  - {metric: throughput, max_regression: 5%}
"""


@click.command(name="init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="[FOLDER]")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def command(folder: Path, *, force: bool) -> int:
    """Write a starter suite and model.

    Both run unchanged, and their comments say what to edit. Existing files are kept, unless you give --force.

    \b
    Examples:
      gpubench init                   mysuite.yaml and mymodel.py, here
      gpubench init benchmarks        in a new folder
    """  # noqa: D301 - click looks for the character itself
    from gpubench.store.atomic_files import write_atomically

    files = {folder / MODEL_FILE: MODEL, folder / SUITE_FILE: SUITE}
    there = [str(path) for path in files if path.exists() or path.is_symlink()]
    if there and not force:
        raise UsageError(f"{' and '.join(there)} would be replaced", hint="Add --force, or name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
    for path, text in files.items():
        write_atomically(path, text.encode())
        click.echo(f"wrote {path}")
    click.echo(f"\nNext    gpubench run {folder / SUITE_FILE} --dry-run   what would run here, and for how long")
    return 0
