//! Say whether a workload may have an HPA of ours, and which one that is.

use std::sync::Arc;

use nimscale_rules::declare::Mode;
use nimscale_rules::emit::hpa;
use nimscale_rules::findings::{Code, Finding, cut};
use nimscale_rules::place::{Place, Span};
use nimscale_rules::workload::{Owner, WorkloadId};

use crate::hpa::Hpa;
use crate::index::{Entry, Index};

/// How a workload stands to the HPAs of its namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It may have one of this name; `live` is the one to write to, ours or to be adopted.
    Free {
        name: String,
        live: Option<Arc<Hpa>>,
    },
    Blocked {
        reason: Reason,
        finding: Box<Finding>,
    },
}

/// What stands between a workload and its HPA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another HPA targets it.
    HpaConflict,
    /// Another HPA would count its pods.
    SelectorOverlap,
    AdoptionRefused,
    /// Its owner changes it back.
    OwnerConflict,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HpaConflict => "HPAConflict",
            Self::SelectorOverlap => "SelectorOverlap",
            Self::AdoptionRefused => "AdoptionRefused",
            Self::OwnerConflict => "OwnerConflict",
        }
    }
}

/// Judges a workload that has a plan.
pub fn standing(index: &Index, id: &WorkloadId, entry: &Entry) -> Standing {
    if let Some(blocked) = entry.workload.owner.as_ref().and_then(|owner| of_owner(index, entry, owner)) {
        return blocked;
    }
    let namespace = id.namespace.clone().unwrap_or_default();
    let on_it: Vec<&Arc<Hpa>> = index.hpas_of(&namespace).filter(|hpa| hpa.target.as_ref() == Some(id)).collect();
    let own_name = hpa::name(&id.name);
    let adopt = entry.compiled.plan.as_ref().and_then(|plan| plan.adopt.as_deref());

    if let Some(name) = adopt {
        return adopted(name, &on_it, entry);
    }
    if let Some(ours) = on_it.iter().find(|hpa| hpa.is_ours(&entry.uid)) {
        return Standing::Free { name: ours.name.clone(), live: Some(Arc::clone(ours)) };
    }
    if let Some(rendered) = on_it.iter().find(|hpa| hpa.name == own_name && hpa.adoptable) {
        return Standing::Free { name: own_name, live: Some(Arc::clone(rendered)) };
    }
    if let Some(other) = on_it.first() {
        return managed(id, &other.name);
    }
    if index.hpas.contains_key(&(namespace.clone(), own_name.clone())) {
        let message = format!("the name {} is taken by another HPA", cut(&own_name, 50));
        return blocked(Reason::HpaConflict, Code::Ns0411, message, "delete that one");
    }
    if let Some(overlap) = overlap(index, id, entry, index.hpas_of(&namespace)) {
        return overlap;
    }
    Standing::Free { name: own_name, live: None }
}

/// The one way to say that another HPA is there: admission says the same.
fn managed(id: &WorkloadId, hpa: &str) -> Standing {
    let message = format!("{} is already managed by the HPA {}", cut(&id.name, 40), cut(hpa, 40));
    blocked(Reason::HpaConflict, Code::Ns0411, message, "delete it, or nimscale.dev/adopt-hpa")
}

fn adopted(name: &str, on_it: &[&Arc<Hpa>], entry: &Entry) -> Standing {
    let free = |hpa: &Arc<Hpa>| Standing::Free { name: hpa.name.clone(), live: Some(Arc::clone(hpa)) };
    let named = on_it.iter().find(|hpa| hpa.name == name);
    let other = on_it.iter().find(|hpa| hpa.name != name && !hpa.is_ours(&entry.uid));
    match (named, other, on_it.iter().find(|hpa| hpa.is_ours(&entry.uid))) {
        // The adoption is done; who comes later takes nothing away.
        (Some(hpa), _, _) if hpa.is_ours(&entry.uid) => free(hpa),
        (_, Some(other), _) => managed(&entry.workload.id, &other.name),
        (Some(hpa), None, _) if hpa.adoptable => free(hpa),
        (Some(_), None, _) => {
            let message = format!("HPA {} does not carry nimscale.dev/adoptable: \"true\"", cut(name, 40));
            blocked(Reason::AdoptionRefused, Code::Ns0413, message, "annotate it")
        }
        // A name that is wrong is no reason to take away what scales: admission lets it pass, too.
        (None, None, Some(ours)) => free(ours),
        (None, None, None) => {
            let message = format!("no HPA {} targets {}", cut(name, 40), cut(&entry.workload.id.name, 40));
            blocked(Reason::AdoptionRefused, Code::Ns0413, message, "the name of one, or delete the key")
        }
    }
}

