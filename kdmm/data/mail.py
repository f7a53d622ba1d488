"""What a reader sees of an e-mail."""

from __future__ import annotations

import html
import re
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message

__all__ = ["mail_text", "text_of_html"]

UNSEEN = re.compile(r"<(script|style|title)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"<[^>]*>")


def mail_text(data: bytes) -> str:
    """Return an e-mail's subject, and after a line's end its text on one line.

    The text is all plain parts, or without one all parts in HTML, without markup. What is not in the character set that
    it says, or in a set that Python does not know, is read as Latin-1 or with replacement characters: unwanted mails
    are often broken.

    Args:
        data: the mail with its header, as it was sent.
    """
    mail = message_from_bytes(data)
    texts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    plain = [part for part in texts if part.get_content_subtype() != "html"]
    body = " ".join(" ".join(_content(part) for part in plain or texts).split())
    return "\n".join(part for part in (_subject(mail), body) if part)


def text_of_html(markup: str) -> str:
    """Return what a browser would show of HTML, about: without tags, scripts and comments, and with its characters."""
    return html.unescape(TAG.sub(" ", UNSEEN.sub(" ", markup)))


def _subject(mail: Message) -> str:
    written = str(mail.get("Subject", ""))
    try:
        parts = decode_header(written)
    except HeaderParseError:  # damaged base64
        return " ".join(written.split())
    texts = [part if isinstance(part, str) else _decoded(part, charset) for part, charset in parts]
    return " ".join("".join(texts).split())


def _content(part: Message) -> str:
    data = part.get_payload(decode=True)
    text = _decoded(data, part.get_content_charset()) if isinstance(data, bytes) else ""
    return text_of_html(text) if part.get_content_subtype() == "html" else text


def _decoded(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "latin-1", "replace")
    except (LookupError, UnicodeError):
        return data.decode("latin-1")
