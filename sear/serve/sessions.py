"""Sessions: each carries the model's state of one history, so that an event costs the same however long that is.

All of it runs in the model's thread, so that no two requests change one session at a time.
"""

import secrets
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sear.serve.answers import Query, UnknownError, check_known, check_query, recommendations, selection_of
from sear.serve.bodies import Event, SessionAnswer, SessionHistory
from sear.serve.limits import Limits
from sear.serve.live_model import ServedModel


@dataclass
class Held:
    """One session: its events, which outlive a model, and the state that one model made of them.

    Events whose item the model did not know are not kept; `count` counts all, `unknown` these.
    """

    events: deque[tuple[str, float | None]]
    unknown: int
    state: Any
    generation: int
    used: float
    count: int


class Sessions:
    """At most so many sessions and events; the one unused for longest goes first, and any unused for too long.

    Args:
        clock: seconds, never backwards.
    """

    def __init__(self, limits: Limits, clock=monotonic):
        self._limits, self._clock = limits, clock
        self._held: OrderedDict[str, Held] = OrderedDict()  # the one used last stands last
        self._events = 0  # of all

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, model: ServedModel, events: Sequence[tuple[str, float | None]], wishes: Query) -> SessionAnswer:
        """A new session with a history that may be empty, and its first recommendations."""
        check_query(wishes, model)
        known = [(item_id, rating) for item_id, rating in events if item_id in model.items]
        kept, unknown = deque(known, self._limits.history), len(events) - len(known)
        state = model.recommender.session(kept)
        held = Held(kept, unknown, state, model.generation, self._clock(), len(events))
        answer_id = secrets.token_urlsafe(16)
        self._held[answer_id] = held
        self._events += len(kept)
        self.drop_old()
        return self._answer(model, answer_id, held, wishes)

    def add(
        self, model: ServedModel, session_id: str, item_id: str, rating: float | None, wishes: Query
    ) -> SessionAnswer:
        """One more event, and what is recommended after it."""
        check_query(wishes, model)
        held = self._find(model, session_id)
        check_known([item_id], model.items, "item_id")
        held.state.add(item_id, rating)
        self._events += len(held.events) < self._limits.history
        held.events.append((item_id, rating))
        held.count += 1
        if len(held.state) > 2 * self._limits.history:  # a state remembers all its items
            held.state = model.recommender.session(held.events)
        return self._answer(model, session_id, held, wishes)

    def recommend(self, model: ServedModel, session_id: str, wishes: Query) -> SessionAnswer:
        check_query(wishes, model)
        return self._answer(model, session_id, self._find(model, session_id), wishes)

    def history(self, model: ServedModel, session_id: str) -> SessionHistory:
        """The events, at most as many as a history may have."""
        events = [Event(item_id=item_id, rating=rating) for item_id, rating in self._find(model, session_id).events]
        return SessionHistory(session_id=session_id, history=events)

    def end(self, session_id: str) -> None:
        if session_id not in self._held:
            raise _unknown(session_id)
        self._events -= len(self._held.pop(session_id).events)

    def forget_states(self) -> None:
        """After a change of models: a state keeps the model that made it in memory. Events stay."""
        for held in self._held.values():
            held.state, held.generation = None, 0

    def _find(self, model: ServedModel, session_id: str) -> Held:
        self.drop_old()
        held = self._held.get(session_id)
        if held is None:
            raise _unknown(session_id)
        self._held.move_to_end(session_id)
        held.used = self._clock()
        if held.generation != model.generation:  # a newer model makes its own state of the same events
            held.state, held.generation = model.recommender.session(held.events), model.generation
        return held

    def _answer(self, model: ServedModel, session_id: str, held: Held, wishes: Query) -> SessionAnswer:
        top = held.state.top_items(wishes.k, **selection_of(wishes))
        found = recommendations(model, top, 0, wishes.k, held.unknown + held.state.unknown_items)
        return SessionAnswer(session_id=session_id, events=held.count, **dict(found))

    def drop_old(self) -> None:
        """Forget what is unused for too long, or too much; the session used last stays."""
        latest, limits = self._clock() - self._limits.session_seconds, self._limits
        while self._held:
            used = next(iter(self._held.values())).used
            too_much = len(self._held) > limits.sessions or self._events > limits.session_events
            if used >= latest and not (too_much and len(self._held) > 1):
                return
            self._events -= len(self._held.popitem(last=False)[1].events)


def _unknown(session_id: str) -> UnknownError:
    return UnknownError(f"session: {session_id!r} is not there, or was unused for too long - begin a new one")
