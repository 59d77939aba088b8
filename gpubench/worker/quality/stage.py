"""The quality stage in its process: train, judge, report."""

from typing import Any

from gpubench.core.records import Window
from gpubench.protocol.messages import Progress, Result
from gpubench.suite.model.case import Case
from gpubench.worker.failures import SettingsMismatch
from gpubench.worker.job import RunningJob

METRICS = ("accuracy", "precision_macro", "recall_macro", "final_loss", "time_to_accuracy_s", "steps_to_accuracy")


def train(launch: RunningJob) -> Result:
    """Trains as the job asks. Raises what training raises; Interrupted where it was told to stop; SettingsMismatch
    where a setting read back afterwards is not as asked.
    """
    import torch

    from gpubench.worker import effective_settings
    from gpubench.worker.quality import trainer

    job = launch.job
    effective_settings.prepare(job.case.model_copy(update={"seed": job.seed}), torch)
    device = torch.device(job.case.device)

    def read_back(workload: Any, case: Case) -> None:
        launch.effective = effective_settings.read_back(case, workload.probe(), device)
        wrong = effective_settings.mismatches(case, None, launch.effective)
        if wrong:
            raise SettingsMismatch(wrong)

    def notify(name: str, fraction: float) -> None:
        if name != launch.phase:
            launch.enter(name)
        launch.sender.offer(Progress(num_steps=0, fraction=fraction))

    windows: list[Window] = []
    found = trainer.train(job, device, notify, launch.stop, read_back, windows.append)
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
