import math

from gpubench.core.findings import finding
from gpubench.core.records import Parity
from gpubench.protocol.messages import Failed, Result, decode, encode


def test_what_is_not_finite_arrives():
    """An output of NaN is what a result is about, and must not cost its row."""
    parity = Parity(passed=False, logits_rel_error=math.inf, loss_rel_error=-math.inf, logits_limit=0.1, loss_limit=0.1)
    sent = Result(
        parity=parity,
        metrics={"throughput": math.inf, "latency_s": None},
        step_times_s=(math.nan,),
        findings=(finding("GB305", "It differs.", logits=math.inf),),
    )
    got = decode(encode(sent))
    assert got.parity == parity
    assert got.metrics == sent.metrics
    assert math.isnan(got.step_times_s[0])
    assert float(got.findings[0].data["logits"]) == math.inf


def test_the_name_of_a_file_that_is_not_unicode_costs_no_row():
    """The name is bytes, and Python gives those that are not UTF-8 as half characters, which JSON does not take."""
    sent = Failed(status="failed", reason="no file caf\udce9", effective=None)
    assert decode(encode(sent)).reason == "no file caf\\udce9"
    read = Result(metrics={"throughput": math.inf}, imported=("caf\udce9",), step_times_s=(math.nan,))
    got = decode(encode(read))
    assert (got.imported, got.metrics) == (("caf\\udce9",), {"throughput": math.inf})
    assert math.isnan(got.step_times_s[0])
