use super::*;

fn release(text: &str) -> Release {
    Release::parse(text).unwrap()
}

#[test]
fn versions_are_read_with_what_distributions_add() {
    fn check(text: &str, expected: Option<(u32, u32, u32)>) {
        let expected = expected.map(|(major, minor, patch)| Release::new(major, minor, patch));
        assert_eq!(Release::parse(text), expected, "{text}");
    }
    check("14.0.3", Some((14, 0, 3)));
    check("14.0", Some((14, 0, 0)));
    check("1:14.0.3-2", Some((14, 0, 3)));
    check("14.0.3-2.el9", Some((14, 0, 3)));
    check("14.0.3.dev5", Some((14, 0, 3)));
    check("14.0.0rc1", Some((14, 0, 0)));
    check("14-2.9", Some((14, 0, 0)));
    check("5.17.1+deb9u1", Some((5, 17, 1)));
    check("unknown", None);
    check("", None);
}

#[test]
fn versions_have_release_names() {
    fn check(version: &str, expected: Option<&str>) {
        assert_eq!(release(version).name(), expected, "{version}");
    }
    check("1.4.1", None);
    check("1.8.3", Some("Kilo"));
    check("2.5.0", Some("Liberty"));
    check("4.6.1", Some("Mitaka"));
    check("5.10.2", Some("Newton"));
    check("5.17.4", Some("Ocata"));
    check("5.30.8", Some("Pike"));
    check("5.35.6", Some("Queens"));
    check("8.1.4", Some("Rocky"));
    check("9.5.2", Some("Stein"));
    check("10.2.4", Some("Train"));
    check("12.1.6", Some("Ussuri"));
    check("12.5.2", Some("Victoria"));
    check("12.7.3", Some("Wallaby"));
    check("12.9.4", Some("Xena"));
    check("12.13.3", Some("Yoga"));
    check("12.14.0", Some("Zed"));
    check("14.0.3", Some("Zed"));
    check("14.2.5", Some("2023.1"));
    check("14.4.2", Some("2023.2"));
    check("14.7.3", Some("2024.1"));
    check("14.9.3", Some("2024.2"));
    check("16.1.2", Some("2025.1"));
    check("17.1.0", Some("2025.2"));
    check("17.3.0", Some("2026.1"));
    check("18.3.1", Some("2026.2"));
}

