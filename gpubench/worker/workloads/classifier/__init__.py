"""`Classifier` is importable from here too: workloads written for the first release do that."""

from gpubench.worker.workloads.classifier.classifier import Classifier

__all__ = ["Classifier"]
