//! The series that every contract test is asked about: small, the same in each run, full of what goes wrong.
//!
//! Values are eighths, so that sums are exact whatever their order. Counters restart, pods are idle, late or gone, names
//! repeat across namespaces, some series are scraped twice through a second Service.

use std::fmt::Write;

/// A multiple of two hours and ten minutes: everything lies in one block of the database.
pub const START: u64 = 1_699_999_800;
pub const STEP: u64 = 15;
const STEPS: u64 = 160;

/// Seconds after [`START`]. In order: all is well; two samples of the late pod; just after a restart; all is well;
/// inside the look-back of the pod that is gone; the end.
pub const TIMES: [u64; 6] = [607, 922, 1068, 1500, 1725, 2400];

pub const LLAMA: &str = "meta/llama-3.1-8b";
pub const MISTRAL: &str = "mistral";
/// PromQL may hold this in a string, a template must not.
pub const ANGLES: &str = "len<<gth";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    pub namespace: &'static str,
    pub name: &'static str,
}

const fn pod(namespace: &'static str, name: &'static str) -> Pod {
    Pod { namespace, name }
}

const RESTARTS: Pod = pod("llm", "nim-a-1");
const IDLE: Pod = pod("llm", "nim-a-2");
const LATE: Pod = pod("llm", "nim-b-1");
const RESTARTS_LATER: Pod = pod("chat", "nim-a-1");
const FALLS_IDLE: Pod = pod("chat", "nim-a-2");
const GONE: Pod = pod("chat", "nim-c-1");
const STEADY: Pod = pod("batch", "nim-a-1");
/// Exports no `load_score`.
const PLAIN: Pod = pod("batch", "worker-0");
const GPU_EXPORTER: Pod = pod("batch", "dcgm-0");

pub const PODS: [Pod; 9] = [RESTARTS, IDLE, LATE, RESTARTS_LATER, FALLS_IDLE, GONE, STEADY, PLAIN, GPU_EXPORTER];
pub const NAMESPACES: [&str; 3] = ["llm", "chat", "batch"];

/// A family as the expression generator sees it: its name and the labels that tell its series apart inside a pod.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub labels: &'static [(&'static str, &'static [&'static str])],
}

const MODELS: (&str, &[&str]) = ("model_name", &[LLAMA, MISTRAL]);
const ENGINES: (&str, &[&str]) = ("engine", &["0", "1"]);
const SERVICES: (&str, &[&str]) = ("service", &["nim", "nim-all"]);

pub const GAUGES: [Family; 6] = [
    Family { name: "queue_depth", labels: &[MODELS, ENGINES] },
    Family { name: "num_requests_running", labels: &[MODELS, SERVICES] },
    Family { name: "slots_in_use", labels: &[MODELS, SERVICES] },
    Family { name: "load_score", labels: &[MODELS] },
    Family { name: "pod:num_requests_running:max", labels: &[MODELS] },
    Family { name: "DCGM_FI_DEV_GPU_UTIL", labels: &[("gpu", &["0", "1"]), ("exported_pod", &["nim-a-1", "nim-a-2"])] },
];

pub const COUNTERS: [Family; 4] = [
    Family { name: "request_success_total", labels: &[MODELS, ("reason", &["stop", ANGLES]), SERVICES] },
    Family { name: "generation_tokens_total", labels: &[MODELS, ENGINES] },
    Family { name: "latency_seconds_sum", labels: &[MODELS] },
    Family { name: "latency_seconds_count", labels: &[MODELS] },
];

pub const HISTOGRAM: Family = Family { name: "latency_seconds_bucket", labels: &[MODELS] };

