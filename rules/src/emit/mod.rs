//! Write one target's objects from plans and bundles.

pub mod adapter;
pub mod base;
pub mod hpa;
