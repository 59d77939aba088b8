"""From CUDA's device to NVML's, and never by index."""

import itertools

import pytest
from fakes.nvml.control import GIB, NAME, OTHER_UUID, UUID, Fake
from hypothesis import example, given
from hypothesis import strategies as st

from gpubench.telemetry.devices.base import Identity, TelemetryError
from gpubench.telemetry.devices.cuda_visible import identify, parse, selected, shown
from gpubench.telemetry.devices.nvml import NvmlBackend, library
from gpubench.telemetry.devices.nvml.card import NvmlDevice
from gpubench.telemetry.devices.open_backend import one_card_each

MIG_UUID = "aaaaaaaa-0000-4000-8000-000000000009"


def opened(fake: Fake, **identity: object) -> NvmlDevice:
    assert fake.now() > 0
    return NvmlBackend(library.load()).open(Identity(**identity))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [UUID, f"GPU-{UUID}", UUID.upper()])
def test_a_card_is_found_by_its_uuid_with_or_without_prefix_in_any_case(fake: Fake, form: str) -> None:
    fake.add_device(OTHER_UUID)
    fake.add_device(UUID)
    assert opened(fake, uuid=form).key == f"GPU-{UUID}"


def test_reordered_cards_are_told_apart(fake: Fake) -> None:
    """CUDA's device 0 is NVML's device 1 here: power must come from the right one."""
    fake.add_device(OTHER_UUID)
    fake.add_device(UUID)
    fake.trace([(0.0, 100.0)], device=0)
    fake.trace([(0.0, 500.0)], device=1)
    assert opened(fake, uuid=UUID).read_fast().power_instant_w == pytest.approx(500.0)
    assert opened(fake, uuid=OTHER_UUID).read_fast().power_instant_w == pytest.approx(100.0)


def test_a_mig_slice_reads_its_parents_power_and_its_own_memory(fake: Fake) -> None:
    fake.add_device(UUID)
    fake.add_device(MIG_UUID, prefix="MIG-", name=f"{NAME} MIG 1g.10gb", memory=10 * GIB, parent=0, pci="")
    fake.trace([(0.0, 500.0)])
    device = opened(fake, uuid=MIG_UUID, name=f"{NAME} MIG 1g.10gb", total_bytes=10 * GIB)
    assert device.parent_shared
    assert device.read_fast().power_instant_w == pytest.approx(500.0)
    assert device.read_slow().memory_total_bytes == 10 * GIB
    assert device.key == f"MIG-{MIG_UUID}"


def test_without_a_known_uuid_the_pci_address_decides(fake: Fake) -> None:
    fake.add_device(OTHER_UUID, pci="00000000:18:00.0")
    fake.add_device(UUID, pci="00000000:41:00.0")
    device = opened(fake, uuid="ffffffff-0000-4000-8000-00000000000f", pci="0000:41:00.0")
    assert device.key == f"GPU-{UUID}"
    assert device.how == "pci"


def test_a_search_by_uuid_that_a_lost_neighbour_breaks_is_made_by_address(fake: Fake) -> None:
    fake.add_device(OTHER_UUID, pci="00000000:18:00.0")
    fake.add_device(UUID, pci="00000000:41:00.0")
    fake.rule("nvmlDeviceGetHandleByUUID", 15)
    assert opened(fake, uuid=UUID, pci="0000:41:00.0").key == f"GPU-{UUID}"
    with pytest.raises(TelemetryError, match="GPU_IS_LOST"):
        opened(fake, uuid=UUID)


def test_what_cannot_be_found_is_refused_and_says_what_was_tried(fake: Fake) -> None:
    fake.add_device(UUID)
    with pytest.raises(TelemetryError, match=r"no NVML device matches .*NOT_FOUND"):
        opened(fake, uuid=OTHER_UUID, pci="0000:99:00.0")
    with pytest.raises(TelemetryError, match="CUDA named none"):
        opened(fake, name=NAME)


def test_another_name_is_refused(fake: Fake) -> None:
    fake.add_device(UUID)
    with pytest.raises(TelemetryError, match="its name is NVIDIA Fake 100, CUDA says NVIDIA A100"):
        opened(fake, uuid=UUID, name="NVIDIA A100")


def test_another_total_memory_is_refused_and_what_the_driver_reserves_is_not(fake: Fake) -> None:
    fake.add_device(UUID, memory=80 * GIB)
    assert opened(fake, uuid=UUID, total_bytes=79 * GIB).key == f"GPU-{UUID}"
    with pytest.raises(TelemetryError, match="total memory"):
        opened(fake, uuid=UUID, total_bytes=40 * GIB)


