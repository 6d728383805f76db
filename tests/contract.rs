//! The contract of the compiler for metrics of kind Pods: the template, asked for some pods of a namespace in the
//! database of everybody, says about each pod what the user's own text says in a database that holds this pod alone.
//!
//! Real Prometheus servers answer both. `NIMSCALE_CONTRACT=10000 cargo test --test contract -- --nocapture` asks about
//! more expressions, `NIMSCALE_SEED=7` about others.

#[path = "support/adapter.rs"]
mod adapter;
#[path = "support/ask.rs"]
mod ask;
#[path = "contract/compiler.rs"]
mod compiler;
#[path = "contract/data.rs"]
mod data;
#[path = "contract/generate.rs"]
mod generate;
#[path = "contract/mutants.rs"]
mod mutants;
#[path = "contract/oracle.rs"]
mod oracle;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "contract/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use compiler::{Compiled, Idle, compile};
use data::TIMES;
use generate::Expression;
use mutants::MUTANTS;
use oracle::{Claim, Root, Tally, World};
use random::{Random, variable};

const EXPRESSIONS: u64 = 300;
const SEED: u64 = 20_240_229;
/// Servers and clients share the machine; more clients than this do not make it faster.
const CLIENTS: usize = 2;
/// The first ones say it all.
const SHOWN_FAILURES: usize = 5;

#[test]
fn random_expressions_keep_the_contract() {
    let (seed, number) = (variable("NIMSCALE_SEED", SEED), variable("NIMSCALE_CONTRACT", EXPRESSIONS));
    println!("NIMSCALE_SEED={seed} NIMSCALE_CONTRACT={number}");

    let world = World::shared();
    let next = AtomicU64::new(0);
    let client = || {
        let mut count = Count::default();
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < number) {
            count.ask(world, seed.wrapping_add(index));
        }
        count
    };
    let mut count = Count::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            count.add(client.join().expect("a client failed, see above"));
        }
    });

    count.print();
    assert_eq!(count.tally.failures.len(), 0, "the first are above");
    assert_eq!(count.tally.twice, 0);
    if number >= EXPRESSIONS {
        assert!(count.accepted * 10 >= count.generated * 8, "the generator and the compiler have drifted apart");
        assert!(count.tally.compared >= count.accepted * 8, "too much is skipped");
        assert!(count.tally.non_empty * 2 >= count.tally.compared, "too little is there to compare");
    }
}

