import threading
import time

import pytest

from digitcam.core.every import every


def test_it_is_done_again_and_again_and_no_more_afterwards() -> None:
    done: list[str] = []
    third = threading.Event()

    def do() -> None:
        done.append(threading.current_thread().name)
        if len(done) == 3:
            third.set()

    with every(0.01, do, "clock"):
        assert not done
        assert third.wait(10)
    count = len(done)
    assert set(done) == {"clock"}
    time.sleep(0.1)
    assert len(done) == count


def test_the_context_waits_for_a_call_that_has_begun() -> None:
    began, ended = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        time.sleep(0.2)
        ended.set()

    with every(0.001, slow, "slow"):
        assert began.wait(10)
    assert ended.is_set()


def test_an_error_within_ends_it_too() -> None:
    with pytest.raises(ValueError, match="within"), every(60, lambda: None, "clock"):
        raise ValueError("within")
    assert "clock" not in {thread.name for thread in threading.enumerate()}
