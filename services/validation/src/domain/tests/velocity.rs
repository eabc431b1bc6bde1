//! Windows of velocity.

use proptest::prelude::*;

use crate::domain::velocity::{Alert, Rule, Window};

const RULE: Rule = Rule { window_ms: 30_000, grace_ms: 60_000, orders_max: 2 };

/// Orders at these times, and the count of the alert that each raises.
#[track_caller]
fn check(orders: &[(i64, Option<u64>)]) -> Vec<Window> {
    let (mut windows, mut stream_time_ms) = (Vec::new(), i64::MIN);
    for (time_ms, then) in orders {
        stream_time_ms = stream_time_ms.max(*time_ms);
        let alert = RULE.count(&mut windows, *time_ms, stream_time_ms);
        assert_eq!(alert.map(|alert| alert.count), *then, "at {time_ms} of {orders:?}");
    }
    windows
}

#[test]
fn the_third_order_of_a_window_is_an_alert_and_each_further_one_raises_it() {
    check(&[(60_000, None), (60_001, None), (89_999, Some(3)), (75_000, Some(4))]);
    let mut windows = vec![Window { start_ms: 60_000, count: 2 }];
    let alert = RULE.count(&mut windows, 61_000, 61_000);
    assert_eq!(alert, Some(Alert { start_ms: 60_000, end_ms: 90_000, count: 3 }));
}

#[test]
fn a_window_ends_before_the_next_begins() {
    check(&[(0, None), (29_999, None), (30_000, None), (59_999, None), (60_000, None)]);
    check(&[(-1, None), (-30_000, None), (0, None), (-15_000, Some(3))]);
}

#[test]
fn a_late_order_counts_in_its_own_window_until_that_is_forgotten() {
    check(&[(0, None), (1, None), (89_999, None), (2, Some(3))]);
    let windows = check(&[(0, None), (1, None), (90_000, None), (2, None), (3, None), (4, None)]);
    assert_eq!(windows, [Window { start_ms: 90_000, count: 1 }]);
}

#[test]
fn times_at_the_end_of_their_range_do_not_wrap() {
    check(&[(i64::MIN, None), (i64::MAX, None)]);
}

proptest! {
    #[test]
    fn counts_do_not_depend_on_the_order_of_arrival(mut times in prop::collection::vec(0_i64..120_000, 1..40), cut in any::<usize>()) {
        let rule = Rule { grace_ms: 1_000_000, ..RULE };
        let counted = |times: &[i64]| {
            let (mut windows, mut alerts) = (Vec::new(), std::collections::BTreeMap::new());
            for time_ms in times {
                if let Some(alert) = rule.count(&mut windows, *time_ms, 120_000) {
                    alerts.insert(alert.start_ms, alert.count);
                }
            }
            (windows, alerts)
        };
        let (windows, alerts) = counted(&times);
        prop_assert!(windows.is_sorted_by(|a, b| a.start_ms < b.start_ms));
        for window in &windows {
            let inside = times.iter().filter(|time| **time - **time % 30_000 == window.start_ms).count() as u64;
            prop_assert_eq!(window.count, inside);
            prop_assert_eq!(alerts.get(&window.start_ms).copied(), (inside > 2).then_some(inside));
        }
        let middle = cut % times.len();
        times.rotate_left(middle);
        times.reverse();
        prop_assert_eq!(counted(&times), (windows, alerts));
    }
}
