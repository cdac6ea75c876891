"""Log records of the clients that see keys hold none, whichever logger below them wrote it and whoever shows it."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest

from key_shapes import SHAPES, traces
from nbllm.credentials import Secret, install_log_filter, redactor, uninstall_log_filter

KEY = SHAPES[0].key()
LOGGERS = ["nbllm", "nbllm.transport.http", "httpx2", "httpcore2.connection", "httpx", "httpcore.http11",
           "openai._base_client", "asyncio"]  # fmt: skip


@pytest.fixture(autouse=True)
def secret() -> Iterator[Secret]:
    secret = Secret(KEY)
    yield secret
    uninstall_log_filter()


@pytest.fixture
def shown() -> Iterator[io.StringIO]:
    """What a handler at the root shows, as ipykernel's and the user's own do."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def log_message(logger: logging.Logger) -> None:
    logger.info("GET https://api.invalid/v1/models?key=%s", KEY)


def log_mapping(logger: logging.Logger) -> None:
    logger.debug("options: %(headers)s", {"headers": {"x-api-key": KEY}})


def log_arguments(logger: logging.Logger) -> None:
    logger.debug("%r", [(b"x-goog-api-key", KEY.encode())])


def log_wrong_arguments(logger: logging.Logger) -> None:
    logger.debug("%d tokens", KEY)


def log_exception(logger: logging.Logger) -> None:
    try:
        raise ValueError(f"refused: {KEY}")
    except ValueError:
        logger.exception("failed")


def log_object(logger: logging.Logger) -> None:
    logger.warning(ValueError(KEY))


WAYS: list[Callable[[logging.Logger], None]] = [
    log_message, log_mapping, log_arguments, log_wrong_arguments, log_exception, log_object,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", LOGGERS)
def test_no_record_holds_a_key(
    name: str, way: Callable[[logging.Logger], None], shown: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    install_log_filter()
    way(logging.getLogger(name))

    assert name in shown.getvalue()
    assert traces(KEY, shown.getvalue()) == []
    assert traces(KEY, "".join(capsys.readouterr())) == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_search_catches_records_that_are_not_cleaned(
    way: Callable[[logging.Logger], None],
    shown: io.StringIO,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = logging.getLogger()
    own = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
    monkeypatch.setattr(root, "handlers", own)  # pytest's handlers raise where those of logging print
    way(logging.getLogger("httpx2"))
    assert traces(KEY, shown.getvalue() + "".join(capsys.readouterr())) != []


def test_other_loggers_are_left_alone(shown: io.StringIO) -> None:
    install_log_filter()
    logging.getLogger("somebody.else").info("%s and %s", "one", "two")
    logging.getLogger("openaikin").info("key %s", KEY)
    assert "somebody.else one and two ('one', 'two')" in shown.getvalue()
    assert KEY in shown.getvalue()


def test_a_traceback_is_kept_without_the_key(shown: io.StringIO) -> None:
    install_log_filter()
    log_exception(logging.getLogger("nbllm"))
    assert "Traceback (most recent call last)" in shown.getvalue()
    assert "ValueError: refused: ****" in shown.getvalue()


def test_a_handler_that_shows_exceptions_in_its_own_way_gets_none() -> None:
    """rich and others read `exc_info`; the exception may hold a request with its headers."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    install_log_filter()
    logger = logging.getLogger("httpx2")
    logger.addHandler(handler)
    try:
        log_exception(logger)
    finally:
        logger.removeHandler(handler)
    assert [record.exc_info for record in records] == [None]
    assert "refused: ****" in str(records[0].exc_text)


def test_installing_twice_is_installing_once() -> None:
    before = logging.getLogRecordFactory()
    install_log_filter()
    once = logging.getLogRecordFactory()
    install_log_filter()
    assert logging.getLogRecordFactory() is once
    uninstall_log_filter()
    assert logging.getLogRecordFactory() is before


def test_uninstalling_respects_who_came_later(shown: io.StringIO) -> None:
    before = logging.getLogRecordFactory()
    install_log_filter()
    ours = logging.getLogRecordFactory()
    later: Callable[..., logging.LogRecord] = lambda *args, **kwargs: ours(*args, **kwargs)  # noqa: E731
    logging.setLogRecordFactory(later)
    try:
        uninstall_log_filter()
        assert logging.getLogRecordFactory() is later
        logging.getLogger("httpx2").info("plain %s", KEY)
        assert KEY in shown.getvalue()
    finally:
        logging.setLogRecordFactory(before)


def test_the_redactor_may_stand_on_a_handler_of_its_own() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(redactor)
    logger = logging.getLogger("test.with-a-handler")
    logger.addHandler(handler)
    try:
        logger.error("key %s", KEY)
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue() == "key ****\n"
