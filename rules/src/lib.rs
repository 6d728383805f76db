//! The compiler: annotations of a NIM workload in; adapter rules and an HPA out.
//!
//! Pure and synchronous: no clock, no environment, no network, no files; `clippy.toml` beside this crate's manifest holds
//! it to that. [`compile::compile`] makes a plan of a workload, [`bundle::bundle`] gathers plans, [`emit`] writes them.

pub mod bundle;
pub mod compile;
pub mod declare;
pub mod emit;
pub mod findings;
pub mod keys;
pub mod measure;
pub mod place;
pub mod plan;
pub mod platform;
pub mod policy;
pub mod presets;
pub mod promql;
pub mod quantity;
pub mod resolve;
pub mod workload;
pub mod yaml;
