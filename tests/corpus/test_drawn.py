"""Numbers that are drawn: the same everywhere, for they are written down here."""

from pytest_maxact.corpus.drawn import Draw


def test_a_seed_and_a_name_decide_what_is_drawn() -> None:
    assert [Draw(0, "a").below(1000) for _ in range(2)] == [KNOWN[0]] * 2
    draw = Draw(0, "a")
    assert [draw.below(1000) for _ in range(10)] == KNOWN
    assert [Draw(1, "a").below(1000), Draw(0, "b").below(1000)] != [KNOWN[0], KNOWN[0]]


def test_all_of_a_range_is_drawn_and_nothing_beyond_it() -> None:
    draw = Draw(3, "range")
    found = [draw.below(5) for _ in range(400)]
    assert set(found) == set(range(5))
    assert max(found.count(number) for number in range(5)) < 120


def test_an_order_has_everything_once() -> None:
    order = Draw(7, "order").order(range(50))
    assert sorted(order) == list(range(50))
    assert order != list(range(50))


KNOWN = [100, 433, 38, 964, 976, 549, 259, 459, 990, 535]
