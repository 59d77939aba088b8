"""What to type to see more, to repeat, to go on."""

import shlex

from gpubench.core.records import Status
from gpubench.report.model.report_model import Fact, Section, code, line
from gpubench.report.model.words import count
from gpubench.report.view.run_view import View


def section(view: View) -> Section:
    info, name = view.summary.info, view.name or view.summary.info.run
    typed = command_line(info.argv) or f"gpubench run {info.suite_path or info.suite_name} --seed {info.seed}"
    facts = [Fact("Repeat", line(code(typed)))]
    missing = [
        entry for entry in view.summary.cases if entry.status is Status.SKIPPED and not entry.planned.skip_status
    ]
    if missing:
        resume = code(f"gpubench run --resume {name}")
        facts.append(Fact("Go on", line(resume, f" measures the {count(len(missing), 'case')} left")))
    facts.append(Fact("One case", line(code(f"gpubench show {name}:NUMBER"), " shows it in full")))
    return Section("repeat", "To repeat", facts=tuple(facts))


def command_line(argv: tuple[str, ...]) -> str:
    """The command as it was typed, for a shell."""
    return shlex.join(["gpubench", *argv[1:]]) if len(argv) > 1 else ""
