import pytest
from pydantic import ValidationError

from gpubench.protocol.messages import decode
from gpubench.runner.launch.job_pipe import why_no_message


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"type": "result", "metrics": {"a": "x"}}', "result.metrics.a: Input should be a valid number"),
        (b"Segmentation fault", "Invalid JSON: "),
    ],
)
def test_what_is_no_message_is_told_with_its_place(line, why):
    with pytest.raises(ValidationError) as caught:
        decode(line)
    assert why_no_message(caught.value).startswith(why)
