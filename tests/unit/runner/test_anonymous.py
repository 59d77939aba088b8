from pathlib import Path

from gpubench.core.findings import finding
from gpubench.core.records import Effective, Record, Status
from gpubench.machine.environment_variables import anonymise
from gpubench.runner.launch.recorder import anonymous

UUID = "12345678-9abc-def0-1234-56789abcdef0"


def test_the_same_card_gets_the_digits_it_has_in_the_environment_and_homes_are_hidden():
    home = str(Path.home() / "train.py")
    record = Record(
        case_index=1,
        case_id="c",
        label="l",
        repeat=1,
        status=Status.OK,
        effective=Effective(precision="fp32", device_uuid=UUID),
        telemetry={"device": {"uuid": f"GPU-{UUID}"}, "other_processes": [{"name": home, "pid": 7}]},
        findings=(finding("GB407", f"Process 7 ({home}) was on GPU-{UUID}."),),
    )
    hidden = anonymous(record)
    digits = anonymise(f"GPU-{UUID}")
    assert hidden.effective.device_uuid == hidden.telemetry["device"]["uuid"] == digits
    text = hidden.model_dump_json()
    assert UUID not in text
    assert str(Path.home()) not in text
    assert hidden.telemetry["other_processes"][0]["pid"] == 7