#[test]
fn options_yml_is_valid() {
    for option in options() {
        assert_eq!(options().iter().filter(|other| other.name == option.name).count(), 1, "{}", option.name);
        assert!(option.history.windows(2).all(|pair| pair[0].from < pair[1].from), "{}", option.name);
        for era in option.history.iter().filter(|era| !era.absent) {
            if let Some(default) = &era.default {
                era.takes(default, era.r#type.unwrap_or(option.r#type)).unwrap();
            }
        }
    }
}

/// `default` is `-` where the release has no such option, `none` where it has no default.
#[test]
fn every_default_is_the_one_of_its_release() {
    fn check(name: &str, history: &[(&str, &str)]) {
        let option = option(name).unwrap();
        for (version, expected) in history {
            let version = release(version);
            let actual = match option.default_in(&version) {
                Some(default) => default,
                None if option.exists_in(Some(&version)) => "none",
                None => "-",
            };
            assert_eq!(&actual, expected, "{name} in {version}");
        }
    }
    check("rpc_response_timeout", &[("1.5.0", "60"), ("1.7.0", "60"), ("5.17.1", "60"), ("18.3.1", "60")]);
    check("transport_url", &[("9.0.0", "none"), ("9.0.1", "rabbit://")]);
    check("rpc_ping_enabled", &[("12.3.0", "-"), ("12.4.0", "false")]);
    check("executor_thread_pool_size", &[("2.0.0", "-"), ("2.1.0", "64")]);
    check(
        "heartbeat_timeout_threshold",
        &[
            ("1.8.0", "-"),
            ("1.8.1", "60"),
            ("1.8.2", "0"),
            ("1.8.3", "0"),
            ("1.9.0", "60"),
            ("1.10.0", "60"),
            ("1.11.0", "0"),
            ("1.16.0", "0"),
            ("1.17.0", "60"),
            ("5.17.1", "60"),
            ("18.3.1", "60"),
        ],
    );
    check("heartbeat_rate", &[("14.4.2", "2"), ("14.5.0", "3")]);
    check(
        "heartbeat_in_pthread",
        &[
            ("10.0.0", "-"),
            ("10.1.0", "false"),
            ("12.6.0", "true"),
            ("12.11.0", "true"),
            ("14.0.0", "false"),
            ("14.9.0", "false"),
            ("17.3.0", "false"),
            ("18.0.0", "-"),
        ],
    );
    check("kombu_reconnect_delay", &[("1.7.0", "1.0"), ("18.1.0", "1.0")]);
    check("kombu_reconnect_splay", &[("16.0.0", "-"), ("16.1.0", "0.0")]);
    check("kombu_missing_consumer_retry_timeout", &[("3.0.0", "-"), ("3.1.0", "5"), ("4.0.0", "60")]);
    check("kombu_failover_strategy", &[("3.1.0", "round-robin")]);
    check("rabbit_retry_interval", &[("5.17.1", "1")]);
    check("rabbit_retry_backoff", &[("5.17.1", "2")]);
    check("rabbit_interval_max", &[("4.0.0", "-"), ("4.1.0", "30")]);
    check("rabbit_max_retries", &[("8.1.4", "0"), ("9.0.0", "-")]);
    check("rabbit_ha_queues", &[("5.17.1", "false"), ("18.1.0", "false")]);
    check("rabbit_quorum_queue", &[("12.12.0", "-"), ("12.13.0", "false")]);
    check("rabbit_transient_quorum_queue", &[("14.6.0", "-"), ("14.7.0", "false")]);
    check("rabbit_quorum_delivery_limit", &[("12.14.0", "-"), ("13.0.0", "0")]);
    check("rabbit_quroum_max_memory_bytes", &[("13.0.0", "0"), ("14.2.3", "0"), ("14.2.4", "-")]);
    check("rabbit_quorum_max_memory_bytes", &[("14.2.3", "-"), ("14.2.4", "0")]);
    check("rabbit_transient_queues_ttl", &[("4.0.0", "-"), ("4.1.0", "600"), ("4.5.1", "1800")]);
    for name in ["use_queue_manager", "rabbit_stream_fanout"] {
        check(name, &[("14.6.0", "-"), ("14.7.0", "false")]);
    }
    check("hostname", &[("14.6.0", "-"), ("14.7.0", "none")]);
    check("processname", &[("14.6.0", "-"), ("14.7.0", "none")]);
    check("rabbit_qos_prefetch_count", &[("4.1.0", "0"), ("18.1.0", "0")]);
    check(
        "direct_mandatory_flag",
        &[("10.1.0", "-"), ("10.2.0", "1"), ("10.2.3", "true"), ("18.1.0", "true")],
    );
    check(
        "enable_cancel_on_failover",
        &[
            ("10.2.3", "-"),
            ("10.2.4", "false"),
            ("10.3.0", "-"),
            ("12.1.4", "false"),
            ("12.2.0", "-"),
            ("12.3.0", "false"),
        ],
    );
    check("rpc_conn_pool_size", &[("5.17.1", "30"), ("18.1.0", "30")]);
    check("conn_pool_ttl", &[("5.5.0", "-"), ("5.6.0", "1200")]);
    check("conn_pool_min_size", &[("5.5.0", "-"), ("5.6.0", "2")]);
    check("amqp_durable_queues", &[("5.17.1", "false")]);
    check("amqp_auto_delete", &[("5.17.1", "false")]);
    check("ssl", &[("5.17.4", "-"), ("5.18.0", "false")]);
    check("ssl_enforce_hostname_verification", &[("18.0.0", "-"), ("18.1.0", "true")]);
    for name in ["rabbit_host", "rabbit_hosts", "rabbit_port", "rabbit_userid", "rpc_backend"] {
        let option = option(name).unwrap();
        assert!(option.exists_in(Some(&release("8.1.4"))) && !option.exists_in(Some(&release("9.0.0"))));
        assert!(option.deprecated_in(&release("5.2.0")) && !option.deprecated_in(&release("5.1.0")));
    }
}

#[test]
fn values_are_valid_where_the_release_takes_them() {
    fn check(name: &str, version: &str, value: &str, expected: Result<(), &str>) {
        let version = (version != "?").then(|| release(version));
        let actual = option(name).unwrap().valid(version.as_ref(), value);
        assert_eq!(
            actual.as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|text| *text),
            "{name} {value}"
        );
    }
    let above = "`5` is above the maximum of 4.5 in oslo.messaging";
    for (version, fixed) in [
        ("12.13.0", false),
        ("12.13.1", true),
        ("12.14.0", false),
        ("14.0.0", false),
        ("14.0.1", true),
        ("14.1.0", false),
        ("14.2.0", false),
        ("14.2.1", true),
        ("14.3.0", false),
        ("14.3.1", true),
        ("18.1.0", true),
    ] {
        let reason = format!("{above} {version}");
        check("kombu_reconnect_delay", version, "5", if fixed { Err(reason.as_str()) } else { Ok(()) });
    }
    check("kombu_reconnect_delay", "18.1.0", "4.5", Ok(()));
    check(
        "kombu_reconnect_delay",
        "?",
        "5",
        Err(
            "`5` is above the maximum of 4.5 in oslo.messaging 12.13.1 and later, and which is installed is not known",
        ),
    );
    check("rpc_response_timeout", "14.0.3", "-1", Ok(()));
    check("rpc_response_timeout", "14.0.3", "", Ok(()));
    check("rpc_response_timeout", "14.0.3", "60s", Err("`60s` is not an integer in oslo.messaging 14.0.3"));
    check("heartbeat_timeout_threshold", "?", "15", Ok(()));
    check(
        "heartbeat_rate",
        "14.0.3",
        "0",
        Err("`0` is accepted and then fails: oslo.messaging divides by it when it connects"),
    );
    check("rabbit_retry_interval", "16.0.0", "0", Ok(()));
    check(
        "rabbit_retry_interval",
        "16.1.0",
        "0",
        Err("`0` is below the minimum of 1 in oslo.messaging 16.1.0"),
    );
    check(
        "rabbit_transient_queues_ttl",
        "14.5.0",
        "0",
        Err("`0` is below the minimum of 1 in oslo.messaging 14.5.0"),
    );
    check("rabbit_transient_queues_ttl", "14.6.0", "0", Ok(()));
    check("rpc_conn_pool_size", "10.2.1", "0", Ok(()));
    check("rpc_conn_pool_size", "10.2.2", "0", Err("`0` is below the minimum of 1 in oslo.messaging 10.2.2"));
    check("rpc_conn_pool_size", "12.5.0", "0", Ok(()));
    check("rpc_conn_pool_size", "12.5.1", "0", Err("`0` is below the minimum of 1 in oslo.messaging 12.5.1"));
    check(
        "kombu_failover_strategy",
        "14.0.3",
        "Shuffle",
        Err("`Shuffle` is none of round-robin, shuffle in oslo.messaging 14.0.3"),
    );
    check(
        "heartbeat_in_pthread",
        "18.0.0",
        "true",
        Err("oslo.messaging 18.0.0 has no option `heartbeat_in_pthread`"),
    );
    check(
        "rabbit_quorum_queue",
        "14.0.3",
        "maybe",
        Err("`maybe` is not a boolean: true, false, yes, no, on, off, 1 or 0 in oslo.messaging 14.0.3"),
    );
}

