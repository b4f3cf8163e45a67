"""Keyed hashes, held to the standard library's HMAC."""

import hashlib
import hmac

from hrloop import keyed
from hypothesis import given
from hypothesis import strategies as st


@given(key=st.text(max_size=80), prefix=st.text(max_size=9), messages=st.lists(st.binary(max_size=80)))
def test_it_is_the_hmac_of_prefix_and_message(key, prefix, messages):
    hashed = keyed.hasher(key, prefix)
    for message in messages:
        expected = hmac.digest(key.encode(), prefix.encode() + message, hashlib.sha256)
        assert hashed(message) == expected
