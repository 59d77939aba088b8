"""Accuracy runs, whole trainings on real data: the quality stage."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from gpubench.core.errors import UsageError
from gpubench.core.records import Quality, Window
from gpubench.protocol.messages import Job, Progress, Result
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import QualitySettings
from gpubench.worker import effective_settings
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.job import Interrupted, RunningJob
from gpubench.worker.timing.loop import least_window_s
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.classifier.batches import Batch, Format
from gpubench.worker.workloads.classifier.classifier import Classifier
from gpubench.worker.workloads.classifier.datasets import DataSet, Split
from gpubench.worker.workloads.classifier.steps import TrainStep
from gpubench.worker.workloads.numerics import autocast_of
from gpubench.worker.workloads.registry import resolve

METRICS = ("accuracy", "precision_macro", "recall_macro", "final_loss", "time_to_accuracy_s", "steps_to_accuracy")

WHOLE_SPLIT_BYTES = 2**30
"""A prepared split up to this size is kept on the device; a larger one is kept raw and prepared batch by batch."""

EVALUATION_BATCH = 256

READY_STEPS = 3
"""Steps that are thrown away first: else the first training would pay for starting libraries and loading kernels."""

MOST_TRAININGS = 200
"""Of one window."""


Notify = Callable[[str, float], None]
"""Told where the run is: `training` or `evaluating`, and the fraction of the whole that is done."""

Stop = Callable[[], bool]

Look = Callable[[Classifier, Case], None]
"""Is shown the trained workload and the case it was trained for, after each training run."""

TellWindow = Callable[[Window], None]
"""Told when the chosen training began, and when it reached its target (otherwise when it ended). Where that is shorter
than a valid energy figure needs, the window is of the same training again and again (`Quality.trainings_in_window`).
"""


def train_case(launch: RunningJob) -> Result:
    """Trains as the job asks. Raises what training raises; Interrupted where it was told to stop; SettingsMismatch
    where a setting read back afterwards is not as asked.
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
    found = train(job, device, notify, launch.stop, read_back, windows.append, least_s)
    metrics: dict[str, Any] = found.model_dump(include=set(METRICS))
    why = "no target accuracy was set" if found.target_accuracy is None else "the target accuracy was not reached"
    return Result(
        effective=launch.effective,
        window=windows[0] if windows else None,
        metrics=metrics,
        absent={name: why for name, value in metrics.items() if value is None},
        quality=found,
        findings=launch.finish(),
        marks=launch.marks,
    )


@dataclass
class _Run:
    """One training run with one learning rate. Times in seconds of training alone; evaluation is not in them.

    `window` on `time.monotonic()`: from the first step to the end of the epoch in which the target was reached, or of
    the last one; validation between epochs is in it.
    """

    learning_rate: float
    window: Window | None = None
    loss_per_epoch: list[float] = field(default_factory=list)
    accuracy_per_epoch: list[float] = field(default_factory=list)
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
    """Trains at the case's device, precision and layout, once per learning rate, and judges the best on the test split.

    The learning rate is chosen by accuracy on the validation split after the last epoch (the first of equals); the test
    split is read once, with the chosen weights. Everything random follows `job.seed`. `settings.apply` comes first.
    Interrupted if `stop` became true; UsageError for synthetic data; Unsupported for a workload without a model.
    """
    asked = job.quality or QualitySettings.model_validate({})
    case = quality_case(job.case, asked, job.seed)
    workload = resolve(case.workload, job.search_path, params=case.params, download=job.download)
    own = getattr(workload, "quality", None)
    if own is not None:
        result: Quality = own(job, device)
        return result
    if not isinstance(workload, Classifier):
        raise Unsupported(f"{case.workload} has no `quality` method, so its accuracy is not known")
    trainer = _Trainer(workload, case, asked, torch.device(device), notify, stop)
    trainer.get_ready()
    runs = []
    for rate in asked.learning_rate:
        runs.append(trainer.run(rate))
        look(workload, trainer.case)
    best = max(runs, key=lambda run: run.accuracy_per_epoch[-1])
    assert best.window is not None, "there is an epoch at least"
    window, num_trainings = trainer.long_window(best, best.window, least_window_s)
    tell_window(window)
    return trainer.result(best, runs, num_trainings)


def quality_case(case: Case, asked: QualitySettings, seed: int) -> Case:
    """The case that is trained: the suite's quality settings over a training case's device, precision and layout."""
    data = asked.data or case.data
    if data == "synthetic":
        raise UsageError(
            "Synthetic data has no accuracy to train to.", hint="Set `quality.data`, for example to digits."
        )
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
    """The training split in a new seeded order every epoch, already on the device, without a last, partial batch (a
    split smaller than one batch is one batch). `augment` changes the prepared images by a seeded generator.
    """

    input_waits_s: list[float] | None = None

    def __init__(
        self,
        data: DataSet,
        split: Split,
        layout: Format,
        device: torch.device,
        seed: int,
        *,
        augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
    ) -> None:
        self._data, self._layout, self._augment = data, layout, augment
        self._generator = torch.Generator().manual_seed(seed)
        self._device = device
        self._prepared = len(split) * 3 * layout.image_size**2 * layout.dtype.itemsize <= WHOLE_SPLIT_BYTES
        images = split.images_NCHW.to(device)
        self._images = data.prepare(images, layout.image_size).to(layout.dtype) if self._prepared else images
        self._labels = split.labels_N.to(device)
        self._batch_size = min(layout.batch_size, len(split))
        self.num_batches = len(split) // self._batch_size
        self._left: list[torch.Tensor] = []

    def fetch(self) -> Batch:
        if not self._left:
            order = torch.randperm(len(self._labels), generator=self._generator).to(self._device)
            self._left = list(torch.split(order, self._batch_size))[: self.num_batches][::-1]
        indices = self._left.pop()
        images = self._images[indices]
        if not self._prepared:
            images = self._data.prepare(images, self._layout.image_size)
        if self._augment is not None:
            images = self._augment(images, self._generator)
        return self._layout.cast(images), self._labels[indices]

    def transfer(self, batch: Batch) -> Batch:
        return batch

    def close(self) -> None:
        self._left = []


