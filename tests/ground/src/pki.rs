//! The certificates of a cluster: one CA, and a leaf for each that speaks.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// A certificate and its key, as PEM files.
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub ca: PathBuf,
    directory: PathBuf,
}

impl Authority {
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "nimscale-ground");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let cert = params.self_signed(&key)?;
        let ca = directory.join("ca.pem");
        fs::write(&ca, cert.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), ca, directory: directory.to_owned() })
    }

    /// A leaf for a client and a server; `group` is the organisation that RBAC reads as a group.
    pub fn leaf(&self, name: &str, group: Option<&str>, hosts: &[&str]) -> anyhow::Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        for host in hosts {
            params.subject_alt_names.push(match host.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*host).try_into()?),
            });
        }
        let cert = params.signed_by(&key, &self.issuer)?;
        let file = name.replace([':', '/'], "-");
        let pair =
            Pair { cert: self.directory.join(format!("{file}.pem")), key: self.directory.join(format!("{file}.key")) };
        fs::write(&pair.cert, cert.pem())?;
        fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}
