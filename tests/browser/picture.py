"""Take the picture of the report page that the README shows: `make picture`. Needs Chromium.

The page of a real program at its end, with the first border chosen that VM_MERGEABLE alone keeps
apart. The page's own policy forbids foreign scripts, so in the copy that is photographed it goes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from vmatrace.cli import main

ROOT = Path(__file__).parent.parent.parent
PICTURE = ROOT / "docs" / "images" / "report.png"
SIZE = (940, 1300)
CLICK = """
<script>
for (const button of document.querySelectorAll('button.link'))
  if (button.textContent.startsWith('The first one that VM_MERGEABLE')) button.click();
document.getElementById('maps').scrollTop = 400;
window.scrollTo(0, 0);
</script>
"""


def take(browser: str) -> None:
    """Write PICTURE with the program *browser*."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        trace = str(ROOT / "traces" / "programs" / "perl.yaml")
        assert main(["report", trace, "--format", "html", "-o", str(page)]) == 0
        text, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "",
                                 page.read_text(encoding="utf-8"))  # fmt: skip
        assert policies == 1
        page.write_text(text + CLICK, encoding="utf-8")
        width, height = SIZE
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--window-size={width},{height}", f"--screenshot={PICTURE}", page.as_uri()],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip


if __name__ == "__main__":
    take(sys.argv[1])
