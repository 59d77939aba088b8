import json

import pytest
from fakes.toy_repository import ToyRepository

from gpubench.analysis.compare.case_changes import CaseChange, ratio_change
from gpubench.analysis.verdict.interleaved_rounds import compare_log_ratios
from gpubench.cli import bisect_judge
from gpubench.cli.bisect_search import CommitsCompared, SearchStopped, judge_settings
from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus
from gpubench.core.metrics import METRICS
from gpubench.runner.arms.revision import commit_of, commits_between, find_revision

NUM = 12


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    repository = ToyRepository(tmp_path_factory.mktemp("git") / "toyrepo")
    repository.commits = [repository.commit(number / 1000) for number in range(1, NUM + 2)]
    suite = "schema: 1\nname: toy\ndefaults: {workload: 'toybench:Toy'}\nmatrix: {batch_size: [1, 2]}\n"
    (repository.bench / "toy.yaml").write_text(suite)
    return repository


class FakeJudge:
    """Commits from `first_bad` on take `effect` longer in the second case, rounds being `spread` apart, or `last_spread` against
    the commit before; those of `broken` cannot be judged.
    """

    first_bad, effect, spread, last_spread, broken, stop_after, asked = 7, 0.05, 0.001, 0.001, (), None, []

    def __init__(self, loaded, folder, show, until_s=None):
        self.cases = loaded.cases

    def __call__(self, state, commit, against):
        type(self).asked = [*self.asked, (commit, against)]
        if self.stop_after is not None and len(self.asked) > self.stop_after:
            raise self.stopped
        if commit in self.broken:
            return CommitsCompared(None, skipped="it cannot be installed: no wheel")
        before = against is not None and against >= self.first_bad
        spread = self.spread if against is None else self.last_spread
        effect = self.effect if commit >= self.first_bad and not before else 0.0
        changes = []
        for case, moved in zip(self.cases, (0.0, effect), strict=True):
            if state.case_id in (None, case.case_id):
                logs = [moved + spread * (-1) ** number for number in range(10)]
                judged = compare_log_ratios(logs, judge_settings(state))
                change = ratio_change(METRICS["throughput"], judged)
                changes.append(
                    CaseChange(case.case_id, str(case.batch_size), "measured", None, Side(), {"throughput": change})
                )
        return CommitsCompared(f"run-{len(self.asked)}", tuple(changes))


class Side:
    """All that is asked of a case with figures."""


@pytest.fixture
def judge(monkeypatch, toy):
    fake = type("Judge", (FakeJudge,), {"asked": [], "stopped": SearchStopped("the time budget is used up")})
    monkeypatch.setattr(bisect_judge, "ArmJudge", fake)
    monkeypatch.chdir(toy.bench)
    return fake


def bisect(tmp_path, *arguments):
    return main(["bisect", "toy.yaml", "--good", f"HEAD~{NUM}", "--store", str(tmp_path / "runs"), *arguments])


def test_the_commit_is_found_in_the_case_that_got_worse(judge, toy, tmp_path, capsys):
    assert bisect(tmp_path) == ExitStatus.OK
    printed = capsys.readouterr()
    culprit = toy.commits[1 + judge.first_bad]
    assert f"{culprit[:10]} is the commit" in printed.out
    assert f"git show {culprit[:10]}" in printed.out
    assert "case      2\n" in printed.out
    assert "12 commits after" in printed.err
    assert judge.asked[0] == (NUM - 1, None)
    assert judge.asked[-1] == (judge.first_bad, judge.first_bad - 1)


def test_the_document_has_answer_and_judgements(judge, toy, tmp_path, capsys):
    assert bisect(tmp_path, "--json") == ExitStatus.OK
    document = json.loads(capsys.readouterr().out)
    assert document["answer"]["found"]
    assert document["answer"]["commits"] == [toy.commits[1 + judge.first_bad]]
    assert document["answer"]["change"]["value"] == pytest.approx(-0.0488, abs=0.001)
    assert document["search"]["judgements"][0]["commit"] == NUM - 1


