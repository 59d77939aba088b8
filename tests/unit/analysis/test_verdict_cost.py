import math

import numpy as np
import pytest
from fakes.gate_runs import HandMade, two_arms

from gpubench.analysis.compare.verdict_cost import forecast, plan
from gpubench.analysis.verdict.interleaved_rounds import CompareSettings, compare_log_ratios
from gpubench.analysis.verdict.many_comparisons import SCREEN_ROUNDS, judge_suite
from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

SETTINGS = CompareSettings()


def logs(spread: float, num: int = 200, seed: int = 1) -> list[float]:
    return list(np.exp(spread * np.random.default_rng(seed).standard_normal(num)))


def timed(made, *, wall_s=2.0, host_s=5.0, share=False):
    """Gives each launch its time: rounds one after the other, a host started before each."""
    now, stamped = 1000.0, []
    for repeat in sorted({record.repeat for record in made.records}):
        now += host_s
        for number, record in enumerate(each for each in made.records if each.repeat == repeat):
            stamped.append(
                record.model_copy(update={"started_unix_s": now, "wall_s": wall_s, "pid": 1 if share else number})
            )
            now += 0.0 if share and number == 0 else wall_s
    made.records[:] = stamped
    return made


def test_a_quiet_case_is_found_in_few_rounds():
    found = forecast(0.005, SETTINGS)
    assert found.found == 1.0
    assert found.rounds_same < 8
    assert found.needed <= 10


def test_no_verdict_is_promised_before_the_first_look():
    assert forecast(0.0001, SETTINGS).needed == 5


def test_a_noisy_case_is_not_found_and_the_rounds_it_needs_are_named():
    found = forecast(0.06, SETTINGS)
    assert found.found < 0.5
    assert found.rounds_same > 20
    assert 24 < found.needed < 500


def test_hopeless_noise_has_no_number():
    assert forecast(5.0, SETTINGS).needed is None


def test_the_forecast_is_what_the_judge_does():
    rng = np.random.default_rng(3)
    spread, effect = 0.03, math.log(1.03)
    verdicts = [compare_log_ratios(list(effect + spread * rng.standard_normal(24))).verdict for _ in range(400)]
    found = verdicts.count("slower") / 400
    assert forecast(spread, SETTINGS).found == pytest.approx(found, abs=3 * math.sqrt(0.25 / 400))


def test_a_smaller_change_costs_more_rounds():
    costs = [forecast(0.02, CompareSettings(sesoi=sesoi)).rounds_same for sesoi in (0.10, 0.05, 0.02)]
    assert costs == sorted(costs)


def test_two_equal_arms_give_the_spread_of_a_round(tmp_path):
    made = two_arms()
    planned = made.plan()
    made.launches(planned, 1000.0, logs(0.01, seed=1), arm="base")
    made.launches(planned, 1000.0, logs(0.01, seed=2), arm="head")
    (case,) = plan(load_run(timed(made).write(tmp_path, "pilot")), SETTINGS).cases
    assert case.spread == pytest.approx(0.01 * math.sqrt(2), rel=0.25)
    assert case.low < case.spread < case.high
    assert (case.level, case.rounds) == ("launch", 200)
    assert case.seconds == pytest.approx(4.0)


def test_launches_of_one_run_vary_by_root_two_less_than_a_round(tmp_path):
    made = HandMade()
    made.launches(made.plan(), 1000.0, logs(0.01))
    (case,) = plan(load_run(timed(made).write(tmp_path, "pilot")), SETTINGS).cases
    assert case.spread == pytest.approx(0.01 * math.sqrt(2), rel=0.25)
    assert case.seconds == pytest.approx(4.0)


def test_arms_that_shared_a_process_took_its_time_once(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=1000.0)
    (case,) = plan(load_run(timed(made, share=True).write(tmp_path, "pilot")), SETTINGS).cases
    assert case.seconds == pytest.approx(2.0)


def test_the_time_of_a_plan_is_that_of_its_launches_and_of_starting_hosts(tmp_path):
    made = two_arms()
    for batch_size in (1, 2):
        made.measured(1000.0, head=1000.0, batch_size=batch_size)
    found = plan(load_run(timed(made).write(tmp_path, "pilot")), SETTINGS)
    assert found.overhead_s == pytest.approx(5.0)
    # Five rounds settle each of two cases: 5 x 2 x 4 s, and five hosts.
    assert found.seconds_same == pytest.approx(5 * 2 * 4 + 5 * 5)
    assert found.seconds_most == pytest.approx(24 * (2 * 4 + 5))


def test_many_cases_are_foreseen_as_the_suite_that_a_run_judges(tmp_path):
    spread, num, fresh = 0.02, 20, 10
    made = two_arms()
    for batch_size in range(1, num + 1):
        planned = made.plan(batch_size=batch_size)
        made.launches(planned, 1000.0, logs(spread / math.sqrt(2), 60, batch_size), arm="base")
        made.launches(planned, 1000.0, logs(spread / math.sqrt(2), 60, -batch_size % 997), arm="head")
    pilot = load_run(made.write(tmp_path, "pilot"))
    settings = CompareSettings(max_rounds=SCREEN_ROUNDS + fresh)
    case = min(plan(pilot, settings, one_by_one=16).cases, key=lambda each: abs(each.spread - spread))
    rng = np.random.default_rng(5)

    def rounds(effect, num):
        return list(math.log1p(effect) + spread * rng.standard_normal(num))

    found, suspects, trials = 0, 0, 150
    for _ in range(trials):
        effects = {str(at): 0.03 if at == 0 else 0.0 for at in range(num)}
        again = []
        verdicts = judge_suite(
            {name: rounds(effect, SCREEN_ROUNDS) for name, effect in effects.items()},
            lambda names, again=again, effects=effects: (
                again.extend(names) or {name: rounds(effects[name], fresh) for name in names}
            ),
        )
        found += verdicts["0"].verdict == "slower"
        suspects += sum(name != "0" for name in again)
    assert case.forecast.found == pytest.approx(found / trials, abs=0.12)
    assert case.forecast.rounds_same == pytest.approx(SCREEN_ROUNDS + fresh * suspects / trials / (num - 1), abs=0.3)
    assert case.forecast.needed > SCREEN_ROUNDS
    one_by_one = min(plan(pilot, settings).cases, key=lambda each: abs(each.spread - spread))
    assert one_by_one.forecast.found > case.forecast.found


def test_a_suite_without_noise_is_screened_once_and_its_change_found(tmp_path):
    made = two_arms()
    for batch_size in range(1, 18):
        made.measured(1000.0, (1.0,) * 6, head=1000.0, batch_size=batch_size)
    (*_, case) = plan(load_run(made.write(tmp_path, "pilot")), SETTINGS, one_by_one=16).cases
    assert (case.forecast.found, case.forecast.rounds_same, case.forecast.rounds_slower) == (1.0, 10.0, 24.0)


@pytest.mark.parametrize("num", [0, 2])
def test_too_few_rounds_give_no_forecast_and_say_why(tmp_path, num):
    made = two_arms()
    planned = made.plan()
    if num:
        made.launches(planned, 1000.0, logs(0.01, num), arm="base")
        made.launches(planned, 1000.0, logs(0.01, num), arm="head")
    else:
        made.ended(planned, Status.OOM, "out of memory", arm="head")
    (case,) = plan(load_run(made.write(tmp_path, "pilot")), SETTINGS).cases
    assert (case.forecast, case.spread) == (None, None)
    assert case.reason == ("2 of the 3 rounds that a forecast needs" if num else "out of memory")
