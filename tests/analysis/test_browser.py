"""The report in a real browser: nothing fails, nothing is missing."""

import shutil
import subprocess

import pytest

from bsd.analysis.report import write_report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

#: Writes what the page made of its images into the page, once all is loaded.
PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  const loaded = images.filter((image) => image.complete && image.naturalWidth > 800);
  document.title = `loaded ${loaded.length} of ${images.length}, ` +
    `wide ${document.documentElement.scrollWidth > innerWidth}`;
});
</script></body>"""


def browse(page, tmp_path, *options):
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
            "--window-size=1000,1200", *options, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("broken", [False, True], ids=["report", "broken"])
def test_report_opens_in_a_browser(results_folder, tmp_path, broken):
    path = write_report(results_folder)
    assert path.stat().st_size < 10e6
    html = path.read_text(encoding="utf-8")
    if broken:  # so that the checks below are known to see it
        html = html.replace("</main>", '<img src="missing.png"><script>oops()</script></main>')
    page = tmp_path / "page.html"
    page.write_text(html.replace("</body>", PROBE), encoding="utf-8")
    done = browse(page, tmp_path, "--dump-dom", "--virtual-time-budget=10000")
    n = html.count("<img")
    complete = f"loaded {n} of {n}, wide false" in done.stdout
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert (complete and not errors) != broken, (done.stdout[:300], errors)
