"""The backtest's results to look at: tables for a terminal. As JSON they are as they are."""

from typing import Any

COLUMNS: dict[str, dict[str, tuple[str, str]]] = {
    "cpu": {
        "slack": ("slack", "{:.3f}"),
        "under": ("under, min/day", "{:.1f}"),
        "unserved": ("unserved", "{:.2%}"),
        "exceeded": ("days exceeded", "{:.1%}"),
        "changes": ("changes/day", "{:.2f}"),
        "held": ("held", "{:.1%}"),
    },
    "memory": {
        "slack": ("slack", "{:.3f}"),
        "exceeded": ("OOM-days", "{:.1%}"),
        "changes": ("changes/day", "{:.2f}"),
        "held": ("held", "{:.1%}"),
    },
    "replicas": {
        "replicas": ("replicas ÷ oracle", "{:.2f}"),
        "under": ("under target, min/day", "{:.1f}"),
        "saturated": ("saturated, min/day", "{:.1f}"),
        "changes": ("changes/day", "{:.1f}"),
    },
}
NAMES = {"cpu": "CPU", "memory": "memory", "replicas": "replicas"}


def tables(results: dict[str, Any]) -> list[Any]:
    """A rich table for each resource, and one for each curve of slack against safety."""
    found = []
    about = f"{results['series']} series, {results['days']} days"
    for what, name in NAMES.items():
        if rows := results.get(what):
            found.append(_table(f"{name} ({about})", "policy", what, rows))
        if rows := results["curves"].get(what):
            found.append(_table(f"{name}: slack against safety", "caution", what, rows))
    return found


def _table(title: str, first: str, what: str, rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    columns = {
        key: said
        for key, said in COLUMNS[what].items()
        if any(row.get(key) is not None for row in rows)
    }
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name, _ in columns.values():
        table.add_column(name, justify="right")
    for row in rows:
        cells = [
            "" if row.get(key) is None else shape.format(row[key])
            for key, (_, shape) in columns.items()
        ]
        table.add_row(str(row[first]), *cells)
    return table
