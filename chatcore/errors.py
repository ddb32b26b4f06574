"""Every error Chatcore raises on purpose, as one tree.

    ChatcoreError
    ├── ConfigError            a setting, the config file or the database URL is wrong; stops the start
    │   └── DatabaseError      the database cannot be reached, or its schema is newer than this code
    ├── InvalidInput           what a person or program sent cannot be used; says why
    ├── NotFound               absent, or not theirs: the two are never told apart
    ├── Forbidden              signed in, but the role does not allow it
    ├── Unauthorized           not signed in, or the credential is wrong, expired or revoked
    │   ├── TooManyAttempts    sign-in refused for a while; `retry_after` seconds
    │   └── SignInRefused      a company's account is not let in; `reason`
    ├── Conflict               it cannot be done in the present state (a turn already runs, ...)
    ├── Draining               the process is stopping and takes no new turns
    ├── LimitExceeded          a rate limit of ours; `retry_after` seconds
    ├── BudgetExceeded         what it may cost at most is more than what is left of a budget
    └── ProviderError          a call to a model failed; `retryable` says whether Retry makes sense
        ├── RateLimited        429; `retry_after` seconds where the provider said so
        ├── ContextTooLong     the conversation does not fit the model's window
        ├── BadKey             401 or 403: the provider refused our key
        ├── RefusedContent     the provider's content policy refused the request or cut the reply
        ├── ModelUnavailable   not in the catalog, its key is missing, or the provider does not know it
        ├── ProviderDown       5xx, refused connection, DNS, TLS, or an answer that makes no sense
        ├── BreakerOpen        failed too often in a row, and is left in peace for `retry_after` seconds
        ├── ProviderTimeout    no first word, or no next word, within the model's limits
        └── Truncated          the stream ended without a finish

`str(error)` is one sentence for a person: what happened and what to do. It never holds a key, a path,
SQL or a provider's own text.
"""

from typing import ClassVar


class ChatcoreError(Exception):
    """Base of the tree. `code` is stable and goes into ledgers, logs and API answers."""

    code: ClassVar[str] = "error"


class ConfigError(ChatcoreError):
    code = "config"


class DatabaseError(ConfigError):
    code = "database"


class InvalidInput(ChatcoreError):
    code = "invalid_input"


class NotFound(ChatcoreError):
    code = "not_found"


class Forbidden(ChatcoreError):
    code = "forbidden"


class Unauthorized(ChatcoreError):
    code = "unauthorized"


class TooManyAttempts(Unauthorized):
    code = "too_many_attempts"

    def __init__(self, retry_after: int) -> None:
        """`retry_after`: whole seconds until the next attempt is looked at."""
        super().__init__(f"Too many attempts. Try again in {retry_after} seconds.")
        self.retry_after = retry_after


class SignInRefused(Unauthorized):
    code = "sign_in_refused"

    def __init__(self, message: str, reason: str = "claims") -> None:
        """`reason`: a word for the log and the address; never anything that the identity provider said."""
        super().__init__(message)
        self.reason = reason


class Conflict(ChatcoreError):
    code = "conflict"


class Draining(ChatcoreError):
    code = "draining"


class LimitExceeded(ChatcoreError):
    code = "limit_exceeded"

    def __init__(self, message: str, retry_after: int) -> None:
        """`retry_after`: whole seconds after which the same request is let through."""
        super().__init__(message)
        self.retry_after = retry_after


class BudgetExceeded(ChatcoreError):
    code = "budget_exceeded"


class ProviderError(ChatcoreError):
    code = "provider_error"
    retryable: ClassVar[bool] = True


class RateLimited(ProviderError):
    code = "rate_limited"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds the provider asked us to wait, None where it did not say."""
        super().__init__(message)
        self.retry_after = retry_after


class ContextTooLong(ProviderError):
    code = "context_too_long"
    retryable = False


class BadKey(ProviderError):
    code = "bad_key"
    retryable = False


class RefusedContent(ProviderError):
    code = "refused_content"
    retryable = False


class ModelUnavailable(ProviderError):
    code = "model_unavailable"
    retryable = False


class ProviderDown(ProviderError):
    code = "provider_down"


class BreakerOpen(ProviderError):
    code = "breaker_open"

    def __init__(self, message: str, retry_after: float) -> None:
        """`retry_after`: seconds until it is tried again."""
        super().__init__(message)
        self.retry_after = retry_after


class ProviderTimeout(ProviderError):
    code = "timeout"


class Truncated(ProviderError):
    code = "truncated"
