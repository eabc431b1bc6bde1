//! What commands make of a customer.

use crate::domain::credit::Credit;
use crate::domain::profile::{Changes, Level, Profile, Refusal, create, set_credit_limit, update};
use crate::domain::{Customer, Money};

fn eur(minor_units: i64) -> Money {
    Money { currency: "EUR".to_owned(), minor_units }
}

fn ada() -> Profile {
    Profile {
        first_name: "Ada".to_owned(),
        email: "ada@example.org".to_owned(),
        level: Level::Gold,
        ..Profile::default()
    }
}

fn customer() -> Customer {
    Customer { profile: ada(), credit: Credit { limit: Some(eur(1_000)), reserved: vec![eur(800)], version: 3 } }
}

#[test]
fn a_customer_is_created_once_and_the_same_again_is_the_one_that_is_there() {
    let created = create(None, ada(), None).unwrap();
    assert_eq!(created, Customer { profile: ada(), credit: Credit { limit: None, reserved: Vec::new(), version: 1 } });
    assert_eq!(
        create(Some(&customer()), ada(), Some(eur(1_000))),
        Ok(customer()),
        "what orders hold makes no difference"
    );
    for (profile, limit) in [(ada(), None), (ada(), Some(eur(999))), (Profile::default(), Some(eur(1_000)))] {
        assert_eq!(create(Some(&customer()), profile, limit), Err(Refusal::Exists));
    }
}

#[test]
fn named_fields_change_and_all_others_stay() {
    let text = |value: &str| Some(value.to_owned());
    let changes = Changes { first_name: text("Augusta"), email: text(""), ..Changes::default() };
    let changed = update(Some(&customer()), changes, Some(3)).unwrap();
    let profile = Profile { first_name: "Augusta".to_owned(), level: Level::Gold, ..Profile::default() };
    assert_eq!(changed, Customer { profile, credit: Credit { version: 4, ..customer().credit } });
    let changes = Changes {
        last_name: text("Lovelace"),
        phone: text("1"),
        address: text("London"),
        level: Some(Level::Platinum),
        credit_limit: Some(None),
        ..Changes::default()
    };
    let changed = update(Some(&customer()), changes, None).unwrap();
    let profile = Profile {
        last_name: "Lovelace".to_owned(),
        phone: "1".to_owned(),
        address: "London".to_owned(),
        level: Level::Platinum,
        ..ada()
    };
    assert_eq!(changed, Customer { profile, credit: Credit { limit: None, reserved: vec![eur(800)], version: 4 } });
}

#[test]
fn a_change_to_what_is_there_already_leaves_the_version() {
    let changes = Changes { first_name: Some("Ada".to_owned()), level: Some(Level::Gold), ..Changes::default() };
    assert_eq!(update(Some(&customer()), changes, None), Ok(customer()));
    assert_eq!(set_credit_limit(Some(&customer()), eur(1_000), Some(3)), Ok(customer()));
}

#[test]
fn a_limit_may_be_0_and_below_what_is_held() {
    for limit in [0, 799] {
        let changed = set_credit_limit(Some(&customer()), eur(limit), None).unwrap();
        assert_eq!(changed.credit, Credit { limit: Some(eur(limit)), reserved: vec![eur(800)], version: 4 });
    }
}

#[test]
fn an_unknown_customer_and_another_version_are_refused() {
    assert_eq!(update(None, Changes::default(), None), Err(Refusal::NotFound));
    assert_eq!(set_credit_limit(None, eur(1), Some(3)), Err(Refusal::NotFound));
    let conflict = Err(Refusal::VersionConflict { current: 3 });
    assert_eq!(update(Some(&customer()), Changes::default(), Some(2)), conflict);
    assert_eq!(set_credit_limit(Some(&customer()), eur(1), Some(0)), conflict);
}
