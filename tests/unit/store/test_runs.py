import json
import math
import shutil
from collections import Counter
from pathlib import Path

import pytest
from fakes.runs import FakeRun, Invented, cpu_run, invented_run

from gpubench.core.errors import StoreError
from gpubench.core.records import Record, Status, latest
from gpubench.store import run_reader
from gpubench.store.run_reader import count_ends, load_head, load_info, load_run
from gpubench.store.run_writer import RunWriter


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "records.jsonl").read_bytes().splitlines()


def test_what_was_stored_comes_back_as_it_was(tmp_path: Path) -> None:
    made = invented_run()
    with RunWriter.create(tmp_path / "run", made.info) as writer:
        for record in made.records:
            writer.append(record)
    run = load_run(tmp_path / "run")
    assert (run.info, run.records, run.dropped) == (made.info, made.records, ())


def test_a_value_that_is_not_finite_comes_back(tmp_path: Path) -> None:
    made = Invented(1)
    made.measured("cpu", 900.0, extra={"final_loss": math.nan, "energy_j": math.inf}, device="cpu")
    run = made.run()
    with RunWriter.create(tmp_path / "run", run.info) as writer:
        writer.append(run.records[0])
    back = load_run(tmp_path / "run").records[0].metrics
    assert math.isnan(back["final_loss"] or 0.0)
    assert back["energy_j"] == math.inf


def test_line_ends_and_unusual_characters_inside_a_text_do_not_break_a_line(tmp_path: Path) -> None:
    text = "first\nsecond\u2028third\r\x00\x1b[31m 日本 😀"
    made = Invented(1)
    made.ended("cpu", Status.FAILED, text, device="cpu")
    run = made.run()
    with RunWriter.create(tmp_path / "run", run.info) as writer:
        writer.append(run.records[0])
        writer.append(run.records[0])
    assert [record.reason for record in load_run(tmp_path / "run").records] == [text, text]


def test_a_torn_last_line_is_dropped_and_named(folder: Path, fake: FakeRun) -> None:
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    run = load_run(folder)
    assert run.records == fake.records[:-1]
    (notice,) = run.dropped
    assert "the last line of records.jsonl" in notice
    assert "--resume measures it again" in notice


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"\x00\xff\xfe\x80 not text", "it is not JSON"),
        (b'{"schema": 1, "case_index": 1', "EOF"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"case_index": 1}', "no schema number"),
        (b'{"schema": "one"}', "'one' is not a schema number"),
        (b'{"schema": 1, "case_index": "x"}', "case_index"),
        (b"[" * 100_000, "recursion"),
    ],
    ids=["binary", "cut", "list", "no number", "odd number", "wrong type", "deep"],
)
def test_a_line_that_cannot_be_read_is_left_out_and_named(
    folder: Path, fake: FakeRun, garbage: bytes, why: str
) -> None:
    first, _, *rest = lines_of(folder)
    (folder / "records.jsonl").write_bytes(b"\n".join([first, garbage, *rest]) + b"\n")
    run = load_run(folder)
    assert run.records == (fake.records[0], *fake.records[2:])
    (notice,) = run.dropped
    assert notice.startswith("line 2 of records.jsonl")
    assert why in notice


def test_an_unknown_field_makes_a_line_unreadable_rather_than_half_read(folder: Path) -> None:
    first, *rest = lines_of(folder)
    odd = json.dumps({**json.loads(first), "colour": "green"}).encode()
    (folder / "records.jsonl").write_bytes(b"\n".join([odd, *rest]) + b"\n")
    (notice,) = load_run(folder).dropped
    assert "colour: Extra inputs are not permitted" in notice


def test_blank_lines_are_nothing(folder: Path, fake: FakeRun) -> None:
    (folder / "records.jsonl").write_bytes(b"\n" + b"\n\r\n".join(lines_of(folder)) + b"\n")
    run = load_run(folder)
    assert (run.records, run.dropped) == (fake.records, ())


def test_a_run_without_its_records_can_still_be_opened(folder: Path, fake: FakeRun) -> None:
    (folder / "records.jsonl").unlink()
    run = load_run(folder)
    assert run.info == fake.info
    assert run.records == ()
    assert "records.jsonl is missing" in run.dropped[0]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no folder .*nowhere") as caught:
        load_run(tmp_path / "nowhere")
    assert "gpubench list runs" in caught.value.hint


def test_a_folder_of_something_else_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a run: it contains no run\.json"):
        load_run(tmp_path)


def test_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is not a folder"):
        load_run(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"\x89PNG\x00\xff", "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b'{"name": "some other tool"}', "it has no schema number"),
        (b'{"schema": 1, "run": "x"}', "suite_name: Field required"),
        (b'{"schema": 0}', "0 is not a schema number"),
        (b'{"schema": true}', "True is not a schema number"),
    ],
)
def test_a_damaged_or_foreign_head_is_a_sentence(folder: Path, content: bytes, why: str) -> None:
    (folder / "run.json").write_bytes(content)
    with pytest.raises(StoreError, match=rf"run\.json does not describe a run: .*{why}"):
        load_run(folder)


