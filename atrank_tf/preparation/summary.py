"""What prepare read, kept and dropped, for a person to read."""

from atrank_tf.data.records import Records
from atrank_tf.report import load_report


def summary(records: Records) -> str:
    """Returns a text of some lines about a records folder."""
    manifest, schema = records.manifest, records.schema
    lines = [
        f"{records.path}: {manifest['users']:,} users in {manifest['shards']} files, made in {manifest['seconds']} s",
        "",
        f"{'file':<32}{'rows read':>14}{'kept':>14}{'dropped':>12}",
    ]
    for label, file in manifest["files"].items():
        lines.append(f"{label:<32}{file['read']:>14,}{file['kept']:>14,}{file['read'] - file['kept']:>12,}")
        for reason, dropped in file["dropped"].items():
            first = f"first: row {dropped['first_row']} of {file['file']}"
            lines.append(f"  {dropped['rows']:,} dropped: {reason} ({first})")
        lines += [f"  {note}" for note in file["notes"]]
    lines += [f"ignored, the schema names no use for it: {path}" for path in manifest["ignored"]]
    lines.append("")
    report = load_report(records.path)
    for name, count in manifest["behaviors"].items():
        first, unknown = report["groups"][name]["by_day"]["first"], manifest["unknown_rate"][name]
        lines.append(f"group {name}: {count:,} behaviors from {first} on, {unknown:.1%} with the unknown id")
    for name, shown in manifest["requests"].items():
        lines.append(
            f"task {name}: {shown['requests']:,} requests, {shown['candidates']:,} candidates, "
            f"{shown['positives']:,} of them positive"
        )
    lines += [f"entity {name}: {entity.rows:,} rows" for name, entity in schema.entities.items()]
    lines.append("tables: " + ", ".join(f"{name} {table.rows:,} rows" for name, table in schema.tables.items()))
    look = [check["look"] for check in report["checks"]]
    lines.append(f"report: {records.path}/report.html, {sum(look)} of {len(look)} checks to look at")
    return "\n".join(lines) + "\n"
