//! What the compiler reads, Prometheus reads alike: 2.42 and 3.x show how they read an author's text and our print of it,
//! and both are worth the same on a small database, as is our normal form.
//!
//! `NIMSCALE_PARSER=100000 cargo test --test parser -- --nocapture` reads more texts, `NIMSCALE_SEED=7` others, and
//! `NIMSCALE_PROMQL_FILE=FILE` adds a file of expressions, one a line.

#[path = "support/built.rs"]
mod built;
#[path = "parser/generate.rs"]
mod generate;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "contract/random.rs"]
mod random;
#[path = "parser/regexes.rs"]
mod regexes;
#[path = "parser/servers.rs"]
mod servers;
#[path = "parser/tree.rs"]
mod tree;
#[path = "parser/words.rs"]
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs, thread};

use nimscale_rules::platform::Dialect;
use nimscale_rules::promql::node::{Binary, Cardinality, Matching, Node, NodeKind};
use nimscale_rules::promql::template::plain;
use nimscale_rules::promql::{Limits, NamePattern, normalise, read};
use serde_json::Value;

use random::{Random, variable};
use servers::{NOW, Servers, worth};

const TEXTS: u64 = 300;
const SEED: u64 = 20_240_229;
/// Of each text.
const SPOILT: usize = 2;
/// Servers and clients share the machine; more clients than this do not make it faster.
const CLIENTS: usize = 2;
const SHOWN_FAILURES: usize = 20;
/// Of a text whose value differs.
const RETRIES: usize = 32;
/// What a query may fail of though it is right: this database has series that do not match one to one.
const OF_THE_DATA: &[&str] = &[
    "found duplicate series",
    "multiple matches for labels",
    "many-to-many matching not allowed",
    "vector cannot contain metrics with the same labelset",
    "grouping labels must ensure unique matches",
    "matching labels must be unique",
    "duplicated labelset",
    // The parameter of `topk`, which is a value, too.
    "overflows int64",
    "Parameter value is NaN",
];

#[test]
fn what_is_read_is_read_alike() {
    let (seed, number) = (variable("NIMSCALE_SEED", SEED), variable("NIMSCALE_PARSER", TEXTS));
    println!("NIMSCALE_SEED={seed} NIMSCALE_PARSER={number}");
    let listed = listed();
    let mut count = Count::default();
    for text in &listed {
        assert!(count.ask(text), "{text} is refused: {:?}", read(text, &Limits::AUTHOR));
    }
    count.print("listed");

    let next = AtomicU64::new(0);
    let client = || {
        let (mut written, mut spoilt) = (Count::default(), Count::default());
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < number) {
            let mut random = Random::new(seed.wrapping_add(index));
            let text = generate::expression(&mut random);
            let is_read = written.ask(&text);
            let text = if is_read { &text } else { &listed[random.below(listed.len())] };
            for _ in 0..SPOILT {
                spoilt.ask(&generate::spoil(text, &mut random));
            }
        }
        (written, spoilt)
    };
    let (mut written, mut spoilt) = (Count::default(), Count::default());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            let (one, other) = client.join().expect("a client failed, see above");
            written.add(one);
            spoilt.add(other);
        }
    });
    written.print("written");
    spoilt.print("spoilt");
    assert_eq!(count.failures.len() + written.failures.len() + spoilt.failures.len(), 0, "the first are above");
    if number >= TEXTS {
        assert!(written.read * 2 >= written.texts, "the generator and the compiler have drifted apart");
        assert!(spoilt.read * 10 >= spoilt.texts, "what is spoilt says nothing");
        assert!(written.valued * 3 >= written.read, "too few texts are worth anything");
    }
}

/// Without this the comparison above could be true of anything.
#[test]
fn another_reading_is_seen() {
    let servers = Servers::shared();
    for (one, other) in [
        ("a - (b - c)", "a - b - c"),
        ("-1 ^ 2", "(-1) ^ 2"),
        ("a or b and c", "(a or b) and c"),
        ("a * on (l) b", "a * on () b"),
        ("a + on (l) group_left b", "a + on (l) group_left (pod) b"),
        ("sum by (l) (a)", "sum without (l) (a)"),
        ("a{l=\"\\141\"}", "a{l=\"b\"}"),
        ("a{l=\"1\"}", "a{le=\"1\"}"),
        ("a{l=\"1\"}", "a{l=~\"1\"}"),
        ("a < bool 1", "a < 1"),
        ("rate(a[5m])", "rate(a[5m] offset 1m)"),
        ("a @ start()", "a @ end()"),
        ("-a", "a"),
        ("x > 010", "x > 10"),
        ("a[5m:1m]", "a[5m:]"),
    ] {
        assert_ne!(servers.tree(one).expect("it reads"), servers.tree(other).expect("it reads"), "{one}");
    }
}

