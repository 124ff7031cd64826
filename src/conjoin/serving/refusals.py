"""What the server says no to: a name for programs, a sentence for people, the HTTP status, and when to try again."""

__all__ = ["Refusal"]


class Refusal(Exception):  # noqa: N818
    """A request that is not answered, and why. `name` is the limit's or the mistake's, `field` the part of the body at fault."""

    def __init__(
        self, status: int, name: str, sentence: str, *, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.name, self.field, self.retry_after = status, name, field, retry_after

    def body(self) -> dict[str, object]:
        """The JSON of the answer, in the form that OpenAI's clients read."""
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": self.name}}
