//! What the instruments say at one moment, before it is written down in one form or another.

use std::borrow::Cow;

use super::{cells::Distribution, instruments::Instrument};

/// What one instrument says.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Which one.
    pub instrument: &'static Instrument,
    /// A value for each combination of attributes.
    pub points: Vec<Point>,
}

/// A name and a value that tell values of one instrument apart.
pub type Attribute = (&'static str, Cow<'static, str>);

/// One value.
#[derive(Clone, Debug)]
pub struct Point {
    /// What it is the value of.
    pub attributes: Vec<Attribute>,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge, whole.
    Whole(u64),
    /// Of a counter or a gauge.
    Float(f64),
    /// Of a histogram.
    Distribution(Distribution),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Self::Whole(holds.into())
    }
}

impl From<Distribution> for Value {
    fn from(distribution: Distribution) -> Self {
        Self::Distribution(distribution)
    }
}

impl Metric {
    /// A single value.
    pub fn one(instrument: &'static Instrument, value: impl Into<Value>) -> Self {
        Self::by(instrument, [(Vec::new(), value)])
    }

    /// A value for each combination of attributes.
    pub fn by<V: Into<Value>>(
        instrument: &'static Instrument,
        points: impl IntoIterator<Item = (Vec<Attribute>, V)>,
    ) -> Self {
        let points = points.into_iter();
        let points =
            points.map(|(attributes, value)| Point { attributes, value: value.into() }).collect();
        Self { instrument, points }
    }
}
