//! A table of the lake as DataFusion sees it: the files that the manifest names, and no others.
//!
//! DataFusion's own listing table lists folders, and a folder may hold what a killed run left. Here the
//! manifest says which files there are, how many rows they have, and which month each belongs to.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, Statistics, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::object_store::ObjectMeta;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

/// One table.
#[derive(Debug)]
pub(crate) struct TableFiles {
    table: TableSchema,
    files: Vec<PartitionedFile>,
    rows: u64,
}

/// One file of a table.
pub(crate) struct LakeFile {
    /// absolute
    pub(crate) path: datafusion::object_store::path::Path,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) month: Option<String>,
}

impl TableFiles {
    /// A table with the columns of `columns`, and `month` where the lake keeps it by month.
    pub(crate) fn new(columns: &SchemaRef, by_month: bool, files: impl Iterator<Item = LakeFile>) -> Self {
        // Files of an older lake may lack a column; then it reads as null.
        let nullable = columns.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let month: Vec<_> =
            by_month.then(|| Arc::new(Field::new("month", DataType::Utf8, false))).into_iter().collect();
        let table = TableSchema::builder(schema).with_table_partition_cols(month).build();
        let mut rows = 0;
        let files = files.map(|file| {
            rows += file.rows;
            let meta = ObjectMeta {
                location: file.path,
                last_modified: Default::default(),
                size: file.bytes,
                e_tag: None,
                version: None,
            };
            let values = file.month.map(|m| ScalarValue::Utf8(Some(m))).into_iter().collect();
            PartitionedFile::new_from_meta(meta).with_partition_values(values)
        });
        let files = files.collect();
        Self { table, files, rows }
    }

    fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let mut statistics = Statistics::new_unknown(self.table.table_schema());
        statistics.num_rows = Precision::Exact(self.rows as usize);
        let source = Arc::new(ParquetSource::new(self.table.clone()));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_limit(limit)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

impl TableProvider for TableFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // The trait is declared with `async_trait`; this is what that macro would write.
    fn scan<'a, 'b, 'c, 'd, 'f>(
        &'a self,
        state: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        _filters: &'d [Expr],
        limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'f>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        'd: 'f,
        Self: 'f,
    {
        Box::pin(std::future::ready(self.plan(state, projection, limit)))
    }
}
