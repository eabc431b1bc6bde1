//! Which source wins, and what a mistake in each is told.

use std::path::PathBuf;

use super::*;

#[derive(Debug, Clone, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Whole {
    host: HostConfig,
    mail: Mail,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Mail {
    password: Secret,
    attempts: u32,
}

/// A load with a file and an environment of its own.
fn load_with(file: &str, env: &[(&str, &str)], overrides: &Overrides) -> Result<Whole, String> {
    let mut result = None;
    #[expect(clippy::result_large_err, reason = "the jail's own error type")]
    figment::Jail::expect_with(|jail| {
        jail.clear_env();
        jail.create_file("ordermesh.toml", file)?;
        for (key, value) in env {
            jail.set_env(key, value);
        }
        result =
            Some(load::<Whole>(Some(&PathBuf::from("ordermesh.toml")), overrides).map_err(|error| error.to_string()));
        Ok(())
    });
    result.unwrap()
}

#[test]
fn defaults_yield_to_the_file_then_the_environment_then_the_flags() {
    let file = "[host.listen]\naddress = '127.0.0.1:1'\ndrain_timeout = '1s'\n[host.log]\nlevel = 'debug'\n[mail]\nattempts = 3";
    let env = [
        ("ORDERMESH__HOST__LISTEN__ADDRESS", "127.0.0.1:2"),
        ("ORDERMESH__HOST__LISTEN__DRAIN_TIMEOUT", "5m"),
        ("ORDERMESH__MAIL__PASSWORD", "12345"),
        ("OTHER__HOST__LISTEN__ADDRESS", "nonsense"),
    ];
    let flags = Overrides::new().set("host.listen.address", Some("127.0.0.1:3")).set("mail.attempts", None::<u32>);
    let whole = load_with(file, &env, &flags).unwrap();
    assert_eq!(whole.host.listen.address.port(), 3);
    assert_eq!(whole.host.listen.drain_timeout, std::time::Duration::from_secs(300));
    assert_eq!(whole.host.log.level, "debug");
    assert_eq!(whole.mail, Mail { password: Secret::new("12345"), attempts: 3 });
    assert_eq!(whole.host.limits, LimitsConfig::default());
}

#[test]
fn a_secret_of_the_environment_is_what_is_written_there() {
    for written in ["12345", "0012345678", "+4711", "12.50", "true", " x ", "\"x\"", "[1, 2]", "{a=1}"] {
        let env = [("ORDERMESH__MAIL__PASSWORD", written), ("ORDERMESH__MAIL__ATTEMPTS", "7")];
        let whole = load_with("[mail]\npassword = 'of the file'", &env, &Overrides::new()).unwrap();
        assert_eq!(whole.mail, Mail { password: Secret::new(written), attempts: 7 });
    }
    let env = [("ORDERMESH__MAIL__PASSWORD", "of a mounted file\r\n")];
    let whole = load_with("", &env, &Overrides::new()).unwrap();
    assert_eq!(whole.mail.password, Secret::new("of a mounted file"));
    for unquoted in ["geheim", "007", "geheim\""] {
        let error = load_with(&format!("[mail]\n\npassword = {unquoted}"), &[], &Overrides::new()).unwrap_err();
        assert!(error.starts_with("line 3: ") && error.contains("ordermesh.toml"), "{error}");
        assert!(!error.contains("geheim") && !error.contains("007"), "{error}");
    }
    for number in ["4711", "4711.5", "true"] {
        let error = load_with(&format!("[mail]\npassword = {number}"), &[], &Overrides::new()).unwrap_err();
        assert!(error.starts_with("mail.password") && error.contains("put it in quotes"), "{error}");
        assert!(!error.contains(number) || number == "true", "{error}");
    }
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(load_with("", &[], &Overrides::new()).unwrap(), Whole::default());
}

#[test]
fn unknown_keys_are_named_with_their_origin() {
    let error = load_with("[host.listen]\nadress = '127.0.0.1:1'", &[], &Overrides::new()).unwrap_err();
    assert!(error.starts_with("host.listen.adress: is no setting; known here: address, drain_timeout"), "{error}");
    assert!(error.ends_with("(from file ordermesh.toml)"), "{error}");
    let error = load_with("", &[("ORDERMESH__HOST__LIMIT__CALLS_MAX", "1")], &Overrides::new()).unwrap_err();
    assert!(error.starts_with("host.limit: is no setting"), "{error}");
    assert!(error.ends_with("(from environment)"), "{error}");
}

#[test]
fn wrong_values_are_named_with_their_origin() {
    let error = load_with("[mail]\nattempts = 'many'", &[], &Overrides::new()).unwrap_err();
    assert!(error.contains("mail.attempts") && error.contains("file ordermesh.toml"), "{error}");
    let error = load_with("", &[("ORDERMESH__HOST__LISTEN__DRAIN_TIMEOUT", "soon")], &Overrides::new()).unwrap_err();
    assert!(error.contains("host.listen.drain_timeout") && error.contains("environment"), "{error}");
    let error = load_with("this is no toml", &[], &Overrides::new()).unwrap_err();
    assert!(error.contains("file ordermesh.toml"), "{error}");
}

#[test]
fn missing_file_is_an_error() {
    let error = load::<Whole>(Some(Path::new("/nowhere/x.toml")), &Overrides::new()).unwrap_err();
    assert_eq!(error.to_string(), "configuration file /nowhere/x.toml cannot be read");
}

#[test]
fn what_is_shown_can_be_read_again_and_hides_secrets() {
    let whole = Whole { mail: Mail { password: Secret::new("geheim"), attempts: 2 }, ..Default::default() };
    let text = render(&whole).unwrap();
    assert!(text.contains("password = \"***\"") && !text.contains("geheim"), "{text}");
    assert!(text.contains("drain_timeout = \"10s\""), "{text}");
    assert_eq!(load_with(&text, &[], &Overrides::new()).unwrap().host, whole.host);
    assert!(!format!("{whole:?}").contains("geheim"));
}
