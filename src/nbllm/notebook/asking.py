"""Ask, show the answer while it arrives, and leave the cell as the user expects it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbllm.messages import Delta, Reply
from nbllm.notebook import session
from nbllm.notebook.display import LiveAnswer

if TYPE_CHECKING:
    from nbllm.chat.options import ChatOptions
    from nbllm.chat.run import ChatRun
    from nbllm.workspace import Workspace


def ask(
    workspace: Workspace, prompt: str, options: ChatOptions, *, live: bool | None = None, quiet: bool = False
) -> Asked:
    """Ask and show. Whatever happens, the screen ends with exactly what arrived.

    Args:
        live: False shows the answer once; None decides by the setting `live`, else by the front end.
        quiet: Show nothing.
    """
    wanted: bool | None = workspace.settings["live"] if live is None else live
    return Asked(workspace.ask(prompt, options), live=wanted, quiet=quiet)


class Asked:
    """A question on the screen."""

    def __init__(self, run: ChatRun, *, live: bool | None, quiet: bool) -> None:
        self.run = run
        self._answer = LiveAnswer(run.plan.request.ref, live=live, quiet=quiet)
        self._notice: str | None = None

    def complete(self) -> Reply:
        """Read the answer to its end.

        Raises:
            NbllmError: It could not be had; what arrived stays on the screen.
            KeyboardInterrupt: The user stopped it; what arrived stays on the screen and in the store.
        """
        try:
            with self.run as run:
                for delta in run.deltas(on_tick=self._tick):
                    self._answer.add(delta)
                    session.started()
            assert run.reply is not None
            self._answer.finish(run.reply)  # in here: an interrupt while a long answer is drawn must not cut it
        except KeyboardInterrupt as stop:
            self._keep()
            stop._render_traceback_ = lambda: ["KeyboardInterrupt: the answer was stopped; what arrived is kept"]  # type: ignore[attr-defined]
            raise
        except BaseException:
            self._keep()
            raise
        return run.reply

    def _tick(self) -> None:
        notice = self.run.notice()
        if notice != self._notice:
            self._notice = notice
            self._answer.add(Delta(notice=notice or ""))
        self._answer.tick()

    def _keep(self) -> None:
        if self.run.reply is not None and (self.run.reply.text or self.run.reply.reasoning):
            self._answer.finish(self.run.reply)
        else:
            self._answer.fail(self.run.text)
