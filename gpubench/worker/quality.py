"""Quality runs: whole trainings on real data."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from gpubench.core.errors import UsageError
from gpubench.core.metrics import METRICS
from gpubench.core.records import Quality, Window
from gpubench.protocol.messages import Job, Progress, Result
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import QualitySettings
from gpubench.worker import effective_settings
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.job import Interrupted, RunningJob
from gpubench.worker.timing.loop import least_window_s
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.numerics import autocast_of
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.supervised import compression
from gpubench.worker.workloads.supervised.batches import Cast
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Score
from gpubench.worker.workloads.supervised.steps import TrainStep
from gpubench.worker.workloads.supervised.supervised import Supervised

READY_STEPS = 3
"""Discarded first steps: otherwise the first training would pay for initialising libraries and loading kernels."""

FINE_TUNING = 0.25
"""Of the epochs, at least one, in which a pruned model learns again, at a tenth of the learning rate."""

MOST_TRAININGS = 200
"""Most trainings in one energy window."""


Notify = Callable[[str, float], None]
"""Called with the stage, `training` or `evaluating`, and the fraction of the whole run that is done."""

Stop = Callable[[], bool]

Look = Callable[[Supervised, Case], None]
"""Called after each training with the trained workload and its case."""

TellWindow = Callable[[Window], None]
"""Called with the window of the chosen training: from its start until it reached the target, or else its end. If that
is too short for a valid energy figure, the window covers several repetitions of it (`Quality.trainings_in_window`).
"""


def train_case(launch: RunningJob) -> Result:
    """Trains as the job asks. Raises what training raises, Interrupted if told to stop, and SettingsMismatch if a
    setting read back afterwards is not as asked.
    """
    job = launch.job
    effective_settings.prepare(job.case.model_copy(update={"seed": job.seed}), torch)
    device = torch.device(job.case.device)

    def read_back(workload: Any, case: Case) -> None:
        launch.effective = effective_settings.read_back(case, workload.probe(), device)
        effective_settings.check(case, launch.effective, before=False)

    def notify(name: str, fraction: float) -> None:
        if name != launch.phase:
            launch.enter(name)
        launch.sender.offer(Progress(num_steps=0, fraction=fraction))

    windows: list[Window] = []
    least_s = 0.0
    if job.measure.telemetry != "off" and accelerator_of(device).asynchronous:
        least_s = least_window_s(job.measure, on_gpu=True)
    quality = train(job, device, notify, launch.stop, read_back, windows.append, least_s)
    why = "no target score was set" if quality.target_accuracy is None else "the target score was not reached"
    metrics: dict[str, float | None] = {
        **quality.all_scores,
        "final_loss": quality.final_loss,
        "time_to_accuracy_s": quality.time_to_accuracy_s,
        "steps_to_accuracy": quality.steps_to_accuracy,
    }
    return Result(
        effective=launch.effective,
        window=windows[0] if windows else None,
        metrics=metrics,
        absent={name: why for name, value in metrics.items() if value is None},
        quality=quality,
        findings=launch.finish(),
        marks=launch.marks,
    )


@dataclass
class _Run:
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


def train(
    job: Job,
    device: Any,
    notify: Notify = lambda _name, _fraction: None,
    stop: Stop = lambda: False,
    look: Look = lambda _workload, _case: None,
    tell_window: TellWindow = lambda _window: None,
    least_window_s: float = 0.0,
) -> Quality:
    """Trains at the case's device, precision and layout, once per learning rate, and scores the best on the test split.

    The learning rate is chosen by the validation score after the last epoch (the first one on a tie); the test split is
    read once, with the chosen weights. All randomness follows `job.seed`. Call `effective_settings.prepare` first.
    Interrupted if `stop` becomes true; UsageError for synthetic data; Unsupported for a workload without a model.
    """
    asked = job.quality or QualitySettings.model_validate({})
    case = quality_case(job.case, asked, job.seed)
    workload = resolve(case.workload, job.search_path, params=case.params, download=job.download)
    own = getattr(workload, "quality", None)
    if own is not None:
        result: Quality = own(job, device)
        return result
    if not isinstance(workload, Supervised):
        raise Unsupported(f"{case.workload} has no `quality` method, so its score is not known")
    trainer = _Trainer(workload, case, asked, torch.device(device), notify, stop)
    trainer.get_ready()
    runs = []
    for rate in asked.learning_rate:
        runs.append(trainer.run(rate))
        look(workload, trainer.case)
    best = max(runs, key=lambda run: trainer.sign * run.score_per_epoch[-1])
    assert best.window is not None, "there is an epoch at least"
    window, num_trainings = trainer.long_window(best, best.window, least_window_s)
    tell_window(window)
    trainer.take(best)
    if case.compress != "none":
        trainer.compress(case.compress, best.learning_rate)
        look(workload, case.model_copy(update={"batch_size": trainer.case.batch}))
    return trainer.result(best, runs, num_trainings)


def quality_case(case: Case, asked: QualitySettings, seed: int) -> Case:
    """The case to train: the suite's quality settings, with the device, precision and layout of `case`."""
    data = asked.data or case.data
    if data == "synthetic":
        raise UsageError("Synthetic data has no score to train to.", hint="Set `quality.data`, for example to digits.")
    update = {
        "mode": "train",
        "data": data,
        "batch_size": asked.batch_size,
        "optimizer": asked.optimizer,
        "seed": seed,
        "accumulate": 1,
        "data_path": "resident",
        "cuda_graph": False,
        "timing": "throughput",
        "compile": "off",
    }
    return case.model_copy(update=update)


