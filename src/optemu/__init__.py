"""optemu: OP-TEE without the board."""

__version__ = "0.1.0"
