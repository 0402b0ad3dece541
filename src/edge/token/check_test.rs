//! Tokens that are signed here, those of the RFCs, and what is made of both.
//!
//! What signs here is in `signer_test`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::signer_test::Signer;
use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA_PUBLIC: &str = include_str!("../../../test/vectors/rs256.pem");

fn rules(keys: KeyFile) -> TokenRules {
    TokenRules {
        leeway: Duration::ZERO,
        ..TokenRules::new(keys)
    }
}

fn tokens(rules: TokenRules, file: &[u8]) -> Result<Tokens, String> {
    signature::install();
    let keys = Keys::parse(&rules, file)?;
    Ok(Tokens(Arc::new(Loaded { rules, keys })))
}

fn with_one(file: &[u8]) -> Tokens {
    tokens(rules(KeyFile::One("key".into())), file).unwrap()
}

fn with_set(keys: &[Value]) -> Result<Tokens, String> {
    let set = json!({"keys": keys}).to_string();
    tokens(rules(KeyFile::Set("keys".into())), set.as_bytes())
}

fn secret() -> Signer {
    Signer::Hmac(SECRET.to_vec())
}

fn good() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

fn refusal(tokens: &Tokens, token: &str) -> TokenRefused {
    tokens.check(token, NOW).expect_err("it is not good")
}

#[test]
fn every_kind_of_key_checks_what_it_signed_and_nothing_else() {
    let signers = [secret(), Signer::rsa(), Signer::ecdsa(), Signer::ed()];
    let other = [Signer::Hmac(vec![7; 32]), Signer::ecdsa(), Signer::ed()];
    for (place, signer) in signers.iter().enumerate() {
        let tokens = with_set(&[signer.jwk("one")]).unwrap();
        let token = signer.token(&good());
        assert_eq!(
            tokens.check(&token, NOW).unwrap().id,
            Id::Bin((*b"alice").into())
        );
        // Each bit of it counts but those that base64 has to spare.
        for at in 0..token.len() - 1 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            if changed != token {
                assert!(tokens.check(&changed, NOW).is_err(), "{at} in {changed}");
            }
        }
        for other in &other {
            let refused = refusal(&tokens, &other.token(&good()));
            let expected = if other.algorithm() == signer.algorithm() {
                TokenRefused::Signature
            } else {
                TokenRefused::Algorithm
            };
            assert_eq!(refused, expected, "{place} {}", other.algorithm());
        }
    }
}

