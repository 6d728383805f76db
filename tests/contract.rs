//! The contract of the compiler. Pods: the template, asked for some pods of a namespace in the database of everybody, says
//! about each pod what the user's own text says in a database that holds this pod alone. Object: asked for a workload, it
//! says what the text says in a database that holds this workload's pods alone.
//!
//! Prometheus 2.42 and 3.x answer, each over all databases. `NIMSCALE_CONTRACT=10000 cargo test --test contract
//! random_expressions -- --nocapture` asks both about so many expressions, which are more than 100,000 comparisons each,
//! and prints them by version and by row of the theory; `NIMSCALE_SEED=7` asks about others.

#[path = "support/adapter.rs"]
mod adapter;
#[path = "support/ask.rs"]
mod ask;
#[path = "support/built.rs"]
mod built;
#[path = "contract/by_hand.rs"]
mod by_hand;
#[path = "contract/compiler.rs"]
mod compiler;
#[path = "contract/data.rs"]
mod data;
#[path = "contract/expression.rs"]
mod expression;
#[path = "contract/generate.rs"]
mod generate;
#[path = "contract/leaves.rs"]
mod leaves;
#[path = "contract/mutants.rs"]
mod mutants;
#[path = "contract/native.rs"]
mod native;
#[path = "contract/oracle.rs"]
mod oracle;
#[path = "support/prometheus.rs"]
#[expect(dead_code, reason = "other tests start a server over one text")]
mod prometheus;
#[path = "contract/random.rs"]
mod random;
#[path = "contract/request.rs"]
mod request;
#[path = "contract/rows.rs"]
mod rows;
#[path = "contract/spelling.rs"]
mod spelling;
#[path = "contract/surgery.rs"]
mod surgery;
#[path = "contract/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use compiler::Kind;
use data::{TIMES, WORKLOADS};
use expression::{Claim, Root};
use mutants::MUTANTS;
use oracle::Tally;
use random::{Random, variable};
use request::{Request, label_of};
use rows::{ROWS, RowCounts};
use world::{Refusal, Version, World};

/// For each version.
const EXPRESSIONS: u64 = 100;
/// From here on every row must have been compared so often.
const LONG: u64 = 2000;
const EACH_ROW: usize = 200;
const SEED: u64 = 20_240_229;
/// Servers and clients share the machine; more clients than this do not make it faster.
const CLIENTS: usize = 2;
/// The first ones say it all.
const SHOWN_FAILURES: usize = 5;

#[test]
fn random_expressions_keep_the_contract() {
    let (seed, number) = (variable("NIMSCALE_SEED", SEED), variable("NIMSCALE_CONTRACT", EXPRESSIONS));
    println!("NIMSCALE_SEED={seed} NIMSCALE_CONTRACT={number}");

    let worlds = World::shared();
    let next = AtomicU64::new(0);
    let client = || {
        let mut counts = [Count::default(), Count::default()];
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < number) {
            for (world, count) in worlds.iter().zip(&mut counts) {
                count.ask(world, seed.wrapping_add(index));
            }
        }
        counts
    };
    let mut counts = [Count::default(), Count::default()];
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            for (sum, count) in counts.iter_mut().zip(client.join().expect("a client failed, see above")) {
                sum.add(count);
            }
        }
    });

    for (world, count) in worlds.iter().zip(&counts) {
        count.print(world.version);
    }
    for (world, Count { generated, accepted, rows, tally, .. }) in worlds.iter().zip(&counts) {
        let version = world.version;
        assert_eq!(tally.failures.len(), 0, "{version:?}: the first are above");
        assert_eq!(tally.twice, 0, "{version:?}");
        if number >= EXPRESSIONS {
            assert!(accepted * 10 >= generated * 8, "{version:?}: the generator and the compiler have drifted apart");
            assert!(tally.compared >= accepted * 8, "{version:?}: too much is skipped");
            assert!(tally.non_empty * 2 >= tally.compared, "{version:?}: too little is there to compare");
        }
        if number >= LONG {
            let rare: Vec<_> = ROWS.into_iter().filter(|(row, _)| rows.of(*row) < EACH_ROW).collect();
            assert!(rare.is_empty(), "{version:?}: too seldom compared: {rare:?}");
        }
    }
}

/// What the tests above fill in by themselves is what prometheus-adapter's own code fills in.
#[test]
fn random_templates_load_in_the_adapter_as_they_are_read_here() {
    let world = &World::shared()[0];
    let accepted = (0..2 * EXPRESSIONS).filter_map(|index| {
        let expression = generate::expression(SEED + index, world.version);
        Some((world.compile(expression.claim()).ok()?, request(expression.root)))
    });
    let accepted: Vec<(String, Request)> = accepted.collect();
    let rules: Vec<_> = accepted
        .iter()
        .enumerate()
        .map(|(number, (template, request))| {
            let object = match request {
                Request::Pods(..) => json!({"resource": "pod"}),
                Request::Workload(workload) => json!({"group": "apps", "resource": label_of(workload.kind)}),
            };
            json!({
                "seriesQuery": "up", "name": {"as": format!("m{number}")}, "metricsQuery": template,
                "resources": {"overrides": {"namespace": {"resource": "namespace"}, request.label(): object}},
            })
        })
        .collect();
    // JSON is YAML too, and the adapter reads it.
    let config = json!({"rules": rules}).to_string();
    let asked = accepted.iter().enumerate().map(|(number, (_, request))| {
        let resource = match request {
            Request::Pods(..) => "pods".to_owned(),
            Request::Workload(workload) => format!("{}s.apps", label_of(workload.kind)),
        };
        let (metric, namespace, names) = (format!("m{number}"), request.namespace(), request.names());
        json!({"metric": metric, "resource": resource, "namespace": namespace, "names": names})
    });
    let answer = ask::ask(&config, &asked.collect::<Vec<_>>());
    assert_eq!((answer.error.as_str(), answer.discovery.len()), ("", 1));
    for ((template, request), asked) in accepted.iter().zip(&answer.queries) {
        assert_eq!(request.instantiate(template).as_ref(), Ok(asked));
    }
    println!("{} random rules load in one config", answer.queries.len());
    assert!(answer.queries.len() as u64 * 10 > 2 * EXPRESSIONS * 8);
}

