"""How much one client may ask for: what keeps the service's memory and answering time bounded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper limits; a request above one is refused in one line."""

    k: int = 1000  # recommendations per answer
    history: int = 10_000  # events of one history
    item_list: int = 10_000  # items of an allow-list, or to leave out
    text: int = 10_000  # characters of one text of a new item
    id_length: int = 500  # characters of a user's or item's id
    new_items: int = 100  # items added by one request
    added_items: int = 10_000  # items added in all, until the service is started again
    body: int = 2 * 2**20  # bytes of a request
    bodies: int = 256 * 2**20  # bytes of all requests that are being answered
    batch: int = 64  # requests that are scored together
    waiting: int = 2_000  # requests that may wait for the model
    adding: int = 16  # requests that may wait to add items
    sessions: int = 10_000  # sessions held; the one unused for longest goes first
    session_events: int = 1_000_000  # events of all sessions, some hundred bytes each; the same goes first
    session_seconds: float = 3600.0  # a session unused for so long is dropped
