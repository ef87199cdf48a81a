"""Pushing a finished model to the hub, where a recipe asks for it."""

from __future__ import annotations

from pathlib import Path

from daemon.base.errors import UserError

FILES = ["*config.json", "model.safetensors", "README.md", "report/*.png"]
"""What intentd and a reader of the card need; clips, splits and checkpoints stay here."""


def push(folder: Path, repository: str) -> str:
    """Upload the model in `folder` to the hub id `repository`.

    It is made if need be. Returns its address.

    Raises: UserError (status 1) if the hub cannot be reached or refuses; the model stays.
    """
    from huggingface_hub import HfApi

    try:
        hub = HfApi()
        hub.create_repo(repository, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=FILES, commit_message="Train"
        )
    except Exception as error:  # of the hub, or of whichever HTTP client its library uses
        raise UserError(
            f"The model could not be pushed to {repository} ({str(error).splitlines()[0]}); it is "
            f"complete in {folder}: check the id, the network and `hf auth login`, then push it.",
            status=1,
        ) from error
    return str(done)
