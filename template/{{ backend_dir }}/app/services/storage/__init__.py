"""Files: a seam. Nothing is plugged in yet, and this says how to change that.

An endpoint asks for `CurrentStorage` (in `app/api/deps.py`) and gets what `app.state.storage`
holds. Write a class with the methods of `Storage` in a module beside this one, and set
`app.state.storage` in `lifespan` (in `app/main.py`). Files in a folder, for development, or for one
replica with a disk that stays:

```python
import asyncio
from pathlib import Path

from app.services.storage import NoSuchFile, Storage


class FolderStorage(Storage):
    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    async def put(self, key: str, content: bytes) -> None:
        path = self._path(key)
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(path.write_bytes, content)

    async def get(self, key: str) -> bytes:
        try:
            return await asyncio.to_thread(self._path(key).read_bytes)
        except FileNotFoundError:
            raise NoSuchFile(key) from None

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def url(self, key: str, *, seconds: int = 300) -> str | None:
        return None  # a folder has no address of its own

    def _path(self, key: str) -> Path:
        path = (self.folder / key).resolve()
        if not path.is_relative_to(self.folder):
            raise ValueError("the key leads out of the folder")
        return path
```

S3, or what speaks its language (R2, MinIO, Tigris), with a bucket and keys that come from
`app/core/settings.py`; boto3 blocks, so each call goes through `asyncio.to_thread`, as above, or
take aioboto3:

- `put`: `client.put_object(Bucket=bucket, Key=key, Body=content)`
- `get`: `client.get_object(Bucket=bucket, Key=key)["Body"].read()`; its `NoSuchKey` is `NoSuchFile`
- `delete`: `client.delete_object(Bucket=bucket, Key=key)`
- `url`: `client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key},
  ExpiresIn=seconds)`

What is larger than a request's body may be (1 MiB) goes to S3 from the browser, by a presigned
`put_object`.
"""

from typing import Protocol

from app.services.errors import ServiceError


class NoSuchFile(ServiceError):
    """No file has this key. Give it a 404 in `app/api/problems.py`."""


class Storage(Protocol):
    """Keeps files. A key, such as `avatars/0b5c.png`, is the application's, never a client's."""

    async def put(self, key: str, content: bytes) -> None:
        """Keep a file, in place of an older one with this key."""
        ...

    async def get(self, key: str) -> bytes:
        """Return a file's content. Raise `NoSuchFile`."""
        ...

    async def delete(self, key: str) -> None:
        """Forget a file, if there is one."""
        ...

    async def url(self, key: str, *, seconds: int = 300) -> str | None:
        """Return an address where a browser gets the file for so long; None means: answer `get`."""
        ...
