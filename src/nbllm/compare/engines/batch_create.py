"""Making a batch at most once, although the answer to the request that makes it may be lost."""

from __future__ import annotations

from collections.abc import Sequence

from nbllm.compare.engines.batch_api import BatchApi, Found, Mark
from nbllm.compare.engines.batch_wire import Wire
from nbllm.errors import NbllmError, ProviderError, ServerError, UnreachableError


class Creation:
    """One batch that is to be made.

    Neither vendor documents a key that makes the request safe to repeat. So when an answer was lost, the batch is
    looked for before it is asked for again.
    """

    def __init__(self, wire: Wire, api: BatchApi, prepared: str, lines: Sequence[bytes], mark: Mark) -> None:
        self._wire = wire
        self._api = api
        self._prepared = prepared
        self._lines = lines
        self._mark = mark
        self.in_doubt = False
        """Whether it may have been made, after `make` failed or was cancelled."""

    async def make(self) -> Found:
        """Make it, or find it made.

        Raises:
            ProviderError: It was not made, unless `in_doubt` says otherwise.
        """
        failure: NbllmError
        try:
            return await self._wire.retried(self._attempt)
        except ProviderError as exc:
            failure = exc
        if self.in_doubt:
            found = await self._look()
            if found is not None:
                return found
        raise failure

    async def _attempt(self, number: int) -> Found:
        if self.in_doubt and (found := await self._api.find(self._mark)) is not None:
            return found
        self.in_doubt = True
        try:
            return Found(await self._api.create(self._prepared, self._lines, self._mark))
        except NbllmError as error:
            self.in_doubt = may_have_been_made(error)
            raise

    async def _look(self) -> Found | None:
        try:
            return await self._wire.retried(lambda _: self._api.find(self._mark))
        except ProviderError:  # the first failure says more
            return None


def may_have_been_made(error: NbllmError) -> bool:
    """Whether a request that failed like this may have done its work all the same."""
    if isinstance(error, UnreachableError):
        return error.attempts > 0 and error.phase in ("closed", "timeout")
    if isinstance(error, ProviderError):
        # A success without an id counts too: the batch is there, and only its name is lost.
        return isinstance(error, ServerError) or error.status == 408 or 200 <= (error.status or 0) < 300
    return False
