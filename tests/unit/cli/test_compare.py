import json
import re
from pathlib import Path

import jsonschema
import pytest
from fakes.explained import explained
from fakes.gate_runs import ENVIRONMENT, STEADY, HandMade, two_arms

from gpubench.cli import run_arms, why
from gpubench.cli.main import main
from gpubench.core.errors import UsageError
from gpubench.core.records import Status
from gpubench.profile.figures.kept_explanations import kept_explanations
from gpubench.runner.arms.arm import Arm

ROOT = Path(__file__).parents[3]
NOISY = (1.0, 1.3, 0.8, 1.2, 0.7, 1.1, 0.9, 1.25, 0.75, 1.05)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def compare(store, capsys, *arguments):
    status = main(["compare", *arguments, "--store", str(store)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def arms(store, name="arms"):
    made = two_arms(given={"head": {"git": "HEAD"}})
    made.measured(1000.0, head=900.0, batch_size=64)
    made.measured(1000.0, head=1100.0, batch_size=128)
    made.measured(1000.0, head=1001.0, batch_size=256)
    made.measured(1000.0, NOISY, head=1000.0, batch_size=512)
    lost = made.plan(batch_size=1024)
    made.launches(lost, 1000.0, arm="base")
    made.ended(lost, Status.OOM, "out of memory in warmup", arm="head")
    made.write(store, name)


def stored(store, name, rate, *, environment=ENVIRONMENT, tag=None, suite=None, **settings):
    made = HandMade(environment=environment, suite=suite or {})
    for batch_size in (64, 128):
        made.measured(rate, STEADY, device="cuda", batch_size=batch_size, **settings)
    made.write(store, name, tag=tag)


def test_arms_are_judged_and_what_differs_comes_before_any_number(store, capsys):
    arms(store)
    status, out, _ = compare(store, capsys, "arms")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "head against base"
    assert "interleaved launches, paired by round" in lines[1]
    assert out.index("none -> HEAD") < out.index("Speed: 1 slower, 1 faster, 1 the same and 1 unclear of 4 cases.")
    changed = out[out.index("Changed") : out.index("Ended otherwise")]
    assert "-10.0%" in changed
    assert "slower" in changed
    assert "faster" in changed
    assert " 256 " not in changed
    assert "now OOM  out of memory in warmup" in out
    assert "throughput: 1 worse, 1 better, 1 unchanged and 1 unclear" in out
    assert "geometric mean over 4 cases" in out
    assert "`unclear` means that the data neither show a change nor rule one out" in out


def test_verbose_lists_every_row_with_its_reason(store, capsys):
    arms(store)
    _, out, _ = compare(store, capsys, "arms", "-v")
    rows = out[out.index("Every row") :]
    assert "a change of 3.0% is ruled out" in rows
    assert "significant at this look" in rows
    assert "nearly deterministic: maxima compared" in rows


def test_another_arm_may_be_the_reference(store, capsys):
    arms(store)
    _, out, _ = compare(store, capsys, "arms", "--reference", "head")
    assert out.startswith("base against head")
    assert "+11.1%" in out


def test_every_other_arm_is_held_against_the_reference(store, capsys):
    made = two_arms()
    made.arms = ("base", "head", "other")
    planned = made.plan()
    for arm, rate in (("base", 1000.0), ("head", 900.0), ("other", 1000.0)):
        made.launches(planned, rate, arm=arm)
    made.write(store, "arms")
    _, out, _ = compare(store, capsys, "arms")
    head, other = out.split("other against base")
    assert "Speed: 1 slower of 1 case." in head
    assert "Speed: 1 the same of 1 case." in other


def test_arms_are_judged_by_the_smallest_change_that_their_run_was_given(store, capsys):
    made = two_arms()
    made.measured(1000.0, head=950.0, batch_size=64)
    made.write(store, "usual")
    made.write(store, "coarse", sesoi=0.2)
    for run, options, words in (
        ("usual", (), "1 slower"),
        ("coarse", (), "1 the same"),
        ("coarse", ("--sesoi", "3%"), "1 slower"),
    ):
        _, out, _ = compare(store, capsys, run, "--metric", "throughput", *options)
        assert f"Speed: {words} of 1 case." in out


def test_stored_runs_are_capped_until_the_cap_is_lifted(store, capsys):
    stored(store, "one", 1000.0)
    stored(store, "two", 900.0)
    status, out, _ = compare(store, capsys, "one", "two", "--metric", "throughput")
    assert status == 0
    assert "unclear  not interleaved: looks slower, but so would another session of the same" in out
    assert "slower\n" not in out[out.index("Changed") :]
    assert "--allow-unpaired" in out
    _, lifted, _ = compare(store, capsys, "one", "two", "--metric", "throughput", "--allow-unpaired")
    assert "Speed: 2 slower of 2 cases." in lifted
    assert "give no `slower` or `faster`" in " ".join(out.split())
    assert "give no" not in lifted
    assert "the verdicts here ignore that" in " ".join(lifted.split())


def test_several_runs_are_each_held_against_the_first(store, capsys):
    for name in ("one", "two", "three"):
        stored(store, name, 1000.0, tag=f"tag-{name}")
    status, out, _ = compare(store, capsys, "tag-one", "two", "thr")
    assert status == 0
    assert "two (tag-two) against one (tag-one)" in out
    assert "three (tag-three) against one (tag-one)" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gpus": [{**ENVIRONMENT["gpus"][0], "name": "NVIDIA Other"}]}, "GPU 0 name"),
        ({"gpus": [{**ENVIRONMENT["gpus"][0], "memory_total_bytes": 40 * 2**30}]}, "GPU 0 memory total bytes"),
    ],
)
def test_runs_of_different_cards_are_refused_unless_forced(store, capsys, change, said):
    stored(store, "one", 1000.0)
    stored(store, "two", 1000.0, environment={**ENVIRONMENT, **change})
    status, out, err = compare(store, capsys, "one", "two")
    assert (status, out) == (2, "")
    assert "cannot be compared" in err
    assert said in err
    assert "--force compares them as they are" in err
    status, out, _ = compare(store, capsys, "one", "two", "--force")
    assert status == 0
    assert "(forced: these numbers cannot be compared)" in out


