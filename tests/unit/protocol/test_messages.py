import math

from gpubench.core.findings import finding
from gpubench.core.records import Parity
from gpubench.protocol.messages import Result, decode, encode


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
