"""What mkdocs.yml hooks in: the pages beside docs/ become pages of the site, and links are written
for the site. In the files they stand as a code host wants them: relative, from file to file.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_BESIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.txt",
}
_SOURCES = {page: source for source, page in _BESIDE.items()}
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.docs_dir).parent
    for source, page in _BESIDE.items():
        files.append(File.generated(config, page, content=(root / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = page.file.src_uri
    source = _SOURCES.get(here, f"docs/{here}")

    def rewritten(link: re.Match[str]) -> str:
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[0]))
        there = _BESIDE.get(meant, meant.removeprefix("docs/"))
        return posixpath.relpath(there, posixpath.dirname(here) or ".")

    parts = _CODE.split(markdown)  # text, code, text, ...
    return "".join(
        part if place % 2 else _LINK.sub(rewritten, part) for place, part in enumerate(parts)
    )
