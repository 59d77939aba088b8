"""Why a card is slow, from telemetry that is known."""

import pytest

from gpubench.analysis.fleet.causes import CardState, why_slow

USUAL = {
    "sm_clock_mhz": 1980.0,
    "memory_clock_mhz": 2619.0,
    "temperature_c": 60.0,
    "power_limit_w": 700.0,
    "pcie_generation": 5.0,
    "pcie_width": 16.0,
    "ecc": 0.0,
    "other_processes": 0.0,
}


def states(**odd):
    healthy = {f"card {number}": CardState(host=f"n{number // 4}", **USUAL) for number in range(1, 8)}
    return {"card 0": CardState(**{"host": "n0", **USUAL, **odd}), **healthy}


@pytest.mark.parametrize(
    ("odd", "cause", "words"),
    [
        ({"power_limit_w": 600.0}, "power cap", "600 W"),
        ({"throttled": {"power_cap": 0.4}}, "power cap", "40%"),
        ({"throttled": {"hw_thermal": 0.4}, "temperature_c": 91.0, "sm_clock_mhz": 1500.0}, "temperature", "91 °C"),
        ({"pcie_width": 8.0}, "link", "8, the others 16"),
        ({"pcie_generation": 4.0}, "link", "4, the others 5"),
        ({"ecc": 1.0, "memory_clock_mhz": 2500.0}, "ECC", "its ECC is on"),
        ({"other_processes": 2.0, "power_limit_w": 600.0}, "other program", "on it: 2,"),
        ({"memory_clock_mhz": 2500.0}, "memory", "2500 MHz"),
        ({"sm_clock_mhz": 1900.0}, "clock", "1900 MHz"),
        ({}, None, "unknown"),
    ],
)
def test_the_cause_is_what_the_healthy_cards_do_not_have(odd, cause, words):
    found = why_slow("card 0", 0.04, states(**odd), ["card 0"])
    assert found.cause == cause
    assert words in found.evidence


def test_a_slightly_lower_clock_does_not_explain_a_large_excess():
    assert why_slow("card 0", 0.2, states(sm_clock_mhz=1960.0), ["card 0"]).cause is None


def test_a_host_whose_cards_are_all_slow_is_the_cause():
    found = why_slow("card 0", 0.04, states(sm_clock_mhz=1500.0), ["card 0", "card 1", "card 2"])
    assert found.cause == "host"
    assert "2 of the 3 other cards of n0" in found.evidence


def test_a_card_without_telemetry_has_no_cause():
    bare = {f"card {number}": CardState(host="n0") for number in range(8)}
    assert "could not be read" in why_slow("card 0", 0.04, bare, ["card 0"]).evidence
