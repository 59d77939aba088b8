"""`workload: hf:<architecture>@<task>`: a model of transformers in its default size, or as in a config.json.

Nothing is downloaded: configurations are made here and weights are random. LayerDrop and SpecAugment, by which some
architectures skip layers and mask inputs at random, are off, so that every step does the same work.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.workloads.by_name.model_names import check_name, check_params
from gpubench.worker.workloads.by_name.transformers_tasks import FRAMES_PER_S, SAMPLING_RATE, TASKS, Draw, Sizes, Task
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.scores import Contents
from gpubench.worker.workloads.supervised.supervised import Supervised

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

LENGTH = 128
AUDIO_S = 4.0

_PARAMS = {
    "length": f"tokens of a sample ({LENGTH})",
    "shortest": "least share of a sample's tokens that is no padding (1: no padding)",
    "audio_s": f"seconds of audio in a sample ({AUDIO_S:g})",
}
_SAME_WORK = {"use_cache": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}
_SAME_WORK |= {"apply_spec_augment": False}


class ByKeyword(nn.Module):
    """Calls a model that takes keyword arguments with a dict of them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, torch.Tensor]) -> Any:
        return self.model(**inputs)


class TransformersModel(Supervised):
    reads_values = True
    """Some do: Marian, and classifiers that look for the last token."""

    def __init__(self, name: str) -> None:
        from transformers.models.auto import configuration_auto

        super().__init__()
        self.architecture, _, task = name.partition("@")
        self._file = Path(self.architecture) if self.architecture.endswith(".json") else None
        self._stored = {} if self._file is None else _read(self._file)
        if self._file is not None:
            self.architecture = str(self._stored.get("model_type"))
        check_name(
            self.architecture,
            list(vars(configuration_auto)["CONFIG_MAPPING_NAMES"]),
            "transformers has no architecture",
            "bert",
        )
        self.task = self._task(task, name)

    def _task(self, name: str, whole: str) -> Task:
        """The task, which its name, the config's own class, or its being the only one decides."""
        able = [each for each, task in TASKS.items() if self.architecture in architectures(task)]
        if not name:
            own = set(self._stored.get("architectures") or ())
            named = [each for each in able if architectures(TASKS[each])[self.architecture] in own]
            if len(named or able) == 1:
                return TASKS[(named or able)[0]]
        if name in able:
            return TASKS[name]
        said = f"{self.architecture} has no task {name!r} here." if name else f"hf:{whole} names no task."
        meant = near(name, able) if name else ""
        example = f"For example hf:{whole.partition('@')[0]}@{able[0]}; it" if able else "It"
        hint = f"D{meant[1:]}" if meant else f"{example} has {', '.join(able) or 'no task that gpubench knows'}."
        raise UsageError(said, hint=hint)

    def check(self, case: Case) -> None:
        check_params(case.workload, case.params, _PARAMS)
        most = getattr(self.config(case), "max_position_embeddings", None)
        length = self._sizes(case).length
        if isinstance(most, int) and 0 < most < length:
            raise UsageError(f"{case.workload} takes {most} tokens at most, not {length}.", hint="-s params.length=...")

    def config(self, case: Case) -> Any:
        """The configuration, with the case's classes and image size."""
        from transformers import AutoConfig

        stored = {name: value for name, value in self._stored.items() if name != "model_type"}
        config = AutoConfig.for_model(self.architecture, **stored)
        for name, value in _SAME_WORK.items():
            if hasattr(config, name):
                setattr(config, name, value)
        if case.num_classes is not None:
            config.num_labels = case.num_classes
        if case.image_size is not None:
            getattr(config, "vision_config", config).image_size = case.image_size
        if self.task is TASKS["sequence-classification"] and getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = 0  # classifiers look for the last token that is no padding
        return config

    def make_model(self, case: Case) -> nn.Module:
        import transformers

        return ByKeyword(getattr(transformers, self.task.auto).from_config(self.config(case)))

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        return self.task.batch(Draw(self.config(case), self._sizes(case), num_samples, generator))

    def _sizes(self, case: Case) -> Sizes:
        given = case.params
        try:
            sizes = Sizes(
                int(given.get("length", LENGTH)),
                float(given.get("shortest", 1.0)),
                float(given.get("audio_s", AUDIO_S)),
            )
        except ValueError as error:
            hint = "`length`, `shortest` and `audio_s` are numbers."
            raise UsageError(f"{case.workload}: {error}.", hint=hint) from error
        if sizes.length < 2 or not 0 < sizes.shortest <= 1 or sizes.audio_s <= 0:
            raise UsageError(
                f"{case.workload} cannot make samples of {sizes.length} tokens, at least {sizes.shortest:g} of them no "
                f"padding, or of {sizes.audio_s:g} s.",
                hint="`length` is 2 or more, `shortest` above 0 and at most 1, `audio_s` above 0.",
            )
        return sizes

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:
        return self.task.loss(output, targets)

    def logits(self, output: Any) -> torch.Tensor:
        logits: torch.Tensor = output[self.task.logits]
        return logits

    def contents(self, inputs: Any, targets: Any) -> Contents | None:  # noqa: ARG002
        """Tokens, those of a decoder too; of a model that takes no text seconds of audio."""
        tokens = [inputs[name] for name in ("input_ids", "decoder_input_ids") if name in inputs]
        if "input_values" in inputs:
            samples = inputs["input_values"]
            return Contents("audio_s", samples.numel() / SAMPLING_RATE, samples.numel(), 0)
        if "input_features" in inputs:
            features = inputs["input_features"]
            return Contents("audio_s", len(features) * features.shape[-1] / FRAMES_PER_S, features.numel(), 0)
        if not tokens:
            return None
        total = sum(part.numel() for part in tokens)
        mask = inputs.get("attention_mask")
        padded = 0 if mask is None else mask.numel() - int(mask.sum())
        return Contents("tokens", total - padded, total, padded)


def architectures(task: Task) -> dict[str, Any]:
    """Names of the models that transformers has for a task, by architecture."""
    from transformers.models.auto import modeling_auto

    found: dict[str, Any] = getattr(modeling_auto, f"MODEL_FOR_{task.models}_MAPPING_NAMES")
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a configuration: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise UsageError(f"{file} has no `model_type`.", hint="It is the config.json of a model of transformers.")
    return found
