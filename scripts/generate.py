"""Writes what is made from the models and commands: JSON Schemas, suite reference, manual page. Tests compare them."""

import json
from pathlib import Path

from gpubench.profile.figures.summary_model import json_schema
from gpubench.tools.man_page import man_page
from gpubench.tools.schemas import contest_schema, record_schema, suite_schema
from gpubench.tools.suite_reference import suite_reference

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    schemas = {"suite-1": suite_schema(), "record-2": record_schema(), "profile-1": json_schema()}
    schemas["contest-1"] = contest_schema()
    for name, schema in schemas.items():
        (ROOT / "schemas" / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    (ROOT / "docs" / "suite-reference.md").write_text(suite_reference(), encoding="utf-8")
    (ROOT / "docs" / "gpubench.1").write_text(man_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
