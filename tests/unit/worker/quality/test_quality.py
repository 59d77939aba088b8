import itertools
import time
from types import SimpleNamespace

import pytest
import torch

from gpubench.core.errors import UsageError
from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure, QualitySettings
from gpubench.worker import effective_settings
from gpubench.worker.job import Interrupted
from gpubench.worker.quality import train_case as quality
from gpubench.worker.quality import trainer
from gpubench.worker.workloads.classifier.classifier import accuracy

SMALL = Case(data="digits", image_size=8)


def job(case=None, seed=0, **asked):
    return Job(
        job=1,
        kind="quality",
        case=case or Case(data="digits"),
        quality=QualitySettings.model_validate(asked),
        seed=seed,
        log="",
    )


def train(*args, **kwargs):
    effective_settings.apply(Case(), torch)
    return quality.train(job(*args, **kwargs), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "image_size"), [("fp32", 28), ("amp-bf16", 12)])
def test_the_reference_cnn_learns_the_digits(precision, image_size):
    result = train(Case(data="digits", precision=precision, image_size=image_size), target_accuracy=0.9)
    assert result.accuracy >= 0.93
    assert result.precision_macro >= 0.93
    assert result.recall_macro >= 0.93
    assert (result.num_train, result.num_validation, result.num_test) == (1257, 270, 270)
    assert len(result.loss_per_epoch) == len(result.validation_score_per_epoch) == result.epochs == 8
    assert result.loss_per_epoch[0] > result.loss_per_epoch[-1] == result.final_loss
    assert 0 < result.time_to_accuracy_s <= result.training_time_s
    assert result.steps_to_accuracy % 19 == 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    first, again, other = (train(epochs=1, batch_size=256, seed=seed) for seed in (0, 0, 1))
    assert first.loss_per_epoch == again.loss_per_epoch
    assert first.accuracy == again.accuracy
    assert first.loss_per_epoch != other.loss_per_epoch


@pytest.mark.slow
def test_the_learning_rate_is_chosen_on_the_validation_split_and_the_test_split_is_read_once(monkeypatch):
    sizes = []
    evaluated = trainer.evaluated

    def counting(workload, case, examples, device, *, final):
        sizes.append(("test" if final else "validation", len(examples)))
        return evaluated(workload, case, examples, device, final=final)

    monkeypatch.setattr(trainer, "evaluated", counting)
    result = train(epochs=2, batch_size=256, learning_rate=[1e-6, 3e-3])
    assert result.learning_rate == 3e-3
    assert set(result.learning_rates_tried) == {"1e-06", "0.003"}
    assert result.learning_rates_tried["0.003"] > result.learning_rates_tried["1e-06"]
    assert sizes == [("validation", 270)] * 5 + [("test", 270)], "the first of them is thrown away"


@pytest.mark.slow
def test_the_result_is_that_of_the_chosen_rate_not_of_the_last():
    chosen_first = train(epochs=1, batch_size=256, learning_rate=[3e-3, 1e-6])
    alone = train(epochs=1, batch_size=256, learning_rate=[3e-3])
    assert chosen_first.accuracy == alone.accuracy
    assert chosen_first.loss_per_epoch == alone.loss_per_epoch


def test_starting_the_libraries_is_in_no_training_time(monkeypatch):
    calls, run_step = [], trainer.TrainStep.__call__

    def step(self):
        calls.append(1)
        return run_step(self)

    monkeypatch.setattr(trainer.TrainStep, "__call__", step)
    slow_start = SimpleNamespace(perf_counter=lambda: float(min(len(calls), 1)), monotonic=time.monotonic)
    monkeypatch.setattr(trainer, "time", slow_start)
    assert train(SMALL, epochs=1, batch_size=1257).training_time_s == 0
    assert len(calls) == trainer.READY_STEPS + 1


