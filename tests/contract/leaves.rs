//! What a random expression is made of: selectors, and functions of one selector or subquery.

use super::data::{
    ANGLES, CLUSTER_BUDGET, COUNTERS, Family, GAUGES, GPU_COUNTER, GPU_GAUGES, HISTOGRAM, NODE_LOAD, OF_NAMESPACE,
    has_pod, is_own,
};
use super::generate::{Binds, Generator, Node, Side};
use super::rows::Row;
use super::world::Version;

impl Generator {
    pub fn leaf(&mut self) -> Node {
        match self.random.below(10) {
            0..3 => self.gauge(),
            3..6 => self.rate(),
            6..8 => self.over_time(),
            8 => self.deriv(),
            _ => self.changes(),
        }
    }

    pub fn leaf_without_pod(&mut self) -> Node {
        let family = self.random.pick(&[OF_NAMESPACE[0], OF_NAMESPACE[0], OF_NAMESPACE[1], NODE_LOAD, CLUSTER_BUDGET]);
        if self.random.percent(70) {
            return self.instant(family);
        }
        let range = self.range(family);
        self.over(&range, true)
    }

    pub fn own_gauge(&mut self) -> Node {
        let family = self.random.pick(&GAUGES);
        self.instant(family)
    }

    pub fn gauge(&mut self) -> Node {
        let family = self.gauge_family();
        if self.random.percent(5) {
            let selector = self.selector(family);
            self.uses(Row::Pointwise);
            let text = format!("time() - {}", self.call("timestamp", &selector));
            return Node { text, binds: Binds::Whole, ..LEAF };
        }
        let node = self.instant(family);
        // The author may copy what is copied anyway.
        if family.name.starts_with("DCGM") && self.random.percent(20) {
            self.uses(Row::WritesLabel);
            let text = format!(r#"label_replace({}, "pod", "$1", "exported_pod", "(.*)")"#, node.text);
            return Node { text, ..node };
        }
        node
    }

    fn gauge_family(&mut self) -> Family {
        if self.random.percent(20) { self.random.pick(&GPU_GAUGES) } else { self.random.pick(&GAUGES) }
    }

    pub fn instant(&mut self, family: Family) -> Node {
        let (selector, moved) = (self.selector(family), self.moved(10));
        Node { text: selector + &moved, ..LEAF }
    }

    pub fn rate(&mut self) -> Node {
        let family = if self.random.percent(15) { GPU_COUNTER } else { self.random.pick(&COUNTERS) };
        self.rate_of(family)
    }

    fn rate_of(&mut self, family: Family) -> Node {
        let function = self.random.pick(&["rate", "rate", "increase", "irate"]);
        let range = self.range(family);
        Node { text: self.call(function, &range), additive: true, ..LEAF }
    }

    pub fn rate_of_buckets(&mut self) -> Node {
        self.rate_of(HISTOGRAM)
    }

    pub fn rates_of_histogram(&mut self) -> [Node; 2] {
        let [.., sum, count] = COUNTERS;
        let window = self.random.pick(&["1m", "2m"]);
        [sum, count].map(|family| {
            self.uses(Row::OverRange);
            let text = self.call("rate", &format!("⟨{}⟩[{window}]", family.name));
            Node { text, additive: true, ..LEAF }
        })
    }

    pub fn over_time(&mut self) -> Node {
        let family = self.gauge_family();
        let range = self.range(family);
        self.over(&range, true)
    }

    fn over(&mut self, range: &str, separable: bool) -> Node {
        let function = self.random.pick(&[
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "sum_over_time",
            "count_over_time",
            "last_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "present_over_time",
            "quantile_over_time",
        ]);
        let parameter = match function {
            "quantile_over_time" => self.random.pick(&["0.5, ", ".9, ", "1, "]),
            _ => "",
        };
        Node { text: self.call(function, &format!("{parameter}{range}")), separable, ..LEAF }
    }

    pub fn deriv(&mut self) -> Node {
        let family = self.gauge_family();
        let range = self.range(family);
        Node { text: self.call("deriv", &range), ..LEAF }
    }

    fn changes(&mut self) -> Node {
        let function = match self.version {
            Version::V2_42 if self.random.percent(15) => "holt_winters",
            Version::V2_42 | Version::V3 => {
                self.random.pick(&["delta", "idelta", "predict_linear", "changes", "resets"])
            }
        };
        let counts_restarts = function == "changes" || function == "resets";
        let family =
            if counts_restarts && self.random.percent(50) { self.random.pick(&COUNTERS) } else { self.gauge_family() };
        let range = self.range(family);
        let parameters = match function {
            "predict_linear" => ", 60",
            "holt_winters" => ", 0.5, 0.25",
            _ => "",
        };
        Node { text: self.call(function, &format!("{range}{parameters}")), ..LEAF }
    }

    pub fn subquery_over_time(&mut self, depth: usize) -> Node {
        if self.subquery_used {
            return self.over_time();
        }
        let (range, inner) = self.subquery(|generator| {
            if generator.random.percent(40) { generator.rate() } else { generator.vector(depth.saturating_sub(1)) }
        });
        self.over(&range, inner.separable)
    }

    pub fn subquery_of_group(&mut self, depth: usize, group: &[&'static str]) -> Node {
        let (range, inner) = self.subquery(|generator| generator.grouped(depth, group));
        if self.random.percent(60) {
            return self.over(&range, inner.separable);
        }
        // A rate of what grows with the pods grows with them; a delta is not taken for one.
        let function = self.random.pick(&["rate", "increase", "delta", "deriv"]);
        let additive = ["rate", "increase"].contains(&function) && (inner.separable || inner.additive);
        Node { text: self.call(function, &range), additive, separable: inner.separable, ..LEAF }
    }

    fn subquery(&mut self, generate: impl FnOnce(&mut Self) -> Node) -> (String, Node) {
        self.subquery_used = true;
        self.uses(Row::Subquery);
        let before = self.side;
        if before == Side::Spine {
            self.side = Side::Subquery;
        }
        let inner = generate(self);
        self.side = before;
        let range = self.random.pick(&["2m", "5m", "10m"]);
        let step = self.random.pick(&["15s", "30s", "1m"]);
        let moved = self.moved(20);
        (format!("({})[{range}:{step}]{moved}", inner.text), inner)
    }

    pub fn moved_in_time(&mut self) -> Node {
        let family = self.gauge_family();
        let (selector, offset) = (self.selector(family), self.moved(100));
        let before = Node { text: format!("{selector}{offset}"), ..LEAF };
        self.one_to_one(Node { text: selector, ..LEAF }, "-", "", before, true)
    }

    fn range(&mut self, family: Family) -> String {
        self.uses(Row::OverRange);
        let selector = self.selector(family);
        let range = self.random.pick(&["30s", "1m", "1m30s", "120s", "2m", "2m", "5m"]);
        let moved = self.moved(5);
        format!("{selector}[{range}]{moved}")
    }

    /// `offset` and `@`, in the percentage of cases.
    fn moved(&mut self, chance: usize) -> String {
        if !self.random.percent(chance) {
            return String::new();
        }
        self.uses(Row::Moved);
        let offset = self.random.pick(&["15s", "1m", "90s", "5m"]);
        match self.random.below(5) {
            0 => format!(" @ {}()", self.random.pick(&["start", "end"])),
            1 => format!(" @ {}() offset {offset}", self.random.pick(&["start", "end"])),
            _ => format!(" {} {offset}", self.keyword("offset")),
        }
    }

    fn selector(&mut self, family: Family) -> String {
        self.uses(Row::Selector);
        if !has_pod(family.name) {
            self.uses(Row::NoPod);
        } else if family.name.starts_with("DCGM") {
            self.uses(Row::Alias);
        }
        let mut matchers = Vec::new();
        for _ in 0..self.random.pick(&[0, 0, 0, 1, 1, 2]) {
            matchers.push(self.matcher(family));
        }
        if matchers.is_empty() {
            return format!("⟨{}{}⟩", family.name, self.random.pick(&["", "", "", "{}"]));
        }
        let (space, before, after) = (self.random.pick(&["", "", " "]), self.gap(), self.gap());
        let comma = self.random.pick(&["", "", ","]);
        format!("⟨{}{space}{{{before}{}{comma}{after}}}⟩", family.name, matchers.join(", "))
    }

    fn matcher(&mut self, family: Family) -> String {
        match self.random.below(20) {
            0 if is_own(family.name) => return r#"pod=~"nim-.+""#.to_owned(),
            1 if is_own(family.name) => return r#"job="nim""#.to_owned(),
            _ => {}
        }
        let (label, values) = self.random.pick(family.labels);
        let value = self.random.pick(values);
        let quote = self.random.pick(&['"', '"', '\'']);
        match self.random.below(8) {
            0..3 => format!("{label}={quote}{value}{quote}"),
            3 => format!("{label} != {quote}{value}{quote}"),
            4 => format!("{label}=~{quote}{}.*{quote}", &value[..1]),
            5 => format!("{label}=~{quote}{value}|{ANGLES}{quote}"),
            6 => format!("{label}=~{quote}{}{quote}", value.replace('.', r"\\.")),
            _ => format!("{label}!~{quote}{value}|none{quote}"),
        }
    }
}

const LEAF: Node = Node { text: String::new(), binds: Binds::Atom, additive: false, separable: true };
