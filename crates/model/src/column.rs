//! How a struct becomes a table: typed columns in declaration order, without naming a column engine.
//!
//! Arrow lives in `store`. This module only says what a column is (kind, nullability, doc) and lets a
//! row pour itself into any [`RowSink`] and be read back from any [`RowSource`].

use std::borrow::Cow;

use crate::{Asn, Country, Failure, Layer, State, Text, Timestamp, Transport};

/// The physical kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// true or false
    Bool,
    /// 64-bit float
    F64,
    /// signed 64-bit integer
    I64,
    /// UTF-8 text
    Str,
    /// microseconds since 1970-01-01T00:00:00 UTC
    TimeUs,
    /// unsigned 32-bit integer
    U32,
    /// unsigned 64-bit integer
    U64,
}

impl ColumnKind {
    /// The name that `okno tables` and the documentation print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::F64 => "double",
            Self::I64 => "bigint",
            Self::Str => "varchar",
            Self::TimeUs => "timestamp[us, UTC]",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
        }
    }
}

/// One column: its name carries its unit last, its doc says what it holds and where that comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnDoc {
    /// column name
    pub name: &'static str,
    /// physical kind
    pub kind: ColumnKind,
    /// whether the value may be absent
    pub nullable: bool,
    /// one sentence
    pub doc: &'static str,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDoc {
    /// table name, also its folder in the lake
    pub name: &'static str,
    /// what one row is
    pub doc: &'static str,
    /// columns in file order
    pub columns: Vec<ColumnDoc>,
}

/// Receives the values of a row, column by column, in declaration order.
pub trait RowSink {
    /// text
    fn put_str(&mut self, value: Option<&str>);
    /// unsigned 32-bit
    fn put_u32(&mut self, value: Option<u32>);
    /// unsigned 64-bit
    fn put_u64(&mut self, value: Option<u64>);
    /// signed 64-bit
    fn put_i64(&mut self, value: Option<i64>);
    /// float
    fn put_f64(&mut self, value: Option<f64>);
    /// boolean
    fn put_bool(&mut self, value: Option<bool>);
    /// microseconds since the epoch
    fn put_time(&mut self, value: Option<i64>);
}

/// Gives the values of a row back, in declaration order.
pub trait RowSource<'a> {
    /// text
    fn take_str(&mut self) -> Option<&'a str>;
    /// unsigned 32-bit
    fn take_u32(&mut self) -> Option<u32>;
    /// unsigned 64-bit
    fn take_u64(&mut self) -> Option<u64>;
    /// signed 64-bit
    fn take_i64(&mut self) -> Option<i64>;
    /// float
    fn take_f64(&mut self) -> Option<f64>;
    /// boolean
    fn take_bool(&mut self) -> Option<bool>;
    /// microseconds since the epoch
    fn take_time(&mut self) -> Option<i64>;
}

/// A value that can stand in a column.
pub trait Column<'a>: Sized {
    /// physical kind
    const KIND: ColumnKind;
    /// whether it may be absent
    const NULLABLE: bool = false;
    /// pours the value
    fn put<S: RowSink>(&self, sink: &mut S);
    /// reads the value; an absent value of a required column becomes its zero
    fn take<S: RowSource<'a>>(source: &mut S) -> Self;
    /// hands over the text it is, if it is text
    fn each_text(&mut self, _change: &mut dyn FnMut(&mut Text<'a>)) {}
}

/// A struct that is a row of a table.
pub trait Table<'a>: Sized {
    /// table name
    const NAME: &'static str;
    /// name, meaning and columns
    fn doc() -> TableDoc;
    /// pours the row
    fn put<S: RowSink>(&self, sink: &mut S);
    /// reads the row
    fn take<S: RowSource<'a>>(source: &mut S) -> Self;
    /// hands over every text of the row, so that a rule about texts (no probe address) misses none
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Text<'a>));
}

