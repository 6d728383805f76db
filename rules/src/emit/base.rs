//! Stand our rules behind an adapter config that somebody else wrote, and keep every byte of theirs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::adapter::Rule;
use crate::place::Span;
use crate::yaml::{self, Kind, Node};

/// What the names of our rules start with; no rule of anybody else has it.
pub const PREFIX: &str = "nimscale_";

/// What stands on the line of a `rules:` that we had to write, and so may take away again.
const OURS: &str = "rules: # nimscale";

/// A config taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The text without our rules: what somebody else wrote, byte for byte.
    pub foreign: String,
    /// Our rules by name; `None` is one that does not read as a rule of ours: a person edited it.
    pub own: BTreeMap<String, Option<Rule>>,
}

/// Why a config is not touched: the adapter would not load it either, or it is written in a way that we cannot add to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLoadable(String);

/// Takes a config apart. It must be what the adapter loads: it reads strictly, and exits on what it does not know.
pub fn split(text: &str) -> Result<Parts, NotLoadable> {
    loads(text)?;
    let Some(rules) = Rules::find(text)? else {
        return Ok(Parts { foreign: text.to_owned(), own: BTreeMap::new() });
    };
    let mut own = BTreeMap::new();
    let mut cuts: Vec<Span> = Vec::new();
    let mut kept = 0;
    let items = rules.list.items();
    for (i, item) in items.iter().enumerate() {
        let Some(name) = own_name(item) else {
            kept += 1;
            continue;
        };
        let read = rule_text(text, item, rules.flow).and_then(|text| yaml::parse::<Rule>(&text).ok());
        own.insert(name.to_owned(), read);
        cuts.push(match (rules.flow, i) {
            (true, 0) => item.span,
            // From the end of the one before: the comma goes, too.
            (true, _) => Span::new(items[i - 1].span.end, item.span.end),
            (false, _) => {
                let end = items.get(i + 1).map_or_else(|| line_after(text, item.span), |next| line_of(text, next));
                Span::new(line_of(text, item), end)
            }
        });
    }
    let mut foreign = text.to_owned();
    for cut in cuts.iter().rev() {
        foreign.replace_range(cut.start..cut.end, "");
    }
    if kept == 0
        && let Some(at) = foreign.find(&format!("{OURS}\n")).filter(|at| starts_line(&foreign, *at))
    {
        foreign.replace_range(at..at + OURS.len() + 1, "");
    }
    Ok(Parts { foreign, own })
}

/// What one rule of somebody else lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// A selector of series.
    pub series_query: String,
    /// The name of the metric; `None` is the name of each series.
    pub name: Option<String>,
}

/// The rules of others whose names can be told: those that a pattern makes are left out.
pub fn foreign_makers(text: &str) -> Vec<Maker> {
    let schema = yaml::parse::<Option<Schema>>(text).ok().flatten();
    let rules = schema.and_then(|schema| schema.rules).unwrap_or_default();
    let maker = |rule: AnyRule| {
        let series_query = rule.series_query?.as_str()?.to_owned();
        let name = rule.name.unwrap_or_default();
        let said = |value: Option<Value>| value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let (matches, as_) = (said(name.matches), said(name.as_));
        match (matches.is_empty(), as_.as_str()) {
            (true, "") => Some(Maker { series_query, name: None }),
            (true, literal) if !literal.contains('$') && !literal.starts_with(PREFIX) => {
                Some(Maker { series_query, name: Some(as_) })
            }
            (true | false, _) => None,
        }
    };
    rules.into_iter().filter_map(maker).collect()
}

