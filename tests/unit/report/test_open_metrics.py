import json
import re
from collections import Counter
from pathlib import Path

import pytest
from fakes.gate_runs import two_arms
from fakes.runs import Invented, invented_run
from fakes.stored import stored
from prometheus_client import parser as prometheus_parser
from prometheus_client.openmetrics import parser as open_metrics_parser

from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.report.sinks.exported_run import ExportedRun, summarise_sides
from gpubench.report.sinks.open_metrics import families_of, open_metrics_text, write_open_metrics
from gpubench.store.run_reader import load_run

BASE_UNITS = {"seconds", "bytes", "joules", "watts", "hertz", "celsius", "ratio"}
BASE_UNITS |= {"samples_per_second", "tokens_per_second", "flops_per_second", "bytes_per_second", "per_joule"}
DASHBOARD = Path(__file__).parents[3] / "docs" / "examples" / "grafana-dashboard.json"


def exported(run):
    return ExportedRun(run, summarise_sides(run))


@pytest.fixture(scope="module")
def invented(tmp_path_factory):
    return exported(stored(invented_run(), tmp_path_factory.mktemp("store") / "run"))


@pytest.fixture(scope="module")
def families(invented):
    parsed = open_metrics_parser.text_string_to_metric_families(open_metrics_text(invented))
    return {family.name: family for family in parsed}


def value(family, **labels):
    (sample,) = [each for each in family.samples if labels.items() <= each.labels.items()]
    return sample.value


def test_a_figure_and_its_interval_are_samples_in_base_units(families, invented):
    (case,) = [each for _, each in invented.cases() if each.label == "cuda fp32 b1024"]
    figure = case.metrics["step_time_s"]
    assert families["gpubench_step_time_seconds"].unit == "seconds"
    for name, expected in (("", figure.value), ("_low", figure.low), ("_high", figure.high)):
        family = families[f"gpubench_step_time{name}_seconds"]
        assert value(family, case=case.case_id, kind="measure", validity="valid") == expected
    clock = families["gpubench_sm_clock_hertz"]
    assert value(clock, case=case.case_id) == case.metrics["sm_clock_mhz"].value * 1e6


def test_the_older_format_of_node_exporter_has_the_same_samples(families, invented):
    parsed = list(prometheus_parser.text_string_to_metric_families(open_metrics_text(invented)))
    assert {family.type for family in parsed} == {"gauge"}  # what both formats know
    older = [sample for family in parsed for sample in family.samples]
    assert [(s.name, s.labels, s.value) for s in older] == [
        (s.name, s.labels, s.value) for family in families.values() for s in family.samples
    ]
    assert all(sample.timestamp is None for sample in older)  # the collector refuses files with time stamps


def test_what_was_not_measured_has_no_sample_and_says_how_it_ended(families):
    (case,) = {
        s.labels["case"] for s in families["gpubench_case_info"].samples if s.labels["label"] == "cuda fp32 b16384"
    }
    assert not [s for s in families["gpubench_throughput_samples_per_second"].samples if s.labels["case"] == case]
    states = {s.labels["status"]: s.value for s in families["gpubench_case_status"].samples if s.labels["case"] == case}
    assert states == {"ok": 0, "oom": 1, "failed": 0, "timeout": 0, "unsupported": 0, "skipped": 0}


def test_a_figure_says_its_validity(families):
    standing = {s.labels["label"]: s.labels["validity"] for s in families["gpubench_step_time_seconds"].samples}
    assert standing["cuda amp-fp16 b1024"] == "invalid"
    assert standing["cpu amp-bf16 b64"] == "suspect"
    assert standing["cuda fp32 b1024"] == "valid"


def test_every_metric_has_a_name_of_its_own_that_ends_in_its_unit():
    every = [family for spec in METRICS.built_in.values() for family in families_of(spec)]
    assert [name for name, times in Counter(family.name for family in every).items() if times > 1] == []
    assert {family.unit for family in every} - {""} == BASE_UNITS
    for family in every:
        assert family.name.endswith(family.unit)
        assert re.fullmatch(r"gpubench_[a-z0-9_]+", family.name)
    without = {family.name for family in every if not family.unit}
    assert [name for name in without if re.search(r"_(s|j|w|mhz|c|share)(_low|_high)?$", name)] == []


def test_a_metric_of_another_package_keeps_its_name():
    spec = MetricSpec("sparsity", "furlong", "sparsity", None, "A share.")
    assert [family.name for family in families_of(spec)] == [
        "gpubench_sparsity",
        "gpubench_sparsity_low",
        "gpubench_sparsity_high",
    ]


ODD = 'a "quoted" \\ back\nslash, and\x1b[31m {colour}'


def test_any_text_in_a_label_is_read_back_as_it_is_shown(tmp_path):
    made = Invented()
    made.measured(ODD, 1000.0, batch_size=64)
    text = open_metrics_text(exported(stored(made.run(tag="t"), tmp_path / "run")))
    for parse in (open_metrics_parser, prometheus_parser):
        found = {family.name: family for family in parse.text_string_to_metric_families(text)}
        (info,) = found["gpubench_case_info"].samples
        assert info.labels["label"] == 'a "quoted" \\ back\\nslash, and\\x1b[31m {colour}'
    assert "\x1b" not in text


def test_arms_are_told_apart_by_a_label(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=900.0, batch_size=64)
    run = exported(load_run(made.write(tmp_path, "ab")))
    found = {
        family.name: family for family in open_metrics_parser.text_string_to_metric_families(open_metrics_text(run))
    }
    speeds = found["gpubench_throughput_samples_per_second"]
    assert value(speeds, arm="base") == pytest.approx(1000, rel=0.01)
    assert value(speeds, arm="head") == pytest.approx(900, rel=0.01)


def test_the_file_is_replaced_whole(invented, tmp_path, monkeypatch):
    path = tmp_path / "gpubench.prom"
    path.write_text("older")
    seen = []
    replace = Path.replace

    def watched(source, target):
        seen.append((source.suffix, path.read_text(), source.read_text()))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    assert write_open_metrics(invented, str(path)) == str(path)
    ((suffix, before, written),) = seen
    assert suffix != ".prom"  # a collector reads only files that end so
    assert before == "older"
    assert path.read_text() == written == open_metrics_text(invented)
    assert [each.name for each in tmp_path.iterdir()] == ["gpubench.prom"]


@pytest.fixture(scope="module")
def expressions():
    document = json.loads(DASHBOARD.read_text())
    targets = [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]
    queries = [
        variable["query"]["query"] for variable in document["templating"]["list"] if "query" in variable["query"]
    ]
    return [*targets, *queries]


def test_the_dashboard_reads_only_metrics_that_the_file_has(expressions, families):
    asked = {name for text in expressions for name in re.findall(r"\bgpubench_\w+", text)}
    assert len(asked) > 5
    assert asked <= families.keys()


def test_the_dashboard_selects_only_by_labels_that_the_file_has(expressions, families):
    for text in expressions:
        for name, selector in re.findall(r"\b(gpubench_\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", selector)) - {"instance"}  # Prometheus's own
            assert labels <= {label for sample in families[name].samples for label in sample.labels}
