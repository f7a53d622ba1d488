import pytest

from kdmm.data.mail import mail_text, text_of_html

PLAIN = b"""From someone@example.org  Tue Aug  6 11:52:20 2002
Return-Path: <list@example.org>
List-Id: secret list
Subject: Re: [List] =?ISO-8859-1?Q?Caf=E9?= at
  noon
Content-Type: text/plain; charset=ISO-8859-15

Only   10 \xa4
a day.
"""
BOTH = b"""Subject: offer
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="x"

--x
Content-Type: text/plain
Content-Transfer-Encoding: quoted-printable

plain =
text
--x
Content-Type: text/html

<b>markup</b>
--x--
"""
HTML = b"""Subject: =?utf-8?B?4oKsIGZvciBhbGw=?=
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PGh0bWw+PHN0eWxlPmIge308L3N0eWxlPkJ1eSA8Yj5ub3c8L2I+PCEtLSBubyAtLT4gJmVhY3V0ZTs8L2h0bWw+
"""


def test_the_header_is_left_out_but_for_the_subject():
    assert mail_text(PLAIN) == "Re: [List] Café at noon\nOnly 10 € a day."


def test_plain_text_goes_before_html():
    assert mail_text(BOTH) == "offer\nplain text"


def test_html_is_read_as_a_browser_shows_it():
    assert mail_text(HTML) == "€ for all\nBuy now é"
    assert " ".join(text_of_html("<SCRIPT>a < b</script>x<br>y &lt;z&gt;<title>t</title>").split()) == "x y <z>"


@pytest.mark.parametrize(
    ("mail", "text"),
    [
        (b"Subject: x\nContent-Type: text/plain; charset=no-such-set\n\n\xe9t\xe9", "x\n\xe9t\xe9"),
        (b"Subject: =?no-such-set?Q?=E9?=\n\ny", "\xe9\ny"),
        (b"Subject: =?utf-8?B?a?=\n\ny", "=?utf-8?B?a?=\ny"),  # damaged base64
        (b"Subject: x\nContent-Type: text/plain; charset=utf-8\n\n\xff", "x\n\N{REPLACEMENT CHARACTER}"),
        (b"Subject: only\nContent-Type: image/png\n\nabc", "only"),
        (b"\n no subject ", "no subject"),
        (b"", ""),
    ],
)
def test_broken_mails_are_read_as_far_as_they_go(mail, text):
    assert mail_text(mail) == text