/// Of the patterns that are let through, each is read by both versions, and matches the names that it matches for us.
#[test]
fn patterns_match_alike() {
    let number = variable("NIMSCALE_PARSER", TEXTS);
    let mut random = Random::new(variable("NIMSCALE_SEED", SEED));
    let (mut accepted, mut matched, mut failures) = (0, 0, Vec::new());
    let patterns: BTreeSet<String> = (0..number).map(|_| regexes::pattern(&mut random)).collect();
    for pattern in patterns.iter().filter(|pattern| NamePattern::parse(pattern).is_some()) {
        accepted += 1;
        match match_alike(pattern) {
            Ok(matches) => matched += matches,
            Err(failure) => failures.push(format!("{pattern:?}: {failure}")),
        }
    }
    println!("{} patterns, {accepted} let through, {matched} matches, {} failures", patterns.len(), failures.len());
    failures.iter().take(SHOWN_FAILURES).for_each(|failure| println!("  {failure}"));
    assert_eq!(failures.len(), 0);
    assert!(accepted * 5 >= patterns.len() && matched > accepted, "the generator and the guard have drifted apart");
}

/// How many values the pattern matches. Ours are names of metrics: to Rust `\d` is any digit of Unicode, and `\s` the
/// vertical tab, too.
fn match_alike(pattern: &str) -> Result<usize, String> {
    let servers = Servers::shared();
    // Since 3.0 `.` is a line break too.
    let dialects = [(&servers.debian, pattern.to_owned()), (&servers.v3, format!("(?s:{pattern})"))];
    let mut matched = 0;
    for (server, ours) in dialects {
        let ours = NamePattern::parse(&ours).ok_or("it is refused in a group")?;
        let query = format!("v{{l=~{}}}", Value::from(pattern));
        let theirs = server.query(&query, NOW).map_err(|error| format!("it is refused: {error}"))?;
        assert!(theirs.iter().all(|sample| sample.value == 1.0), "{query}");
        let theirs: BTreeSet<String> = theirs.into_iter().filter_map(|mut sample| sample.labels.remove("l")).collect();
        for value in regexes::VALUES.iter().filter(|value| value.is_ascii() && **value != "\u{b}") {
            // The empty value is the label's absence, and no pattern that is let through matches it.
            if ours.matches(value) != theirs.contains(*value) {
                return Err(format!(
                    "{value:?} matches {} for us",
                    if ours.matches(value) { "only" } else { "but not" }
                ));
            }
        }
        matched = theirs.len();
    }
    Ok(matched)
}

#[derive(Default)]
struct Count {
    texts: usize,
    read: usize,
    /// Not empty on the database of 3.x.
    valued: usize,
    refused: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
}

