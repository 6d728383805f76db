//! PromQL: from the author's text to a template that is right for every pod set.

pub mod token;
