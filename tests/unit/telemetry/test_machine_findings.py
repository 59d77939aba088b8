"""What each telemetry finding does to a figure, and which make a machine unfit."""

from gpubench.core.findings import FINDINGS, UNFIT, Effect, unfit

SPECS = [spec for spec in FINDINGS.built_in.values() if spec.code.startswith("GB4")]


def test_only_an_emergency_of_the_hardware_or_a_lost_card_invalidates() -> None:
    assert {spec.code for spec in SPECS if spec.effect is Effect.INVALIDATES} == {"GB404", "GB413"}


def test_what_concerns_energy_alone_does_not_touch_throughput() -> None:
    for code in ("GB410", "GB411", "GB412", "GB414", "GB416"):
        assert FINDINGS[code].effect is Effect.NONE


def test_a_power_cap_is_a_state_and_not_an_error() -> None:
    assert FINDINGS["GB402"].effect is Effect.NONE
    assert "GB402" not in UNFIT


def test_strict_refuses_throttling_other_processes_and_moved_limits() -> None:
    assert {"GB403", "GB404", "GB406", "GB407", "GB408", "GB409", "GB413"} <= UNFIT
    assert set(FINDINGS) >= UNFIT
    assert unfit(("GB402", "GB407", "GB204")) == ("GB407",)


def test_every_finding_says_what_to_do() -> None:
    assert all(spec.meaning.endswith(".") and spec.remedy.endswith((".", ")")) for spec in SPECS)
