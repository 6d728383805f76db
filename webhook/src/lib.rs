//! Admission: what is asked, the decision on it, and the server that answers. Knows no Kubernetes client.
//!
//! The way of a request: `serve` → `answer` (`review` → `memo` → `decide` → `reply`). All but `serve` is pure.

pub mod answer;
mod decide;
mod hpas;
mod memo;
mod metrics;
mod patch;
mod replicas;
mod reply;
mod review;
mod serve;
mod snapshot;
mod tls;

pub use decide::{Live, Outcome, Verdict, decide};
pub use memo::Memo;
pub use metrics::Metrics;
pub use review::{Malformed, Operation, Review};
pub use serve::{Settings, serve};
pub use snapshot::{Hpa, Hpas, Snapshot};
pub use tls::{Certificates, TlsError};
