//! List every annotation key: its type, where it may sit, what it does.

/// The domain of our annotation keys.
pub const DOMAIN: &str = "nimscale.dev";

/// One annotation key under [`DOMAIN`].
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The part after `nimscale.dev/`.
    pub name: &'static str,
    /// True when the key by itself declares a workload; the others only modify.
    pub declares: bool,
    /// What to use until this version does the key; `None` when it is done.
    pub not_yet: Option<&'static str>,
    pub value: &'static str,
    pub example: &'static str,
    pub description: &'static str,
}

/// The keys of a Deployment or StatefulSet.
pub const KEYS: &[Key] = &[
    Key {
        name: "scale",
        declares: true,
        not_yet: None,
        value: "`off`, `auto`, or a range and preset targets",
        example: "1..8 kv-cache<75%",
        description: "Scale this workload between two numbers of replicas on built-in metrics.",
    },
    Key {
        name: "keep",
        declares: true,
        not_yet: None,
        value: "entries `[name: ]EXPRESSION < NUMBER`, one a line",
        example: "backlog: sum by (pod) (num_requests_waiting) < 8",
        description: "Keep a PromQL expression under a number.",
    },
    Key {
        name: "spec",
        declares: true,
        not_yet: None,
        value: "YAML",
        example: "replicas: {min: 1, max: 8}",
        description: "Replicas, metrics and behavior in one YAML value: kind, idle rule and reading of a metric, too.",
    },
    Key {
        name: "behavior",
        declares: false,
        not_yet: None,
        value: "`gentle`, `balanced`, `fast`, or steps",
        example: "up 2/60s; down 1/300s after 10m",
        description: "How fast replicas are added and removed.",
    },
    Key {
        name: "paused",
        declares: false,
        not_yet: None,
        value: "`true`, `false`, `scale-up`, `scale-down`, or N",
        example: "true",
        description: "Hold the replicas: as they are, in one direction, or at N.",
    },
    Key {
        name: "policy",
        declares: false,
        not_yet: None,
        value: "a policy's name, or `none`",
        example: "none",
        description: "Which policy gives the defaults; the limits of all that match hold anyway.",
    },
    Key {
        name: "adopt-hpa",
        declares: false,
        not_yet: None,
        value: "the name of an HPA",
        example: "llama",
        description: "Take over an HPA that targets this workload.",
    },
    Key {
        name: "mode",
        declares: false,
        not_yet: None,
        value: "`enforce` or `observe`",
        example: "observe",
        description: "`observe` compiles and publishes the metrics and makes no HPA.",
    },
    Key {
        name: "suppress",
        declares: false,
        not_yet: Some("the warning itself: it stops nothing"),
        value: "codes",
        example: "NS0401",
        description: "Codes of warnings to silence.",
    },
];

/// The annotation that an HPA carries when we may take it over; all that `render` prints carry it.
pub const ADOPTABLE: &str = "nimscale.dev/adoptable";

/// What a full annotation key is to us.
#[derive(Clone, Copy, Debug)]
pub enum Recognised {
    /// One of [`KEYS`].
    Key(&'static Key),
    /// Under our domain or a subdomain of it, and none of [`KEYS`].
    Unknown,
    /// Somebody else's.
    Foreign,
}

/// Recognises a full annotation key, such as `nimscale.dev/scale`.
pub fn recognise(key: &str) -> Recognised {
    match key.split_once('/') {
        Some((DOMAIN, name)) => match KEYS.iter().find(|key| key.name == name) {
            Some(key) => Recognised::Key(key),
            None => Recognised::Unknown,
        },
        Some((domain, _)) if domain.strip_suffix(DOMAIN).is_some_and(|sub| sub.ends_with('.')) => Recognised::Unknown,
        _ => Recognised::Foreign,
    }
}