impl Count {
    /// Compares the readings of one text; true when we read it.
    fn ask(&mut self, text: &str) -> bool {
        self.texts += 1;
        match read(text, &Limits::AUTHOR) {
            Err(findings) => {
                for code in findings.iter().map(|finding| finding.code.as_str()).collect::<BTreeSet<_>>() {
                    *self.refused.entry(code).or_default() += 1;
                }
                false
            }
            Ok(node) => {
                self.read += 1;
                match compare(text, &node) {
                    Ok(valued) => self.valued += usize::from(valued),
                    Err(failure) => self.failures.push(format!("{text:?}: {failure}")),
                }
                true
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.texts += other.texts;
        self.read += other.read;
        self.valued += other.valued;
        self.failures.extend(other.failures);
        for (code, number) in other.refused {
            *self.refused.entry(code).or_default() += number;
        }
    }

    fn print(&self, what: &str) {
        let Self { texts, read, valued, refused, failures } = self;
        println!("{texts} texts {what}, {read} read, {valued} of them with a value, {} failures", failures.len());
        println!("  refused: {refused:?}");
        failures.iter().take(SHOWN_FAILURES).for_each(|failure| println!("  {failure}"));
    }
}

/// Whether the text has a value, or how readings of it differ.
fn compare(text: &str, node: &Node) -> Result<bool, String> {
    let (printed, normal) = (plain(node), plain(&normalise(node, None)));
    let odd = Odd::of(node);
    if odd.is_known_to_v3 {
        read_alike(text, &printed, &odd)?;
    }
    // No metric is one of these, and 2.42 fails on them in brackets.
    if matches!(node.kind, NodeKind::String(_) | NodeKind::Range { .. } | NodeKind::Subquery { .. }) {
        return Ok(false);
    }
    let mut valued = false;
    let servers = Servers::shared();
    let dialects = [("2.42", &servers.debian, odd.is_known_to_2_42), ("3.x", &servers.v3, odd.is_known_to_v3)];
    for (version, server, _) in dialects.into_iter().filter(|(_, _, is_known)| *is_known) {
        let wanted = worth(server, text);
        if let Err(error) = &wanted
            && !OF_THE_DATA.iter().any(|words| error.contains(words))
        {
            return Err(format!("{version} cannot answer: {error}"));
        }
        let others = if odd.ordered { &[&printed][..] } else { &[&printed, &normal] };
        for other in others.iter().copied() {
            let found = if other == text { wanted.clone() } else { worth(server, other) };
            // Of equal values `topk` takes any.
            let alike = |wanted: &Result<Value, String>| wanted == &found || (wanted.is_err() && found.is_err());
            if !alike(&wanted) && !(0..RETRIES).any(|_| alike(&worth(server, text))) {
                return Err(format!("{version} says {found:?} of {other:?} and {wanted:?} of the text"));
            }
        }
        valued = wanted.is_ok_and(|worth| worth["result"].as_array().is_some_and(|result| !result.is_empty()));
    }
    Ok(valued)
}

/// Whether both versions read the text and our print of it as one tree.
fn read_alike(text: &str, printed: &str, odd: &Odd) -> Result<(), String> {
    let servers = Servers::shared();
    let refuses = |version: &'static str| move |error: String| format!("{version} refuses: {error}");
    let tree = servers.tree(text).map_err(refuses("3.x"))?;
    let same = |other: &str, of: &str| match servers.tree(other) {
        Ok(other) if other == tree => Ok(()),
        Ok(other) => Err(format!("{of}: {other} instead of {tree}")),
        Err(error) => Err(format!("{of} is refused: {error}")),
    };
    same(printed, &format!("printed as {printed:?}"))?;
    for text in [text, printed].into_iter().filter(|_| odd.is_known_to_2_42) {
        // 2.42 shows no tree; its formatter keeps every bracket, so 3.x sees by it what 2.42 has read.
        let formatted = servers.formatted(text).map_err(refuses("2.42"))?;
        if !odd.misprinted {
            same(&formatted, &format!("{text:?} is {formatted:?} to 2.42"))?;
        }
    }
    Ok(())
}

/// What cannot be compared of a tree.
struct Odd {
    /// Every function of it exists there.
    is_known_to_2_42: bool,
    is_known_to_v3: bool,
    /// 2.42 prints no `group_left` behind an empty `ignoring ()`.
    misprinted: bool,
    /// `absent` takes its labels from the matchers, one after the other: sorted, two of one label give another result.
    ordered: bool,
}

impl Odd {
    fn of(node: &Node) -> Self {
        let mut odd = Self { is_known_to_2_42: true, is_known_to_v3: true, misprinted: false, ordered: false };
        node.visit(&mut |node| match &node.kind {
            NodeKind::Binary(Binary { matching, cardinality, .. }) => {
                odd.misprinted |= *matching == Matching::Default && *cardinality != Cardinality::OneToOne;
            }
            NodeKind::Call { function, .. } => {
                odd.is_known_to_2_42 &= function.exists.in_dialect(Dialect::V2_42);
                odd.is_known_to_v3 &= function.exists.in_dialect(Dialect::new(3, 16));
                odd.ordered |= function.name.starts_with("absent");
            }
            NodeKind::Number(_)
            | NodeKind::String(_)
            | NodeKind::Selector(_)
            | NodeKind::Range { .. }
            | NodeKind::Subquery { .. }
            | NodeKind::Negate(_)
            | NodeKind::Aggregate(_) => {}
        });
        odd
    }
}

/// The small list of the suite, and the file that the environment names.
fn listed() -> Vec<String> {
    let mut text = include_str!("fixtures/promql.txt").to_owned();
    if let Some(file) = env::var_os("NIMSCALE_PROMQL_FILE") {
        // Corpora hold what a dashboard fills in, and what is over the limits.
        let more = fs::read_to_string(&file).unwrap_or_else(|error| panic!("NIMSCALE_PROMQL_FILE: {error}"));
        text.extend(more.lines().filter(|line| read(line, &Limits::AUTHOR).is_ok()).flat_map(|line| [line, "\n"]));
    }
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}
