"""The reference CNN's training step in TensorFlow, from the same weights and batches as in torch.

TensorFlow wants images NHWC, filters HWIO, and the inputs of the last layer in the order height, width, channel.
"""

import os
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Missing, Unsupported
from gpubench.worker.workloads.supervised.batches import Resident
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.steps import TrainStep

_NO_ENVIRONMENT = (
    "TensorFlow is not installed in this interpreter: make one with scripts/make_tensorflow_env.sh and name it in "
    "`python`"
)


def refuse(case: Case) -> None:
    """Unsupported for settings that this loop does not implement, or that torch and TensorFlow do not share."""
    reason = None
    if case.mode != "train":
        reason = "TensorFlow is measured in training"
    elif case.device_type != "cpu":
        reason = "TensorFlow's work on a GPU is in streams of its own, which nothing here could time"
    elif case.precision != "fp32" or case.compile != "off" or case.accumulate != 1 or case.world_size != 1:
        reason = "TensorFlow is measured in fp32, without `compile` (tf.function is its own), `accumulate` and ranks"
    elif case.memory_format != "channels_last":
        reason = "TensorFlow computes in channels_last on a CPU: set memory_format"
    elif case.data_path != "resident" or case.fused:
        reason = "TensorFlow takes batches that are resident, and has no `fused`"
    if reason is not None:
        raise Unsupported(reason)


class TensorFlowLoop:
    """Each call runs one `tf.function`: loss and gradient of a batch, and the optimizer."""

    def __init__(self, step: TrainStep, model: torch.nn.Module, case: Case) -> None:
        tf = _tensorflow()
        assert isinstance(step.source, Resident)
        self._step, self._model = step, model
        self._network = Network(model)
        self._loss_sum = tf.Variable(0.0)
        self._batches = cycle([_placed(batch) for batch in step.source.batches])
        optimizer = _optimizer(tf, case)
        optimizer.build(self._network.variables)

        def train(images_NHWC: Any, labels_N: Any) -> Any:
            _, loss, gradients = self._network.learn(images_NHWC, labels_N)
            optimizer.apply_gradients(zip(gradients, self._network.variables, strict=True))
            self._loss_sum.assign_add(loss)
            return loss

        self._train = tf.function(train)

    def __call__(self) -> Any:
        with self._step.phases("data"):
            images_NHWC, labels_N = next(self._batches)
        with self._step.phases("train"):
            loss = self._train(images_NHWC, labels_N)
        self._step.num_steps += 1
        return loss

    def put_back(self) -> None:
        """Copies the current weights into the torch model, and the sum of the losses into its step."""
        with torch.no_grad():
            for parameter, values in zip(self._model.parameters(), self._network.weights(), strict=True):
                parameter.copy_(values)
        self._step.note(torch.tensor(float(self._loss_sum.numpy())))

    def probe(self) -> dict[str, Any]:
        """Facts of the step. TensorFlow's operators cannot be watched, so dtypes are those of its tensors."""
        return {
            "parameter_dtype": "+".join(sorted({variable.dtype.name for variable in self._network.variables})),
            "data_path": "resident",
            "num_workers": 0,
            "cuda_graph": False,
            "grad_scaler": False,
            "extra": {"framework": "tensorflow", "tensorflow": _tensorflow().__version__},
        }

    def close(self) -> None:
        """Frees batches and weights."""
        del self._batches, self._train, self._network


class Network:
    """The reference CNN in TensorFlow, with the weights of a torch model."""

    def __init__(self, model: torch.nn.Module) -> None:
        tf = self._tf = _tensorflow()
        own = {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}
        self._channels = own["conv2.weight"].shape[0]
        self.variables = [tf.Variable(values) for values in self._as_theirs(list(own.values()))]

    def learn(self, images_NHWC: Any, labels_N: Any) -> tuple[Any, Any, Any]:
        """Logits NC, the mean cross-entropy, and its gradient for each of `variables`."""
        tf = self._tf
        with tf.GradientTape() as tape:
            filters1, bias1, filters2, bias2, weights, bias = self.variables
            features = images_NHWC
            for filters, offset in ((filters1, bias1), (filters2, bias2)):
                features = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(features, filters, 1, "SAME"), offset))
                features = tf.nn.max_pool2d(features, 2, 2, "VALID")
            logits_NC = tf.matmul(tf.reshape(features, (tf.shape(features)[0], -1)), weights) + bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels_N, logits=logits_NC)
            loss = tf.reduce_mean(losses)
        return logits_NC, loss, tape.gradient(loss, self.variables)

    def weights(self, of: Sequence[Any] | None = None) -> list[torch.Tensor]:
        """The weights (or as many tensors in their order, such as gradients) in torch's shapes and order."""
        filters1, bias1, filters2, bias2, weights, bias = (
            torch.from_numpy(each.numpy()) for each in (self.variables if of is None else of)
        )
        classes, side = len(bias), int((len(weights) // self._channels) ** 0.5)
        last = weights.reshape(side, side, self._channels, classes).permute(3, 2, 0, 1).reshape(classes, -1)
        return [filters1.permute(3, 2, 0, 1), bias1, filters2.permute(3, 2, 0, 1), bias2, last, bias]

    def _as_theirs(self, own: list[torch.Tensor]) -> list[Any]:
        filters1, bias1, filters2, bias2, weights, bias = own
        side = int((weights.shape[1] // self._channels) ** 0.5)
        last = weights.reshape(-1, self._channels, side, side).permute(2, 3, 1, 0).reshape(weights.shape[1], -1)
        theirs = (filters1.permute(2, 3, 1, 0), bias1, filters2.permute(2, 3, 1, 0), bias2, last, bias)
        return [each.contiguous().numpy() for each in theirs]


def measured_pass(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits NC, loss and flat gradient of a batch as TensorFlow computes them, as fp64 tensors in torch's order."""
    network = Network(model)
    logits_NC, loss, gradients = _tensorflow().function(network.learn)(*_placed(batch))
    flat = torch.cat([each.flatten() for each in network.weights(gradients)])
    return torch.from_numpy(logits_NC.numpy()).double(), torch.tensor(float(loss.numpy())).double(), flat.double()


def _placed(batch: Batch) -> tuple[Any, Any]:
    images_NCHW, labels_N = batch
    tf = _tensorflow()
    return tf.constant(images_NCHW.permute(0, 2, 3, 1).contiguous().numpy()), tf.constant(labels_N.numpy())


def _optimizer(tf: Any, case: Case) -> Any:
    """Uses torch's defaults where those of Keras differ."""
    optimizers = tf.keras.optimizers
    if case.optimizer == "sgd":
        return optimizers.SGD(case.learning_rate, momentum=0.9)
    if case.optimizer == "adam":
        return optimizers.Adam(case.learning_rate, epsilon=1e-8)
    return optimizers.AdamW(case.learning_rate, weight_decay=0.01, epsilon=1e-8)


def _tensorflow() -> Any:
    """The package, without its log, with as many threads as torch. Missing if it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise Missing(_NO_ENVIRONMENT) from error
    tf.get_logger().setLevel("ERROR")
    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() == 0:  # can be set only before the first operation
        threading.set_intra_op_parallelism_threads(torch.get_num_threads())
        threading.set_inter_op_parallelism_threads(1)
    return tf
