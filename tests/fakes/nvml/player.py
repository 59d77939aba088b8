"""Plays a stretch of the fake's time through the real sampler, without waiting."""

from dataclasses import dataclass

from fakes.nvml.control import NAME, UUID, Fake

from gpubench.telemetry.devices.base import Identity
from gpubench.telemetry.devices.nvml import NvmlBackend, library
from gpubench.telemetry.devices.periods import Periods
from gpubench.telemetry.sampled_device import SampledDevice
from gpubench.telemetry.sampling.sampler import Schedule
from gpubench.telemetry.window.window_figures import TelemetryWindow

IDENTITY = Identity(uuid=UUID, name=NAME, total_bytes=79 * 2**30)


@dataclass
class Player:
    """A card of the fake under observation on the fake's own clock. `play` ticks as the sampler's thread would."""

    fake: Fake
    monitored: SampledDevice

    def play(self, start_s: float, end_s: float, *, offset_s: float = 0.0) -> None:
        """Fast ticks (and slow ones where due) from start to end; a late tick is skipped as in the thread."""
        step_s = self.monitored.sampler.schedule.fast_s
        at_s = start_s + offset_s
        while at_s < end_s:
            self.fake.freeze(max(at_s, self.fake.now()))
            self.monitored.sampler._guarded(self.monitored.sampler.tick)
            at_s += step_s
            while at_s < self.fake.now():
                at_s += step_s

    def summary(self, start_s: float, end_s: float, num_samples: int = 1000) -> TelemetryWindow:
        return self.monitored.summarise(start_s, end_s, num_samples)


def watch(fake: Fake, *, periods: Periods | None = None, fast_s: float = 0.05, identity: Identity = IDENTITY) -> Player:
    """Opens the card; `periods` as the probe would have measured them (None: not measured)."""
    fake.freeze(0.0)
    schedule = Schedule(fast_s=fast_s, clock=fake.now, probe_periods=False)
    device = NvmlBackend(library.load(), clock=fake.now).open(identity)
    return Player(fake, SampledDevice(device, "sampled", schedule, periods=periods))