fn request(root: Root) -> Request {
    match root {
        Root::Unique | Root::Max | Root::Sum => Request::Pods("n", vec!["a-0", "b-1", "c-2"]),
        Root::Total(kind) | Root::Level(kind) => {
            Request::Workload(*WORKLOADS.iter().find(|workload| workload.kind == kind).expect("one of each kind"))
        }
    }
}

#[derive(Default)]
struct Count {
    generated: usize,
    accepted: usize,
    /// The expressions by their codes.
    refused: BTreeMap<String, Vec<String>>,
    rows: RowCounts,
    tally: Tally,
}

impl Count {
    /// One expression at two of the times, or three.
    fn ask(&mut self, world: &World, seed: u64) {
        let expression = generate::expression(seed, world.version);
        let claim = expression.claim();
        self.generated += 1;
        match world.compile(claim) {
            Ok(template) => {
                self.accepted += 1;
                let mut random = Random::new(seed);
                let mut times = vec![random.pick(&TIMES[..3]), random.pick(&TIMES[3..])];
                if matches!(claim.root, Root::Total(_) | Root::Level(_)) {
                    times.push(random.pick(&TIMES));
                }
                let mut tally = world.check(claim, &template, &world.expected(claim, &times));
                for failure in &mut tally.failures {
                    *failure += &format!("\n  again:      {}", again(seed));
                }
                self.rows.count(expression.rows, Kind::of(claim.root), tally.non_empty);
                self.tally.add(tally);
            }
            Err(Refusal::OtherKind(kind)) => {
                let problem =
                    format!("of kind {kind:?}: {} ({:?})\n  again:      {}", claim.text, claim.root, again(seed));
                self.tally.failures.push(problem);
            }
            Err(Refusal::Codes(codes)) => {
                self.refused.entry(codes.join(" ")).or_default().push(expression.text);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.generated += other.generated;
        self.accepted += other.accepted;
        for (codes, texts) in other.refused {
            self.refused.entry(codes).or_default().extend(texts);
        }
        self.rows.add(&other.rows);
        self.tally.add(other.tally);
    }

    fn print(&self, version: Version) {
        let Self { generated, accepted, refused, rows, tally } = self;
        println!("{version:?}");
        println!("  expressions: {generated} generated, {accepted} accepted, {} refused", generated - accepted);
        for (codes, texts) in refused {
            println!("    {:5} {codes}, like {:?}", texts.len(), texts[0]);
        }
        println!(
            "  instances:   {} compared, {} of them not empty, {} skipped; {} names twice, {} failures",
            tally.compared,
            tally.non_empty,
            tally.skipped,
            tally.twice,
            tally.failures.len()
        );
        rows.print();
        for failure in tally.failures.iter().take(SHOWN_FAILURES) {
            println!("{failure}");
        }
    }
}

fn again(seed: u64) -> String {
    format!("NIMSCALE_SEED={seed} NIMSCALE_CONTRACT=1 cargo test --test contract random_expressions")
}

#[test]
fn each_mutant_is_killed() {
    // Just after a restart, when all is well, and when a pod is gone.
    const AT: [u64; 3] = [TIMES[2], TIMES[3], TIMES[5]];

    for (mutant, world) in MUTANTS.iter().zip(World::shared().iter().cycle()) {
        for (text, root, idle) in mutant.killed_by.iter().copied() {
            let claim = Claim { text, root, idle };
            let template = by_hand::accepted(world, claim);
            let expected = world.expected(claim, &AT);
            let right = world.check(claim, &template, &expected);
            assert!(right.failures.is_empty(), "{}", right.failures.join("\n"));

            let changed = (mutant.change)(&template).filter(|changed| *changed != template);
            let changed = changed.unwrap_or_else(|| panic!("{}: nothing to change in {template}", mutant.name));
            let wrong = world.check(claim, &changed, &expected);
            println!("{:40} {:3} failures: {text} ({root:?}, {idle:?})", mutant.name, wrong.failures.len());
            assert!(!wrong.failures.is_empty(), "{} lives: {text}\n{changed}", mutant.name);
            // What is no PromQL dies of itself and shows nothing.
            let is_promql = !wrong.failures.iter().any(|failure| failure.contains("parse error"));
            assert!(is_promql, "{}: {}", mutant.name, wrong.failures[0]);
        }
    }
}
