"""The packages that the pages build are installed from the pages' own text, and work."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbllm import adapters
from nbllm.adapters.base import Adapter
from nbllm.chat.options import ChatOptions
from nbllm.errors import ModelNotFoundError, RegistryError, StreamBrokenError, UnsupportedError
from nbllm.messages import Reply
from nbllm.providers import rows
from nbllm.settings import Paths
from nbllm.workspace import Workspace
from pages import DOCS, page
from wire_server import Plan, WireServer, answer

HELLO = b'{"say": "Hello "}\n{"say": "there."}\n{"end": "stop", "read": 3, "written": 2}\n'
Install = Callable[[str], None]


def blocks(name: str, language: str) -> list[str]:
    """The text of a page's blocks in a language."""
    return [b.text for b in page(DOCS / "how-to" / name).blocks if b.language == language]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install the package of a page, as pip would: its module and its metadata, on the path."""
    modules: list[str] = []
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def put(name: str) -> None:
        project = tomllib.loads(blocks(name, "toml")[0])["project"]
        groups = project["entry-points"]
        module = next(iter(next(iter(groups.values())).values())).partition(":")[0]
        (folder / f"{module}.py").write_text(blocks(name, "python")[0], encoding="utf-8")
        info = folder / f"{module}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
        lines = [f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for g, points in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        modules.append(module)

    _forget()
    yield put
    _forget()
    for module in modules:
        sys.modules.pop(module, None)


def _forget() -> None:
    """What was found when a process first looked; a person would restart the kernel."""
    adapters.load_adapter.cache_clear()
    rows.known_kinds.cache_clear()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A home of its own, without any variable."""
    made = Workspace(paths=Paths.from_environment({"NBLLM_HOME": str(tmp_path / "home")}), environ={})
    yield made
    made.close()


# ---------------------------------------------------------------- a wire format


@pytest.fixture
def lines(install: Install, workspace: Workspace) -> Iterator[Callable[..., WireServer]]:
    """A provider `my-lines` whose server answers as told."""
    install("wire-format.md")
    opened: list[WireServer] = []

    def serve(*plans: Plan) -> WireServer:
        server = WireServer(*plans)
        opened.append(server.__enter__())
        workspace.registry.add("my-lines", kind="lines", base_url=server.url)
        return server

    yield serve
    for server in opened:
        server.__exit__(None, None, None)


def ask(workspace: Workspace, **options: Any) -> Reply:
    """Say hello to the server."""
    return workspace.chat("Hello.", ChatOptions(model="my-lines/parrot", **options))


def test_the_adapter_of_the_page_is_one(install: Install) -> None:
    install("wire-format.md")
    assert "lines" in adapters.kinds()
    assert isinstance(adapters.load_adapter("lines"), Adapter)


def test_a_chat_goes_through_the_adapter_of_the_page(lines: Callable[..., WireServer], workspace: Workspace) -> None:
    server = lines(answer(HELLO, kind="application/x-ndjson", piece=7))
    reply = ask(workspace, system="Be brief.", max_tokens=9)
    assert (reply.text, reply.finish_reason.value) == ("Hello there.", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 2)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert json.loads(body) == {"model": "parrot", "text": "Be brief.\nuser: Hello.", "limit": 9}
    assert head.startswith(b"POST /v1/say ")


def test_a_stream_of_the_page_s_format_that_breaks_off_is_no_answer(
    lines: Callable[..., WireServer], workspace: Workspace
) -> None:
    lines(answer(HELLO.partition(b'{"end"')[0], kind="application/x-ndjson"))
    with pytest.raises(StreamBrokenError) as caught:
        ask(workspace)
    assert caught.value.partial == "Hello there."


def test_a_refusal_of_the_server_is_an_error_of_ours(lines: Callable[..., WireServer], workspace: Workspace) -> None:
    lines(answer(b'{"error": "no such model"}', status=404, kind="application/json"))
    with pytest.raises(ModelNotFoundError):
        ask(workspace)


def test_the_models_of_the_page_s_format_are_listed(lines: Callable[..., WireServer], workspace: Workspace) -> None:
    lines(answer(b'["parrot", "owl"]', kind="application/json"))
    assert [m.id for m in workspace.models("my-lines", refresh=True).models] == ["parrot", "owl"]


def test_what_the_format_has_no_place_for_is_refused_before_it_is_sent(
    lines: Callable[..., WireServer], workspace: Workspace
) -> None:
    server = lines(answer(HELLO))

    def area(width: float) -> float:
        """Area."""
        return width

    with pytest.raises(UnsupportedError, match="calls no tools"):
        ask(workspace, tools={"area": area})
    assert server.requests == []


def test_without_the_package_the_kind_is_refused_with_those_that_are_known() -> None:
    _forget()
    with pytest.raises(RegistryError, match="no adapter for the kind 'lines'"):
        adapters.load_adapter("lines")


# ---------------------------------------------------------------- rows


def test_the_rows_of_the_page_are_there_once_its_package_is(install: Install, workspace: Workspace) -> None:
    install("provider-plugin.md")
    row = workspace.registry.get("physics")
    assert (row.base_url, list(row.env)) == ("https://llm.physics.example/v1", ["PHYSICS_KEY"])
    assert row.rate_limit is not None
    assert row.rate_limit.requests_per_minute == 60
    assert workspace.registry.sources("physics")["base_url"] == "entry point physics"
    assert list(workspace.registry.problems()) == []


def test_a_row_of_the_page_lies_over_the_bundled_one(install: Install, workspace: Workspace) -> None:
    install("provider-plugin.md")
    groq = workspace.registry.get("groq")
    assert groq.timeout.first_token_s == 120
    assert groq.base_url == "https://api.groq.com/openai/v1"


def test_a_person_s_own_row_wins_over_the_package(install: Install, workspace: Workspace) -> None:
    install("provider-plugin.md")
    workspace.registry.edit("physics", name="Mine")
    assert workspace.registry.get("physics").name == "Mine"
