"""What all trained models share: the step, its parity with fp64, its facts and its health."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.base import Health, OutputCheck, ParityProbe, Phases, Step, Unsupported
from gpubench.worker.workloads.compiled import USES_CUDA_GRAPHS, compile_model, compile_stats
from gpubench.worker.workloads.numerics import (
    NUMERICS,
    autocast_of,
    cast_floats,
    dtype_name,
    give_lazy_sizes,
    parameter_dtype,
)
from gpubench.worker.workloads.supervised import compression, lightning_loop, normalisation, parity_probe
from gpubench.worker.workloads.supervised.batches import (
    POOL_BATCHES,
    BatchSource,
    Resident,
    first_tensor,
    layout_of,
    make_source,
)
from gpubench.worker.workloads.supervised.examples import Batch, map_tensors
from gpubench.worker.workloads.supervised.learning_task import LearningTask
from gpubench.worker.workloads.supervised.lightning_loop import FrameworkLoop, LightningLoop
from gpubench.worker.workloads.supervised.optimizers import CountingScaler, make_optimizer
from gpubench.worker.workloads.supervised.output_samples import OutputSamples
from gpubench.worker.workloads.supervised.scores import Contents
from gpubench.worker.workloads.supervised.steps import (
    Distributed,
    GraphedStep,
    InferStep,
    Snapshot,
    TrainStep,
    health_of,
    no_phases,
)
from gpubench.worker.workloads.supervised.undisturbed import FEW, of_few, undisturbed
from gpubench.worker.workloads.watched_steps import LEAST_STEPS, observe


class Supervised(LearningTask):
    """A model that is trained, and its batches. A subclass defines what a `LearningTask` asks for; all else is here.

    A batch is a pair of inputs and targets. Each is a tensor, or tuples and dicts of tensors, and the first dimension
    of every one is the sample. The model is called with the inputs as its only argument.

    May be set before `build`: `phases` and `download`; for one of several ranks also `distribute`, which turns a placed
    model into this rank's part, and `shard`, the number of this rank's batches. Set by `build`: `model`, the module
    itself (never a compiled wrapper), `optimizer` (None for `infer`), and `input_waits_s`, the seconds that each step
    waited for input (None if it never waits). Weights depend on `case.seed` alone, so every device and precision starts
    from the same ones.
    """

    def __init__(self) -> None:
        self.phases: Phases = no_phases
        self.download = False
        self.distribute: Callable[[nn.Module, Case], Distributed] | None = None
        self.shard = 0
        self.model: nn.Module | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.source: BatchSource | None = None
        self._case: Case | None = None
        self._engine: TrainStep | InferStep | None = None
        self._snapshot: Snapshot | None = None
        self._loop: FrameworkLoop | None = None
        self._samples: OutputSamples | None = None

    def place_model(self, case: Case, device: torch.device, *, settled: bool = False) -> nn.Module:
        """The seeded model on `device`, in the case's dtype, layout and mode.

        For inference, or if `settled`, batch normalisation gets usable statistics first. For inference it is compressed
        as the case asks.
        """
        torch.manual_seed(case.seed)
        model = self.make_model(case)
        give_lazy_sizes(model, lambda: map_tensors(torch.zeros_like, self.example(case, FEW)))
        if settled or case.mode == "infer":
            of_few(case, lambda few: normalisation.settle(model, partial(self.example, case, few)))
        model = cast_floats(model, NUMERICS[case.precision].weights).to(device=device)
        model = model.to(memory_format=layout_of(case)).train(case.mode == "train")
        if case.compress != "none" and case.mode == "infer":
            compression.compress(model, case.compress)
        return model

    def build(self, case: Case, device: Any) -> Step:
        device = torch.device(device)
        self.check(case)
        self.check_framework(case)
        compression.refuse(case)
        own, data = case.model_copy(update={"seed": case.seed + self.shard}), self.load_data(case)
        examples = None if data is None else data.train if case.mode == "train" else data.test
        source = make_source(own, partial(self.make_batch, own), examples, device)
        make_step = self.training_step if case.mode == "train" else self._inference_step
        self._engine = make_step(case, device, source)
        if case.framework != "loop":
            assert isinstance(self._engine, TrainStep)
            self._loop = self.framework_loop(case, self._engine, device)
            return self._loop
        if not case.cuda_graph:
            return self._engine
        num_batches = case.accumulate if case.mode == "train" else 1
        return GraphedStep(self._engine, source, num_batches=num_batches, device=device)

    def check_framework(self, case: Case) -> None:
        """Unsupported if the case's framework cannot run its step."""
        if case.framework == "lightning":
            lightning_loop.refuse(case, self.max_gradient_norm)
        elif case.framework != "loop":
            raise Unsupported(f"{case.workload} is not written for {case.framework}; cnn is")

    def framework_loop(self, case: Case, step: TrainStep, device: torch.device) -> FrameworkLoop:
        """Wraps `step` in the loop of the case's framework."""
        return LightningLoop(step, self.loss, case, device)

    def measured_pass(self, case: Case, model: nn.Module, batch: Batch, device_type: str) -> parity_probe.Outputs:
        """One pass over a placed batch as the case computes it, for parity."""
        return parity_probe.one_pass(self, case, model, batch, device_type)

    def training_step(self, case: Case, device: torch.device, source: BatchSource) -> TrainStep:
        """A new model and optimizer, and the step that trains it on batches from `source`."""
        placed = self.place_model(case, device)
        own = Distributed(placed, placed) if self.distribute is None else self.distribute(placed, case)
        if own.learn is not None and self.max_gradient_norm is not None:
            raise Unsupported(f"{case.workload} clips its gradient, whose norm no single stage of a pipeline knows")
        model = self.model = own.module
        self._case, self.source = case, source
        self.optimizer = make_optimizer(case, model.parameters())
        self._snapshot = Snapshot.of(model)
        self._engine = step = TrainStep(
            compile_model(own.called, case.compile, device.type),
            self.optimizer,
            source,
            self.loss,
            device=device,
            autocast=autocast_of(case.precision, device.type),
            scaler=CountingScaler(device) if NUMERICS[case.precision].scaled else None,
            accumulate=case.accumulate,
            phases=self.phases,
            keep_gradients=_prepare_gradients(case, model),
            learn=own.learn,
            max_gradient_norm=self.max_gradient_norm,
        )
        return step

    def _inference_step(self, case: Case, device: torch.device, source: BatchSource) -> InferStep:
        model = self.model = self.place_model(case, device)
        self._case, self.source = case, source
        compiled = compile_model(model, case.compile, device.type)
        return InferStep(compiled, source, autocast=autocast_of(case.precision, device.type), phases=self.phases)

    @property
    def input_waits_s(self) -> list[float] | None:
        return None if self.source is None else self.source.input_waits_s

    @property
    def device_waits_s(self) -> list[float] | None:
        scaler = self._engine.scaler if isinstance(self._engine, TrainStep) else None
        return None if scaler is None else scaler.device_waits_s

    def reset_health(self) -> None:
        """Resets `health`; called before the first measured step."""
        assert self._engine is not None, "build comes first"
        self._engine.reset()
        if self.model is not None and self.optimizer is not None:
            self._snapshot = Snapshot.of(self.model, self._snapshot)
        if self.input_waits_s is not None:
            self.input_waits_s.clear()

    def health(self) -> Health:
        """Health of the steps since `build` or `reset_health`. Waits for the device; not for use between measured
        steps.
        """
        assert self._engine is not None, "build comes first"
        if self._loop is not None:
            self._loop.put_back()
        return health_of(self._engine, self.model, self._snapshot, self.input_waits_s)

    def probe(self) -> dict[str, Any]:
        """Facts about the built step under the names of `Effective`, seen in one extra forward.

        It uses the first samples of a batch from the case's source, in the step's autocast and mode. A compiled or
        graphed step runs the same module on the same tensors, but its kernels cannot be observed.
        """
        case, model, engine = self._case, self.model, self._engine
        assert case is not None, "build comes first"
        assert model is not None
        assert engine is not None
        if self._loop is not None and (known := self._loop.probe()) is not None:
            return known
        inputs, targets = self._take_batch()
        first = first_tensor(inputs)
        modes: dict[str, Any] = {}
        # All ranks must run the same number of forwards, in which they may wait for each other.
        num_steps = None if self.distribute is None else LEAST_STEPS
        with undisturbed(model, buffers_only=self.distribute is not None):
            seen = observe(lambda: modes.update(self._forward(inputs, targets)), first.device.type, num_steps)
        compressed = compression.facts(model, seen)
        if compressed["compress"] == "int8-dynamic":
            seen = compression.without_integers(seen)
        extra = {**seen.pop("extra"), **compressed, "image_shape": map_tensors(lambda part: list(part.shape), inputs)}
        extra["framework"] = "loop" if self._loop is None else "lightning"
        if case.compile != "off":
            extra["compile_stats"] = compile_stats()._asdict()
        return {
            **modes,
            **seen,
            "batch_size": len(first),
            "parameter_dtype": parameter_dtype(model),
            "grad_scaler": isinstance(engine, TrainStep) and engine.scaler is not None and engine.scaler.is_enabled(),
            "cuda_graph": case.cuda_graph,
            "data_path": case.data_path,
            "num_workers": getattr(getattr(self.source, "loader", None), "num_workers", 0),
            "optimizer": None if self.optimizer is None else type(self.optimizer).__name__.lower(),
            "fused": None
            if self.optimizer is None
            else all(bool(group.get("fused")) for group in self.optimizer.param_groups),
            "extra": extra,
        }

    def _forward(self, inputs: Any, targets: Any) -> dict[str, Any]:
        """One forward, which leaves the random state as it was, and its modes."""
        case, model, engine, device = self._case, self.model, self._engine, first_tensor(inputs).device
        assert case is not None
        assert model is not None
        assert engine is not None
        with (
            torch.random.fork_rng(accelerator_of(device).rng_devices()),
            torch.inference_mode(case.mode == "infer"),
            engine.autocast(),
        ):
            autocast = torch.is_autocast_enabled(device.type)
            return {
                "autocast_dtype": dtype_name(torch.get_autocast_dtype(device.type)) if autocast else None,
                "training": any(module.training for module in model.modules()),
                "inference_mode": torch.is_inference_mode_enabled(),
                "output_dtype": dtype_name(self._output(engine, model, inputs, targets).dtype),
            }

    def _output(self, engine: TrainStep | InferStep, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
        """The model's output for the first few samples; on a rank without the whole model, the loss of the batch."""
        if isinstance(engine, TrainStep) and engine.learn is not None:
            loss = engine.learn(inputs, targets)
            engine.optimizer.zero_grad(set_to_none=True)
            return loss
        assert self._case is not None

        def logits_of(num_samples: int) -> torch.Tensor:
            return self.logits(model(map_tensors(lambda part: part[:num_samples], inputs)))

        return of_few(self._case, logits_of, most=self._case.batch)

    def _take_batch(self) -> Batch:
        """A batch as a step gets it, without adding to `input_waits_s`: the wait is not a step's."""
        assert self.source is not None
        waits = None if self.input_waits_s is None else list(self.input_waits_s)
        batch = self.source.transfer(self.source.fetch())
        if waits is not None and self.input_waits_s is not None:
            self.input_waits_s[:] = waits
        return batch

    def held(self) -> list[tuple[int, Contents]]:
        """Number of samples and contents of every batch of a pool, or of a few batches of a loader. Waits for the
        device; not for use between measured steps.
        """
        assert self.source is not None, "build comes first"
        batches: Iterable[Batch] = (self._take_batch() for _ in range(POOL_BATCHES))
        if isinstance(self.source, Resident):
            batches = self.source.batches
        found: list[tuple[int, Contents]] = []
        for inputs, targets in batches:
            contents = self.contents(inputs, targets)
            if contents is None:
                break
            found.append((len(first_tensor(inputs)), contents))
        return found

    def parity(self, case: Case, device: Any) -> ParityProbe | str:
        """Runs a fixed seeded batch through a fresh model as the case computes it and in fp64; or why that is
        impossible.
        """
        return parity_probe.run(self, case, torch.device(device))

    def renew_inputs(self) -> None:
        """Replaces the samples of a pool's batches; a loader makes new ones anyway."""
        source = None if self._engine is None else self._engine.source
        if isinstance(source, Resident) and self._loop is None:  # a framework may hold copies
            source.renew(source.batches)

    def sample_output(self) -> None:
        """Called between blocks of steps: keeps some of the last output for `check_outputs`."""
        if self._samples is None and isinstance(self._engine, InferStep) and self._case is not None:
            self._samples = OutputSamples(self, self._engine, self._case)
        if self._samples is not None:
            self._samples.take()

    def last_output(self, step: Step) -> None:
        """Called after the last step, if `sample_output` was called: runs one more step and keeps the weights."""
        if self._samples is not None and self.model is not None:
            self.renew_inputs()
            self._samples.take_last(step, self.model)

    def check_outputs(self, device: Any) -> OutputCheck | None:
        """Compares the sampled outputs with a fresh model of the same weights. Call it after `close`."""
        return None if self._samples is None else self._samples.check(torch.device(device))

    def close(self) -> None:
        """Ends loader processes and frees model, optimizer and batches."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        if self.source is not None:
            self.source.close()
        if self._samples is not None:
            self._samples.release()
        self.model = self.optimizer = self.source = self._engine = self._snapshot = None


def _prepare_gradients(case: Case, model: nn.Module) -> bool:
    """Allocates separate gradient tensors if the case needs them; returns whether it does.

    The graphs of `reduce-overhead` and `max-autotune` reuse the memory of their outputs in the next micro-step, so
    gradients that are summed over micro-steps must not live there.
    """
    keep = case.accumulate > 1 and case.compile in USES_CUDA_GRAPHS and case.device_type == "cuda"
    if keep:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
    return keep
