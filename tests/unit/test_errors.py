"""Everything that nbllm raises on purpose."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from nbllm import errors
from nbllm.errors import NbllmError

CLASSES = [getattr(errors, name) for name in errors.__all__]

TREE = {
    "NbllmError": "SettingsError RegistryError CredentialError ProviderError StreamBrokenError SchemaMismatchError "
                  "UsageError PromptError BudgetError ReplayMissError OfflineError StoreError ExportError",
    "RegistryError": "UnknownProviderError UnknownModelError",
    "CredentialError": "MissingKeyError LockedStoreError",
    "ProviderError": "AuthenticationError QuotaError ModelNotFoundError RateLimitError BadRequestError ServerError "
                     "RedirectError UnreachableError",
    "BadRequestError": "ContextLengthError ContentFilterError UnsupportedError",
    "ServerError": "OverloadedError",
    "StoreError": "UnknownConversationError",
}  # fmt: skip


def test_the_tree_is_the_one_that_is_promised() -> None:
    found: dict[str, set[str]] = {}
    for cls in CLASSES:
        if cls is not NbllmError:
            found.setdefault(cls.__base__.__name__, set()).add(cls.__name__)
    assert found == {base: set(names.split()) for base, names in TREE.items()}


def test_the_drawing_names_every_class_and_all_are_exported() -> None:
    assert errors.__doc__ is not None
    defined = {n for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, NbllmError)}
    assert defined == set(errors.__all__)
    assert all(re.search(rf"\b{name}\b", errors.__doc__) for name in defined)


def _example(cls: type[NbllmError]) -> NbllmError:
    """With a value for every fact."""
    facts: dict[str, object] = {"hint": "do\nthis"}
    for base in cls.__mro__:
        for name, parameter in inspect.signature(base.__init__).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                facts.setdefault(name, ("a", "b") if name in ("suggestions", "env", "problems") else name)
    return cls("it\nhappened", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_an_error_survives_pickling_and_copying_with_its_facts(cls: type[NbllmError]) -> None:
    error = _example(cls)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is cls
        assert vars(again) == vars(error)
        assert (str(again), again.args[0]) == (str(error), error.message)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_an_error_is_one_line_and_at_most_two_for_people(cls: type[NbllmError]) -> None:
    error = _example(cls)
    assert str(error) == "it happened; do this"
    assert error.describe() == f"{cls.__name__}: it happened\n  hint: do this"
    assert cls("alone", **({"phase": "dns"} if cls is errors.UnreachableError else {})).describe().count("\n") == 0


def test_a_notebook_shows_two_lines_and_with_debug_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        raise NbllmError("it happened", hint="do this")
    except NbllmError as exc:
        error = exc
    assert error._render_traceback_() == ["NbllmError: it happened\n  hint: do this"]
    monkeypatch.setenv("NBLLM_DEBUG", "1")
    assert "Traceback" in "".join(error._render_traceback_())


def test_only_what_may_pass_is_retryable() -> None:
    names = {c.__name__ for c in CLASSES if getattr(c, "retryable_by_default", False)}
    assert names == {"RateLimitError", "ServerError", "OverloadedError", "UnreachableError"}
    assert errors.RateLimitError("x", retryable=False).retryable is False