#[derive(Clone, Debug)]
pub struct Series {
    pub pod: Pod,
    name: &'static str,
    /// Without `namespace` and `pod`.
    labels: Vec<(&'static str, String)>,
    /// One value a step; `None` where the pod does not live.
    values: Vec<Option<f64>>,
}

pub fn all_series() -> Vec<Series> {
    PODS.into_iter().flat_map(series_of).collect()
}

/// The text of `promtool tsdb create-blocks-from openmetrics`.
pub fn open_metrics<'a>(series: impl Iterator<Item = &'a Series>, namespace: Namespace) -> String {
    let mut text = String::new();
    for series in series {
        let mut labels = format!("pod=\"{}\"", series.pod.name);
        match namespace {
            Namespace::Kept => write!(labels, ",namespace=\"{}\"", series.pod.namespace).expect("a String takes all"),
            Namespace::Erased => {}
        }
        for (name, value) in &series.labels {
            write!(labels, ",{name}=\"{value}\"").expect("a String takes all");
        }
        for (step, value) in (0..).zip(&series.values) {
            let Some(value) = value else { continue };
            let time = START + step * STEP;
            writeln!(text, "{}{{{labels}}} {} {time}", series.name, number(*value)).expect("a String takes all");
        }
    }
    text + "# EOF\n"
}

#[derive(Clone, Copy, Debug)]
pub enum Namespace {
    Kept,
    Erased,
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

fn series_of(pod: Pod) -> Vec<Series> {
    let mut out = Writer { pod, series: Vec::new() };

    for (model, engine) in [(LLAMA, "0"), (LLAMA, "1"), (MISTRAL, "0")] {
        let labels = [("model_name", model), ("engine", engine)];
        out.gauge("queue_depth", &labels, |noise| (noise % 41) as f64);
        out.counter("generation_tokens_total", &labels, 4);
    }
    for model in [LLAMA, MISTRAL] {
        out.twice("num_requests_running", model, |noise| (noise % 64) as f64 / 4.0);
        out.gauge("pod:num_requests_running:max", &[("model_name", model)], |noise| (noise % 64) as f64 / 4.0);
        for service in ["nim", "nim-all"] {
            for reason in ["stop", ANGLES] {
                let labels = [("model_name", model), ("reason", reason), ("service", service)];
                out.counter("request_success_total", &labels, 3);
            }
        }
        out.histogram("latency_seconds", model);
    }

    let (llama, mistral) = slots(pod);
    out.twice("slots_in_use", LLAMA, |_| llama);
    out.twice("slots_in_use", MISTRAL, |_| mistral);
    if let Some((llama, mistral)) = load(pod) {
        out.gauge("load_score", &[("model_name", LLAMA)], |_| llama);
        out.gauge("load_score", &[("model_name", MISTRAL)], |_| mistral);
    }
    if pod == GPU_EXPORTER {
        for (gpu, used_by) in [("0", RESTARTS), ("1", IDLE), ("0", RESTARTS_LATER), ("1", FALLS_IDLE)] {
            let labels = [("gpu", gpu), ("exported_namespace", used_by.namespace), ("exported_pod", used_by.name)];
            out.gauge("DCGM_FI_DEV_GPU_UTIL", &labels, |noise| (noise % 101) as f64);
        }
    }
    out.series
}

/// Constants for the values worked out by hand: `(llama, mistral)` of `slots_in_use`.
fn slots(pod: Pod) -> (f64, f64) {
    if pod == RESTARTS {
        (3.0, 7.0)
    } else if pod == IDLE {
        (0.0, 0.0)
    } else if pod == RESTARTS_LATER {
        (20.0, 11.0)
    } else if pod == STEADY {
        (100.0, 400.0)
    } else {
        (1.0, 2.5)
    }
}

/// `(llama, mistral)` of `load_score`, the gauge that is not always a number.
fn load(pod: Pod) -> Option<(f64, f64)> {
    if pod == PLAIN {
        None
    } else if pod == RESTARTS {
        Some((f64::INFINITY, 3.0))
    } else if pod == IDLE {
        Some((f64::NAN, f64::NAN))
    } else if pod == LATE {
        Some((-4.0, -9.0))
    } else if pod == RESTARTS_LATER {
        Some((f64::NEG_INFINITY, f64::NEG_INFINITY))
    } else if pod == FALLS_IDLE {
        Some((5000.0, 1.0))
    } else if pod == GONE {
        Some((f64::NAN, 2.0))
    } else {
        Some((0.5, 12.0))
    }
}

struct Writer {
    pod: Pod,
    series: Vec<Series>,
}

impl Writer {
    fn gauge(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: impl Fn(u64) -> f64) {
        let seed = self.seed(name, labels);
        let values = (0..=STEPS).map(|step| self.lives(step).then(|| value(noise(seed, step)))).collect();
        self.push(name, labels, values);
    }

