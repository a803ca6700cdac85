"""The address at which a process serves metrics."""

import re
from dataclasses import dataclass

from settings import BadConfiguration

_ADDRESS = re.compile(r"(?P<host>\[[^\s\[\]]+\]|[^\s\[\]:/]+):(?P<port>[0-9]{1,5})")
_PORT_MAX = 65535


@dataclass(frozen=True)
class Address:
    """Where a process listens: HOST:PORT."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """``127.0.0.1:9464``, ``0.0.0.0:9464``, ``localhost:9464`` or ``[::]:9464``. Raises ValueError."""
        match = _ADDRESS.fullmatch(text)
        if not match or not 1 <= int(match["port"]) <= _PORT_MAX:
            raise ValueError(f"{text[:80]!r} is not HOST:PORT such as 127.0.0.1:9464")
        return cls(match["host"].strip("[]"), int(match["port"]))

    def of_process(self, index: int) -> "Address":
        """The address for one of several processes: the port is one higher for each. Raises BadConfiguration."""
        if self.port + index > _PORT_MAX:
            raise BadConfiguration(
                f"process {index} would listen at port {self.port + index}, beyond {_PORT_MAX}: choose a lower one"
            )
        return Address(self.host, self.port + index)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