class EpochSource:
    """The batches of a split in a new seeded order every epoch, on the device. Drops the last, partial batch (a split
    smaller than one batch is one batch). `augment` changes the inputs.
    """

    input_waits_s: list[float] | None = None

    def __init__(
        self,
        examples: Examples,
        case: Case,
        device: torch.device,
        *,
        augment: Callable[[Any, torch.Generator], Any] = lambda inputs, _generator: inputs,
    ) -> None:
        self._cast, self._device, self._augment = Cast.of(case), device, augment
        self._examples = examples.kept_on(device, self._cast.dtype)
        self._generator = torch.Generator().manual_seed(case.seed)
        self._batch_size = min(case.batch, len(examples))
        self.num_batches = len(examples) // self._batch_size
        self._epoch: Iterator[Batch] = iter(())

    def fetch(self) -> Batch:
        batch = next(self._epoch, None)
        if batch is None:
            order = torch.randperm(len(self._examples), generator=self._generator)
            whole = order[: self.num_batches * self._batch_size]
            self._epoch = self._examples.batches(whole, self._batch_size, self._device, self._cast.dtype)
            batch = next(self._epoch)
        inputs, targets = batch
        return self._cast(self._augment(inputs, self._generator)), targets

    def transfer(self, batch: Batch) -> Batch:
        return batch

    def close(self) -> None:
        self._epoch = iter(())


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


class _Trainer:
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

    def run(self, learning_rate: float) -> _Run:
        run = _Run(learning_rate)
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

    def _train_epoch(self, step: TrainStep, source: EpochSource, run: _Run) -> float:
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

    def long_window(self, run: _Run, window: Window, least_s: float) -> tuple[Window, int]:
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
                self._workload.model, again = model, _Run(run.learning_rate)
                for epoch in range(num_epochs):
                    if epoch > 0:
                        self._validate(again)
                    ended_s = self._train_epoch(step, source, again)
        except Interrupted:
            return window, 1
        total = {"num_steps": num * window.num_steps, "num_samples": num * window.num_samples}
        return Window(start_s=began_s, end_s=ended_s, **total), num

    def _validate(self, run: _Run) -> None:
        score = self._evaluate(self._data.validation).value
        run.score_per_epoch.append(score)
        target = self._asked.target_accuracy
        if target is not None and run.time_to_accuracy_s is None and self.sign * score >= self.sign * target:
            run.time_to_accuracy_s, run.steps_to_accuracy = run.training_time_s, run.num_steps

    def _evaluate(self, examples: Examples, *, final: bool = False) -> Score:
        return evaluated(self._workload, self.case, examples, self._device, final=final)

    def take(self, run: _Run) -> None:
        """Puts the weights of a run into the model."""
        assert self._workload.model is not None
        self._workload.model.load_state_dict(run.weights)

    def compress(self, kind: str, learning_rate: float) -> None:
        """The trained model. One that is pruned is trained on first, with its zeros held at 0."""
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

    def result(self, best: _Run, runs: list[_Run], num_trainings: int) -> Quality:
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
