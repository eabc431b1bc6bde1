//! Given / when / then.

use super::*;

#[test]
fn an_id_belongs_to_the_partition_of_its_letter_and_comes_back() {
    // Any spread of ids over partitions will do here.
    let partition_of = |id: &[u8]| id.iter().fold(7_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(*byte)) % 16;
    for offset in 0..200 {
        let partition = u32::try_from(offset % 16).unwrap();
        let id = LetterId::new("dead-letters", partition, offset, partition_of);
        assert_eq!(partition_of(id.to_string().as_bytes()), partition);
        assert_eq!(LetterId::parse(&id.to_string()), Some(id));
    }
    let hopeless = LetterId::new("orders", 1, 2, |_| 0);
    assert_eq!(hopeless.salt, SALTS, "it ends");
}

#[test]
fn what_is_no_id_is_none() {
    for text in
        ["", "orders", "orders.1.2", ".1.2.3", "orders.1.2.x", "orders.-1.2.3", "orders.01.2.3", "orders.+1.2.3"]
    {
        assert_eq!(LetterId::parse(text), None, "{text}");
    }
    assert_eq!(LetterId::parse("a.b.1.2.3").unwrap().service, "a.b");
}

#[test]
fn a_letter_is_replayed_once_and_in_its_order() {
    let waiting = Letter { is_replayed: false, is_cut: false, handled_as: "orders", earlier: None };
    let cases = [
        (waiting, Ok(Decision::Replay)),
        (Letter { is_replayed: true, ..waiting }, Ok(Decision::Nothing)),
        (Letter { is_replayed: true, is_cut: true, earlier: Some(1), ..waiting }, Ok(Decision::Nothing)),
        (Letter { is_cut: true, ..waiting }, Err(Refusal::Cut)),
        (Letter { handled_as: "", ..waiting }, Err(Refusal::NoSource)),
        (Letter { earlier: Some(3), ..waiting }, Err(Refusal::EarlierWaiting(3))),
    ];
    for (letter, wanted) in cases {
        assert_eq!(replay(&letter), wanted, "{letter:?}");
    }
}
