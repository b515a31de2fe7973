"""Make docs/pages.png, the picture of the README: the report of a run beside the trace of one sentence.

    python tools/picture.py runs/stories-laptop

The two pages are the ones that `tinyllm report` and `tinyllm trace` wrote, without the rows of figures (of
which some depend on the machine) and some other parts, so that the rest can be read. Needs chromium and
pngquant.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pages.png"
WIDTH, HEIGHT, GAP, SCALE = 620, 1020, 28, 1.5  # of one page, in CSS pixels; device pixels for each of them
MOST_BYTES = 250_000
FRAME = """<!DOCTYPE html><style>
body { margin: 0; padding: %(gap)spx; display: flex; gap: %(gap)spx; background: #ece9e1; }
iframe { width: %(width)spx; height: %(height)spx; border: 0; border-radius: 12px;
  box-shadow: 0 2px 14px #0003; }
</style><iframe src="report.html" scrolling="no"></iframe><iframe src="trace.html" scrolling="no"></iframe>
"""
LEFT_OUT = """main { padding-top: 2rem } header { margin-bottom: 1.5rem }
.numbers, .trio, .scale, details { display: none }"""


def main(run: str) -> int:
    """Draw the picture; return 1 if it becomes larger than MOST_BYTES."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder:
        page, drawn = Path(folder, "page.html"), Path(folder, "page.png")
        page.write_text(FRAME % {"width": WIDTH, "height": HEIGHT, "gap": GAP}, "utf-8")
        for name in ("report.html", "trace.html"):
            text = Path(run, name).read_text("utf-8")
            Path(folder, name).write_text(text.replace("</style>", LEFT_OUT + "</style>", 1), "utf-8")
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--window-size={2 * WIDTH + 3 * GAP},{HEIGHT + 2 * GAP}",
             f"--force-device-scale-factor={SCALE}", f"--screenshot={drawn}",
             page.as_uri()], check=True, stderr=subprocess.DEVNULL)
        command = ["pngquant", "--force", "--strip", "--speed", "1", "--output", PICTURE, "160", drawn]
        subprocess.run(command, check=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")
    return int(PICTURE.stat().st_size > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
