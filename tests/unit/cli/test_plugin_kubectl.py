from __future__ import annotations

import json

from cli.kubectl import documents


def test_watch_may_split_a_character() -> None:
    """A read ends after any byte."""
    expected = [{"message": "größer"}, {"message": "€"}]
    text = "\n".join(json.dumps(each, ensure_ascii=False) for each in expected).encode()
    assert list(documents(bytes([each]) for each in text)) == expected
