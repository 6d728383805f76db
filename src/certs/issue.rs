//! Make a certificate authority, and leaves signed by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::chain::{Certificate, certificates};

/// Certificates start this long before they are made: clocks of a cluster differ.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// A certificate and its key, PEM both.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

pub fn authority(now: SystemTime, life: Duration) -> anyhow::Result<Issued> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "nimscale webhook CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    last(&mut params, now, now + life);
    let key = KeyPair::generate().context("failed to make the CA's key")?;
    let certificate = params.self_signed(&key).context("failed to sign the CA")?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A leaf for the names, which never outlives its CA.
pub fn leaf(ca: &[u8], ca_key: &str, names: &[String], now: SystemTime, life: Duration) -> anyhow::Result<Issued> {
    let authority = certificates(ca).into_iter().next().context("failed to read the CA: no certificate")?;
    let ca_key = KeyPair::from_pem(ca_key).context("failed to read the CA's key")?;
    let issuer = Issuer::from_ca_cert_der(authority.der(), ca_key).context("failed to read the CA")?;
    let mut params = CertificateParams::new(names).context("failed to take the names into a certificate")?;
    params.distinguished_name.push(DnType::CommonName, "nimscale webhook");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    last(&mut params, now, Certificate::ends(&authority).min(now + life));
    let key = KeyPair::generate().context("failed to make the leaf's key")?;
    let certificate = params.signed_by(&key, &issuer).context("failed to sign the leaf")?;
    Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn last(params: &mut CertificateParams, now: SystemTime, end: SystemTime) {
    // X.509 knows whole seconds only.
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let time = |time: SystemTime| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds(time));
    params.not_before = time(now - BACKDATED);
    params.not_after = time(end);
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn names() -> Vec<String> {
        vec!["nimscale-webhook.nimscale-system.svc".into(), "nimscale-webhook.nimscale-system.svc.cluster.local".into()]
    }

    #[test]
    fn a_leaf_is_what_the_api_server_asks_for() {
        let ca = authority(now(), 365 * DAY).expect("made");
        let leaf = leaf(ca.certificate.as_bytes(), &ca.key, &names(), now(), 7 * DAY).expect("made");
        assert!(leaf.key.starts_with("-----BEGIN PRIVATE KEY-----"));
        let leaf = certificates(leaf.certificate.as_bytes()).remove(0);
        let (_, leaf) = X509Certificate::from_der(leaf.der()).expect("DER");
        let validity = leaf.validity();
        assert_eq!(validity.not_before.timestamp(), 1_800_000_000 - 300);
        assert_eq!(validity.not_after.timestamp(), 1_800_000_000 + 7 * 86_400);
        // id-ecPublicKey on P-256.
        let key = leaf.public_key();
        assert_eq!(key.algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1");
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).expect("a named curve");
        assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7");
        let alternative = leaf.subject_alternative_name().expect("well-formed").expect("there");
        let stated: Vec<&GeneralName<'_>> = alternative.value.general_names.iter().collect();
        let names = names();
        assert_eq!(stated, [&GeneralName::DNSName(&names[0]), &GeneralName::DNSName(&names[1])]);
        let usage = leaf.key_usage().expect("well-formed").expect("there").value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let usage = leaf.extended_key_usage().expect("well-formed").expect("there").value;
        assert!(usage.server_auth && !usage.client_auth);
        assert!(!leaf.is_ca());

        let ca = certificates(ca.certificate.as_bytes()).remove(0);
        let (_, ca) = X509Certificate::from_der(ca.der()).expect("DER");
        assert!(ca.is_ca());
        assert_eq!(ca.basic_constraints().expect("well-formed").expect("there").value.path_len_constraint, Some(0));
        assert!(ca.key_usage().expect("well-formed").expect("there").value.key_cert_sign());
        assert_eq!(ca.validity().not_after.timestamp(), 1_800_000_000 + 365 * 86_400);
    }

    #[test]
    fn a_leaf_ends_no_later_than_its_ca() {
        let ca = authority(now(), DAY).expect("made");
        let leaf = leaf(ca.certificate.as_bytes(), &ca.key, &names(), now(), 7 * DAY).expect("made");
        let leaf = certificates(leaf.certificate.as_bytes()).remove(0);
        assert_eq!(leaf.ends(), now() + DAY);
    }

    #[test]
    fn a_key_that_is_none_is_an_error() {
        let ca = authority(now(), DAY).expect("made");
        assert!(leaf(ca.certificate.as_bytes(), "no key", &names(), now(), DAY).is_err());
        assert!(leaf(b"no certificate", &ca.key, &names(), now(), DAY).is_err());
    }
}
