"""A page of a given size: what is fixed is there, rows as many as fit, and how many do not."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.report.markdown.fitting import Part, fitted

PARTS = st.lists(
    st.builds(
        lambda fixed, rows: Part(fixed=fixed, rows=rows, what="row"),
        st.lists(st.text("ab\u00e9", max_size=9), max_size=3),
        st.lists(st.text("cd\u20ac", min_size=1, max_size=40), max_size=40),
    ),
    max_size=4,
)


@given(PARTS, st.integers(600, 4000))
def test_it_is_never_larger_and_counts_what_it_leaves_out(parts: list[Part], most: int) -> None:
    page = fitted(parts, most)
    assert len(page.encode()) <= most
    lines = page.split("\n")
    left = sum(int(line.split()[2]) for line in lines if line.startswith("... and "))
    rows = [line for line in lines if line and set(line) <= set("cd\u20ac")]
    assert len(rows) + left == sum(len(part.rows) for part in parts)
    assert all(text in lines for part in parts for text in part.fixed)


def test_earlier_parts_have_their_rows_first() -> None:
    parts = [Part(rows=["x" * 50] * 10, what="check"), Part(fixed=["head"], rows=["y" * 50] * 10, what="scheme")]
    page = fitted(parts, 900)
    assert page.count("x" * 50) == 10
    assert 0 < page.count("y" * 50) < 10
    assert f"... and {10 - page.count('y' * 50)} more schemes, for which there is no room here" in page
    assert "head" in page


def test_no_part_is_crowded_out_by_those_before_it() -> None:
    many = Part(rows=["x" * 50] * 100, what="check", which=("that does not hold", "that do not hold"))
    page = fitted([many, Part(rows=["not measured", "disk full"], what="fault")], 900)
    assert "\nnot measured\ndisk full\n" in page
    left = 100 - page.count("x" * 50)
    assert 50 < left < 100
    assert f"... and {left} more checks that do not hold, for which there is no room here" in page


def test_what_fits_is_all_there() -> None:
    assert fitted([Part(fixed=["a"], rows=["b"], what="row")], 10_000) == "a\nb\n"