@pytest.mark.parametrize("end", ["budget", "interrupt"])
def test_a_search_that_was_stopped_goes_on_where_it_was(judge, toy, tmp_path, capsys, end):
    judge.stop_after = 3
    judge.stopped = SearchStopped("the time budget is used up") if end == "budget" else KeyboardInterrupt()
    assert bisect(tmp_path) == (ExitStatus.CASE_FAILED if end == "budget" else ExitStatus.INTERRUPTED)
    printed = capsys.readouterr().out
    assert "Stopped before the answer" in printed
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"gpubench bisect --resume {folder}" in " ".join(printed.split())
    judge.stop_after = None
    before = len(judge.asked) - 1
    assert main(["bisect", "--resume", str(folder)]) == ExitStatus.OK
    assert toy.commits[1 + judge.first_bad][:10] in capsys.readouterr().out
    assert len(judge.asked) - before < len(judge.asked)
    assert judge.asked[before] == judge.asked[before + 1]


def test_commits_that_cannot_be_judged_are_named_with_the_rest_of_the_suspects(judge, toy, tmp_path, capsys):
    judge.broken = (6, 7)
    assert bisect(tmp_path) == ExitStatus.CASE_FAILED
    printed = capsys.readouterr()
    assert "It is one of" in printed.out
    for number in (6, 7, 8):
        assert toy.commits[1 + number][:10] in printed.out
    assert "skipped: it cannot be installed: no wheel" in printed.err


def test_what_the_last_rounds_cannot_tell_is_not_called_unchanged(judge, toy, tmp_path, capsys):
    judge.last_spread = 0.2
    assert bisect(tmp_path) == ExitStatus.CASE_FAILED
    printed = " ".join(capsys.readouterr().out.split())
    culprit = toy.commits[1 + judge.first_bad][:10]
    assert f"Not found: {culprit} is the likeliest" in printed
    assert "but 10 rounds cannot tell it from the commit before it" in printed


def test_nothing_is_searched_where_the_later_commit_is_not_worse(judge, tmp_path, capsys):
    judge.effect = 0.0
    assert bisect(tmp_path) == ExitStatus.USAGE
    assert "is not worse than the good one" in " ".join(capsys.readouterr().err.split())
    assert len(judge.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bisect"], "name a suite"),
        (["bisect", "toy.yaml"], "--good is missing"),
        (["bisect", "toy.yaml", "--good", "HEAD"], "is not an ancestor"),
        (["bisect", "toy.yaml", "--good", "HEAD", "--bad", "HEAD~3"], "is not an ancestor"),
        (["bisect", "toy.yaml", "--good", "HEAD~3", "--metric", "speed"], "is not a metric"),
        (["bisect", "toy.yaml", "--good", "HEAD~3", "-k", "batch_size=9"], "no case"),
        (["bisect", "--resume", "."], "holds no bisection"),
        (["bisect", "--resume", ".", "--good", "HEAD"], "it takes no --good"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(judge, capsys, arguments, said):
    assert main(arguments) == ExitStatus.USAGE
    assert said in " ".join(capsys.readouterr().err.split())
    assert not judge.asked


def test_a_search_is_continued_in_its_folder(judge, tmp_path, capsys, monkeypatch):
    assert bisect(tmp_path) == ExitStatus.OK
    (folder,) = (tmp_path / "runs").iterdir()
    monkeypatch.chdir(tmp_path)
    assert main(["bisect", "--resume", str(folder)]) == ExitStatus.USAGE
    assert "was begun in" in " ".join(capsys.readouterr().err.split())


def test_a_damaged_search_is_named(judge, tmp_path, capsys):
    assert bisect(tmp_path) == ExitStatus.OK
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / "bisection.json").write_text('{"schema": 1}')
    assert main(["bisect", "--resume", str(folder)]) == ExitStatus.USAGE
    assert "is not a bisection of this gpubench" in " ".join(capsys.readouterr().err.split())


def test_rounds_that_cannot_tell_are_not_called_not_worse(judge, tmp_path, capsys):
    judge.spread = 0.2
    assert bisect(tmp_path, "--rounds", "10") == ExitStatus.USAGE
    said = " ".join(capsys.readouterr().err.split())
    assert "10 rounds cannot tell commit" in said
    assert "more --rounds" in said
    assert "--sesoi" not in said


@pytest.mark.parametrize("subject", ["", "a form\x0cfeed", "a line\u2028separator", "a\ttab"])
def test_commits_have_whatever_subject(toy, subject):
    toy.git("commit", "--allow-empty", "--allow-empty-message", "-m", subject)
    try:
        good, bad = (find_revision(text, folder=toy.folder) for text in ("HEAD~2", "HEAD"))
        assert [commit.subject for commit in commits_between(good, bad)][1:] == [subject]
        assert commit_of(bad).subject == subject
    finally:
        toy.git("reset", "--hard", "HEAD~1")