/// What the tests above fill in by themselves is what prometheus-adapter's own code fills in.
#[test]
fn random_templates_load_in_the_adapter_as_they_are_read_here() {
    let accepted = (0..EXPRESSIONS).filter_map(|index| {
        let Expression { text, idle, .. } = generate::expression(SEED + index);
        match compile(&text, idle) {
            Compiled::Pods(template) => Some(template),
            Compiled::Other(_) | Compiled::Refused(_) => None,
        }
    });
    let templates: Vec<String> = accepted.collect();
    let rules: Vec<_> = templates
        .iter()
        .enumerate()
        .map(|(number, template)| {
            serde_json::json!({
                "seriesQuery": "up", "name": {"as": format!("m{number}")}, "metricsQuery": template,
                "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            })
        })
        .collect();
    // JSON is YAML too, and the adapter reads it.
    let config = serde_json::json!({"rules": rules}).to_string();
    let pods = ["a-0", "b-1", "c-2"];
    let requests: Vec<_> = (0..templates.len())
        .map(|number| serde_json::json!({"metric": format!("m{number}"), "resource": "pods", "namespace": "n", "names": pods}))
        .collect();
    let answer = ask::ask(&config, &requests);
    assert_eq!((answer.error.as_str(), answer.discovery.len()), ("", 1));
    for (template, asked) in templates.iter().zip(&answer.queries) {
        assert_eq!(adapter::instantiate(template, "n", &pods).as_ref(), Ok(asked));
    }
    println!("{} random rules load in one config", answer.queries.len());
    assert!(answer.queries.len() as u64 * 10 > EXPRESSIONS * 8);
}

#[derive(Default)]
struct Count {
    generated: usize,
    accepted: usize,
    /// The expressions by their codes.
    refused: BTreeMap<String, Vec<String>>,
    tally: Tally,
}

impl Count {
    /// One expression at two of the times.
    fn ask(&mut self, world: &World, seed: u64) {
        let Expression { text, root, idle } = generate::expression(seed);
        self.generated += 1;
        match compile(&text, idle) {
            Compiled::Pods(template) => {
                self.accepted += 1;
                let mut random = Random::new(seed);
                let times = [random.pick(&TIMES[..3]), random.pick(&TIMES[3..])];
                let mut tally = world.check(Claim { text: &text, root, idle, template: &template }, &times);
                for failure in &mut tally.failures {
                    *failure += &format!(
                        "\n  again:      NIMSCALE_SEED={seed} NIMSCALE_CONTRACT=1 cargo test --test contract random"
                    );
                }
                self.tally.add(tally);
            }
            Compiled::Other(kind) => self.tally.failures.push(format!("{text:?} became a metric of kind {kind}")),
            Compiled::Refused(codes) => {
                self.refused.entry(codes.join(" ")).or_default().push(text);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.generated += other.generated;
        self.accepted += other.accepted;
        for (codes, texts) in other.refused {
            self.refused.entry(codes).or_default().extend(texts);
        }
        self.tally.add(other.tally);
    }

    fn print(&self) {
        let Self { generated, accepted, refused, tally } = self;
        println!("expressions: {generated} generated, {accepted} accepted, {} refused", generated - accepted);
        for (codes, texts) in refused {
            println!("  {:5} {codes}, like {:?}", texts.len(), texts[0]);
        }
        println!(
            "instances:   {} compared, {} of them not empty, {} skipped; {} pods twice, {} failures",
            tally.compared,
            tally.non_empty,
            tally.skipped,
            tally.twice,
            tally.failures.len()
        );
        for failure in tally.failures.iter().take(SHOWN_FAILURES) {
            println!("{failure}");
        }
    }
}

/// What a reader can work out from `tests/contract/data.rs` alone.
#[test]
fn values_worked_out_by_hand() {
    const QUANTILE: &str = "histogram_quantile(0.95, sum by (le, pod) (rate(latency_seconds_bucket[2m])))";
    let llm = |idle: Option<f64>| vec![("nim-a-1", Some(oracle::BOUND)), ("nim-a-2", idle), ("nim-b-1", Some(-4.0))];
    let chat = vec![("nim-a-1", None), ("nim-a-2", Some(oracle::BOUND)), ("nim-c-1", Some(2.0))];
    let batch = vec![("nim-a-1", Some(12.0)), ("worker-0", None), ("dcgm-0", Some(12.0))];
    let none = vec![("nim-a-1", None), ("nim-a-2", None), ("nim-b-1", None)];

    // +Inf is the bound, NaN idles, -Inf is missing, and so is a pod without the series, whatever idle means.
    for (idle, nan) in [(Idle::Hold, None), (Idle::Zero, Some(0.0))] {
        by_hand("load_score", Root::Max, idle, "llm", &llm(nan));
        by_hand("load_score", Root::Max, idle, "chat", &chat);
        by_hand("load_score", Root::Max, idle, "batch", &batch);
        by_hand("no_such_metric", Root::Max, idle, "llm", &none);
        by_hand(QUANTILE, Root::Unique, idle, "llm", &[("nim-a-2", nan)]);
    }
    // Two series: the larger. Two pods of one name: each its own. Two scrapes of a series: still the larger.
    by_hand("slots_in_use", Root::Max, Idle::Hold, "llm", &[("nim-a-1", Some(7.0))]);
    by_hand("slots_in_use", Root::Max, Idle::Hold, "chat", &[("nim-a-1", Some(20.0))]);
    // The user's own sum counts both scrapes, which is what the text says.
    by_hand("sum by (pod) (slots_in_use)", Root::Unique, Idle::Hold, "llm", &[("nim-a-1", Some(20.0))]);
    by_hand("sum by (pod) (slots_in_use)", Root::Unique, Idle::Hold, "batch", &[("nim-a-1", Some(1000.0))]);
    by_hand("0 * sum by (pod) (slots_in_use)", Root::Unique, Idle::Hold, "llm", &[("nim-a-1", Some(0.0))]);
}

fn by_hand(text: &str, root: Root, idle: Idle, namespace: &str, expected: &[(&str, Option<f64>)]) {
    // All pods live at this time.
    const TIME: u64 = TIMES[3];

    let world = World::shared();
    let template = accepted(text, idle);
    let values = world.metric(&template, namespace, TIME).unwrap_or_else(|error| panic!("{text}: {error}\n{template}"));
    for (pod, value) in expected {
        assert_eq!(values.get(*pod), value.as_ref(), "{pod} in {namespace}: {text} ({idle:?})\n{template}");
    }
    let tally = world.check(Claim { text, root, idle, template: &template }, &TIMES);
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

#[test]
fn each_mutant_is_killed() {
    let world = World::shared();
    for mutant in MUTANTS {
        for (text, root, idle) in mutant.killed_by.iter().copied() {
            let template = accepted(text, idle);
            let right = world.check(Claim { text, root, idle, template: &template }, &TIMES);
            assert!(right.failures.is_empty(), "{}", right.failures.join("\n"));

            let changed = (mutant.change)(&template).filter(|changed| *changed != template);
            let changed = changed.unwrap_or_else(|| panic!("{}: nothing to change in {template}", mutant.name));
            let wrong = world.check(Claim { text, root, idle, template: &changed }, &TIMES);
            println!("{:34} {:3} failures: {text} ({idle:?})", mutant.name, wrong.failures.len());
            assert!(!wrong.failures.is_empty(), "{} lives: {text}\n{changed}", mutant.name);
            // What is no PromQL dies of itself and shows nothing.
            let is_promql = !wrong.failures.iter().any(|failure| failure.contains("parse error"));
            assert!(is_promql, "{}: {}", mutant.name, wrong.failures[0]);
        }
    }
}

fn accepted(text: &str, idle: Idle) -> String {
    match compile(text, idle) {
        Compiled::Pods(template) => template,
        other @ (Compiled::Other(_) | Compiled::Refused(_)) => panic!("{text}: {other:?}"),
    }
}
