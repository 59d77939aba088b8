"""The backend of a machine without telemetry: the same code runs, and every window says why it is empty."""

from gpubench.telemetry.devices.base import Device, Identity, Survey, TelemetryError


class NullBackend:
    """Opens nothing. `reason` is a few words for a table (`no NVIDIA driver`), `remedy` a sentence."""

    kind = "null"
    available = False

    def __init__(self, reason: str, remedy: str = "", *, code: int | None = None) -> None:
        self.reason = reason
        self.remedy = remedy
        self.code = code

    def open(self, identity: Identity) -> Device:  # noqa: ARG002 - the protocol's signature
        """Always raises `TelemetryError` with the reason."""
        raise TelemetryError(self.reason, code=self.code, remedy=self.remedy)

    def survey(self) -> dict[str, Survey]:
        """No devices."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""
