//! What compiling one annotated workload costs against a bare parse of its expressions, in one run, in turns.
//!
//! `cargo bench -p nimscale-rules --bench compile` prints the medians of the rounds, and what the steps take of it.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark looks at the clock, and prints")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use nimscale_rules::compile::compile;
use nimscale_rules::measure::{Question, measure};
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_rules::promql::{Limits, read};
use nimscale_rules::quantity::Milli;
use nimscale_rules::workload::{Workload, WorkloadId, WorkloadKind};

const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(100);

/// What people write, with its target.
const EXPRESSIONS: [(&str, &str); 3] = [
    ("gpu_cache_usage_perc", "0.75"),
    ("sum by (pod) (num_requests_waiting)", "8"),
    ("histogram_quantile(0.95, sum by (pod, le) (rate(time_to_first_token_seconds_bucket[2m])))", "2.5"),
];

type Step<'a> = Box<dyn FnMut() + 'a>;

fn main() {
    let (platform, policies) = (Platform::default(), Policies::built_in());
    let workload = workload();
    let compiled = compile(&workload, &policies, &platform);
    assert_eq!(compiled.plan.map(|plan| plan.metrics.len()), Some(EXPRESSIONS.len()), "{:?}", compiled.findings);

    let queries = EXPRESSIONS.map(|(query, _)| query);
    let target = Milli::from_thousandths(1000).expect("over 0");
    let mut steps: [(&str, Step<'_>); 4] = [
        (
            "parse, promql-parser alone",
            Box::new(|| queries.iter().for_each(|query| kept(promql_parser::parser::parse(query)))),
        ),
        ("read: guard, parse, lower", Box::new(|| queries.iter().for_each(|query| kept(read(query, &Limits::AUTHOR))))),
        (
            "measure: read, analyse, print, prove",
            Box::new(|| queries.iter().for_each(|query| kept(measure(&Question::new(query, target), &platform)))),
        ),
        ("compile: the whole workload", Box::new(|| kept(compile(&workload, &policies, &platform)))),
    ];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for ((_, step), times) in steps.iter_mut().zip(&mut times) {
            times.push(round(step));
        }
    }
    println!("one workload, {} expressions; {ROUNDS} rounds of {ROUND:?} each in turn; medians", EXPRESSIONS.len());
    let times = times.map(median);
    for ((name, _), time) in steps.iter().zip(times) {
        println!("  {name:36} {time:7.2} us  {:5.2} x the parse", time / times[0]);
    }
}

/// Microseconds of one call.
fn round(step: &mut dyn FnMut()) -> f64 {
    let (started, mut calls) = (Instant::now(), 0_u32);
    while started.elapsed() < ROUND {
        // The clock is looked at once in ten calls: it is not what is measured.
        (0..10).for_each(|_| step());
        calls += 10;
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn kept<T>(value: T) {
    drop(black_box(value));
}

fn workload() -> Workload {
    let keep: String = EXPRESSIONS.iter().map(|(query, target)| format!("{query} < {target}\n")).collect();
    let annotations = [("nimscale.dev/scale", "1..8"), ("nimscale.dev/keep", keep.as_str())];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let id = WorkloadId { namespace: Some("nim".into()), name: "llama".into(), kind: WorkloadKind::Deployment };
    Workload::stored(id, &BTreeMap::from(annotations))
}
