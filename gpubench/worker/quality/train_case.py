"""Quality runs: whole trainings on real data."""

from collections.abc import Callable
from typing import Any

import torch

from gpubench.core.errors import UsageError
from gpubench.core.records import Quality, Window
from gpubench.protocol.messages import Job, Progress, Result
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import QualitySettings
from gpubench.worker import effective_settings
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.job import RunningJob
from gpubench.worker.quality.trainer import Notify, Stop, Trainer
from gpubench.worker.timing.loop import least_window_s
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.supervised.supervised import Supervised

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
    trainer = Trainer(workload, case, asked, torch.device(device), notify, stop)
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