/// The config with our rules behind all others: of two rules with one name the last counts. It was read back as the
/// adapter reads it, and says of everybody else's rules what it said before.
pub fn join(foreign: &str, rules: &[Rule]) -> Result<String, NotLoadable> {
    loads(foreign)?;
    if rules.is_empty() {
        return Ok(foreign.to_owned());
    }
    let text = joined(foreign, rules)?;
    let parts = split(&text)?;
    let own: BTreeMap<String, Option<Rule>> =
        rules.iter().map(|rule| (rule.name.as_.clone(), Some(rule.clone()))).collect();
    // A text that ended without a line break has one now.
    let same = parts.foreign == foreign || parts.foreign == format!("{foreign}\n");
    if same && parts.own == own { Ok(text) } else { Err(refuse("our rules do not read back behind it")) }
}

fn joined(foreign: &str, rules: &[Rule]) -> Result<String, NotLoadable> {
    let mut text = foreign.to_owned();
    let Some(found) = Rules::find(foreign)? else {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{OURS}\n{}", block(rules, 0)?));
        return Ok(text);
    };
    let items = found.list.items();
    if found.flow {
        let mut json = Vec::new();
        for rule in rules {
            json.push(serde_json::to_string(rule).map_err(|error| refuse(&error.to_string()))?);
        }
        let json = json.join(",");
        match items.last() {
            Some(last) => text.insert_str(last.span.end, &format!(",{json}")),
            None => text.insert_str(found.list.span.start + 1, &json),
        }
        return Ok(text);
    }
    let (at, indent) = match items.last() {
        Some(last) => {
            let start = line_of(foreign, last);
            (line_after(foreign, last.span), foreign[start..].len() - foreign[start..].trim_start_matches(' ').len())
        }
        None => (line_after(foreign, found.key), 0),
    };
    let broken = at > 0 && !foreign[..at].ends_with('\n');
    text.insert_str(at, &format!("{}{}", if broken { "\n" } else { "" }, block(rules, indent)?));
    Ok(text)
}

/// The list under the key `rules`.
struct Rules {
    key: Span,
    list: Node,
    flow: bool,
}

impl Rules {
    /// `None` where there is no such key.
    fn find(text: &str) -> Result<Option<Self>, NotLoadable> {
        let root = yaml::read(text, Span::new(0, text.len()), 0).map_err(|finding| refuse(&finding.message))?;
        let Some((key, list)) = root.as_ref().and_then(|root| root.entry("rules")) else {
            let flow = root.as_ref().is_some_and(|root| root.span.of(text).starts_with('{'));
            return if flow { Err(refuse("it is JSON without rules: add \"rules\": []")) } else { Ok(None) };
        };
        let flow = match &list.kind {
            Kind::Sequence(_) => list.span.of(text).starts_with('['),
            Kind::Scalar { .. } if list.span.is_empty() => false,
            Kind::Scalar { .. } | Kind::Mapping(_) | Kind::Alias(_) => {
                return Err(refuse("its rules are no list that can be added to: write `rules: []`"));
            }
        };
        Ok(Some(Self { key: key.span, list: list.clone(), flow }))
    }
}

/// The name of a rule, if it is one of ours.
fn own_name(item: &Node) -> Option<&str> {
    item.lookup("name")?.lookup("as")?.as_str().filter(|name| name.starts_with(PREFIX))
}

/// One rule as a document of its own.
fn rule_text(text: &str, item: &Node, flow: bool) -> Option<String> {
    if flow {
        return Some(item.span.of(text).to_owned());
    }
    let column = item.span.start - (text[..item.span.start].rfind('\n').map_or(0, |at| at + 1));
    Some(format!("{}{}", " ".repeat(column), item.span.of(text)))
}

/// Our rules as a block list whose dashes stand at a column.
fn block(rules: &[Rule], indent: usize) -> Result<String, NotLoadable> {
    let list = yaml::write(&rules).map_err(|error| refuse(&error.to_string()))?;
    Ok(list.lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect())
}

/// Where the line starts on which a node does.
fn line_of(text: &str, node: &Node) -> usize {
    text[..node.span.start].rfind('\n').map_or(0, |at| at + 1)
}

