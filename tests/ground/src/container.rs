//! Turn a pod's container into a local program: its environment, its arguments, its ports.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use k8s_openapi::api::core::v1::{Container, EnvVar, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

/// The environment and the arguments of a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub environment: BTreeMap<String, String>,
    pub args: Vec<String>,
}

/// What the ground gives to a program beside what its manifest states.
pub struct Given<'a> {
    pub address: Ipv4Addr,
    /// The API server as pods see it, for clients that look into their environment.
    pub kubeconfig: &'a Path,
    /// The API server itself, for programs whose connections no test touches.
    pub direct_kubeconfig: &'a Path,
    pub home: &'a Path,
    /// Where each volume lies.
    pub volumes: &'a BTreeMap<String, PathBuf>,
}

/// What a container's program is started with: variables expanded as Kubernetes does, mount paths as they are here.
pub fn command(pod: &Pod, container: &Container, given: &Given<'_>) -> anyhow::Result<Command> {
    let text = |path: &Path| path.display().to_string();
    let mounts: Vec<(&str, String)> = container
        .volume_mounts
        .iter()
        .flatten()
        .filter_map(|mount| Some((mount.mount_path.as_str(), text(given.volumes.get(&mount.name)?))))
        .collect();
    let relaid = |value: String| mounts.iter().fold(value, |value, (path, folder)| value.replace(path, folder));
    let mut environment =
        BTreeMap::from([("KUBECONFIG".to_owned(), text(given.kubeconfig)), ("HOME".to_owned(), text(given.home))]);
    for variable in container.env.iter().flatten() {
        let value = value(pod, variable, given.address, &environment)?;
        environment.insert(variable.name.clone(), relaid(value));
    }
    // For arguments of programs that read no environment.
    let mut known = environment.clone();
    known.insert("GROUND_KUBECONFIG".to_owned(), text(given.direct_kubeconfig));
    known.entry("POD_IP".to_owned()).or_insert_with(|| given.address.to_string());
    let args = container.args.iter().flatten().map(|arg| expand(&relaid(arg.clone()), &known)).collect();
    Ok(Command { environment, args })
}

/// The number of a port, which a probe may name.
pub fn port(container: &Container, port: &IntOrString) -> Option<i32> {
    match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
        }
    }
}

fn value(pod: &Pod, variable: &EnvVar, address: Ipv4Addr, known: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let Some(source) = &variable.value_from else {
        return Ok(expand(variable.value.as_deref().unwrap_or_default(), known));
    };
    let field = source.field_ref.as_ref().with_context(|| format!("{} comes from no field", variable.name))?;
    of_field(pod, field, address).with_context(|| format!("the ground does not know the field of {}", variable.name))
}

fn of_field(pod: &Pod, field: &ObjectFieldSelector, address: Ipv4Addr) -> Option<String> {
    match field.field_path.as_str() {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "status.podIP" => Some(address.to_string()),
        "spec.serviceAccountName" => pod.spec.as_ref()?.service_account_name.clone(),
        _ => None,
    }
}

/// Kubernetes' own expansion: `$(NAME)` of a known variable, `$$` for one dollar, anything else as it stands.
fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|name| name.split_once(')'));
        match name.and_then(|(name, after)| Some((known.get(name)?, after))) {
            Some((value, after)) => {
                expanded.push_str(value);
                rest = after;
            }
            None => expanded.push('$'),
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_program_gets_what_its_manifest_states() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "controller-1", "namespace": "system"},
            "spec": {"serviceAccountName": "controller", "containers": [{
                "name": "controller",
                "env": [
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                    {"name": "ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
                    {"name": "WHO", "value": "$(POD_NAMESPACE)/$(POD_NAME)"},
                ],
                "args": ["--bind=$(POD_IP):8443", "$(WHO) $(ACCOUNT)", "$$(WHO) $(NOBODY) $", "--certs=/etc/certs/ca"],
                "ports": [{"name": "metrics", "containerPort": 8080}],
                "volumeMounts": [{"name": "certs", "mountPath": "/etc/certs"}],
            }]},
        }))
        .expect("a pod");
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        let given = Given {
            address: Ipv4Addr::new(10, 244, 0, 7),
            kubeconfig: Path::new("/g/kubeconfig"),
            direct_kubeconfig: Path::new("/g/direct"),
            home: Path::new("/g"),
            volumes: &BTreeMap::from([("certs".to_owned(), PathBuf::from("/g/certs"))]),
        };
        let command = command(&pod, container, &given).expect("all fields are known");
        assert_eq!(
            command.args,
            ["--bind=10.244.0.7:8443", "system/controller-1 controller", "$(WHO) $(NOBODY) $", "--certs=/g/certs/ca"]
        );
        assert_eq!(command.environment["KUBECONFIG"], "/g/kubeconfig");
        assert_eq!(command.environment["WHO"], "system/controller-1");
        assert_eq!(port(container, &IntOrString::String("metrics".to_owned())), Some(8080));
        assert_eq!(port(container, &IntOrString::String("https".to_owned())), None);
    }
}
