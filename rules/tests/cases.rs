//! The literate cases: every `promql` block of `cases/*.md` gives the `text` block behind it.
//!
//! `UPDATE=1 cargo test -p nimscale-rules --test cases` writes what is printed into the files, to be read in the diff.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its cases, and fails where it cannot"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nimscale_rules::findings::Finding;
use nimscale_rules::measure::{Kind, Question, Reading, measure};
use nimscale_rules::place::{Place, Span};
use nimscale_rules::platform::Platform;
use nimscale_rules::presets::OnIdle;
use nimscale_rules::quantity::Milli;

#[test]
fn cases_are_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let printed = rewritten(&written);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &printed).unwrap();
        } else if written != printed {
            let line = written.lines().zip(printed.lines()).position(|(a, b)| a != b).unwrap_or_default();
            let shown = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
            wrong.push(format!(
                "{}:{}\n  written: {}\n  printed: {}",
                file.display(),
                line + 1,
                shown(&written),
                shown(&printed)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n`UPDATE=1 cargo test -p nimscale-rules --test cases` rewrites them",
        wrong.join("\n")
    );
}

/// The file with every expected block replaced by what is printed now.
fn rewritten(file: &str) -> String {
    let mut out = String::new();
    let mut lines = file.lines();
    let mut expected: Option<String> = None;
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match (info.split(' ').next(), expected.take()) {
            (Some("promql"), _) => {
                out.push_str(&block.iter().map(|line| format!("{line}\n")).collect::<String>());
                expected = Some(if info.contains("names") { names(&block) } else { told(&block.join("\n"), info) });
            }
            (_, Some(expected)) => out.push_str(&expected),
            (_, None) => out.push_str(&block.iter().map(|line| format!("{line}\n")).collect::<String>()),
        }
        out.push_str("```\n");
    }
    out
}

/// What becomes of one expression; `info` may hold `target=`, `idle=`, `reading=`, `kind=`, `namespace=`.
fn told(text: &str, info: &str) -> String {
    let option = |name: &str| info.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let stated = option("target").map(|target| Milli::from_decimal(target, 1, 0).unwrap());
    let target = stated.unwrap_or(Milli::from_thousandths(1000).unwrap());
    let question = Question {
        namespace: option("namespace"),
        kind: option("kind").map(|kind| if kind == "Pods" { Kind::Pods } else { Kind::Object }),
        reading: option("reading").map(|word| if word == "level" { Reading::AsItStands } else { Reading::PerReplica }),
        on_idle: option("idle").map(|idle| if idle == "zero" { OnIdle::Zero } else { OnIdle::Hold }),
        ..Question::new(text, target)
    };
    let measured = measure(&question, &Platform::default());
    let mut out = String::new();
    if let Some(measure) = &measured.measure {
        writeln!(out, "{}", measure.template).unwrap();
    }
    for finding in &measured.findings {
        let at = finding.place.bytes;
        write!(out, "{} {at} \"{}\": {}", finding.code, at.of(text).replace('\n', "\\n"), finding.message).unwrap();
        writeln!(out, "{}", help(finding)).unwrap();
    }
    // A target that nobody stated is none to be warned of.
    if let (Some(target), Some(reach)) = (stated, &measured.reach)
        && let Some(finding) = reach.finding(target, &Place::of_text(Span::default()))
    {
        writeln!(out, "{} target {target}: {}{}", finding.code, finding.message, help(&finding)).unwrap();
    }
    out
}

fn help(finding: &Finding) -> String {
    finding.help.as_ref().map_or(String::new(), |help| format!(" -> {help}"))
}

fn names(expressions: &[&str]) -> String {
    let name = |query: &&str| {
        let target = Milli::from_thousandths(1000).unwrap();
        let measure = measure(&Question::new(query, target), &Platform::default()).measure;
        let name = measure.map_or_else(|| "refused".to_owned(), |measure| measure.name);
        format!("{name:<56} {query}\n")
    };
    expressions.iter().map(name).collect()
}