def test_runs_of_different_suites_are_refused(store, capsys):
    stored(store, "one", 1000.0)
    stored(store, "two", 1000.0)
    head = store / "two" / "run.json"
    head.write_text(head.read_text().replace('"suite_name":"fake"', '"suite_name":"other"'))
    status, _, err = compare(store, capsys, "one", "two")
    assert status == 2
    assert "suite: fake and other" in err


def test_runs_without_a_common_case_are_refused(store, capsys):
    stored(store, "one", 1000.0)
    stored(store, "two", 1000.0, optimizer="adam")
    status, _, err = compare(store, capsys, "one", "two", "--force")
    assert status == 2
    assert "no case in common" in err


def test_a_single_run_without_arms_is_refused(store, capsys):
    stored(store, "one", 1000.0)
    status, _, err = compare(store, capsys, "one")
    assert status == 2
    assert "fewer than two arms" in err


def test_an_unknown_metric_is_wrong_use(store, capsys):
    arms(store)
    status, _, err = compare(store, capsys, "arms", "--metric", "sm_clock_mhz")
    assert status == 2
    assert "'sm_clock_mhz' is not a metric that can get better or worse" in err


def test_a_selection_keeps_cases(store, capsys):
    arms(store)
    _, out, _ = compare(store, capsys, "arms", "-k", "batch_size<=128", "--json")
    assert [case["label"] for case in json.loads(out)["cases"]] == ["64", "128"]


