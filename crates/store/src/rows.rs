//! Rows to Arrow columns and back.
//!
//! [`Columns`] is a [`RowSink`]: a row pours its values into one builder per column. [`RowCursor`] is a
//! [`RowSource`]: it hands out values that are borrowed from the arrays. Columns are matched by name
//! when reading, so files of an older lake that lack a column read as if it were empty.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, BooleanBuilder, Float64Array, Float64Builder, Int64Array, Int64Builder,
    RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
    UInt32Array, UInt32Builder, UInt64Array, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use okno_model::{ColumnKind, RowSink, RowSource, Table, TableDoc};

/// The Arrow type of a column kind.
pub fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Bool => DataType::Boolean,
        ColumnKind::F64 => DataType::Float64,
        ColumnKind::I64 => DataType::Int64,
        ColumnKind::Str => DataType::Utf8,
        ColumnKind::TimeUs => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnKind::U32 => DataType::UInt32,
        ColumnKind::U64 => DataType::UInt64,
    }
}

/// The Arrow schema of a table.
pub fn schema_of(doc: &TableDoc) -> SchemaRef {
    let field = |c: &okno_model::ColumnDoc| Field::new(c.name, data_type(c.kind), c.nullable);
    Arc::new(Schema::new(doc.columns.iter().map(field).collect::<Vec<_>>()))
}

/// A text column of a batch, by name.
pub(crate) fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name)?.as_any().downcast_ref()
}

enum Builder {
    Bool(BooleanBuilder),
    F64(Float64Builder),
    I64(Int64Builder),
    Str(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    U32(UInt32Builder),
    U64(UInt64Builder),
}

impl Builder {
    fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Bool => Self::Bool(BooleanBuilder::with_capacity(0)),
            ColumnKind::F64 => Self::F64(Float64Builder::with_capacity(0)),
            ColumnKind::I64 => Self::I64(Int64Builder::with_capacity(0)),
            ColumnKind::Str => Self::Str(StringBuilder::with_capacity(0, 0)),
            ColumnKind::TimeUs => Self::Time(
                TimestampMicrosecondBuilder::with_capacity(0).with_data_type(data_type(ColumnKind::TimeUs)),
            ),
            ColumnKind::U32 => Self::U32(UInt32Builder::with_capacity(0)),
            ColumnKind::U64 => Self::U64(UInt64Builder::with_capacity(0)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(b) => Arc::new(b.finish()),
            Self::F64(b) => Arc::new(b.finish()),
            Self::I64(b) => Arc::new(b.finish()),
            Self::Str(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::U32(b) => Arc::new(b.finish()),
            Self::U64(b) => Arc::new(b.finish()),
        }
    }
}

/// The columns of one table while rows are poured into them.
pub struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    cursor: usize,
    rows: usize,
    text_bytes: usize,
}

impl Columns {
    /// Empty columns for the rows of `T`.
    pub fn new<'a, T: Table<'a>>() -> Self {
        let doc = T::doc();
        Self {
            schema: schema_of(&doc),
            builders: doc.columns.iter().map(|c| Builder::new(c.kind)).collect(),
            cursor: 0,
            rows: 0,
            text_bytes: 0,
        }
    }

    /// Appends a row. The row must be of the table that these columns were made for.
    pub fn push<'a, T: Table<'a>>(&mut self, row: &T) {
        self.cursor = 0;
        row.put(self);
        debug_assert_eq!(self.cursor, self.builders.len(), "a row fills every column");
        self.rows += 1;
    }

    /// Rows poured in since the last [`Self::finish`].
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Roughly the memory that the rows take, in bytes.
    pub fn bytes(&self) -> usize {
        self.rows * self.builders.len() * 5 + self.text_bytes
    }

    /// The rows as a batch; the columns are empty afterwards.
    pub fn finish(&mut self) -> RecordBatch {
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        self.rows = 0;
        self.text_bytes = 0;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("builders follow the schema")
    }

    fn column(&mut self) -> &mut Builder {
        let builder = &mut self.builders[self.cursor];
        self.cursor += 1;
        builder
    }
}

macro_rules! put {
    ($name:ident, $ty:ty, $variant:ident) => {
        fn $name(&mut self, value: Option<$ty>) {
            if let Builder::$variant(builder) = self.column() {
                builder.append_option(value);
            } else {
                debug_assert!(false, "a column has one kind");
            }
        }
    };
}

impl RowSink for Columns {
    fn put_str(&mut self, value: Option<&str>) {
        self.text_bytes += value.map_or(0, str::len);
        if let Builder::Str(builder) = self.column() {
            builder.append_option(value);
        } else {
            debug_assert!(false, "a column has one kind");
        }
    }
    put!(put_u32, u32, U32);
    put!(put_u64, u64, U64);
    put!(put_i64, i64, I64);
    put!(put_f64, f64, F64);
    put!(put_bool, bool, Bool);
    put!(put_time, i64, Time);
}

