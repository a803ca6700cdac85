"""What a request comes to where it is not answered as asked."""


class ServiceError(Exception):
    """A request was not answered as asked; the message is a sentence for the person who meets it."""


class RequestRefused(ServiceError):
    """The service answered that it will not do this; ``code`` names the reason."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class NotTaken(ServiceError):
    """Temporal, or a worker of another version, cannot take the request: nothing came of it, and nothing will."""


class NoAnswer(ServiceError):
    """Nobody has decided in time. What was asked may be carried out or not; asking again is safe."""
