//! What points are worth: pure rules, without log, store or clock.

/// Minor units of money that earn a point.
const MINOR_UNITS_PER_POINT: u64 = 100;

/// The points that an order earns which cost so many minor units.
#[must_use]
pub fn earned(minor_units: i64) -> u64 {
    u64::try_from(minor_units).unwrap_or(0) / MINOR_UNITS_PER_POINT
}

/// What is left of `balance` points when `wanted` are redeemed; none if they are too many.
#[must_use]
pub fn redeemed(balance: u64, wanted: u64) -> Option<u64> {
    balance.checked_sub(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_units_earn_points() {
        for (minor_units, points) in [(-100, 0), (0, 0), (99, 0), (100, 1), (3_998, 39)] {
            assert_eq!(earned(minor_units), points, "{minor_units}");
        }
    }

    #[test]
    fn nobody_redeems_more_than_there_is() {
        assert_eq!((redeemed(5, 4), redeemed(5, 5), redeemed(5, 6)), (Some(1), Some(0), None));
    }
}
