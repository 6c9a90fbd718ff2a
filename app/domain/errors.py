"""Every error of the house.

What a caller may be told (`ReelayError`; each class carries its HTTP status, type and code):

    ReelayError
    ├── InvalidRequest            400  the request is wrong; `param` names the field
    │   └── UnknownModel          400
    ├── AuthenticationFailed      401
    ├── PermissionDenied          403  a scope is missing
    ├── NotFound                  404  also another project's
    ├── MethodNotAllowed          405
    ├── RequestTimeout            408  the body did not arrive in time
    ├── Conflict                  409  the job's state does not allow it
    ├── Gone                      410  it was deleted
    ├── PayloadTooLarge           413
    ├── UnsupportedMedia          415
    ├── RangeNotSatisfiable       416
    ├── IdempotencyMismatch       422  the idempotency key stands for another request
    ├── RateLimited               429  carries `retry_after`
    ├── InsufficientQuota         429  the project's budget has no room
    ├── ServerError               500
    └── Unavailable               503  database or storage is away; carries `retry_after`

What the upstream client tells the workers (`UpstreamFailure`); no caller ever sees one raw:

    UpstreamFailure
    ├── NotSent                   the request certainly did not leave: nothing was bought
    ├── Refused                   a definite no, with its `Refusal`: nothing was bought
    ├── Unconfirmed               a paid request left and nobody knows: something may have been bought
    └── FetchFailed               a free read failed; ask again later
        └── GenerationUnknown     a fetch answered 404: lost, or not visible yet

What goes wrong with bytes (`MediaError`):

    MediaError
    ├── NotAnImage                an upload that does not decode; becomes a 400
    ├── NotAClip                  an uploaded video or sound that does not decode; becomes a 400
    ├── NotAVideo                 a result that is no playable video
    ├── DownloadFailed            a result URL could not be read; `gone` when it will not come back
    │   └── AddressRefused        the address is not one we may call
    └── StorageFailed             our own storage is away or full: a hold, never a failed job

`ProviderFailed` stands alone: the identity provider's keys can't be read.
"""

from enum import StrEnum


class ReelayError(Exception):
    """Base of what a caller may be told. `message` is a sentence that says what to do."""

    status: int = 500
    type: str = "server_error"
    code: str = "server_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param
        self.retry_after = retry_after
        self.headers = headers or {}


class InvalidRequest(ReelayError):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class UnknownModel(InvalidRequest):
    code = "unknown_model"


class AuthenticationFailed(ReelayError):
    status, type, code = 401, "authentication_error", "invalid_api_key"


class PermissionDenied(ReelayError):
    status, type, code = 403, "permission_error", "missing_scope"


class NotFound(ReelayError):
    status, type, code = 404, "not_found_error", "not_found"


class MethodNotAllowed(ReelayError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class RequestTimeout(ReelayError):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class Conflict(ReelayError):
    status, type, code = 409, "conflict_error", "conflict"


class Gone(ReelayError):
    status, type, code = 410, "not_found_error", "gone"


class PayloadTooLarge(ReelayError):
    status, type, code = 413, "invalid_request_error", "payload_too_large"


class UnsupportedMedia(ReelayError):
    status, type, code = 415, "invalid_request_error", "unsupported_media_type"


class RangeNotSatisfiable(ReelayError):
    status, type, code = 416, "invalid_request_error", "range_not_satisfiable"


class IdempotencyMismatch(ReelayError):
    status, type, code = 422, "idempotency_error", "idempotency_key_reused"


class RateLimited(ReelayError):
    status, type, code = 429, "rate_limit_error", "rate_limited"


class InsufficientQuota(ReelayError):
    status, type, code = 429, "insufficient_quota", "insufficient_quota"


class ServerError(ReelayError):
    """Something broke on our side."""


class Unavailable(ReelayError):
    status, type, code = 503, "server_error", "unavailable"


class Refusal(StrEnum):
    """Why the upstream said a definite no."""

    INVALID_INPUT = "invalid_input"
    BAD_KEY = "bad_key"
    FORBIDDEN = "forbidden"
    """A 403 whose reason nobody has looked into."""
    OUT_OF_CREDITS = "out_of_credits"
    """A 403, and the balance does not cover the job."""
    MODEL_FORBIDDEN = "model_forbidden"
    """A 403, although key and balance are well: it means the model."""
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    LOGGED_AS_FAILED = "logged_as_failed"
    """The answer was lost, and the upstream's log lists the request as failed, which it bills nothing for."""
    COST_LIMIT = "cost_limit"
    """Our own: the price has risen above what its caller or its project allows."""
    NOT_CREATED = "not_created"
    """An operator has looked and says that nothing was bought."""


class UpstreamFailure(Exception):
    """Base of what the upstream client raises.

    `message` is cleaned text (see `domain.text.clean`), safe to store and to show.
    `http_status` is None when no answer was read; `retry_after_seconds` is what the upstream asked for.
    """

    def __init__(
        self, message: str, *, http_status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds


class NotSent(UpstreamFailure):
    """The request certainly never left this machine."""


class Refused(UpstreamFailure):
    """The upstream answered with a definite no; nothing was bought."""

    def __init__(
        self, message: str, *, refusal: Refusal, http_status: int, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, http_status=http_status, retry_after_seconds=retry_after_seconds)
        self.refusal = refusal


class Unconfirmed(UpstreamFailure):
    """A paid request left and its outcome is unknown. Never post it again."""


class FetchFailed(UpstreamFailure):
    """A free read failed for now."""


class GenerationUnknown(FetchFailed):
    """The upstream does not know this generation (yet, or any more)."""


class MediaError(Exception):
    """Base of what goes wrong with images, videos, downloads and storage."""


class NotAnImage(MediaError):
    """The upload does not decode as an image we take."""


class NotAClip(MediaError):
    """The upload does not decode as a video or a sound we take."""


class NotAVideo(MediaError):
    """The bytes are no playable video."""


class DownloadFailed(MediaError):
    """A result URL could not be read. `gone` says that asking the same URL again is pointless."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class AddressRefused(DownloadFailed):
    """The URL points to an address that Reelay must not call."""

    def __init__(self, message: str) -> None:
        super().__init__(message, gone=True)


class StorageFailed(MediaError):
    """Our own storage is away, full or read-only."""


class ProviderFailed(Exception):
    """The identity provider's keys can't be read; the message says why, for an operator."""


class SettingsError(Exception):
    """The start is refused; the message is one line that names the variable."""
