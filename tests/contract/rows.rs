//! The rows of PromQL's label semantics: what the generator uses, and how often it was compared.

use std::ops::BitOrAssign;

use super::compiler::Kind;

/// A construct, as the compiler's theory lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    Selector,
    Moved,
    OverRange,
    Subquery,
    Pointwise,
    Sort,
    By,
    Without,
    NoModifier,
    Topk,
    CountValues,
    Buckets,
    WithNumber,
    OneToOneOfPod,
    OneToOneOfNoPod,
    GroupOfPod,
    GroupOfNoPod,
    FilterOfPod,
    FilterOfNoPod,
    OrOfPod,
    OrOfNoPod,
    Scalar,
    Vector,
    WritesLabel,
    Constant,
    Alias,
    NoPod,
}

/// Each row with its words, in the order of the enum.
pub const ROWS: [(Row, &str); 27] = [
    (Row::Selector, "m{M}"),
    (Row::Moved, "offset, @ start(), @ end()"),
    (Row::OverRange, "f(m[d])"),
    (Row::Subquery, "e[r:s]"),
    (Row::Pointwise, "pointwise functions, unary -"),
    (Row::Sort, "sort, sort_desc"),
    (Row::By, "op by (G) (e)"),
    (Row::Without, "op without (X) (e)"),
    (Row::NoModifier, "op(e)"),
    (Row::Topk, "topk, bottomk"),
    (Row::CountValues, "count_values"),
    (Row::Buckets, "histogram_quantile, histogram_fraction"),
    (Row::WithNumber, "e + s, s + e"),
    (Row::OneToOneOfPod, "a + b, key has pod"),
    (Row::OneToOneOfNoPod, "a + b, key lacks pod"),
    (Row::GroupOfPod, "a + group_left b, key has pod"),
    (Row::GroupOfNoPod, "a + group_left b, key lacks pod"),
    (Row::FilterOfPod, "and, unless, key has pod"),
    (Row::FilterOfNoPod, "and, unless, key lacks pod"),
    (Row::OrOfPod, "or, key has pod"),
    (Row::OrOfNoPod, "or, key lacks pod"),
    (Row::Scalar, "scalar(e)"),
    (Row::Vector, "vector(s)"),
    (Row::WritesLabel, "label_replace, label_join"),
    (Row::Constant, "number, time(), pi()"),
    (Row::Alias, "a family of other names"),
    (Row::NoPod, "a family without a pod"),
];

/// Rows, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows(u32);

impl From<Row> for Rows {
    fn from(row: Row) -> Self {
        Self(1 << row as u32)
    }
}

impl BitOrAssign for Rows {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Instances that were compared and had a value, by row; of pods and of workloads.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowCounts([[usize; 2]; ROWS.len()]);

impl RowCounts {
    pub fn count(&mut self, rows: Rows, kind: Kind, instances: usize) {
        for (row, _) in ROWS {
            if rows.0 & Rows::from(row).0 != 0 {
                self.0[row as usize][kind as usize] += instances;
            }
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()).for_each(|(own, other)| *own += other);
    }

    pub fn of(&self, row: Row) -> usize {
        self.0[row as usize].iter().sum()
    }

    pub fn print(&self) {
        println!("       Pods  Object");
        for (row, words) in ROWS {
            let [pods, object] = self.0[row as usize];
            println!("    {pods:7} {object:7} {words}");
        }
    }
}
