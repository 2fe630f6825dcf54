//! SQL over a lake: read-only, in bounded memory, with errors that name place and choices.
//!
//! Only statements that read are accepted, and only tables of the lake can be named: there is no way
//! from a query to another file.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::Dialect;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionConfig, SessionContext};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::object_store::path::Path as ObjectPath;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use futures::StreamExt;
use okno_model::TableDoc;
use tokio::runtime::Runtime;

use crate::answer::{Answer, Format, StreamWriter};
use crate::error::{Result, StoreError};
use crate::lake::Lake;
use crate::rows::schema_of;
use crate::table_files::{LakeFile, TableFiles};

/// Memory that a query may use before it spills to the disk.
const MEMORY_BYTES: usize = 256 << 20;
/// Size of an answer that is held whole.
const ANSWER_BYTES: usize = 256 << 20;

/// One row per measurement: its worst verdict. `anomaly` and `confirmed` are OONI's words; here they
/// mean that the state accuses somebody, and that a blockpage's fingerprint matched.
const MEASUREMENT_VERDICTS: &str = "
CREATE VIEW measurement_verdicts AS
SELECT measurement_uid, test_name, country, network, target, state, layer, mechanism, probability,
       state IN ('blocked', 'throttled') AND probability >= 0.5 AS anomaly,
       state IN ('blocked', 'throttled') AND probability >= 0.5 AND named = 1 AS confirmed,
       CASE WHEN state = 'insufficient' OR layer = 'app' THEN NULL
            WHEN state IN ('ok', 'down') THEN 'false'
            WHEN layer = 'dns' THEN 'dns'
            WHEN layer = 'tcp' THEN 'tcp_ip'
            WHEN mechanism IN ('http.blockpage', 'http.redirect', 'http.error', 'http.tampering') THEN 'http-diff'
            ELSE 'http-failure' END AS blocking
FROM (
  SELECT *, max(CASE WHEN from_end = 1 AND severity = 0 THEN 1 ELSE 0 END) OVER (PARTITION BY measurement_uid) AS open_end
  FROM (
    SELECT *,
           row_number() OVER (PARTITION BY measurement_uid
             ORDER BY severity DESC, probability DESC, hop, depth, hostname) AS place,
           row_number() OVER (PARTITION BY measurement_uid
             ORDER BY layer = 'app' DESC, hop DESC, depth DESC, hostname) AS from_end,
           max(severity) OVER (PARTITION BY measurement_uid) AS worst,
           max(is_named) OVER (PARTITION BY measurement_uid) AS named
    FROM (
      SELECT *,
             CASE state WHEN 'blocked' THEN 4 WHEN 'throttled' THEN 3 WHEN 'down' THEN 2 WHEN 'ok' THEN 1 ELSE 0 END AS severity,
             CASE layer WHEN 'dns' THEN 0 WHEN 'tcp' THEN 1 WHEN 'tls' THEN 2 WHEN 'quic' THEN 3 WHEN 'http' THEN 4 ELSE 5 END AS depth,
             CASE WHEN fingerprint IS NOT NULL AND state = 'blocked'
                    AND mechanism IN ('dns.injection.blockpage', 'http.blockpage', 'http.redirect')
                  THEN 1 ELSE 0 END AS is_named
      FROM verdicts
    )
  )
)
WHERE CASE WHEN worst = 1 AND open_end = 1 THEN from_end ELSE place END = 1";

/// Tables that the lake keeps by month.
fn is_by_month(table: &str) -> bool {
    !matches!(table, "sources" | "rejects" | "flows" | "truth" | "outcomes")
}

/// A lake, open for queries.
pub struct Session {
    context: SessionContext,
    runtime: Runtime,
    spill: PathBuf,
}

