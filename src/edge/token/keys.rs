//! The keys that tokens are checked with, read from a file: a secret, a public key, or a set of them.
//!
//! Whoever is here already holds the file's bytes to be the operator's: an error says what is wrong
//! with them, and never what they are. A private key is refused, because checking needs none.
//!
//! PEM holds a SubjectPublicKeyInfo (RFC 5280, section 4.1): a sequence of the algorithm, which is
//! compared as bytes, and of the key as a bit string.

use std::fmt;
use std::path::PathBuf;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};

use super::{KeyFile, TokenRules, validation};
use crate::metrics::TokenRefused;

/// Keys in a set: an issuer has two or three, of which one is on its way in or out.
const KEYS_MAX: usize = 64;

/// Bytes of a secret at least (RFC 7518, section 3.2): whoever has a token can guess at a shorter one.
const SECRET_BYTES_MIN: usize = 32;

/// Bytes of an RSA modulus at least (RFC 7518, section 3.3), and at most what ring takes.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why there are no keys. The operator's to mend.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct KeyError {
    path: PathBuf,
    what: String,
}

/// A key, and what is checked with it.
pub(super) struct Key {
    name: Option<String>,
    algorithm: Algorithm,
    pub(super) key: DecodingKey,
    pub(super) validation: Validation,
}

/// All that there are.
#[derive(Debug, PartialEq)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn load(rules: &TokenRules) -> Result<Keys, KeyError> {
        let path = match &rules.keys {
            KeyFile::One(path) | KeyFile::Set(path) => path,
        };
        let read = std::fs::read(path).map_err(|error| error.to_string());
        let keys = read.and_then(|bytes| Keys::parse(rules, &bytes));
        keys.map_err(|what| KeyError {
            path: path.clone(),
            what,
        })
    }

    /// From what is in the file.
    pub(super) fn parse(rules: &TokenRules, bytes: &[u8]) -> Result<Keys, String> {
        let found = match rules.keys {
            KeyFile::One(_) => {
                let (algorithm, key) = one(bytes)?;
                vec![(None, algorithm, key)]
            }
            KeyFile::Set(_) => set(bytes)?,
        };
        let keys: Vec<Key> = found
            .into_iter()
            .filter(|(_, algorithm, _)| {
                rules.algorithms.is_empty() || rules.algorithms.contains(algorithm)
            })
            .map(|(name, algorithm, key)| Key {
                name,
                algorithm,
                key,
                validation: validation(rules, algorithm),
            })
            .collect();
        match keys.len() {
            0 => Err(
                "no key in it may be used; give one for HS256, RS256, ES256 or EdDSA that \
                      token.algorithms allows"
                    .to_owned(),
            ),
            1..=KEYS_MAX => Ok(Keys(keys)),
            many => Err(format!("{many} keys; accepted are up to {KEYS_MAX}")),
        }
    }

    /// The key of a token. Never more than one is tried: who sends rubbish costs one check. A key
    /// without a name serves tokens whose name no other key has, a token without a name is checked
    /// if there is no choice.
    pub(super) fn find(
        &self,
        algorithm: Algorithm,
        name: Option<&str>,
    ) -> Result<&Key, TokenRefused> {
        let fitting = || self.0.iter().filter(|key| key.algorithm == algorithm);
        if fitting().next().is_none() {
            return Err(TokenRefused::Algorithm);
        }
        let named = name.and_then(|name| fitting().find(|key| key.name.as_deref() == Some(name)));
        if let Some(key) = named {
            return Ok(key);
        }
        let mut others = fitting().filter(|key| name.is_none() || key.name.is_none());
        match (others.next(), others.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(TokenRefused::UnknownKey),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        let same_key = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(other)) => {
                one == other
            }
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: n2, e: e2 },
            ) => n == n2 && e == e2,
            _ => false,
        };
        same_key && self.name == other.name && self.algorithm == other.algorithm
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.algorithm, self.name)
    }
}

