"""What a suite with `fleet` may not ask for."""

import pytest

from gpubench.core.errors import SuiteError
from gpubench.suite.load import load_suite

SUITE = "schema: 1\nname: f\nfleet: {}\ndefaults: {device: cuda}\n"


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("matrix: {world_size: [1, 2]}\n", "each card measures alone"),
        ("include: [{device: 'cuda:1'}]\n", "write `device: cuda`"),
        ("quality: {data: digits}\n", "has no accuracy runs"),
    ],
)
def test_a_fleet_measures_each_card_alone(tmp_path, added, said):
    (tmp_path / "s.yaml").write_text(SUITE + added)
    with pytest.raises(SuiteError, match=said):
        load_suite(tmp_path / "s.yaml")


def test_a_fleet_can_be_switched_off_and_its_limit_changed(tmp_path):
    (tmp_path / "s.yaml").write_text(SUITE)
    assert load_suite(tmp_path / "s.yaml", ["fleet=off"]).suite.fleet is None
    assert load_suite(tmp_path / "s.yaml", ["fleet.slower_than=3%"]).suite.fleet.slower_than == 0.03