#[test]
fn old_names_are_accepted_as_long_as_their_release_does() {
    fn check(name: &str, version: &str, expected: &[(&str, &str)]) {
        let version = (version != "?").then(|| release(version));
        assert_eq!(option(name).unwrap().deprecated_names(version.as_ref()), expected, "{name} {version:?}");
    }
    let rabbit = "oslo_messaging_rabbit";
    for name in ["kombu_reconnect_delay", "rabbit_ha_queues", "rabbit_retry_backoff", "amqp_auto_delete"] {
        check(name, "1.7.0", &[("DEFAULT", name)]);
        check(name, "15.0.0", &[("DEFAULT", name)]);
        check(name, "16.0.0", &[]);
        check(name, "?", &[("DEFAULT", name)]);
    }
    check("heartbeat_timeout_threshold", "?", &[]);
    check("rpc_conn_pool_size", "14.0.3", &[("DEFAULT", "rpc_conn_pool_size")]);
    check("kombu_missing_consumer_retry_timeout", "18.1.0", &[(rabbit, "kombu_reconnect_timeout")]);
    check("executor_thread_pool_size", "14.0.3", &[("DEFAULT", "rpc_thread_pool_size")]);
    check(
        "amqp_durable_queues",
        "8.1.4",
        &[("DEFAULT", "amqp_durable_queues"), ("DEFAULT", "rabbit_durable_queues")],
    );
    check("amqp_durable_queues", "9.0.0", &[]);
    check("ssl", "15.0.0", &[(rabbit, "rabbit_use_ssl")]);
    check("ssl", "16.0.0", &[]);
    check("rabbit_quorum_max_memory_bytes", "16.1.0", &[(rabbit, "rabbit_quroum_max_memory_bytes")]);
    check("rabbit_quorum_max_memory_bytes", "17.0.0", &[]);
}