impl Session {
    /// Opens the lake in `dir` for queries. What is written to the lake later is not seen.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let lake = Lake::open_read(dir)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(1, usize::from).min(8))
            .enable_all()
            .build()
            .map_err(|e| StoreError::io("start threads for", lake.dir(), &e))?;
        let (memory, spill) = memory(lake.dir());
        let runtime_env = memory.build_arc().map_err(|e| StoreError::Sql { text: e.to_string() })?;
        let mut config = SessionConfig::new().with_information_schema(true);
        config.options_mut().sql_parser.collect_spans = true;
        config.options_mut().catalog.default_catalog = "okno".into();
        config.options_mut().catalog.default_schema = "lake".into();
        let context = SessionContext::new_with_config_rt(config, runtime_env);
        let session = Self { context, runtime, spill };
        session.register(&lake)?;
        Ok(session)
    }

    fn register(&self, lake: &Lake) -> Result<()> {
        let wrap = |e: &std::io::Error| StoreError::io("find", lake.dir(), e);
        let root = fs::canonicalize(lake.dir()).map_err(|e| wrap(&e))?;
        let root = ObjectPath::from_absolute_path(&root).map_err(|e| wrap(&std::io::Error::other(e)))?;
        for doc in okno_model::tables() {
            let files = lake.manifest().files().filter(|f| f.table == doc.name).map(|f| {
                let inner = f.path();
                let parts = inner.iter().map(|part| part.to_string_lossy().into_owned());
                let path = parts.fold(root.clone(), |path, part| path.join(part));
                LakeFile { path, rows: f.rows, bytes: f.bytes, month: f.month.clone() }
            });
            let table = TableFiles::new(&schema_of(&doc), is_by_month(doc.name), files);
            let registered = self.context.register_table(doc.name, Arc::new(table));
            registered.map_err(|e| self.explain(&e))?;
        }
        let view = self.runtime.block_on(self.context.sql(MEASUREMENT_VERDICTS));
        view.map(drop).map_err(|e| self.explain(&e))
    }

    /// Answers a query whose answer fits in memory.
    pub fn query(&self, sql: &str) -> Result<Answer> {
        let (schema, mut stream) = self.start(sql)?;
        let mut answer = Answer::new(&schema);
        let mut bytes = 0;
        while let Some(batch) = self.next(&mut stream)? {
            bytes += batch.get_array_memory_size();
            if bytes > ANSWER_BYTES {
                let text = format!(
                    "the answer is larger than {} MiB; add LIMIT or WHERE, or take it with --format csv or json, which are written as they come",
                    ANSWER_BYTES >> 20
                );
                return Err(StoreError::Sql { text });
            }
            answer.batches.push(batch);
        }
        Ok(answer)
    }

    /// Answers a query in a format; CSV and JSON are written as the rows come, whatever their number.
    /// Returns the number of rows.
    pub fn write(&self, sql: &str, format: Format, out: &mut dyn Write) -> Result<u64> {
        let wrap = |e: std::io::Error| StoreError::io("write", Path::new("the answer"), &e);
        if format == Format::Table {
            let answer = self.query(sql)?;
            answer.write(format, out).map_err(wrap)?;
            return Ok(answer.rows() as u64);
        }
        let (schema, mut stream) = self.start(sql)?;
        let mut writer = StreamWriter::begin(format, &schema, out).map_err(wrap)?;
        while let Some(batch) = self.next(&mut stream)? {
            writer.write(&batch).map_err(wrap)?;
        }
        writer.end().map_err(wrap)
    }

    fn start(&self, sql: &str) -> Result<(SchemaRef, SendableRecordBatchStream)> {
        self.runtime.block_on(async {
            let plan = self.plan(sql).await?;
            let frame = self.context.execute_logical_plan(plan).await.map_err(|e| self.explain(&e))?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let stream = frame.execute_stream().await.map_err(|e| self.explain(&e))?;
            Ok((schema, stream))
        })
    }

    fn next(&self, stream: &mut SendableRecordBatchStream) -> Result<Option<RecordBatch>> {
        self.runtime.block_on(stream.next()).transpose().map_err(|e| self.explain(&e))
    }

    async fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let state = self.context.state();
        let statement = state.sql_to_statement(sql, &Dialect::Generic).map_err(|e| self.explain(&e))?;
        if !is_reading(&statement) {
            let text = format!(
                "`okno sql` only reads: SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES are understood, {} is not",
                first_words(sql)
            );
            return Err(StoreError::Sql { text });
        }
        let plan = state.statement_to_plan(statement).await.map_err(|e| self.explain(&e))?;
        let only_reading =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        only_reading.verify_plan(&plan).map_err(|e| self.explain(&e))?;
        Ok(plan)
    }

    /// Says what was wrong with a query, where, and what could have been meant.
    fn explain(&self, error: &DataFusionError) -> StoreError {
        let place = error
            .diagnostic()
            .and_then(|d| d.span)
            .map(|span| format!("line {}, column {}: ", span.start.line, span.start.column));
        let place = place.unwrap_or_default();
        let text = match error.find_root() {
            DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    let mut known: Vec<&str> = Vec::new();
                    for column in valid_fields {
                        if !known.contains(&column.name.as_str()) {
                            known.push(&column.name);
                        }
                    }
                    format!(
                        "{place}there is no column `{}`; there are: {}",
                        field.flat_name(),
                        known.join(", ")
                    )
                }
                other => format!("{place}{other}"),
            },
            DataFusionError::ResourcesExhausted(_) => format!(
                "the query needs more than its {} MiB of memory; narrow it with WHERE month = '…', take fewer columns, or add LIMIT",
                MEMORY_BYTES >> 20
            ),
            DataFusionError::SQL(parser, _) => placed(&parser.to_string()),
            DataFusionError::IoError(e) => return StoreError::io("spill a query to", &self.spill, e),
            DataFusionError::Plan(text) => match unknown_table(text) {
                Some(name) => format!("{place}there is no table `{name}`; there are: {}", known_tables()),
                None => format!("{place}{text}"),
            },
            other => format!("{place}{}", other.message()),
        };
        StoreError::Sql { text }
    }
}

