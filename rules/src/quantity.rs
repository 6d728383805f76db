//! Count in thousandths, as the HPA does.

use std::fmt;

/// A positive number of thousandths: a target, exact where an `f64` would not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Milli(u64);

impl Milli {
    /// The largest target: 10^12.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// `None` for zero and for more than [`Self::MAX`].
    pub fn from_thousandths(thousandths: u64) -> Option<Self> {
        (1..=Self::MAX.0).contains(&thousandths).then_some(Self(thousandths))
    }

    pub fn thousandths(self) -> u64 {
        self.0
    }

    /// The shortest Kubernetes quantity: `100m`, `8`.
    pub fn quantity(self) -> String {
        if self.0.is_multiple_of(1000) { (self.0 / 1000).to_string() } else { format!("{}m", self.0) }
    }
}

/// The plain decimal: `0.75`, `8`.
impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_printed_for_people_and_for_kubernetes() {
        let of = |thousandths| Milli::from_thousandths(thousandths).map(|m| (m.to_string(), m.quantity()));
        assert_eq!(of(100), Some(("0.1".into(), "100m".into())));
        assert_eq!(of(2500), Some(("2.5".into(), "2500m".into())));
        assert_eq!(of(8000), Some(("8".into(), "8".into())));
        assert_eq!(of(1), Some(("0.001".into(), "1m".into())));
        assert_eq!(of(0), None);
        assert_eq!(Milli::from_thousandths(Milli::MAX.thousandths() + 1), None);
    }
}
