"""DuckDB for SQLAlchemy. What a statement compiles to is kept, as for PostgreSQL, whose compiler
this is: compiling it anew each time takes longer than DuckDB needs to carry it out."""

import duckdb_engine


class Dialect(duckdb_engine.Dialect):  # type: ignore[misc]
    supports_statement_cache = True
