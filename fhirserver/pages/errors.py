"""What keeps a page from doing what was asked, told to people."""

from __future__ import annotations


class Trouble(Exception):
    """A page with `status` that says what is wrong (`title`) and what to do about it (`text`)."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.text = text
