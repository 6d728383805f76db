//! Count in thousandths, as the HPA does.

use std::fmt;

use serde::Deserialize;

/// A positive number of thousandths: a target, exact where an `f64` would not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Milli(u64);

impl Milli {
    /// The largest target: 10^12.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// `None` for zero and for more than [`Self::MAX`].
    pub const fn from_thousandths(thousandths: u64) -> Option<Self> {
        if 1 <= thousandths && thousandths <= Self::MAX.0 { Some(Self(thousandths)) } else { None }
    }

    /// Reads a plain decimal such as `0.75` and multiplies it with `factor` and with ten to the power of `exponent`,
    /// exactly.
    pub fn from_decimal(text: &str, factor: u64, exponent: i32) -> Result<Self, NotMilli> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !digits(whole) || !digits(fraction) || leading_zero {
            return Err(NotMilli::NotPlain);
        }
        let fraction = fraction.trim_end_matches('0');
        let significant = [whole, fraction].concat();
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Err(NotMilli::Zero);
        }
        // What does not fit is over the top when its whole part alone is, and otherwise finer than a thousandth.
        let too_long = if whole.len() > 30 { NotMilli::TooLarge } else { NotMilli::TooFine };
        let mut value: u128 = significant.parse().map_err(|_| too_long)?;
        value = value.checked_mul(factor.into()).ok_or(too_long)?;
        let places = i32::try_from(fraction.len()).map_err(|_| NotMilli::TooFine)?;
        let power = exponent + 3 - places;
        for _ in 0..power.unsigned_abs() {
            if power > 0 {
                value = value.checked_mul(10).ok_or(NotMilli::TooLarge)?;
            } else if value.is_multiple_of(10) {
                value /= 10;
            } else {
                return Err(NotMilli::TooFine);
            }
        }
        u64::try_from(value).ok().and_then(Self::from_thousandths).ok_or(NotMilli::TooLarge)
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

/// Why a text is no [`Milli`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMilli {
    /// No plain decimal: digits, and digits on both sides of a point.
    NotPlain,
    Zero,
    /// Not a multiple of a thousandth.
    TooFine,
    /// Over [`Milli::MAX`].
    TooLarge,
}

impl fmt::Display for NotMilli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPlain => "not a plain decimal",
            Self::Zero => "not above 0",
            Self::TooFine => "finer than a thousandth",
            Self::TooLarge => "over 10^12",
        })
    }
}

impl TryFrom<String> for Milli {
    type Error = NotMilli;

    fn try_from(text: String) -> Result<Self, NotMilli> {
        Self::from_decimal(&text, 1, 0)
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

    #[test]
    fn a_plain_decimal_is_read_exactly() {
        let of = |text: &str, factor, exponent| Milli::from_decimal(text, factor, exponent).map(Milli::thousandths);
        assert_eq!(of("0.75", 1, 0), Ok(750));
        assert_eq!(of("8.000000000000000000000000000000000000000000", 1, 0), Ok(8000));
        assert_eq!(of("33.3", 1, -2), Ok(333));
        assert_eq!(of("100", 1, -3), Ok(100));
        assert_eq!(of("1.5", 3600, 0), Ok(5_400_000));
        assert_eq!(of("1000000000000", 1, 0), Ok(Milli::MAX.thousandths()));
        assert_eq!(of("0.00", 1, 0), Err(NotMilli::Zero));
        assert_eq!(of("0.0005", 1, 0), Err(NotMilli::TooFine));
        assert_eq!(of("33.33", 1, -2), Err(NotMilli::TooFine));
        assert_eq!(of("1000000000000.001", 1, 0), Err(NotMilli::TooLarge));
        assert_eq!(of(&"9".repeat(99), 1, 0), Err(NotMilli::TooLarge));
        assert_eq!(of(&format!("0.{}", "9".repeat(99)), 1, 0), Err(NotMilli::TooFine));
        for text in ["", ".", ".5", "5.", "010", "00.5", "+5", "-5", "1e3", "1_000", "0x1", "8 "] {
            assert_eq!(of(text, 1, 0), Err(NotMilli::NotPlain), "{text}");
        }
    }
}