enum Values<'a> {
    Absent,
    Bool(&'a BooleanArray),
    F64(&'a Float64Array),
    I64(&'a Int64Array),
    Str(&'a StringArray),
    Time(&'a TimestampMicrosecondArray),
    U32(&'a UInt32Array),
    U64(&'a UInt64Array),
}

/// Reads the rows of one batch as the structs of a table.
pub struct RowCursor<'a> {
    columns: Vec<Values<'a>>,
    cursor: usize,
    row: usize,
}

impl<'a> RowCursor<'a> {
    /// A cursor over `batch` for the rows of a table. Columns that the batch lacks, or has in another
    /// type, read as absent values.
    pub fn new(doc: &TableDoc, batch: &'a RecordBatch) -> Self {
        let columns = doc.columns.iter().map(|column| {
            let Some(array) = batch.column_by_name(column.name) else { return Values::Absent };
            let any = array.as_any();
            let values = match column.kind {
                ColumnKind::Bool => any.downcast_ref().map(Values::Bool),
                ColumnKind::F64 => any.downcast_ref().map(Values::F64),
                ColumnKind::I64 => any.downcast_ref().map(Values::I64),
                ColumnKind::Str => any.downcast_ref().map(Values::Str),
                ColumnKind::TimeUs => any.downcast_ref().map(Values::Time),
                ColumnKind::U32 => any.downcast_ref().map(Values::U32),
                ColumnKind::U64 => any.downcast_ref().map(Values::U64),
            };
            values.unwrap_or(Values::Absent)
        });
        Self { columns: columns.collect(), cursor: 0, row: 0 }
    }

    /// Row `row` of the batch.
    pub fn read<T: Table<'a>>(&mut self, row: usize) -> T {
        self.row = row;
        self.cursor = 0;
        T::take(self)
    }
}

macro_rules! take {
    ($name:ident, $ty:ty, $variant:ident) => {
        fn $name(&mut self) -> Option<$ty> {
            let values = &self.columns[self.cursor];
            self.cursor += 1;
            match values {
                Values::$variant(array) if !array.is_null(self.row) => Some(array.value(self.row)),
                _ => None,
            }
        }
    };
}

impl<'a> RowSource<'a> for RowCursor<'a> {
    take!(take_str, &'a str, Str);
    take!(take_u32, u32, U32);
    take!(take_u64, u64, U64);
    take!(take_i64, i64, I64);
    take!(take_f64, f64, F64);
    take!(take_bool, bool, Bool);
    take!(take_time, i64, Time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use okno_model::{Asn, Country, Failure, Measurement, Observation, Timestamp};

    fn observation(n: u32) -> Observation<'static> {
        Observation {
            measurement_uid: format!("uid-{}", n / 3).into(),
            observation: n,
            test_name: "web_connectivity".into(),
            country: Country::parse("RU").unwrap(),
            network: Asn(12389),
            start_utc: Timestamp::parse("2025-07-01 10:00:00").unwrap(),
            hostname: (n % 2 == 0).then(|| "example.org".into()),
            tls_failure: (n % 3 == 0).then(|| Failure::from_ooni("connection_reset")),
            app_value: Some(f64::from(n) / 4.0),
            classic: n % 2 == 1,
            ..Observation::default()
        }
    }

    #[test]
    fn a_row_that_was_poured_in_is_read_back_equal() {
        let mut columns = Columns::new::<Observation>();
        for n in 0..10 {
            columns.push(&observation(n));
        }
        assert_eq!(columns.len(), 10);
        let batch = columns.finish();
        assert!(columns.is_empty());
        let mut cursor = RowCursor::new(&Observation::doc(), &batch);
        for n in (0..10).rev() {
            let row: Observation = cursor.read(n);
            assert_eq!(row, observation(n as u32));
        }
    }

    #[test]
    fn a_column_that_an_older_file_lacks_reads_as_absent() {
        let mut columns = Columns::new::<Observation>();
        columns.push(&observation(0));
        let batch = columns.finish();
        let keep: Vec<usize> =
            (0..batch.num_columns()).filter(|i| batch.schema().field(*i).name() != "tls_failure").collect();
        let older = batch.project(&keep).unwrap();
        let row: Observation = RowCursor::new(&Observation::doc(), &older).read(0);
        assert_eq!(row, Observation { tls_failure: None, ..observation(0) });
    }

    #[test]
    fn every_table_has_a_schema_with_its_columns_in_order() {
        for doc in okno_model::tables() {
            let schema = schema_of(&doc);
            assert_eq!(schema.fields().len(), doc.columns.len());
            for (field, column) in schema.fields().iter().zip(&doc.columns) {
                assert_eq!((field.name().as_str(), field.is_nullable()), (column.name, column.nullable));
            }
        }
        assert_eq!(
            schema_of(&Measurement::doc()).field_with_name("line").unwrap().data_type(),
            &DataType::UInt64
        );
    }
}
