"""Bodies whose beginning differs, compressed once."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from fhirserver.interactions.capabilities.packed import Tail, join

TEXT = st.binary(max_size=3000) | st.text(alphabet='{}":,abc', max_size=3000).map(str.encode)


@given(TEXT, TEXT)
def test_gzip_is_the_body(head: bytes, tail: bytes) -> None:
    made = join(head, Tail.of(tail))
    assert made.body == head + tail
    assert gzip.decompress(made.gzip) == made.body
    # One member: clients that stop after the first have everything.
    member = zlib.decompressobj(31)
    assert member.decompress(made.gzip) == made.body
    assert member.eof and member.unused_data == b""


@given(TEXT, TEXT, TEXT)
def test_the_tag_tells_bodies_apart(one: bytes, other: bytes, tail: bytes) -> None:
    same = join(one, Tail.of(tail)).etag == join(other, Tail.of(tail)).etag
    assert same == (one == other)


def test_only_the_head_is_compressed_again() -> None:
    tail = Tail.of(bytes(range(256)) * 4000)
    assert join(b"{", tail).gzip[13:-8].endswith(tail.deflated)
