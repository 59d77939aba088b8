"""A page in a browser, as a person with a screen of some size and a taste for dark or light sees it."""

import json
from pathlib import Path
from typing import Any

from selenium.webdriver.support.ui import WebDriverWait

Driver = Any


def open_page(
    browser: Driver, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, fragment: str = ""
) -> None:
    """A fresh page; what was logged before is forgotten."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    # Reduced motion: a page that still glides is a page on which a click lands beside its target.
    media = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in media.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(f"file://{path}{fragment}")
    # The page replaces a blank one in another process: `get` may return while the blank one still answers.
    loaded = "return location.protocol === 'file:' && document.readyState === 'complete'"
    WebDriverWait(browser, 30).until(lambda each: each.execute_script(loaded))


def grave_violations(browser: Driver, axe: str) -> list[str]:
    """What axe-core, given as its source, calls serious or critical on the open page."""
    # Evaluated by the debugger: the page's own policy lets no foreign script in.
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    asked = {
        "expression": "axe.run().then((found) => JSON.stringify(found.violations))",
        "awaitPromise": True,
        "returnByValue": True,
    }
    violations = json.loads(browser.execute_cdp_cmd("Runtime.evaluate", asked)["result"]["value"])
    return [
        f"{found['id']}: {found['help']}: {[node['html'][:160] for node in found['nodes'][:3]]}"
        for found in violations
        if found["impact"] in ("serious", "critical")
    ]
