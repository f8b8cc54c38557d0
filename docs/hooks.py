"""For mkdocs: README becomes the site's front page, CONTRIBUTING and CHANGELOG pages of it, and links between them and docs/ are turned."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=turned(text.replace("](docs/", "]("), "")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    return turned(markdown, "../")


def turned(text: str, above: str) -> str:
    """Links to the files of PAGES, which lie `above` the text's folder, as links to the pages made of them."""
    return re.sub(
        rf"\]\({re.escape(above)}({'|'.join(map(re.escape, PAGES))})([)#])",
        lambda m: f"]({PAGES[m[1]]}{m[2]}",
        text,
    )
