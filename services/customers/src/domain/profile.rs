//! Who a customer is, and what commands change. A command that changes nothing leaves the version.

use super::credit::Credit;
use super::{Customer, Money};

/// What changes seldom about a customer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address; may be empty.
    pub email: String,
    /// Telephone number.
    pub phone: String,
    /// Postal address.
    pub address: String,
    /// How valued the customer is.
    pub level: Level,
}

/// How valued a customer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Where everyone begins.
    #[default]
    Bronze,
    /// Above bronze.
    Silver,
    /// Above silver.
    Gold,
    /// The highest.
    Platinum,
}

/// New values of some fields. What is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Postal address.
    pub address: Option<String>,
    /// How valued the customer is.
    pub level: Option<Level>,
    /// The credit limit; the inner `None` takes it away.
    pub credit_limit: Option<Option<Money>>,
}

/// Why a command changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such customer.
    NotFound,
    /// There is such a customer, with other content.
    Exists,
    /// The customer is not in the version that the caller wants to change.
    VersionConflict {
        /// Its version.
        current: u64,
    },
}

/// Creates a customer. One that is exactly so already is returned as it is.
///
/// # Errors
/// [`Refusal::Exists`].
pub fn create(current: Option<&Customer>, profile: Profile, limit: Option<Money>) -> Result<Customer, Refusal> {
    match current {
        Some(current) if current.profile == profile && current.credit.limit == limit => Ok(current.clone()),
        Some(_) => Err(Refusal::Exists),
        None => Ok(Customer { profile, credit: Credit { limit, reserved: Vec::new(), version: 1 } }),
    }
}

/// Changes some fields. `wanted` is the version that must be current, if the caller cares. What orders hold stays.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::VersionConflict`].
pub fn update(current: Option<&Customer>, changes: Changes, wanted: Option<u64>) -> Result<Customer, Refusal> {
    let current = current.ok_or(Refusal::NotFound)?;
    let version = current.credit.version;
    if wanted.is_some_and(|wanted| wanted != version) {
        return Err(Refusal::VersionConflict { current: version });
    }
    let mut customer = current.clone();
    let Customer { profile, credit } = &mut customer;
    set(&mut profile.first_name, changes.first_name);
    set(&mut profile.last_name, changes.last_name);
    set(&mut profile.email, changes.email);
    set(&mut profile.phone, changes.phone);
    set(&mut profile.address, changes.address);
    set(&mut profile.level, changes.level);
    set(&mut credit.limit, changes.credit_limit);
    if customer != *current {
        customer.credit.version += 1;
    }
    Ok(customer)
}

/// Sets what open orders may amount to. A limit below what they hold is a limit too.
///
/// # Errors
/// As [`update`].
pub fn set_credit_limit(current: Option<&Customer>, limit: Money, wanted: Option<u64>) -> Result<Customer, Refusal> {
    update(current, Changes { credit_limit: Some(Some(limit)), ..Changes::default() }, wanted)
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
