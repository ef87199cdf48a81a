"""Resolves a model's name to a directory on this machine."""

from __future__ import annotations

import errno
from importlib.resources import files
from pathlib import Path

from daemon.base.errors import UserError, first_line
from daemon.base.hub import hub_answers, hub_id
from daemon.model.description.architecture import MAX_WEIGHT_BYTES
from daemon.model.description.files import CONFIG, PREPROCESSOR, WEIGHTS
from daemon.model.description.info import read_model_info

BUNDLED = "bundled"
_BUNDLED_DIRECTORY = "commands"


def resolve_model(path: str, *, offline: bool = False) -> Path:
    """The directory of the model that `path` names.

    Args:
        path: a directory, a hub id ("hub:owner/name", or "owner/name" with no folder `owner`
            here), or "" or "bundled" for the model that comes with intentd. A directory that
            exists wins over a hub id.
        offline: ask no hub; a hub id must then be in the cache. Also without it the cache comes
            first, so that runs repeat and need no network.

    Raises:
        UserError: there is no such directory, or the hub can't be reached or has no such model.
    """
    if path in ("", BUNDLED):
        return bundled_model()
    directory = Path(path).expanduser()
    try:
        if directory.is_dir():
            return directory
        if directory.is_file():
            hint = f"give its directory, {directory.parent}"
            raise UserError(f"the model {path} is a file, not a directory; {hint}")
    except (OSError, ValueError):  # a name that no file can have
        pass
    name = hub_id(path)
    if name is None:
        raise UserError(
            f"there is no model directory {path}; give a directory that exists, or a hub id such "
            "as superb/wav2vec2-base-superb-ks (with hub: before it where a folder here is called "
            "like the owner)"
        )
    return _from_hub(name, offline)


def bundled_model() -> Path:
    """Directory of the bundled model.

    Raises:
        UserError: this installation lacks it.
    """
    directory = Path(str(files("daemon") / "bundled" / _BUNDLED_DIRECTORY))
    if not (directory / CONFIG).is_file():
        raise UserError(
            "this installation comes without the bundled model; reinstall intentd, or name a "
            "model with --model"
        )
    return directory


def _from_hub(name: str, offline: bool) -> Path:
    """Fetch the three files of a hub's model that running needs.

    The two descriptions come first and are checked before the weights are fetched.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    cached = _cached(name)
    if cached is not None:
        return cached
    if offline:
        raise UserError(f"the model {name} is not in the cache of the hub; run once with network")
    if not hub_answers():
        raise _unreachable(name)
    try:
        _ask_hub(name)
        directory = Path(hf_hub_download(name, CONFIG)).parent
        revision = directory.name  # the other files of the very same commit
        hf_hub_download(name, PREPROCESSOR, revision=revision)
        read_model_info(directory)
        hf_hub_download(name, WEIGHTS, revision=revision)
    except GatedRepoError:
        raise UserError(
            f"the model {name} is handed out on request only; accept its terms on the hub's page, "
            "log in with `hf auth login`, and run again"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no model {name}, neither as a directory here nor on the hub; check the name"
        ) from None
    except OfflineModeIsEnabled:
        raise _unreachable(name) from None
    except EntryNotFoundError:
        raise UserError(
            f"the model {name} on the hub lacks {CONFIG}, {PREPROCESSOR} or {WEIGHTS}; choose one "
            "that has its weights as safetensors"
        ) from None
    except HfHubHTTPError as error:
        raise UserError(
            f"the hub does not hand out the model {name} ({first_line(error, 120)}); "
            "check the name, or try again later"
        ) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"no space is left to fetch the model {name}; make room") from None
        raise _unreachable(name) from None
    except Exception as error:  # of whichever HTTP client the hub's library uses
        if isinstance(error, UserError):
            raise
        raise _unreachable(name) from None
    return directory


def _ask_hub(name: str) -> None:
    """Raise if the hub lacks a file, or the weights are too large to load.

    Asks once for each file, where a download would try for half a minute.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    found = [
        get_hf_file_metadata(hf_hub_url(name, file)) for file in (CONFIG, PREPROCESSOR, WEIGHTS)
    ]
    size = found[-1].size or 0
    if size > MAX_WEIGHT_BYTES:
        raise UserError(
            f"the weights of {name} take {size / 2**30:.1f} GB; intentd loads at most "
            f"{MAX_WEIGHT_BYTES / 2**30:.0f} GB, so use a smaller model"
        )


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(name, file) for file in (CONFIG, PREPROCESSOR, WEIGHTS)]
    parents = {Path(file).parent for file in found if isinstance(file, str)}
    return parents.pop() if len(parents) == 1 and None not in found else None


def _unreachable(name: str) -> UserError:
    return UserError(
        f"the model {name} is no directory here and the hub can't be reached to fetch it; "
        "connect to the network, or give a model directory"
    )