/// Where the line behind a node's last one starts.
fn line_after(text: &str, span: Span) -> usize {
    let end = span.start + span.of(text).trim_end().len();
    text[end..].find('\n').map_or(text.len(), |at| end + at + 1)
}

fn starts_line(text: &str, at: usize) -> bool {
    at == 0 || text[..at].ends_with('\n')
}

/// The adapter's whole schema (prometheus-adapter v0.12.0, `pkg/config/config.go`), for the strict reading alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what the fields hold is the adapter's to judge; that there are no others is ours")]
struct Schema {
    #[serde(default)]
    rules: Option<Vec<AnyRule>>,
    #[serde(default)]
    external_rules: Option<Vec<AnyRule>>,
    #[serde(default)]
    resource_rules: Option<ResourceRules>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "as above")]
struct AnyRule {
    #[serde(default)]
    series_query: Option<Value>,
    #[serde(default)]
    series_filters: Option<Vec<Filter>>,
    #[serde(default)]
    resources: Option<AnyResources>,
    #[serde(default)]
    name: Option<AnyName>,
    #[serde(default)]
    metrics_query: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "as above")]
struct Filter {
    #[serde(default)]
    is: Option<Value>,
    #[serde(default)]
    is_not: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
struct AnyResources {
    #[serde(default)]
    template: Option<Value>,
    #[serde(default)]
    overrides: Option<BTreeMap<String, GroupResource>>,
    #[serde(default)]
    namespaced: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
struct GroupResource {
    #[serde(default)]
    group: Option<Value>,
    #[serde(default)]
    resource: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyName {
    #[serde(default)]
    matches: Option<Value>,
    #[serde(default, rename = "as")]
    as_: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "as above")]
struct ResourceRules {
    #[serde(default)]
    cpu: Option<ResourceRule>,
    #[serde(default)]
    memory: Option<ResourceRule>,
    #[serde(default)]
    window: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "as above")]
struct ResourceRule {
    #[serde(default)]
    container_query: Option<Value>,
    #[serde(default)]
    node_query: Option<Value>,
    #[serde(default)]
    resources: Option<AnyResources>,
    #[serde(default)]
    container_label: Option<Value>,
}

fn loads(text: &str) -> Result<(), NotLoadable> {
    if text.trim().is_empty() {
        return Ok(());
    }
    match yaml::parse::<Option<Schema>>(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let line = error.at.map_or_else(String::new, |(line, _)| format!("line {line}: "));
            Err(refuse(&format!("{line}{error}")))
        }
    }
}

fn refuse(why: &str) -> NotLoadable {
    NotLoadable(why.to_owned())
}

impl fmt::Display for NotLoadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotLoadable {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;
    use crate::presets::presets;

    fn rules(n: usize) -> Vec<Rule> {
        let platform = Platform::default();
        let queries = presets().iter().map(|preset| preset.query.as_str()).chain(["x", "y{a=\"b: #'\"}"]);
        let measures = queries.map(|query| {
            let target = crate::quantity::Milli::from_thousandths(1000).expect("above 0");
            let question = crate::measure::Question::new(query, target);
            crate::measure::measure(&question, &platform).measure.expect("it compiles")
        });
        measures.take(n).map(|measure| super::super::adapter::rule(&measure, &platform)).collect()
    }

