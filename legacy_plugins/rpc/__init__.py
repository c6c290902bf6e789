"""Floor 2: one JSON-RPC conversation over one byte stream. It knows no plugin; standard library only."""
from legacy_plugins.rpc.process_client import JsonRpcProcess

__all__ = ["JsonRpcProcess"]
