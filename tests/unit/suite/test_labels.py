from hypothesis import given
from hypothesis import strategies as st

from gpubench.suite.cases.labels import label_cases
from gpubench.suite.model.case import Case


def test_a_label_names_only_what_varies_in_the_order_of_a_case():
    cases = [
        Case(mode=mode, device=device, precision=precision, batch_size=64, memory_format=layout)
        for mode in ("train", "infer")
        for device in ("cpu", "cuda")
        for precision in ("fp32", "amp-bf16")
        for layout in ("NCHW", "NHWC")
    ]
    labels = label_cases(cases)
    assert labels[0] == "train cpu fp32 NCHW"
    assert labels[-1] == "infer cuda amp-bf16 NHWC"
    assert "train cpu amp-bf16 b64 NHWC" in label_cases([*cases, Case(batch_size=32)])


def test_a_case_alone_gets_what_it_is():
    assert label_cases([Case()]) == ("cnn train cpu fp32 b64",)
    assert label_cases([]) == ()


def test_equal_cases_are_told_apart_all_the_same():
    first, second, other = label_cases([Case(), Case(), Case(mode="infer")])
    assert len({first, second, other}) == 3
    assert other == "infer"


def test_what_is_off_by_default_is_named_where_it_is_on():
    cases = [
        Case(compile="default", cpu_threads=2),
        Case(num_workers=4),
        Case(env={"B": "2", "A": "1"}),
        Case(cudnn_benchmark=True, fused=True, cuda_graph=True),
        Case(),
    ]
    assert label_cases(cases) == (
        "heur. compile=default threads=2",
        "heur. w4",
        "heur. A=1,B=2",
        "bench graph fused",
        "heur.",
    )


def test_no_label_is_empty():
    assert label_cases([Case(), Case(compile="default")]) == ("compile=off", "compile=default")


def test_a_long_word_is_shortened_and_stays_apart():
    labels = label_cases(
        [Case(env={"X": "y" * 100 + end}) for end in "ab"] + [Case(env={"X": "y" * 50 + "z" * 50 + "a"})]
    )
    assert len(set(labels)) == 3
    assert all(len(label) < 60 for label in labels)


some_cases = st.builds(
    Case,
    mode=st.sampled_from(["train", "infer"]),
    precision=st.sampled_from(["fp32", "tf32", "bf16"]),
    batch_size=st.sampled_from([1, 64, "max"]),
    shape=st.sampled_from([None, "64x64x64", "256MiB"]),
    learning_rate=st.sampled_from([1e-3, 1.0000001e-3, 0.1]),
    image_size=st.sampled_from([None, 28]),
    cuda_graph=st.booleans(),
    env=st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["", "1", "A=1"]), max_size=2),
    python=st.sampled_from([None, "python", "/a/python"]),
)


@given(st.lists(some_cases, max_size=12))
def test_no_two_labels_are_equal(cases):
    labels = label_cases(cases)
    assert len(labels) == len(cases)
    assert len(set(labels)) == len(labels)
    assert all(label.strip() == label and label for label in labels)
