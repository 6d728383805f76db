//! What the fuzzer looks for, on its seeds and on what its dictionary makes of them.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its files, and fails where it cannot"
)]

#[path = "../fuzz/src/lib.rs"]
mod entry;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nimscale_rules::promql::functions::FUNCTIONS;
use nimscale_rules::promql::token::scan;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

#[test]
fn annotations_keep_the_rules() {
    keeps("annotations", entry::annotations);
}

#[test]
fn promql_keeps_the_rules() {
    keeps("promql", entry::promql);
}

/// Trees of any bytes, and together every construct.
#[test]
fn the_printer_keeps_the_rules() {
    let mut printed = BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(any::<u8>(), 0..256);
    for _ in 0..2048 {
        let text = entry::printer(&strategy.new_tree(&mut runner).unwrap().current());
        printed.extend(scan(&text).iter().map(|token| token.span.of(&text).to_owned()));
    }
    let words = "sum avg min max count group stddev stdvar quantile topk bottomk count_values by without on ignoring \
                 group_left group_right bool offset @ start end [ : + - * / % ^ atan2 == != < <= > >= and or unless";
    let functions = FUNCTIONS.iter().map(|function| function.name).filter(|name| *name != "holt_winters");
    for word in words.split(' ').chain(functions) {
        assert!(printed.contains(word), "no tree has {word}");
    }
}

fn keeps(target: &str, entry: fn(&[u8])) {
    let (seeds, words) = (seeds(target), words(target));
    seeds.iter().for_each(|seed| entry(seed));
    let only_words = prop::collection::vec(select(words.clone()), 0..16).prop_map(|words| words.concat());
    let changed = (select(seeds), any::<[Index; 2]>(), prop::collection::vec(select(words), 0..3));
    let changed = changed.prop_map(|(mut seed, cut, words)| {
        let [from, to] = cut.map(|at| at.index(seed.len() + 1));
        seed.splice(from..to.clamp(from, from.max(seed.len().min(from + 4))), words.concat());
        seed
    });
    let mut runner = TestRunner::new(ProptestConfig::with_cases(384));
    let tried = runner.run(&prop_oneof![1 => only_words, 3 => changed], |bytes| {
        entry(&bytes);
        Ok(())
    });
    tried.unwrap();
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory("seeds").join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).unwrap().into_bytes()).collect()
}

/// The entries of a dictionary: `"..."` a line, in which libFuzzer knows `\\`, `\"` and `\xNN`.
fn words(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(directory("dictionaries").join(format!("{target}.dict"))).unwrap();
    text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"')).map(unescaped).collect()
}

fn unescaped(entry: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), entry);
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend(plain.bytes());
        let length = if escape.starts_with('x') { 3 } else { 1 };
        match escape[..length].strip_prefix('x') {
            Some(digits) => bytes.push(u8::from_str_radix(digits, 16).unwrap()),
            None => bytes.extend(escape[..length].bytes()),
        }
        rest = &escape[length..];
    }
    bytes.extend(rest.bytes());
    bytes
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}
