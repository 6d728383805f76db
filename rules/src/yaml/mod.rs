//! Read YAML into a tree with places; write YAML that every reader reads alike.

mod plain;
mod scalar;
mod tree;
mod typed;
mod write;

pub use plain::{Reading, reading};
pub use tree::{Anchors, Kind, Node, Style, read, token};
pub use typed::{ParseError, parse};
pub use write::{WriteError, write};
