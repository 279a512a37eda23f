from __future__ import annotations

import threading

from digitcam.edge.control import Control, SetNumber


def test_what_is_asked_for_is_taken_once_and_in_order() -> None:
    control = Control()
    assert control.taken() == (False, [])
    control.set_number("gas", "1")
    control.set_number("", "2.5")
    control.ask_reload()
    assert control.wake.is_set()
    assert control.taken() == (True, [SetNumber("gas", "1"), SetNumber("", "2.5")])
    assert not control.wake.is_set()
    assert control.taken() == (False, [])
    assert not control.stop


def test_to_stop_is_asked_for_for_good() -> None:
    control = Control()
    control.ask_stop()
    assert control.wake.is_set()
    control.taken()
    assert control.stop


def test_who_waits_is_woken_by_another_thread() -> None:
    for ask in ("ask_stop", "ask_reload"):
        control = Control()
        threading.Timer(0.01, getattr(control, ask)).start()
        assert control.wake.wait(30)


def test_nothing_is_lost_among_threads() -> None:
    control, threads, each = Control(), 4, 250
    taken: list[SetNumber] = []
    reloads = 0

    def ask(thread: int) -> None:
        for number in range(each):
            control.set_number(str(thread), str(number))
            control.ask_reload()

    asking = [threading.Thread(target=ask, args=(thread,)) for thread in range(threads)]
    for thread in asking:
        thread.start()
    while len(taken) < threads * each:
        assert control.wake.wait(30)
        reload, numbers = control.taken()
        reloads += reload
        taken += numbers
    for thread in asking:
        thread.join()
    reload, numbers = control.taken()
    assert numbers == []
    assert 1 <= reloads + reload <= threads * each
    for thread in range(threads):
        assert [int(number) for region, number in taken if region == str(thread)] == list(range(each))
