//! One table of PromQL's functions: arguments, what they do to labels, and which versions of Prometheus have them.

use crate::platform::Dialect;

/// A function of PromQL.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    /// The arguments that must be there.
    pub args: &'static [Type],
    /// Arguments that may follow, and how many of them; `usize::MAX` is any number.
    pub optional: Option<(Type, usize)>,
    pub effect: Effect,
    pub exists: Exists,
}

/// Which versions of Prometheus have something (its changelog).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exists {
    Always,
    Since(Dialect),
    /// Up to this version, not included.
    Before(Dialect),
}

impl Exists {
    pub fn in_dialect(self, dialect: Dialect) -> bool {
        match self {
            Self::Always => true,
            Self::Since(first) => first <= dialect,
            Self::Before(end) => dialect < end,
        }
    }
}

impl Function {
    const fn since(self, major: u16, minor: u16) -> Self {
        Self { exists: Exists::Since(Dialect::new(major, minor)), ..self }
    }

    const fn before(self, major: u16, minor: u16) -> Self {
        Self { exists: Exists::Before(Dialect::new(major, minor)), ..self }
    }
}

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Scalar,
    Vector,
    Matrix,
    String,
}

/// What a function does to the series it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Each output sample depends on one series; the metric's name goes.
    OverRange(OverRange),
    /// Each output sample depends on one sample; the metric's name goes.
    Pointwise,
    /// A date of the evaluation time without an argument, pointwise with one.
    Date,
    /// `histogram_quantile`: all labels but `le` stay.
    Quantile,
    /// `histogram_fraction`: as a quantile; over classic buckets in newer versions only.
    Fraction,
    /// Changes the order, which an instant vector has none of.
    Sort,
    /// A scalar without series.
    Constant,
    /// One value for all: `scalar(e)`.
    Scalar,
    /// A vector without labels: `vector(s)`.
    Vector,
    /// Has a value only when there is no data.
    Absent,
    /// Writes the label named by its second argument.
    WritesLabel,
}

/// What a function over a range makes of a series, as far as completing its root needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverRange {
    /// Change per second or per window of a counter.
    Rate,
    /// [`Self::Rate`], of the last two samples of the window.
    InstantRate,
    /// Of a gauge; of a counter a restart would be a large negative value.
    GaugeChange,
    /// `deriv`: as [`Self::GaugeChange`], and completed like a gauge.
    Slope,
    /// `*_over_time`: a gauge again.
    OverTime,
    /// Any other number.
    Other,
}

/// The version since which `histogram_fraction` reads classic buckets, too.
pub const CLASSIC_FRACTION: Dialect = Dialect::new(3, 4);

/// Functions that stand behind a flag in every version of Prometheus that has them.
pub const EXPERIMENTAL: &[&str] = &[
    "double_exponential_smoothing",
    "end",
    "histogram_quantiles",
    "info",
    "mad_over_time",
    "max_of",
    "min_of",
    "range",
    "sort_by_label",
    "sort_by_label_desc",
    "start",
    "start_timestamp",
    "step",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// The function of a name. Names of functions are case-sensitive, unlike keywords.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by_key(&name, |function| function.name).ok().map(|at| &FUNCTIONS[at])
}

use Effect::{Absent, Constant, Date, Fraction, OverRange as Over, Pointwise, Quantile, Sort, WritesLabel};
use OverRange::{GaugeChange, InstantRate, Other, OverTime, Rate, Slope};
use Type::{Matrix, Scalar, String as Str, Vector};

const fn plain(name: &'static str, args: &'static [Type], effect: Effect) -> Function {
    Function { name, args, optional: None, effect, exists: Exists::Always }
}

const fn with(name: &'static str, args: &'static [Type], optional: (Type, usize), effect: Effect) -> Function {
    Function { name, args, optional: Some(optional), effect, exists: Exists::Always }
}