def test_a_name_that_cannot_be_asked_for_does_not_disagree(fake: Fake) -> None:
    fake.add_device(UUID)
    fake.rule("nvmlDeviceGetName", 999)
    assert opened(fake, uuid=UUID, name=NAME).name == NAME


def identified(device: int | str, **environ: str) -> Identity:
    # PATH and the like are left out: no CUDA driver is found, whatever the machine has.
    return identify(device, library.load(), {"LD_LIBRARY_PATH": "/nonexistent", **environ})


@pytest.fixture
def two_cards(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    fake.add_device(UUID, pci="00000000:18:00.0")
    fake.add_device(OTHER_UUID, pci="00000000:41:00.0")
    return fake


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        (0, None, UUID),
        (1, None, OTHER_UUID),
        ("cuda:1", None, OTHER_UUID),
        (0, "1,0", OTHER_UUID),
        (1, "1,0", UUID),
        (0, "1", OTHER_UUID),
        (0, f"GPU-{OTHER_UUID},GPU-{UUID}", OTHER_UUID),
        (1, f"GPU-{OTHER_UUID},GPU-{UUID}", UUID),
        ("GPU-fa4e0000-0000-4000-8000-000000000002", "0", OTHER_UUID),
    ],
)
@pytest.mark.usefixtures("two_cards")
def test_a_cuda_number_counts_what_the_variable_shows(device: int | str, visible: str | None, expected: str) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert identified(device, **environ).uuid == f"GPU-{expected}"


@pytest.mark.usefixtures("two_cards")
def test_entries_after_an_invalid_one_do_not_count() -> None:
    with pytest.raises(TelemetryError, match="CUDA has no device 1: 1 visible"):
        identified(1, CUDA_VISIBLE_DEVICES="1,7,0")
    with pytest.raises(TelemetryError, match="0 visible"):
        identified(0, CUDA_VISIBLE_DEVICES="")


THIRD_UUID = "fa4e1000-0000-4000-8000-000000000003"
SPECIALS = [
    "0-1",
    "0;1",
    "1.0",
    "1gpu2",
    "0,0",
    "1,2,1",
    "-1",
    "1,-1,0",
    "+1",
    " 2 ",
    "",
    ",",
    "01",
    "0x1",
    "all",
    "7",
    "9,0",
]
UUIDS = [f"GPU-{UUID}", f"GPU-{OTHER_UUID}", f"GPU-{THIRD_UUID}"]
MIG_NAMES = [f"MIG-{MIG_UUID}", f"MIG-GPU-{UUID}/1/0", "MIG-"]
BEGINNINGS = ["GPU-", "GPU-fa4e0000", "GPU-fa4e1", "GPU-nothing", "gpu-fa4e1", f" GPU-{UUID}", UUID]
entries = st.one_of(
    st.sampled_from([*SPECIALS, *UUIDS, *MIG_NAMES, *BEGINNINGS]),
    st.integers(-3, 5).map(str),
    st.text("0123456789+- .;xGPU", max_size=4),
)


@given(st.lists(entries, min_size=1, max_size=5).map(",".join))
@example("0,GPU-fa4e1")
@example("GPU-fa4e1,0")
@example("GPU-fa4e1,GPU-fa4e1")
def test_visible_devices_are_read_as_torch_reads_them(variable: str) -> None:
    torch_cuda = pytest.importorskip("torch").cuda
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.version.hip", None)
        patch.setenv("CUDA_VISIBLE_DEVICES", variable)
        try:
            parsed = torch_cuda._parse_visible_devices()
        except ValueError:  # `+` alone, which C's strtoul takes for 0
            return
    assert parse(variable) == parsed
    if parsed and isinstance(parsed[0], str):
        is_mig = parsed[0].startswith("MIG-")
        expected = parsed if is_mig else torch_cuda._transform_uuid_to_ordinals(parsed, UUIDS)
    else:
        expected = list(itertools.takewhile(lambda number: number < len(UUIDS), parsed))
    assert selected(variable, UUIDS) == expected


@pytest.mark.parametrize("code", [4, 15, 999])
def test_numbers_count_only_cards_that_can_be_opened(two_cards: Fake, code: int) -> None:
    two_cards.rule("nvmlDeviceGetHandleByIndex_v2", code, device=0)
    assert identified(0).uuid == identified(f"GPU-{OTHER_UUID}").uuid == f"GPU-{OTHER_UUID}"
    assert identified(0, CUDA_VISIBLE_DEVICES="0").uuid == f"GPU-{OTHER_UUID}"
    assert shown(library.load(), {"CUDA_VISIBLE_DEVICES": "0"}) == [f"GPU-{OTHER_UUID}"]
    with pytest.raises(TelemetryError, match="CUDA has no device 1: 1 visible"):
        identified(1)


