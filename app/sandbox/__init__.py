"""A stand-in for the upstream that behaves as the real one is documented and makes real MP4s: no money, no network.

`create_app` builds it, `serve` runs it as a process, `running` inside a test.
"""

from app.sandbox.app import create_app
from app.sandbox.config import SandboxConfig
from app.sandbox.server import running, serve

__all__ = ["SandboxConfig", "create_app", "running", "serve"]
