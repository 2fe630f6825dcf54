//! `okno tables`: the lake's tables, from the same lines of code that make them.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use okno_model::TableDoc;

use crate::Unusable;
use crate::cli::Tables;

/// Views over the tables, which SQL knows as well.
const VIEWS: [(&str, &str); 1] = [(
    "measurement_verdicts",
    "One row per measurement: measurement_uid, test_name, country, network, target, state, layer, mechanism, probability, and OONI's anomaly, confirmed and blocking. The state is the most alarming of its verdicts (blocked, throttled, down, ok, insufficient); it is ok only if its last step is, else insufficient. anomaly is blocked or throttled with a probability of at least 0.5; confirmed needs a blockpage fingerprint besides; blocking is dns, tcp_ip, http-failure, http-diff, false, or null.",
)];

pub fn run(args: &Tables) -> Result<ExitCode> {
    let mut tables = okno_model::tables();
    if let Some(wanted) = &args.table {
        tables.retain(|table| table.name == wanted);
        if tables.is_empty() {
            let names: Vec<&str> = okno_model::tables().iter().map(|table| table.name).collect();
            return Err(Unusable(format!("no table {wanted}; there are {}", names.join(", "))).into());
        }
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&as_json(&tables))?)?;
    } else if args.markdown {
        write!(out, "{}", markdown(&tables))?;
    } else {
        for table in &tables {
            writeln!(out, "{}: {}", table.name, table.doc)?;
            let width = table.columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
            for column in &table.columns {
                let kind = format!("{}{}", column.kind.name(), if column.nullable { "?" } else { "" });
                writeln!(out, "  {:width$}  {kind:19}  {}", column.name, column.doc)?;
            }
            writeln!(out)?;
        }
        if args.table.is_none() {
            for (name, doc) in VIEWS {
                writeln!(out, "{name} (view): {doc}")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(tables: &[TableDoc]) -> serde_json::Value {
    let column = |column: &okno_model::ColumnDoc| {
        serde_json::json!({
            "name": column.name, "type": column.kind.name(), "nullable": column.nullable, "doc": column.doc,
        })
    };
    tables
        .iter()
        .map(|table| {
            serde_json::json!({
                "name": table.name,
                "doc": table.doc,
                "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn markdown(tables: &[TableDoc]) -> String {
    let mut text = String::from(
        "# Tables of the lake\n\nWritten by `okno tables --markdown`; `cargo xtask tidy` compares. \
         `?` marks columns that may be empty. Times are microseconds since 1970-01-01 UTC.\n",
    );
    for table in tables {
        text.push_str(&format!(
            "\n## {}\n\n{}\n\n| column | type | meaning |\n|---|---|---|\n",
            table.name, table.doc
        ));
        for column in &table.columns {
            let mark = if column.nullable { "?" } else { "" };
            text.push_str(&format!(
                "| `{}` | {}{mark} | {} |\n",
                column.name,
                column.kind.name(),
                column.doc
            ));
        }
    }
    for (name, doc) in VIEWS {
        text.push_str(&format!("\n## {name} (view)\n\n{doc}\n"));
    }
    text
}
