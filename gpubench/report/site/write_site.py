"""Writes a site: static pages over all runs, which need no server and no network."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gpubench.core.errors import StoreError, UsageError
from gpubench.report.listed_folder import ListedFiles
from gpubench.report.render.html import render_html
from gpubench.report.site.site_content import INDEX, SiteContent
from gpubench.report.site.site_pages import site_pages
from gpubench.report.write import draw_together

SITE_LIST = ".gpubench-site"
_PAGES = ListedFiles(SITE_LIST, "html", "a site", "Name a folder that you can write to.")
_AT_ONCE = 25
"""Pages whose charts one process draws: it takes a second to start, and the pages wait in memory."""


def check_site_folder(folder: Path, *, force: bool) -> None:
    """UsageError if the folder has files but no site, unless `force`; StoreError if it cannot be read."""
    try:
        foreign = folder.is_dir() and any(folder.iterdir()) and _PAGES.written_in(folder) is None
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror}") from error
    if foreign and not force:
        raise UsageError(
            f"{folder} has files, but no site of gpubench",
            hint="Name an empty or new folder. --force writes into it: only files of the same names are overwritten.",
        )


def write_site(site: SiteContent, folder: Path, *, force: bool = False) -> Path:
    """Writes every page, removes those of an earlier site that are gone, and returns the path of the index.

    UsageError as `check_site_folder`; StoreError if a page cannot be written.
    """
    check_site_folder(folder, force=force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {folder.parent}: {error.strerror}") from error
    pages = site_pages(site)
    _PAGES.write(folder, pages.keys(), _drawn(site), force=force)
    return folder / INDEX


def _drawn(site: SiteContent) -> Iterator[tuple[str, str]]:
    left = iter(site_pages(site).items())
    while group := list(islice(left, _AT_ONCE)):
        drawn = draw_together([make() for _, make in group])
        for (name, _), (model, drawings) in zip(group, drawn, strict=True):
            yield name, render_html(model, drawings)