#[test]
fn an_unknown_release_may_have_any_default() {
    fn check(name: &str, expected: &[Option<&str>]) {
        assert_eq!(option(name).unwrap().possible_defaults(None), expected, "{name}");
    }
    check("heartbeat_timeout_threshold", &[Some("60"), Some("0")]);
    check("heartbeat_rate", &[Some("3"), Some("2")]);
    check("rpc_response_timeout", &[Some("60")]);
    check("heartbeat_in_pthread", &[None, Some("false"), Some("true")]);
    let known = release("14.0.3");
    assert_eq!(option("heartbeat_rate").unwrap().possible_defaults(Some(&known)), [Some("2")]);
}

#[test]
fn the_client_follows_its_versions() {
    fn check(
        messaging: Option<&str>,
        amqp: Option<&str>,
        threshold: u32,
        keepalive: (u32, u32, u32),
        user: Option<f64>,
    ) {
        let host = Keepalive { time: 5, intvl: 1, probes: 5 };
        let settings = ClientSettings {
            heartbeat_timeout_threshold: threshold,
            heartbeat_rate: 2,
            kombu_reconnect_delay: 1.0,
            keepalive: host,
            retries2: 15,
        };
        let client = client(settings, messaging.map(release).as_ref(), amqp.map(release).as_ref());
        let actual = (client.keepalive.time, client.keepalive.intvl, client.keepalive.probes);
        assert_eq!((actual, client.user_timeout), (keepalive, user), "{messaging:?} {amqp:?}");
    }
    let (host, own) = ((5, 1, 5), (60, 10, 9));
    check(Some("14.0.3"), Some("5.1.1"), 60, own, Some(60.0));
    check(Some("5.17.1"), Some("1.4.9"), 60, host, Some(60.0));
    check(Some("5.17.1"), None, 60, host, Some(60.0));
    check(Some("5.18.0"), None, 60, own, Some(60.0));
    check(Some("14.0.3"), None, 0, own, None);
    check(Some("4.6.1"), Some("1.4.9"), 60, host, None);
    check(None, Some("2.1.3"), 15, host, None);
    check(None, Some("2.1.4"), 15, own, None);
    check(None, None, 15, own, None);
}
