"""Turns a folder, a GGUF file or a hub id into a path on this machine, downloading only the files that were asked for."""

import os
from collections.abc import Sequence
from pathlib import Path

from conjoin.errors import CheckpointError
from conjoin.gguf import is_gguf

__all__ = ["resolve", "upload"]


def resolve(
    name: str | Path,
    *,
    files: Sequence[str],
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
) -> Path:
    """The folder that holds the files of `name`; or the GGUF file, which is all of them in one.

    `name` is an existing folder, an existing file that ends in .gguf, or else a hub id ("owner/name" or "name"). What
    exists always wins, and what looks like a path (a Path, absolute, starts with "." or "~", ends in ".gguf", more than
    one slash, or an existing file) is never looked up on a hub, so that a mistyped path cannot fetch a stranger's files.

    `files` are names or glob patterns of the files to download, relative to the repository; `revision` is a branch,
    a tag or a commit; `token` a hub token, True for the stored one or False for none; with `local_files_only`, or
    offline (HF_HUB_OFFLINE=1), only the cache is read. HF_ENDPOINT, HF_HOME and huggingface_hub's other variables hold.

    Raises CheckpointError where there is no such folder, repository, revision, or none of `files` in it, and where
    the hub refuses or cannot be reached.
    """
    if not isinstance(name, str | Path):
        raise CheckpointError(f'a folder or a hub id such as "owner/name" was expected, not {name!r}.')
    if name == "":
        raise CheckpointError('An empty name was passed: pass an existing folder, or a hub id such as "owner/name".')
    folder = Path(name).expanduser()
    if folder.is_dir() or is_gguf(folder):
        return folder
    if isinstance(name, Path) or _looks_like_a_path(name):
        raise CheckpointError(_no_folder(name, folder))
    return _download(name, files, revision, token, local_files_only, cache_dir)


def _looks_like_a_path(name: str) -> bool:
    begins = name.startswith((".", "~", os.sep)) or os.path.isabs(name)
    return begins or name.endswith(".gguf") or name.count("/") > 1 or "\\" in name or Path(name).exists()


def _no_folder(name: str | Path, folder: Path) -> str:
    if folder.exists():
        return f'"{name}" is a file, and a folder was expected: pass the folder that it lies in.'
    return f'The folder "{name}" does not exist: pass an existing folder, or a hub id such as "owner/name".'


def _download(
    name: str,
    files: Sequence[str],
    revision: str | None,
    token: str | bool | None,
    local_files_only: bool,
    cache_dir: str | Path | None,
) -> Path:
    # Imported here: it takes a tenth of a second, and whoever opens a folder does not need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    # The HTTP library's own error, of whichever library this version of huggingface_hub uses: httpx, httpx2, requests.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # isort: skip

    try:
        found = snapshot_download(
            name,
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
            allow_patterns=list(files),
            # huggingface_hub reads the variable when it is first imported; a change made after that shall count too.
            endpoint=os.environ.get("HF_ENDPOINT") or None,
        )
    except (HFValidationError, HTTPError, OSError) as error:
        raise CheckpointError(_explain(error, name, revision)) from error
    folder = Path(found)
    if not folder.is_dir() or not any(folder.iterdir()):
        raise CheckpointError(f'The hub repository "{name}" holds none of the files looked for: {", ".join(files)}.')
    return folder


def upload(
    folder: Path,
    repo_id: str,
    *,
    commit_message: str,
    private: bool | None,
    token: str | bool | None,
    revision: str | None,
    create_pr: bool,
) -> str:
    """Puts a folder's files into a repository of the hub, which is made where there is none; returns the commit's address.

    Raises CheckpointError where the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # isort: skip

    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    try:
        made = hub.create_repo(repo_id, private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
        )
    except (HFValidationError, HTTPError, OSError) as error:
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise CheckpointError(
            f'"{repo_id}" could not be written on the hub ({type(error).__name__}: {said}).'
        ) from error
    return str(done.commit_url)


def _explain(error: Exception, name: str, revision: str | None) -> str:
    """One sentence for each way in which a download fails."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__  # the hub did answer, and its answer says more than that the cache is empty
    first_line = str(error).partition("\n")[0]
    match error:
        case HFValidationError():
            return f'"{name}" is neither an existing folder nor a hub id of the form "owner/name".'
        case GatedRepoError():
            return f'The hub repository "{name}" is gated: accept its terms on the hub, and pass token=.'
        case RepositoryNotFoundError():
            return (
                f'There is neither a folder nor a hub repository "{name}": check the name; '
                "a private repository needs token=."
            )
        case RevisionNotFoundError():
            return f'The hub repository "{name}" has no revision "{revision or "main"}": pass one that it has.'
        case LocalTokenNotFoundError():
            return f'token=True was passed for "{name}", and no token is stored here: run `hf auth login`.'
        case LocalEntryNotFoundError():
            return (
                f'"{name}" is no folder, its revision "{revision or "main"}" is not complete in the local cache, and '
                "the hub was not asked or did not answer: download it once online, or pass a folder."
            )
        case HfHubHTTPError():
            return f'The hub answered {error.response.status_code} for "{name}": try again, or pass a folder.'
    return f'"{name}" could not be downloaded ({type(error).__name__}: {first_line}).'
