"""A set of hashes behaves like a set."""

from __future__ import annotations

from hypothesis import given, strategies as st

from jidocode.session.conversation.hash_set import HashSet

HASHES = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), -1, 0, 2**63 - 1])


@given(st.lists(HASHES), st.lists(HASHES), st.lists(HASHES))
def test_it_has_what_it_was_given(first: list[int], added: list[int], others: list[int]) -> None:
    """At once or one by one, and nothing else."""
    found = HashSet(first)
    for value in added:
        found.add(value)
    for value in (*first, *added, *others):
        assert (value in found) == (value in {*first, *added})
