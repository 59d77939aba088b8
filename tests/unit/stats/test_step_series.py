import numpy as np
import pytest

from gpubench.stats.median_interval import median_interval
from gpubench.stats.step_series import series_findings, summarise_series


def noisy(num: int, seed: int = 0, sigma: float = 0.01) -> np.ndarray:
    return 0.01 * np.exp(sigma * np.random.default_rng(seed).standard_normal(num))


def summarise(times, *, group=1, target=0.01):
    return summarise_series(times, group=group, clock="perf_counter", timing="throughput", target_rel_ci=target)


def codes(times, **options):
    series = summarise(times, **options)
    return [entry.code for entry in series_findings(series, times, options.get("target", 0.01))]


def test_figures_of_a_quiet_launch():
    times = noisy(400)
    times[:40] *= 1.5
    series = summarise(times)
    steady = times[series.num_warmup :]
    assert series.num_total == 400
    assert series.num_warmup + series.num_steady == 400
    assert 40 <= series.num_warmup <= 100
    assert series.median_s == np.median(steady)
    assert series.n_effective == pytest.approx(series.num_steady / series.tau)
    assert (series.low_s, series.high_s) == median_interval(steady, series.n_effective)
    assert series.rel_spread == pytest.approx(0.01, rel=0.2)
    assert (series.steady, series.converged) == (True, True)


def test_a_quiet_launch_has_nothing_to_be_said_about_it():
    assert codes(noisy(400)) == []


def test_a_drifting_launch_is_not_steady():
    times = noisy(400) * np.linspace(1, 1.08, 400)
    assert "GB202" in codes(times)


def test_the_message_of_a_drift_has_its_size():
    times = 0.01 * np.linspace(1, 1.1, 1000) * np.exp(0.001 * np.random.default_rng(1).standard_normal(1000))
    series = summarise(times)
    found = next(entry for entry in series_findings(series, times, 0.01) if entry.code == "GB202")
    assert found.message == f"Step time drifted by +{series.drift * 100:.1f}% over the measured window."
    assert found.data["drift"] == series.drift


def test_a_wide_interval_is_not_converged():
    times = noisy(60, sigma=0.3)
    series = summarise(times)
    found = {entry.code: entry for entry in series_findings(series, times, 0.01)}
    assert list(found) == ["GB203"]
    assert "wider than the ±1.0% asked for" in found["GB203"].message


def test_a_median_beyond_its_own_size_is_known_to_a_factor():
    series = summarise(noisy(60, sigma=0.3)).model_copy(update={"low_s": 0.0002, "high_s": 0.0281, "median_s": 0.0002})
    (found,) = series_findings(series, noisy(60), 0.01)
    assert "between 200 us and 28 ms: known to a factor of 140 only" in found.message


def test_a_width_just_above_the_target_shows_that_it_is():
    series = summarise(noisy(60, sigma=0.3)).model_copy(update={"low_s": 1.0, "high_s": 1.02002, "median_s": 1.0})
    (found,) = series_findings(series, noisy(60), 0.01)
    assert "at ±1.001%, wider than the ±1.000% asked for" in found.message


def test_a_slowly_varying_series_says_why_it_is_not_trusted():
    times = 0.01 * (1 + 0.003 * np.sin(np.arange(600) / 15))
    series = summarise(times)
    assert not series.converged
    messages = [entry.message for entry in series_findings(series, times, 0.01) if entry.code == "GB203"]
    assert "autocorrelation times long, 30 are needed" in messages[0]


def test_few_steps_are_said_to_be_few_and_not_unconverged():
    assert codes([0.5, 0.51, 0.52, 0.5, 0.49, 0.5]) == ["GB208"]


def test_outliers_are_labelled_and_kept():
    times = noisy(400)
    times[100::20] = 0.05
    series = summarise(times)
    assert series.num_warmup + series.num_steady == 400
    assert "GB204" in codes(times)


def test_groups_are_mentioned():
    found = series_findings(summarise(noisy(400), group=7), noisy(400), 0.01)
    assert [entry.message for entry in found] == ["Steps were timed in groups of 7."]


def test_one_step_has_a_median():
    series = summarise([0.25])
    assert (series.num_total, series.num_warmup, series.num_steady, series.median_s) == (1, 0, 1, 0.25)
    assert (series.low_s, series.drift, series.converged) == (None, None, False)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="no steps were timed"):
        summarise([])


def test_a_series_survives_json():
    series = summarise(noisy(100))
    assert type(series).model_validate_json(series.model_dump_json()) == series
