"""`gpubench doctor`: what on this machine would spoil measurements, and what to do about it."""

import json
import sys
import time
from typing import TYPE_CHECKING

import rich_click as click

from gpubench.cli.print_errors import say
from gpubench.report.model.inert_text import json_text
from gpubench.report.model.words import count

if TYPE_CHECKING:
    from rich.console import Console

    from gpubench.machine.doctor.examination import Examination, SelfTest
    from gpubench.machine.doctor_row import DoctorRow

_MARKS = {"ok": " ", "warn": "!", "bad": "x", "n/a": "."}
_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red", "n/a": "dim"}


@click.command(name="doctor")
@click.option("--strict", is_flag=True, help="Exit 4 if anything would spoil a measurement (a `bad` row).")
@click.option("--json", "as_json", is_flag=True, help="Print rows and facts as JSON.")
@click.option(
    "--env", "as_block", is_flag=True, help="Print a block to paste into an issue (UUIDs hashed, no host name)."
)
@click.option(
    "--self-test",
    flag_value="always",
    default="auto",
    help="Run the self-test even if a result is stored (up to a minute).",
)
@click.option(
    "--no-self-test",
    "self_test",
    flag_value="never",
    help="Skip the self-test (default: run it if no result is stored).",
)
def command(*, strict: bool, as_json: bool, as_block: bool, self_test: "SelfTest") -> int:
    """Check this machine for anything that spoils measurements.

    Each row is ok, warn, bad or n/a, and says what to do. Nothing on the machine is changed.

    \b
    Examples:
      gpubench doctor                every check; the self-test if none is stored
      gpubench doctor --self-test    run the self-test again
      gpubench doctor --strict       exit 4 if the machine is not fit to measure
      gpubench doctor --env          a block to paste into an issue
    """  # noqa: D301 - click looks for the character itself
    from gpubench.core.errors import ExitStatus, UsageError
    from gpubench.machine.doctor.examination import examine

    if as_json and as_block:
        raise UsageError("--json and --env exclude each other", hint="--json is for programs, --env for people.")
    found = examine(self_test, lambda text: say(f"doctor: {text}"))
    if as_json:
        rows = [row.as_dict() for row in found.rows]
        content = {"schema": 1, "fit": found.fit, "rows": rows, "facts": found.facts}
        click.echo(json_text(content, indent=2, default=str))
    elif as_block:
        click.echo(_block(found))
    else:
        _print(found)
    return ExitStatus.MACHINE_UNFIT if strict and not found.fit else ExitStatus.OK


def _block(found: "Examination") -> str:
    """Markdown: the rows that are not ok, then the fingerprint, folded."""
    from gpubench.core.anonymity import hide_homes, hide_uuids
    from gpubench.machine.environment import collect

    rows = [row for row in found.rows if row.level in {"warn", "bad"}]
    shown = "\n".join(f"* {row.level}: {row.name}: {hide_homes(hide_uuids(row.text))}" for row in rows)
    env = json.dumps(collect(found.worker_versions, anonymous=True), indent=1, default=str)
    return (
        f"### gpubench doctor\n\n{shown or '* nothing found'}\n\n"
        f"<details><summary>Environment</summary>\n\n```json\n{env}\n```\n\n</details>"
    )


def _print(found: "Examination") -> None:
    from gpubench.cli.console import prose_width, result_console
    from gpubench.machine.doctor_row import Group, Level

    console = result_console()
    width = prose_width(sys.stdout)
    names = max(len(row.name) for row in found.rows)
    dates = [facts["measured_unix_s"] for facts in found.facts.values() if facts and facts.get("measured_unix_s")]
    for group in Group:
        rows = [row for row in found.rows if row.group == group]
        if rows:
            name = f"{group.value[:1].upper()}{group.value[1:]}"
            if group is Group.SELF_TEST and dates:  # its stored figures are shown
                date = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(dates)))
                name += f" of {date} (--self-test runs it again)"
            console.print(name, style="bold", soft_wrap=True)
            for row in rows:
                _print_row(console, row, names, width)
            console.print()
    bad, warned = (sum(row.level is level for row in found.rows) for level in (Level.BAD, Level.WARN))
    verdict = "Nothing found that spoils measurements."
    if bad or warned:
        fit = "Fit to measure" if found.fit else "Not fit to measure"
        verdict = f"{fit}: {bad} bad, {count(warned, 'warning')}{'' if found.fit else ' (exit 4 with --strict)'}."
    for text in _wrapped(verdict, width):
        console.print(text, soft_wrap=True)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; numbers, UUIDs and paths are never split."""
    from textwrap import wrap

    return wrap(text, max(20, width), break_long_words=False, break_on_hyphens=False) or [""]


def _print_row(console: "Console", row: "DoctorRow", names: int, width: int) -> None:
    """Mark, name, text, level; the remedy under it. Wrapped, never cut."""
    from rich.text import Text

    level = row.level.value
    indent = names + 4
    seen = _wrapped(row.text, width - indent - 6)
    line = Text(f"{_MARKS[level]} {row.name:<{names}}  {seen[0]}")
    line.append(f"{'':<{max(1, width - len(line.plain) - 4)}}{level:>4}", style=_STYLES[level])
    console.print(line, soft_wrap=True)
    for more in seen[1:]:
        console.print(f"{'':<{indent}}{more}", soft_wrap=True)
    if row.remedy and level != "ok":
        for more in _wrapped(row.remedy, width - indent - 3):
            console.print(f"{'':<{indent}}   {more}", style="dim", soft_wrap=True)
