"""The long table of a run as a file: CSV and Parquet."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.long_table import SETTINGS, case_frame, cases_of, with_figures
from gpubench.report.render.csv_text import safe_table
from gpubench.report.sinks.exported_run import ExportedRun
from gpubench.store.atomic_files import write_output
from gpubench.suite.model.case import Case

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {bool: "boolean", int: "Int64", float: "float64"}


_CASES_AT_ONCE = 500


def long_table(run: ExportedRun) -> "pd.DataFrame":
    """The table of `gpubench show --csv`; for a run with arms with a column `arm`, and the rows of one arm after the
    other.
    """
    return with_figures(_rows(run), _cases(run))


def csv_parts(run: ExportedRun, index: int | None = None) -> Iterator[str]:
    """The same as CSV, some cases at a time: the whole table of ten thousand cases takes a gigabyte. `index` limits it
    to the case with this number.
    """
    rows, cases = _rows(run), _cases(run)
    if index is not None:
        kept = [at for at, case in enumerate(cases) if case.planned.index == index]
        rows, cases = rows.iloc[kept], [cases[at] for at in kept]
    for start in range(0, max(1, len(cases)), _CASES_AT_ONCE):
        part = slice(start, start + _CASES_AT_ONCE)
        yield safe_table(with_figures(rows.iloc[part], cases[part])).to_csv(index=False, header=start == 0)


def _rows(run: ExportedRun) -> "pd.DataFrame":
    import pandas as pd

    tables = []
    for arm, summary in run.sides.items():
        table = case_frame(summary)
        if arm:
            table.insert(0, "arm", arm)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _cases(run: ExportedRun) -> list[CaseSummary]:
    return [case for summary in run.sides.values() for case in cases_of(summary)]


def typed_table(run: ExportedRun) -> "pd.DataFrame":
    """The same with a type for every column that does not depend on the values of the run, so that the files of many
    runs can be read as one table. Only `batch_size` is text if a case asks for `max`, else whole numbers.
    """
    table = long_table(run)
    types = {name: "string" for name in table.select_dtypes(exclude="number") if name not in SETTINGS}
    for name in SETTINGS:
        types[name] = _column_type(Case.model_fields[name].annotation, table[name])
        if types[name] == "string":
            table[name] = [None if value is None else str(value) for value in table[name]]
    return table.astype(types)


def write_csv(run: ExportedRun, path: str) -> str:
    """Writes the table as CSV and returns its path. StoreError if it cannot be written."""
    write_output(Path(path), "".join(csv_parts(run)))
    return path


def write_parquet(run: ExportedRun, path: str) -> str:
    """Writes the table as Parquet and returns its path; what is absent is null. StoreError if it cannot be written."""
    table = typed_table(run)
    table.attrs.update(run.facts())
    content = io.BytesIO()
    table.to_parquet(content, engine="pyarrow", index=False)
    write_output(Path(path), content.getvalue())
    return path


def _column_type(annotation: Any, values: "pd.Series[Any]") -> str:
    kinds = set(_kinds(annotation))
    if kinds == {int, str} and all(value is None or isinstance(value, int) for value in values):
        kinds = {int}
    return _TYPES.get(kinds.pop(), "string") if len(kinds) == 1 else "string"


def _kinds(annotation: Any) -> Iterator[type]:
    """The types of values that an annotation allows, without None."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from (type(value) for value in arguments)
    elif origin is Annotated:
        yield from _kinds(arguments[0])
    elif arguments and origin is not dict:
        for argument in arguments:
            yield from _kinds(argument)
    elif annotation is not type(None):
        yield origin or annotation