/// A public key if it is PEM, else a secret. So a public key is never a secret.
fn one(bytes: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    if memchr::memmem::find(bytes, b"-----BEGIN").is_none() {
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        return secret_key(secret.strip_suffix(b"\r").unwrap_or(secret));
    }
    if memchr::memmem::find(bytes, b"PRIVATE KEY-----").is_some() {
        return Err("this is a private key; give the public one, which is enough".to_owned());
    }
    let wanted = "give a public key in PEM (BEGIN PUBLIC KEY) for RS256, ES256 (P-256) or EdDSA \
                  (Ed25519)";
    let info = SubjectPublicKeyInfoDer::from_pem_slice(bytes);
    let info = info.map_err(|error| format!("{error}; {wanted}"))?;
    public_key(&info).ok_or_else(|| format!("this key is of another kind; {wanted}"))
}

fn secret_key(secret: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!(
            "a secret of {} bytes is too short; give at least {SECRET_BYTES_MIN} random ones",
            secret.len()
        ));
    }
    Ok((Algorithm::HS256, DecodingKey::from_secret(secret)))
}

fn public_key(info: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (body, rest) = element(info, SEQUENCE)?;
    let (algorithm, bits) = element(body, SEQUENCE)?;
    let (key, after) = element(bits, BIT_STRING)?;
    // No bit of the last byte is unused.
    let key = key.strip_prefix(&[0])?;
    if !rest.is_empty() || !after.is_empty() {
        return None;
    }
    if algorithm == &*alg_id::RSA_ENCRYPTION {
        let (parts, _) = element(key, SEQUENCE)?;
        let (modulus, _) = element(parts, 0x02)?;
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        let key = DecodingKey::from_rsa_der(key);
        MODULUS_BYTES
            .contains(&modulus.len())
            .then_some((Algorithm::RS256, key))
    } else if algorithm == &*alg_id::ECDSA_P256 && key.len() == 65 {
        Some((Algorithm::ES256, DecodingKey::from_ec_der(key)))
    } else if algorithm == &*alg_id::ED25519 && key.len() == 32 {
        Some((Algorithm::EdDSA, DecodingKey::from_ed_der(key)))
    } else {
        None
    }
}

/// The content of a DER element with this tag, and what comes behind it (X.690, section 8.1).
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (&[high, low], rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

type Found = (Option<String>, Algorithm, DecodingKey);

/// The keys of a set that check signatures in a way we know; what else is in it is for others.
fn set(bytes: &[u8]) -> Result<Vec<Found>, String> {
    let set: JwkSet = serde_json::from_slice(bytes)
        .map_err(|error| format!("{error}; give a JSON Web Key Set: {{\"keys\": [...]}}"))?;
    let mut found = Vec::new();
    for jwk in set.keys.iter().filter(|jwk| is_for_signatures(jwk)) {
        let Some(algorithm) = algorithm_of(jwk) else {
            continue;
        };
        let wrong = |what: &str| {
            let name = jwk.common.key_id.as_deref().unwrap_or("(none)");
            format!("the key with kid {name:?}: {what}")
        };
        let key = DecodingKey::from_jwk(jwk).map_err(|error| wrong(&error.to_string()))?;
        match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, .. } if !MODULUS_BYTES.contains(&n.len()) => {
                return Err(wrong("an RSA key has from 2,048 to 8,192 bits"));
            }
            DecodingKeyKind::SecretOrDer(secret) if algorithm == Algorithm::HS256 => {
                secret_key(secret).map_err(|what| wrong(&what))?;
            }
            DecodingKeyKind::SecretOrDer(point)
                if algorithm == Algorithm::ES256 && point.len() != 65
                    || algorithm == Algorithm::EdDSA && point.len() != 32 =>
            {
                return Err(wrong("its coordinates have another length"));
            }
            _ => {}
        }
        found.push((jwk.common.key_id.clone(), algorithm, key));
    }
    Ok(found)
}

fn is_for_signatures(jwk: &Jwk) -> bool {
    let common = &jwk.common;
    let used = common.public_key_use.as_ref();
    let operations = common.key_operations.as_ref();
    used.is_none_or(|used| *used == PublicKeyUse::Signature)
        && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// By its kind; a key that is for another algorithm is none of ours.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let said = jwk.common.key_algorithm;
    said.is_none_or(|said| said == name).then_some(algorithm)
}
