"""Which results are still to be computed."""

import asyncio
import functools
import itertools
from concurrent.futures import Future
from multiprocessing.pool import ThreadPool

import pytest
import torch

from gpubench.core.deferred import deferred, makes_deferred


async def coroutine():
    await asyncio.sleep(0)


async def async_generator():
    yield 1


def generator():
    yield 1


class Awaited:
    async def __call__(self):
        pass


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (coroutine, "a coroutine"),
        (generator, "a generator"),
        (async_generator, "a generator"),
        (lambda: map(int, []), "an iterator (map)"),
        (lambda: filter(None, []), "an iterator (filter)"),
        (lambda: zip([], strict=True), "an iterator (zip)"),
        (lambda: itertools.chain([]), "an iterator (chain)"),
        (Future, "a future (Future)"),
        (torch.futures.Future, "a future (Future)"),
        (lambda: generator, "a function"),
        (lambda: functools.partial(int), "a function"),
        (lambda: [1, coroutine()], "a coroutine"),
        (lambda: {"loss": (generator(),)}, "a generator"),
    ],
)
def test_what_is_still_to_be_computed_is_named(make, kind):
    assert deferred(make()) == kind


def test_an_asynchronous_result_of_a_pool_is_a_future():
    with ThreadPool(1) as pool:
        assert deferred(pool.apply_async(int)) == "a future (ApplyResult)"


@pytest.mark.parametrize(
    "result",
    [None, 1.5, "text", torch.ones(3), [1, 2], {"a": torch.ones(1)}, range(3), torch.nn.Linear(1, 1), object()],
)
def test_a_finished_result_is_not(result):
    assert deferred(result) is None


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (coroutine, "a coroutine"),
        (functools.partial(coroutine), "a coroutine"),
        (Awaited(), "a coroutine"),
        (generator, "a generator"),
        (async_generator, "a generator"),
        (int, None),
        (torch.nn.Linear(1, 1), None),
        (lambda: 1, None),
    ],
)
def test_a_function_that_only_makes_such_results_is_told_by_its_kind(function, kind):
    assert makes_deferred(function) == kind
