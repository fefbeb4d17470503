"""Short operation IDs in the OpenAPI document, such as `readMe`: generated clients use them."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any


def shorten_operation_ids(document: dict[str, Any]) -> None:
    """Replace the IDs that FastAPI generates: `read_me_api_v1_users_me_get` becomes `readMe`.

    If endpoint functions have the same name, the ID begins with their first tag (`usersListAll`,
    `projectsListAll`). If that is ambiguous too, they keep FastAPI's ID. An `operation_id` that an
    endpoint sets does not change.
    """
    candidates = [(operation, list(names)) for operation, *names in _candidates(document)]
    uses = Counter(name for _, names in candidates for name in set(names))
    for operation, names in candidates:
        operation["operationId"] = next((it for it in names if uses[it] == 1), names[-1])


def _candidates(document: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield each operation with the IDs that it may get, the best one first."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            generated: str = operation["operationId"]
            # FastAPI's generate_unique_id: the function's name, the path and the method.
            suffix = re.sub(r"\W", "_", path) + f"_{method}"
            name = generated.removesuffix(suffix)
            if name == generated:
                yield operation, generated
            else:
                prefix = operation.get("tags", [""])[0]
                yield operation, _camel_case(name), _camel_case(f"{prefix} {name}"), generated


def _camel_case(text: str) -> str:
    words: list[str] = re.findall(r"[^\W_]+", text)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name[0].lower() + name[1:]