/// RFC 7515, appendices A.1 and A.3, and a token with the key of RFC 8037, appendix A.
#[test]
fn the_tokens_of_the_rfcs_are_good() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y\
                   b290Ijp0cnVlfQ";
    let by_secret = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZ\
                           H75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let by_point = json!({"kty": "EC", "crv": "P-256",
                          "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                          "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let set = json!({"keys": [by_secret, by_point]}).to_string();
    let rules = TokenRules {
        id_claim: "iss".to_owned(),
        ..rules(KeyFile::Set("keys".into()))
    };
    let tokens = tokens(rules, set.as_bytes()).unwrap();
    for (header, signature) in [
        (
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let token = format!("{header}.{payload}.{signature}");
        let claims = tokens.check(&token, 1_300_819_379).unwrap();
        assert_eq!(claims.id, Id::Bin((*b"joe").into()));
        assert_eq!(claims.all["http://example.com/is_root"], json!(true));
        let late = tokens.check(&token, 1_300_819_380);
        assert_eq!(late, Err(TokenRefused::Expired));
    }
}

#[test]
fn none_and_other_algorithms_than_the_keys_own_are_refused() {
    let rsa = with_one(RSA_PUBLIC.as_bytes());
    // A public key taken for a secret.
    let confused = Signer::Hmac(RSA_PUBLIC.as_bytes().to_vec());
    assert_eq!(
        refusal(&rsa, &confused.token(&good())),
        TokenRefused::Algorithm
    );
    for algorithm in [
        "none", "None", "", "HS1", "RS512", "PS256", "HS384", "ES384",
    ] {
        let header = json!({"alg": algorithm});
        for signer in [&confused, &Signer::rsa()] {
            let token = signer.with_header(&header, &good());
            assert!(rsa.check(&token, NOW).is_err(), "{algorithm}");
            let unsigned = &token[..=token.rfind('.').unwrap()];
            assert!(rsa.check(unsigned, NOW).is_err(), "{algorithm}");
        }
    }
    let good = Signer::rsa().token(&good());
    assert!(rsa.check(&good, NOW).is_ok());
}

#[test]
fn only_algorithms_that_the_config_allows_have_keys() {
    let set = json!({"keys": [Signer::rsa().jwk("a"), secret().jwk("b")]}).to_string();
    let allow = |algorithm| TokenRules {
        algorithms: vec![algorithm],
        ..rules(KeyFile::Set("keys".into()))
    };
    let tokens_of = |algorithm| tokens(allow(algorithm), set.as_bytes());
    let rsa = tokens_of(Algorithm::RS256).unwrap();
    assert!(rsa.check(&Signer::rsa().token(&good()), NOW).is_ok());
    assert_eq!(
        refusal(&rsa, &secret().token(&good())),
        TokenRefused::Algorithm
    );
    assert!(tokens_of(Algorithm::ES256).is_err());
}

#[test]
fn a_set_is_searched_by_name() {
    let (old, new, ed) = (Signer::ecdsa(), Signer::ecdsa(), Signer::ed());
    let strange = json!({"kty": "EC", "crv": "secp256k1", "kid": "x", "x": "AA", "y": "AA"});
    let encrypting = json!({"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"});
    let unknown = json!({"kty": "what", "kid": "w"});
    let keys = [
        old.jwk("old"),
        new.jwk("new"),
        ed.jwk("ed"),
        strange,
        encrypting,
        unknown,
    ];
    let tokens = with_set(&keys).unwrap();
    let named = |signer: &Signer, name: &str| {
        signer.with_header(&json!({"alg": signer.algorithm(), "kid": name}), &good())
    };
    assert!(tokens.check(&named(&old, "old"), NOW).is_ok());
    assert!(tokens.check(&named(&new, "new"), NOW).is_ok());
    assert_eq!(
        refusal(&tokens, &named(&new, "old")),
        TokenRefused::Signature
    );
    assert_eq!(
        refusal(&tokens, &named(&new, "other")),
        TokenRefused::UnknownKey
    );
    // Two might be meant; of the other kind there is one.
    assert_eq!(
        refusal(&tokens, &new.token(&good())),
        TokenRefused::UnknownKey
    );
    assert!(tokens.check(&ed.token(&good()), NOW).is_ok());
    // One key in a file has no name: any will do.
    assert!(
        with_one(SECRET)
            .check(&named(&secret(), "any"), NOW)
            .is_ok()
    );
}

#[test]
fn a_token_has_its_time() {
    let tokens_of = tokens;
    let tokens = with_one(SECRET);
    let lenient = TokenRules {
        leeway: Duration::from_secs(30),
        ..rules(KeyFile::One("key".into()))
    };
    let lenient = tokens_of(lenient, SECRET).unwrap();
    let check = |tokens: &Tokens, claims: Value| {
        let mut all = good();
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        tokens.check(&secret().token(&all), NOW).err()
    };
    for (claims, strict, kind) in [
        (json!({"exp": NOW + 1}), None, None),
        (json!({"exp": NOW as f64 + 0.5}), None, None),
        (json!({"exp": NOW}), Some(TokenRefused::Expired), None),
        (json!({"exp": NOW - 29}), Some(TokenRefused::Expired), None),
        (
            json!({"exp": NOW - 30}),
            Some(TokenRefused::Expired),
            Some(TokenRefused::Expired),
        ),
        (
            json!({"exp": -1}),
            Some(TokenRefused::Expired),
            Some(TokenRefused::Expired),
        ),
        (json!({"nbf": NOW}), None, None),
        (json!({"nbf": NOW + 30}), Some(TokenRefused::NotYet), None),
        (
            json!({"nbf": NOW + 31}),
            Some(TokenRefused::NotYet),
            Some(TokenRefused::NotYet),
        ),
        (
            json!({"exp": "soon"}),
            Some(TokenRefused::Malformed),
            Some(TokenRefused::Malformed),
        ),
        (
            json!({"nbf": null}),
            Some(TokenRefused::Malformed),
            Some(TokenRefused::Malformed),
        ),
    ] {
        assert_eq!(check(&tokens, claims.clone()), strict, "{claims}");
        assert_eq!(check(&lenient, claims.clone()), kind, "{claims}");
    }
    let endless = secret().token(&json!({"sub": "alice"}));
    assert_eq!(refusal(&tokens, &endless), TokenRefused::NoExpiry);
    let may_be_endless = TokenRules {
        requires_expiry: false,
        ..rules(KeyFile::One("key".into()))
    };
    let endless_is_good = tokens_of(may_be_endless, SECRET).unwrap();
    assert!(endless_is_good.check(&endless, NOW).is_ok());
    assert_eq!(
        check(&endless_is_good, json!({"exp": NOW - 1})),
        Some(TokenRefused::Expired)
    );
}

#[test]
fn a_token_is_for_us_and_from_whom_we_know() {
    let strict = TokenRules {
        audience: vec!["lariat".into(), "chat".into()],
        issuer: vec!["https://id.example".into()],
        ..rules(KeyFile::One("key".into()))
    };
    let strict = tokens(strict, SECRET).unwrap();
    let token = |aud: Value, iss: Value| {
        let mut claims = good();
        for (name, value) in [("aud", aud), ("iss", iss)] {
            if !value.is_null() {
                claims[name] = value;
            }
        }
        secret().token(&claims)
    };
    let ours = json!("https://id.example");
    let check = |aud, iss| strict.check(&token(aud, iss), NOW).err();
    assert_eq!(check(json!("lariat"), ours.clone()), None);
    assert_eq!(check(json!(["other", "chat"]), ours.clone()), None);
    for aud in [
        json!("other"),
        json!([]),
        json!(7),
        json!({"a": 1}),
        Value::Null,
    ] {
        assert_eq!(
            check(aud.clone(), ours.clone()),
            Some(TokenRefused::Audience),
            "{aud}"
        );
    }
    for iss in [json!("https://evil.example"), json!(7), Value::Null] {
        let refused = check(json!("lariat"), iss.clone());
        assert_eq!(refused, Some(TokenRefused::Issuer), "{iss}");
    }
    // Whoever has no name is meant by none.
    let anybody = with_one(SECRET);
    let refused = anybody.check(&token(json!("other"), Value::Null), NOW);
    assert_eq!(refused, Err(TokenRefused::Audience));
}

#[test]
fn the_id_is_that_of_a_path() {
    let tokens = with_one(SECRET);
    let id = |sub: Value| {
        let token = secret().token(&json!({"sub": sub, "exp": NOW + 1}));
        tokens.check(&token, NOW).map(|claims| claims.id)
    };
    assert_eq!(id(json!(123)), Ok(Id::Int(123)));
    assert_eq!(id(json!("123")), Ok(Id::Int(123)));
    assert_eq!(id(json!("alice")), Ok(Id::Bin((*b"alice").into())));
    assert_eq!(id(json!(-1)), Ok(Id::Bin((*b"-1").into())));
    let large = 9_223_372_036_854_775_808_u64;
    assert_eq!(
        id(json!(large)),
        Ok(Id::Bin(large.to_string().into_bytes().into()))
    );
    assert!(id(json!("x".repeat(255))).is_ok());
    for none in [
        json!(1.5),
        json!(""),
        json!(null),
        json!([1]),
        json!("x".repeat(256)),
    ] {
        assert!(id(none.clone()).is_err(), "{none}");
    }
}

#[test]
fn claims_go_along_as_what_they_are() {
    let all = json!({"sub": "a", "exp": NOW + 1, "n": null, "b": true, "i": -7, "f": 1.5,
                     "l": [1, "x"], "m": {"k": 18_446_744_073_709_551_615_u64}});
    let claims = with_one(SECRET).check(&secret().token(&all), NOW).unwrap();
    let wire: std::collections::BTreeMap<_, _> = claims.to_wire().into_iter().collect();
    let of = |name: &str| wire[name.as_bytes()].clone();
    assert_eq!(wire.len(), 8);
    assert_eq!(of("sub"), Claim::Text("a".into()));
    assert_eq!(
        (of("n"), of("b"), of("i")),
        (Claim::Null, Claim::Bool(true), Claim::Int(-7))
    );
    assert_eq!(of("f"), Claim::Float(1.5));
    let list = vec![Claim::Int(1), Claim::Text("x".into())];
    assert_eq!(of("l"), Claim::List(list));
    let large = Claim::Float(18_446_744_073_709_551_615.0);
    assert_eq!(of("m"), Claim::Map(vec![("k".into(), large)]));
}

#[test]
fn what_must_be_understood_is_not() {
    let header = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    let token = secret().with_header(&header, &good());
    assert_eq!(refusal(&with_one(SECRET), &token), TokenRefused::Malformed);
}

#[test]
fn files_that_have_no_key_say_so() {
    let private = include_str!("../../../test/vectors/rs256.key");
    let one = |file: &[u8]| tokens(rules(KeyFile::One("key".into())), file).err();
    for (file, part) in [
        (&b"too short\n"[..], "at least 32"),
        (private.as_bytes(), "public one"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "BEGIN PUBLIC KEY",
        ),
        (
            b"-----BEGIN PUBLIC KEY-----\nMAAA\n-----END PUBLIC KEY-----\n",
            "another kind",
        ),
    ] {
        let error = one(file).expect("it is no key");
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("too short\n"), "{error}");
    }
    let small = json!({"kty": "RSA", "kid": "small", "n": "AQAB", "e": "AQAB"});
    assert!(with_set(&[small]).unwrap_err().contains("small"));
    let odd = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    assert!(with_set(&[odd]).unwrap_err().contains("coordinates"));
    assert!(with_set(&[]).unwrap_err().contains("no key"));
    let many: Vec<Value> = (0..65).map(|_| secret().jwk("k")).collect();
    assert!(with_set(&many).unwrap_err().contains("64"));
    // A secret ends with its file's last line.
    let line = [SECRET, b"\r\n"].concat();
    assert!(with_one(&line).check(&secret().token(&good()), NOW).is_ok());
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?}", with_one(SECRET));
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn ten_thousand_random_tokens_are_refused() {
    let tokens = with_set(&[
        secret().jwk("a"),
        Signer::rsa().jwk("b"),
        Signer::ecdsa().jwk("c"),
    ]);
    let tokens = tokens.unwrap();
    let good = secret().token(&good());
    let alphabet = b"ABCabc019-_.={}\"\0\xff";
    for _ in 0..10_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..fastrand::usize(1..20) {
            let at = fastrand::usize(..bytes.len());
            match fastrand::u8(..4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, alphabet[fastrand::usize(..alphabet.len())]),
                _ => bytes[at] = alphabet[fastrand::usize(..alphabet.len())],
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if text != good {
            assert!(tokens.check(&text, NOW).is_err(), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5)) {
        let tokens = with_one(SECRET);
        prop_assert!(tokens.check(&text, NOW).is_err());
        prop_assert!(tokens.check(&parts.join("."), NOW).is_err());
    }

    #[test]
    fn any_file_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = tokens(rules(KeyFile::Set("keys".into())), &bytes);
        let info = [&[0x30, 0x82][..], &bytes].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(info));
        let _ = tokens(rules(KeyFile::One("key".into())), pem.as_bytes());
    }
}
