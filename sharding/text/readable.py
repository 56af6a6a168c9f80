"""The text of a report as it was stored → the text that its author wrote, without markup and escapes.

In: one decoded text. Out: the text that is masked, cut and counted: the offsets of sentences are offsets into it. This
runs before the search for identities, so that no markup hides a name ("M<b>ill</b>er", or a soft hyphen inside it).
What cannot be undone is refused. Encodings are in `encoding`.
"""

from __future__ import annotations

import html
import re

from striprtf.striprtf import rtf_to_text

from sharding.contract import Reason, Rejected

# HTML elements that begin a line, and others that stand inside one; a word in angle brackets that is none of them
# ("<5 mg/l", "<name removed>") is text.
BLOCKS = r"""
    address|article|blockquote|body|br|center|dd|div|dl|dt|footer|form|h[1-6]|head|header|hr|html|li|main|ol|option|p|pre|
    section|table|tbody|td|tfoot|th|thead|title|tr|ul
"""
INLINE = "a|abbr|b|big|code|del|em|font|i|img|ins|label|mark|meta|nobr|o:p|s|small|span|strike|strong|sub|sup|tt|u|wbr"
ATTRIBUTES = r"\s+(?:nowrap|noshade|[\w:-]+\s*=[^<>]{0,4000})"
TAG = re.compile(rf"</?+(?:({''.join(BLOCKS.split())})|{INLINE})(?:\s*/?|{ATTRIBUTES})>", re.I)
# Between the names of columns, and before a number: cells of one row stay on one line (`table_rows`).
CELLS = re.compile(
    r"</th\s*>\s*<th(?:\s[^<>]{0,400})?>|</t[dh]\s*>\s*<td(?:\s[^<>]{0,400})?>(?=\s*[^<\w]{0,3}\d[^<]{0,20}</td)", re.I
)
HIDDEN = re.compile(r"<!--.*?-->|<!doctype[^<>]*>|<(script|style)\b[^<>]*>.*?</\1\s*>", re.I | re.S)
ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{1,7}|#x[0-9a-f]{1,6});", re.I)
# Tags that are left of XML or of an unknown dialect: nobody knows what they hide.
OTHER_MARKUP = re.compile(r"</[A-Za-z][\w.:-]*\s*>|<\?xml\b|<!\[CDATA\[|\{\\rtf|\\(?:pard|fonttbl|ansicpg)", re.I)

# HL7 v2, chapter 2.7: escapes between backslashes.
HL7 = re.compile(r"\\(?:(\.[a-z]{2}[+-]?\d*)|([HNFSTRE])|X((?:[0-9A-Fa-f]{2})+)|Z[^\\\n]{0,80}|[CM][0-9A-F]{4,6})\\")
HL7_SIGNS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}
# Office Open XML (ECMA-376, ST_Xstring): a control character in a cell.
OOXML = re.compile(r"_x([0-9A-Fa-f]{4})_")
# Line ends and tabs that a program wrote as two characters; a network path holds backslashes of its own.
WRITTEN_ESCAPE = re.compile(r"(\\\\[\w.-]+\\[^\s,;)]+)|\\r\\n|\\[nrt](?![a-z])|\\n(?=[a-z]{2})")
LINE_END = re.compile("\r(?!\n)|[\v\f\x1c-\x1e\x85\u2028\u2029]")
SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Invisible: soft hyphens, zero-width signs, marks of direction, byte order marks, control characters.
INVISIBLE = re.compile(
    "[\xad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\x01-\x08\x0e-\x1b\x7f]"
)
MAX_ROUNDS = 3  # markup inside markup: HTML in an HL7 field of a spreadsheet


def readable(text: str) -> str:
    """The text without markup, its lines ended by line feeds; unchanged if it has none of these.

    Raises Rejected(TEXT) for markup that cannot be undone and for NUL characters, a sign of a wrong encoding.
    """
    for _ in range(MAX_ROUNDS):
        undone = _undone(text)
        if undone == text:
            break
        text = undone
    text = INVISIBLE.sub("", SPACE.sub(" ", LINE_END.sub("\n", text)))
    if "\0" in text:
        raise Rejected(Reason.TEXT, "the report has a NUL character: damaged, or UTF-16 without a byte order mark")
    if OTHER_MARKUP.search(text):
        raise Rejected(Reason.TEXT, "markup that cannot be undone; convert the report to plain text")
    return text


def _undone(text: str) -> str:
    if text.lstrip("\ufeff \t\r\n").startswith("{\\rtf"):
        text = _without_rtf(text)
    if "\\" in text:
        text = WRITTEN_ESCAPE.sub(_written_escape, HL7.sub(_hl7, text))
    if "<" in text:
        text = TAG.sub(lambda tag: "\n" if tag[1] else "", CELLS.sub("\t", HIDDEN.sub("\n", text)))
    if "&" in text:
        text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return OOXML.sub(lambda sign: _control(int(sign[1], 16)), text) if "_x" in text else text


def _without_rtf(text: str) -> str:
    try:
        return str(rtf_to_text(text.lstrip("\ufeff"), errors="strict"))
    except Exception:  # the parser raises any type for damaged RTF
        raise Rejected(Reason.TEXT, "damaged RTF; convert the report to plain text") from None


def _hl7(escape: re.Match[str]) -> str:
    formatting, sign, data = escape.groups()
    if formatting:
        return "\n"
    if data:
        written = bytes.fromhex(data)
        try:
            return written.decode("utf-8")
        except UnicodeDecodeError:
            return written.decode("latin-1")
    return HL7_SIGNS.get(sign, "")


def _written_escape(escape: re.Match[str]) -> str:
    return escape[1] or ("\t" if escape[0] == "\\t" else "\n")


def _control(code: int) -> str:
    """A character that a spreadsheet escaped; a half of a surrogate pair stands for nothing."""
    return "" if 0xD800 <= code < 0xE000 else chr(code)
