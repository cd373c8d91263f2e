"""What can be said of the looks of any page: its colours, and whether all of it can be read."""

from __future__ import annotations

from webdriver import Browser


def is_dark(browser: Browser) -> bool:
    return bool(
        browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")
    )


def contrasts(browser: Browser) -> list[str]:
    """The elements whose text stands out too little."""
    found: list[str] = browser.run(
        """
        const canvas = document.createElement('canvas');
        const brush = canvas.getContext('2d', {willReadFrequently: true});
        const channels = (colour) => {
          brush.clearRect(0, 0, 1, 1);
          brush.fillStyle = colour;
          brush.fillRect(0, 0, 1, 1);
          return [...brush.getImageData(0, 0, 1, 1).data];
        };
        const light = (colour) => {
          const part = colour.slice(0, 3).map((c) => c / 255)
            .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
          return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
        };
        const behind = (element) => {
          for (let e = element; e; e = e.parentElement) {
            const colour = channels(getComputedStyle(e).backgroundColor);
            if (colour[3] === 255) return colour;
          }
          return [255, 255, 255, 255];
        };
        const shown = (element) => element.getClientRects().length
          && !element.closest('script, :disabled, .skip')
          && [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        const low = [];
        for (const element of [...document.querySelectorAll('body *')].filter(shown)) {
          const style = getComputedStyle(element);
          const ink = channels(element instanceof SVGElement ? style.fill : style.color);
          const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
          const name = `${element.tagName}.${element.getAttribute('class')}`;
          if ((a + 0.05) / (b + 0.05) < 4.5) low.push(`${name}: ${element.textContent}`);
        }
        return low;
        """
    )
    return found
