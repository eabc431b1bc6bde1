//! The stores of a validation task: layout of the keys, what stands under them, and the timers that go with them.
//!
//! ```text
//! validations      <order_id>     -> ValidationRow (proto); never removed
//! fraud-sessions   <customer_id>  -> FraudSessionsRow (proto); removed with its last session
//! fraud-alerts     <customer_id> 00 <begin of the window, i64 be>  -> FraudAlertRow (proto); never removed
//!
//! timer validation-timeout <order_id>      from the order's creation until it is decided
//! timer fraud-sessions     <customer_id>   as long as the row is there: when a session may be forgotten
//! ```

use task_runtime::StoreId;

/// Validations by order.
pub(crate) const VALIDATIONS: StoreId = StoreId::new(1, "validations");
/// Sessions by customer.
pub(crate) const FRAUD_SESSIONS: StoreId = StoreId::new(2, "fraud-sessions");

/// Alerts by customer and window.
pub(crate) const FRAUD_ALERTS: StoreId = StoreId::new(3, "fraud-alerts");

/// All of them.
pub(crate) const ALL: [StoreId; 3] = [VALIDATIONS, FRAUD_SESSIONS, FRAUD_ALERTS];

/// Fires when the checks of an order took too long.
pub(crate) const TIMEOUT_TIMER: &str = "validation-timeout";
/// Fires when a session of a customer may be forgotten.
pub(crate) const SESSIONS_TIMER: &str = "fraud-sessions";

/// What all alert keys of a customer begin with. Ids hold no zero byte, so that no other customer's do.
pub(crate) fn alerts_of(customer_id: &str) -> Vec<u8> {
    [customer_id.as_bytes(), &[0]].concat()
}

/// The key of one alert. Windows of one customer lie in the order of time, as far as it is behind the Unix epoch.
pub(crate) fn alert_key(customer_id: &str, start_ms: i64) -> Vec<u8> {
    [customer_id.as_bytes(), &[0], &start_ms.to_be_bytes()].concat()
}

/// Customer and begin of the window of an alert key; none for what is no such key.
pub(crate) fn alert_of_key(key: &[u8]) -> Option<(String, i64)> {
    let (rest, start_ms) = key.split_last_chunk::<8>()?;
    let customer_id = rest.strip_suffix(&[0])?;
    Some((String::from_utf8_lossy(customer_id).into_owned(), i64::from_be_bytes(*start_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_key_gives_back_its_parts_and_belongs_to_one_customer() {
        for start_ms in [0, 30_000, 1_790_000_010_000] {
            let key = alert_key("c-1", start_ms);
            assert!(key.starts_with(&alerts_of("c-1")) && !key.starts_with(&alerts_of("c-")));
            assert_eq!(alert_of_key(&key), Some(("c-1".to_owned(), start_ms)));
        }
        assert_eq!(alert_of_key(b"c-1"), None);
    }
}
