"""Models on the Hugging Face Hub: how they are named, what is downloaded of them, and how they are written there."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaefast import __version__
from vaefast.api.arguments import CUSTOM
from vaefast.api.model_card import model_card
from vaefast.errors import ArgumentError, CheckpointError, HubError, first_line
from vaefast.files import write_atomically
from vaefast.training.storage import read_json

if TYPE_CHECKING:
    from vaefast.api.base import Model

FILES = ("model.json", "model.safetensors")
"""All that is downloaded, the settings first."""
CARD = "README.md"
LARGEST_SETTINGS = 1 << 22
"""Bytes of a model.json; what is larger is none."""
BY_HAND = ("look at it, download it (hf download OWNER/NAME --local-dir DIR), and load the folder with networks that you know.")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_NAME = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,254}}))?")

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class HubName:
    """A repository "owner/name", and the branch, tag or commit of it (None: main)."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


@dataclass(frozen=True)
class Fetched:
    """A downloaded model: its folder, and "owner/name@COMMIT"."""

    folder: Path
    source: str


def located(path: str | os.PathLike[str]) -> HubName | None:
    """What `path` names on the Hub; None where it is a folder here, or cannot be such a name. What exists here always wins."""
    if not isinstance(path, str) or os.path.exists(path):
        return None
    match = _NAME.fullmatch(path)
    if match is None or ".." in path or "--" in path:
        return None
    return HubName(match["repo"], match["revision"])


def fetch(name: HubName, check: Callable[[Any], None]) -> Fetched:
    """Download model.json and model.safetensors of one commit into the Hub's cache, or take them from there when offline.

    Args:
        name: of the model.
        check: is given what model.json holds before the weights are downloaded, and raises for what will not be loaded.

    Raises:
        HubError: huggingface_hub is missing, there is no such model, or the Hub cannot be reached and the cache has it not.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        raise HubError(f"{name} is no folder here; to look for a model of that name on the Hugging Face Hub, pip install "
                       "'vaefast[hub]'.") from None
    known: dict[str, Any] = {"repo_id": name.repo, "endpoint": _endpoint(), "library_name": "vaefast",
                             "library_version": __version__}
    try:
        known["local_files_only"] = not _reached(hub, errors, name)
        settings = Path(hub.hf_hub_download(filename=FILES[0], revision=name.revision, **known))
        commit = settings.parent.name
        if not _COMMIT.fullmatch(commit):
            raise HubError(f"{name} on the Hugging Face Hub is of commit {commit!r}, which is no digest.")
        check(read_json(settings, "a model"))
        hub.hf_hub_download(filename=FILES[1], revision=commit, **known)
    except CheckpointError as error:
        raise error if isinstance(error, HubError) else HubError(str(error)) from error
    except Exception as error:
        raise _error(errors, name, error) from error
    return Fetched(settings.parent, f"{name.repo}@{commit}")


def _endpoint() -> str | None:
    """Another server of the Hub's kind, where HF_ENDPOINT names one."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _reached(hub: Any, errors: Any, name: HubName) -> bool:
    """Whether the Hub answers, which is asked once: a download asks again and again, and a name may be a folder's with a slip.

    Raises:
        HubError: a model.json that is too large to be one. Of `errors` those of a model that is not there.
    """
    try:
        found = hub.get_hf_file_metadata(hub.hf_hub_url(name.repo, FILES[0], revision=name.revision, endpoint=_endpoint()))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError):
        raise
    except Exception:  # of the network, whose kinds depend on the package's version
        return False
    if found.size is not None and found.size > LARGEST_SETTINGS:
        raise HubError(f"{name} holds no model of vaefast: its model.json has {found.size:,} bytes, and settings have at most "
                       f"{LARGEST_SETTINGS:,}.")
    return True


def _error(errors: Any, name: HubName, error: Exception) -> HubError:
    """What went wrong at the Hub, in a sentence."""
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{name} on the Hugging Face Hub asks for consent first: give it on its page, and hf auth login.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(f"{name} is no folder here, and no model on the Hugging Face Hub that you may see; check the name, or hf "
                        "auth login for a private one.")
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{name.repo} on the Hugging Face Hub has no branch, tag or commit {name.revision!r}.")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return HubError(f"{name} is no folder here, and not in the Hugging Face Hub's cache, and the Hub cannot be reached (or "
                        "HF_HUB_OFFLINE is set); name a folder, or try again with a network.")
    if isinstance(error, errors.EntryNotFoundError):
        return HubError(f"{name} on the Hugging Face Hub holds no model of vaefast ({' or '.join(FILES)} is not in it).")
    return HubError(f"{name} on the Hugging Face Hub could not be had: {first_line(error)}")


def push_model(model: Model, repo: str, **options: Any) -> str:
    """`Model.push_to_hub`."""
    with tempfile.TemporaryDirectory(prefix="vaefast-push-") as folder:
        model.save(Path(folder) / "model")
        return push_folder(Path(folder) / "model", repo, model, **options)


def push_folder(folder: Path, repo: str, model: Model, *, run: Mapping[str, Any] | None = None, scores: str | None = None,
                pictures: tuple[str, ...] = (), token: str | None = None, private: bool = False, revision: str | None = None,
                license: str | None = None, message: str = "A model of vaefast") -> str:
    """Upload model.json, model.safetensors, these pictures and a README.md made of what is known; see `Model.push_to_hub`.

    Args:
        folder: holds the files; README.md is written into it, so that it is a copy that may be written to.
        repo: "owner/name".
        model: what the files hold.
        run: a run's config.json; scores: a table of them, as Markdown; pictures: names of files of samples.
        token, private, revision, license, message: as there.
    """
    match = _NAME.fullmatch(repo) if isinstance(repo, str) else None
    if match is None or match["revision"] is not None:
        raise ArgumentError(f"repo is {repo!r}; expected OWNER/NAME" + (", and the branch as revision." if match else "."))
    if CUSTOM in model.config().values():
        raise ArgumentError("this model was built with networks or functions of your own, whose code no folder holds, so that "
                            "nobody could load it from the Hub; share its folder beside the code instead.")
    try:
        import huggingface_hub as hub
    except ImportError:
        raise ArgumentError("huggingface_hub is not installed; pip install 'vaefast[hub]'.") from None
    card = model_card(model, repo, run=run, scores=scores, pictures=pictures, license=license)
    write_atomically(folder / CARD, card.encode())
    try:
        api = hub.HfApi(endpoint=_endpoint(), token=token, library_name="vaefast", library_version=__version__)
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, revision=revision, commit_message=message,
                                 allow_patterns=[*FILES, CARD, *pictures])
    except Exception as error:
        advice = ("the Hub cannot be reached; try again with a network" if "Connect" in type(error).__name__
                  else "hf auth login with a token that may write")
        raise HubError(f"{repo} on the Hugging Face Hub could not be written: {first_line(error)} ({advice}).") from error
    return f"{repo}@{done.oid}"
