"""Pictures of the dashboard for README.md and docs/: ``make screenshots``.

A broker and a gateway of their own, real traffic, a real alarm, and a broker that is
stopped; about thirteen minutes, as the charts have ten.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(HERE.parent / "support")]

import control  # noqa: E402
from chromium import Chromium  # noqa: E402
from shop import Traffic, World  # noqa: E402

# The page takes the system's font, and a server's has not the look of a desktop's.
FONTS = """<?xml version="1.0"?><fontconfig>
<alias><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
<alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
</fontconfig>"""
LAPTOP = (1366, 768)
PHONE = (390, 844)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--seconds", type=float, default=600, help="of traffic before it is busy")
    return parser.parse_args()


def use_fonts(home):
    """Give fonts to a Chromium whose home this is."""
    directory = home / ".config" / "fontconfig"
    directory.mkdir(parents=True)
    (directory / "fonts.conf").write_text(FONTS)


def smaller(png):
    """Return the picture with a palette; nobody sees the difference."""
    command = ["pngquant", "--strip", "--quality=80-100", "-"]
    return subprocess.run(command, input=png, capture_output=True, check=True).stdout


class Camera:
    """Takes one page's pictures into a directory."""

    def __init__(self, page, directory):
        self._page = page
        self._directory = directory

    def take(self, name, size=LAPTOP, *, scheme="light", scale=2, whole=False):
        self._page.prefer(scheme)
        self._page.size(*size, scale=scale, mobile=size == PHONE)
        self._page.wait_for("new Promise(done => setTimeout(done, 1500, true))")  # drawn anew
        self._page.evaluate("scrollTo(0, 0)")
        taken = smaller(self._page.screenshot(whole=whole))
        file = self._directory / f"dashboard-{name}.png"
        file.write_bytes(taken)
        print(f"{file}: {len(taken) / 1000:.0f} KB", flush=True)


def main():
    options = arguments()
    options.directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        use_fonts(home)
        world = stack.enter_context(World(home))
        chromium = stack.enter_context(Chromium(home, "--hide-scrollbars"))
        page = stack.enter_context(chromium.user())
        camera = Camera(page, options.directory)
        page.size(*LAPTOP)
        page.open(world.gateway.url)
        page.wait_for("document.body.dataset.state === 'live'")
        page.evaluate("document.documentElement.style.scrollbarGutter = 'auto'")  # it has no bar
        camera.take("idle")
        broker_is = "document.body.dataset.broker === '{}'".format
        with Traffic(world.gateway):
            time.sleep(options.seconds)
            page.wait_for(broker_is("connected"))
            camera.take("busy")
            camera.take("busy-dark", scheme="dark")
            camera.take("phone", PHONE)
            control.use_up_memory(world.broker)
            page.wait_for(broker_is("blocked"), 20)
            time.sleep(10)
            camera.take("blocked")
            control.limit_memory(world.broker)
            page.wait_for(broker_is("connected"), 20)
            time.sleep(20)
            world.broker.node.stop()
            page.wait_for(broker_is("unreachable"), 20)
            time.sleep(10)
            camera.take("broker-away")
    return 0


if __name__ == "__main__":
    sys.exit(main())
