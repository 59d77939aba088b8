"""Watched steps with operators that call others."""

import pytest
import torch
from torch._higher_order_ops.out_dtype import out_dtype

from gpubench.worker.checks.work_counts import ByteCounter
from gpubench.worker.workloads.watched_steps import Observer, observe, traceable


def product():
    int8 = torch.ones(16, 16, dtype=torch.int8)
    return out_dtype(torch.ops.aten.mm.default, torch.int32, int8, int8)


def chosen():
    values = torch.ones(8, 8)
    with torch.no_grad():
        return torch.cond(values.sum() > 0, torch.mm, torch.add, (values, values))


def test_products_inside_of_out_dtype_are_seen():
    facts = observe(product)
    assert set(facts["extra"]["product_dtypes"]) == {"int32"}
    assert "unseen_operators" not in facts["extra"]


def test_an_operator_that_hides_what_it_runs_is_not_seen():
    facts = observe(chosen)
    assert facts["extra"]["unseen_operators"] == ["cond"]
    assert facts["compute_dtype"] is None


def refuses_to_be_watched():
    if isinstance(torch.utils._python_dispatch._get_current_dispatch_mode(), Observer):
        raise NotImplementedError("not with a mode\nat all")
    return torch.ones(8, 8) @ torch.ones(8, 8)


def test_a_step_that_cannot_be_watched_is_not_seen_and_its_own_errors_are():
    facts = observe(refuses_to_be_watched)
    assert facts["compute_dtype"] is None
    assert facts["extra"] == {"unwatched": "NotImplementedError: not with a mode"}
    assert not traceable(refuses_to_be_watched)
    with pytest.raises(ValueError, match="its own"):
        observe(fails)


def fails():
    raise ValueError("its own")


def test_a_watched_step_takes_the_way_of_an_unwatched_one():
    """torchao computes in float32 where `out_dtype` raises."""
    for mode in (Observer(), ByteCounter()):
        with mode:
            assert torch.equal(product(), torch.full((16, 16), 16, dtype=torch.int32))


def test_bytes_of_higher_order_operators_are_counted():
    with ByteCounter() as counter:
        chosen()
    assert counter.num_bytes >= 3 * 64 * 4
