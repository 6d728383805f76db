//! What certificates say, and whether a chain holds at a time, as the API server would judge.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// True when a client that trusts the bundle accepts this chain now; both PEM.
pub fn bundle_matches(bundle: &[u8], chain: &[u8], now: SystemTime) -> bool {
    signed_by(&certificates(chain), &certificates(bundle), now)
}

/// A certificate that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    begins: SystemTime,
    ends: SystemTime,
    is_ca: bool,
    names: BTreeSet<String>,
}

impl Certificate {
    fn read(der: CertificateDer<'static>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let begins = time(parsed.validity().not_before.timestamp())?;
        let ends = time(parsed.validity().not_after.timestamp())?;
        let is_ca = parsed.is_ca();
        let names = parsed.subject_alternative_name().ok()?.map(|stated| dns_names(&stated.value.general_names));
        Some(Self { begins, ends, is_ca, names: names.unwrap_or_default(), der })
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub fn begins(&self) -> SystemTime {
        self.begins
    }

    pub fn ends(&self) -> SystemTime {
        self.ends
    }

    /// True when it may sign at this time. webpki does not look at the validity of a trust anchor; the API server does.
    pub fn signs(&self, at: SystemTime) -> bool {
        self.is_ca && self.begins <= at && at <= self.ends
    }

    /// True when it states these names and no other.
    pub fn is_for(&self, names: &[String]) -> bool {
        let stated = || names.iter().map(|name| ServerName::try_from(name.as_str()));
        self.names.iter().eq(names.iter().collect::<BTreeSet<_>>())
            && ParsedCertificate::try_from(&self.der).is_ok_and(|parsed| {
                stated().all(|name| name.is_ok_and(|name| verify_server_name(&parsed, &name).is_ok()))
            })
    }
}

/// The certificates of a PEM text; what cannot be read is passed over.
pub fn certificates(pem: &[u8]) -> Vec<Certificate> {
    CertificateDer::pem_slice_iter(pem).filter_map(|der| Certificate::read(der.ok()?)).collect()
}

/// Certificates as PEM, the same bytes for the same certificates.
pub fn pem<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Vec<u8> {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = BASE64.encode(&certificate.der);
        while !rest.is_empty() {
            let next = rest.split_off(rest.len().min(64));
            text.push_str(&rest);
            text.push('\n');
            rest = next;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}

/// True when the first of the chain verifies at this time against one of the authorities.
pub fn signed_by(chain: &[Certificate], authorities: &[Certificate], at: SystemTime) -> bool {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return false;
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().filter(|ca| ca.signs(at)).map(|ca| ca.der.clone()));
    let intermediates: Vec<CertificateDer<'_>> = intermediates.iter().map(|one| one.der.clone()).collect();
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    ParsedCertificate::try_from(&leaf.der).is_ok_and(|leaf| {
        let at = UnixTime::since_unix_epoch(since);
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &intermediates, at, algorithms).is_ok()
    })
}

/// True when the key is the certificate's.
pub fn is_key_of(key: &[u8], certificate: &Certificate) -> bool {
    PrivateKeyDer::from_pem_slice(key)
        .is_ok_and(|key| CertifiedKey::from_der(vec![certificate.der.clone()], key, &ring::default_provider()).is_ok())
}

fn dns_names(names: &[GeneralName<'_>]) -> BTreeSet<String> {
    let mut stated = BTreeSet::new();
    for name in names {
        if let GeneralName::DNSName(name) = name {
            stated.insert((*name).to_owned());
        }
    }
    stated
}

/// `None` before 1970: no certificate of ours.
fn time(timestamp: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(timestamp).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::issue::{Issued, authority, leaf};
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn name() -> Vec<String> {
        vec!["webhook.nimscale-system.svc".to_owned()]
    }

    fn signed(ca: &Issued, life: Duration) -> Issued {
        leaf(ca.certificate.as_bytes(), &ca.key, &name(), now(), life).expect("made")
    }

    #[test]
    fn a_bundle_matches_the_chain_of_any_of_its_authorities_while_both_live() {
        let [old, new, stranger] = [2, 10, 10].map(|hours| authority(now(), hours * HOUR).expect("made"));
        let bundle = format!("{}{}", new.certificate, old.certificate);
        for (ca, expected) in [(&old, true), (&new, true), (&stranger, false)] {
            let chain = signed(ca, HOUR).certificate;
            assert_eq!(bundle_matches(bundle.as_bytes(), chain.as_bytes(), now()), expected);
        }
        let chain = signed(&new, HOUR).certificate;
        let at = |time| bundle_matches(bundle.as_bytes(), chain.as_bytes(), time);
        assert!(at(now() - 299 * HOUR / 3600) && !at(now() - 301 * HOUR / 3600), "backdated by five minutes");
        assert!(at(now() + HOUR) && !at(now() + HOUR + HOUR / 3600));
        assert!(!bundle_matches(b"", chain.as_bytes(), now()));
        assert!(!bundle_matches(bundle.as_bytes(), b"", now()));
        assert!(!bundle_matches(bundle.as_bytes(), new.certificate.as_bytes(), now()), "a CA is no server");
    }

    #[test]
    fn an_authority_that_ended_signs_nothing() {
        let ca = authority(now(), 3 * HOUR).expect("made");
        let outlived = authority(now(), HOUR).expect("made");
        let chain = certificates(signed(&ca, 3 * HOUR).certificate.as_bytes());
        let authorities = certificates(format!("{}{}", outlived.certificate, ca.certificate).as_bytes());
        assert!(signed_by(&chain, &authorities, now() + 2 * HOUR));
        assert!(!authorities[0].signs(now() + 2 * HOUR) && authorities[1].signs(now() + 2 * HOUR));
        assert!(!chain[0].signs(now()));
    }

    #[test]
    fn pem_is_written_as_it_was_read() {
        let ca = authority(now(), HOUR).expect("made");
        // rcgen ends its lines as its platform does.
        let issued = ca.certificate.replace("\r\n", "\n");
        let text = format!("garbage\n{issued}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{issued}");
        let read = certificates(text.as_bytes());
        assert_eq!(read.len(), 2);
        assert_eq!(String::from_utf8(pem(&read)).expect("ASCII"), issued.repeat(2));
    }

    #[test]
    fn names_and_keys_belong_to_their_certificate() {
        let ca = authority(now(), HOUR).expect("made");
        let [one, two] = [(); 2].map(|()| signed(&ca, HOUR));
        let certificate = certificates(one.certificate.as_bytes()).remove(0);
        assert!(certificate.is_for(&name()));
        assert!(!certificate.is_for(&[]));
        assert!(!certificate.is_for(&[name()[0].clone(), "other.svc".to_owned()]));
        assert!(is_key_of(one.key.as_bytes(), &certificate));
        assert!(!is_key_of(two.key.as_bytes(), &certificate));
        assert!(!is_key_of(b"", &certificate));
        let authority = certificates(ca.certificate.as_bytes()).remove(0);
        assert!(is_key_of(ca.key.as_bytes(), &authority));
    }
}
