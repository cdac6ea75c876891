"""What the view of a comparison can do: actions of the browser in, messages to it out. No widget, no IPython.

As in `provider_desk`, an action has `do`, the name of a method, and `seq`, which its answer carries; nothing blocks the
caller, and what goes wrong is a message. Here lives the promise of the blind vote: no message names an arm before the
vote has ended, or before the ballot that stands on the page is closed by revealing it. The browser cannot undo that,
since it does not know.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nbllm import aio
from nbllm.compare.ballots import Ballot, Ballots, Choice, Vote, answers_of, ballots, verdicts
from nbllm.compare.cells import Arm, Case, Row
from nbllm.credentials.redaction import redact
from nbllm.errors import NbllmError, UsageError
from nbllm.foreign import one_line
from nbllm.notebook.panels import comparison_facts as facts

Message = dict[str, Any]
Post = Callable[[Message], None]
_log = logging.getLogger("nbllm.view")
_CAST = ("left", "right", "tie", "skip")


class Booth:
    """One voter's way through the ballots. Knows who is who, and tells only what may be told.

    Args:
        drawn: The ballots, in order.
        votes: All votes that are kept, of all voters.
        voter: Whose way this is.
    """

    def __init__(self, drawn: Ballots, votes: Sequence[Vote], voter: str | None) -> None:
        self.drawn = drawn
        self.votes = list(votes)
        self.voter = voter
        self.current: Ballot | None = None
        self.token = ""
        """Names the current ballot to the browser. Made anew each time: an id could be compared with one kept."""
        self.is_revealed = False
        self._ids = [ballot.id for ballot in drawn]
        self._said = {ballot.id: choice for (who, ballot), choice in verdicts(votes, drawn).items() if who == voter}
        self._cast: list[Ballot] = []

    def go_on(self) -> None:
        """To the first ballot that is still open; None when there is none."""
        at = next((at for at, id_ in enumerate(self._ids) if id_ not in self._said), None)
        self._show(None if at is None else self.drawn[at])

    def _show(self, ballot: Ballot | None) -> None:
        self.current, self.token, self.is_revealed = ballot, secrets.token_hex(8), False

    def vote(self, ballot: Ballot, choice: Choice) -> Vote:
        """A vote to be kept. Its moment is not before that of any other vote, whatever the clock says."""
        now = datetime.now(UTC)
        latest = max((each.moment for each in self.votes), default=now)
        return Vote(ballot.id, choice, max(now, latest).isoformat(timespec="microseconds"), self.voter)

    def count(self, vote: Vote, ballot: Ballot) -> None:
        """Take a vote in that has been kept."""
        self.votes.append(vote)
        if vote.choice == "undo":
            self._said.pop(vote.ballot, None)
            self._cast.pop()
            self._show(ballot)
        else:
            self._said[vote.ballot] = vote.choice
            self._cast.append(ballot)
            self.go_on()

    def reveal(self, vote: Vote) -> None:
        """Close the current ballot with a vote that has been kept; from now on its names may be told."""
        self.votes.append(vote)
        self._said[vote.ballot] = vote.choice
        self.is_revealed = True

    @property
    def last(self) -> Ballot | None:
        """The ballot whose vote `undo` takes back: of this view only, and none that was revealed."""
        return self._cast[-1] if self._cast else None

    def state(self) -> Message:
        """How far the voter is. Names nobody."""
        skipped = sum(choice == "skip" for choice in self._said.values())
        return {"done": len(self._said), "skipped": skipped, "total": len(self.drawn),
                "identical": self.drawn.identical, "unanswered": self.drawn.unanswered,
                "can_undo": self.last is not None}  # fmt: skip


class ComparisonDesk:
    """The actions of one view.

    Args:
        rows: Cells.
        arms: What is compared.
        cases: The prompts.
        scorers: Names of the columns with scores.
        summary_rows: Rows of `Comparison.summary()`.
        votes: Reads the votes kept so far; None: there are none.
        keep: Keeps a vote, or raises `NbllmError`; None: the view is for looking only.
        seed: Draws the order and sides of the ballots.
        pairs: Labels of arms to be voted on; None: each with each.
        voter: Who votes here; None: whoever sits at this notebook.
        post: Sends a message to the browser; called on the background loop's thread only.

    Raises:
        UsageError: `pairs` cannot be.
    """

    def __init__(
        self, rows: Sequence[Row], arms: Sequence[Arm], cases: Sequence[Case], scorers: Sequence[str], *,
        summary_rows: Sequence[Row] = (), votes: Callable[[], list[Vote]] | None = None,
        keep: Callable[[Vote], None] | None = None, seed: int = 0, pairs: Sequence[tuple[str, str]] | None = None,
        voter: str | None = None, post: Post,
    ) -> None:  # fmt: skip
        self._rows, self._arms, self._cases, self._scorers = rows, arms, cases, scorers
        self._summary_rows, self._read, self._keep, self._voter = summary_rows, votes, keep, voter
        self._post = post
        self._table: facts.Table | None = None
        votes_matter = keep is not None or votes is not None
        self._drawn = ballots(rows, arms, seed=seed, pairs=pairs) if votes_matter else Ballots()
        self._texts = answers_of(rows, arms)
        self._booth: Booth | None = None
        self._phase = "browse" if keep is None or not self._drawn else "start"  # without a pair nothing is kept back
        self._turn: asyncio.Lock | None = None
        self._actions: Mapping[str, Callable[[Message], Coroutine[Any, Any, Message | None]]] = {
            name.removeprefix("_do_"): getattr(self, name) for name in dir(self) if name.startswith("_do_")
        }

    @property
    def is_blind(self) -> bool:
        """Whether names are still to be kept back."""
        return self._phase not in ("browse", "ended")

    @property
    def n_ballots(self) -> int:
        """Pairs of answers that there are to vote on."""
        return len(self._drawn)

    def receive(self, action: object) -> None:
        """Start an action and return at once. Never raises."""
        if isinstance(action, dict):
            aio.submit(self._perform(action))

    async def _perform(self, action: Message) -> None:
        name = str(action.get("do"))
        try:
            if name not in self._actions:
                raise UsageError(f"the view asked for {one_line(name, 40)}, which nobody knows")
            found = await self._in_turn(name, action)
        except Exception as exc:  # noqa: BLE001  (an exception in a callback is seen by nobody: the view shows it)
            found = _problem(exc, name)
        if found is not None:
            self._post({"for": name, "seq": action.get("seq"), **found})

    async def _in_turn(self, name: str, action: Message) -> Message | None:
        # One after the other: two keys pressed at once must not be two votes on one ballot.
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            return await self._actions[name](action)

    # ------------------------------------------------------------ voting

    async def _do_hello(self, action: Message) -> Message:
        """Where the view stands; another view of the same widget gets to see the same."""
        if self._keep is not None or self._read is not None:
            await self._enter()
        return self._state()

    async def _enter(self) -> Booth:
        if self._booth is None:
            self._booth = await asyncio.to_thread(self._new_booth)
        return self._booth

    def _new_booth(self) -> Booth:
        return Booth(self._drawn, [] if self._read is None else self._read(), self._voter)

    def _state(self, **more: Any) -> Message:
        booth, phase = self._booth, self._phase
        shown: Message = {"type": "state", "phase": phase, "blind": self.is_blind,
                          "can_vote": self._phase != "browse",
                          "has_votes": bool(booth and booth.votes), **more}  # fmt: skip
        if booth is None:
            return shown
        shown |= booth.state()
        if phase == "vote":
            shown["phase"] = "done" if booth.current is None else "revealed" if booth.is_revealed else "ballot"
            shown["ballot"] = None if booth.current is None else self._shown(booth.current, booth)
        return shown

    def _shown(self, ballot: Ballot, booth: Booth) -> Message:
        names = {"left": one_line(ballot.left), "right": one_line(ballot.right)} if booth.is_revealed else None
        prompts = self._prompts()
        return {"token": booth.token, "prompt": prompts.prompt(ballot.prompt_id), "names": names,
                **facts.side_by_side(self._texts, ballot)}  # fmt: skip

    def _prompts(self) -> facts.Table:
        if self._table is None:
            self._table = facts.Table(self._rows, self._arms, self._cases, self._scorers)
        return self._table

    async def _do_start(self, action: Message) -> Message:
        """Begin, or go on where the voter stopped."""
        if self._keep is None:
            raise UsageError("this view is for looking only", hint="open it for a vote")
        booth = await self._enter()
        if self._phase == "start":
            self._phase = "vote"
            booth.go_on()
        return self._state()

    async def _do_vote(self, action: Message) -> Message:
        """Keep a vote on the ballot that stands on the page, and go on to the next."""
        choice, booth, ballot = action.get("choice"), self._voting(), self._meant(action)
        if choice not in _CAST:
            raise UsageError(f"a vote is not {one_line(choice, 40)}")
        if ballot is None or booth.is_revealed:
            return self._state()  # it was voted on already, in another view or by a key pressed twice
        vote = booth.vote(ballot, choice)
        await self._kept(vote)
        booth.count(vote, ballot)
        return self._state(kept=choice)

    async def _do_undo(self, action: Message) -> Message:
        """Take the last vote of this view back, and show its ballot again."""
        booth = self._voting()
        if booth.last is None:
            raise UsageError("no vote of this view can be taken back")
        ballot = booth.last
        vote = booth.vote(ballot, "undo")
        await self._kept(vote)
        booth.count(vote, ballot)
        return self._state(kept="undo")

    async def _do_reveal(self, action: Message) -> Message:
        """Say whose the answers of this ballot are. It is closed first: nobody votes on it any more."""
        booth, ballot = self._voting(), self._meant(action)
        if ballot is None or booth.is_revealed:
            return self._state()
        vote = booth.vote(ballot, "skip")
        await self._kept(vote)
        booth.reveal(vote)
        return self._state(kept="skip")

    async def _do_next(self, action: Message) -> Message:
        """From a ballot that was revealed to the next."""
        booth = self._voting()
        if self._meant(action) is not None and booth.is_revealed:
            booth.go_on()
        return self._state()

    async def _do_end(self, action: Message) -> Message:
        """End the vote in this view. From here on names are shown, and no vote is taken."""
        if self.is_blind:
            self._phase = "ended"
        return self._state()

    def _voting(self) -> Booth:
        if self._phase != "vote" or self._booth is None:
            raise UsageError("the vote is not open in this view", hint="run the cell again to vote on what is left")
        return self._booth

    def _meant(self, action: Message) -> Ballot | None:
        booth = self._voting()
        return booth.current if action.get("ballot") == booth.token else None

    async def _kept(self, vote: Vote) -> None:
        assert self._keep is not None
        await asyncio.to_thread(self._keep, vote)

    # ------------------------------------------------------------ what names arms

    def _open_table(self) -> facts.Table:
        if self.is_blind:
            raise UsageError("names are not shown while the vote is open", hint="end the vote first")
        return self._prompts()

    async def _do_answers(self, action: Message) -> None:
        """The table of all cells, in several messages."""
        for page in (await asyncio.to_thread(self._open_table)).pages():
            self._post({"type": "table", "for": "answers", "seq": action.get("seq"), **page})
            await asyncio.sleep(0)

    async def _do_search(self, action: Message) -> Message:
        """Rows that hold words, looked for in whole texts."""
        words = [str(word) for word in action.get("words") or ()][:20]
        table = self._open_table()
        return {"type": "found", "words": words, "rows": await asyncio.to_thread(table.find, words)}

    async def _do_open(self, action: Message) -> Message:
        """All answers to the prompt of one row."""
        table, at = self._open_table(), action.get("row")
        if not isinstance(at, int) or not 0 <= at < len(self._rows):
            raise UsageError(f"there is no row {one_line(at, 20)}")
        return {"type": "opened", **await asyncio.to_thread(table.opened, at)}

    async def _do_results(self, action: Message) -> Message:
        """What the votes say."""
        self._open_table()
        votes = [] if self._booth is None else self._booth.votes
        found = await asyncio.to_thread(facts.results, votes, self._drawn, self._arms, self._summary_rows)
        return {"type": "results", **found}


def _problem(exc: Exception, name: str) -> Message:
    if isinstance(exc, NbllmError):
        return {"type": "problem", "message": redact(exc.message), "hint": redact(exc.hint) if exc.hint else None}
    # Its text may hold anything, a name too.
    _log.error("the view's action %s failed: %s", one_line(name, 40), type(exc).__name__)
    return {"type": "problem", "message": f"{one_line(name, 40)} failed: {type(exc).__name__}",
            "hint": "please report this"}  # fmt: skip
