# SPDX-License-Identifier: GPL-2.0-only
"""The one place that makes text from tests, guests and kernels fit for every reader.

`clean` is applied when a text enters the model. `defuse` is applied by the line formats on
top of it, because some kernel CIs search whole logs for words.
"""

from __future__ import annotations

import re

TEXT_LIMIT = 1 << 20
"""Characters of one log that the journal keeps: more is cut out of its middle."""

LINE_LIMIT = 2_000
"""Characters of a message or a reason, which stand on one line everywhere; the log has the whole text."""

# ECMA-48 escape sequences: CSI, then the strings (OSC, DCS, SOS, PM, APC), then two- and
# three-character ones. Removing only ESC would leave "[31m".
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Only colours: they mean nothing to a reader, and every tool writes them.
_COLOUR = re.compile(r"(?:\x1b\[|\x9b)[0-9;:]*m")
# Characters that direct others, of no width, or that change the order of what is read: Unicode's
# category Cf, the fillers of Hangul, and selectors of variants.
_INVISIBLE = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
# What XML 1.0 forbids, what terminals act on, noncharacters, and what is invisible; tab and LF stay.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + _INVISIBLE
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17))
    + "]"
)
_SUSPECT = re.compile(_FORBIDDEN.pattern[:-1] + "\u2028\u2029]")
_NEWLINES = re.compile("\r\n?|[\u2028\u2029]")
_SPACES = re.compile(r"\s+")

_WORDS = r"SKIP|TODO|XFAIL|XPASS|TIMEOUT|ERROR|Subtest:|not ok|time="
_OPENINGS = r"(?:not )?ok\b|\d+\.\.\d+|K?TAP version|Bail out!|Subtest:"

# Texts that a kernel CI's reader acts on wherever they stand (reporting facts, 1.8). A zero
# width joiner would hide the cure from people, so the words are visibly taken apart.
_TRIGGERS = (
    (re.compile(r"\[(FAIL|SKIP)\]", re.IGNORECASE), r"(\1)"),
    (re.compile(r"\b(FAIL|SKIP):"), r"\1 -"),
    (re.compile(rf"#(?=\s*(?:{_WORDS}))", re.IGNORECASE), "(hash)"),
    (re.compile(rf"^(?=\s*(?:{_OPENINGS}))", re.MULTILINE), "| "),
    (re.compile(r"reboot: System halted"), "reboot - System halted"),
    (re.compile(r"List of all partitions:"), "List of all partitions -"),
    (re.compile(r"Kernel panic - not syncing: VFS:"), "Kernel panic - not syncing - VFS -"),
    (re.compile(r"<(?=LAVA_)"), "(less)"),
)
# The same in a shell's command, where the cure must not change a word: '' adds nothing to one, in
# single quotes (which it ends and begins again) and outside of quotes.
_IN_A_COMMAND = (
    (re.compile(r"\[(?=(?:FAIL|SKIP)\])", re.IGNORECASE), "[''"),
    (re.compile(r"(?<=\bFAIL|\bSKIP)(?=:)"), "''"),
    (re.compile(rf"#(?=\s*(?:{_WORDS}))", re.IGNORECASE), "#''"),
    (re.compile(r"(?<=reboot)(?=: System halted)|(?<=List of all partitions)(?=:)"), "''"),
    (re.compile(r"(?<=Kernel panic - not syncing)(?=: VFS:)"), "''"),
    (re.compile(r"<(?=LAVA_)"), "<''"),
)
_ANY_TRIGGER = re.compile(
    r"#|\[fail\]|\[skip\]|fail:|skip:|\bok\b|\.\.|tap version|bail out|subtest:"
    r"|reboot:|partitions:|vfs:|<lava_",
    re.IGNORECASE,
)


# What `_ANY_TRIGGER` needs at least: looking for these costs a tenth of the expression's search.
_TRIGGER_PARTS = (
    "#", "ok", "..", "fail:", "skip:", "[fail]", "[skip]", "tap version", "bail out", "subtest:",
    "reboot:", "partitions:", "vfs:", "<lava_",
)  # fmt: skip


def clean(text: str) -> str:
    r"""Return *text* with every character that acts, or is invisible, shown escaped.

    These are controls, surrogates, noncharacters and format characters (zero-width ones, and
    those that turn the direction): ``\x1b]52;`` and ``\u202e`` for a reader of any report.
    Colours are left out, and every line end becomes LF. What comes back is legal in XML 1.0,
    JSON and on a terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    if _SUSPECT.search(text) is None:
        return text
    return _FORBIDDEN.sub(_escaped, _NEWLINES.sub("\n", _COLOUR.sub("", text)))


def strip(text: str) -> str:
    """Return *text* without escape sequences, for readers of logs in which they hide a line's beginning."""
    return _ESCAPE.sub("", text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str) -> str:
    """Return *text* cleaned, on one line, every run of white space one space."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return _SPACES.sub(" ", clean(text)).strip()


def clip(text: str, limit: int) -> str:
    """Return *text* if it has at most *limit* characters, else its two ends and what is missing.

    The result may be up to 40 characters longer than *limit*.
    """
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    return f"{text[:head]}\n… {len(text) - limit} characters left out …\n{text[-tail:]}"


def clip_line(text: str, limit: int) -> str:
    """Return *text* if it has at most *limit* characters, else its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cut_line(line: str, log: str) -> tuple[str, str]:
    """Return *line* no longer than `LINE_LIMIT`, and *log*, which has the whole of a line that was cut."""
    if len(line) <= LINE_LIMIT:
        return line, log
    whole = log if line in log else clip(f"{line}\n{log}", TEXT_LIMIT)
    return clip_line(line, LINE_LIMIT), whole


def defuse(text: str) -> str:
    """Return the clean *text* without anything that a kernel CI's log search acts on."""
    if text.isascii():
        lower = text.lower()
        if not any(part in lower for part in _TRIGGER_PARTS):
            return text
    if _ANY_TRIGGER.search(text) is None:
        return text
    for pattern, cure in _TRIGGERS:
        text = pattern.sub(cure, text)
    return text


def defuse_command(command: str) -> str:
    """Return the shell *command* as `defuse` would, but so that a shell still runs the same.

    *command* is words that shlex quoted: what is quoted stands in single quotes.
    """
    for pattern, cure in _IN_A_COMMAND:
        command = pattern.sub(cure, command)
    return command
