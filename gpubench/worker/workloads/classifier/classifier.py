"""Image classification: batches and accuracy."""

from typing import Any

import torch
from torch import nn

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.workloads.classifier import datasets as image_data
from gpubench.worker.workloads.classifier.formats import Format
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Score
from gpubench.worker.workloads.supervised.supervised import Supervised


class Classifier(Supervised):
    """A model from images N3SS to logits NC. A subclass makes the model; everything else is here."""

    default_image_size: int
    default_num_classes: int

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of raw logits."""
        return nn.functional.cross_entropy(self.logits(output), targets)

    def logits(self, output: Any) -> torch.Tensor:
        """The logits NC in the model's output. Override it if the output is not a tensor."""
        tensor: torch.Tensor = output
        return tensor

    def image_size(self, case: Case) -> int:
        return case.image_size or self.default_image_size

    def num_classes(self, case: Case) -> int:
        """UsageError if the case has fewer classes than its data: some labels would have no logit."""
        in_data = image_data.num_classes(case.data)
        if case.num_classes is not None and in_data is not None and case.num_classes < in_data:
            raise UsageError(
                f"`num_classes: {case.num_classes}` is too few: {case.data} has {in_data} classes.",
                hint="Leave `num_classes` out to take the data's own.",
            )
        return case.num_classes or in_data or self.default_num_classes

    def input_format(self, case: Case) -> Format:
        return Format.of_images(self.image_size(case), self.num_classes(case))

    def check(self, case: Case) -> None:
        self.input_format(case)

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        return self.input_format(case).random(num_samples, generator)

    def blank_batch(self, case: Case, num_samples: int, dtype: torch.dtype) -> Batch:
        return self.input_format(case).unfilled(num_samples, dtype, torch.device("meta"))

    def load_data(self, case: Case) -> DataSplits | None:
        """The case's real images; None for synthetic ones."""
        if case.data == "synthetic":
            return None
        data = image_data.load(case.data, root=case.data_root, download=self.download, seed=case.seed)
        return image_data.prepared(data, self.input_format(case).image_size)

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        """Accuracy; on the test split also macro averages of precision and recall."""
        assert self.model is not None, "the model is built first"
        truth, predicted = [], []
        for images, labels_N in self.evaluation_batches(case, examples, device):
            predicted.append(self.logits(self.model(images)).argmax(dim=1).cpu())
            truth.append(labels_N.cpu())
        return accuracy(torch.cat(truth), torch.cat(predicted), final=final)


def accuracy(truth_N: torch.Tensor, predicted_N: torch.Tensor, *, final: bool) -> Score:
    """Share of correct class indices; if `final`, also precision and recall, macro-averaged over the classes that are
    true or predicted anywhere, 0 where a class is never predicted or never true, as in scikit-learn.
    """
    is_correct = predicted_N == truth_N
    correct = float(is_correct.double().mean())
    if not final:
        return Score("accuracy", correct)
    num_classes = 1 + int(torch.maximum(truth_N, predicted_N).max())
    hits, true, found = (
        torch.bincount(indices, minlength=num_classes).double()
        for indices in (truth_N[is_correct], truth_N, predicted_N)
    )
    occurs = (true + found) > 0
    others = {
        name: float((hits / total.clamp(min=1))[occurs].mean())
        for name, total in (("precision_macro", found), ("recall_macro", true))
    }
    return Score("accuracy", correct, others)
