//! What an operator makes of two operands: which of their samples meet, and what is known of the result.

use super::{Completion, Flow, PodAsWritten, Presence, Reason, Walk};
use crate::findings::{Code, cut};
use crate::promql::functions::Effect;
use crate::promql::node::{Binary, BinaryOp, Cardinality, LabelList, Matching, Node, NodeKind};
use crate::promql::scope::{Shared, key_has_pod, shared};

impl Walk<'_> {
    pub(super) fn binary(&mut self, binary: &Binary) -> Flow {
        let shared = shared(binary, self.platform);
        let filter = matches!(binary.op, BinaryOp::And | BinaryOp::Unless);
        let lhs = if shared == Shared::Left { self.shared(&binary.lhs) } else { self.flow(&binary.lhs) };
        let bare = self.bare.len();
        let rhs = if shared == Shared::Right { self.shared(&binary.rhs) } else { self.flow(&binary.rhs) };
        // Its values only decide what stays of the left side.
        if filter {
            self.bare.truncate(bare);
        }
        let has_series = lhs.has_series || rhs.has_series;
        let filters = binary.op.is_comparison() && !binary.returns_bool;
        let mut flow = match (lhs.pod, rhs.pod) {
            (PodAsWritten::Any, PodAsWritten::Any) => Flow::constant(),
            (PodAsWritten::Any, PodAsWritten::Yes | PodAsWritten::No) => {
                self.with_number(binary.op == BinaryOp::Mul, rhs, &binary.lhs)
            }
            (PodAsWritten::Yes | PodAsWritten::No, PodAsWritten::Any) => {
                self.with_number(matches!(binary.op, BinaryOp::Mul | BinaryOp::Div), lhs, &binary.rhs)
            }
            (PodAsWritten::Yes | PodAsWritten::No, PodAsWritten::Yes | PodAsWritten::No) => {
                self.vectors(binary, &lhs, &rhs)
            }
        };
        if binary.op == BinaryOp::Div && flow.pod != PodAsWritten::Any && !is_guarded(&binary.rhs) {
            let message = "x/0 is read as overload, and 0/0 as the idle rule says".to_owned();
            self.push(Code::Ns0371, binary.op_span, message, None);
        }
        if filters && flow.pod != PodAsWritten::Any {
            flow.partial = flow.partial.or(Some(binary.op_span));
        }
        flow.has_series = has_series;
        flow
    }

    fn vectors(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) -> Flow {
        let key_has_pod = key_has_pod(binary, self.platform);
        match (&binary.cardinality, binary.op) {
            (Cardinality::Left(copied), _) => self.many_to_one(binary, copied, key_has_pod, (lhs, rhs), lhs),
            (Cardinality::Right(copied), _) => self.many_to_one(binary, copied, key_has_pod, (lhs, rhs), rhs),
            (Cardinality::OneToOne, BinaryOp::And | BinaryOp::Unless) => {
                if key_has_pod {
                    self.agree(binary, lhs, rhs);
                }
                // The right side only decides which samples of the left side stay.
                Flow { additive: false, partial: lhs.partial.or(Some(binary.op_span)), ..lhs.clone() }
            }
            (Cardinality::OneToOne, BinaryOp::Or) => self.or(binary, lhs, rhs, key_has_pod),
            (
                Cardinality::OneToOne,
                BinaryOp::Add
                | BinaryOp::Sub
                | BinaryOp::Mul
                | BinaryOp::Div
                | BinaryOp::Mod
                | BinaryOp::Pow
                | BinaryOp::Atan2
                | BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Less
                | BinaryOp::LessOrEqual
                | BinaryOp::Greater
                | BinaryOp::GreaterOrEqual,
            ) => self.one_to_one(binary, lhs, rhs, key_has_pod),
        }
    }

    /// A join: each sample of the many side is treated by itself. Without the pod in its key the one side is one value
    /// that pods share.
    fn many_to_one(
        &mut self,
        binary: &Binary,
        copied: &LabelList,
        key_has_pod: bool,
        (lhs, rhs): (&Flow, &Flow),
        many: &Flow,
    ) -> Flow {
        let names = &self.platform.labels;
        if let Some(label) = [&names.pod, &names.namespace].into_iter().find(|label| copied.contains(label)) {
            let message = format!("group_left or group_right would overwrite the {label} label");
            self.push(Code::Ns0333, copied.span, message, Some("drop it from the list"));
            return many.clone();
        }
        if key_has_pod {
            self.agree(binary, lhs, rhs);
        } else {
            self.can_meet(binary, lhs, rhs);
        }
        let mut flow = many.clone();
        for label in &copied.labels {
            let why = Reason { clause: format!("{} is copied from the one side", cut(label, 40)), span: copied.span };
            flow.labels.set(label, Presence::Maybe, why);
        }
        let one_is_right = matches!(binary.cardinality, Cardinality::Left(_));
        let scales = binary.op == BinaryOp::Mul || (binary.op == BinaryOp::Div && one_is_right);
        let shares = !key_has_pod && self.grows(if one_is_right { &binary.rhs } else { &binary.lhs });
        flow.additive = many.additive && scales && !key_has_pod && !shares;
        flow.separable = many.separable && !shares && (!key_has_pod || (lhs.separable && rhs.separable));
        // Every pod finds its partner or none does, where the key is empty.
        let everywhere = matches!(&binary.matching, Matching::On(list) if list.labels.is_empty());
        flow.partial = many.partial.or((!key_has_pod && !everywhere).then_some(binary.op_span));
        flow.completion = many.completion.filter(|_| !key_has_pod);
        flow
    }

    fn or(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow, key_has_pod: bool) -> Flow {
        if self.stands_in(binary, lhs, rhs) {
            return lhs.clone();
        }
        let names = &self.platform.labels;
        if key_has_pod {
            if lhs.pod != rhs.pod {
                self.disagree(binary, lhs, rhs);
            }
        } else if lhs.pod == PodAsWritten::Yes || rhs.pod == PodAsWritten::Yes {
            let message = "with this key one pod's sample hides another pod's".to_owned();
            let help = format!("or on ({}, …)", names.pod);
            self.push(Code::Ns0332, binary.op_span, message, Some(&help));
        }
        let constant = is_vector(&binary.rhs);
        if constant {
            let message = "a series that vanishes or is misspelt reads as this number".to_owned();
            self.push(Code::Ns0374, binary.rhs.span, message, Some("delete it: a missing metric holds the replicas"));
        }
        let same = |flow: &Flow| {
            let closed = flow.labels.closed();
            closed.is_some_and(|labels| labels.iter().all(|label| *label == names.namespace || *label == names.pod))
        };
        Flow {
            pod: lhs.pod,
            pod_dropped: lhs.pod_dropped.clone().or_else(|| rhs.pod_dropped.clone()),
            labels: lhs.labels.join(&rhs.labels),
            // Samples of both sides stay, unless their labels are the same.
            unique: lhs.unique && rhs.unique && same(lhs) && same(rhs) && lhs.labels.closed() == rhs.labels.closed(),
            completion: lhs.completion.filter(|_| lhs.completion == rhs.completion),
            additive: lhs.additive && (rhs.additive || constant),
            separable: lhs.separable && rhs.separable,
            partial: lhs.partial.and(rhs.partial),
            has_series: true,
        }
    }

    fn one_to_one(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow, key_has_pod: bool) -> Flow {
        let per_pod = (lhs.pod == PodAsWritten::Yes, rhs.pod == PodAsWritten::Yes);
        if self.stands_in(binary, lhs, rhs) {
            return lhs.clone();
        }
        match (key_has_pod, per_pod) {
            (true, (true, true) | (false, false)) | (false, (false, false)) => self.can_meet(binary, lhs, rhs),
            (false, (true, true)) => {
                let message = format!("{} works with one pod and fails with two", matching_text(binary));
                let help = format!("on ({}, …), or aggregate both sides", self.platform.labels.pod);
                self.push(Code::Ns0334, binary.op_span, message, Some(&help));
            }
            (true | false, (true, false) | (false, true)) => self.disagree(binary, lhs, rhs),
        }
        let beside = self.beside(lhs.pod);
        let mut labels = lhs.labels.meet(&rhs.labels);
        match &binary.matching {
            Matching::Default => {}
            Matching::On(list) => {
                let why = Reason { clause: format!("on ({})", cut(&list.labels.join(", "), 60)), span: list.span };
                labels.keep(list, beside, &why);
            }
            Matching::Ignoring(list) => {
                let why =
                    Reason { clause: format!("ignoring ({})", cut(&list.labels.join(", "), 60)), span: list.span };
                labels.drop(list, beside, &why);
            }
        }
        let sums = matches!(binary.op, BinaryOp::Add | BinaryOp::Sub);
        let mut flow = Flow {
            pod: lhs.pod,
            pod_dropped: lhs.pod_dropped.clone().or_else(|| rhs.pod_dropped.clone()),
            labels,
            unique: lhs.unique || rhs.unique,
            // The maximum of ratios is a ratio of the pod; their sum is nothing.
            completion: match (lhs.completion, rhs.completion) {
                (Some(Completion::Max), Some(Completion::Max)) => Some(Completion::Max),
                (Some(Completion::Sum), Some(Completion::Sum)) if sums => Some(Completion::Sum),
                (Some(Completion::Sum), Some(Completion::Sum)) if binary.op == BinaryOp::Div => Some(Completion::Max),
                (Some(_) | None, Some(_) | None) => None,
            },
            additive: sums && lhs.additive && rhs.additive,
            separable: lhs.separable && rhs.separable,
            partial: lhs.partial.or(rhs.partial),
            has_series: true,
        };
        flow.unique |= self.is_unique(&flow, &binary.lhs);
        flow
    }

    /// A number beside a vector: each sample is treated by itself. One that grows with the pods makes a level of a total.
    fn with_number(&self, scales: bool, vector: Flow, number: &Node) -> Flow {
        let grows = self.grows(number);
        Flow { additive: vector.additive && scales && !grows, separable: vector.separable && !grows, ..vector }
    }

    /// `vector(k)` beside a per-pod side: it has no pod label, so it stands in for nothing.
    fn stands_in(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) -> bool {
        let found = match (lhs.pod, rhs.pod) {
            (PodAsWritten::Yes, _) if is_vector(&binary.rhs) => &binary.rhs,
            (_, PodAsWritten::Yes) if is_vector(&binary.lhs) => &binary.lhs,
            (PodAsWritten::Yes | PodAsWritten::No | PodAsWritten::Any, _) => return false,
        };
        let message = "vector() has no pod label, so it cannot stand in for a missing pod".to_owned();
        let help = if binary.op == BinaryOp::Or {
            format!("delete it, or … or 0 * max by ({}) (up)", self.platform.labels.pod)
        } else {
            "the number alone, without vector()".to_owned()
        };
        self.push(Code::Ns0322, found.span, message, Some(&help));
        true
    }

    /// Operands whose key has the pod: both have it or neither, and their labels can be equal.
    fn agree(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) {
        if lhs.pod == rhs.pod {
            self.can_meet(binary, lhs, rhs);
        } else {
            self.disagree(binary, lhs, rhs);
        }
    }

    fn disagree(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) {
        let (op, pod) = (binary.op.as_str(), &self.platform.labels.pod);
        let left = lhs.pod == PodAsWritten::Yes;
        let (with, other) = if left { ("left", rhs) } else { ("right", lhs) };
        let message = match &other.pod_dropped {
            Some(reason) => {
                format!("only the {with} side has a value per pod: {} drops {pod}", cut(&reason.clause, 40))
            }
            None => format!("only the {with} side of {op} has a value per pod"),
        };
        let help = match (binary.op, left) {
            (BinaryOp::Or, _) => format!("by ({pod}) on both sides"),
            (BinaryOp::And | BinaryOp::Unless, true) => {
                format!("{op} on () … for one value shared by all pods, or by ({pod}) on both sides")
            }
            (BinaryOp::And | BinaryOp::Unless, false) => format!("by ({pod}) on both sides"),
            (_, true) => format!("{op} on () group_left () … for one value shared by all, or by ({pod}) on both sides"),
            (_, false) => {
                format!("{op} on () group_right () … for one value shared by all, or by ({pod}) on both sides")
            }
        };
        self.push(Code::Ns0330, binary.op_span, message, Some(&help));
    }

    /// Labels of the key that one side surely has and the other cannot have: the sides never match.
    fn can_meet(&mut self, binary: &Binary, lhs: &Flow, rhs: &Flow) {
        let in_key = |label: &str| match &binary.matching {
            Matching::Default => true,
            Matching::On(list) => list.contains(label),
            Matching::Ignoring(list) => !list.contains(label),
        };
        // On a spine the namespace is put beside every group.
        let spine = match (lhs.pod, rhs.pod) {
            (PodAsWritten::Yes, PodAsWritten::Yes) => true,
            // Beside a shared side it is ignored, unless the author matches on it.
            (PodAsWritten::Yes, _) | (_, PodAsWritten::Yes) => !matches!(binary.matching, Matching::On(_)),
            (PodAsWritten::No | PodAsWritten::Any, PodAsWritten::No | PodAsWritten::Any) => false,
        };
        let beside = spine.then_some(self.platform.labels.namespace.as_str());
        let labels = lhs.labels.known().chain(rhs.labels.known()).map(|(label, _)| label);
        let apart = labels.filter(|label| in_key(label) && Some(*label) != beside).find_map(|label| {
            let (left, right) = (lhs.labels.fact(label), rhs.labels.fact(label));
            match (left.presence, right.presence) {
                (Presence::Surely, Presence::Never) => Some((label, right)),
                (Presence::Never, Presence::Surely) => Some((label, left)),
                (Presence::Surely | Presence::Maybe | Presence::Never, _) => None,
            }
        });
        if let Some((label, dropped)) = apart {
            let message =
                format!("{} drops {label}, which the other side has: they never match", cut(&dropped.why.clause, 50));
            let help = match (lhs.pod, key_has_pod(binary, self.platform)) {
                (PodAsWritten::Yes, true) => {
                    format!("on ({}), or the same aggregation on both sides", self.platform.labels.pod)
                }
                (PodAsWritten::Yes | PodAsWritten::No | PodAsWritten::Any, _) => {
                    "the same labels on both sides".to_owned()
                }
            };
            self.push(Code::Ns0331, binary.op_span, message, Some(&help));
        }
    }
}

fn is_vector(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Call { function, .. } if function.effect == Effect::Vector)
}

/// A divisor that is a number, or kept away from zero.
fn is_guarded(divisor: &Node) -> bool {
    let is_number = |node: &Node| matches!(node.kind, NodeKind::Number(_));
    match &divisor.kind {
        NodeKind::Call { function, .. } => function.name == "clamp_min",
        NodeKind::Binary(sum) if sum.op == BinaryOp::Add => is_number(&sum.lhs) || is_number(&sum.rhs),
        NodeKind::Number(_)
        | NodeKind::Binary(_)
        | NodeKind::String(_)
        | NodeKind::Selector(_)
        | NodeKind::Range { .. }
        | NodeKind::Subquery { .. }
        | NodeKind::Negate(_)
        | NodeKind::Aggregate(_) => is_number(divisor),
    }
}

fn matching_text(binary: &Binary) -> String {
    match &binary.matching {
        Matching::Default => "the match".to_owned(),
        Matching::On(list) => format!("on ({})", cut(&list.labels.join(", "), 40)),
        Matching::Ignoring(list) => format!("ignoring ({})", cut(&list.labels.join(", "), 40)),
    }
}
