"""Re-exports `Classifier` for workloads written for the first release."""

from gpubench.worker.workloads.classifier.classifier import Classifier

__all__ = ["Classifier"]
