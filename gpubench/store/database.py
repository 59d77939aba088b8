"""Runs of many machines in one database: SQLite by default, PostgreSQL for a team.

The run folder remains the source of truth. For each run the database keeps one document, with the content of a
baseline, and one row per case and metric for queries by other programs. Needs SQLAlchemy, the extra `db`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from gpubench.core.errors import StoreError, UsageError
from gpubench.store.baselines import Baseline
from gpubench.store.run_names import position_of
from gpubench.store.run_reader import RECORDS_NAME, RUN_NAME

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Row

DATABASE_NAME = "gpubench.db"
DATABASE_SCHEMA = 2

_AT_ONCE = 200
_INSTALL = "Install it: pip install 'gpubench[db]'"


@dataclass(frozen=True)
class Figure:
    """A row for queries: the estimate of one metric of one case, in the metric's SI unit."""

    case_id: str
    label: str
    kind: str
    status: str
    validity: str
    metric: str
    unit: str
    value: float
    low: float | None
    high: float | None
    launches: int


@dataclass(frozen=True)
class KeptRun:
    """A run for the database. `stamp` changes when its folder does; `folder` is where it was read."""

    run: str
    created: str
    stamp: str
    folder: str
    tag: str | None
    commit: str | None
    document: Baseline
    figures: Sequence[Figure]


def stamp_of(folder: Path) -> str:
    """Sizes and times of the files that grow during a run. StoreError if one is missing."""
    parts = []
    for name in (RUN_NAME, RECORDS_NAME):
        try:
            facts = (folder / name).stat()
        except FileNotFoundError:
            parts.append("none")
            continue
        except OSError as error:
            raise StoreError(f"cannot read {folder / name}: {error.strerror}") from error
        parts.append(f"{facts.st_size}:{facts.st_mtime_ns}")
    return " ".join(parts)