macro_rules! column {
    ($ty:ty, $kind:ident, $sink:ident, $source:ident, |$v:ident| $put:expr, |$r:ident| $take:expr) => {
        impl<'a> Column<'a> for $ty {
            const KIND: ColumnKind = ColumnKind::$kind;
            fn put<S: RowSink>(&self, sink: &mut S) {
                let $v = self;
                sink.$sink(Some($put));
            }
            fn take<S: RowSource<'a>>(source: &mut S) -> Self {
                let $r = source.$source().unwrap_or_default();
                $take
            }
        }
        impl<'a> Column<'a> for Option<$ty> {
            const KIND: ColumnKind = ColumnKind::$kind;
            const NULLABLE: bool = true;
            fn put<S: RowSink>(&self, sink: &mut S) {
                sink.$sink(self.as_ref().map(|$v| $put));
            }
            fn take<S: RowSource<'a>>(source: &mut S) -> Self {
                source.$source().map(|$r| $take)
            }
        }
    };
}

column!(bool, Bool, put_bool, take_bool, |v| *v, |r| r);
column!(f64, F64, put_f64, take_f64, |v| *v, |r| r);
column!(i64, I64, put_i64, take_i64, |v| *v, |r| r);
column!(u32, U32, put_u32, take_u32, |v| *v, |r| r);
column!(u64, U64, put_u64, take_u64, |v| *v, |r| r);

impl<'a> Column<'a> for Text<'a> {
    const KIND: ColumnKind = ColumnKind::Str;
    fn put<S: RowSink>(&self, sink: &mut S) {
        sink.put_str(Some(self));
    }
    fn take<S: RowSource<'a>>(source: &mut S) -> Self {
        Cow::Borrowed(source.take_str().unwrap_or_default())
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Text<'a>)) {
        change(self);
    }
}

impl<'a> Column<'a> for Option<Text<'a>> {
    const KIND: ColumnKind = ColumnKind::Str;
    const NULLABLE: bool = true;
    fn put<S: RowSink>(&self, sink: &mut S) {
        sink.put_str(self.as_deref());
    }
    fn take<S: RowSource<'a>>(source: &mut S) -> Self {
        source.take_str().map(Cow::Borrowed)
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Text<'a>)) {
        self.iter_mut().for_each(change);
    }
}
column!(Timestamp, TimeUs, put_time, take_time, |v| v.micros(), |r| Timestamp::from_micros(r));
column!(Asn, U32, put_u32, take_u32, |v| v.0, |r| Asn(r));
column!(Country, Str, put_str, take_str, |v| v.as_str(), |r| Country::parse(r).unwrap_or(Country::UNKNOWN));
column!(Failure, Str, put_str, take_str, |v| v.as_str(), |r| Failure::from_ooni(r));
column!(Layer, Str, put_str, take_str, |v| v.as_str(), |r| Layer::parse(r).unwrap_or(Layer::App));
column!(State, Str, put_str, take_str, |v| v.as_str(), |r| State::parse(r).unwrap_or(State::Insufficient));
column!(Transport, Str, put_str, take_str, |v| v.as_str(), |r| Transport::parse(r).unwrap_or(Transport::Tcp));
column!(crate::RejectReason, Str, put_str, take_str, |v| v.as_str(), |r| crate::RejectReason::parse(r));

/// Declares a struct and the table it is. The first doc line of each field is the column's doc.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $name:literal => pub struct $ty:ident<'a> {
            $( $(#[doc = $fdoc:literal])+ $field:ident : $fty:ty, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $ty<'a> {
            $( $(#[doc = $fdoc])+ pub $field: $fty, )+
        }

        impl<'a> $crate::Table<'a> for $ty<'a> {
            const NAME: &'static str = $name;
            fn doc() -> $crate::TableDoc {
                $crate::TableDoc {
                    name: $name,
                    doc: concat!($($doc),+).trim_ascii(),
                    columns: vec![ $( $crate::ColumnDoc {
                        name: stringify!($field),
                        kind: <$fty as $crate::Column>::KIND,
                        nullable: <$fty as $crate::Column>::NULLABLE,
                        doc: concat!($($fdoc),+).trim_ascii(),
                    }, )+ ],
                }
            }
            fn put<S: $crate::RowSink>(&self, sink: &mut S) {
                $( $crate::Column::put(&self.$field, sink); )+
            }
            fn take<S: $crate::RowSource<'a>>(source: &mut S) -> Self {
                Self { $( $field: $crate::Column::take(source), )+ }
            }
            fn each_text(&mut self, change: &mut dyn FnMut(&mut $crate::Text<'a>)) {
                $( $crate::Column::each_text(&mut self.$field, change); )+
            }
        }
    };
}
pub(crate) use table;
