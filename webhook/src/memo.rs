//! Remember what expressions measured as: equal texts are compiled once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nimscale_rules::compile::{Compiled, compile_with};
use nimscale_rules::measure::{Kind, Measured, Question, Reading, Writer, measure};
use nimscale_rules::platform::Platform;
use nimscale_rules::policy::Policies;
use nimscale_rules::presets::OnIdle;
use nimscale_rules::workload::{Workload, WorkloadKind};

/// How many answers a generation holds; there are two.
const GENERATION: usize = 256;

/// Answers to questions about expressions, for one platform at a time.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Generations>);

/// The younger generation becomes the older one when it is full: what is asked again moves up, what is not is dropped.
#[derive(Debug, Default)]
struct Generations {
    platform: Platform,
    young: HashMap<Key, Arc<Measured>>,
    old: HashMap<Key, Arc<Measured>>,
}

/// A question without its borrows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    query: String,
    target: u64,
    namespace: Option<String>,
    workload: WorkloadKind,
    kind: Option<Kind>,
    reading: Option<Reading>,
    on_idle: Option<OnIdle>,
    bound: Option<u64>,
    writer: Writer,
}

impl Memo {
    /// [`nimscale_rules::compile::compile`], with the answers that are known.
    pub fn compile(&self, workload: &Workload, policies: &Policies, platform: &Platform) -> Compiled {
        compile_with(workload, policies, platform, &|question, platform| self.measure(question, platform))
    }

    fn measure(&self, question: &Question<'_>, platform: &Platform) -> Measured {
        let key = Key::of(question, platform);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).known(&key, platform);
        // Not under the lock: a question takes a hundred times longer than the look.
        let measured = known.unwrap_or_else(|| {
            let measured = Arc::new(measure(question, platform));
            self.0.lock().unwrap_or_else(PoisonError::into_inner).learn(key, platform, Arc::clone(&measured));
            measured
        });
        Measured::clone(&measured)
    }
}

impl Generations {
    fn known(&mut self, key: &Key, platform: &Platform) -> Option<Arc<Measured>> {
        if self.platform != *platform {
            return None;
        }
        if let Some(known) = self.young.get(key) {
            return Some(Arc::clone(known));
        }
        let (key, known) = self.old.remove_entry(key)?;
        self.put(key, Arc::clone(&known));
        Some(known)
    }

    fn learn(&mut self, key: Key, platform: &Platform, measured: Arc<Measured>) {
        if self.platform != *platform {
            *self = Self { platform: platform.clone(), ..Self::default() };
        }
        self.put(key, measured);
    }

    fn put(&mut self, key: Key, measured: Arc<Measured>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, measured);
    }
}

impl Key {
    fn of(question: &Question<'_>, platform: &Platform) -> Self {
        let Question { query, target, namespace, workload, kind, reading, on_idle, bound, writer } = *question;
        // Only a matcher on its label asks for the namespace: without that word all namespaces share an answer.
        let asks = query.contains("namespace") || query.contains(&platform.labels.namespace);
        Self {
            query: query.to_owned(),
            target: target.thousandths(),
            namespace: namespace.filter(|_| asks).map(str::to_owned),
            workload,
            kind,
            reading,
            on_idle,
            bound,
            writer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nimscale_rules::compile::compile;
    use nimscale_rules::workload::WorkloadId;

    use super::*;

    fn workload(namespace: &str, keep: &str) -> Workload {
        let namespace = Some(namespace.to_owned());
        let id = WorkloadId { namespace, name: "llama".to_owned(), kind: WorkloadKind::Deployment };
        Workload::stored(id, &BTreeMap::from([("nimscale.dev/keep".to_owned(), keep.to_owned())]))
    }

    fn held(memo: &Memo) -> usize {
        let generations = memo.0.lock().expect("nobody panicked");
        generations.young.len() + generations.old.len()
    }

    #[test]
    fn what_is_remembered_is_what_is_compiled() {
        let memo = Memo::default();
        let other = Platform::read("labels: {namespace: ns, pod: pod_name}").expect("a platform");
        let texts =
            ["num_requests_waiting < 8", "x{namespace=\"a\"} < 3", "rate(a[2m]) / b < 0.5", "sum(x) < 1", "x <"];
        for _ in 0..2 {
            for (namespace, text) in ["a", "b"].into_iter().flat_map(|name| texts.map(|text| (name, text))) {
                for platform in [&Platform::default(), &other] {
                    let (workload, policies) = (workload(namespace, text), Policies::built_in());
                    let compiled = compile(&workload, &policies, platform);
                    assert_eq!(memo.compile(&workload, &policies, platform), compiled, "{text}");
                    assert_eq!(memo.compile(&workload, &policies, platform), compiled, "{text}, again");
                }
            }
        }
    }

    #[test]
    fn it_holds_a_bounded_number() {
        let (memo, platform) = (Memo::default(), Platform::default());
        for n in 0..3 * GENERATION {
            memo.compile(&workload("a", &format!("m{n} < 1")), &Policies::built_in(), &platform);
            memo.compile(&workload("a", "m0 < 1"), &Policies::built_in(), &platform);
        }
        assert!(held(&memo) <= 2 * GENERATION, "{}", held(&memo));
        let before = held(&memo);
        memo.compile(&workload("a", "m0 < 1"), &Policies::built_in(), &platform);
        assert_eq!(held(&memo), before, "what is asked all the time stays");
    }

    #[test]
    fn namespaces_share_the_answers_that_are_the_same_for_all() {
        let (memo, platform) = (Memo::default(), Platform::default());
        for (keep, answers) in [("x < 1", 1), ("x{namespace=\"a\"} < 1", 3)] {
            for namespace in ["a", "b"] {
                memo.compile(&workload(namespace, keep), &Policies::built_in(), &platform);
            }
            assert_eq!(held(&memo), answers, "{keep}");
        }
    }
}
