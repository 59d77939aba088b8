from gpubench.suite.cases.expand import quality_cases
from gpubench.suite.load import load_suite

BODY = """\
defaults: {data: digits, optimizer: sgd}
matrix:
  mode: [train, infer]
  device: [cpu, cuda]
  precision: [fp32, amp-bf16]
  batch_size: [128, 256]
  compile: ["off", default]
  data_path: [resident, loader]
quality: {epochs: 2, batch_size: 32, optimizer: adamw, learning_rate: [0.01, 0.001]}
"""


def test_one_training_for_each_device_and_precision(parsed):
    loaded = parsed(BODY)
    assert [(case.device, case.precision) for case in loaded.quality_cases] == [
        ("cpu", "fp32"),
        ("cpu", "amp-bf16"),
        ("cuda", "fp32"),
        ("cuda", "amp-bf16"),
    ]


def test_it_has_the_settings_of_the_quality_section_and_nothing_that_is_only_about_speed(parsed):
    for case in parsed(BODY, "accumulate=4", "cuda_graph=on", "num_workers=3").quality_cases:
        assert (case.mode, case.data, case.batch_size, case.optimizer, case.learning_rate) == (
            "train",
            "digits",
            32,
            "adamw",
            0.01,
        )
        assert (case.compile, case.cuda_graph, case.data_path, case.num_workers, case.accumulate) == (
            "off",
            False,
            "resident",
            0,
            1,
        )


def test_what_changes_accuracy_is_trained_apart(parsed):
    assert len(parsed(BODY, "image_size=28,32").quality_cases) == 8
    assert len(parsed(BODY, "env={A: 0},{A: 1}").quality_cases) == 8
    assert len(parsed(BODY, "cudnn_benchmark=on,off", "memory_format=NCHW,NHWC", "fused=on,off").quality_cases) == 4


def test_its_own_data_goes_before_that_of_the_cases(parsed):
    loaded = parsed("quality: {data: digits}")
    assert loaded.cases[0].data == "synthetic"
    assert [case.data for case in loaded.quality_cases] == ["digits"]


def test_there_is_none_without_the_section_or_without_training(parsed):
    assert parsed(BODY, "quality=off").quality_cases == ()
    assert parsed(BODY, "mode=infer").quality_cases == ()


def test_a_part_of_the_cases_gives_a_part_of_the_trainings():
    loaded = load_suite("cnn")
    on_cpu = [case for case in loaded.cases if case.device == "cpu"]
    assert [case.precision for case in quality_cases(loaded.suite, on_cpu)] == ["fp32", "amp-bf16"]
