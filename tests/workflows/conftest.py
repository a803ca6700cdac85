"""The service that these tests run: one user on a server whose clock skips."""

from staking_service import idle_service, service, unfunded_service

__all__ = ["idle_service", "service", "unfunded_service"]
