"""Settings of the documentation site, which ``make site`` builds with Sphinx."""

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.findall(r'"([\w.]+)"', (ROOT / "src/statelessd/version.py").read_text())[0]

project = "statelessd"
copyright = "the statelessd contributors"  # noqa: A001 - Sphinx reads this name
version = release = VERSION
extensions = ["myst_parser", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["requirements.txt"]
nitpicky = True

html_theme = "furo"
html_title = f"statelessd {VERSION}"
html_show_sphinx = False
html_copy_source = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
highlight_options = {"php": {"startinline": True}}  # an excerpt has no <?php
# An example of a console shows JSON and ellipses that its lexer does not know.
suppress_warnings = ["misc.highlighting_failure"]

LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _unlink(app: Sphinx, name: str, source: list[str]) -> None:
    """Turn each link to a folder or document of the repository into its text.

    Other files of the repository are copied into the site, as downloads.
    """
    folder = (Path(app.srcdir) / name).parent

    def text(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        is_copied = target.is_file() and target.suffix != ".md"
        stays = not target.exists() or target.is_relative_to(app.srcdir) or is_copied
        return link[0] if stays else link[1]

    source[0] = LINK.sub(text, source[0])


def setup(app: Sphinx) -> None:
    """Register what changes the sources before they are read."""
    app.connect("source-read", _unlink)