fn of_owner(index: &Index, entry: &Entry, owner: &Owner) -> Option<Standing> {
    let name = cut(&owner.name, 40);
    if !owner.is_nim_service() {
        let message = format!("owned by {} {name}: observed only", cut(&owner.kind, 30));
        return Some(blocked(Reason::OwnerConflict, Code::Ns0423, message, "scale its owner"));
    }
    match index.service_of(&entry.workload) {
        None => {
            let message = format!("owned by NIMService {name}, which cannot be read: observed only");
            Some(blocked(Reason::OwnerConflict, Code::Ns0423, message, "the right to read nimservices"))
        }
        Some(service) if service.scales => {
            let message = format!("NIMService {name} has its own HPA (scale.enabled)");
            let help = patch(&service.namespace, &service.name, "/spec/scale/enabled");
            Some(blocked(Reason::OwnerConflict, Code::Ns0422, message, &help))
        }
        Some(service) if service.replicas.is_some() => {
            let message = format!("NIM Operator resets replicas: NIMService {name} sets spec.replicas");
            let help = patch(&service.namespace, &service.name, "/spec/replicas");
            Some(blocked(Reason::OwnerConflict, Code::Ns0421, message, &help))
        }
        Some(_) => None,
    }
}

fn patch(namespace: &str, name: &str, path: &str) -> String {
    format!(
        "kubectl -n {namespace} patch nimservice {name} --type=json -p='[{{\"op\":\"remove\",\"path\":\"{path}\"}}]'"
    )
}

/// Pods that two HPAs count make both of them stop (`AmbiguousSelector`): the second is never made. Of two workloads
/// without an HPA the first by name has the right to one.
fn overlap<'a>(
    index: &Index,
    id: &WorkloadId,
    entry: &Entry,
    hpas: impl Iterator<Item = &'a Arc<Hpa>>,
) -> Option<Standing> {
    let clash = |other: &Entry| {
        let (ours, theirs) = (&entry.workload.pods, &other.workload.pods);
        let selects =
            |selector: &nimscale_rules::workload::Selector, labels| !selector.is_empty() && selector.matches(labels);
        selects(&theirs.selector, &ours.labels) || selects(&ours.selector, &theirs.labels)
    };
    for hpa in hpas {
        let Some(target) = hpa.target.as_ref().filter(|target| *target != id) else { continue };
        if index.workloads.get(target).is_some_and(|other| clash(other)) {
            return Some(overlaps(id, target, &hpa.name));
        }
    }
    let first = WorkloadId { name: String::new(), ..id.clone() };
    for (other_id, other) in index.workloads.range(first..id.clone()) {
        let wants = other.compiled.plan.as_ref().is_some_and(|plan| plan.mode.value == Mode::Enforce);
        if wants && !other.deleting && clash(other) {
            return Some(overlaps(id, other_id, &hpa::name(&other_id.name)));
        }
    }
    None
}

fn overlaps(id: &WorkloadId, other: &WorkloadId, hpa: &str) -> Standing {
    let (name, other, hpa) = (cut(&id.name, 25), cut(&other.name, 25), cut(hpa, 30));
    let message = format!("{name}'s pods are also selected by {other}, which HPA {hpa} scales");
    blocked(Reason::SelectorOverlap, Code::Ns0412, message, "distinct labels")
}

fn blocked(reason: Reason, code: Code, message: impl Into<String>, help: &str) -> Standing {
    let finding = Finding::new(code, Place::of_text(Span::default()), message).help(help);
    Standing::Blocked { reason, finding: Box::new(finding) }
}
