//! etcd, kube-apiserver and kube-controller-manager on loopback.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::audit;
use crate::pki::{Authority, Pair};
use crate::process::Process;
use crate::verbs::within;

pub const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 6443);

/// Fields drop in their order: the API server ends before etcd, without which it would hold on for minutes.
pub struct ControlPlane {
    _manager: Process,
    _api_server: Process,
    _etcd: Process,
    kubeconfig: PathBuf,
    ca: PathBuf,
}

impl ControlPlane {
    pub fn start(bin: &Path, directory: &Path, hpa_sync: Duration) -> anyhow::Result<Self> {
        let logs = directory.join("logs");
        let authority = Authority::new(&directory.join("pki"))?;
        let server = authority.leaf(
            "kube-apiserver",
            None,
            &["localhost", "kubernetes.default.svc", "127.0.0.1", "10.0.0.1"],
        )?;
        let admin = authority.leaf("admin", Some("system:masters"), &[])?;
        let front_proxy = authority.leaf("front-proxy", None, &[])?;
        let accounts = authority.leaf("service-accounts", None, &[])?;
        let kubeconfig = directory.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_of(&authority.ca, &admin))?;
        let policy = directory.join("audit.yaml");
        fs::write(&policy, audit::POLICY)?;
        fs::create_dir_all(&logs)?;

        let etcd = Process::start(
            "etcd",
            Command::new(bin.join("etcd"))
                .arg("--unsafe-no-fsync")
                .arg(format!("--data-dir={}", directory.join("etcd").display())),
            &logs,
        )?;
        let mut api_server = Process::start(
            "kube-apiserver",
            api_server(bin, &authority, &server, &front_proxy, &accounts)
                .arg(format!("--audit-policy-file={}", policy.display()))
                .arg(format!("--audit-log-path={}", audit::log(directory).display()))
                // One file, whatever a test writes.
                .arg("--audit-log-maxsize=10000"),
            &logs,
        )?;
        within(Duration::from_secs(60), "the API server is ready", || {
            api_server.ensure_running()?;
            let asked = kubectl(bin, &kubeconfig).args(["get", "--raw", "/readyz"]).output()?;
            Ok(asked.status.success())
        })?;
        let manager = Process::start(
            "kube-controller-manager",
            &mut manager(bin, &authority, &kubeconfig, &accounts, hpa_sync),
            &logs,
        )?;
        Ok(Self { _manager: manager, _api_server: api_server, _etcd: etcd, kubeconfig, ca: authority.ca })
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The certificate of the CA.
    pub fn ca(&self) -> &Path {
        &self.ca
    }
}

pub fn kubectl(bin: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(bin.join("kubectl"));
    command.env("KUBECONFIG", kubeconfig).env("HOME", kubeconfig.with_file_name("home"));
    command
}

fn api_server(bin: &Path, authority: &Authority, server: &Pair, front_proxy: &Pair, accounts: &Pair) -> Command {
    let mut command = Command::new(bin.join("kube-apiserver"));
    let mut file = |flag: &str, path: &Path| {
        command.arg(format!("--{flag}={}", path.display()));
    };
    file("tls-cert-file", &server.cert);
    file("tls-private-key-file", &server.key);
    file("client-ca-file", &authority.ca);
    file("service-account-key-file", &accounts.cert);
    file("service-account-signing-key-file", &accounts.key);
    file("requestheader-client-ca-file", &authority.ca);
    file("proxy-client-cert-file", &front_proxy.cert);
    file("proxy-client-key-file", &front_proxy.key);
    command.args([
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=127.0.0.1",
        "--secure-port=6443",
        // The namespace has no route to find an address by.
        "--advertise-address=10.244.255.253",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        // Without kube-proxy the API server itself picks a backend of a Service, of two as well.
        "--enable-aggregator-routing=true",
    ]);
    command
}

fn manager(bin: &Path, authority: &Authority, kubeconfig: &Path, accounts: &Pair, hpa_sync: Duration) -> Command {
    const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
        horizontal-pod-autoscaler-controller,namespace-controller,serviceaccount-controller,\
        garbage-collector-controller,endpointslice-controller,disruption-controller,resourcequota-controller,\
        clusterrole-aggregation-controller,root-ca-certificate-publisher-controller";
    let mut command = Command::new(bin.join("kube-controller-manager"));
    for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        command.arg(format!("--{flag}={}", kubeconfig.display()));
    }
    command
        .arg(format!("--service-account-private-key-file={}", accounts.key.display()))
        .arg(format!("--root-ca-file={}", authority.ca.display()))
        .arg(format!("--horizontal-pod-autoscaler-sync-period={}ms", hpa_sync.as_millis()))
        .arg(format!("--controllers={CONTROLLERS}"))
        .args(["--leader-elect=false", "--use-service-account-credentials", "--bind-address=127.0.0.1"]);
    command
}

fn kubeconfig_of(ca: &Path, admin: &Pair) -> String {
    let (cert, key) = (admin.cert.display(), admin.key.display());
    kubeconfig(ca, ADDRESS, &format!("client-certificate: \"{cert}\", client-key: \"{key}\""))
}

/// A kubeconfig for the token of a service account.
pub fn kubeconfig_of_token(ca: &Path, server: impl Into<SocketAddr>, token: &str) -> String {
    kubeconfig(ca, server, &format!("token: \"{token}\""))
}

fn kubeconfig(ca: &Path, server: impl Into<SocketAddr>, user: &str) -> String {
    let (ca, server) = (ca.display(), server.into());
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: ground\n\
         clusters: [{{name: ground, cluster: {{server: \"https://{server}\", certificate-authority: \"{ca}\"}}}}]\n\
         users: [{{name: user, user: {{{user}}}}}]\n\
         contexts: [{{name: ground, context: {{cluster: ground, user: user}}}}]\n"
    )
}
