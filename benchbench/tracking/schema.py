"""Age of a database's tables, compared with those that the installed MLflow works on."""

from __future__ import annotations

from typing import Literal

Age = Literal["empty", "older", "same", "newer"]
"""`empty`: there are no tables of MLflow; `newer`: they are of a version that the installed MLflow does not know."""


def age(uri: str) -> Age:
    """Read which migration of MLflow a database has come to.

    Args:
        uri: The database, as SQLAlchemy names it.

    Raises:
        ImportError: The database's driver is not installed.
        sqlalchemy.exc.SQLAlchemyError: It cannot be read.
    """
    from pathlib import Path

    import mlflow
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    if current is None:
        return "empty"
    migrations = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if current == migrations.get_current_head():
        return "same"
    return "older" if current in {known.revision for known in migrations.walk_revisions()} else "newer"