    /// One gauge, scraped through two Services.
    fn twice(&mut self, name: &'static str, model: &str, value: impl Fn(u64) -> f64) {
        self.gauge(name, &[("model_name", model)], value);
        let mut again = self.series.last().expect("the line above wrote it").clone();
        for (label, value) in &mut again.labels {
            if *label == "service" {
                "nim-all".clone_into(value);
            }
        }
        self.series.push(again);
    }

    /// Grows by less than `speed` a step. Both Services scrape one counter, hence no service in the seed.
    fn counter(&mut self, name: &'static str, labels: &[(&'static str, &str)], speed: u64) {
        let own: Vec<_> = labels.iter().copied().filter(|(label, _)| *label != "service").collect();
        let seed = self.seed(name, &own);
        let values = self.totals(seed % 50, |step| noise(seed, step) % speed);
        let values = values.into_iter().map(|total| total.map(|total| total as f64)).collect();
        self.push(name, labels, values);
    }

    fn histogram(&mut self, name: &'static str, model: &str) {
        // Name of the bucket, and the share of the observations that it holds, in eighths.
        const BUCKETS: [(&str, u64); 5] = [("0.1", 1), ("0.5", 4), ("1", 6), ("5", 7), ("+Inf", 8)];
        assert_eq!(name, "latency_seconds", "the names below are constants");

        let seed = self.seed(name, &[("model_name", model)]);
        // A step makes 0, 8 or 16 observations. Some come a bucket late, so that quantiles move.
        for (bucket, share) in BUCKETS {
            let totals = self.totals(0, |step| {
                let noise = noise(seed, step);
                let late = if share < 8 && noise.is_multiple_of(5) { 1 } else { 0 };
                noise % 3 * (share - late)
            });
            let values = totals.into_iter().map(|total| total.map(|total| total as f64)).collect();
            self.push("latency_seconds_bucket", &[("model_name", model), ("le", bucket)], values);
        }
        let count = self.totals(0, |step| noise(seed, step) % 3 * 8);
        let sum = count.iter().map(|total| total.map(|total| total as f64 * 0.875)).collect();
        let count = count.into_iter().map(|total| total.map(|total| total as f64)).collect();
        self.push("latency_seconds_sum", &[("model_name", model)], sum);
        self.push("latency_seconds_count", &[("model_name", model)], count);
    }

    /// A counter with this pod's restart and idleness.
    fn totals(&self, first: u64, growth: impl Fn(u64) -> u64) -> Vec<Option<u64>> {
        let mut total = first;
        let mut values = Vec::new();
        for step in 0..=STEPS {
            let idle = self.pod == IDLE || self.pod == FALLS_IDLE && step >= 80;
            let restarts = self.pod == RESTARTS && step == 70 || self.pod == RESTARTS_LATER && step == 100;
            if restarts {
                total = 0;
            } else if !idle {
                total += growth(step);
            }
            values.push(self.lives(step).then_some(total));
        }
        values
    }

    fn lives(&self, step: u64) -> bool {
        !(self.pod == LATE && step < 60 || self.pod == GONE && step > 110)
    }

    fn push(&mut self, name: &'static str, labels: &[(&'static str, &str)], values: Vec<Option<f64>>) {
        let index = PODS.iter().position(|pod| *pod == self.pod).expect("every pod is in the table");
        let mut all = vec![
            ("job", "nim".to_owned()),
            ("instance", format!("10.0.0.{index}:8000")),
            ("endpoint", "metrics".to_owned()),
            ("service", "nim".to_owned()),
        ];
        if name.contains(':') {
            // A recording rule keeps what its author grouped by.
            all.clear();
        }
        for (label, value) in labels {
            all.retain(|(name, _)| name != label);
            all.push((label, (*value).to_owned()));
        }
        self.series.push(Series { pod: self.pod, name, labels: all, values });
    }

    fn seed(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325;
        let words = labels.iter().flat_map(|(label, value)| [*label, *value]);
        for byte in [self.pod.namespace, self.pod.name, name].into_iter().chain(words).flat_map(str::bytes) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        hash
    }
}

fn noise(seed: u64, step: u64) -> u64 {
    super::random::Random::new(seed.wrapping_add(step)).draw()
}
