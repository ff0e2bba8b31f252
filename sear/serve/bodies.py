"""What the service takes and answers, as JSON: one pydantic model each, from which the OpenAPI description is made."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sear.serve.limits import Limits

LIMITS = Limits()
Id = Annotated[str, Field(min_length=1, max_length=LIMITS.id_length)]
Text = Annotated[str, Field(max_length=LIMITS.text)]
Count = Annotated[
    int,
    Field(ge=1, le=LIMITS.k, description="how many; at most the number of items"),
    BeforeValidator(lambda k: int(k) if isinstance(k, float) and k.is_integer() else k),  # 3.0 is an integer of JSON
]
Rating = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


class Body(BaseModel):
    """A misspelt key or a value of another type (true or "5" for a number) is refused, not ignored or guessed at."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Event(Body):
    """One event of a history, the earliest first."""

    item_id: Id
    rating: Rating | None = None


History = Annotated[
    list[Id | Event],
    Field(max_length=LIMITS.history, description="item ids, or items with ratings; the earliest first", fail_fast=True),
]
Items = Annotated[list[Id], Field(max_length=LIMITS.item_list, fail_fast=True)]  # one mistake is told, not 10,000


class Wishes(Body):
    """What every list of recommendations can be told."""

    k: Count = 10
    filter_seen: bool = Field(True, description="leave out what is in the history")
    items: Items | None = Field(None, min_length=1, description="recommend only these")
    exclude: Items = Field([], description="never recommend these")


class RecommendBody(Wishes):
    """A user by id, or a history, or both: then the history takes the place of the one known of this user."""

    user_id: Id | None = None
    history: History | None = None


class SimilarBody(Body):
    item_id: Id
    k: Count = 10
    by: str = Field("table", pattern="^(table|texts|both)$", description="by what users did, by the texts, or both")


class ExplainBody(Body):
    """Where an item stands for a history, and why: the most similar items of the history."""

    history: History
    item_id: Id
    k: Count = 3
    filter_seen: bool = True


class SessionBody(Wishes):
    history: History = []


class SessionEvent(Wishes):
    item_id: Id
    rating: Rating | None = None


class NewItem(Body):
    item_id: Id
    texts: dict[Annotated[str, Field(min_length=1, max_length=100)], Text] = Field(
        description="text columns of the data set, such as title", min_length=1, max_length=20
    )


class NewItemsBody(Body):
    items: list[NewItem] = Field(min_length=1, max_length=LIMITS.new_items)


class Recommended(BaseModel):
    item_id: str
    title: str | None
    score: float
    rank: int


class Recommendations(BaseModel):
    """source: "model", or "popularity" where the model knows nothing of the history, or of the user."""

    items: list[Recommended]
    source: str
    unknown_items: int = Field(description="events of the history whose item the model does not know")


class SessionAnswer(Recommendations):
    session_id: str
    events: int


class SessionHistory(BaseModel):
    session_id: str
    history: list[Event]


class SimilarItem(BaseModel):
    item_id: str
    title: str | None
    score: float
    rank: int


class SimilarAnswer(BaseModel):
    item_id: str
    items: list[SimilarItem]


class Reason(BaseModel):
    item_id: str
    title: str | None
    similarity: float


class Explanation(BaseModel):
    """rank: the item's place among `of` items; None where it is left out because it was seen."""

    item_id: str
    title: str | None
    rank: int | None
    of: int
    because: list[Reason]


class ItemFound(BaseModel):
    item_id: str
    title: str | None


class Found(BaseModel):
    items: list[ItemFound]


class ItemsAdded(BaseModel):
    added: int
    items: int = Field(description="items that can be recommended now")


class Status(BaseModel):
    status: str


class Problem(BaseModel):
    """What was wrong, in one line."""

    error: str


class ModelInfo(BaseModel):
    """What the model is: name, data set, commit, metrics and counts, as the export wrote them."""

    name: str
    dataset: str
    items: int
    users: int | None
    text_fields: list[str]
    highest_rating: float | None = Field(description="null where ratings do not change what is recommended")
    generation: int = Field(description="1 for the model that the service began with, one more for each reload")
    info: dict[str, Any]