class Database:
    """A context manager. `url` as SQLAlchemy takes it: `sqlite:///PATH`, `postgresql+psycopg://USER@HOST/NAME`.

    UsageError for an invalid URL or a driver that is not installed, and for a database without tables unless `create`.
    StoreError if the database cannot be reached, written or read. No message contains a password.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        try:
            from sqlalchemy import create_engine
            from sqlalchemy.engine import make_url
            from sqlalchemy.exc import ArgumentError, NoSuchModuleError
        except ModuleNotFoundError as error:
            raise UsageError("a database of runs needs SQLAlchemy", hint=_INSTALL) from error
        try:
            parsed = make_url(url)
            self._engine: Engine = create_engine(parsed)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise UsageError(f"the driver for {parsed.drivername} is not installed: {error}", hint=_INSTALL) from error
        except ArgumentError:
            raise UsageError(
                "that is not the URL of a database",
                hint="Examples: sqlite:///reports/gpubench.db, postgresql+psycopg://user@host/gpubench",
            ) from None
        self.name = parsed.render_as_string(hide_password=True)
        self._tables = _tables()
        self._create = create
        on_disk = parsed.get_backend_name() == "sqlite" and parsed.database
        self._missing = bool(on_disk) and not Path(str(parsed.database)).exists()

    def __enter__(self) -> Self:
        with ExitStack() as unless_opened, self._working():
            unless_opened.callback(self._engine.dispose)
            if self._create:
                self._tables.create_all(self._engine)
            elif self._missing or not self._has_tables():
                raise UsageError(
                    f"the database {self.name} holds no runs", hint="`gpubench db sync --db URL` puts stored runs in."
                )
            self._check_schema()
            unless_opened.pop_all()
        return self

    def _has_tables(self) -> bool:
        from sqlalchemy import inspect

        return inspect(self._engine).has_table("runs")

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def stamps(self) -> dict[tuple[str, str], str]:
        """The stamp of each run, by name and creation time."""
        from sqlalchemy import select

        runs = self._tables.tables["runs"]
        with self._working(), self._engine.connect() as connection:
            rows = connection.execute(select(runs.c.run, runs.c.created, runs.c.stamp))
            return {(row.run, row.created): row.stamp for row in rows}

    def put(self, kept: Iterable[KeptRun]) -> int:
        """Adds or replaces runs, and returns how many. What was added before an error stays."""
        number = 0
        for group in _groups(kept, _AT_ONCE):
            with self._working(), self._engine.begin() as connection:
                for each in group:
                    self._put(connection, each)
            number += len(group)
        return number

    def runs(self, suite: str | None = None) -> Iterator[KeptRun]:
        """The runs, oldest first, without their figures for queries. StoreError for one that this version does not
        understand.
        """
        runs = self._tables.tables["runs"]
        asked = runs.select().order_by(runs.c.created, runs.c.run)
        asked = asked if suite is None else asked.where(runs.c.suite == suite)
        with self._working(), self._engine.connect() as connection:
            for row in connection.execution_options(stream_results=True).execute(asked):
                yield self._kept(row)

    def find(self, reference: str) -> KeptRun:
        """The run with this name: `@last`, `@last~2`, a unique prefix or a tag. UsageError if none or several."""
        from sqlalchemy import select

        runs = self._tables.tables["runs"]
        with self._working(), self._engine.connect() as connection:
            asked = select(runs.c.id, runs.c.run, runs.c.tag).order_by(runs.c.created.desc(), runs.c.run.desc())
            known = connection.execute(asked).all()
            at = position_of(reference, [(row.run, row.tag) for row in known], f"the database {self.name}")
            return self._kept(connection.execute(runs.select().where(runs.c.id == known[at].id)).one())

    def _kept(self, row: "Row[Any]") -> KeptRun:
        try:
            document = Baseline.model_validate_json(row.document)
        except ValidationError as error:
            raise StoreError(f"run {row.run} in {self.name} is of another gpubench: {error}") from error
        return KeptRun(row.run, row.created, row.stamp, row.folder, row.tag, row.commit, document, ())

    def _put(self, connection: "Connection", kept: KeptRun) -> None:
        runs, figures = (self._tables.tables[name] for name in ("runs", "figures"))
        old = connection.execute(
            runs.select().where(runs.c.run == kept.run, runs.c.created == kept.created)
        ).one_or_none()
        if old is not None:
            connection.execute(figures.delete().where(figures.c.run_id == old.id))
            connection.execute(runs.delete().where(runs.c.id == old.id))
        document = kept.document
        added = connection.execute(
            runs.insert().values(
                run=kept.run,
                created=kept.created,
                suite=document.suite,
                machine=document.machine,
                commit=kept.commit,
                tag=kept.tag,
                folder=kept.folder,
                stamp=kept.stamp,
                document=document.model_dump_json(by_alias=True),  # a stored run holds no secrets
            )
        )
        assert added.inserted_primary_key is not None, "the key is a number that the database chose"
        rows = [{"run_id": added.inserted_primary_key[0], **vars(each)} for each in kept.figures]
        if rows:
            connection.execute(figures.insert(), rows)

    def _check_schema(self) -> None:
        from sqlalchemy import select

        schema = self._tables.tables["gpubench_schema"]
        with self._engine.begin() as connection:
            number = connection.execute(select(schema.c.number)).scalar()
            if number is None:
                connection.execute(schema.insert().values(number=DATABASE_SCHEMA))
            elif number != DATABASE_SCHEMA:
                raise StoreError(
                    f"{self.name} was made by another gpubench (schema {number}, this one has {DATABASE_SCHEMA})",
                    hint="Update gpubench, or sync into another database: the run folders have everything.",
                )

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Turns any database error into a StoreError of one line, without the password."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines() or ["it says nothing"]
            raise StoreError(
                f"the database {self.name} cannot be used: {said[0]}",
                hint="What was stored in it before is unchanged; the run folders have everything.",
            ) from error


def _groups(items: Iterable[KeptRun], size: int) -> Iterator[list[KeptRun]]:
    group: list[KeptRun] = []
    for each in items:
        group.append(each)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _tables() -> "MetaData":
    from sqlalchemy import Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

    tables = MetaData()
    text = {name: Column(name, Text, nullable=False) for name in ("run", "created", "suite", "machine")}
    Table("gpubench_schema", tables, Column("number", Integer, nullable=False))
    Table(
        "runs",
        tables,
        Column("id", Integer, primary_key=True),
        *text.values(),
        Column("commit", Text),
        Column("tag", Text),
        Column("folder", Text, nullable=False),
        Column("stamp", Text, nullable=False),
        Column("document", Text, nullable=False),
        UniqueConstraint("run", "created"),
        Index("runs_by_suite", "suite", "created"),
    )
    words = [Column(name, Text, nullable=False) for name in ("label", "status", "validity", "unit")]
    Table(
        "figures",
        tables,
        Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
        Column("case_id", Text, primary_key=True),
        Column("kind", Text, primary_key=True),
        Column("metric", Text, primary_key=True),
        *words,
        Column("value", Float, nullable=False),
        Column("low", Float),
        Column("high", Float),
        Column("launches", Integer, nullable=False),
        Index("figures_by_metric", "metric", "case_id"),
    )
    return tables
