//! Encrypted connections and logins, for appends and for everything else; and refusals that are clear.

use event_log::EventLog;
use kafka_log::{Config, ConnectError, KafkaLog, Mechanism, Sasl, Secret, Tls};

use crate::broker::{self, all, directory, file, record, values};

fn secured(mechanism: Mechanism, password: &str) -> Config {
    let tls = Tls { ca_file: directory().join("ca.pem"), ..Tls::default() };
    let sasl = Sasl { mechanism, username: "mesh".to_owned(), password: Secret::new(password) };
    let brokers = file("secure").split(',').map(str::to_owned).collect();
    Config { tls: Some(tls), sasl: Some(sasl), ..broker::patient(brokers) }
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker with logins (KAFKA_SECURE=1 tools/kafka.sh)"]
async fn every_mechanism_appends_and_reads_over_tls() {
    let _brokers = broker::shared().await;
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let log = KafkaLog::connect(secured(mechanism, "secret")).await.unwrap();
        let partition = broker::topic("secure").await;
        log.append(&partition, vec![record("a")]).await.unwrap();
        log.append(&partition, vec![record("x".repeat(40_000))]).await.unwrap();
        assert_eq!(values(&all(&log, &partition).await).len(), 2, "{mechanism:?}");
    }
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker with logins (KAFKA_SECURE=1 tools/kafka.sh)"]
async fn a_wrong_password_is_refused_and_not_shown() {
    let _brokers = broker::shared().await;
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let error = KafkaLog::connect(secured(mechanism, "a wrong one")).await.unwrap_err();
        assert!(matches!(error, ConnectError::Brokers(kafka_log::wire::Error::Login { .. })), "{error:?}");
        assert!(!format!("{error:?}").contains("a wrong one"), "{error:?}");
    }
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker with logins (KAFKA_SECURE=1 tools/kafka.sh)"]
async fn a_broker_that_is_not_trusted_is_not_spoken_to() {
    let _brokers = broker::shared().await;
    let mut config = secured(Mechanism::ScramSha256, "secret");
    // Issued to itself, like the brokers', but not the same.
    let folder = tempfile::tempdir().unwrap();
    let (keys, other) = (folder.path().join("keys.p12"), folder.path().join("other.pem"));
    let keytool = |arguments: &[&str]| {
        let mut command = std::process::Command::new("keytool");
        command.args(arguments).args(["-storepass", "keystore", "-keystore"]).arg(&keys);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        output.stdout
    };
    keytool(&["-genkeypair", "-alias", "kafka", "-keyalg", "EC", "-dname", "CN=localhost", "-storetype", "PKCS12"]);
    std::fs::write(&other, keytool(&["-exportcert", "-rfc", "-alias", "kafka"])).unwrap();
    config.tls = Some(Tls { ca_file: other, ..Tls::default() });
    let error = KafkaLog::connect(config.clone()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Brokers(kafka_log::wire::Error::Io { .. })), "{error:?}");
    // Nor is an encrypted port without encryption.
    let plain = Config { tls: None, sasl: None, ..config };
    assert!(KafkaLog::connect(plain).await.is_err());
}
