//! Admission: what is asked, and the decision on it. Pure; knows no Kubernetes client.

mod decide;
mod review;

pub use decide::{Outcome, Verdict, decide};
pub use review::{Operation, Review};
