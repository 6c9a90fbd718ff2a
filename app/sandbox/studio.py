"""Keeps every film on disk by its content and has at most two made at once, off the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.sandbox.film import TINY, Order, shoot

_CAMERAS = 2


class Studio:
    """Films by order: each is made once, when it is first wanted."""

    def __init__(self, data_dir: Path, *, tiny: bool) -> None:
        self.stills = data_dir / "stills"
        self._films = data_dir / "films"
        for folder in (self.stills, self._films):
            folder.mkdir(parents=True, exist_ok=True)
        self._tiny = tiny
        self._cameras = ThreadPoolExecutor(_CAMERAS, thread_name_prefix="camera")
        self._shooting: dict[str, asyncio.Task[Path]] = {}
        self.shot = 0

    def close(self) -> None:
        self._cameras.shutdown(wait=False, cancel_futures=True)

    def ready(self, order: Order) -> Path | None:
        """Return the film if it exists already."""
        path = self._path(order)
        return path if path.exists() else None

    async def film(self, order: Order) -> Path:
        """Return the film, made now if need be."""
        if path := self.ready(order):
            return path
        return await asyncio.shield(self._begin(order))

    def want(self, order: Order) -> None:
        """Have the film made in the background: somebody is waiting for its generation."""
        if self.ready(order) is None:
            self._begin(order)

    def _path(self, order: Order) -> Path:
        return self._films / f"{(TINY if self._tiny else order).key}.mp4"

    def _begin(self, order: Order) -> asyncio.Task[Path]:
        path = self._path(order)
        task = self._shooting.get(path.name)
        if task is None:
            task = asyncio.create_task(self._shoot(TINY if self._tiny else order, path))
            self._shooting[path.name] = task
            task.add_done_callback(lambda done: self._wrap_up(path.name, done))
        return task

    async def _shoot(self, order: Order, path: Path) -> Path:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._cameras, lambda: shoot(order, stills=self.stills, path=path))
        self.shot += 1
        return path

    def _wrap_up(self, name: str, done: asyncio.Task[Path]) -> None:
        """Forget the task, so that a failed film is tried again; see its error, so that asyncio does not complain."""
        del self._shooting[name]
        if not done.cancelled():
            done.exception()