def predict(workload: Classifier, case: Case, data: DataSet, split: Split, device: torch.device) -> torch.Tensor:
    """Predicted classes N on the CPU, at the case's precision, in eval mode; afterwards the model trains again."""
    model = workload.model
    assert model is not None, "the model is built first"
    layout = workload.input_format(case)
    model.eval()
    predicted = []
    with torch.inference_mode(), autocast_of(case.precision, device.type)():
        for raw in torch.split(split.images_NCHW, EVALUATION_BATCH):
            images = layout.cast(data.prepare(raw.to(device), layout.image_size))
            predicted.append(workload.logits(model(images)).argmax(dim=1).cpu())
    model.train()
    return torch.cat(predicted)


class _Trainer:
    def __init__(
        self, workload: Classifier, case: Case, asked: QualitySettings, device: torch.device, notify: Notify, stop: Stop
    ) -> None:
        self._workload, self._asked, self._device = workload, asked, device
        self._notify, self._stop = notify, stop
        self._synchronise = accelerator_of(device).synchronize
        loaded = workload.load_data(case)
        assert loaded is not None, "quality_case refuses synthetic data"
        self._data: DataSet = loaded
        self.case = case.model_copy(update={"batch_size": min(asked.batch_size, len(loaded.train))})
        self._layout = workload.input_format(self.case)
        self._epochs_done = 0

    def _begin(self, learning_rate: float) -> tuple[TrainStep, EpochSource]:
        """A new model, and its images in the order of the first epoch."""
        case = self.case.model_copy(update={"learning_rate": learning_rate})
        source = EpochSource(
            self._data, self._data.train, self._layout, self._device, case.seed, augment=self._workload.augment
        )
        return self._workload.training_step(case, self._device, source), source

    def get_ready(self) -> None:
        """Steps and a validation that no figure contains."""
        step, _ = self._begin(self._asked.learning_rate[0])
        for _ in range(READY_STEPS):
            if self._stop():
                raise Interrupted("training was ended before it had a result")
            step()
        self._predict(self._data.validation)
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
        """One pass over the training split. The clock stops when the device is done, before validation begins; says
        when, on `time.monotonic()`.
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
        """A window of at least `least_s`, and how many trainings it holds: that of `run`, or of as many new ones as it
        takes, each as far as the window of `run` went. All are built before the first begins.
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
        split = self._data.validation
        accuracy = float((self._predict(split) == split.labels_N).double().mean())
        run.accuracy_per_epoch.append(accuracy)
        target = self._asked.target_accuracy
        if target is not None and run.time_to_accuracy_s is None and accuracy >= target:
            run.time_to_accuracy_s, run.steps_to_accuracy = run.training_time_s, run.num_steps

    def _predict(self, split: Split) -> torch.Tensor:
        return predict(self._workload, self.case, self._data, split, self._device)

    def result(self, best: _Run, runs: list[_Run], num_trainings: int) -> Quality:
        from sklearn.metrics import accuracy_score, precision_score, recall_score

        self._tell("evaluating")
        assert self._workload.model is not None
        self._workload.model.load_state_dict(best.weights)
        truth, predicted = self._data.test.labels_N.numpy(), self._predict(self._data.test).numpy()
        macro = {"average": "macro", "zero_division": 0.0}
        return Quality(
            seed=self.case.seed,
            epochs=self._asked.epochs,
            learning_rate=best.learning_rate,
            learning_rates_tried={f"{run.learning_rate:g}": run.accuracy_per_epoch[-1] for run in runs},
            loss_per_epoch=tuple(best.loss_per_epoch),
            validation_accuracy_per_epoch=tuple(best.accuracy_per_epoch),
            accuracy=float(accuracy_score(truth, predicted)),
            precision_macro=float(precision_score(truth, predicted, **macro)),
            recall_macro=float(recall_score(truth, predicted, **macro)),
            final_loss=best.loss_per_epoch[-1],
            target_accuracy=self._asked.target_accuracy,
            time_to_accuracy_s=best.time_to_accuracy_s,
            steps_to_accuracy=best.steps_to_accuracy,
            training_time_s=best.training_time_s,
            num_train=len(self._data.train),
            num_validation=len(self._data.validation),
            num_test=len(self._data.test),
            skipped_steps=best.skipped_steps,
            trainings_in_window=num_trainings,
        )

    def _tell(self, name: str) -> None:
        self._notify(name, self._epochs_done / (self._asked.epochs * len(self._asked.learning_rate)))