/// Of Prometheus (its documentation, "Functions"), without those behind a flag; sorted by name.
pub static FUNCTIONS: &[Function] = &[
    plain("abs", &[Vector], Pointwise),
    plain("absent", &[Vector], Absent),
    plain("absent_over_time", &[Matrix], Absent),
    plain("acos", &[Vector], Pointwise),
    plain("acosh", &[Vector], Pointwise),
    plain("asin", &[Vector], Pointwise),
    plain("asinh", &[Vector], Pointwise),
    plain("atan", &[Vector], Pointwise),
    plain("atanh", &[Vector], Pointwise),
    plain("avg_over_time", &[Matrix], Over(OverTime)),
    plain("ceil", &[Vector], Pointwise),
    plain("changes", &[Matrix], Over(Other)),
    plain("clamp", &[Vector, Scalar, Scalar], Pointwise),
    plain("clamp_max", &[Vector, Scalar], Pointwise),
    plain("clamp_min", &[Vector, Scalar], Pointwise),
    plain("cos", &[Vector], Pointwise),
    plain("cosh", &[Vector], Pointwise),
    plain("count_over_time", &[Matrix], Over(OverTime)),
    with("day_of_month", &[], (Vector, 1), Date),
    with("day_of_week", &[], (Vector, 1), Date),
    with("day_of_year", &[], (Vector, 1), Date),
    with("days_in_month", &[], (Vector, 1), Date),
    plain("deg", &[Vector], Pointwise),
    plain("delta", &[Matrix], Over(GaugeChange)),
    plain("deriv", &[Matrix], Over(Slope)),
    plain("exp", &[Vector], Pointwise),
    plain("first_over_time", &[Matrix], Over(OverTime)).since(3, 14),
    plain("floor", &[Vector], Pointwise),
    plain("histogram_avg", &[Vector], Pointwise).since(2, 51),
    plain("histogram_count", &[Vector], Pointwise),
    plain("histogram_fraction", &[Scalar, Scalar, Vector], Fraction),
    plain("histogram_quantile", &[Scalar, Vector], Quantile),
    plain("histogram_stddev", &[Vector], Pointwise).since(2, 47),
    plain("histogram_stdvar", &[Vector], Pointwise).since(2, 47),
    plain("histogram_sum", &[Vector], Pointwise),
    plain("holt_winters", &[Matrix, Scalar, Scalar], Over(Other)).before(3, 0),
    with("hour", &[], (Vector, 1), Date),
    plain("idelta", &[Matrix], Over(GaugeChange)),
    plain("increase", &[Matrix], Over(Rate)),
    plain("irate", &[Matrix], Over(InstantRate)),
    with("label_join", &[Vector, Str, Str], (Str, usize::MAX), WritesLabel),
    plain("label_replace", &[Vector, Str, Str, Str, Str], WritesLabel),
    plain("last_over_time", &[Matrix], Over(OverTime)),
    plain("ln", &[Vector], Pointwise),
    plain("log10", &[Vector], Pointwise),
    plain("log2", &[Vector], Pointwise),
    plain("max_over_time", &[Matrix], Over(OverTime)),
    plain("min_over_time", &[Matrix], Over(OverTime)),
    with("minute", &[], (Vector, 1), Date),
    with("month", &[], (Vector, 1), Date),
    plain("pi", &[], Constant),
    plain("predict_linear", &[Matrix, Scalar], Over(Other)),
    plain("present_over_time", &[Matrix], Over(OverTime)),
    plain("quantile_over_time", &[Scalar, Matrix], Over(OverTime)),
    plain("rad", &[Vector], Pointwise),
    plain("rate", &[Matrix], Over(Rate)),
    plain("resets", &[Matrix], Over(Other)),
    with("round", &[Vector], (Scalar, 1), Pointwise),
    plain("scalar", &[Vector], Effect::Scalar),
    plain("sgn", &[Vector], Pointwise),
    plain("sin", &[Vector], Pointwise),
    plain("sinh", &[Vector], Pointwise),
    plain("sort", &[Vector], Sort),
    plain("sort_desc", &[Vector], Sort),
    plain("sqrt", &[Vector], Pointwise),
    plain("stddev_over_time", &[Matrix], Over(OverTime)),
    plain("stdvar_over_time", &[Matrix], Over(OverTime)),
    plain("sum_over_time", &[Matrix], Over(OverTime)),
    plain("tan", &[Vector], Pointwise),
    plain("tanh", &[Vector], Pointwise),
    plain("time", &[], Constant),
    plain("timestamp", &[Vector], Pointwise),
    plain("vector", &[Scalar], Effect::Vector),
    with("year", &[], (Vector, 1), Date),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_knows_its_names() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert_eq!(function("rate").map(|f| f.effect), Some(Over(Rate)));
        assert_eq!(function("RATE"), None);
        assert!(EXPERIMENTAL.is_sorted() && EXPERIMENTAL.iter().all(|name| function(name).is_none()));
    }
}
