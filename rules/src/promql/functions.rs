//! One table of PromQL's functions: arguments, what they do to labels, and since which Prometheus they exist.

/// A function of PromQL.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    /// The arguments that must be there.
    pub args: &'static [Type],
    /// Arguments that may follow, and how many of them; `usize::MAX` is any number.
    pub optional: Option<(Type, usize)>,
    pub effect: Effect,
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
    /// Legal, and left to a later version.
    Later,
}

/// What a function over a range makes of a series, as far as completing its root needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverRange {
    /// Change per second or per window of a counter.
    Rate,
    /// Of a gauge; of a counter a restart would be a large negative value.
    GaugeChange,
    /// `deriv`: as [`Self::GaugeChange`], and completed like a gauge.
    Slope,
    /// `*_over_time`: a gauge again.
    OverTime,
    /// Any other number.
    Other,
}

/// Functions that Prometheus 2.42 does not have, or that stand behind a flag in every version; they are refused.
pub const NEWER: &[&str] = &[
    "double_exponential_smoothing",
    "first_over_time",
    "histogram_avg",
    "histogram_quantiles",
    "histogram_stddev",
    "histogram_stdvar",
    "info",
    "mad_over_time",
    "max_of",
    "min_of",
    "range",
    "sort_by_label",
    "sort_by_label_desc",
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

use Effect::{Absent, Constant, Date, Later, OverRange as Over, Pointwise, Quantile, WritesLabel};
use OverRange::{GaugeChange, Other, OverTime, Rate, Slope};
use Type::{Matrix, Scalar, String as Str, Vector};

const fn plain(name: &'static str, args: &'static [Type], effect: Effect) -> Function {
    Function { name, args, optional: None, effect }
}

const fn with(name: &'static str, args: &'static [Type], optional: (Type, usize), effect: Effect) -> Function {
    Function { name, args, optional: Some(optional), effect }
}

/// Of Prometheus 2.42 (its documentation, "Functions"), sorted by name.
static FUNCTIONS: &[Function] = &[
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
    plain("floor", &[Vector], Pointwise),
    plain("histogram_count", &[Vector], Later),
    plain("histogram_fraction", &[Scalar, Scalar, Vector], Later),
    plain("histogram_quantile", &[Scalar, Vector], Quantile),
    plain("histogram_sum", &[Vector], Later),
    plain("holt_winters", &[Matrix, Scalar, Scalar], Later),
    with("hour", &[], (Vector, 1), Date),
    plain("idelta", &[Matrix], Over(GaugeChange)),
    plain("increase", &[Matrix], Over(Rate)),
    plain("irate", &[Matrix], Over(Rate)),
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
    plain("sort", &[Vector], Later),
    plain("sort_desc", &[Vector], Later),
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
        assert!(NEWER.iter().all(|name| function(name).is_none()));
    }
}
