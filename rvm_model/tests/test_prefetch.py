"""Items come in order, a bounded number ahead, and no thread outlives its consumer."""

import threading
import time

import pytest

from rvm_model.video.prefetch import ahead


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def numbers(made, count=10):
    for k in range(count):
        made.append((k, threading.current_thread().name))
        yield k


def test_the_same_items_from_another_thread():
    made = []
    assert [*ahead(numbers(made), 2)] == [*range(10)]
    assert {name for _, name in made} == {"ahead"}


def test_no_more_are_made_than_may_wait():
    made = []
    items = ahead(numbers(made), 2)
    for k, item in enumerate(items):
        assert item == k
        time.sleep(0.02)
        assert len(made) <= k + 1 + 2 + 1


def test_the_producer_does_not_wait_for_the_consumer():
    made = []
    items = ahead(numbers(made), 2)
    next(items)
    end = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(made) == 4  # one was taken, two wait, one is being handed over
    items.close()


def test_an_exception_comes_after_the_items_before_it():
    def failing():
        yield 1
        raise KeyError("two")

    items = ahead(failing(), 2)
    assert next(items) == 1
    with pytest.raises(KeyError, match="two"):
        next(items)


@pytest.mark.parametrize("taken", [1, 9])
def test_a_consumer_that_stops_early_closes_the_items_in_their_thread(taken):
    closed = []

    def items():
        try:
            yield from range(10)
        finally:
            closed.append(threading.current_thread().name)

    made = ahead(items(), 2)
    for _ in range(taken):
        next(made)
    made.close()
    assert closed == ["ahead"]


def test_one_may_run_ahead_of_another():
    first = ahead(numbers([]), 1)
    second = ahead((item * 2 for item in first), 1)
    assert next(second) == 0
    second.close()
    first.close()
