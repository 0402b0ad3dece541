//! Tokens: who a client is, by a JWT that its backend has signed, so that a storm of returning
//! clients asks no backend.
//!
//! Pure but for reading the key file: the clock is an argument. It asks nobody, fetches no keys over
//! the network, remembers no tokens and logs nothing of them. Where in a request a token stands is
//! `source`'s affair, keys are `keys`', cryptography is ring's (`signature`).
//!
//! Spec: RFC 7519 (JWT), RFC 7515 (JWS), RFC 7517 (JWK), RFC 8037 (EdDSA), by `jsonwebtoken`. A key
//! has one algorithm, by its kind and never by what a token says: so neither `none` nor a public key
//! taken for a secret can pass.

#[cfg(test)]
mod check_test;
mod keys;
mod signature;
#[cfg(test)]
mod signer_test;
pub(in crate::edge) mod source;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{TokenData, Validation, decode, decode_header};
use serde_json::{Map, Value};

pub use jsonwebtoken::Algorithm;
pub use keys::KeyError;

use crate::edge::http::routing::ID_BYTES_MAX;
use crate::metrics::TokenRefused;
use crate::wire::{Claim, Id};
use keys::Keys;

/// What is asked of a token. `Default` has no keys: nothing passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// Where the keys are.
    pub keys: KeyFile,
    /// What may be used of what the keys allow: each has one algorithm. Empty is all of them.
    pub algorithms: Vec<Algorithm>,
    /// One of these must be among those that the token is for. When empty, a token that says whom it is
    /// for is refused: it is for somebody else (RFC 7519, section 4.1.3).
    pub audience: Vec<String>,
    /// One of these must have issued it; empty is anybody who has the key.
    pub issuer: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// The claim that is the id.
    pub id_claim: String,
    /// Whether a token must end some time.
    pub requires_expiry: bool,
}

impl TokenRules {
    /// How far clocks may differ when nobody says.
    pub const LEEWAY: Duration = Duration::from_secs(30);

    /// What is usual, with these keys.
    pub fn new(keys: KeyFile) -> TokenRules {
        TokenRules {
            keys,
            algorithms: Vec::new(),
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Self::LEEWAY,
            id_claim: "sub".to_owned(),
            requires_expiry: true,
        }
    }
}

/// A file with keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// One public key in PEM (`BEGIN PUBLIC KEY`), or else a secret as it stands there.
    One(PathBuf),
    /// A JSON Web Key Set (RFC 7517, section 5).
    Set(PathBuf),
}

/// Rules with the keys that were in the file. Cloning shares them.
#[derive(Clone)]
pub struct Tokens(Arc<Loaded>);

struct Loaded {
    rules: TokenRules,
    keys: Keys,
}

/// What a good token says.
#[derive(Debug, PartialEq)]
pub struct Claims {
    /// Whose it is.
    pub id: Id,
    /// All of it.
    pub all: Map<String, Value>,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// When the file cannot be read, or has no key that may be used.
    pub fn load(rules: TokenRules) -> Result<Tokens, KeyError> {
        signature::install();
        let keys = Keys::load(&rules)?;
        Ok(Tokens(Arc::new(Loaded { rules, keys })))
    }

    /// What the token says, if it is good at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, token: &str, now: u64) -> Result<Claims, TokenRefused> {
        let Loaded { rules, keys } = &*self.0;
        let header = decode_header(token).map_err(|_| TokenRefused::Malformed)?;
        // What must be understood is understood by nobody here (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenRefused::Malformed);
        }
        let key = keys.find(header.alg, header.kid.as_deref())?;
        let TokenData { claims, .. } =
            decode::<Map<String, Value>>(token, &key.key, &key.validation).map_err(refused)?;
        in_time(rules, &claims, now)?;
        let id = claims.get(&rules.id_claim).and_then(id_of);
        let id = id.ok_or(TokenRefused::NoId)?;
        Ok(Claims { id, all: claims })
    }
}

impl Claims {
    /// As they go along with a request.
    pub fn to_wire(&self) -> Vec<(Bytes, Claim)> {
        members(&self.all)
    }
}

fn members(object: &Map<String, Value>) -> Vec<(Bytes, Claim)> {
    let name = |name: &str| Bytes::copy_from_slice(name.as_bytes());
    let members = object.iter();
    members
        .map(|(key, value)| (name(key), claim(value)))
        .collect()
}

/// Bounded by the head that the token came in, in size and, by the library, in depth.
fn claim(value: &Value) -> Claim {
    match value {
        Value::Null => Claim::Null,
        Value::Bool(value) => Claim::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Claim::Int(integer),
            None => Claim::Float(number.as_f64().unwrap_or(f64::MAX)),
        },
        Value::String(text) => Claim::Text(Bytes::copy_from_slice(text.as_bytes())),
        Value::Array(values) => Claim::List(values.iter().map(claim).collect()),
        Value::Object(object) => Claim::Map(members(object)),
    }
}

impl PartialEq for Tokens {
    fn eq(&self, other: &Tokens) -> bool {
        self.0.rules == other.0.rules && self.0.keys == other.0.keys
    }
}

impl fmt::Debug for Tokens {
    /// Without the keys, of which some are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.rules, f)
    }
}

/// What the library checks: signature, algorithm, audience, issuer. Time is our own affair, because
/// its clock is the system's.
fn validation(rules: &TokenRules, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    if !rules.audience.is_empty() {
        validation.set_audience(&rules.audience);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    if !rules.issuer.is_empty() {
        validation.set_issuer(&rules.issuer);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    validation
}

fn refused(error: jsonwebtoken::errors::Error) -> TokenRefused {
    match error.into_kind() {
        ErrorKind::InvalidSignature => TokenRefused::Signature,
        ErrorKind::InvalidAudience => TokenRefused::Audience,
        ErrorKind::InvalidIssuer => TokenRefused::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenRefused::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenRefused::Issuer,
        ErrorKind::InvalidAlgorithm => TokenRefused::Algorithm,
        _ => TokenRefused::Malformed,
    }
}

/// `exp` and `nbf` (RFC 7519, sections 4.1.4 and 4.1.5): what is there must be a time.
fn in_time(rules: &TokenRules, claims: &Map<String, Value>, now: u64) -> Result<(), TokenRefused> {
    let (now, leeway) = (now as f64, rules.leeway.as_secs_f64());
    let time = |claim| match claims.get(claim) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(TokenRefused::Malformed),
    };
    match time("exp")? {
        None if rules.requires_expiry => return Err(TokenRefused::NoExpiry),
        Some(end) if now >= end + leeway => return Err(TokenRefused::Expired),
        _ => {}
    }
    match time("nbf")? {
        Some(begin) if now + leeway < begin => Err(TokenRefused::NotYet),
        _ => Ok(()),
    }
}

/// By the rule of a path: digits are an integer, anything else a binary.
fn id_of(claim: &Value) -> Option<Id> {
    let text = match claim {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    let is_id = (1..=ID_BYTES_MAX).contains(&text.len());
    is_id.then(|| Id::from_path_segment(text.as_bytes()))
}
