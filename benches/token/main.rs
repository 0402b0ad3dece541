//! What checking a token costs, for each kind of key: `make bench-token`.
//!
//! Prints what it measured and judges none of it. One thread, one token for all checks; the same
//! number of bare signature checks by ring beside it, in turns.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lariat::edge::{KeyFile, TokenRules, Tokens};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    UnparsedPublicKey,
};

/// Seconds since 1970: whether the token's time is now is an argument.
const NOW: u64 = 1_800_000_000;

/// Pairs of which the median is told.
const ROUNDS: usize = 9;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;
type Verify = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// A key, its signature of a message, and the bare check of it.
struct Kind {
    algorithm: &'static str,
    jwk: String,
    sign: Sign,
    verify: Verify,
    /// Checks in a round.
    count: u32,
}

fn main() {
    println!(
        "{:>8} {:>10} {:>10}  us a check: median of {ROUNDS}",
        "", "token", "bare"
    );
    for kind in kinds() {
        let (tokens, token) = (load(&kind.jwk), token(&kind));
        let (message, signature) = token.rsplit_once('.').expect("it is signed");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64");
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(each(kind.count, || {
                tokens.check(black_box(&token), NOW).is_ok()
            }));
            bare.push(each(kind.count, || {
                (kind.verify)(black_box(message.as_bytes()), &signature)
            }));
        }
        let (ours, bare) = (median(ours), median(bare));
        println!("{:>8} {ours:>10.2} {bare:>10.2}", kind.algorithm);
    }
}

fn each(count: u32, check: impl Fn() -> bool) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        assert!(check(), "the token is good");
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn load(jwk: &str) -> Tokens {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    write!(file, "{{\"keys\":[{jwk}]}}").expect("it can be written");
    Tokens::load(TokenRules::new(KeyFile::Set(file.path().into()))).expect("it is a key")
}

fn token(kind: &Kind) -> String {
    let header = format!("{{\"alg\":\"{}\",\"typ\":\"JWT\"}}", kind.algorithm);
    let claims = format!(
        "{{\"sub\":\"123456\",\"iat\":{NOW},\"exp\":{},\"name\":\"Somebody\",\"roles\":[\"a\",\"b\"]}}",
        NOW + 600
    );
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = (kind.sign)(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn kinds() -> [Kind; 4] {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let random = SystemRandom::new();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let checked = secret.clone();
    let pem = include_str!("../../test/vectors/rs256.key");
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let der = STANDARD.decode(lines.collect::<String>());
    let rsa = RsaKeyPair::from_pkcs8(&der.expect("it is base64")).expect("it is a key");
    let public: ring::rsa::PublicKeyComponents<Vec<u8>> = rsa.public().into();
    let rsa_key = rsa.public().as_ref().to_vec();
    let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(how, &random).expect("there is randomness");
    let ecdsa = EcdsaKeyPair::from_pkcs8(how, pair.as_ref(), &random).expect("it is a key");
    let point = ecdsa.public_key().as_ref().to_vec();
    let pair = Ed25519KeyPair::generate_pkcs8(&random).expect("there is randomness");
    let ed = Ed25519KeyPair::from_pkcs8(pair.as_ref()).expect("it is a key");
    let ed_key = ed.public_key().as_ref().to_vec();
    [
        Kind {
            algorithm: "HS256",
            jwk: format!("{{\"kty\":\"oct\",\"k\":\"{}\"}}", text(&[7; 32])),
            sign: Box::new(move |message| hmac::sign(&secret, message).as_ref().to_vec()),
            verify: Box::new(move |message, tag| hmac::verify(&checked, message, tag).is_ok()),
            count: 20_000,
        },
        Kind {
            algorithm: "RS256",
            jwk: format!(
                "{{\"kty\":\"RSA\",\"n\":\"{}\",\"e\":\"{}\"}}",
                text(&public.n),
                text(&public.e)
            ),
            sign: Box::new(move |message| {
                let mut signature = vec![0; rsa.public().modulus_len()];
                let signed = rsa.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                );
                signed.expect("it can sign");
                signature
            }),
            verify: Box::new(move |message, signature| {
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &rsa_key);
                key.verify(message, signature).is_ok()
            }),
            count: 2_000,
        },
        Kind {
            algorithm: "ES256",
            jwk: format!(
                "{{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"{}\",\"y\":\"{}\"}}",
                text(&point[1..33]),
                text(&point[33..])
            ),
            sign: Box::new(move |message| {
                let signed = ecdsa.sign(&SystemRandom::new(), message);
                signed.expect("it can sign").as_ref().to_vec()
            }),
            verify: Box::new(move |message, signature| {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
                key.verify(message, signature).is_ok()
            }),
            count: 2_000,
        },
        Kind {
            algorithm: "EdDSA",
            jwk: format!(
                "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\"}}",
                text(&ed_key)
            ),
            sign: Box::new(move |message| ed.sign(message).as_ref().to_vec()),
            verify: Box::new(move |message, signature| {
                let key = UnparsedPublicKey::new(&ED25519, &ed_key);
                key.verify(message, signature).is_ok()
            }),
            count: 2_000,
        },
    ]
}
