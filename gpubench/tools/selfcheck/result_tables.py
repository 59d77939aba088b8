"""The simulation's counts as Markdown."""

from gpubench.tools.selfcheck.other_tool_rules import RULES
from gpubench.tools.selfcheck.simulate_verdicts import SceneResult, Selfcheck

TARGET_NOTES = (
    "Every target is met if launches vary by up to 1 %: slower at no change at most 1 %, slower at +3 % at least "
    "95 %, same at +3 % at most 5 %, interval coverage 93 to 97 %, any alarm in a suite of 50 at most 5 %."
)


def render(found: Selfcheck) -> str:
    """Three tables: gpubench's verdicts, other tools' rules on the same kind of data, suites."""
    head = (
        f"{found.trials} comparisons per scene and effect, {found.suites} suites, seed {found.seed}. Shares in per "
        "cent. gpubench's arms are interleaved; the other tools compare two sessions, as they are used."
    )
    alarms = [[name, _percent(share)] for name, share in found.suite_alarms.items()]
    suites = _table(["50 unchanged cases, launches vary 1 %", "suites with any alarm"], alarms)
    return "\n\n".join((head, _ours(found), _others(found), suites))


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(share: float) -> str:
    return f"{share * 100:.2f}" if share < 0.1 else f"{share * 100:.1f}"


def _ours(found: Selfcheck) -> str:
    header = ["scene", "effect", "slower", "faster", "same", "unclear", "coverage", "rounds"]
    rows = [
        [
            result.scene.name,
            f"{result.effect:+.0%}" if result.effect else "none",
            *(_percent(result.shares[word]) for word in ("slower", "faster", "same", "unclear")),
            _percent(result.coverage),
            f"{result.mean_rounds:.1f}",
        ]
        for result in found.results
    ]
    return _table(header, rows)


def _others(found: Selfcheck) -> str:
    pairs: dict[str, list[SceneResult]] = {}
    for result in found.results:
        pairs.setdefault(result.scene.name, []).append(result)
    rows = [
        [name, _slower(results, None), *(_slower(results, rule) for rule in RULES)] for name, results in pairs.items()
    ]
    return "`slower` with no change / at +3 %:\n\n" + _table(["scene", "gpubench", *RULES], rows)


def _slower(results: list[SceneResult], rule: str | None) -> str:
    shares = [result.shares["slower"] if rule is None else result.others[rule] for result in results]
    return " / ".join(f"{share * 100:.1f}" for share in shares)
