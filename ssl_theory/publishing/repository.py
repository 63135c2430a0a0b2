"""Where the repository lives, as _config.yml says, and every address that follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import yaml

from ssl_theory.publishing.errors import BuildError, UsageError

INSTALL = """\
# Installs the book's library where it is missing, as on Colab; does nothing where it is there.
from importlib.util import find_spec

if find_spec("ssl_theory") is None:
    %pip install --quiet "ssl-theory[notebooks,data] @ git+{url}@{branch}"
"""


@dataclass(frozen=True)
class Repository:
    """The public home of the book's source.

    Attributes:
        url: Its address, without a slash at the end.
        branch: The branch that readers are sent to.
        folder: The folder of the book in it.
        colab: The address of Colab; empty to offer none.
        binder: The address of a BinderHub; empty to offer none.
    """

    url: str
    branch: str = "main"
    folder: str = "book"
    colab: str = ""
    binder: str = ""

    @property
    def install(self) -> str:
        """The source of the cell that installs the library from here."""
        return INSTALL.format(url=self.url, branch=self.branch).rstrip()

    def source(self, place: str) -> str:
        """Return the address of a chapter's notebook."""
        return f"{self.url}/blob/{self.branch}/{quote(f'{self.folder}/{place}.ipynb')}"

    def links(self, place: str) -> dict[str, str]:
        """Return where the notebook of a chapter can be opened: a name for each address.

        Args:
            place: The chapter's path in the book, without its ending.
        """
        path = f"{self.folder}/{place}.ipynb"
        home = urlsplit(self.url)
        name, branch = home.path.strip("/").removesuffix(".git"), quote(self.branch, safe="")
        hub = f"git/{quote(self.url, safe='')}"
        found = {}
        if home.netloc == "github.com":
            hub = f"gh/{name}"
            if self.colab:  # which opens notebooks from GitHub alone
                found["Colab"] = f"{self.colab}/github/{name}/blob/{branch}/{quote(path)}"
        if self.binder:
            inside = quote(f"lab/tree/{path}", safe="")
            found["Binder"] = f"{self.binder}/v2/{hub}/{branch}?urlpath={inside}"
        return found


def placed(config: str, url: str) -> str:
    """Return a _config.yml that names another address of the repository.

    Args:
        config: The text of a _config.yml.
        url: The address.

    Raises:
        UsageError: If it is no address, or the text names none that it could replace.
    """
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?(/[\w.~%@:+-]+)+/?", url, re.ASCII):
        raise UsageError(
            f"--repository-url must be an address such as https://github.com/someone/a-fork, got {url!r}"
        )
    text, count = re.subn(r"^(repository:\n\s+url: ).*$", lambda m: m[1] + url, config, count=1, flags=re.M)
    if count == 0:
        raise UsageError("--repository-url finds no address of a repository in _config.yml to replace")
    return text


def repository(config: str) -> Repository | None:
    """Return the repository that a _config.yml names, or None if it names none.

    Raises:
        BuildError: If the text is not what a _config.yml should hold.
    """
    try:
        settings = yaml.safe_load(config) or {}
        place, buttons = settings.get("repository") or {}, settings.get("launch_buttons") or {}
        url = place.get("url") or ""
    except (yaml.YAMLError, AttributeError) as error:
        raise BuildError(f"_config.yml is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(url, str) or not url:
        return None
    return Repository(
        url=url.rstrip("/"),
        branch=place.get("branch", "main"),
        folder=place.get("path_to_book", "book"),
        colab=buttons.get("colab_url", "").rstrip("/"),
        binder=buttons.get("binderhub_url", "").rstrip("/"),
    )
