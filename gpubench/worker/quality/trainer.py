"""Trains a workload with one learning rate after the other, and evaluates it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from gpubench.core.errors import UsageError
from gpubench.core.metrics import METRICS
from gpubench.core.records import Quality, Window
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import QualitySettings
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.job import Interrupted
from gpubench.worker.quality.epoch_source import EpochSource
from gpubench.worker.workloads.numerics import autocast_of
from gpubench.worker.workloads.supervised import compression
from gpubench.worker.workloads.supervised.examples import DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Score
from gpubench.worker.workloads.supervised.steps import TrainStep
from gpubench.worker.workloads.supervised.supervised import Supervised

READY_STEPS = 3
"""Discarded first steps: otherwise the first training would pay for initialising libraries and loading kernels."""

FINE_TUNING = 0.25
"""Share of the epochs, at least one, for which a pruned model is trained again at a tenth of the learning rate."""

MOST_TRAININGS = 200
"""Most trainings in one energy window."""

Notify = Callable[[str, float], None]
"""Called with the stage, `training` or `evaluating`, and the fraction of the whole run that is done."""

Stop = Callable[[], bool]


@dataclass
class TrainingRun:
    """One training with one learning rate. Times are seconds of training, without evaluation.

    `window`, on `time.monotonic()`: from the first step to the end of the epoch that reached the target, or of the last
    one; includes validation between epochs.
    """

    learning_rate: float
    window: Window | None = None
    loss_per_epoch: list[float] = field(default_factory=list)
    score_per_epoch: list[float] = field(default_factory=list)
    training_time_s: float = 0.0
    num_steps: int = 0
    skipped_steps: int = 0
    time_to_accuracy_s: float | None = None
    steps_to_accuracy: int | None = None
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


def evaluated(workload: Supervised, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
    """The model's score at the case's precision in eval mode. Puts the model back into training mode."""
    assert workload.model is not None, "the model is built first"
    workload.model.eval()
    with torch.inference_mode(), autocast_of(case.precision, device.type)():
        score = workload.evaluate(case, examples, device, final=final)
    workload.model.train()
    for name in (score.name, *score.others):
        if name not in METRICS:
            raise UsageError(
                f"`evaluate` of {case.workload} returned {name}, which is not a metric.",
                hint="`gpubench list metrics` shows those there are; a package can register others.",
            )
    return score


class Trainer:
    def __init__(
        self, workload: Supervised, case: Case, asked: QualitySettings, device: torch.device, notify: Notify, stop: Stop
    ) -> None:
        self._workload, self._asked, self._device = workload, asked, device
        self._notify, self._stop = notify, stop
        self._synchronise = accelerator_of(device).synchronize
        loaded = workload.load_data(case)
        assert loaded is not None, "quality_case refuses synthetic data"
        self._data: DataSplits = loaded
        # What is compressed is the trained model.
        self.case = case.model_copy(update={"batch_size": min(asked.batch_size, len(loaded.train)), "compress": "none"})
        self._epochs_done = 0
        self.sign = 1
        """-1 for a score that is better the lower it is."""

    def _begin(self, learning_rate: float) -> tuple[TrainStep, EpochSource]:
        """A new model, and its batches from the first epoch on."""
        case = self.case.model_copy(update={"learning_rate": learning_rate})
        source = EpochSource(self._data.train, case, self._device, augment=self._workload.augment)
        return self._workload.training_step(case, self._device, source), source

    def get_ready(self) -> None:
        """Runs steps and a validation that count for nothing."""
        step, _ = self._begin(self._asked.learning_rate[0])
        for _ in range(READY_STEPS):
            if self._stop():
                raise Interrupted("training was ended before it had a result")
            step()
        name = self._evaluate(self._data.validation).name
        self.sign = -1 if METRICS[name].better == "lower" else 1
        self._synchronise()

    def run(self, learning_rate: float) -> TrainingRun:
        run = TrainingRun(learning_rate)
        step, source = self._begin(learning_rate)
        assert self._workload.model is not None
        began_s = time.monotonic()
        for _ in range(self._asked.epochs):
            ended_s = self._train_epoch(step, source, run)
            self._epochs_done += 1
            if run.time_to_accuracy_s is None:
                num_samples = run.num_steps * self.case.batch
                run.window = Window(start_s=began_s, end_s=ended_s, num_steps=run.num_steps, num_samples=num_samples)
            self._validate(run)
        run.num_steps, run.skipped_steps = step.num_steps, step.scaler.num_skipped if step.scaler else 0
        run.weights = {name: value.detach().cpu().clone() for name, value in self._workload.model.state_dict().items()}
        return run

    def _train_epoch(self, step: TrainStep, source: EpochSource, run: TrainingRun) -> float:
        """Runs one pass over the training split and waits for the device. Returns the time at its end, before
        validation, on `time.monotonic()`.
        """
        num_steps = self._asked.epochs * source.num_batches
        self._tell("training")
        loss_sum = torch.zeros((), device=self._device, dtype=torch.float64)
        self._synchronise()
        began = time.perf_counter()
        for _ in range(source.num_batches):
            if self._stop():
                raise Interrupted("training was ended before it had a result")
            self._workload.pace(step.optimizer, run.learning_rate, step.num_steps, num_steps)
            loss_sum += step()
        self._synchronise()
        run.training_time_s += time.perf_counter() - began
        ended_s = time.monotonic()
        run.num_steps = step.num_steps
        run.loss_per_epoch.append(float(loss_sum) / source.num_batches)
        return ended_s

    def long_window(self, run: TrainingRun, window: Window, least_s: float) -> tuple[Window, int]:
        """A window of at least `least_s` seconds, and how many trainings it holds: `window` itself if it is long
        enough, else that of new trainings, each as long as `window`. All models are built before the window begins.
        """
        num = min(math.ceil(least_s / (window.end_s - window.start_s)), MOST_TRAININGS)
        if num <= 1:
            return window, 1
        built = [(*self._begin(run.learning_rate), self._workload.model) for _ in range(num)]
        num_epochs = math.ceil(window.num_steps / built[0][1].num_batches)
        self._synchronise()
        began_s = time.monotonic()
        try:
            for step, source, model in built:
                self._workload.model, again = model, TrainingRun(run.learning_rate)
                for epoch in range(num_epochs):
                    if epoch > 0:
                        self._validate(again)
                    ended_s = self._train_epoch(step, source, again)
        except Interrupted:
            return window, 1
        total = {"num_steps": num * window.num_steps, "num_samples": num * window.num_samples}
        return Window(start_s=began_s, end_s=ended_s, **total), num

    def _validate(self, run: TrainingRun) -> None:
        score = self._evaluate(self._data.validation).value
        run.score_per_epoch.append(score)
        target = self._asked.target_accuracy
        if target is not None and run.time_to_accuracy_s is None and self.sign * score >= self.sign * target:
            run.time_to_accuracy_s, run.steps_to_accuracy = run.training_time_s, run.num_steps

    def _evaluate(self, examples: Examples, *, final: bool = False) -> Score:
        return evaluated(self._workload, self.case, examples, self._device, final=final)

    def take(self, run: TrainingRun) -> None:
        """Loads the weights of a run into the model."""
        assert self._workload.model is not None
        self._workload.model.load_state_dict(run.weights)

    def compress(self, kind: str, learning_rate: float) -> None:
        """Compresses the trained model. A pruned one is trained again first, with its zeros held at 0."""
        model = self._workload.model
        assert model is not None
        if compression.masks(model, kind):
            weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
            step, source = self._begin(learning_rate / 10)
            model = self._workload.model
            assert model is not None, "it has just been built"
            model.load_state_dict(weights)
            masks = compression.masks(model, kind)
            num_steps = max(1, round(FINE_TUNING * self._asked.epochs)) * source.num_batches
            for number in range(num_steps):
                if self._stop():
                    raise Interrupted("training was ended before it had a result")
                compression.hold(masks)
                self._workload.pace(step.optimizer, learning_rate / 10, number, num_steps)
                step()
            compression.hold(masks)
        compression.compress(model.eval(), kind)
        model.train()

    def result(self, best: TrainingRun, runs: list[TrainingRun], num_trainings: int) -> Quality:
        self._tell("evaluating")
        score = self._evaluate(self._data.test, final=True)
        scores = {score.name: score.value, **score.others}
        return Quality(
            seed=self.case.seed,
            epochs=self._asked.epochs,
            learning_rate=best.learning_rate,
            learning_rates_tried={f"{run.learning_rate:g}": run.score_per_epoch[-1] for run in runs},
            loss_per_epoch=tuple(best.loss_per_epoch),
            validation_score_per_epoch=tuple(best.score_per_epoch),
            score_name=score.name,
            score=score.value,
            score_better="higher" if self.sign > 0 else "lower",
            accuracy=scores.pop("accuracy", None),
            precision_macro=scores.pop("precision_macro", None),
            recall_macro=scores.pop("recall_macro", None),
            scores=scores,
            baselines=dict(score.baselines),
            final_loss=best.loss_per_epoch[-1],
            target_accuracy=self._asked.target_accuracy,
            time_to_accuracy_s=best.time_to_accuracy_s,
            steps_to_accuracy=best.steps_to_accuracy,
            training_time_s=best.training_time_s,
            num_train=len(self._data.train),
            num_validation=len(self._data.validation),
            num_test=len(self._data.test),
            data_digest=self._data.digest,
            skipped_steps=best.skipped_steps,
            trainings_in_window=num_trainings,
        )

    def _tell(self, name: str) -> None:
        self._notify(name, self._epochs_done / (self._asked.epochs * len(self._asked.learning_rate)))
