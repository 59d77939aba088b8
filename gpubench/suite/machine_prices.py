"""What an hour of a machine costs: `2.5/h`, or a file with that of each machine or device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpubench.core.errors import UsageError
from gpubench.core.units import parse_price
from gpubench.suite.load import read_text
from gpubench.suite.read.problems import SourceText, error, suite_error
from gpubench.suite.read.yaml_document import BadText, YamlMapping, plain, read_yaml


@dataclass(frozen=True)
class Price:
    """Money per `hour` of any machine, or, from a file, per hour of those that it names."""

    hour: float | None = None
    path: Path | None = None
    by_name: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_text(cls, text: str) -> "Price":
        """`2.5/h`, or the path of a file. ValueError if it is neither, SuiteError for mistakes in the file."""
        path = Path(text)
        if path.suffix in (".yaml", ".yml") or path.is_file():
            return cls(path=path, by_name=read_prices(path))
        try:
            return cls(hour=parse_price(text))
        except ValueError as error:
            raise ValueError(f"{error}; or name a YAML file of prices") from error

    def of(self, names: Sequence[str]) -> float:
        """The price of a machine with these names, the first that is listed. UsageError if none is."""
        if self.hour is not None:
            return self.hour
        found = [self.by_name[name.casefold()] for name in names if name.casefold() in self.by_name]
        if found:
            return found[0]
        known = ", ".join(map(repr, names)) or "none that was recorded"
        raise UsageError(
            f"{self.path} has no price of this machine, whose names are {known}.",
            hint=f"Add a line: {names[1] if len(names) > 1 else 'NAME'}: 2.5/h",
        )


def read_prices(path: Path) -> dict[str, float]:
    """Money per hour by case-folded name. SuiteError with every mistake and its place; UsageError if the file cannot be
    read.
    """
    text = read_text(path)
    try:
        root, problems = read_yaml(text, SourceText.of_text(str(path), text))
    except BadText as bad:
        raise suite_error([bad.problem]) from bad
    if not isinstance(root, YamlMapping) or not root.entries:
        said = "expected a price for each machine or device, a line each: `NVIDIA H200: 2.5/h`"
        raise suite_error([error("", said, root.mark)])
    found: dict[str, float] = {}
    for name, entry in root.entries.items():
        if name.casefold() in found:
            problems.append(
                error(name, "has two prices: names are the same in small and capital letters", entry.key_mark)
            )
        try:
            found[name.casefold()] = parse_price(plain(entry.node))
        except ValueError as wrong:
            problems.append(error(name, str(wrong), entry.node.mark))
    if problems:
        raise suite_error(problems)
    return found