def test_a_training_too_short_for_an_energy_figure_is_repeated_as_far_as_it_went(monkeypatch):
    windows, asked = [], {"epochs": 2, "batch_size": 512, "target_accuracy": 0.01}
    once = train(SMALL, **asked)
    clock = SimpleNamespace(perf_counter=time.perf_counter, monotonic=itertools.count().__next__)
    monkeypatch.setattr(trainer, "time", clock)  # an epoch takes a second
    found = quality.train(job(SMALL, **asked), "cpu", tell_window=windows.append, least_window_s=3.1)
    assert (once.trainings_in_window, found.trainings_in_window) == (1, 4)
    assert windows[0].num_steps == 4 * 2, "one epoch each: it reached the target"
    assert windows[0].num_samples == 4 * 1024
    assert found.steps_to_accuracy == 2
    assert found.loss_per_epoch == once.loss_per_epoch
    assert found.accuracy == once.accuracy


@pytest.mark.parametrize(
    ("measure", "on_gpu", "least_s"),
    [({}, True, 3.1), ({"min_window": 5}, True, 5.0), ({"telemetry": "off"}, True, 0.0), ({}, False, 0.0)],
)
def test_it_is_repeated_on_devices_whose_energy_is_measured(monkeypatch, measure, on_gpu, least_s):
    asked = []

    def train(*args):
        asked.append(args[-1])
        raise Interrupted("enough")

    monkeypatch.setattr(quality, "train", train)
    monkeypatch.setattr(quality, "accelerator_of", lambda _device: SimpleNamespace(asynchronous=on_gpu))
    launch = SimpleNamespace(job=job().model_copy(update={"measure": Measure.model_validate(measure)}), stop=None)
    with pytest.raises(Interrupted):
        quality.train_case(launch)
    assert asked == [least_s]


def test_synthetic_data_has_no_accuracy():
    with pytest.raises(UsageError, match="no score to train to") as caught:
        quality.train(job(Case(data="synthetic")), "cpu")
    assert "quality.data" in caught.value.hint


def test_the_quality_stage_may_name_its_own_data():
    result = train(Case(data="synthetic"), data="digits", epochs=1, batch_size=256)
    assert result.num_test == 270


def test_it_stops_when_asked():
    steps = []

    def stop():
        steps.append(1)
        return len(steps) > 3

    with pytest.raises(Interrupted):
        quality.train(job(epochs=5), "cpu", stop=stop)
    assert len(steps) == 4


def test_progress_is_told_and_ends_at_the_whole_and_a_target_that_is_not_reached_has_no_time():
    told = []
    asked = job(epochs=2, batch_size=512, target_accuracy=1.0)
    result = quality.train(asked, "cpu", lambda name, fraction: told.append((name, fraction)))
    assert told == [("training", 0.0), ("training", 0.5), ("evaluating", 1.0)]
    assert (result.time_to_accuracy_s, result.steps_to_accuracy) == (None, None)


def test_a_case_is_trained_with_the_stages_settings_at_its_own_precision_and_layout():
    case = Case(
        mode="infer", data="digits", precision="bf16", memory_format="channels_last", batch_size=1024, accumulate=4
    )
    trained = quality.quality_case(case, QualitySettings(batch_size=32, optimizer="sgd"), seed=5)
    assert (trained.mode, trained.batch_size, trained.optimizer, trained.accumulate) == ("train", 32, "sgd", 1)
    assert (trained.precision, trained.memory_format, trained.seed) == ("bf16", "channels_last", 5)


@pytest.mark.parametrize("seed", range(4))
def test_final_scores_are_scikit_learns(seed):
    from sklearn.metrics import accuracy_score, precision_score, recall_score

    truth, predicted = torch.randint(6, (2, 30), generator=torch.Generator().manual_seed(seed))
    truth[truth == 2] = 3  # one class is never true, one never predicted
    predicted[predicted == 4] = 5
    score = accuracy(truth, predicted, final=True)
    macro = {"average": "macro", "zero_division": 0.0}
    assert score.value == pytest.approx(accuracy_score(truth, predicted))
    assert score.others["precision_macro"] == pytest.approx(precision_score(truth, predicted, **macro))
    assert score.others["recall_macro"] == pytest.approx(recall_score(truth, predicted, **macro))