def test_a_head_of_a_newer_gpubench_says_so(folder: Path) -> None:
    head = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**head, "schema": 99, "colour": "green"}))
    with pytest.raises(
        StoreError, match=r"was written by a newer gpubench \(schema 99; this one reads up to 1\)"
    ) as caught:
        load_run(folder)
    assert "update" in caught.value.hint


@pytest.mark.parametrize("extra", [{}, {"colour": "green"}], ids=["same fields", "new fields"])
def test_a_record_of_a_newer_gpubench_is_never_left_out_in_silence(folder: Path, extra: dict[str, str]) -> None:
    *rest, last = lines_of(folder)
    newer = json.dumps({**json.loads(last), **extra, "schema": 99}).encode()
    (folder / "records.jsonl").write_bytes(b"\n".join([*rest, newer]) + b"\n")
    with pytest.raises(StoreError, match=rf"line {len(rest) + 1} of .* written by a newer gpubench"):
        load_run(folder)


def test_the_head_alone_can_be_read(folder: Path, fake: FakeRun) -> None:
    shutil.rmtree(folder / "samples", ignore_errors=True)
    assert load_info(folder) == fake.info


def test_a_record_without_samples_has_none(folder: Path) -> None:
    run = load_run(folder)
    assert run.samples(run.records[0]) == {}


def test_samples_are_read_through_the_run(folder: Path, fake: FakeRun) -> None:
    with RunWriter.resume(folder) as writer:
        where = writer.write_samples("0001-3", {"step_times_s": [0.5, 0.25]})
        writer.append(fake.records[0].model_copy(update={"repeat": 3, "samples": where}))
    run = load_run(folder)
    assert run.samples(run.records[-1])["step_times_s"].tolist() == [0.5, 0.25]


def test_a_record_is_one_line_of_json_with_its_schema_first(folder: Path) -> None:
    line = json.loads(lines_of(folder)[0])
    assert next(iter(line)) == "schema"
    assert Record.model_validate(line).case_index == 1


def test_a_run_with_a_setting_from_the_future_is_listed_and_its_case_refused(folder: Path) -> None:
    head = json.loads((folder / "run.json").read_text())
    head["cases"][0]["settings"]["warp_drive"] = "on"
    (folder / "run.json").write_text(json.dumps(head))
    planned = load_info(folder).cases[0]
    assert planned.settings["warp_drive"] == "on"
    with pytest.raises(StoreError, match="does not know: warp_drive"):
        _ = planned.case


def test_a_run_from_before_a_setting_keeps_its_settings_and_its_case_has_the_default(folder: Path) -> None:
    head = json.loads((folder / "run.json").read_text())
    del head["cases"][0]["settings"]["cpu_threads"]
    (folder / "run.json").write_text(json.dumps(head))
    info = load_info(folder)
    assert info.cases[0].case.cpu_threads is None
    assert json.loads(info.model_dump_json(by_alias=True)) == head


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("environment", {"gpus": 3}),
        ("environment", {"gpus": [None]}),
        ("environment", {"cpu": "x"}),
        ("suite", {"quality": 3}),
        ("suite", {"baseline": [1]}),
        ("sesoi", float("nan")),
        ("sesoi", -3),
    ],
)
def test_a_head_whose_parts_are_something_else_is_refused_in_one_sentence(
    folder: Path, part: str, value: object
) -> None:
    head = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**head, part: value}))
    with pytest.raises(StoreError, match="does not describe a run"):
        load_run(folder)


def test_a_list_of_runs_counts_launches_as_reading_them_does(folder: Path, fake: FakeRun) -> None:
    first = fake.records[0]
    odd = first.model_copy(update={"label": 'a "quoted", {odd} \\ label', "arm": 'b"1', "repeat": 7})
    with RunWriter.resume(folder) as writer:
        for record in (odd, first.model_copy(update={"status": Status.OOM})):
            writer.append(record)
    path = folder / "records.jsonl"
    spaced = json.dumps(json.loads(odd.model_copy(update={"repeat": 8}).model_dump_json(by_alias=True)))
    path.write_text(path.read_text() + spaced + "\n" + "not a record\n" + path.read_text()[:500])
    run = load_run(folder)
    assert count_ends(folder) == Counter(record.status.value for record in latest(run.records))
    assert count_ends(folder)["oom"] == 1
    assert len(load_head(folder).cases) == len(run.info.cases)


def test_launches_of_a_case_share_what_is_equal_and_keep_what_is_not(tmp_path: Path) -> None:
    made = cpu_run(repeats=3)
    assert made.records[2].effective is not None
    took = made.records[2].effective.model_copy(update={"cpu_threads": 77})
    stored = tuple(r if r is not made.records[2] else r.model_copy(update={"effective": took}) for r in made.records)
    with RunWriter.create(tmp_path / "run", made.info) as writer:
        for record in stored:
            writer.append(record)
    back = load_run(tmp_path / "run").records
    assert back == stored
    assert back[1].effective is back[0].effective
    assert back[2].effective == took
    assert {frozenset(record.model_fields_set) for record in back} == {frozenset(Record.model_fields)}
    assert len({id(record.model_fields_set) for record in back}) == 1


def test_counting_parses_no_line_that_is_written_today(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = count_ends(folder)
    parsed: list[bytes] = []
    monkeypatch.setattr(run_reader, "parse_record", parsed.append)
    assert count_ends(folder) == expected
    assert not parsed
