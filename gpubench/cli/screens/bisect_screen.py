"""The output of `gpubench bisect`: a line per judgement, and the commit found."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpubench.analysis.verdict.bisection import Suspects
from gpubench.cli.bisect_search import SearchAnswer, answer, described, explained, name_of, num_left
from gpubench.core.units import format_percent
from gpubench.report.model.words import count
from gpubench.store.bisection_file import Judgement, StoredBisection

_WORDS = {"worse": "worse", "better": "not worse", "same": "not worse", "unclear": "undecided"}
_MOST_LISTED = 8


def first_line(state: StoredBisection) -> str:
    """How long the search may take, before anything is measured."""
    most = math.ceil(math.log2(len(state.commits))) + 2 if len(state.commits) > 1 else 1
    return f"{count(len(state.commits), 'commit')} after {name_of(state, None)}: about {count(most, 'judgement')}"


def judgement_line(state: StoredBisection, number: int) -> str:
    """`2  1a2b3c4d5e  worse  throughput -3.0% (-3.8, -2.2), 10 rounds; 16 commits left`."""
    judged = state.judgements[number]
    sha = state.commits[judged.commit].commit[:10]
    if judged.skipped is not None:
        return f"{number + 1:>3}  {sha}  skipped: {judged.skipped}"
    beside = f" against {state.commits[judged.against].commit[:10]}" if judged.against is not None else ""
    left = num_left(state.model_copy(update={"judgements": state.judgements[: number + 1]}))
    sure = "" if judged.against is not None else f"; {count(left, 'commit')} left"
    rounds = f", {count(judged.rounds, 'round')}" if judged.rounds else ""
    return f"{number + 1:>3}  {sha}  {_WORDS[judged.judgement]}{beside}: {described(state, judged)}{rounds}{sure}"


def _suspects(state: StoredBisection, suspects: Suspects) -> str:
    """`1a2b3c4d5e`, or `1a2b3c4d5e to 5e4d3c2b1a`."""
    first, last = (state.commits[at].commit[:10] for at in (suspects.first, suspects.last))
    return first if first == last else f"{first} to {last}"


def answer_lines(state: StoredBisection, folder: Path, *, stopped: str | None = None) -> list[str]:
    """The answer, its evidence, and what to type next. `stopped` says why the search ended before its answer."""
    if not state.judgements:
        return [f"Nothing was judged: {stopped}."]
    found = answer(state)
    lines = [_headline(state, found, stopped), ""]
    lines += _commit_lines(state, found.suspects)
    if found.confirmed is not None and found.confirmed.skipped is None:
        lines.append(f"  change    {described(state, found.confirmed)} against the commit before it")
    lines.append(f"  in all    {described(state, found.total)} from {state.good.commit[:10]} to the last commit")
    lines.append(
        f"  case      {state.label}" + (f" (worst of {state.others + 1} that are worse)" if state.others else "")
    )
    skipped = [each for each in state.judgements if each.skipped is not None]
    text = f"{count(len(state.judgements), 'judgement')} of {count(len(state.commits), 'commit')}"
    lines.append(f"  judged    {text}" + (f"; {len(skipped)} could not be judged" if skipped else ""))
    share = explained(found)
    if found.found and share is not None and share < 0.7 and found.suspects.last < len(state.commits) - 1:
        sha = state.commits[found.suspects.last].commit[:10]
        lines.append(f"  note      {format_percent(share)} of the whole change: search on with --good {sha}")
    return [*lines, "", f"Folder  {folder}", *_next(state, found, folder, stopped)]


def _headline(state: StoredBisection, found: SearchAnswer, stopped: str | None) -> str:
    where = _suspects(state, found.suspects)
    share = found.suspects.probability
    sure = "over 99% sure" if share > 0.99 else f"{share:.0%} sure"
    if stopped is not None:
        return f"Stopped before the answer ({stopped}). So far: {where}, {sure}."
    if found.found:
        return f"{where} is the commit ({sure})."
    if found.suspects.first != found.suspects.last:
        return f"It is one of {where} ({sure}): the commits between them could not be judged."
    confirmed = found.confirmed
    if confirmed is None or confirmed.skipped is not None:
        why = "it could not be compared with"
    elif confirmed.judgement == "unclear":
        why = f"{confirmed.rounds} rounds cannot tell it from"
    else:
        why = "it is not worse than"
    return f"Not found: {where} is the likeliest ({sure}), but {why} the commit before it."


def _commit_lines(state: StoredBisection, suspects: Suspects) -> list[str]:
    listed = state.commits[suspects.first : suspects.last + 1]
    lines = [
        f"  commit    {each.commit[:10]} {each.subject}, {each.author}, {each.date}" for each in listed[:_MOST_LISTED]
    ]
    more = len(listed) - _MOST_LISTED
    return lines + ([f"            ... and {count(more, 'more commit')}"] if more > 0 else [])


def _next(state: StoredBisection, found: SearchAnswer, folder: Path, stopped: str | None) -> list[str]:
    if stopped is not None:
        return [f"Next    gpubench bisect --resume {folder}"]
    run = found.total.run if found.confirmed is None or found.confirmed.run is None else found.confirmed.run
    return [
        f"Next    git show {state.commits[found.suspects.last].commit[:10]}",
        f"        gpubench compare {folder / str(run)} -v",
    ]


def bisection_document(state: StoredBisection, folder: Path, *, stopped: str | None = None) -> dict[str, Any]:
    """The document of `--json`: the answer, and the stored search."""
    document: dict[str, Any] = {"folder": str(folder), "stopped": stopped, "answer": None}
    if state.judgements:
        found = answer(state)
        span = slice(found.suspects.first, found.suspects.last + 1)
        document["answer"] = {
            "found": found.found and stopped is None,
            "probability": found.suspects.probability,
            "commits": [each.commit for each in state.commits[span]],
            "change": _change(found.confirmed),
            "total": _change(found.total),
        }
    return document | {"search": state.model_dump(mode="json", by_alias=True)}


def _change(judgement: Judgement | None) -> dict[str, Any] | None:
    return None if judgement is None or judgement.change is None else asdict(judgement.change)
