//! The fast path says what the general path says, or nothing.

use bytes::Bytes;
use proptest::prelude::*;

use super::agreement::{self, Delivery, agreed};
use super::frame::{Body, open};
use crate::term::Writer;
use crate::wire::{Id, Ids};

/// `{6, From, '', name}` as Erlang writes it.
fn control(name: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer
        .tuple(4)
        .int(6)
        .pid("app@127.0.0.1", 97, 0, 1_700_000_000)
        .atom("")
        .atom(name);
    writer.into_bytes()
}

/// A frame as it comes on a link without fragments.
fn frame(name: &str, payload: &[u8]) -> Bytes {
    [&[112, 131][..], &control(name), &[131], payload]
        .concat()
        .into()
}

/// Asserts the law; what the fast path makes of a frame.
#[track_caller]
fn fast(frame: &Bytes) -> Option<Delivery> {
    match open(frame) {
        Ok(Body::Whole(envelope)) => agreed(envelope, frame),
        _ => None,
    }
}

/// What the general path makes of it.
fn general(frame: &Bytes) -> Option<Delivery> {
    match open(frame) {
        Ok(Body::Whole(envelope)) => agreement::general(envelope, frame),
        _ => None,
    }
}

/// Asserts the law; whether the fast path recognised it.
#[track_caller]
fn same_or_nothing(frame: &Bytes) -> bool {
    fast(frame).is_some()
}

fn big(value: i64) -> Vec<u8> {
    let mut term = vec![110, 8, u8::from(value < 0)];
    term.extend(value.unsigned_abs().to_le_bytes());
    term
}

fn id_term() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u8>().prop_map(|value| vec![97, value]),
        any::<i32>().prop_map(|value| [&[98][..], &value.to_be_bytes()].concat()),
        any::<i64>().prop_map(big),
        any::<Vec<u8>>().prop_map(|bytes| {
            let mut writer = Writer::new();
            writer.binary(&bytes);
            writer.into_bytes()
        }),
        // What only the general path takes, or nobody.
        Just(vec![119, 1, 97]),
        Just(vec![106]),
        Just(vec![110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ]
}

fn ids_term() -> impl Strategy<Value = Vec<u8>> {
    let list = (
        proptest::collection::vec(id_term(), 0..6),
        prop_oneof![9 => Just(vec![106]), 1 => Just(vec![97, 1])],
    );
    prop_oneof![
        3 => id_term(),
        3 => list.prop_map(|(ids, tail)| {
            let count = u32::try_from(ids.len()).unwrap().to_be_bytes();
            [&[108][..], &count, &ids.concat(), &tail].concat()
        }),
        1 => any::<Vec<u8>>().prop_map(|bytes| {
            let count = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            [&[107][..], &count, &bytes].concat()
        }),
    ]
}

fn message_term() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| {
            let mut writer = Writer::new();
            writer.binary(&bytes);
            writer.into_bytes()
        }),
        any::<u8>().prop_map(|byte| vec![97, byte]),
        Just(vec![107, 0, 2, 104, 105]),
        Just(vec![106]),
        Just(vec![119, 1, 97]),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        (proptest::collection::vec(inner.clone(), 0..4), inner).prop_map(|(elements, tail)| {
            let count = u32::try_from(elements.len()).unwrap().to_be_bytes();
            [&[108][..], &count, &elements.concat(), &tail].concat()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn of_any_message(ids in ids_term(), message in message_term(), tail in "|a") {
        let payload = [&[104, 2][..], &ids, &message, tail.as_bytes()].concat();
        same_or_nothing(&frame("lariat", &payload));
    }

    #[test]
    fn of_any_bytes_in_place_of_a_payload(payload: Vec<u8>) {
        same_or_nothing(&frame("lariat", &payload));
        same_or_nothing(&frame("lariat", &[&[104, 2, 97, 1, 109, 0, 0], &payload[..]].concat()));
    }

    #[test]
    fn of_frames_with_a_byte_changed_or_cut_off(
        ids in ids_term(), message in message_term(), at: prop::sample::Index, byte: u8, cut: bool
    ) {
        let payload = [&[104, 2][..], &ids, &message].concat();
        let mut bytes = Vec::from(frame("any", &payload));
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        same_or_nothing(&bytes.into());
    }

    #[test]
    fn with_and_without_versions_it_is_the_same(ids in ids_term(), message in message_term()) {
        let payload = [&[104, 2][..], &ids, &message].concat();
        let versioned = frame("any", &payload);
        let header: Bytes = [&[131, 68, 0][..], &control("any"), &payload].concat().into();
        prop_assert_eq!(fast(&versioned), fast(&header));
        same_or_nothing(&header);
    }
}

#[test]
fn what_people_send_is_recognised() {
    let binary = [109, 0, 0, 0, 2, 104, 105];
    let list = [108, 0, 0, 0, 2, 98, 0, 0, 3, 232, 109, 0, 0, 0, 1, 120, 106];
    let ids = [0, 255, 256, 1 << 31, 1 << 40, i64::MAX, i64::MIN, -1];
    let mut recognised: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| [&big(*id)[..], &binary].concat())
        .collect();
    recognised.extend([
        [&[97, 255][..], &binary].concat(),
        [&[98, 255, 255, 255, 255][..], &binary].concat(),
        [&[109, 0, 0, 0, 1, 120][..], &binary].concat(),
        [&list[..], &binary].concat(),
        [&[107, 0, 3, 1, 2, 3][..], &binary].concat(),
        [&[106][..], &binary].concat(),
        [&[97, 1, 108, 0, 0, 0, 1][..], &binary, &[106]].concat(),
        [97, 1, 107, 0, 2, 104, 105].to_vec(),
        [97, 1, 106].to_vec(),
    ]);
    for message in recognised {
        let payload = [&[104, 2][..], &message].concat();
        assert!(
            same_or_nothing(&frame("lariat_credited", &payload)),
            "{message:?}"
        );
    }
}

#[test]
fn depth_counts_from_the_whole_payload() {
    for (levels, is_taken) in [(254, true), (255, false), (256, false)] {
        let nested = [[108, 0, 0, 0, 1].repeat(levels), [106].repeat(levels + 1)].concat();
        let payload = [&[104, 2, 97, 1][..], &nested].concat();
        assert_eq!(
            same_or_nothing(&frame("lariat", &payload)),
            is_taken,
            "{levels}"
        );
        assert_eq!(
            general(&frame("lariat", &payload)).is_some(),
            is_taken,
            "{levels}"
        );
    }
}

#[test]
fn a_payload_is_a_slice_of_its_frame() {
    let frame = frame("lariat", &[104, 2, 97, 1, 109, 0, 0, 0, 2, 104, 105]);
    let (_, ids, message) = fast(&frame).unwrap();
    assert_eq!(ids, Ids::One(Id::Int(1)));
    assert_eq!(message.payload, &b"hi"[..]);
    assert!(frame.as_ptr_range().contains(&message.payload.as_ptr()));
}
