"""Profiles in the folders of runs: `cases/<number>/profile/profile.json`."""

from pathlib import Path

from pydantic import ValidationError

from gpubench.profile.figures.summary_model import ProfileSummary
from gpubench.profile.traces.read_trace import NSYS_REPORT
from gpubench.protocol.profile_job import TORCH_TRACE

SUMMARY_FILE = "profile.json"
TRACE_STEM = "profile"
TABLES_FILE = f"{TRACE_STEM}.sqlite"
_TRACES = (f"{TRACE_STEM}{NSYS_REPORT}", TABLES_FILE, TORCH_TRACE)


def profile_folder(run: Path, index: int) -> Path:
    """The folder of the profile of a run's case."""
    return run / "cases" / str(index) / "profile"


def stored_profile(run: Path, index: int) -> ProfileSummary | None:
    """The profile of a case; None if there is none, or it cannot be read: a report does without."""
    try:
        return ProfileSummary.model_validate_json((profile_folder(run, index) / SUMMARY_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def stored_trace(run: Path, index: int) -> Path | None:
    """The trace that was kept of a case, None if none was."""
    found = (profile_folder(run, index) / name for name in _TRACES)
    return next((path for path in found if path.is_file()), None)


def stored_profiles(run: Path) -> dict[int, ProfileSummary]:
    """All profiles of a run that can be read, by the number of their case."""
    numbers = sorted(
        int(path.parts[-3]) for path in run.glob(f"cases/*/profile/{SUMMARY_FILE}") if path.parts[-3].isdigit()
    )
    found = {number: stored_profile(run, number) for number in numbers}
    return {number: profile for number, profile in found.items() if profile is not None}