    const FOREIGN: &[&str] = &[
        "",
        "\n",
        "# nothing but a comment\n",
        "rules: []\n",
        "rules:\n",
        "rules:   # none yet\nexternalRules: []\n",
        "rules:\n- seriesQuery: 'a{}'\n  name: {as: b}\n  metricsQuery: 'sum(a) by (<<.GroupBy>>)'\n",
        "rules:\n  # theirs\n  - seriesQuery: a\n    metricsQuery: |\n      sum(\n        a\n      )\n\n# the end\nexternalRules:\n- seriesQuery: b\n",
        "externalRules: [{seriesQuery: b}]\nrules: [{seriesQuery: a, name: {matches: \"^a$\", as: c}}, {seriesQuery: d}]\n",
        "{\"rules\": [{\"seriesQuery\": \"a\"}], \"resourceRules\": {\"window\": \"3m\"}}",
        "rules:\n- &a\n  seriesQuery: x\n- *a\n",
        "resourceRules:\n  cpu: {containerQuery: q, nodeQuery: r, resources: {overrides: {node: {resource: node}}}, containerLabel: c}\n  window: 3m\n",
        "rules:\n- seriesQuery: a\n  metricsQuery: >-\n    folded\n    text\n# last\n",
    ];

    #[test]
    fn what_others_wrote_stays_byte_for_byte() {
        for foreign in FOREIGN {
            for n in [0, 1, 4] {
                let rules = rules(n);
                let text = join(foreign, &rules).unwrap_or_else(|error| panic!("{foreign:?}: {error}"));
                let parts = split(&text).expect("it was read back");
                assert_eq!(parts.foreign, *foreign, "{text}");
                assert_eq!(parts.own.len(), n);
                assert!(rules.iter().all(|rule| parts.own[&rule.name.as_] == Some(rule.clone())), "{text}");
                assert_eq!(join(&parts.foreign, &rules).as_ref(), Ok(&text), "the same again is the same text");
            }
        }
    }

    #[test]
    fn a_last_line_without_a_break_gets_one() {
        let text = join("rules:\n- seriesQuery: a", &rules(1)).expect("it is joined");
        assert_eq!(split(&text).expect("it reads").foreign, "rules:\n- seriesQuery: a\n");
    }

    #[test]
    fn ours_stand_behind_theirs_and_are_found_wherever_a_person_moved_them() {
        let rules = rules(2);
        let text = join("rules:\n- seriesQuery: a\n", &rules).expect("it is joined");
        assert!(text.starts_with("rules:\n- seriesQuery: a\n- seriesQuery: "), "{text}");
        let moved = format!("rules:\n{}- seriesQuery: a\n", block(&rules, 0).expect("written"));
        assert_eq!(split(&moved).expect("it reads").foreign, "rules:\n- seriesQuery: a\n");
    }

    #[test]
    fn an_edited_rule_of_ours_is_not_read_as_one() {
        let text = "rules:\n- seriesQuery: a\n  name: {as: nimscale_x_aaaa}\n  seriesFilters: [{is: b}]\n";
        let parts = split(text).expect("the adapter loads it");
        assert_eq!(parts.own, BTreeMap::from([("nimscale_x_aaaa".to_owned(), None)]));
        assert_eq!(parts.foreign, "rules:\n");
    }

    #[test]
    fn the_names_that_others_rules_make_are_told_without_patterns() {
        let own = join(
            "rules:\n- {seriesQuery: a, name: {as: b}}\n- {seriesQuery: c}\n- {seriesQuery: d, name: {matches: ^(.*)$, as: e}}\n",
            &rules(1),
        );
        let maker = |series_query: &str, name: Option<&str>| Maker {
            series_query: series_query.to_owned(),
            name: name.map(str::to_owned),
        };
        assert_eq!(foreign_makers(&own.expect("joined")), [maker("a", Some("b")), maker("c", None)]);
    }

    #[test]
    fn what_the_adapter_would_not_load_is_refused_with_its_place() {
        for (text, why) in [
            ("rules:\n- seriesquery: a\n", "line 2"),
            ("x-foo: 1\n", "x-foo"),
            ("rules: []\nrules: []\n", "duplicate"),
            ("rules: {a: b}\n", ""),
            ("rules: [\n", ""),
            ("rules: ~\n", "rules: []"),
            ("{}", "rules"),
        ] {
            let refused = join(text, &rules(1)).expect_err(text).to_string();
            assert!(refused.contains(why), "{text:?}: {refused}");
        }
    }
}
