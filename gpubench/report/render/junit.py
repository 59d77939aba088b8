"""The outcome of a check as JUnit XML: one suite per gate, one test per case it covers.

The form is common to Jenkins, GitLab, GitHub actions and pytest: `testsuites` > `testsuite` > `testcase` with
`failure`, `error` or `skipped` inside, counts and `time` on every level. Text is made inert, because XML 1.0 cannot
contain control characters.
"""

import xml.etree.ElementTree as ET

from gpubench.analysis.compare.case_changes import CaseChange
from gpubench.analysis.gate.gate_outcome import Checked
from gpubench.analysis.gate.gate_rules import GateResult
from gpubench.core.errors import ExitStatus
from gpubench.report.comparison.change_cells import crash_text, crashed_launches, end_text, kind_word
from gpubench.report.comparison.gate_screen import ended, gate_title, headline, limit_text, moved_by, why_real
from gpubench.report.model.inert_text import inert
from gpubench.report.model.report_model import plain


def junit_xml(checked: Checked) -> str:
    """The document, with its XML declaration. A failed test broke the limit; an unclear one passes with a note. A check
    that is not passed although no test failed is an error of a test for the whole, so that no reader of the file alone
    takes it for passed.
    """
    root = ET.Element("testsuites", name="gpubench check")
    counted = [_suite(root, result) for result in checked.results]
    crashed = [change for change in checked.compared.changes if _crashed(change)]
    others = [change for change in ended(checked) if not _crashed(change)]
    if crashed or others:
        counted.append(_ends(root, crashed, others))
    if checked.status is not ExitStatus.OK and not any(each["failures"] + each["errors"] for each in counted):
        counted.append(_whole(root, checked))
    names = ("tests", "failures", "errors", "skipped")
    _count(root, {name: sum(each[name] for each in counted) for name in names})
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, result: GateResult) -> dict[str, int]:
    title = f"{gate_title(result)} {limit_text(result)}"
    suite = ET.SubElement(root, "testsuite", name=inert(title))
    failures = {change.case_id: change for change in result.failures}
    unclear = {change.case_id for change in result.unclear}
    for change in result.covered:
        test = _test(suite, f"gpubench.{result.rule.metric}", change)
        broken = failures.get(change.case_id)
        if broken is not None:
            message = f"{moved_by(result, broken, broken.changes.get(result.rule.metric))}, limit {limit_text(result)}"
            failure = ET.SubElement(test, "failure", message=inert(message), type="regression")
            failure.text = inert(f"{change.label}: {message}. {why_real(result, broken)}.")
        elif change.case_id in unclear:
            moved = change.changes.get(result.rule.metric)
            reason = kind_word(change) if moved is None else moved.reason
            ET.SubElement(test, "system-out").text = inert(f"unclear: {reason}")
    lacking = [change for change in result.no_data if change.kind != "measured"]
    for change in lacking:
        test = _test(suite, f"gpubench.{result.rule.metric}", change)
        ET.SubElement(test, "skipped", message=inert(f"no data: {kind_word(change)}"))
    num_tests = result.num_cases + len(lacking)
    counts = {"tests": num_tests, "failures": len(failures), "errors": 0, "skipped": len(lacking)}
    _count(suite, counts)
    return counts


def _ends(root: ET.Element, crashed: list[CaseChange], others: list[CaseChange]) -> dict[str, int]:
    """Crashes are errors, even of only some launches. Other ends, which no gate forbids, are skipped tests with a
    message.
    """
    suite = ET.SubElement(root, "testsuite", name="cases that did not end well")
    for change in crashed:
        first = next(iter(crashed_launches(change.measured)), change.measured)
        test = _test(suite, "gpubench.run", change)
        ET.SubElement(test, "error", message=inert(crash_text(change.measured)), type=first.status.value)
    for change in others:
        ET.SubElement(_test(suite, "gpubench.run", change), "skipped", message=inert(end_text(change)))
    counts = {"tests": len(crashed) + len(others), "failures": 0, "errors": len(crashed), "skipped": len(others)}
    _count(suite, counts)
    return counts


def _whole(root: ET.Element, checked: Checked) -> dict[str, int]:
    suite = ET.SubElement(root, "testsuite", name="the check as a whole")
    test = ET.SubElement(suite, "testcase", classname="gpubench.check", name="passed", time="0")
    ET.SubElement(test, "error", message=inert(plain(headline(checked))), type=f"exit status {int(checked.status)}")
    counts = {"tests": 1, "failures": 0, "errors": 1, "skipped": 0}
    _count(suite, counts)
    return counts


def _crashed(change: CaseChange) -> bool:
    return change.candidate is not None and change.candidate.num_crashed > 0


def _test(suite: ET.Element, classname: str, change: CaseChange) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=classname, name=inert(change.label), time="0")


def _count(suite: ET.Element, counts: dict[str, int]) -> None:
    suite.attrib.update({name: str(number) for name, number in counts.items()})
    suite.set("time", "0")
