//! How often each caller may call: a bucket of tokens for each, kept as the moment at which it is full again.
//!
//! Always: at most so many callers are remembered as the configuration says. One whose bucket is full is as one who never
//! called, and forgotten when room is needed; those for whom there is no room share one bucket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::RateLimitConfig;

/// Least time between two looks for callers who can be forgotten.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Bits of an IPv6 address that one caller cannot choose.
const IPV6_NETWORK: u128 = !0 << 64;

/// Whose calls are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// Whoever shows the token of this name.
    Holder(Arc<str>),
    /// Whoever calls from this address.
    Address(IpAddr),
    /// Whoever else there is.
    Unknown,
}

impl Caller {
    /// The caller at an address. A caller with IPv6 has a whole network of addresses.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK)),
        })
    }
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Quota {
    /// Time in which one token comes.
    interval: Duration,
    /// Time in which all tokens but one come.
    tolerance: Duration,
    callers_max: usize,
    buckets: Mutex<Buckets>,
}

/// When each bucket is full.
#[derive(Debug, Default)]
struct Buckets {
    callers: HashMap<Caller, Instant>,
    others: Option<Instant>,
    swept: Option<Instant>,
}

impl Quota {
    /// Buckets of this size and rate; none when calls are not limited.
    pub(crate) fn new(config: &RateLimitConfig) -> Option<Self> {
        if config.calls_per_second == 0 {
            return None;
        }
        let interval = Duration::from_secs(1) / config.calls_per_second;
        let tolerance = interval * config.burst.saturating_sub(1);
        Some(Self { interval, tolerance, callers_max: config.callers_max, buckets: Mutex::default() })
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none: the time until there is.
    pub(crate) fn take(&self, caller: Caller, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = self.bucket(&mut buckets, caller, now);
        let until_full = full.saturating_duration_since(now);
        if until_full > self.tolerance {
            return Err(until_full - self.tolerance);
        }
        *full = now + until_full + self.interval;
        Ok(())
    }

    fn bucket<'a>(&self, buckets: &'a mut Buckets, caller: Caller, now: Instant) -> &'a mut Instant {
        let Buckets { callers, others, swept } = buckets;
        if callers.len() >= self.callers_max && !callers.contains_key(&caller) {
            // Whoever makes up callers must not make each of them cost a walk through all.
            if swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_PAUSE) {
                *swept = Some(now);
                callers.retain(|_, full| *full > now);
            }
            if callers.len() >= self.callers_max {
                return others.get_or_insert(now);
            }
        }
        callers.entry(caller).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn quota(calls_per_second: u32, burst: u32, callers_max: usize) -> Quota {
        Quota::new(&RateLimitConfig { calls_per_second, burst, callers_max }).unwrap()
    }

    fn caller(number: u8) -> Caller {
        Caller::at(IpAddr::from([10, 0, 0, number]))
    }

    #[test]
    fn a_burst_is_let_in_and_then_one_call_for_each_interval() {
        let (quota, start) = (quota(10, 3, 5), Instant::now());
        for _ in 0..3 {
            assert_eq!(quota.take(caller(1), start), Ok(()));
        }
        assert_eq!(quota.take(caller(1), start + 40 * MS), Err(60 * MS));
        assert_eq!(quota.take(caller(2), start + 40 * MS), Ok(()), "others have their own");
        assert_eq!(quota.take(caller(1), start + 100 * MS), Ok(()));
        assert_eq!(quota.take(caller(1), start + 100 * MS), Err(100 * MS));
        let late = start + Duration::from_secs(60);
        let taken = (0..10).filter(|_| quota.take(caller(1), late).is_ok()).count();
        assert_eq!(taken, 3, "no more than a burst is saved");
    }

    #[test]
    fn so_many_callers_are_remembered_and_the_others_share_one_bucket() {
        let (quota, start) = (quota(1, 1, 2), Instant::now());
        for number in [1, 2, 3] {
            assert_eq!(quota.take(caller(number), start), Ok(()));
        }
        assert!(quota.take(caller(4), start).is_err(), "3 and 4 have one bucket");
        assert_eq!(quota.buckets.lock().unwrap().callers.len(), 2);
        // Those who have not called for long make room.
        let later = start + 1_001 * MS;
        assert_eq!(quota.take(caller(5), later), Ok(()));
        assert_eq!(quota.take(caller(6), later), Ok(()));
        assert_eq!(quota.buckets.lock().unwrap().callers.len(), 2);
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let at = |address: &str| Caller::at(address.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), caller(1));
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        assert!(Quota::new(&RateLimitConfig::default()).is_none());
    }
}
