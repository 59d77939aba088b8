import pytest


def test_every_mistake_is_reported_at_once(problems):
    found = problems(
        "defaults: {optimizer: adm}\n"
        "matrix:\n"
        "  mode: [train, on]\n"
        "  device: [cpu, gpu]\n"
        "  precision: [fp32, amp-fp61]\n"
        "  batchsize: [1]\n"
        "exclude:\n"
        "  - {device: cpu, cudnn_benchmark: 3}\n"
        "when:\n"
        "  - {if: {device: cuda}, set: {memory_format: channels_lst}}\n"
        "measure: {min_tme: 2s, max_time: forever, repeats: true}\n"
        "gates:\n"
        "  - {metric: throughpt, max_regression: 3%}\n"
        "mesure: {}\n"
    )
    assert found == [
        "defaults.optimizer: unknown value 'adm' (did you mean 'adam'?)",
        "matrix.mode[1]: unknown value 'on' (choose from train, infer)",
        "matrix.device[1]: unknown value 'gpu' (did you mean 'cuda'?)",
        "matrix.precision[1]: unknown value 'amp-fp61' (did you mean 'amp-fp16'?)",
        "matrix.batchsize: unknown key (did you mean 'batch_size'?)",
        "exclude[0].cudnn_benchmark: expected true or false, got 3",
        "when[0].set.memory_format: unknown value 'channels_lst' (did you mean 'channels_last'?)",
        "measure.min_tme: unknown key (did you mean 'min_time'?)",
        "measure.max_time: expected a duration (a number with one of: ns, us, µs, ms, s, m, min, h), got 'forever'",
        "measure.repeats: expected a whole number, got true",
        "gates[0].metric: 'throughpt' is not a metric (did you mean 'throughput'?)",
        "mesure: unknown key (did you mean 'measure'?)",
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("matrix: {mode: train}", "matrix.mode: expected a list, got 'train' (put it in brackets: [...])"),
        ("matrix: [train]", "matrix: expected settings (`name: value`), got a list"),
        ("exclude: {device: cpu}", "exclude: expected a list, got settings"),
        ("exclude: [{}]", "exclude[0]: an entry without settings would exclude everything"),
        ("exclude: [{device: []}]", "exclude[0].device: a list of no values matches nothing"),
        ("exclude: [cpu]", "exclude[0]: expected settings (`name: value`), got 'cpu'"),
        (
            "include: [{batch_size: [1, 2]}]",
            "include[0].batch_size: must be a whole number from 1 to 16777216, or `max`",
        ),
        ("matrix: {batch_size: [true]}", "matrix.batch_size[0]: expected a number, got true"),
        ("matrix: {batch_size: [0]}", "matrix.batch_size[0]: must be a whole number from 1 to 16777216, or `max`"),
        (
            "matrix: {batch_size: {pow2: [5]}}",
            "matrix.batch_size.pow2: expected two exponents, as in [5, 10] (from 0, at most 24)",
        ),
        (
            "matrix: {batch_size: {pow2: [5, 90]}}",
            "matrix.batch_size.pow2: expected two exponents, as in [5, 10] (from 0, at most 24)",
        ),
        ("defaults: {image_size: big}", "defaults.image_size: expected a whole number, got 'big'"),
        ("defaults: {learning_rate: 0}", "defaults.learning_rate: must be more than 0, got 0"),
        ("defaults: {device: 0}", "defaults.device: expected text, got 0 (put it in quotes)"),
        ("defaults: {env: {A: true}}", "defaults.env: the value of A must be text or a number (quote it)"),
        (
            "matrix: {mode: [train]}\nwhen: [{if: {}, set: {mode: infer}}]",
            "when[0].set.mode: `mode` is an axis of the matrix, which no rule can change",
        ),
        ("when: [{if: {device: cuda}}]", "when[0].set: `set` is missing"),
        ("when: [{if: {}, then: {}, set: {}}]", "when[0].then: unknown key"),
        ("defaults: {workload: cnnn}", "defaults.workload: unknown value 'cnnn' (did you mean 'cnn'?)"),
        (
            "defaults: {workload: resnet50}",
            (
                "defaults.workload: unknown value 'resnet50' (choose from "
                "cnn, resnet9, torchvision:<model>, torchvision-detection:<model>, torchvision-segmentation:<model>, "
                "timm:<model>, hf:<architecture>@<task>, operators:<operator>, collectives:<name>, vision:<task>, speech:<task>, text:<task>, multimodal:<task>, <module>:<Name>)"
            ),
        ),
        (
            "matrix: {workload: ['operators:matmull']}",
            "matrix.workload[0]: unknown value 'operators:matmull' (did you mean 'operators:matmul'?)",
        ),
        (
            "gates: [{metric: throughput, max_regression: 3}]",
            (
                "gates[0].max_regression: a limit of 300% can never be broken: throughput cannot fall "
                "by more than 100% (3% is three per cent)"
            ),
        ),
        ("measure: {min_time: 30s}", "measure.min_time: 30 s is longer than max_time (20 s)"),
        ("measure: {max_time: 10ms}", "measure.max_time: 0.01 s is shorter than min_time (2 s by default)"),
        ("measure: {min_steps: 100, max_steps: 50}", "measure.min_steps: 100 is more than max_steps (50)"),
        ("measure: {max_time: null}", "measure.max_time: expected a duration, got nothing"),
        ("measure: {max_time: [1s]}", "measure.max_time: expected a duration, got a list"),
        ("measure: {timeout: {a: 1}}", "measure.timeout: expected a duration, got a mapping"),
        ("measure: {target_rel_ci: null}", "measure.target_rel_ci: expected a fraction, got nothing"),
        ("measure: {target_rel_ci: 200%}", "measure.target_rel_ci: must be less than 1, got '200%'"),
        ("measure: {telemetry: of}", "measure.telemetry: unknown value 'of' (did you mean 'off'?)"),
        ("quality: {epochs: 3}", "quality: synthetic data has no score to train to (add data: digits)"),
        ("quality: {data: synthetic}", "quality.data: synthetic data has no score to train to (add data: digits)"),
        ("quality: {data: digit}", "quality.data: unknown value 'digit' (did you mean 'digits'?)"),
        (
            "quality: {data: digits, reference: {precison: fp32}}",
            "quality.reference.precison: unknown key (did you mean 'precision'?)",
        ),
        ("quality: {data: digits, learning_rate: [0.1, 0]}", "quality.learning_rate[1]: must be more than 0, got 0"),
        ("baseline: {device: tpu}", "baseline.device: unknown value 'tpu' (did you mean 'cpu'?)"),
        ("defaults: {strategy: fsdp}", "defaults.strategy: unknown value 'fsdp' (did you mean 'fsdp2'?)"),
        ("defaults: {world_size: 0}", "defaults.world_size: must be at least 1, got 0"),
        ("matrix: {backend: [gloo, mpi]}", "matrix.backend[1]: unknown value 'mpi' (choose from auto, gloo, nccl)"),
        ("requires: gpu", "requires: unknown value 'gpu' (did you mean 'cuda'?)"),
        ("gates: [{metric: throughput}]", "gates[0]: a gate on `throughput` needs its limit (add max_regression: 3%)"),
        (
            "gates: [{metric: status}]",
            "gates[0]: a gate on `status` says what must not be new (add no_new: [oom, failed])",
        ),
        (
            "gates: [{metric: status, no_new: [fail]}]",
            "gates[0].no_new[0]: unknown value 'fail' (did you mean 'failed'?)",
        ),
        (
            "gates: [{metric: throughput, max_regression: 3%, where: {mod: train}}]",
            "gates[0].where.mod: unknown key (did you mean 'mode'?)",
        ),
        ("gates: [{max_regression: 3%}]", "gates[0].metric: `metric` is missing"),
    ],
)
def test_a_mistake_is_said_with_its_place_and_a_way_out(problems, body, said):
    assert problems(body) == [said]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("schema: 1\n", "name: `name` is missing"),
        ("name: x\n", "schema: `schema` is missing"),
        ("schema: 2\nname: x\n", "schema: there is no schema 2 (this gpubench reads schema 1)"),
        ("schema: true\nname: x\n", "schema: there is no schema true (this gpubench reads schema 1)"),
        (
            "schema: 1\nname: a/b\n",
            "name: 'a/b' is not written as it must be (a name has letters, digits, dots, dashes and underscores only)",
        ),
        ("schema: 1\nname: 12\n", "name: expected text, got 12 (put it in quotes)"),
        ("schema: 1\nname:\n", "name: expected text, got null"),
    ],
)
def test_what_every_suite_needs(problems, head, said):
    assert problems(head=head) == [said]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", ": the file is empty"), ("- a", "mapping"), ("words", "mapping"), ("# only a comment\n", "mapping")],
)
def test_a_file_of_another_kind_is_no_suite(problems, text, said):
    assert said in problems(head=text)[0]


