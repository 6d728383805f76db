//! Say what holds for a workload when no policy says otherwise.

/// The limits that one workload's annotations are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most replicas that a range, or a hold, may name.
    pub max_replicas: u32,
    /// The most metrics of one workload.
    pub metrics: usize,
    /// The most bytes of all annotations of an object: the API's own limit.
    pub annotation_bytes: usize,
    /// The most bytes of one entry of `keep`.
    pub entry_bytes: usize,
}

impl Limits {
    pub const BUILT_IN: Self = Self { max_replicas: 16, metrics: 8, annotation_bytes: 262_144, entry_bytes: 4096 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::BUILT_IN
    }
}

/// What becomes of `spec.replicas` when an update would undo what an HPA chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// The live value is kept, and the author is told.
    #[default]
    Preserve,
    /// The author is told.
    Warn,
    Off,
}

/// The policies of a cluster. This version has none of its own: the built-in limits hold everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    pub limits: Limits,
}

impl Policies {
    /// No policy at all.
    pub fn built_in() -> Self {
        Self::default()
    }
}
