import pytest

from gpubench.runner import run
from gpubench.runner.run import RunRequest, start
from gpubench.store.run_writer import RunWriter
from gpubench.suite.load import load_suite


def interrupted_after(monkeypatch, owner, name):
    whole = getattr(owner, name)

    def cut(*given, **named):
        whole(*given, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, cut)


@pytest.mark.parametrize("was_there", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(RunWriter, "update_info"), (RunWriter, "__enter__"), (run.RunSession, "__init__"), (run.RunSession, "__enter__")],
)
def test_a_signal_at_any_moment_before_the_plan_leaves_nothing_behind(tmp_path, monkeypatch, owner, name, was_there):
    suite, out = tmp_path / "mine.yaml", tmp_path / "run"
    suite.write_text("schema: 1\nname: mine\ndefaults: {device: cpu}\n")
    if was_there:
        out.mkdir()
    interrupted_after(monkeypatch, owner, name)
    with pytest.raises(KeyboardInterrupt):
        start(RunRequest(load_suite(suite), out=out))
    assert {path.name for path in tmp_path.rglob("*")} == {"mine.yaml", *(["run"] if was_there else [])}
