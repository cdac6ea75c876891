"""What an error's codes and words mean: which class of error it is.

The rows of the tables come from the recordings in docs/explanation/wire-formats.md and from the providers' pages
named there. Codes count before words, since words change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """What an error body says, found in whichever shape it has."""

    words: str
    """The server's own sentence; empty when it said nothing."""
    marks: str
    """Codes, types, statuses and the parameter named, lower case, separated by spaces."""
    status: int | None = None
    """A status that the body itself gives: OpenRouter and Gemini put one into a 200."""

    @property
    def all(self) -> str:
        """Codes and words together, lower case."""
        return f"{self.marks} {self.words.lower()}"


STATUS_OF_MARK = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "billing_error": 402,
    "insufficient_quota": 429,
    "not_found_error": 404,
    "not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "exceed_context_size_error": 400,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""For an error inside a 200, which has no status of its own."""

KEY_REFUSED = re.compile(
    r"invalid_api_key|api_key_invalid|authentication_error|unauthenticated"
    r"|(invalid|incorrect|wrong|missing|expired|revoked|malformed|no) (x-)?(api|auth\w*)[ _-]?(key|token)"
    r"|api[ _-]?key\b.{0,40}\b(invalid|incorrect|expired|revoked|missing|required|not valid|not found|not provided)"
)
QUOTA_MARK = re.compile(
    r"insufficient_quota|billing|insufficient_(balance|credits?|funds)|quota_exceeded|credits_exhausted"
)
QUOTA_WORDS = re.compile(
    r"exceeded your current quota|insufficient (balance|credits?|funds|quota)|(credit|account) balance|out of credits?"
    r"|credits? (are |is |have been |has been )?(exhausted|used up|depleted|too low)|payment required|billing"
    r"|(requires|need) more credits|recharge|top up"
)
CONTEXT_LENGTH = re.compile(
    r"context_length_exceeded|exceed_context_size|context_window_exceeded|string_above_max_length"
    r"|maximum context length|context (length|size|window)\b.{0,60}\b(exceed|too|limit|maximum|reached)"
    r"|(exceed\w*|larger than|longer than|beyond|overflow\w*)\b.{0,60}\bcontext (length|size|window)"
    r"|prompt is too long|prompt (length|is)\b.{0,40}\bexceed|input (length|is|token count)\b.{0,60}\b(exceed|too long)"
    r"|too many (input |prompt )?tokens|reduce the length of the (messages|prompt|input)|input is too long"
    r"|must have less than \d+ tokens|max_prompt_tokens"
)
CONTENT_FILTER = re.compile(
    r"content[ _-]?(filter|policy|management|moderation|safety)|responsibleai|data_inspection_failed"
    r"|safety (system|filter)"
    r"|flagged (by|as|for)|moderation|prohibited_content|violat\w+ .{0,40}(policy|policies|terms|guidelines)"
    r"|inappropriate content|sensitive content"
)
MODEL_MISSING = re.compile(
    r"model_not_found|model_not_exist|invalid_model|unknown_model|modelnotfound|model_not_supported|unknown model"
    r"|(model|deployment)\b.{0,120}\b(not found|does not exist|doesn't exist|not exist|no longer|not available"
    r"|is unknown"
    r"|is not (a valid|supported|available|found|served)|not_found|unavailable|decommissioned|deprecated)"
    r"|(no such|invalid|unrecognized) model|no (available )?model\b|not a valid model|no endpoints found"
)
UNSUPPORTED = re.compile(
    r"unsupported|not[ _]supported|unknown_parameter|unrecognized (request )?(argument|field|parameter)"
    r"|(does|do) ?n[o']t support|no support for|is not (allowed|permitted|implemented)|extra (inputs|fields)"
    r"|unknown (field|parameter|argument|name)|unexpected keyword|cannot be used with|is not enabled"
    r"|requires? (the )?--(enable|jinja)|no endpoints found that support"
)
IMAGE_REFUSED = re.compile(
    r"(image|vision|multimodal|audio|file) input\w* (is|are) not supported|mmproj|image_url.{0,40}not"
)
OVERLOADED = re.compile(r"overloaded|no capacity|at capacity|capacity_exceeded|engine_overloaded|model_overloaded")


def status_of_marks(marks: str) -> int | None:
    """The status that a body's type or code stands for, when it gives none as a number."""
    for mark in marks.split():
        if mark in STATUS_OF_MARK:
            return STATUS_OF_MARK[mark]
    return None


def as_status(code: Any) -> int | None:
    """An HTTP status from a `code`, which may be an int, or a number in a string, or something else."""
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return code
    return None