def test_a_time_may_grow_by_more_than_itself(parsed):
    assert parsed("gates: [{metric: step_time_s, max_regression: 3}]").suite.gates[0].max_regression == 3


def test_a_metric_that_cannot_get_worse_is_no_gate(problems):
    (said,) = problems("gates: [{metric: flops_per_sample, max_regression: 1%}]")
    assert said.startswith("gates[0].metric: 'flops_per_sample' has no better or worse direction")


def test_sections_with_nothing_in_them_are_as_if_left_out(parsed):
    loaded = parsed("defaults:\nmatrix:\nexclude:\nwhen:\nmeasure:\nquality:\ngates:\n")
    assert len(loaded.cases) == 1
    assert loaded.suite.quality is None
    assert parsed("quality: off").suite.quality is None


def test_words_that_yaml_1_1_takes_for_booleans_mean_what_they_say(parsed):
    (case,) = parsed(
        "defaults: {compile: off, cudnn_benchmark: on, cuda_graph: no, env: {A: off}}\nmeasure: {telemetry: off}"
    ).cases
    assert (case.compile, case.cudnn_benchmark, case.cuda_graph, case.env) == ("off", True, False, {"A": "off"})


def test_quantities_are_read_in_their_units(parsed):
    suite = parsed(
        "measure: {target_rel_ci: 0.5%, min_time: 500ms, max_time: 1h30m}\n"
        "quality: {data: digits, max_accuracy_drop: 1pp, learning_rate: 1e-3}"
    ).suite
    assert (suite.measure.target_rel_ci, suite.measure.min_time, suite.measure.max_time) == (0.005, 0.5, 5400)
    assert suite.quality is not None
    assert (suite.quality.max_accuracy_drop, suite.quality.learning_rate) == (0.01, (1e-3,))
