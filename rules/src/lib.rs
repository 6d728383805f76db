//! The compiler: annotations of a NIM workload in; adapter rules and an HPA out.
//!
//! Pure and synchronous: no clock, no environment, no network, no files.

pub mod findings;
pub mod keys;
pub mod place;
pub mod promql;
pub mod quantity;
pub mod workload;