def test_json_holds_every_case_with_its_reason_and_is_all_of_stdout(store, capsys):
    arms(store)
    status, out, _ = compare(store, capsys, "arms", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["level"] == "launch"
    assert [case["kind"] for case in document["cases"]] == ["measured"] * 4 + ["now_oom"]
    speed = document["cases"][0]["changes"]["throughput"]
    assert speed["judgement"] == "worse"
    assert speed["change"]["low"] < -0.1 < speed["change"]["high"]
    assert document["overall"]["num_cases"] == 4


def test_json_has_the_form_that_is_published(store, capsys):
    schema = json.loads((ROOT / "schemas" / "comparison-1.json").read_text())
    arms(store)
    jsonschema.validate(json.loads(compare(store, capsys, "arms", "--json")[1]), schema)
    stored(store, "one", 1000.0)
    stored(store, "two", 900.0)
    jsonschema.validate(json.loads(compare(store, capsys, "one", "two", "--json")[1]), schema)


def test_json_of_several_comparisons_lists_them(store, capsys):
    for name in ("one", "two", "three"):
        stored(store, name, 1000.0)
    _, out, _ = compare(store, capsys, "one", "two", "three", "--json")
    assert [each["candidate"]["name"] for each in json.loads(out)["comparisons"]] == ["two", "three"]


def test_a_faster_case_whose_output_was_never_checked_says_so(store, capsys):
    made = two_arms()
    planned = made.plan()
    made.launches(planned, 1000.0, arm="base")
    made.launches(planned, 1200.0, arm="head", parity=None)
    made.write(store, "arms")
    _, out, _ = compare(store, capsys, "arms")
    assert "faster, output unverified" in out


def test_fast_but_wrong_is_no_win(store, capsys):
    made = two_arms()
    planned = made.plan()
    made.launches(planned, 1000.0, arm="base")
    made.launches(planned, 5000.0, arm="head", parity=False)
    made.write(store, "arms")
    _, out, _ = compare(store, capsys, "arms")
    assert "now INVALID" in out
    assert "faster" not in out
    assert "fast but wrong is no figure" in out


def test_profiles_of_both_sides_explain_a_slower_case(store, capsys):
    from fakes.profiles import write_profile

    stored(store, "one", 1000.0)
    stored(store, "two", 900.0)
    write_profile(
        store / "one" / "cases" / "1" / "profile" / "profile.json", kernels_per_step=40.0, names=("gemm_a", "conv")
    )
    write_profile(
        store / "two" / "cases" / "1" / "profile" / "profile.json", kernels_per_step=55.0, names=("gemm_b", "conv")
    )
    _, out, _ = compare(store, capsys, "one", "two")
    said = out[out.index("What the profiles say") :]
    assert "kernels per step 40.0 -> 55.0" in said
    assert "no longer among the largest kernels: gemm_a" in said
    assert "now among them: gemm_b" in said


def test_hostile_names_come_out_inert(store, capsys):
    made = two_arms(given={"head": {"env.X": "\x1b[2Jgone"}})
    made.measured(1000.0, head=900.0)
    made.write(store, "arms")
    _, out, _ = compare(store, capsys, "arms")
    assert "\x1b" not in out
    assert "\\x1b[2Jgone" in out


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_number_is_cut_at_any_width(store, capsys, monkeypatch, width):
    arms(store)
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = compare(store, capsys, "arms")
    assert "-10.0% (-10.2, -9.8)" in out
    assert "…" not in out


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_rows_of_a_case_can_be_told_apart_at_any_width(store, capsys, monkeypatch, width):
    made = two_arms()
    for batch_size in (64, 128):
        made.measured(
            1000.0, head=900.0, mode="train", precision="bf16", memory_format="channels_last", batch_size=batch_size
        )
    made.write(store, "arms")
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = compare(store, capsys, "arms", "-v")
    rows = out[out.index("Every row") :]
    assert [line for line in out.splitlines() if len(line) > width] == []
    words = " ".join(rows.split())
    assert (words.count("throughput"), words.count("peak rss")) == (2, 2)
    assert "metric" not in "".join(line for line in rows.splitlines() if "not shown at this width" in line)
    assert ("why (--wide)" in rows) == (width == 60), "reasons go last of all"
    assert "head, ," not in rows


def test_both_values_with_their_unit_go_before_reasons_that_are_told_below(store, capsys, monkeypatch):
    made = two_arms()
    made.measured(1000.0, STEADY[:3], head=950.0, batch_size=64)
    made.write(store, "arms")
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = compare(store, capsys, "arms")
    row = out[out.index("Changed") :].splitlines()[2].split(" ")
    assert [word for word in row if word][:6] == ["?", "64", "throughput", "1\u202f000", "950", "samples/s"]
    assert "3 of the 5 rounds that the first look needs" in out[out.index("Unclear") :]
    assert "rounds to tell" not in out


def test_what_v_would_list_is_not_promised_where_it_was_given(store, capsys):
    arms(store)
    assert "-v lists all" in compare(store, capsys, "arms")[1]
    assert "-v lists all" not in compare(store, capsys, "arms", "-v")[1]


def test_a_case_that_crashed_in_some_launches_is_named(store, capsys):
    made = two_arms()
    planned = made.measured(1000.0, head=1000.0, batch_size=64)
    made.records = [record for record in made.records if record.arm == "base" or record.repeat > 1]
    made.ended(planned, Status.TIMEOUT, "no step for 300 s", arm="head")
    made.write(store, "arms")
    _, out, _ = compare(store, capsys, "arms")
    assert "64    crashed in part  1 of 10 launches ran out of time: no step for 300 s" in out


def test_a_case_that_ends_again_with_a_wrong_output_is_not_fixed(store, capsys):
    made = two_arms()
    for batch_size, parity in ((64, True), (128, False)):
        planned = made.plan(batch_size=batch_size)
        made.ended(planned, Status.FAILED, "an old reason", arm="base")
        made.launches(planned, 1000.0, arm="head", parity=parity)
    made.write(store, "arms")
    _, out, _ = compare(store, capsys, "arms")
    assert "+  64    fixed              before: an old reason" in out
    assert "128   ends, but INVALID  its output is wrong; before: an old reason" in out
    assert "+  128" not in out


@pytest.fixture
def profiled(monkeypatch):
    """The cases that were asked about; each gets the same answer."""
    asked = []

    def answer(_run, change, pair, _place):
        asked.append((change.label, [arm.name for arm in pair]))
        return explained()

    monkeypatch.setattr(why, "_explain", answer)
    monkeypatch.setattr(run_arms, "arms_again", lambda info, _folder: tuple(Arm(each.name) for each in info.arms))
    monkeypatch.setattr(why, "_check_machine", lambda *_, **__: None)
    return asked


def test_why_names_the_operators_of_slower_cases(store, capsys, profiled):
    arms(store)
    status, out, _ = compare(store, capsys, "arms", "--why", "--force")
    assert status == 0
    assert [names for _, names in profiled] == [["base", "head"]] * len(profiled)
    assert profiled
    assert f"Why: {profiled[0][0]}" in out
    assert "forward +10.0% (+9.0, +11.0): aten::relu became aten::gelu (+10.0%); the rest is unchanged." in out
    assert "100% of the verdict's +10.0% (+9.0, +11.0) is explained." in out
    assert "12 windows of 9 steps a side, both arms in one process." in out
    assert "the rest" in out


def test_what_why_found_is_kept_for_the_report(store, capsys, profiled):
    arms(store)
    _, _, err = compare(store, capsys, "arms", "--why", "--force")
    assert "its report (`gpubench report`) shows it, too" in err
    assert set(kept_explanations(store / "arms", "base", "head")) == {label for label, _ in profiled}


def test_an_answer_that_cannot_be_kept_is_printed_all_the_same(store, capsys, profiled):
    arms(store)
    (store / "arms" / "why.json").mkdir()
    status, out, err = compare(store, capsys, "arms", "--why", "--force")
    assert (status, "forward +10.0%" in out) == (0, True)
    assert "not kept for the report" in err


def test_why_is_in_the_published_form_of_the_json(store, capsys, profiled, monkeypatch):
    schema = json.loads((ROOT / "schemas" / "comparison-1.json").read_text())
    arms(store)
    document = json.loads(compare(store, capsys, "arms", "--why", "--force", "--json")[1])
    jsonschema.validate(document, schema)
    assert [each["label"] for each in document["why"]] == [label for label, _ in profiled]
    assert document["why"][0]["explained"]["parts"][0]["after"] == "aten::gelu"

    def cannot(*_):
        raise UsageError("it has several ranks.")

    monkeypatch.setattr(why, "_explain", cannot)
    document = json.loads(compare(store, capsys, "arms", "--why", "--force", "--json")[1])
    jsonschema.validate(document, schema)
    assert document["why"][0]["not_profiled"] == "it has several ranks."
    assert "Not profiled: it has several ranks." in compare(store, capsys, "arms", "--why", "--force")[1]


def test_why_says_how_much_is_not_explained(store, capsys, profiled, monkeypatch):
    arms(store)
    monkeypatch.setattr(why, "_explain", lambda *_: explained(explained=0.5))
    assert "50.0% of the verdict's +10.0% (+9.0, +11.0) is explained; +5.0% is not." in compare(
        store, capsys, "arms", "--why", "--force", "--wide"
    )[1].replace("\n  ", " ")
    monkeypatch.setattr(why, "_explain", lambda *_: explained(parts=(), explained=None))
    assert "Nothing stands out in 12 turns of windows" in compare(store, capsys, "arms", "--why", "--force")[1]


def test_why_needs_the_arms_of_one_run(store, capsys):
    stored(store, "one", 1000.0)
    stored(store, "two", 900.0)
    status, _, err = compare(store, capsys, "one", "two", "--why")
    assert status == 2
    assert "--why profiles the arms of one run in turn" in err
    assert "--arm base='git=main'" in err


def two_machines(store, energy=(1.0, 0.6)):
    """The candidate's machine does twice the samples per second."""
    other = {**ENVIRONMENT, "gpus": [{**gpu, "name": "another card"} for gpu in ENVIRONMENT["gpus"]]}
    for name, rate, joules, environment in (
        ("old", 1000.0, energy[0], ENVIRONMENT),
        ("new", 2000.0, energy[1], other),
    ):
        made = HandMade(environment=environment)
        for batch_size in (64, 128):
            planned = made.plan(device="cuda", batch_size=batch_size)
            made.launches(planned, rate, extra={"energy_per_sample_j": joules})
        made.write(store, name)


def test_two_machines_get_a_verdict_on_speed_energy_and_money(store, capsys):
    two_machines(store)
    status, out, _ = compare(store, capsys, "old", "new", "--machines", "--price", "2/h", "--price", "3/h", "--wide")
    assert status == 0
    assert "Speed   faster: 2.0" in out
    assert "times the samples per second, geometric mean over 2 cases" in out
    assert "Money   cheaper: 0.75" in out
    assert "cannot be compared" not in out
    assert "a smaller difference between machines means nothing" in " ".join(out.split())


def test_two_machines_without_prices_say_what_is_missing(store, capsys):
    two_machines(store)
    _, out, _ = compare(store, capsys, "old", "new", "--machines")
    assert "Money   not known: give --price of both: 2.5/h, or a file" in out


def test_two_machines_are_in_the_published_form_of_the_json(store, capsys):
    schema = json.loads((ROOT / "schemas" / "comparison-1.json").read_text())
    two_machines(store)
    command = ("old", "new", "--machines", "--price", "2/h", "--price", "3/h", "--json")
    document = json.loads(compare(store, capsys, *command)[1])
    jsonschema.validate(document, schema)
    found = document["machines"]
    assert found["samples_per_s"]["ratio"]["value"] == pytest.approx(2.0)
    assert found["money_per_sample"]["ratio"]["value"] == pytest.approx(0.75)
    assert found["cases"][0]["samples_per_money"] == pytest.approx([1000 * 3600 / 2, 2000 * 3600 / 3], rel=0.01)


def test_one_file_has_the_prices_of_both_machines(store, tmp_path, capsys):
    two_machines(store)
    prices = tmp_path / "machines.yaml"
    prices.write_text(f"{ENVIRONMENT['gpus'][0]['name'].upper()}: 2/h\nanother card: 3/h\n")
    command = ("old", "new", "--machines", "--price", str(prices), "--json")
    found = json.loads(compare(store, capsys, *command)[1])["machines"]
    assert found["prices_per_hour"] == [2, 3]
    assert found["money_per_sample"]["ratio"]["value"] == pytest.approx(0.75)
    prices.write_text("another card: 3/h\n")
    status, _, err = compare(store, capsys, *command)
    assert status == 2
    assert "has no price of this machine, whose names are" in err


def test_two_machines_are_compared_at_the_prices_that_their_runs_were_given(store, capsys):
    two_machines(store)
    for name, price in (("old", 2.0), ("new", 3.0)):
        head = json.loads((store / name / "run.json").read_text())
        (store / name / "run.json").write_text(json.dumps({**head, "price_per_hour": price}))
    document = json.loads(compare(store, capsys, "old", "new", "--machines", "--json")[1])
    assert document["machines"]["prices_per_hour"] == [2, 3]


def test_machines_that_ran_different_suites_are_refused(store, capsys):
    two_machines(store)
    made = HandMade(environment=ENVIRONMENT)
    made.measured(1000.0, STEADY, device="cuda", batch_size=64)
    head = made.write(store, "third") / "run.json"
    head.write_text(re.sub(r'("suite_name": ?)"fake"', r'\1"other"', head.read_text()))
    status, _, err = compare(store, capsys, "old", "third", "--machines")
    assert (status, "cannot be compared" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("old", "new", "--price", "2/h"), "--price needs --machines"),
        (("old", "--machines"), "--machines compares two runs"),
        (("old", "new", "--machines", "--price", "2/h"), "give --price once for each of the two machines"),
        (("old", "new", "--machines", "--price", "2"), "expected money per hour"),
    ],
)
def test_what_two_machines_cannot_be_asked_is_refused(store, capsys, arguments, said):
    two_machines(store)
    status, _, err = compare(store, capsys, *arguments)
    assert status == 2
    assert said in err