/// A memory pool, and the folder to which queries spill: the lake's own, where it can be written.
fn memory(lake: &Path) -> (RuntimeEnvBuilder, PathBuf) {
    let builder = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0);
    let tmp = lake.join("tmp");
    let writable = fs::metadata(&tmp).is_ok_and(|m| m.is_dir() && !m.permissions().readonly());
    if writable { (builder.with_temp_file_path(&tmp), tmp) } else { (builder, std::env::temp_dir()) }
}

fn is_reading(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(ast) => is_reading_ast(ast),
        Statement::Explain(explain) => is_reading(&explain.statement),
        _ => false,
    }
}

fn is_reading_ast(ast: &Ast) -> bool {
    match ast {
        Ast::Explain { statement, .. } => is_reading_ast(statement),
        Ast::ExplainTable { .. } | Ast::Query(_) | Ast::ShowColumns { .. } | Ast::ShowTables { .. } => true,
        _ => false,
    }
}

fn first_words(sql: &str) -> String {
    sql.split_whitespace().take(2).collect::<Vec<_>>().join(" ").chars().take(40).collect()
}

/// The parser's words with the place in front: it writes `sql parser error: … at Line: 1, Column: 2`.
fn placed(text: &str) -> String {
    let text = text.strip_prefix("sql parser error: ").unwrap_or(text);
    match text.rsplit_once(" at Line: ").and_then(|(what, at)| Some((what, at.split_once(", Column: ")?))) {
        Some((what, (line, column))) => format!("line {line}, column {column}: {what}"),
        None => text.to_owned(),
    }
}

fn unknown_table(text: &str) -> Option<&str> {
    let name = text.strip_prefix("table '")?.strip_suffix("' not found")?;
    Some(name.rsplit('.').next().unwrap_or(name))
}

fn known_tables() -> String {
    let tables = okno_model::tables();
    let mut names: Vec<&str> = tables.iter().map(|table: &TableDoc| table.name).collect();
    names.push("measurement_verdicts");
    names.join(", ")
}