def test_a_job_that_was_given_no_card_has_no_number(two_cards: Fake) -> None:
    two_cards.rule("nvmlDeviceGetHandleByIndex_v2", 4)
    with pytest.raises(TelemetryError, match="CUDA has no device 0: 0 visible"):
        identified(0)


def test_an_unlike_neighbour_that_cannot_be_opened_leaves_the_order_known(two_cards: Fake) -> None:
    two_cards.add_device(THIRD_UUID, name="NVIDIA Other 1")
    two_cards.rule("nvmlDeviceGetHandleByIndex_v2", 4, device=2)
    assert identified(1).uuid == f"GPU-{OTHER_UUID}"


def test_a_whole_uuid_needs_no_list_of_cards(two_cards: Fake) -> None:
    two_cards.rule("nvmlDeviceGetHandleByIndex_v2", 15)
    assert identified(f"GPU-{UUID}").uuid == f"GPU-{UUID}"
    with pytest.raises(TelemetryError, match="could not be listed"):
        identified(0)


def test_of_unlike_cards_those_are_shown_that_the_driver_names(
    two_cards: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_cards.add_device(THIRD_UUID, name="NVIDIA Other 1")
    assert len(shown(library.load(), {"CUDA_VISIBLE_DEVICES": "0"})) == 3, "without a driver to ask: all"
    monkeypatch.setattr(
        "gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: Identity(uuid=THIRD_UUID)
    )
    assert shown(library.load(), {"CUDA_VISIBLE_DEVICES": "0"}) == [f"GPU-{THIRD_UUID}"]


def test_of_a_slice_its_card_is_shown(two_cards: Fake) -> None:
    two_cards.add_device(MIG_UUID, prefix="MIG-", name=f"{NAME} MIG 1g.10gb", memory=10 * GIB, parent=1, pci="")
    assert shown(library.load(), {"CUDA_VISIBLE_DEVICES": f"MIG-{MIG_UUID}"}) == [f"GPU-{OTHER_UUID}"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [f"GPU-{UUID}", f"MIG-{MIG_UUID}", f"MIG-{THIRD_UUID}"]),
        ("1", [f"MIG-{MIG_UUID}", f"MIG-{THIRD_UUID}"]),
        (f"MIG-{THIRD_UUID}", [f"MIG-{THIRD_UUID}"]),
        ("", []),
    ],
)
def test_the_slices_of_a_divided_card_are_cards_of_a_fleet(
    two_cards: Fake, visible: str | None, expected: list[str]
) -> None:
    for uuid in (MIG_UUID, THIRD_UUID):
        two_cards.add_device(uuid, prefix="MIG-", name=f"{NAME} MIG 1g.10gb", memory=10 * GIB, parent=1, pci="")
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert [each["CUDA_VISIBLE_DEVICES"] for each in one_card_each(environ)] == expected


def test_unlike_cards_without_a_fixed_order_are_not_guessed(two_cards: Fake) -> None:
    two_cards.add_device("fa4e0000-0000-4000-8000-000000000003", name="NVIDIA Other 1")
    with pytest.raises(TelemetryError, match="orders them by speed"):
        identified(0)
    assert identified(2, CUDA_DEVICE_ORDER="PCI_BUS_ID").uuid == "GPU-fa4e0000-0000-4000-8000-000000000003"


@pytest.mark.usefixtures("two_cards")
def test_a_prefix_of_two_uuids_is_not_one_card() -> None:
    with pytest.raises(TelemetryError, match="beginning of 2 UUIDs"):
        identified("GPU-fa4e")


@pytest.mark.usefixtures("two_cards")
def test_a_pci_address_and_a_mig_uuid_are_taken_as_they_are() -> None:
    assert identified("0000:41:00.0") == Identity(pci="0000:41:00.0")
    assert identified(f"MIG-{MIG_UUID}") == Identity(uuid=f"MIG-{MIG_UUID}")
    with pytest.raises(TelemetryError, match="not a device"):
        identified("gpu zero")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [UUID, OTHER_UUID]),
        ("", []),
        ("1", [OTHER_UUID]),
        ("1,0", [UUID, OTHER_UUID]),
        (f"GPU-{OTHER_UUID}", [OTHER_UUID]),
        (f"MIG-{MIG_UUID}", [UUID, OTHER_UUID]),
    ],
)
@pytest.mark.usefixtures("two_cards")
def test_the_cards_shown_are_those_the_variable_leaves(visible: str | None, expected: list[str]) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert shown(library.load(), environ) == [f"GPU-{uuid}" for uuid in expected]
