//! Somebody who signs tokens, for the tests: a key of each kind.
//!
//! ring signs what it checks: that both mean what the RFCs mean, the tokens of the RFCs show. The RSA
//! key is of no use elsewhere.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

/// Somebody who signs.
pub(super) enum Signer {
    Hmac(Vec<u8>),
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn rsa() -> Signer {
        let pem = include_str!("../../../test/vectors/rs256.key");
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let der = STANDARD.decode(lines.collect::<String>()).unwrap();
        Signer::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap())
    }

    pub(super) fn ecdsa() -> Signer {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        Signer::Ecdsa(EcdsaKeyPair::from_pkcs8(how, pair.as_ref(), &random).unwrap())
    }

    pub(super) fn ed() -> Signer {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Signer::Ed(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap())
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Signer::Hmac(_) => "HS256",
            Signer::Rsa(_) => "RS256",
            Signer::Ecdsa(_) => "ES256",
            Signer::Ed(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.unwrap();
                signature
            }
            Signer::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.with_header(&json!({"alg": self.algorithm(), "typ": "JWT"}), claims)
    }

    pub(super) fn with_header(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// Its key in a set.
    pub(super) fn jwk(&self, name: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Signer::Hmac(secret) => json!({"kty": "oct", "kid": name, "k": text(secret)}),
            Signer::Rsa(pair) => {
                let key: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "kid": name, "use": "sig", "alg": "RS256",
                       "n": text(&key.n), "e": text(&key.e)})
            }
            Signer::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "kid": name, "crv": "P-256",
                       "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Signer::Ed(pair) => {
                json!({"kty": "OKP", "kid": name, "crv": "Ed25519",
                       "x": text(pair.public_key().as_ref())})
            }
        }
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
